"""`sent_campaigns`: sends what is due, and shows what became of the day's campaigns."""

import os
import socket
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, counts_table, daily_asset, materialize_days, no_rows
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_resources.account_watch import refresh_health
from reactivation_resources.dispatch import DispatchReport, dispatch_due, dispatch_until
from reactivation_resources.platform import Platform

CHECKS = [
    Check(
        "nothing_unsettled",
        "no message whose answer was lost waits to be settled by hand",
        lambda _, frame: no_rows(frame.filter(pl.col("status") == "unknown"), "messages of unknown outcome"),
        blocking=False,
    ),
]

SHARD_TAG, STAY_TAG = "reactivation/shard", "reactivation/stay"
"""Tags of a run: which share of the companies it serves (`2/8`), and for how many seconds it stays to send what comes due."""


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
            outcome.update(_send(platform, context.run.run_id, context.run.tags).counts)
            refresh_health(platform.database, platform.clock.now())
        return platform.campaign_log.sent(day)

    def describe(frame: pl.DataFrame) -> dict[str, Any]:
        return {
            "sent": len(frame) - frame["sent_at"].null_count(),
            "this run": dg.MetadataValue.json(outcome),
            "statuses": counts_table(frame, "status", "lane"),
        }

    return materialize_days(context, platform.lake, compute, describe=describe, picture=_picture, checks=CHECKS)


def _send(platform: Platform, run_id: str, tags: Mapping[str, str]) -> DispatchReport:
    """Send what is due. A run that was asked to stay sends what comes due meanwhile too; a simulated clock would never move on."""
    outbox, owner = platform.outbox_of(_shard(tags)), f"{socket.gethostname()}:{os.getpid()}:{run_id}"
    stays = timedelta(seconds=float(tags.get(STAY_TAG, "0")))
    if not stays or platform.clock.simulated:
        return dispatch_due(outbox, platform.channels, owner)
    return dispatch_until(outbox, platform.channels, owner, until=platform.clock.now() + stays)


def _shard(tags: Mapping[str, str]) -> tuple[int, int] | None:
    """The share of the companies that the run's tag names, as `2/8`."""
    number, _, of = tags.get(SHARD_TAG, "").partition("/")
    return (int(number), int(of)) if of else None


def _picture(day: date, frame: pl.DataFrame) -> str:
    statuses = frame.group_by("status").len().sort("len", "status", descending=[True, False])
    return bar_chart(
        statuses["status"].to_list(), statuses["len"].to_list(), f"Campaigns of {day.isoformat()} by status"
    )
