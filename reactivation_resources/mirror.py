"""What the CRM says, as frames: snapshots of the mirrored tables in the lake.

A snapshot is written only when the table's version, or what was read, differs from what the Parquet file was made of. Version and rows
are read in one repeatable-read transaction, so a snapshot never claims a version whose rows it lacks. Two processes that take the same
snapshot at once do the work twice and leave one whole file. The journal, which is too large for that, is kept by visit_history.py. What
to keep out: writing the mirror (upsert.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from reactivation_core.intervals import INTERVAL_SOURCES, active_interval, active_interval_source
from reactivation_resources.database.engine import Database, FrameSchema, scan_copy
from reactivation_resources.lake import Lake
from reactivation_resources.visit_history import VisitHistory

INSTANT = pl.Datetime("us", "UTC")
SOURCE = "mirror_source"
"""Key of a snapshot's metadata: a digest of the query, and of the table's version or, where there is none, of the rows."""
RECORDS = "records"


@dataclass(frozen=True)
class _Source:
    """How one snapshot is read. Small ones, whose settings change unversioned, are always read, and written when they differ.

    `derive` works out from the stored rows what is a rule of the core.
    """

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
        "SELECT company_id, title, business_type, timezone, country, currency, phone, language, enabled AND crm_status = 'active', consent_basis, exported_at,"
        " crm_source, tone, daily_limit_mode, manual_daily_limit, sending_hour_from, sending_hour_to,"
        " array_to_string(sending_days, '|'), include_slots_in_message, max_slots_to_offer, conversion_threshold, holdout_percent,"
        " personal_factor, max_days_inactive, min_days_since_visit"
        " FROM companies JOIN reactivation_settings USING (company_id)"
        " WHERE load_started_at IS NULL OR changed_after IS NOT NULL ORDER BY company_id",
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
        "SELECT company_id, service_id, title, category, (list_price * 100)::bigint, duration_s, active"
        " FROM services ORDER BY company_id, service_id",
        {
            "company_id": pl.Int64, "service_id": pl.Int64, "title": pl.String, "category": pl.String,
            "list_price_minor": pl.Int64, "duration_s": pl.Int64, "active": pl.Boolean,
        },
    ),
    "staff": _Source(
        "SELECT company_id, staff_id, name, phone, active, array_to_string(service_ids, '|') FROM staff ORDER BY company_id, staff_id",
        {
            "company_id": pl.Int64, "staff_id": pl.Int64, "name": pl.String, "phone": pl.String, "active": pl.Boolean,
            "service_ids": pl.List(pl.Int64),
        },
    ),
    "clients": _Source(
        "SELECT company_id, client_id, name, phone, mailing_refused, blacklisted, consent, deleted"
        " FROM clients ORDER BY company_id, client_id",
        {
            "company_id": pl.Int64, "client_id": pl.Int64, "name": pl.String, "phone": pl.String, "mailing_refused": pl.Boolean,
            "blacklisted": pl.Boolean, "consent": pl.Boolean, "deleted": pl.Boolean,
        },
    ),
    "rules": _Source(
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
        self.history = VisitHistory(database, lake)

    def snapshot(self, name: str) -> pl.LazyFrame:
        """The present rows of `companies` (with each salon's settings), `services`, `staff`, `clients`, `records` or `rules`.

        Rows are sorted by key, records by company, client and time. A company whose first load has not ended is left out of `companies`, a
        record without a client out of `records`. The rows lie in the lake, which is brought up to date first. Raises ValueError for another name.
        """
        if name == RECORDS:
            return self.history.refresh()
        if name not in _SOURCES:
            raise ValueError(f"snapshot {name!r}: not one of {', '.join((*_SOURCES, RECORDS))}")
        if name == "companies":
            self._give_settings()
        source = _SOURCES[name]
        with self.database.begin() as connection:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
            version = None if source.always else _version(connection, name)
            there = self.lake.metadata(name).get(SOURCE)
            if version is None or there != _digest(source.query, version):
                self._export(connection, name, source, version, there)
        return source.derive(self.lake.scan(name))

    def location(self, name: str) -> str:
        """Where the snapshot `name` lies in the lake."""
        return self.history.location if name == RECORDS else self.lake.path(name)

    def _export(
        self, connection: Connection, name: str, source: _Source, version: bytes | None, there: str | None
    ) -> None:
        psycopg: Any = connection.connection.driver_connection
        with TemporaryDirectory(prefix="reactivation-mirror-") as folder:
            rows = Path(folder) / "rows.csv"
            content = sha256()
            with (
                rows.open("wb") as file,
                psycopg.cursor() as cursor,
                cursor.copy(f"COPY ({source.query}) TO STDOUT (FORMAT csv)") as copy,
            ):
                for chunk in copy:
                    content.update(chunk)
                    file.write(chunk)
            made_of = _digest(source.query, version or content.digest())
            if made_of != there:
                empty = not rows.stat().st_size
                frame = pl.LazyFrame(schema=source.schema) if empty else scan_copy(rows, source.schema)
                self.lake.write(name, frame, metadata={SOURCE: made_of})

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


def _version(connection: Connection, name: str) -> bytes | None:
    """The table's version; None when nothing has been written to it through the doors of the mirror."""
    found = connection.execute(text("SELECT version FROM mirror_versions WHERE name = :name"), {"name": name}).scalar()
    return None if found is None else str(found).encode()


def _digest(query: str, content: bytes) -> str:
    """What a snapshot is made of. The query is a part of it: another release may ask for other columns."""
    return sha256(query.encode() + b"\0" + content).hexdigest()
