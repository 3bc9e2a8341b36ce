"""Time the mirror's writing and its whole way from the CRM.

`python benchmarks/first_load.py merge --lines 2000000 --companies 50` stores generated windows of journals in embedded, durable PostgreSQL.
`python benchmarks/first_load.py town --salons 50 --clients 2000 --history 20` loads a town's salons over HTTP, then what a hundredth of edits changed.
Both print lines a second and this process' peak memory.
"""

import argparse
import asyncio
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import text

from reactivation_resources.crm_cards import LINES
from reactivation_resources.crm_merge import read_salon, store
from reactivation_resources.crm_pull import Pull
from reactivation_resources.crm_sync import AT_ONCE, SyncReport, sync_companies
from reactivation_resources.database.engine import Database, migrate
from reactivation_resources.embedded.servers import running_servers
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_sandbox.process import Town, running_town

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
WINDOW = 10_000  # lines; a window of a first load holds 4,000 to 16,000


@contextmanager
def open_database() -> Iterator[Database]:
    """A fresh database on a server of its own."""
    with TemporaryDirectory() as folder, running_servers(Path(folder) / "home", valkey=False) as urls:
        migrate(urls.database_url)
        database = Database(urls.database_url)
        yield database
        database.close()


def add_companies(database: Database, zones: dict[int, str]) -> None:
    with database.begin() as connection:
        for company_id, zone in zones.items():
            connection.execute(
                text(
                    "INSERT INTO companies (company_id, title, timezone, country, currency) VALUES (:id, 'Salon', :zone, 'RU', 'RUB')"
                ),
                {"id": company_id, "zone": zone},
            )


# ---------------------------------------------------------------- writing alone


def window_of(company_id: int, number: int, lines: int, clients: int) -> pl.DataFrame:
    """A window of a journal: four of five records have one line, the others two."""
    chance = np.random.default_rng(company_id * 100_000 + number)
    record = np.cumsum(chance.random(lines) > 0.17) + number * WINDOW
    first = np.r_[True, record[1:] != record[:-1]]
    start = 1_764_000_000_000_000 - number * 86_400_000_000 * 20 + record * 3_600_000_000 // 8
    columns = {
        "company_id": np.full(lines, company_id),
        "record_id": company_id * 10_000_000 + record,
        "line": np.arange(lines) - np.maximum.accumulate(np.where(first, np.arange(lines), 0)),
        "client_id": record * 7919 % clients + 1,
        "starts_at": start,
        "staff_id": record % 9 + 1,
        "service_id": chance.integers(1, 60, lines),
        "price": chance.integers(500, 9000, lines),
        "status": np.array(["attended", "attended", "attended", "no_show", "booked"])[record % 5],
        "deleted": record % 23 == 0,
        "created_at": start - 200_000_000_000,
    }
    kinds = dict(LINES) | {"starts_at": pl.Datetime("us")}
    return pl.DataFrame(columns).cast(kinds)


def store_windows(database: Database, company_id: int, frames: list[pl.DataFrame]) -> None:
    salon = read_salon(database, company_id)
    assert salon is not None
    for number, frame in enumerate(frames):
        pull = Pull(salon)
        pull.add("record_lines", frame)
        back_to = date(2026, 11, 22) - timedelta(days=20 * number)
        assert store(database, pull, NOW, loaded_back_to=back_to) is not None
        salon = replace(salon, loaded_back_to=back_to)


def merge(lines: int, companies: int) -> None:
    """Store the windows of some companies at a time, as a synchronisation does; then store the same again."""
    each = lines // companies
    with open_database() as database:
        add_companies(database, dict.fromkeys(range(1, companies + 1), "Europe/Moscow"))
        for name in ("first load", "the same again"):
            seconds = 0.0
            with ThreadPoolExecutor(AT_ONCE) as pool:
                for first in range(1, companies + 1, AT_ONCE):
                    several = range(first, min(first + AT_ONCE, companies + 1))
                    made = {
                        number: [
                            window_of(number, at // WINDOW, min(WINDOW, each - at), max(each // 20, 1))
                            for at in range(0, each, WINDOW)
                        ]
                        for number in several
                    }
                    started = time.monotonic()
                    list(pool.map(lambda number, made=made: store_windows(database, number, made[number]), several))
                    seconds += time.monotonic() - started
            print(f"{name}: {each * companies:,} lines in {seconds:.1f} s, {each * companies / seconds:,.0f} a second")
        print(f"peak memory {_memory()}")


# ---------------------------------------------------------------- the whole way


def town(salons: int, clients: int, history: int) -> None:
    """Load every salon over HTTP, again when nothing has changed, and after edits of one record in a hundred."""
    size: dict[str, Any] = {"salons": salons, "clients": clients, "history": history, "ready_within_s": 1800}
    with open_database() as database, running_town(seed=1, now=NOW, **size) as running:
        print(f"{salons} salons are founded; memory before {_memory()}")
        add_companies(database, dict.fromkeys(map(int, running.sessions), "Europe/Moscow"))
        records = _timed(database, running, "first load", NOW)
        later = NOW + timedelta(hours=1)
        running.set_clock(later)
        _timed(database, running, "an hour later", later)
        running.shuffle(seed=1, edits=records // 100)
        _timed(database, running, "after edits", later + timedelta(minutes=1))


def _timed(database: Database, running: Town, name: str, now: datetime) -> int:
    async def once() -> SyncReport:
        async with YClients(running.yclients_url, running.partner, running.user, RateLimiter("none", ())) as crm:
            return await sync_companies(database, crm, now)

    started, worked = time.monotonic(), time.process_time()
    report = asyncio.run(once())
    seconds, own = time.monotonic() - started, time.process_time() - worked
    lines = report.changed["records"]
    print(
        f"{name}: {lines:,} lines and {report.changed['clients']:,} clients changed in {seconds:.1f} s ({own:.1f} s of them our process'),"
        f" {lines / seconds:,.0f} lines a second,"
        f" {sum(report.calls.values()):,} calls, failed {len(report.failed)}, rejected {report.rejected}, peak memory {_memory()}"
    )
    return lines


def _memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("merge")
    writing.add_argument("--lines", type=int, default=2_000_000)
    writing.add_argument("--companies", type=int, default=50)
    whole = commands.add_parser("town")
    whole.add_argument("--salons", type=int, default=50)
    whole.add_argument("--clients", type=int, default=2000)
    whole.add_argument("--history", type=int, default=20, help="records per client")
    chosen = parser.parse_args()
    if chosen.command == "merge":
        merge(chosen.lines, chosen.companies)
    else:
        town(chosen.salons, chosen.clients, chosen.history)


if __name__ == "__main__":
    main()
