"""What the CRM says, as frames: snapshots of the mirrored tables in the lake.

A snapshot is taken from PostgreSQL only when the table's version differs from the one in the Parquet file. Version and rows are read in
one repeatable-read transaction, so a snapshot never claims a version whose rows it lacks. Two processes that take the same snapshot at
once do the work twice and leave one whole file. What to keep out: writing the mirror (upsert.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from reactivation_core.intervals import INTERVAL_SOURCES, active_interval, active_interval_source
from reactivation_resources.database.engine import Database, FrameSchema, scan_copy
from reactivation_resources.lake import Lake

INSTANT = pl.Datetime("us", "UTC")
VERSION = "mirror_version"
SORT_MEMORY = "256MB"
"""The server's memory for putting a snapshot in order; with less it walks an index, which takes twice as long for millions of rows."""


@dataclass(frozen=True)
class _Source:
    """How one snapshot is read. `asset` is its name in the lake; small ones, whose settings change unversioned, are always read.

    `derive` works out from the rows what is a rule of the core.
    """

    asset: str
    query: str
    schema: FrameSchema
    always: bool = False
    derive: Callable[[pl.LazyFrame], pl.LazyFrame] = lambda rows: rows


def _with_active_interval(rules: pl.LazyFrame) -> pl.LazyFrame:
    """The rules with the interval that counts and its source in the place of all that they hold."""
    return rules.select(
        "company_id",
        "service_id",
        active_interval().alias("interval_days"),
        pl.exclude("company_id", "service_id", *INTERVAL_SOURCES.values()),
        active_interval_source().alias("interval_source"),
    )


_SOURCES = {
    "companies": _Source(
        "companies",
        "SELECT company_id, title, business_type, timezone, country, currency, phone, language, enabled AND crm_status = 'active', consent_basis, exported_at,"
        " crm_source, tone, daily_limit_mode, manual_daily_limit, sending_hour_from, sending_hour_to,"
        " array_to_string(sending_days, '|'), include_slots_in_message, max_slots_to_offer, conversion_threshold, holdout_percent,"
        " personal_factor, max_days_inactive, min_days_since_visit"
        " FROM companies JOIN reactivation_settings USING (company_id) ORDER BY company_id",
        {
            "company_id": pl.Int64, "title": pl.String, "business_type": pl.String, "timezone": pl.String, "country": pl.String,
            "currency": pl.String, "phone": pl.String, "language": pl.String, "enabled": pl.Boolean, "consent_basis": pl.String,
            "exported_at": INSTANT, "crm_source": pl.String, "tone": pl.String, "daily_limit_mode": pl.String,
            "manual_daily_limit": pl.Int64, "sending_hour_from": pl.Int64, "sending_hour_to": pl.Int64,
            "sending_days": pl.List(pl.Int8), "include_slots_in_message": pl.Boolean, "max_slots_to_offer": pl.Int64,
            "conversion_threshold": pl.Float64, "holdout_percent": pl.Int64, "personal_factor": pl.Float64,
            "max_days_inactive": pl.Int64, "min_days_since_visit": pl.Int64,
        },
        always=True,
    ),
    "services": _Source(
        "services",
        "SELECT company_id, service_id, title, category, (list_price * 100)::bigint, duration_s, active"
        " FROM services ORDER BY company_id, service_id",
        {
            "company_id": pl.Int64, "service_id": pl.Int64, "title": pl.String, "category": pl.String,
            "list_price_minor": pl.Int64, "duration_s": pl.Int64, "active": pl.Boolean,
        },
    ),
    "staff": _Source(
        "staff",
        "SELECT company_id, staff_id, name, phone, active, array_to_string(service_ids, '|') FROM staff ORDER BY company_id, staff_id",
        {
            "company_id": pl.Int64, "staff_id": pl.Int64, "name": pl.String, "phone": pl.String, "active": pl.Boolean,
            "service_ids": pl.List(pl.Int64),
        },
    ),
    "clients": _Source(
        "clients",
        "SELECT company_id, client_id, name, phone, mailing_refused, blacklisted, consent, deleted"
        " FROM clients ORDER BY company_id, client_id",
        {
            "company_id": pl.Int64, "client_id": pl.Int64, "name": pl.String, "phone": pl.String, "mailing_refused": pl.Boolean,
            "blacklisted": pl.Boolean, "consent": pl.Boolean, "deleted": pl.Boolean,
        },
    ),
    "records": _Source(
        "visits",
        "SELECT company_id, client_id, record_id, line, starts_at, staff_id, service_id, (price * 100)::bigint, status, deleted, created_at"
        " FROM record_lines ORDER BY company_id, client_id, starts_at, record_id, line",
        {
            "company_id": pl.Int64, "client_id": pl.Int64, "record_id": pl.Int64, "line": pl.Int16, "starts_at": INSTANT,
            "staff_id": pl.Int64, "service_id": pl.Int64, "price_minor": pl.Int64, "status": pl.String, "deleted": pl.Boolean,
            "created_at": INSTANT,
        },
    ),
    "rules": _Source(
        "rules",
        f"SELECT company_id, service_id, {', '.join(INTERVAL_SOURCES.values())}, retry_interval_days, max_attempts,"  # noqa: S608 - names of the core
        " array_to_string(discount_progression, '|'), active FROM service_reactivation_rules ORDER BY company_id, service_id",
        {
            "company_id": pl.Int64, "service_id": pl.Int64, **dict.fromkeys(INTERVAL_SOURCES.values(), pl.Int64),
            "retry_interval_days": pl.Int64, "max_attempts": pl.Int64, "discount_progression": pl.List(pl.Int16), "active": pl.Boolean,
        },
        always=True,
        derive=_with_active_interval,
    ),
}  # fmt: skip


