"""`client_responses`: what clients answered, and what their answers did."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import counts_table, daily_asset, materialize_days
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_resources.platform import Platform
from reactivation_resources.responses import apply_replies, responses_of_day


@daily_asset("client_responses", group="feedback", deps=["sent_campaigns"], kinds=["polars", "postgres"])
def client_responses(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Replies of the day, classified and applied once each: opt-outs, refusals, pauses, confirmations, slot choices.

    Today's run takes whatever waits in the inbox first; any other day only reads back.
    """
    today = platform.calendar.today()

    def compute(day: date) -> pl.DataFrame:
        if day == today:
            take_replies(platform)
        return responses_of_day(platform.database, day)

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture)


def take_replies(platform: Platform) -> None:
    """Classify and apply what waits in the inbox, and let the chat bot's context follow."""
    for reply in apply_replies(platform.database, platform.calendar.day_of, platform.calendar.now()):
        platform.context_sync.after_reply(reply)


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "replies": frame.height,
        "without a campaign": int(frame["campaign_id"].null_count()),
        "intents": counts_table(frame, "response_type", "intent", "layer"),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    intents = frame.group_by("intent").len().sort("len", "intent", descending=[True, False])
    return bar_chart(intents["intent"].to_list(), intents["len"].to_list(), f"Replies by intent, {day.isoformat()}")
