"""`sent_campaigns`: sends what is due, and shows what became of the day's campaigns."""

import os
import socket
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, counts_table, daily_asset, materialize_days, no_rows
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_resources.accounts import refresh_health
from reactivation_resources.dispatch import dispatch_due

CHECKS = [
    Check(
        "nothing_unsettled",
        "no message whose answer was lost waits to be settled by hand",
        lambda _, frame: no_rows(frame.filter(pl.col("status") == "unknown"), "messages of unknown outcome"),
        blocking=False,
    ),
]
WORKERS = 8  # accounts sent from at once; each account sends one message at a time


@daily_asset(
    "sent_campaigns", group="daily", deps=["generated_messages"], kinds=["postgres", "whatsapp"], checks=CHECKS
)
def sent_campaigns(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """The day's campaigns with their outcome so far. Today's run first sends whatever is due; any other day only reads back.

    Limits, windows, opt-outs and bookings are checked once more before each message; what may not go out now stays planned.
    """
    today = platform.calendar.today()
    outcome: dict[str, int] = {}

    def compute(day: date) -> pl.DataFrame:
        if day == today:
            platform.context_sync.catch_up(platform.clock.now())
            owner = f"{socket.gethostname()}:{os.getpid()}:{context.run.run_id}"
            outcome.update(dispatch_due(platform.outbox, platform.channels, owner, WORKERS).counts)
            refresh_health(platform.database, platform.clock.now())
        return platform.campaign_log.sent(day)

    def describe(frame: pl.DataFrame) -> dict[str, Any]:
        return {
            "sent": len(frame) - frame["sent_at"].null_count(),
            "this run": dg.MetadataValue.json(outcome),
            "statuses": counts_table(frame, "status", "lane"),
        }

    return materialize_days(context, platform.lake, compute, describe=describe, picture=_picture, checks=CHECKS)


def _picture(day: date, frame: pl.DataFrame) -> str:
    statuses = frame.group_by("status").len().sort("len", "status", descending=[True, False])
    return bar_chart(
        statuses["status"].to_list(), statuses["len"].to_list(), f"Campaigns of {day.isoformat()} by status"
    )