class Mirror:
    """Reads the mirror of the CRM. Money is in minor units, phones are E.164, instants UTC."""

    def __init__(self, database: Database, lake: Lake) -> None:
        self.database = database
        self.lake = lake

    def snapshot(self, name: str) -> pl.LazyFrame:
        """The present rows of `companies` (with each salon's settings), `services`, `staff`, `clients`, `records` or `rules`.

        Rows are sorted by key, records by company, client and time. The rows lie in the lake, which is brought up to date first; the asset
        of `records` is called `visits` there. Raises ValueError for another name.
        """
        if name not in _SOURCES:
            raise ValueError(f"snapshot {name!r}: not one of {', '.join(_SOURCES)}")
        source = _SOURCES[name]
        if name == "companies":
            self._give_settings()
        with self.database.begin() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            connection.execute(text(f"SET LOCAL work_mem = '{SORT_MEMORY}'"))
            version = _version(connection, name)
            if source.always or version is None or self.lake.metadata(source.asset).get(VERSION) != version:
                self._export(connection, source, version or "none")
        return self.lake.scan(source.asset)

    def _export(self, connection: Connection, source: _Source, version: str) -> None:
        psycopg: Any = connection.connection.driver_connection
        with TemporaryDirectory(prefix="reactivation-mirror-") as folder:
            rows = Path(folder) / "rows.csv"
            with (
                rows.open("wb") as file,
                psycopg.cursor() as cursor,
                cursor.copy(f"COPY ({source.query}) TO STDOUT (FORMAT csv)") as copy,
            ):
                for chunk in copy:
                    file.write(chunk)
            empty = not rows.stat().st_size
            frame = pl.LazyFrame(schema=source.schema) if empty else scan_copy(rows, source.schema)
            self.lake.write(source.asset, source.derive(frame), metadata={VERSION: version})

    def _give_settings(self) -> None:
        """A company nobody has set up yet gets the default settings: off, until the salon turns it on."""
        with self.database.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO reactivation_settings (company_id) SELECT company_id FROM companies c"
                    " WHERE NOT EXISTS (SELECT FROM reactivation_settings s WHERE s.company_id = c.company_id)"
                    " ON CONFLICT DO NOTHING"
                )
            )


def _version(connection: Connection, name: str) -> str | None:
    """The table's version; None when nothing has been written to it through the doors of the mirror."""
    found = connection.execute(text("SELECT version FROM mirror_versions WHERE name = :name"), {"name": name}).scalar()
    return None if found is None else str(found)
