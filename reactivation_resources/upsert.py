"""Writing mirrored tables: whole frames in, only real changes out.

Rows go by COPY into a temporary table, which is then merged in one statement. A row that is in the table already, word for word, is not
touched: it costs no write, and it does not count as a change. What changed raises the table's version, which tells the lake that its
snapshot is old; the version of `record_lines`, "records", is raised by the table's own triggers. Writers of several tables write
`record_lines` last and `bump` after that: all of them take the versions' locks in one order. What to add here: ways to write the mirror. What
to keep out: reading it (mirror.py), and where rows come from.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from reactivation_resources.database.models import Base

VERSION_OF = {
    "companies": "companies",
    "services": "services",
    "staff": "staff",
    "clients": "clients",
    "service_reactivation_rules": "rules",
}
"""Tables whose changes their writers count, and the name under which `mirror_versions` does so."""

# Rows of the target are found by their key, one by one: OFFSET 0 keeps the planner from reading a large table for a small batch.
_VANISHED_LINES = """
DELETE FROM record_lines WHERE ctid = ANY(ARRAY(
  SELECT past.ctid FROM (
    SELECT company_id, record_id, max(line) AS last FROM staging_record_lines GROUP BY company_id, record_id
    UNION ALL SELECT company_id, record_id, -1 FROM unnest(CAST(:companies AS bigint[]), CAST(:records AS bigint[])) AS emptied(company_id, record_id)
  ) r CROSS JOIN LATERAL (
    SELECT t.ctid FROM record_lines t WHERE t.company_id = r.company_id AND t.record_id = r.record_id AND t.line > r.last OFFSET 0
  ) past))
"""


def bump(connection: Connection, *names: str) -> None:
    """Raise the versions called `names` within the writer's transaction.

    A version is the clock in microseconds, and always above the last one: a lake that outlives its database, or meets a restored one,
    never takes another history's snapshot for the present. Writers of one version wait for each other until they commit, so bump late. Names are raised in alphabetical order: two writers
    cannot lock each other out.
    """
    for name in sorted(set(names)):
        connection.execute(
            text(
                "INSERT INTO mirror_versions (name, version) VALUES (:name, extract(epoch FROM clock_timestamp()) * 1000000)"
                " ON CONFLICT (name) DO UPDATE SET version = greatest(mirror_versions.version + 1, excluded.version)"
            ),
            {"name": name},
        )


def upsert(connection: Connection, table: str, frame: pl.DataFrame, insert_only: Collection[str] = ()) -> int:
    """`merge_rows`, and a change raises the table's version."""
    changed = merge_rows(connection, table, frame, insert_only)
    if changed and table in VERSION_OF:
        bump(connection, VERSION_OF[table])
    return changed


def merge_rows(connection: Connection, table: str, frame: pl.DataFrame, insert_only: Collection[str] = ()) -> int:
    """Insert or update the rows of `frame` in `table` and return how many really changed.

    Columns of the frame are columns of the table, the key among them; a table column that the frame lacks gets its default in new rows and
    stays as it is in old ones. So do the columns `insert_only`. Keys must not repeat in the frame.
    """
    with staging(connection, table, frame.columns) as stage:
        stage.add(frame)
        return stage.merge(insert_only)


def replace_record_lines(connection: Connection, frame: pl.DataFrame, emptied: pl.DataFrame | None = None) -> int:
    """`merge_rows` of record lines; lines of the same records after their last one are deleted. Returns how many rows changed.

    `emptied` (company_id, record_id) are records that have no lines any more.
    """
    gone = {
        "companies": [] if emptied is None else emptied["company_id"].to_list(),
        "records": [] if emptied is None else emptied["record_id"].to_list(),
    }
    with staging(connection, "record_lines", frame.columns) as stage:
        stage.add(frame)
        return stage.merge() + connection.execute(text(_VANISHED_LINES), gone).rowcount


@contextmanager
def staging(connection: Connection, table: str, columns: Collection[str]) -> Iterator["Staging"]:
    """A temporary table with those columns of `table`, to be filled and merged; it is dropped at the end of the block."""
    known = Base.metadata.tables[table]
    unknown = sorted(set(columns) - set(known.columns.keys()))
    missing = [key.name for key in known.primary_key if key.name not in columns]
    if unknown or missing:
        raise ValueError(f"table {table}: unknown columns {unknown}, missing key columns {missing}")
    stage = Staging(connection, table, tuple(columns), tuple(key.name for key in known.primary_key))
    listed = ", ".join(stage.columns)
    connection.execute(
        text(f"CREATE TEMPORARY TABLE {stage.name} ON COMMIT DROP AS SELECT {listed} FROM {table} WITH NO DATA")  # noqa: S608 - checked above
    )
    yield stage
    connection.execute(text(f"DROP TABLE {stage.name}"))  # after an error the rollback drops it


class Staging:
    """A temporary table under way to `table`. Made by `staging`."""

    def __init__(self, connection: Connection, table: str, columns: tuple[str, ...], keys: tuple[str, ...]) -> None:
        self.connection = connection
        self.table = table
        self.columns = columns
        self.keys = keys
        self.name = f"staging_{table}"

    def add(self, frame: pl.DataFrame) -> None:
        """Append the rows of `frame`."""
        if not frame.height:
            return
        psycopg: Any = self.connection.connection.driver_connection
        lists = [
            (pl.lit("{") + pl.col(name).cast(pl.List(pl.String)).list.join(",") + pl.lit("}")).alias(name)
            for name, kind in frame.schema.items()
            if isinstance(kind, pl.List)
        ]
        rows = frame.select(self.columns).with_columns(lists)
        copy_from = f"COPY {self.name} ({', '.join(self.columns)}) FROM STDIN (FORMAT csv, NULL '\\N')"
        with psycopg.cursor() as cursor, cursor.copy(copy_from) as copy:
            # every text is quoted, so that one that reads \N or \. is not taken for a mark of the format
            copy.write(rows.write_csv(include_header=False, null_value="\\N", quote_style="non_numeric").encode())

    def merge(self, insert_only: Collection[str] = ()) -> int:
        """Insert or update what differs from the table; columns `insert_only` are neither compared nor updated. Returns the changes."""
        same_key = " AND ".join(f"t.{key} = s.{key}" for key in self.keys)
        values = [name for name in self.columns if name not in self.keys and name not in insert_only]
        same = f" AND ({_of('t', values)}) IS NOT DISTINCT FROM ({_of('s', values)})" if values else ""
        update = ", ".join(f"{name} = excluded.{name}" for name in values)
        # in key order: the index grows at its end, and two writers of the same rows wait for each other rather than deadlock
        merge = f"""
            INSERT INTO {self.table} ({", ".join(self.columns)}) SELECT {_of("s", self.columns)} FROM {self.name} s
            WHERE NOT EXISTS (SELECT FROM {self.table} t WHERE {same_key}{same} OFFSET 0)
            ORDER BY {_of("s", self.keys)}
            ON CONFLICT ({", ".join(self.keys)}) DO {f"UPDATE SET {update}" if update else "NOTHING"}
        """  # noqa: S608 - the names are those of the models
        return self.connection.execute(text(merge)).rowcount


def _of(alias: str, columns: Collection[str]) -> str:
    return ", ".join(f"{alias}.{name}" for name in columns)
