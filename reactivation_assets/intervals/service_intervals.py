"""`service_intervals`: how often people come for each service, and what the rules learn from it."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, Finding, always_holds, daily_asset, markdown_table, materialize_days
from reactivation_assets.partitions import MONTHLY
from reactivation_assets.pictures import MAX_TICKS, bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.intervals import Suggestion
from reactivation_core.visit_gaps import service_intervals as intervals_of
from reactivation_resources.platform import Platform
from reactivation_resources.rule_intervals import measure_intervals, month_start, present_month, write_intervals

STEADY = Check(
    "intervals_are_steady",
    "no historical interval is half as long again, or less than two thirds, of what it was a month before",
    always_holds,
    blocking=False,
)
JUMP = 1.5
_LISTED = 20
_SERVICE = ["company_id", "service_id"]


@daily_asset("service_intervals", group="intervals", deps=["visit_gaps"], checks=[STEADY], partitions=MONTHLY)
def service_intervals(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Median gap, quartiles, mean, deviation, sample size and share of regulars per service, and over all services.

    From fifty gaps on the median is the service's historical interval. The running month gives it to the rules; another month changes none.
    """
    lake = platform.lake
    titles = platform.mirror.snapshot("services").select(*_SERVICE, "title").collect()

    def compute(month: date) -> pl.DataFrame:
        month_start(platform.calendar, month)  # refuses a month that has not begun
        return intervals_of(lake.scan("visit_gaps", month))

    def steady(month: date, frame: pl.DataFrame) -> Finding:
        before = (month - timedelta(days=1)).replace(day=1)
        if not lake.exists("service_intervals", before):
            return Finding(passed=True)
        then = lake.scan("service_intervals", before).select(*_SERVICE, then="historical_days")
        ratio = pl.col("historical_days") / pl.col("then")
        both = frame.lazy().join(then, on=_SERVICE).select(ratio.alias("ratio")).drop_nulls().collect()["ratio"]
        jumped = int(((both > JUMP) | (both < 1 / JUMP)).sum())
        return Finding(passed=not jumped, numbers={"services compared": len(both), "intervals that jumped": jumped})

    return materialize_days(
        context,
        lake,
        compute,
        describe=lambda frame: _describe(frame.join(titles, on=_SERVICE, how="left")),
        picture=lambda month, frame: _picture(month, frame.join(titles, on=_SERVICE)),
        checks=[Check(STEADY.name, STEADY.description, steady, blocking=False)],
        apply=lambda month, frame: _apply(platform, month, frame),
    )


def _apply(platform: Platform, month: date, frame: pl.DataFrame) -> dict[str, Any]:
    """Give the rules of every mirrored company what the running month found."""
    if month != present_month(platform.calendar):
        return {}
    companies = platform.mirror.snapshot("companies").select("company_id").collect()["company_id"]
    # who is not in the frame has no gaps, or was connected after they were measured
    absent = companies.filter(~companies.is_in(frame["company_id"].unique().to_list())).to_list()
    intervals = pl.concat([frame, measure_intervals(platform, absent)]) if absent else frame
    learned = write_intervals(platform.database, intervals, companies.to_list(), platform.interval_suggestions)
    lacking = learned.needs_suggestion
    return {
        "rules": learned.rules,
        "rules with a manual interval": learned.manual,
        "rules with a historical interval": learned.historical,
        "rules changed": learned.changed,
        "rules that lack an interval": lacking.height,
        "intervals suggested by the model": len(learned.suggested),
        "suggestions": markdown_table(_suggestions(learned.suggested).head(_LISTED)),
        "lacking": markdown_table(lacking.select(*_SERVICE, "title", "default_interval").head(_LISTED)),
    }


def _suggestions(suggested: Iterable[Suggestion]) -> pl.DataFrame:
    rows = [(one.company_id, one.service_id, one.days, one.confidence, one.reasoning) for one in suggested]
    return pl.DataFrame(rows, schema=[*_SERVICE, "days", "confidence", "reasoning"], orient="row")


def _describe(titled: pl.DataFrame) -> dict[str, Any]:
    services = titled.filter(pl.col("service_id").is_not_null())
    most = titled.sort("gaps", *_SERVICE, descending=[True, False, False]).head(_LISTED)
    named = pl.when(pl.col("service_id").is_null()).then(pl.lit("any service")).otherwise("title").alias("title")
    return {
        "services": services.height,
        "services with enough gaps": services.height - services["historical_days"].null_count(),
        "intervals": markdown_table(most.with_columns(named, pl.selectors.float().round(2))),
    }


def _picture(month: date, titled: pl.DataFrame) -> str:
    """The historical intervals of the services with the most gaps, the shortest first."""
    most = (
        titled.drop_nulls("historical_days")
        .sort("gaps", *_SERVICE, descending=[True, False, False])
        .head(MAX_TICKS)
        .sort("historical_days", *_SERVICE)
    )
    return bar_chart(most["title"].to_list(), most["historical_days"].to_list(), f"Days between visits, {month:%Y-%m}")
