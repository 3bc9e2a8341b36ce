"""`inactive_clients`: who is overdue, and may they be written to."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, counts_table, daily_asset, materialize_days, no_rows
from reactivation_assets.detection import as_known_on, inactivity_inputs, read_once
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.inactivity import detect_inactive
from reactivation_resources.episodes import settle_episodes
from reactivation_resources.platform import Platform

CHECKS = [
    Check(
        "one_decision_per_client",
        "every due client of a company has exactly one row, and a reason exactly when excluded",
        lambda _, frame: no_rows(
            frame.filter(
                pl.struct("company_id", "client_id").is_duplicated()
                | ((pl.col("decision") == "eligible") != (pl.col("reason") == ""))
            ),
            "rows without one decision",
        ),
    ),
]


@daily_asset(
    "inactive_clients", group="daily", deps=["companies", "services", "staff", "clients", "visits"], checks=CHECKS
)
def inactive_clients(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Clients whose usual rhythm for a service is overdue, as of the day's scheduled instant.

    One row per due client: the service to bring the client back for, days since the last visit, the threshold, and one decision with one
    reason. Eligible clients are in the order in which they will be planned.
    """
    calendar = platform.calendar
    days = [date.fromisoformat(key) for key in context.partition_keys]
    for day in days:
        if calendar.is_live(day):  # refuses a day that has not begun
            _settle(platform, day)
    inputs = inactivity_inputs(platform, calendar.as_of(max(days)))
    if len(days) > 1:
        inputs = read_once(inputs)

    def compute(day: date) -> pl.DataFrame:
        return detect_inactive(as_known_on(inputs, day), calendar.as_of(day))

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture, checks=CHECKS)


def _settle(platform: Platform, day: date) -> None:
    """Write into the campaign log what has become true by the day's instant, so that a later run of the day finds the same log."""
    platform.outbox.recover()
    with platform.database.begin() as connection:
        settle_episodes(connection, platform.calendar.as_of(day))


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "due": frame.height,
        "eligible": int((frame["decision"] == "eligible").sum()),
        "companies": frame["company_id"].n_unique(),
        "reasons": counts_table(frame, "decision", "reason"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    reasons = (
        frame.filter(pl.col("decision") == "excluded")
        .group_by("reason")
        .len()
        .sort("len", "reason", descending=[True, False])
    )
    return bar_chart(
        reasons["reason"].to_list(), reasons["len"].to_list(), f"Excluded clients by reason, {day.isoformat()}"
    )
