"""What visits teach the rules: the historical interval of every rule, and suggestions where history is short.

Written by the monthly asset for all salons and by `learn_intervals` for one that has just been connected. What to keep out: how intervals
are measured (reactivation_core.visit_gaps), which of a rule's intervals counts (reactivation_core.intervals), and who suggests.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

import polars as pl
from sqlalchemy import text

from reactivation_core.intervals import Suggestion, suggestion_range
from reactivation_core.visit_gaps import service_intervals, visit_gaps
from reactivation_resources.calendar import Calendar
from reactivation_resources.database.engine import Database, FrameSchema
from reactivation_resources.platform import Platform
from reactivation_resources.upsert import bump

log = logging.getLogger(__name__)

_HISTORY = """
UPDATE service_reactivation_rules r SET calculated_avg_interval = learned.days
FROM service_reactivation_rules own
LEFT JOIN unnest(CAST(:ids AS bigint[]), CAST(:services AS bigint[]), CAST(:days AS smallint[]))
  AS learned (company_id, service_id, days) USING (company_id, service_id)
WHERE own.company_id = ANY(CAST(:companies AS bigint[])) AND (r.company_id, r.service_id) = (own.company_id, own.service_id)
  AND r.calculated_avg_interval IS DISTINCT FROM learned.days
"""
_SUGGESTED = """
UPDATE service_reactivation_rules r SET ai_suggested_interval = s.days
FROM unnest(CAST(:ids AS bigint[]), CAST(:services AS bigint[]), CAST(:days AS smallint[])) AS s (company_id, service_id, days)
WHERE (r.company_id, r.service_id) = (s.company_id, s.service_id) AND r.manual_interval IS NULL
  AND r.calculated_avg_interval IS NULL AND r.ai_suggested_interval IS DISTINCT FROM s.days
"""
_COUNTS = """
SELECT count(*) AS rules, count(manual_interval) AS manual, count(calculated_avg_interval) AS historical
FROM service_reactivation_rules WHERE company_id = ANY(CAST(:companies AS bigint[]))
"""
_LACKING = """
SELECT company_id, service_id, s.title, c.business_type, r.default_interval, r.ai_suggested_interval
FROM service_reactivation_rules r JOIN services s USING (company_id, service_id) JOIN companies c USING (company_id)
WHERE r.active AND s.active AND r.manual_interval IS NULL AND r.calculated_avg_interval IS NULL
  AND company_id = ANY(CAST(%(companies)s AS bigint[])) ORDER BY company_id, service_id
