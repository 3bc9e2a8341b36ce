"""The door to PostgreSQL: an engine, transactions, frames by COPY, migrations."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from polars.datatypes import DataType, DataTypeClass
from sqlalchemy import Connection, Engine, create_engine, text

from reactivation_resources.paths import sql_dir

MINIMUM_VERSION = 140000
DAGSTER_SCHEMA = "dagster"
_CREATE_SCHEMA = f"CREATE SCHEMA IF NOT EXISTS {DAGSTER_SCHEMA}"  # Dagster's own tables, out of our way

FrameSchema = Mapping[str, DataType | DataTypeClass]
"""Column names and types of a frame, in order."""


class DatabaseError(RuntimeError):
    """The database cannot be used; the message says what to do."""


class Database:
    """A PostgreSQL database by URL (`postgresql+psycopg://…`). Connects on first use, not before."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(
            url, pool_pre_ping=True, connect_args={"connect_timeout": 10, "options": "-c timezone=UTC"}
        )

    def close(self) -> None:
        """Return every pooled connection."""
        self.engine.dispose()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end, rolled back on an error."""
        with self.engine.begin() as connection:
            yield connection

    def frame(self, query: str, schema: FrameSchema, **parameters: Any) -> pl.DataFrame:
        """Rows of `query` as a frame with exactly `schema`'s columns, fetched by COPY in one stream.

        `query` is SQL of ours with `%(name)s` parameters. Lists must be selected as text joined by `|`; empty text is an empty list.
        Instants must be selected as they are; they come out as UTC microseconds.
        """
        with self.begin() as connection:
            return copy_frame(connection, query, schema, **parameters)


def copy_frame(connection: Connection, query: str, schema: FrameSchema, **parameters: Any) -> pl.DataFrame:
    """`Database.frame` inside a running transaction."""
    buffer = io.BytesIO()
    psycopg: Any = connection.connection.driver_connection
    with (
        psycopg.cursor() as cursor,
        cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)", parameters or None) as copy,
    ):
        for chunk in copy:
            buffer.write(chunk)
    buffer.seek(0)
    return parse_copy(buffer, schema)


def parse_copy(source: io.BytesIO | Path, schema: FrameSchema) -> pl.DataFrame:
    """Turn COPY's CSV into a frame; see `Database.frame`."""
    if isinstance(source, io.BytesIO) and not source.getbuffer().nbytes:
        return pl.DataFrame(schema=schema)
    return scan_copy(source, schema).collect()


def scan_copy(source: io.BytesIO | Path, schema: FrameSchema) -> pl.LazyFrame:
    """The lazy form of `parse_copy`, for files larger than memory.

    In COPY's plain CSV nothing between two commas is null and `""` is empty text: no text, however odd, can be taken for a null.
    """
    raw = {name: _wire_type(kind) for name, kind in schema.items()}
    frame = pl.scan_csv(source, has_header=False, schema=raw)
    return frame.with_columns(*(_typed(name, kind) for name, kind in schema.items() if _wire_type(kind) != kind))


def _wire_type(kind: DataType | DataTypeClass) -> DataType | DataTypeClass:
    return pl.String if isinstance(kind, pl.List | pl.Datetime | pl.Date) or kind in (pl.Boolean, pl.Date) else kind


def _typed(name: str, kind: DataType | DataTypeClass) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.Boolean:
        return (column == "t").alias(name)
    if isinstance(kind, pl.List):
        items = pl.when(column == "").then(pl.lit([], dtype=pl.List(pl.String))).otherwise(column.str.split("|"))
        return items.cast(kind).alias(name)
    if isinstance(kind, pl.Datetime):
        # COPY writes "2018-07-30 01:00:00.5+00" in a UTC session
        return column.str.head(-3).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", time_zone="UTC").alias(name)
    return column.str.to_date("%Y-%m-%d").alias(name)


def migrate(url: str, revision: str = "head") -> None:
    """Bring the schema to `revision` (`head` or an Alembic revision; `base` takes everything down).

    Several processes may call this at once: an advisory lock lets one do the work. Raises DatabaseError for a server older than 14.
    """
    from alembic import command

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
            if version < MINIMUM_VERSION:
                raise DatabaseError(
                    f"PostgreSQL {MINIMUM_VERSION // 10000} or newer is needed, the server is {version // 10000}"
                )
            connection.execute(text("SELECT pg_advisory_lock(hashtext('reactivation-migrate'))"))
            connection.execute(text(_CREATE_SCHEMA))
            connection.commit()
            config = alembic_config()
            config.attributes["connection"] = connection
            down = revision == "base" or revision < _current(connection)
            (command.downgrade if down and revision != "head" else command.upgrade)(config, revision)
            connection.commit()
    finally:
        engine.dispose()


def ensure_dagster_schema(url: str) -> None:
    """Make the schema for Dagster's own tables, where it is missing."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(_CREATE_SCHEMA))
    finally:
        engine.dispose()


def pending_revision(url: str) -> tuple[str | None, str | None]:
    """The schema's revision in the database and in the code."""
    from alembic.script import ScriptDirectory

    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            current = _current(connection) or None
    finally:
        engine.dispose()
    return current, ScriptDirectory.from_config(alembic_config()).get_current_head()


def alembic_config() -> Any:
    """Alembic's configuration for `sql/migrations`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(sql_dir() / "migrations"))
    return config


def _current(connection: Connection) -> str:
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"version_table": "reactivation_schema"})
    return context.get_current_revision() or ""
