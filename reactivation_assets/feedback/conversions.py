"""`conversions`: what became of every campaign, sent or held out."""

from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import daily_asset, markdown_table, materialize_days
from reactivation_assets.pictures import funnel
from reactivation_assets.resources import PlatformParam
from reactivation_core.attribution import SETTLE_DAYS
from reactivation_core.attribution import conversions as facts_of

SETTLING = timedelta(days=SETTLE_DAYS + 1)  # a send late on the day settles a day after its first ones


@daily_asset("conversions", group="feedback", deps=["sent_campaigns", "client_responses", "visits"])
def conversions(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """One row per campaign of the day of its send: delivered, read, replied, booked, attended, revenue, cost.

    Held-out campaigns are here too, on the day they would have been sent. A day changes for two weeks and is final then.
    """
    calendar, log = platform.calendar, platform.campaign_log
    days = [date.fromisoformat(key) for key in context.partition_keys]
    start, end = calendar.bounds(min(days))[0], calendar.bounds(max(days))[1]
    campaigns, replies = log.facts(start, end), log.replies(start)
    records = (
        platform.mirror.snapshot("records")
        .join(campaigns.lazy().select("company_id", "client_id").unique(), on=["company_id", "client_id"], how="semi")
        .collect(engine="streaming")
    )
    touched = campaigns.with_columns(touch=pl.when("held_out").then("send_after").otherwise("sent_at"))

    def compute(day: date) -> pl.DataFrame:
        first, beyond = calendar.bounds(day)
        wanted = touched.filter(pl.col("touch") >= first, pl.col("touch") < beyond)["campaign_id"]
        facts = facts_of(campaigns, records, replies, calendar.evaluated_at(day, SETTLING))
        return facts.filter(pl.col("campaign_id").is_in(wanted.to_list()))

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture)


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    sent = frame.filter(~pl.col("held_out"))
    steps = ["delivered", "read", "replied", "booked", "attended"]
    counts = {"sent": sent.height, **{step: int(sent[step].sum()) for step in steps}}
    return {
        **counts,
        "held out": frame.height - sent.height,
        "settled": bool(frame["settled"].all()),
        "funnel": markdown_table(pl.DataFrame({"step": list(counts), "campaigns": list(counts.values())})),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    sent = frame.filter(~pl.col("held_out"))
    steps = ["delivered", "read", "replied", "booked", "attended"]
    counts = {"sent": sent.height, **{step: int(sent[step].sum()) for step in steps}}
    return funnel(list(counts), list(counts.values()), f"Campaigns sent on {day.isoformat()}")
