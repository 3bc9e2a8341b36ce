"""`generated_messages`: what each planned client will read."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, Finding, counts_table, daily_asset, materialize_days
from reactivation_assets.pictures import histogram
from reactivation_assets.resources import PlatformParam
from reactivation_core.messages import TOTAL_LIMIT
from reactivation_resources.message_writing import write_messages
from reactivation_resources.platform import Platform

CHECKS = [
    Check(
        "length_within_limits",
        "no message is longer than a client will read",
        lambda _, frame: Finding(
            passed=bool((frame["characters"] <= TOTAL_LIMIT).all()), numbers={"longest": frame["characters"].max() or 0}
        ),
    ),
]


@daily_asset("generated_messages", group="daily", deps=["ranked_slots"], kinds=["polars", "postgres"], checks=CHECKS)
def generated_messages(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """One message per planned client, as written: its template, stage and tone. Names stay in PostgreSQL.

    Today's campaigns without a text get one; any other day only reads back what was written.
    """

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day):
            _write(platform, day)
        return platform.campaign_log.texts(day)

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture, checks=CHECKS)


def _write(platform: Platform, day: date) -> None:
    log = platform.campaign_log
    profiles = platform.lake.scan("preference_profiles", day).filter(pl.col("assert_staff")).collect()
    favourites = {
        (row[0], row[1]): row[2] for row in profiles.select("company_id", "client_id", "staff_id").iter_rows()
    }
    with platform.database.begin() as connection:
        texts = write_messages(connection, log.without_text(day), favourites)
    log.write_texts(texts)


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "messages": frame.height,
        "stages": counts_table(frame, "stage", "tone", "source"),
        "templates": counts_table(frame, "template_id"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    return histogram(frame["characters"].to_list(), f"Characters per message, {day.isoformat()}")
