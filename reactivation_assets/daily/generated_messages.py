"""`generated_messages`: what each planned client will read."""

from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import (
    Check,
    Finding,
    always_holds,
    counts_table,
    daily_asset,
    markdown_table,
    materialize_days,
)
from reactivation_assets.pictures import histogram
from reactivation_assets.resources import PlatformParam
from reactivation_core.message_facts import TOTAL_LIMIT
from reactivation_core.message_rules import judge_stored
from reactivation_resources.platform import Platform

KEEPS_THE_RULES = "every_message_keeps_the_rules"
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
        KEEPS_THE_RULES,
        "every text that waits to be sent passes the judge once more",
        always_holds,
    ),
    Check(
        "model_writes_most",
        "at most a fifth of the texts that the model was to write come from templates",
        _fallbacks,
        blocking=False,
    ),
]


@daily_asset(
    "generated_messages", group="daily", deps=["ranked_slots"], kinds=["polars", "postgres", "gemini"], checks=CHECKS
)
def generated_messages(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """One message per planned client, as written: by whom, its template, stage and tone, tokens and cost. Names stay in PostgreSQL.

    Today's campaigns without a text get one; any other day only reads back what was written.
    """

    def compute(day: date) -> pl.DataFrame:
        if platform.calendar.is_live(day):
            _write(context, platform, day)
        return platform.campaign_log.texts(day)

    def rules(day: date, _: pl.DataFrame) -> Finding:
        return _judge(platform, day) if platform.calendar.is_live(day) else Finding(passed=True)

    def rejected(day: date, _: pl.DataFrame) -> dict[str, Any]:
        counts = platform.message_writer.ledger.rejections(day)
        rules = pl.DataFrame({"rule": list(counts), "answers": list(counts.values())})
        return {"rules that answers broke": markdown_table(rules)} if counts else {}

    checks = [replace(one, holds=rules) if one.name == KEEPS_THE_RULES else one for one in CHECKS]
    return materialize_days(
        context, platform.lake, compute, describe=_describe, picture=_picture, checks=checks, apply=rejected
    )


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


def _judge(platform: Platform, day: date) -> Finding:
    """Judge what waits to be sent by what is stored of it; a text that was sent is past judging."""
    judged, broken = 0, Counter[str]()
    for row in platform.campaign_log.wordings(day):
        judged += 1
        offences = judge_stored(
            row.message_text,
            row.text_parts,
            language=row.language,
            stage=row.stage,
            business=row.business_type,
            first_contact=row.attempt_number == 1,
        )
        broken.update({one.rule for one in offences})
    without = len(platform.campaign_log.without_text(day))
    numbers = {
        "judged": judged,
        "without a text": without,
        **{f"breaks {rule}": count for rule, count in broken.items()},
    }
    return Finding(passed=not broken, numbers=numbers)


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    return {
        "messages": frame.height,
        "stages": counts_table(frame, "stage", "tone", "source"),
        "templates": counts_table(frame.drop_nulls("template_id"), "template_id"),
        "examples": markdown_table(
            frame.unique("stage", keep="first", maintain_order=True).select("stage", "tone", "source", "text_template")
        ),
        "why not by the model": counts_table(frame.drop_nulls("fallback"), "fallback"),
        "tokens of questions": int(frame["input_tokens"].sum()),
        "tokens of answers": int(frame["output_tokens"].sum()),
        "cost, dollars": round(int(frame["cost_micros"].sum()) / 1_000_000, 6),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    return histogram(frame["characters"].to_list(), f"Characters per message, {day.isoformat()}")