"""
_LACKING_SCHEMA: FrameSchema = {
    "company_id": pl.Int64, "service_id": pl.Int64, "title": pl.String, "business_type": pl.String,
    "default_interval": pl.Int64, "ai_suggested_interval": pl.Int64,
}  # fmt: skip


Suggest = Callable[[pl.DataFrame], Iterable[Suggestion]]
"""Asked with the frame `needs_suggestion`; may answer for some of its services or none, and may fail."""


@dataclass(frozen=True)
class RulesLearned:
    """What the rules hold now: how many there are, with a manual and with a historical interval; how many changed; which lack one."""

    rules: int
    manual: int
    historical: int
    changed: int
    needs_suggestion: pl.DataFrame
    suggested: tuple[Suggestion, ...] = ()


def present_month(calendar: Calendar) -> date:
    """The first day of the running month: its partition is the one whose intervals the rules get."""
    return calendar.today().replace(day=1)


def month_start(calendar: Calendar, month: date) -> datetime:
    """The as-of instant of a month: the first instant of its first day, so that a run on that day looks at nothing to come.

    Raises ValueError for a month that has not begun.
    """
    start, _ = calendar.bounds(month)
    if start > calendar.now():
        raise ValueError(f"the month {month:%Y-%m} has not begun: it does at {start.isoformat()}")
    return start


def learn_intervals(
    platform: Platform, companies: Collection[int] | None = None, suggest: Suggest | None = None
) -> RulesLearned:
    """Give the rules of `companies` (all that are mirrored, unless named) their historical intervals as of the running month.

    For a salon that has just been connected: its journal and its rules are there, and the next monthly run is far. The rules get what
    materializing the running month gives them. Companies that are not mirrored yet are left alone.
    """
    known = platform.mirror.snapshot("companies").select("company_id").collect()["company_id"].to_list()
    listed = [company for company in known if companies is None or company in companies]
    return write_intervals(platform.database, measure_intervals(platform, listed), listed, suggest)


def measure_intervals(platform: Platform, companies: Collection[int]) -> pl.DataFrame:
    """The frame `service_intervals` of `companies` as of the running month, from the mirror as it is now."""

    def of_these(name: str) -> pl.LazyFrame:
        return platform.mirror.snapshot(name).filter(pl.col("company_id").is_in(list(companies)))

    gaps = visit_gaps(
        companies=of_these("companies"),
        clients=of_these("clients"),
        records=of_these("records"),
        as_of=month_start(platform.calendar, present_month(platform.calendar)),
    )
    return service_intervals(gaps)


def write_intervals(
    database: Database, intervals: pl.DataFrame, companies: Collection[int], suggest: Suggest | None = None
) -> RulesLearned:
    """Write the historical interval of every rule of `companies` from the frame `service_intervals`, null where it has none.

    Manual intervals stay; the version of the rules is raised only when one of them changed. `suggest` is asked for services of active rules
    with neither a manual nor a historical interval; without it nothing is suggested, and what was suggested before stays.
    """
    learned = intervals.drop_nulls(["service_id", "historical_days"])
    parameters = {
        "companies": list(companies),
        "ids": learned["company_id"].to_list(),
        "services": learned["service_id"].to_list(),
        "days": learned["historical_days"].to_list(),
    }
    with database.begin() as connection:
        changed = connection.execute(text(_HISTORY), parameters).rowcount
        counts = connection.execute(text(_COUNTS), parameters).one()
        if changed:
            bump(connection, "rules")
    lacking = needs_suggestion(database, companies)
    suggested = _accepted(lacking, suggest) if suggest is not None and lacking.height else ()
    return RulesLearned(
        counts.rules,
        counts.manual,
        counts.historical,
        changed + _write_suggestions(database, suggested),
        lacking,
        suggested,
    )


def needs_suggestion(database: Database, companies: Collection[int]) -> pl.DataFrame:
    """Services of active rules of `companies` with neither a manual nor a historical interval: the frame `needs_suggestion`.

    Columns: company_id, service_id, title, business_type, default_interval, ai_suggested_interval (what was suggested before, or null).
    """
    return database.frame(_LACKING, _LACKING_SCHEMA, companies=list(companies))


def _accepted(lacking: pl.DataFrame, suggest: Suggest) -> tuple[Suggestion, ...]:
    """The suggestions for services that were asked about, each drawn into the range that is sane for its title.

    Whoever suggests may be out of reach: then there are none, and the defaults hold.
    """
    try:
        found = list(suggest(lacking))
    except Exception as error:
        log.warning("no intervals are suggested: %s", type(error).__name__)
        return ()
    titles = {(company, service): title for company, service, title in lacking.select("company_id", "service_id", "title").iter_rows()}  # fmt: skip
    accepted: dict[tuple[int, int], Suggestion] = {}
    for one in found:
        key = one.company_id, one.service_id
        if key not in titles:
            log.warning("an interval is suggested for service %s of company %s, which nobody asked for", *reversed(key))
            continue
        low, high = suggestion_range(titles[key])
        accepted[key] = replace(one, days=min(max(one.days, low), high))
    return tuple(accepted.values())


def _write_suggestions(database: Database, suggested: Collection[Suggestion]) -> int:
    """Write them where no better interval has come up meanwhile; returns how many rules changed."""
    if not suggested:
        return 0
    parameters = {
        "ids": [one.company_id for one in suggested],
        "services": [one.service_id for one in suggested],
        "days": [one.days for one in suggested],
    }
    with database.begin() as connection:
        changed = connection.execute(text(_SUGGESTED), parameters).rowcount
        if changed:
            bump(connection, "rules")
    return changed
