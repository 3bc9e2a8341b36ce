"""`companies`, `services`, `staff`, `clients`, `visits`: the mirror of the CRM.

Runs may overlap: a company that another run has read meanwhile is left alone.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from reactivation_assets.daily_frames import OWNERS
from reactivation_assets.resources import PlatformParam
from reactivation_resources.crm_hints import sync_hinted
from reactivation_resources.crm_merge import companies_behind
from reactivation_resources.crm_sync import SyncReport
from reactivation_resources.platform import Platform

ALL_ANSWERED = "all_companies_answered"
UP_TO_DATE = "all_companies_up_to_date"
LONGEST_BEHIND = timedelta(days=1)
LISTED = 20
"""Companies that are named in a run's metadata."""

# Lake asset and the name of its snapshot; one pull of a company feeds them all, so that they belong together.
SNAPSHOTS = {
    "companies": ("companies", "The salons and their settings."),
    "services": ("services", "What the salons offer, with list prices and lengths."),
    "staff": ("staff", "Who works there and does which service."),
    "clients": ("clients", "The salons' clients: phone, refusals, blacklist."),
    "visits": ("records", "The journal, line by line: past visits, bookings to come, cancellations."),
}


class MirrorScope(dg.Config):
    """What a run is to read."""

    companies: list[int] = Field(default=[], description="only these companies; none: all of them")


@dg.multi_asset(
    name="crm_mirror",
    specs=[
        dg.AssetSpec(
            asset, group_name="mirror", owners=OWNERS, kinds={"yclients", "postgres", "parquet"}, description=words
        )
        for asset, (_, words) in SNAPSHOTS.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(
            ALL_ANSWERED, asset="visits", description="the CRM could be read for every connected company"
        ),
        dg.AssetCheckSpec(UP_TO_DATE, asset="visits", description="no company's mirror is more than a day old"),
    ],
)
def crm_mirror(
    context: dg.AssetExecutionContext, config: MirrorScope, platform: PlatformParam
) -> Iterator[dg.MaterializeResult]:
    """Pull what has changed in every connected company and take fresh snapshots into the lake.

    Asked for some companies only, it takes no snapshots: whoever reads one has it brought up to date.
    """
    scope = config.companies or None
    report = SyncReport()
    if platform.crm.configured:
        report = sync_hinted(platform.database, platform.crm, platform.clock, companies=scope)
    if report.failed:
        context.log.warning("the CRM could not be read for %d of %d companies", len(report.failed), report.companies)
    for asset, (snapshot, _) in SNAPSHOTS.items():
        metadata: dict[str, Any] = {
            "changed": report.changed[snapshot],
            "rejected cards": report.rejected,
            "failed companies": len(report.failed),
            "companies still loading": _first({str(k): f"{share:.0%}" for k, share in report.loading.items()}),
            "calls": dict(report.calls),
        }
        if scope is None:
            rows = platform.mirror.snapshot(snapshot).select(pl.len()).collect().item()
            metadata |= {"dagster/row_count": rows, "dagster/uri": platform.mirror.location(snapshot)}
        yield dg.MaterializeResult(
            asset_key=asset,
            metadata=metadata,
            check_results=[_answered(report), _up_to_date(platform)] if asset == "visits" else [],
        )


def _answered(report: SyncReport) -> dg.AssetCheckResult:
    reasons = {str(company): reason for company, reason in report.failed.items()}
    return dg.AssetCheckResult(
        check_name=ALL_ANSWERED,
        passed=not reasons,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=_first(reasons),
    )


def _up_to_date(platform: Platform) -> dg.AssetCheckResult:
    behind = companies_behind(platform.database, platform.clock.now() - LONGEST_BEHIND)
    return dg.AssetCheckResult(
        check_name=UP_TO_DATE,
        passed=not behind,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=_first({str(company): since.isoformat() for company, since in behind.items()}),
    )


def _first(told: dict[str, str]) -> dict[str, str]:
    """So many of them as people read."""
    return dict(list(told.items())[:LISTED])
