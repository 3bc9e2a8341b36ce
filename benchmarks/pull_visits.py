"""What it costs to get the visits out of PostgreSQL, in ranges of companies of about a million lines, as the lake's history needs them.

    python benchmarks/pull_visits.py --clients 1000000

Every way is a process of its own; range by range they take turns, so that what else the machine does hits all of them, and they must
give the same rows in the same order. Columns: seconds in all, CPU seconds of the way's process and of its server process (where the way
tells which that is), peak memory. A way whose library is not installed is left out: ADBC and connectorx are no dependencies of the product
(`pip install adbc-driver-postgresql connectorx` into an environment of your own, and run the script with its Python and `PYTHONPATH=.`).
The database `reactivation_bench_<clients>` is made on the server at `--url` and stays for the next run; `--drop` removes it.
"""

import argparse
import importlib.util
import io
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import psycopg
from psycopg import sql

from reactivation_resources.database.engine import migrate, scan_copy

INSTANT = pl.Datetime("us", "UTC")
SCHEMA = {
    "company_id": pl.Int64, "client_id": pl.Int64, "record_id": pl.Int64, "line": pl.Int16, "starts_at": INSTANT, "staff_id": pl.Int64,
    "service_id": pl.Int64, "price_minor": pl.Int64, "status": pl.String, "deleted": pl.Boolean, "created_at": INSTANT,
}  # fmt: skip
KEY = ("company_id", "client_id", "starts_at", "record_id", "line")
COLUMNS = "company_id, client_id, record_id, line, starts_at, staff_id, service_id, (price * 100)::bigint AS price_minor, status, deleted, created_at"
WANTED = "FROM record_lines WHERE client_id IS NOT NULL AND company_id BETWEEN {} AND {}"
ORDER = f" ORDER BY {', '.join(KEY)}"
RANGE_ROWS = 1_000_000
STATUSES = ("attended", "booked", "confirmed", "no_show", "cancelled")
NOTHING = -(2**63)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure pulling visits out of PostgreSQL.")
    arguments.add_argument(
        "--url", default="postgresql://root@127.0.0.1/postgres", help="the server, by any database of it"
    )
    arguments.add_argument("--clients", type=int, default=1_000_000)
    arguments.add_argument("--ranges", type=int, help="stop after so many ranges")
    arguments.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reactivation-benchmark")
    arguments.add_argument("--drop", action="store_true", help="remove the database and end")
    options = arguments.parse_args()
    if options.drop:
        drop_book(options.url, options.clients)
        return
    url = book(options.url, options.clients, options.folder)
    ways = [name for name, (_, library) in WAYS.items() if library is None or importlib.util.find_spec(library)]
    workers = {way: _start(way, url) for way in ways}
    figures: dict[str, list[Figures]] = {way: [] for way in ways}
    for number, span in enumerate(company_ranges(url)[: options.ranges]):
        for way in ways[number % len(ways) :] + ways[: number % len(ways)]:  # none is always the first to read a range
            workers[way].send(span)
            figures[way].append(workers[way].recv())
        if len({figures[way][-1].checksum for way in ways}) != 1:
            raise SystemExit(f"the ways disagree about companies {span}: {[(way, figures[way][-1]) for way in ways]}")
    print(f"{sum(run.rows for run in figures[ways[0]]):,} lines in {len(figures[ways[0]])} ranges")
    print(f"{'way':<31}{'wall s':>8}{'own CPU s':>11}{'server CPU s':>14}{'MB':>7}")
    for way, runs in figures.items():
        wall, cpu, server = (sum(getattr(run, key) for run in runs) for key in ("wall", "cpu", "server"))
        print(f"{way:<31}{wall:8.1f}{cpu:11.1f}{server or '-':>14.4}{runs[-1].memory:7.0f}")
        workers[way].send(None)


class Figures(NamedTuple):
    """What one range cost: seconds, and peak memory so far in MB."""

    wall: float
    cpu: float
    server: float
    memory: float
    rows: int
    checksum: int


