"""Salons whose clients come at fixed intervals, and a platform that looks at them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text

from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from reactivation_resources.upsert import upsert

NOW = datetime(2026, 11, 20, 9, tzinfo=UTC)
MONTH = "2026-11-01"
LAST_VISIT = datetime(2026, 10, 31, 9, tzinfo=UTC)
CUT, COLOUR, RITUAL = 1, 2, 3
TITLES = {CUT: "Мужская стрижка", COLOUR: "Окрашивание", RITUAL: "Stone ritual"}
DEFAULTS = {CUT: 28, COLOUR: 50, RITUAL: 30}


@contextmanager
def platform_at(database_url: str, redis_url: str, home: Path, now: datetime = NOW) -> Iterator[Platform]:
    """A platform on a clock that shows `now`."""
    settings = Settings.load(
        database_url=database_url, redis_url=redis_url, reactivation_home=home, reactivation_timezone="Europe/Moscow"
    ).model_copy(update={"yclients_base_url": "http://127.0.0.1:9"})
    platform = Platform(settings, SimulatedClock(now), ServerUrls(database_url, redis_url))
    yield platform
    platform.close()


def open_salon(
    database: Database, company: int, gaps: Mapping[int, int], *, every: int = 40, last: datetime = LAST_VISIT
) -> None:
    """A salon with three services and a rule for each; `gaps` says how many gaps of `every` days each service has.

    A client has five gaps at most, the last visit being on the day of `last`; client ids tell the service.
    """
    services = pl.DataFrame({"company_id": company, "service_id": list(TITLES), "title": list(TITLES.values())})
    rules = services.select("company_id", "service_id", default_interval=pl.Series(DEFAULTS.values()).cast(pl.Int16))
    lines = []
    for service, count in gaps.items():
        for first in range(0, count, 5):
            lines += [
                {"client_id": service * 1000 + first, "service_id": service, "starts_at": last - timedelta(days=every * back)}
                for back in range(min(5, count - first) + 1)
            ]  # fmt: skip
    journal = pl.DataFrame(
        lines,
        schema={"client_id": pl.Int64, "service_id": pl.Int64, "starts_at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    with database.begin() as connection:
        upsert(
            connection,
            "companies",
            pl.DataFrame({
                "company_id": [company], "title": ["Salon"], "timezone": ["Europe/Moscow"], "country": ["RU"], "currency": ["RUB"],
                "business_type": ["beauty"], "consent_basis": ["agreement"],
            }),
        )  # fmt: skip
        upsert(connection, "services", services)
        upsert(connection, "service_reactivation_rules", rules)
        upsert(
            connection,
            "record_lines",
            journal.with_columns(
                company_id=pl.lit(company, pl.Int64), record_id=pl.int_range(pl.len(), dtype=pl.Int64), line=pl.lit(0, pl.Int16),
                status=pl.lit("attended"), created_at="starts_at",
            ),
        )  # fmt: skip


def set_rule(database: Database, company: int, service: int, **columns: Any) -> None:
    """Write columns of a rule as the salon's own page would."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    with database.begin() as connection:
        connection.execute(
            text(f"UPDATE service_reactivation_rules SET {assignments} WHERE (company_id, service_id) = (:company, :service)"),
            {**columns, "company": company, "service": service},
        )  # fmt: skip


def rule_columns(database: Database, column: str, company: int = 1) -> dict[int, int | None]:
    """One column of a company's rules by service."""
    with database.begin() as connection:
        found = connection.execute(
            text(f"SELECT service_id, {column} FROM service_reactivation_rules WHERE company_id = :company ORDER BY 1"),
            {"company": company},
        )
        return dict(map(tuple, found))


def rules_version(database: Database) -> int:
    """The version that tells readers of the rules that something changed."""
    with database.begin() as connection:
        return connection.execute(text("SELECT version FROM mirror_versions WHERE name = 'rules'")).scalar_one()
