"""What the lake's visit history costs: from nothing, after changes, and read by the campaign day, beside reading it all from PostgreSQL.

    python benchmarks/visit_history.py --clients 1000000

Every step is a fresh process: seconds in all, CPU seconds of the process (the server's are its own), peak memory with the imports. Changes
are one more cancellation for some clients of every company, or for all clients of some companies. `--shares 5 10 20 40` finds the share of
changed clients above which a rebuild is cheaper than a refresh. The database is that of `pull_visits.py`, and stays for the next run, as does
the lake in `--folder`; `pull_visits.py --drop` removes it. Trust the ratios of one run; seconds depend on the machine's other work.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
from pull_visits import COLUMNS, ORDER, SCHEMA, book, company_ranges, peak_memory

from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.visit_history import VisitHistory
from reactivation_resources.visit_segments import Manifest, Segments

AS_OF = datetime(2026, 11, 20, 7, tzinfo=UTC)
NEEDED = ("company_id", "client_id", "service_id", "starts_at", "created_at", "status", "deleted", "price_minor")
ONE_MORE_CANCELLED = """
    UPDATE record_lines SET status = 'cancelled' WHERE (company_id, record_id, line) IN (
        SELECT DISTINCT ON (company_id, client_id) company_id, record_id, line FROM record_lines
        WHERE status = 'attended' AND {} ORDER BY company_id, client_id, starts_at DESC, record_id, line
    )
"""
SHARE_OF_CLIENTS = "client_id / 97 % 1000 < {}"
SHARE_OF_COMPANIES = "(company_id - 1200000) / 37 % 100 = {}"
EXPORT = f"SELECT {COLUMNS} FROM record_lines WHERE client_id IS NOT NULL AND company_id BETWEEN %(first)s AND %(last)s {ORDER}"


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the lake's visit history.")
    arguments.add_argument(
        "--url", default="postgresql://root@127.0.0.1/postgres", help="the server, by any database of it"
    )
    arguments.add_argument("--clients", type=int, default=1_000_000)
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reactivation-benchmark")
    arguments.add_argument("--shares", type=int, nargs="*", default=[], help="per cent of the clients that change")
    options = arguments.parse_args()
    url = book(options.url, options.clients, options.folder)
    place = (url, str(options.folder / f"lake-{options.clients}"))
    print(f"{'step':<44}{'wall s':>8}{'CPU s':>8}{'MB':>7}")
    _step("imports only", _nothing, *place)
    _step("rebuild", _rebuild, *place)
    _step("refresh, nothing changed", _refresh, *place)
    print(f"changed: {_change(url, SHARE_OF_CLIENTS.format(10)):,} clients over all companies")
    _step("refresh, 1 % of the clients", _refresh, *place)
    print(f"changed: {_change(url, SHARE_OF_COMPANIES.format(50)):,} clients of 1 % of the companies")
    _step("refresh, 1 % of the companies", _refresh, *place)
    for share in options.shares:
        print(f"changed: {_change(url, SHARE_OF_CLIENTS.format(10 * share)):,} clients over all companies")
        _step(f"refresh, {share} % of the clients", _refresh, *place)
    _step("compare lake and PostgreSQL, line by line", _compare, *place)
    _step("rebuild once more", _rebuild, *place)
    _step("the day's columns, from the lake", _scan, *place)
    _step("the day's columns, one company of the lake", _scan_one, *place)
    _step("the day's columns, from PostgreSQL", _copy, *place)


def _step(title: str, work: Callable[..., str], *arguments: Any) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        wall, cpu, memory, words = process.submit(_measured, work, *arguments).result()
    print(f"{title:<44}{wall:8.2f}{cpu:8.2f}{memory:7.0f}   {words}", flush=True)


def _measured(work: Callable[..., str], *arguments: Any) -> tuple[float, float, float, str]:
    wall, cpu = time.perf_counter(), time.process_time()
    words = work(*arguments)
    spent = time.perf_counter() - wall, time.process_time() - cpu
    return *spent, peak_memory(), words


def _database(url: str) -> Database:
    return Database(url.replace("postgresql://", "postgresql+psycopg://"))


def _history(url: str, lake: str) -> VisitHistory:
    return VisitHistory(_database(url), Lake(lake), rebuild_above=1)


def _nothing(_url: str, _lake: str) -> str:
    return ""


def _rebuild(url: str, lake: str) -> str:
    made = _history(url, lake).rebuild()
    size = sum(Path(lake, "visits", segment.file).stat().st_size for segment in made.segments)
    return f"{made.rows:,} lines of {made.clients:,} clients, {len(made.segments)} segments, {size / 1e6:,.0f} MB"


def _refresh(url: str, lake: str) -> str:
    before = {segment.file for segment in _stored(lake).segments}
    _history(url, lake).refresh()
    after = {segment.file for segment in _stored(lake).segments}
    return f"{len(after - before)} of {len(after)} segments written"


def _stored(lake: str) -> Manifest:
    manifest = Segments(Lake(lake)).stored()
    if manifest is None:
        raise SystemExit("the lake has no history")
    return manifest


def _change(url: str, whose: str) -> int:
    with psycopg.connect(url) as connection:
        return connection.execute(ONE_MORE_CANCELLED.format(whose)).rowcount


def _scan(url: str, lake: str) -> str:
    return _counted(_history(url, lake).refresh())


def _scan_one(url: str, lake: str) -> str:
    segments = _stored(lake).segments
    company = segments[len(segments) // 2].first_company
    return _counted(_history(url, lake).refresh().filter(company_id=company))


def _copy(url: str, _lake: str) -> str:
    database, columns = _database(url), {name: SCHEMA[name] for name in NEEDED}
    listed = ", ".join(NEEDED).replace("price_minor", "(price * 100)::bigint")
    query = (
        f"SELECT {listed} FROM record_lines WHERE client_id IS NOT NULL AND company_id BETWEEN %(first)s AND %(last)s"
    )
    parts = [
        _visits(database.frame(query, columns, first=first, last=last).lazy()).collect()
        for first, last in company_ranges(url)
    ]
    return _shown(pl.concat(parts).sum())


def _counted(records: pl.LazyFrame) -> str:
    return _shown(_visits(records).collect(engine="streaming"))


def _visits(records: pl.LazyFrame) -> pl.LazyFrame:
    """One row over the visits known at the as-of instant, for which every needed column must be read."""
    known = records.filter(pl.col("created_at") <= AS_OF, ~pl.col("deleted"), pl.col("status") == "attended")
    return known.select(
        pl.len(),
        pl.col("price_minor").sum(),
        days=(pl.col("starts_at").dt.epoch("s") // 86400).sum(),
        keys=(pl.col("company_id") + pl.col("client_id") + pl.col("service_id")).sum(),
    )


def _shown(row: pl.DataFrame) -> str:
    return f"{row['len'].item():,} visits, checksum {sum(row.row(0)) % 1_000_003}"


def _compare(url: str, lake: str) -> str:
    database, records, rows = _database(url), _history(url, lake).refresh(), 0
    for first, last in company_ranges(url):
        there = database.frame(EXPORT, SCHEMA, first=first, last=last)
        here = records.filter(pl.col("company_id").is_between(first, last)).collect()
        if not here.equals(there):
            raise SystemExit(f"the lake and the database differ between the companies {first} and {last}")
        rows += here.height
    return f"{rows:,} lines, the same in the same order"


if __name__ == "__main__":
    main()
