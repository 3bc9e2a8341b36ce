"""`generated_messages`: what each planned client will read."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, Finding, counts_table, daily_asset, materialize_days
from reactivation_assets.pictures import histogram
from reactivation_assets.resources import PlatformParam
from reactivation_core.message_facts import TOTAL_LIMIT
from reactivation_resources.platform import Platform

MOST_FALLBACKS = 0.2
"""A larger share of texts that a model should have written and did not is worth a look."""


def _fallbacks(_: date, frame: pl.DataFrame) -> Finding:
    asked = frame.filter(pl.col("fallback").is_null() | (pl.col("fallback") != "no_key"))
    missed = asked.filter(pl.col("source") == "template").height
    share = missed / asked.height if asked.height else 0.0
    return Finding(
        passed=share <= MOST_FALLBACKS, numbers={"asked": asked.height, "fallbacks": missed, "share": round(share, 3)}
    )


CHECKS = [
    Check(
        "length_within_limits",
        "no message is longer than a client will read",
        lambda _, frame: Finding(
            passed=bool((frame["characters"] <= TOTAL_LIMIT).all()), numbers={"longest": frame["characters"].max() or 0}
        ),
    ),
    Check(
        "model_writes_most",
        "at most a fifth of the texts that the model was to write come from templates",
        _fallbacks,
        blocking=False,
    ),
]


@daily_asset("generated_messages", group="daily", deps=["ranked_slots"], kinds=["polars", "postgres"], checks=CHECKS)
def generated_messages(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """One message per planned client, as written: by whom, its template, stage and tone, tokens and cost. Names stay in PostgreSQL.

    Today's campaigns without a text get one; any other day only reads back what was written.
    """

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day):
            _write(context, platform, day)
        return platform.campaign_log.texts(day)

    return materialize_days(context, platform.lake, compute, describe=_describe, picture=_picture, checks=CHECKS)


def _write(context: dg.AssetExecutionContext, platform: Platform, day: date) -> None:
    log = platform.campaign_log
    profiles = platform.lake.scan("preference_profiles", day).filter(pl.col("assert_staff")).collect()
    favourites = {
        (row[0], row[1]): row[2] for row in profiles.select("company_id", "client_id", "staff_id").iter_rows()
    }
    report = platform.message_writer.write(log.without_text(day), favourites, day, platform.clock.now())
    context.log.info(
        "%d messages written: %s; not by the model: %s; rules broken by its answers: %s; %d without a text",
        report.messages,
        dict(report.sources),
        dict(report.fallbacks),
        dict(report.rejections),
        report.unwritten,
    )


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "messages": frame.height,
        "stages": counts_table(frame, "stage", "tone", "source"),
        "templates": counts_table(frame, "template_id"),
        "why not by the model": counts_table(frame.drop_nulls("fallback"), "fallback"),
        "tokens of questions": int(frame["input_tokens"].sum()),
        "tokens of answers": int(frame["output_tokens"].sum()),
        "cost, dollars": round(int(frame["cost_micros"].sum()) / 1_000_000, 6),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    return histogram(frame["characters"].to_list(), f"Characters per message, {day.isoformat()}")
