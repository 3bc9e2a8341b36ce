"""A year with both changes of the clocks, from the CRM to the days since a visit: local days are right on either side."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from reactivation_assets.detection import inactivity_inputs
from reactivation_core.inactivity import detect_inactive
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.crm_sync import sync_companies
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town, running_town

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
# Clocks change on 2026-03-08 and 2026-11-01 in Toronto, on 2026-03-29 and 2026-10-25 in Berlin, never in Kolkata.
SALONS = {
    7101: ("America/Toronto", "CA", "CAD"),
    7102: ("Europe/Berlin", "DE", "EUR"),
    7103: ("Asia/Kolkata", "IN", "INR"),
}
CHANGES = [date(2026, 3, 8), date(2026, 3, 29), date(2026, 10, 25), date(2026, 11, 1)]
HOURS = ("00:10", "01:30", "02:30", "03:10", "12:00", "23:50")
SERVICE, STAFF = 1, 1


def visit_days() -> list[date]:
    """Every day within four of a change, and the first of every month."""
    near = {change + timedelta(days=days) for change in CHANGES for days in range(-4, 5)}
    return sorted(near | {date(2026, month, 1) for month in range(1, 12)})


def book(company: int) -> dict[str, Any]:
    """A salon where every client came once: one client for every day and hour."""
    zone, country, currency = SALONS[company]
    times = [f"{day} {hour}:00" for day in visit_days() for hour in HOURS]
    return {
        "company": {
            "company_id": company, "title": zone, "business_type": "beauty", "timezone": zone, "country": country,
            "currency": currency, "phone": "", "language": "en", "exported_at": NOW.isoformat(),
        },
        "services": [{"service_id": SERVICE, "title": "Haircut", "category": "HAIR", "list_price": "10"}],
        "staff": [{"staff_id": STAFF, "name": "Kim"}],
        "clients": [{"client_id": 100 + n, "name": "Ann", "phone": ""} for n in range(len(times))],
        "records": [
            {
                "record_id": company * 10_000 + n, "client_id": 100 + n, "starts_at": starts_at, "staff_id": STAFF,
                "service_id": SERVICE, "price": "10", "status": "attended",
            }
            for n, starts_at in enumerate(times)
        ],
    }  # fmt: skip


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(seed=3, salons=0, clients=0, now=NOW - timedelta(days=1)) as running:
        for company in SALONS:
            running.load_salon(book(company))
        running.set_clock(NOW)
        yield running


@pytest.fixture
def platform(town: Town, database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = Settings.load(reactivation_home=tmp_path).model_copy(
        update={
            "yclients_base_url": town.yclients_url,
            "yclients_partner_token": SecretStr(town.partner),
            "yclients_user_token": SecretStr(town.user),
        }
    )
    opened = Platform(settings, SimulatedClock(NOW), ServerUrls(database_url, redis_url))
    with opened.database.begin() as connection:
        for company, (zone, country, currency) in SALONS.items():
            connection.execute(
                text(
                    "INSERT INTO companies (company_id, title, timezone, country, currency, consent_basis)"
                    " VALUES (:company, 'salon', :zone, :country, :currency, 'agreed')"
                ),
                {"company": company, "zone": zone, "country": country, "currency": currency},
            )
            connection.execute(
                text(
                    "INSERT INTO service_reactivation_rules (company_id, service_id, manual_interval) VALUES (:company, :service, 1)"
                ),
                {"company": company, "service": SERVICE},
            )
    yield opened
    opened.close()


def test_days_since_are_right_on_both_sides_of_every_change(platform: Platform) -> None:
    report = platform.crm.run(lambda crm: sync_companies(platform.database, crm, NOW))
    assert report.failed == {}
    assert report.rejected == 0
    inputs = inactivity_inputs(platform, NOW)
    wall = {
        (company, 100 + n): (day, hour)
        for company in SALONS
        for n, (day, hour) in enumerate((day, hour) for day in visit_days() for hour in HOURS)
    }
    _stored_instants_show_the_salons_wall_time(inputs.records.lazy().collect(), wall)
    checked = 0
    for change in CHANGES:
        for days in (-1, 0, 1, 2):
            for hour in (0, 4, 5, 6, 7, 12, 22, 23):  # UTC: midnight of every zone is among them or near
                as_of = datetime(change.year, change.month, change.day, hour, 3, tzinfo=UTC) + timedelta(days=days)
                found = {
                    (company, client): since
                    for company, client, since in detect_inactive(inputs, as_of)
                    .select("company_id", "client_id", "days_since")
                    .iter_rows()
                }
                expected = {}
                for (company, client), (day, _) in wall.items():
                    zone = ZoneInfo(SALONS[company][0])
                    since = (as_of.astimezone(zone).date() - day).days
                    if since > 1:
                        expected[company, client] = since
                assert found == expected, as_of
                checked += len(expected)
    assert checked > 10_000


def _stored_instants_show_the_salons_wall_time(
    records: pl.DataFrame, wall: dict[tuple[int, int], tuple[date, str]]
) -> None:
    assert records.height == len(wall)
    skipped = 0
    for company, client, starts_at in records.select("company_id", "client_id", "starts_at").iter_rows():
        zone = ZoneInfo(SALONS[company][0])
        day, clock = wall[company, client]
        local = datetime.fromisoformat(f"{day}T{clock}:00").replace(tzinfo=zone)
        exists = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None)
        skipped += not exists
        expected = local.astimezone(UTC)  # of an hour shown twice the first pass; a skipped one is moved on by the gap
        assert starts_at == expected
    assert skipped == 2  # 02:30 on the spring days of Toronto and Berlin
