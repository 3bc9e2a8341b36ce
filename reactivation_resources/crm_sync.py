"""Brings the mirror up to date with the CRM: company by company, only what has changed, rows and watermark in one transaction.

A crash repeats work and never loses it: the watermark moves with the rows it stands for. One company's failure stops nobody else's.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from reactivation_core.local_time import parse_zone
from reactivation_core.phones import normalise_phone
from reactivation_resources.crm_cards import Card, Row, client_row, record_rows, service_row, staff_row
from reactivation_resources.database.engine import Database, FrameSchema
from reactivation_resources.upsert import bump, replace_record_lines, upsert
from reactivation_resources.yclients import CrmError, YClients

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=15)
FIRST_LOAD = timedelta(days=730)
_STATUS_OF_REFUSAL = {401: "no_access", 402: "frozen", 403: "no_access"}
_INSTANT = pl.Datetime("us", "UTC")

_SERVICES: FrameSchema = {
    "company_id": pl.Int64, "service_id": pl.Int64, "title": pl.String, "category": pl.String, "list_price": pl.Decimal(14, 2),
    "duration_s": pl.Int64, "active": pl.Boolean,
}  # fmt: skip
_STAFF: FrameSchema = {
    "company_id": pl.Int64, "staff_id": pl.Int64, "name": pl.String, "phone": pl.String, "active": pl.Boolean,
    "service_ids": pl.List(pl.Int64),
}  # fmt: skip
_CLIENTS: FrameSchema = {
    "company_id": pl.Int64, "client_id": pl.Int64, "name": pl.String, "phone_raw": pl.String, "phone": pl.String,
    "mailing_refused": pl.Boolean, "blacklisted": pl.Boolean,
}  # fmt: skip
_RECORDS: FrameSchema = {
    "company_id": pl.Int64, "record_id": pl.Int64, "line": pl.Int16, "client_id": pl.Int64, "starts_at": _INSTANT,
    "staff_id": pl.Int64, "service_id": pl.Int64, "price": pl.Decimal(14, 2), "status": pl.String, "deleted": pl.Boolean,
    "created_at": _INSTANT,
}  # fmt: skip


@dataclass
class SyncReport:
    """What a synchronisation changed, by table; cards kept as rejected; companies that could not be read, with the reason."""

    changed: dict[str, int] = field(default_factory=dict)
    rejected: int = 0
    companies: int = 0
    failed: dict[int, str] = field(default_factory=dict)


def sync_companies(
    database: Database, crm: YClients, now: datetime, progress: Callable[[int], None] = lambda _: None
) -> SyncReport:
    """Mirror every company of the CRM that is not uninstalled. `progress` is told each company that is done."""
    with database.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT company_id, timezone, country, changed_after FROM companies"
                " WHERE crm_source = 'yclients' AND crm_status <> 'uninstalled' ORDER BY company_id"
            )
        ).all()
    report = SyncReport(companies=len(rows))
    for row in rows:
        try:
            _sync_company(
                database, crm, row.company_id, parse_zone(row.timezone), row.country, row.changed_after, now, report
            )
        except CrmError as error:
            report.failed[row.company_id] = str(error)
            _note_failure(database, row.company_id, error)
        except OperationalError:  # the database is away: that is nobody's own failure
            raise
        except Exception as error:  # whatever one company's data holds, the others go on
            # A database's words may quote a client's name or phone: only those of our own checks are passed on.
            words = f": {error}" if type(error) is ValueError else ""
            report.failed[row.company_id] = f"{type(error).__name__}{words}"
            log.warning("company %s could not be mirrored: %s", row.company_id, report.failed[row.company_id])
        progress(row.company_id)
    return report


def _sync_company(
    database: Database,
    crm: YClients,
    company_id: int,
    zone: ZoneInfo,
    country: str,
    watermark: datetime | None,
    now: datetime,
    report: SyncReport,
) -> None:
    changed_after = _wall_time(watermark - OVERLAP, zone) if watermark else None
    start = None if watermark else (now - FIRST_LOAD).astimezone(zone).date()
    services, staff = crm.services(company_id), crm.staff(company_id)
    clients = list(crm.clients(company_id, changed_after))
    records = list(crm.records(company_id, changed_after=changed_after, start_date=start))
    rejected: list[Row] = []

    def read(cards: Iterable[Card], source: str, parse: Callable[[Card], list[Row]]) -> list[Row]:
        rows: list[Row] = []
        for card in cards:
            try:
                rows += parse(card)
            except (ValueError, AttributeError, TypeError) as error:
                rejected.append({"source": f"yclients/{company_id}/{source}", "card": card, "reason": str(error)})
        return rows

    def with_phone(row: Row) -> Row:
        return row | {"phone": normalise_phone(row["phone_raw"], country)}

    frames = {
        "services": _frame(
            read(services, "services", lambda card: [service_row(company_id, card)]), _SERVICES, ("service_id",)
        ),
        "staff": _frame(
            [with_phone(row) for row in read(staff, "staff", lambda card: [staff_row(company_id, card, services)])],
            _STAFF,
            ("staff_id",),
        ),
        "clients": _frame(
            [with_phone(row) for row in read(clients, "clients", lambda card: [client_row(company_id, card)])],
            _CLIENTS,
            ("client_id",),
        ),
    }
    lines = _frame(
        read(records, "records", lambda card: record_rows(company_id, card, zone)), _RECORDS, ("record_id", "line")
    )
    nobodys = [int(card["id"]) for card in records if str(card.get("id")).isdecimal() and not card.get("client")]
    with database.begin() as connection:
        for table, frame in frames.items():
            report.changed[table] = report.changed.get(table, 0) + upsert(connection, table, frame)
        changed = replace_record_lines(connection, lines) + _forget_lines(connection, company_id, nobodys)
        report.changed["records"] = report.changed.get("records", 0) + changed
        report.rejected += _keep(connection, company_id, rejected)
        connection.execute(
            text("UPDATE companies SET changed_after = :now, crm_status = 'active' WHERE company_id = :company"),
            {"now": now.astimezone(UTC), "company": company_id},
        )


def _wall_time(instant: datetime, zone: ZoneInfo) -> str:
    """The salon's wall time by which to ask for what changed since `instant`; of an hour shown twice, never the later reading."""
    local = instant.astimezone(zone)
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if first is not None and second is not None and first > second:  # the CRM may take the second reading
        local = local.replace(tzinfo=None) - (first - second)
    return local.strftime("%Y-%m-%dT%H:%M:%S")


