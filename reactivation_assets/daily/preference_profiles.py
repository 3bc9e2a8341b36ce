"""`preference_profiles`: when, with whom and what overdue clients like to book."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import counts_table, daily_asset, materialize_days
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.preferences import preference_profiles as profiles_of


@daily_asset("preference_profiles", group="daily", deps=["inactive_clients"])
def preference_profiles(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Tastes of every due client from the last twenty visits: time of day, weekdays, staff, services, rhythm, and how sure we are."""
    days = [date.fromisoformat(key) for key in context.partition_keys]
    last = platform.calendar.as_of(max(days))
    mirror = platform.mirror
    companies, staff, records = mirror.snapshot("companies"), mirror.snapshot("staff"), mirror.snapshot("records")
    stated = platform.campaign_log.stated_preferences(last)

    def compute(day: date) -> pl.DataFrame:
        due = platform.lake.scan("inactive_clients", day).select("company_id", "client_id", "service_id").collect()
        return profiles_of(
            companies=companies,
            staff=staff,
            records=records,
            due=due,
            as_of=platform.calendar.as_of(day),
            stated=stated,
        )

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture)


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "profiles": frame.height,
        "may name a favourite": int(frame["assert_staff"].sum()),
        "confidence": counts_table(frame, "confidence"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    times = frame.group_by("time_of_day").len().sort("time_of_day", nulls_last=True)
    labels = [label or "no preference" for label in times["time_of_day"]]
    return bar_chart(labels, times["len"].to_list(), f"Preferred time of day, {day.isoformat()}")