def _start(way: str, url: str) -> Connection:
    """A process that pulls the ranges it is sent."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_work, args=(way, url, theirs), daemon=True).start()
    return ours


def _work(way: str, url: str, orders: Connection) -> None:
    pull, server_pid = WAYS[way][0](url)
    while (span := orders.recv()) is not None:
        wall, cpu, server = time.perf_counter(), time.process_time(), _cpu(server_pid)
        frame = pull(*span)
        spent = time.perf_counter() - wall, time.process_time() - cpu, _cpu(server_pid) - server
        if dict(frame.schema) != SCHEMA:
            raise SystemExit(f"{way}: {frame.schema}")
        orders.send(Figures(*spent, peak_memory(), frame.height, sum(_sum(frame))))


def peak_memory() -> float:
    """The most memory this process has had, MB. (The usual `ru_maxrss` of a child begins with its parent's.)"""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _cpu(pid: int | None) -> float:
    """CPU seconds of a process of this machine."""
    if pid is None or not Path(f"/proc/{pid}/stat").exists():
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _sum(frame: pl.DataFrame) -> tuple[int, ...]:
    """What every way must agree on: it depends on all columns, and cheaply on the order of the clients."""
    numbers = frame.select(
        pl.col("client_id") % 1009 * (pl.int_range(pl.len()) % 13), pl.col("record_id") % 1009 + pl.col("line"), pl.col("company_id") % 1009,
        pl.col("starts_at").dt.epoch("us") % 100_003, pl.col("created_at").dt.epoch("us") % 100_003, pl.col("staff_id") % 1009,
        pl.col("service_id") % 1009, pl.col("price_minor"), pl.col("status").str.len_bytes().cast(pl.Int64), pl.col("deleted").cast(pl.Int64),
        nothing=pl.col("price_minor").is_null().cast(pl.Int64),
    )  # fmt: skip
    return tuple(value or 0 for value in numbers.sum().row(0))


Pull = tuple[Callable[[int, int], pl.DataFrame], int | None]
"""A way to pull the companies from first to last, and the process of the server that it talks to."""


def _copied(connection: psycopg.Connection, query: str) -> io.BytesIO:
    buffer = io.BytesIO()
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for chunk in copy:
            buffer.write(chunk)
    buffer.seek(0)
    return buffer


def _csv(url: str, *, sorted_there: bool) -> Pull:
    connection = _connect(url)

    def pull(first: int, last: int) -> pl.DataFrame:
        query = f"SELECT {COLUMNS} {WANTED.format(first, last)}{ORDER if sorted_there else ''}"
        frame = scan_copy(_copied(connection, f"COPY ({query}) TO STDOUT (FORMAT csv)"), SCHEMA)
        return frame.collect() if sorted_there else frame.sort(KEY).collect()

    return pull, connection.info.backend_pid


def _csv_of_numbers(url: str) -> Pull:
    """Instants as microseconds: neither side writes or reads them as text."""
    connection = _connect(url)
    instants = [name for name, kind in SCHEMA.items() if kind == INSTANT]
    columns, schema = COLUMNS, dict(SCHEMA)
    for name in instants:
        columns = columns.replace(name, f"(date_part('epoch', {name}) * 1000000)::bigint AS {name}")
        schema[name] = pl.Int64

    def pull(first: int, last: int) -> pl.DataFrame:
        query = f"SELECT {columns} {WANTED.format(first, last)}"
        frame = scan_copy(_copied(connection, f"COPY ({query}) TO STDOUT (FORMAT csv)"), schema)
        at = [pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC") for name in instants]
        return frame.with_columns(at).sort(KEY).collect()

    return pull, connection.info.backend_pid


def _binary(url: str) -> Pull:
    """Rows of fixed length: numbers only, nothing null; so that one NumPy type reads them all."""
    connection = _connect(url)
    wide, fields = (
        ">i8",
        ["company_id", "client_id", "record_id", "starts_at", "staff_id", "service_id", "price_minor", "created_at"],
    )
    layout = [("fields", ">i2")]
    for name in [*fields, "line", "status", "deleted"]:
        layout += [(f"{name}_length", ">i4"), (name, wide if name in fields else "i1" if name == "deleted" else ">i2")]
    row = np.dtype(layout)
    numbered = f"array_position(ARRAY{list(STATUSES)!r}, status)::smallint"
    columns = (
        f"company_id, client_id, record_id, starts_at, coalesce(staff_id, {NOTHING}), coalesce(service_id, {NOTHING}),"
        f" coalesce((price * 100)::bigint, {NOTHING}), created_at, line, {numbered}, deleted"
    )
    epoch = 946_684_800_000_000  # PostgreSQL counts from 2000

    def pull(first: int, last: int) -> pl.DataFrame:
        query = f"SELECT {columns} {WANTED.format(first, last)}"
        content = _copied(connection, f"COPY ({query}) TO STDOUT (FORMAT binary)").getbuffer()
        rows = np.frombuffer(content[19:-2], dtype=row)
        frame = pl.DataFrame(
            {
                name: rows[name].astype(rows[name].dtype.newbyteorder("="))
                for name in [*fields, "line", "status", "deleted"]
            }
        )
        number = [
            pl.when(pl.col(name) != NOTHING).then(pl.col(name)).alias(name)
            for name in ("staff_id", "service_id", "price_minor")
        ]
        at = [
            (pl.col(name) + epoch).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
            for name in ("starts_at", "created_at")
        ]
        status = pl.lit(pl.Series(STATUSES)).gather(pl.col("status").cast(pl.Int64) - 1).alias("status")
        return frame.with_columns(*number, *at, status, pl.col("deleted") != 0).select(*SCHEMA).sort(KEY)

    return pull, connection.info.backend_pid


def _adbc(url: str, *, sorted_there: bool = False) -> Pull:
    from adbc_driver_postgresql import dbapi

    connection = dbapi.connect(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def pull(first: int, last: int) -> pl.DataFrame:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {COLUMNS} {WANTED.format(first, last)}{ORDER if sorted_there else ''}")
            frame = pl.DataFrame(cursor.fetch_arrow_table())
        return frame if sorted_there else frame.sort(KEY)

    return pull, pid


def _connectorx(url: str) -> Pull:
    import connectorx

    def pull(first: int, last: int) -> pl.DataFrame:
        table: Any = connectorx.read_sql(
            url, f"SELECT {COLUMNS} {WANTED.format(first, last)}", return_type="arrow", protocol="binary"
        )
        return pl.DataFrame(table).cast(SCHEMA).sort(KEY)

    return pull, None


WAYS: dict[str, tuple[Callable[[str], Pull], str | None]] = {
    "COPY csv, sorted by server": (lambda url: _csv(url, sorted_there=True), None),
    "COPY csv, sorted by Polars": (lambda url: _csv(url, sorted_there=False), None),
    "COPY csv, instants as numbers": (_csv_of_numbers, None),
    "COPY binary, fixed rows": (_binary, None),
    "ADBC": (_adbc, "adbc_driver_postgresql"),
    "ADBC, sorted by server": (lambda url: _adbc(url, sorted_there=True), "adbc_driver_postgresql"),
    "connectorx": (_connectorx, "connectorx"),
}


# ---------------------------------------------------------------- the database


def book(url: str, clients: int, folder: Path) -> str:
    """The URL of a database that holds the town of so many clients, made unless it is there: each salon's lines in the order of time."""
    name = f"reactivation_bench_{clients}"
    there = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
    target = url.removesuffix(there) + name
    with psycopg.connect(url, autocommit=True) as server:
        if server.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            return target
        import generate

        began = time.perf_counter()
        lines = pl.scan_parquet(generate.town(folder, clients) / "records.parquet")
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for setting in ("timezone TO 'UTC'", "work_mem TO '256MB'", "max_parallel_workers_per_gather TO 0"):
            server.execute(sql.SQL(f"ALTER DATABASE {{}} SET {setting}").format(sql.Identifier(name)))
    migrate(target.replace("postgresql://", "postgresql+psycopg://"))
    with psycopg.connect(target, autocommit=True) as connection:
        companies = lines.select("company_id").unique().sort("company_id").collect().to_series()
        for some in companies.to_frame().iter_slices(50):
            part = lines.filter(pl.col("company_id").is_between(some.item(0, 0), some.item(-1, 0))).sort(
                "company_id", "starts_at"
            )
            rows = part.select(
                *list(SCHEMA)[:7], pl.col("price_minor") / 100, "status", "deleted", "created_at"
            ).collect()
            into = "COPY record_lines (company_id, client_id, record_id, line, starts_at, staff_id, service_id, price, status, deleted, created_at)"
            with connection.cursor() as cursor, cursor.copy(f"{into} FROM STDIN (FORMAT csv)") as copy:
                copy.write(rows.write_csv(include_header=False).encode())
        connection.execute("VACUUM (ANALYZE)")
        size = connection.execute("SELECT pg_size_pretty(pg_database_size(current_database()))").fetchone()
    print(f"made database {name}, {size[0] if size else ''}, in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return target


def drop_book(url: str, clients: int) -> None:
    """Remove the database of `book`."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(f"reactivation_bench_{clients}"))
        )


def company_ranges(url: str) -> list[tuple[int, int]]:
    """First and last company of neighbours with about a million lines together."""
    with _connect(url) as connection:
        counted = connection.execute(
            "SELECT company_id, count(*) FROM record_lines WHERE client_id IS NOT NULL GROUP BY 1 ORDER BY 1"
        ).fetchall()
    return list(_ranges(counted))


def _ranges(counted: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    first, rows = None, 0
    for place, (company, count) in enumerate(counted):
        first = company if first is None else first
        rows += count
        if rows >= RANGE_ROWS or place == len(counted) - 1:
            yield first, company
            first, rows = None, 0


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


if __name__ == "__main__":
    main()