def _frame(rows: list[Row], schema: FrameSchema, keys: tuple[str, ...]) -> pl.DataFrame:
    """The rows as a frame; of rows with the same key, which the CRM may send as different cards, the last."""
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema, orient="row")
    return frame.unique(["company_id", *keys], keep="last", maintain_order=True)


def _forget_lines(connection: Connection, company_id: int, record_ids: list[int]) -> int:
    """Delete the lines of journal rows that have lost their client: a booking that became a note or a break of the salon's own."""
    if not record_ids:
        return 0
    statement = text(
        "DELETE FROM record_lines WHERE company_id = :company AND record_id = ANY(CAST(:records AS bigint[]))"
    )
    gone = connection.execute(statement, {"company": company_id, "records": record_ids}).rowcount
    if gone:
        bump(connection, "records")
    return gone


def _keep(connection: Connection, company_id: int, rejected: list[Row]) -> int:
    """Keep rejected cards with their reason, each once."""
    if not rejected:
        return 0
    contents = [json.dumps(row["card"], ensure_ascii=False, sort_keys=True, default=str) for row in rejected]
    parameters: list[dict[str, Any]] = [
        {
            "company": company_id,
            "source": row["source"],
            "reason": row["reason"][:500],
            "content": content,
            "hash": hashlib.sha256(content.encode()).hexdigest(),
        }
        for row, content in zip(rejected, contents, strict=True)
    ]
    connection.execute(
        text(
            "INSERT INTO rejected_rows (company_id, source, reason, content, content_hash)"
            " VALUES (:company, :source, :reason, CAST(:content AS jsonb), :hash) ON CONFLICT DO NOTHING"
        ),
        parameters,
    )
    return len(parameters)


def _note_failure(database: Database, company_id: int, error: CrmError) -> None:
    """A refusal that will not pass by itself is written on the company; its watermark stays where it is."""
    status = _STATUS_OF_REFUSAL.get(error.status or 0)
    if error.permanent and status:
        with database.begin() as connection:
            connection.execute(
                text("UPDATE companies SET crm_status = :status WHERE company_id = :company"),
                {"status": status, "company": company_id},
            )
