"""`reactivation run`: the daily job once, as it is, or on a simulated day."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import polars as pl

from reactivation_assets.jobs import DAY, FEEDBACK
from reactivation_cli.launcher import Launcher, Progress
from reactivation_resources.lake import Lake

LISTED = (*DAY, *FEEDBACK)


@dataclass(frozen=True)
class DayReport:
    """The day in numbers."""

    day: str
    analysis_only: bool
    due: int
    excluded: dict[str, int]
    eligible: int
    planned: int
    held_out: int
    deferred: dict[str, int]
    messages: int
    sent: int

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)


def run_day(launcher: Launcher, day: date, progress: Progress | None = None) -> None:
    """Run the daily job for `day`; today's run first brings the mirror up to date."""
    platform = launcher.platform
    if platform.calendar.is_live(day) and platform.crm.configured:
        launcher.run("mirror_crm", progress=progress)
    launcher.run("daily_campaigns", partition=day.isoformat(), progress=progress)


def day_report(lake: Lake, day: date, company: int | None, *, live: bool) -> DayReport:
    """What the lake's frames say of `day`, for one company or all."""
    inactive, plan = listed(lake, "inactive_clients", day, company), listed(lake, "campaign_plan", day, company)
    sent = listed(lake, "sent_campaigns", day, company)
    return DayReport(
        day=day.isoformat(),
        analysis_only=not live,
        due=inactive.height,
        excluded=_counts(inactive.filter(pl.col("decision") == "excluded")["reason"]),
        eligible=inactive.filter(pl.col("decision") == "eligible").height,
        planned=plan.filter(pl.col("decision") == "planned").height,
        held_out=plan.filter(pl.col("decision") == "held_out").height,
        deferred=_counts(plan.filter(pl.col("decision") == "deferred")["reason"]),
        messages=listed(lake, "generated_messages", day, company).height,
        sent=sent.height - sent["sent_at"].null_count(),
    )


def listed(lake: Lake, asset: str, day: date, company: int | None) -> pl.DataFrame:
    """The rows of an asset's day, for one company or all."""
    rows = lake.scan(asset, day)
    return (rows if company is None else rows.filter(pl.col("company_id") == company)).collect()


def _counts(reasons: pl.Series) -> dict[str, int]:
    counted: Sequence[tuple[str, int]] = Counter(reasons.to_list()).most_common()
    return dict(sorted(counted, key=lambda item: (-item[1], item[0])))
