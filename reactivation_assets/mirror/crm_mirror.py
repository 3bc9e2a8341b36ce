"""`companies`, `services`, `staff`, `clients`, `visits`: the mirror of the CRM."""

from collections.abc import Iterator

import dagster as dg

from reactivation_assets.daily_frames import OWNERS
from reactivation_assets.resources import PlatformParam
from reactivation_resources.crm_sync import SyncReport, sync_companies

ALL_ANSWERED = "all_companies_answered"

# Lake asset and the name of its snapshot; one pull of a company feeds them all, so that they belong together.
SNAPSHOTS = {
    "companies": ("companies", "The salons and their settings."),
    "services": ("services", "What the salons offer, with list prices and lengths."),
    "staff": ("staff", "Who works there and does which service."),
    "clients": ("clients", "The salons' clients: phone, refusals, blacklist."),
    "visits": ("records", "The journal, line by line: past visits, bookings to come, cancellations."),
}


@dg.multi_asset(
    name="crm_mirror",
    specs=[
        dg.AssetSpec(
            asset, group_name="mirror", owners=OWNERS, kinds={"yclients", "postgres", "parquet"}, description=words
        )
        for asset, (_, words) in SNAPSHOTS.items()
    ],
    check_specs=[
        dg.AssetCheckSpec(ALL_ANSWERED, asset="visits", description="the CRM could be read for every connected company")
    ],
)
def crm_mirror(context: dg.AssetExecutionContext, platform: PlatformParam) -> Iterator[dg.MaterializeResult]:
    """Pull what has changed in every connected company and take fresh snapshots into the lake."""
    report = (
        sync_companies(platform.database, platform.crm, platform.clock.now())
        if platform.crm.configured
        else SyncReport()
    )
    if report.failed:
        context.log.warning("the CRM could not be read for %d of %d companies", len(report.failed), report.companies)
    for asset, (snapshot, _) in SNAPSHOTS.items():
        platform.mirror.snapshot(snapshot)
        yield dg.MaterializeResult(
            asset_key=asset,
            metadata={
                "dagster/row_count": platform.lake.rows(asset),
                "dagster/uri": platform.lake.path(asset),
                "changed": report.changed.get(snapshot, 0),
                "rejected cards": report.rejected,
            },
            check_results=[_answered(report)] if asset == "visits" else [],
        )


def _answered(report: SyncReport) -> dg.AssetCheckResult:
    reasons = {str(company): reason for company, reason in list(report.failed.items())[:20]}
    return dg.AssetCheckResult(
        check_name=ALL_ANSWERED, passed=not report.failed, severity=dg.AssetCheckSeverity.WARN, metadata=reasons
    )
