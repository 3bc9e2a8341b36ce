"""`conversion_metrics`: counts and sums of campaigns, ready to be added up along any of their dimensions."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, Finding, always_holds, daily_asset, markdown_table, materialize_days
from reactivation_assets.pictures import bar_chart
from reactivation_assets.resources import PlatformParam
from reactivation_core.metrics import conversion_metrics as metrics_of

CONVERSION = "conversion_above_threshold"
WINDOW_DAYS = 30
ENOUGH_SENDS = 100  # fewer say nothing about a rate of ten per cent


@daily_asset(
    "conversion_metrics",
    group="feedback",
    deps=["conversions"],
    kinds=["duckdb", "parquet"],
    checks=[
        Check(
            CONVERSION,
            f"bookings per message of the last {WINDOW_DAYS} days above the threshold",
            always_holds,
            blocking=False,
        )
    ],
)
def conversion_metrics(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Campaigns of the day by company, service, attempt, hour, weekday, stage, tone and source of the text: counts and sums."""

    def compute(day: date) -> pl.DataFrame:
        return metrics_of(platform.lake.scan("conversions", day).collect())

    def conversion(_: date, __: pl.DataFrame) -> Finding:
        last = max(date.fromisoformat(key) for key in context.partition_keys)
        overview = platform.analytics.query(
            "overview", None, date.fromordinal(last.toordinal() - WINDOW_DAYS + 1), last
        )
        sent, booked = (int(overview[column].sum()) for column in ("sent", "booked"))
        threshold = platform.settings.reactivation_min_conversion_rate
        numbers = {"sent": sent, "booked": booked, "threshold": threshold}
        return Finding(passed=sent < ENOUGH_SENDS or booked / sent >= threshold, numbers=numbers)

    return materialize_days(
        context,
        platform.lake,
        compute,
        describe=_describe,
        picture=_picture,
        checks=[Check(CONVERSION, "", conversion, blocking=False)],
    )


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    by_service = (
        frame.filter(~pl.col("held_out"))
        .group_by("company_id", "service_id")
        .agg(pl.col("campaigns", "replied", "booked", "attended", "revenue_minor", "cost_minor").sum())
        .sort("campaigns", "company_id", "service_id", descending=[True, False, False])
        .head(20)
    )
    return {
        "campaigns": int(frame["campaigns"].sum()),
        "by service": markdown_table(by_service),
    }


def _picture(day: date, frame: pl.DataFrame) -> str:
    by_service = (
        frame.filter(~pl.col("held_out"))
        .group_by("company_id", "service_id")
        .agg(pl.col("campaigns", "replied", "booked", "attended", "revenue_minor", "cost_minor").sum())
        .sort("campaigns", "company_id", "service_id", descending=[True, False, False])
        .head(20)
    )
    return bar_chart(
        [str(service) for service in by_service["service_id"]],
        by_service["booked"].to_list(),
        f"Bookings by service, sent on {day.isoformat()}",
    )
