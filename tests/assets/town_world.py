"""Salons of a running town, connected once into a database to copy from, and simulations over copies of it."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.engine import make_url

from reactivation_cli.simulation import Simulation, simulation_in
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.onboarding import connect_company, mark_number_in_use, write_default_rules
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town
from tests.databases import on_server

DAY = date(2026, 10, 14)  # a Wednesday
START = datetime(2026, 10, 14, 7, tzinfo=UTC)  # 10:00 in Moscow
TOWN: dict[str, Any] = {"salons": 2, "clients": 40, "seed": 7}
TRADES = ("beauty", "barbershop")
PLANNING = ("inactive_clients", "campaign_plan", "preference_profiles", "ranked_slots", "generated_messages")
DAILY = (*PLANNING, "sent_campaigns")


@dataclass(frozen=True)
class World:
    """A town, and a database in which its salons are connected and mirrored as of `START`."""

    town: Town
    server_url: str
    empty: str
    template: str
    redis_url: str

    @contextmanager
    def database_url(self) -> Iterator[str]:
        """A copy of the database, dropped on leaving."""
        with database_copy(self.server_url, self.template) as url:
            yield url

    @contextmanager
    def empty_database_url(self) -> Iterator[str]:
        """A database without salons, dropped on leaving."""
        with database_copy(self.server_url, self.empty) as url:
            yield url

    @contextmanager
    def simulation(
        self, database_url: str, home: Path, start: datetime = START, redis_url: str | None = None
    ) -> Iterator[Simulation]:
        """The platform over `database_url` in the town as it stands."""
        settings = self.settings(database_url, home, redis_url)
        with restored_environment(), simulation_in(self.town, settings, start) as simulation:
            yield simulation

    def settings(self, database_url: str, home: Path, redis_url: str | None = None) -> Settings:
        return Settings.load(
            database_url=database_url,
            redis_url=redis_url or self.redis_url,
            reactivation_home=home,
            reactivation_timezone="Europe/Moscow",
        )


@contextmanager
def restored_environment() -> Iterator[None]:
    """The launcher sets the variables of Dagster's processes; other tests must not see them."""
    saved = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


@contextmanager
def database_copy(server_url: str, template: str) -> Iterator[str]:
    name = f"world_{uuid.uuid4().hex[:12]}"
    on_server(server_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    finally:
        on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def open_salons(simulation: Simulation) -> None:
    """Connect every salon of the town, as an operator does: card, first mirror, rules."""
    platform = simulation.platform
    salons = sorted(simulation.town.sessions.items())
    for trade, (company, session) in zip(TRADES, salons, strict=False):
        connect = partial(
            connect_company, platform.database, company_id=int(company), business_type=trade, consent_basis="agreed at the desk",
            accepted_risks=["whatsapp_ru"], session=session, enabled=True,
        )  # fmt: skip
        platform.crm.run(lambda crm, connect=connect: connect(crm=crm))
    simulation.launcher.run("mirror_crm")
    for company, _ in salons:
        write_default_rules(platform.database, int(company))
        mark_number_in_use(platform.database, int(company), simulation.clock.now() - timedelta(days=100))


def rows(database: Database, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with database.begin() as connection:
        return [dict(row) for row in connection.execute(text(query), parameters).mappings()]


def frame(lake: Lake, asset: str, day: date = DAY) -> pl.DataFrame:
    return lake.scan(asset, day).collect()


def fingerprints(lake: Lake, assets: tuple[str, ...] = DAILY, day: date = DAY) -> dict[str, str]:
    """The bytes of each asset's file, in short."""
    return {asset: hashlib.sha256(Path(lake.path(asset, day)).read_bytes()).hexdigest() for asset in assets}


def outside_calls(town: Town) -> dict[str, int]:
    """How often the CRM and the gateway were called, by route."""
    counts: dict[str, int] = town.calls()["counts"]
    return counts
