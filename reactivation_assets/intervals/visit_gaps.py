"""`visit_gaps`: the days between a client's visits."""

from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from reactivation_assets.daily_frames import Check, daily_asset, markdown_table, materialize_days, no_rows
from reactivation_assets.partitions import MONTHLY
from reactivation_assets.pictures import histogram
from reactivation_assets.resources import PlatformParam
from reactivation_core.visit_gaps import WINDOW_DAYS
from reactivation_core.visit_gaps import visit_gaps as gaps_of
from reactivation_resources.rule_intervals import month_start

CHECKS = [
    Check(
        "gaps_lie_end_to_end",
        "the gaps of a client and service add up to no more than the two years looked at",
        lambda _, frame: no_rows(
            frame.lazy()
            .group_by("company_id", "service_id", "client_id")
            .agg(pl.col("gap_days").cast(pl.Int64).sum())
            .filter(pl.col("gap_days") > WINDOW_DAYS)
            .collect(engine="streaming"),
            "clients with more days than there are",
        ),
    ),
]


@daily_asset(
    "visit_gaps", group="intervals", deps=["companies", "clients", "visits"], checks=CHECKS, partitions=MONTHLY
)
def visit_gaps(context: dg.AssetExecutionContext, platform: PlatformParam) -> dg.MaterializeResult:
    """Gaps in days between consecutive visits of a client, per service and over all services, in the two years before the month.

    One row per gap, of attended visits known when the month began; a row without a service is of visits for any.
    """
    mirror = platform.mirror
    companies, clients, records = (mirror.snapshot(name) for name in ("companies", "clients", "records"))
    rules, services = mirror.snapshot("rules"), mirror.snapshot("services")

    def compute(month: date) -> pl.DataFrame:
        as_of = month_start(platform.calendar, month)
        return gaps_of(companies=companies, clients=clients, records=records, as_of=as_of)

    def picture(month: date, frame: pl.DataFrame) -> str:
        """The gaps of the service with the most of them that has a rule, and the interval its rule has at present."""
        most = (
            _by_service(frame)
            .lazy()
            .join(rules.filter("active"), on=["company_id", "service_id"])
            .join(services, on=["company_id", "service_id"])
            .sort("gaps", "company_id", "service_id", descending=[True, False, False])
            .select("company_id", "service_id", "title", "interval_days")
            .first()
            .collect()
        )
        if most.is_empty():
            return histogram([], f"No gaps of a service with a rule, {month:%Y-%m}")
        company, service, title, interval = most.row(0)
        values = frame.filter(pl.col("company_id") == company, pl.col("service_id") == service)["gap_days"].to_list()
        words = f"{title} ({company}), {month:%Y-%m}; its rule: {interval} days"
        return histogram(values, words, threshold=interval, unit="days between visits")

    return materialize_days(
        context, platform.lake, compute, describe=_describe, picture=picture, checks=CHECKS, at_once=1
    )  # a month of many salons is large: one at a time


def _by_service(frame: pl.DataFrame) -> pl.DataFrame:
    """Clients and gaps of every service, and of any (service_id null), the most gaps first."""
    counted = pl.col("client_id").n_unique().alias("clients"), pl.len().alias("gaps")
    found = frame.lazy().group_by("company_id", "service_id").agg(counted).collect(engine="streaming")
    return found.sort("gaps", "company_id", "service_id", descending=[True, False, False])


def _describe(frame: pl.DataFrame) -> dict[str, Any]:
    most = _by_service(frame)
    anything = most.filter(pl.col("service_id").is_null())
    return {
        "companies": anything.height,
        "clients who came again": int(anything["clients"].sum()),
        "gaps over all services": int(anything["gaps"].sum()),
        "gaps of services": frame.height - int(anything["gaps"].sum()),
        "services": most.height - anything.height,
        "most gaps": markdown_table(most.head(20)),
    }
