"""Stores what was read of a company: rows, what is gone, cards that could not be read and how far the mirror is, in one transaction.

What to add here: what a reading changes in the database. What to keep out: reading (crm_pull.py). The company's row is locked first: a
reading that began from another state of the mirror than the one it finds is dropped, for somebody was faster.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, text, update

from reactivation_core.phones import fits_mask, normalise_phone
from reactivation_resources.alerts import raise_alert
from reactivation_resources.crm_pull import KINDS, Pull, Salon, card_id, rejected_ids
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import Company
from reactivation_resources.upsert import VERSION_OF, bump, merge_rows, replace_record_lines
from reactivation_resources.yclients.models import Rejected

FEW_GONE = 20
SHARE_GONE = 0.2
"""More than so many and than such a part of a salon's clients, services or staff do not go at once: a right may have been lost."""

BELIEVED_AFTER = timedelta(hours=20)
"""They are believed to be gone when another synchronisation found so at least that long ago,"""

FORGOTTEN_AFTER = timedelta(days=3)
"""and not longer than that."""

_MIRRORED = "crm_source = 'yclients' AND crm_status NOT IN ('uninstalled', 'suspended')"
_AGE = "coalesce(changed_after, load_started_at, created_at)"
_COLUMNS = "company_id, timezone, country, changed_after, load_started_at, loaded_back_to, catalogue_at"
_GONE = {  # how a row is marked that the CRM has no longer
    "services": ("service_id", "active", "active = false"),
    "staff": ("staff_id", "active", "active = false"),
    "clients": ("client_id", "NOT deleted", "deleted = true"),
}
_FORGET_REJECTED = """
DELETE FROM rejected_rows WHERE source = :source AND (
  content->>'id' = ANY(:good) OR (content->>'id' = ANY(:again) AND content_hash <> ALL(:hashes))
  OR content->>'id' <> ALL(CAST(:listed AS text[])))
"""
_KEEP_REJECTED = """
INSERT INTO rejected_rows (company_id, source, reason, content, content_hash)
VALUES (:company, :source, :reason, CAST(:content AS jsonb), :hash) ON CONFLICT DO NOTHING
"""


@dataclass
class Stored:
    """What a reading changed, by table; how many cards it rejected; what of it was not believed."""

    changed: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    doubts: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- what is known


def mirrored_companies(database: Database, companies: Collection[int] | None) -> list[int]:
    """The companies to be mirrored (of `companies`, if given), those first whose mirror is the oldest."""
    query = f"""
        SELECT company_id FROM companies WHERE {_MIRRORED} AND (CAST(:ids AS bigint[]) IS NULL OR company_id = ANY(:ids))
        ORDER BY {_AGE}, company_id
    """  # noqa: S608 - constants
    with database.begin() as connection:
        ids = None if companies is None else sorted(companies)
        return list(connection.execute(text(query), {"ids": ids}).scalars())


def read_salon(database: Database, company_id: int) -> Salon | None:
    """The company as it stands; None when it is not to be mirrored any more."""
    query = f"SELECT {_COLUMNS} FROM companies WHERE company_id = :company AND {_MIRRORED}"  # noqa: S608 - constants
    with database.begin() as connection:
        row = connection.execute(text(query), {"company": company_id}).one_or_none()
    return None if row is None else Salon(**row._mapping)


def known_clients(database: Database, company_id: int) -> tuple[set[int], set[int]]:
    """The clients in the mirror that are not deleted, and those whose cards were rejected."""
    with database.begin() as connection:
        live = "SELECT client_id FROM clients WHERE company_id = :company AND NOT deleted"
        known = set(connection.execute(text(live), {"company": company_id}).scalars())
        bad = "SELECT content FROM rejected_rows WHERE source = :source"
        cards = connection.execute(text(bad), {"source": _source(company_id, "clients")}).scalars()
        return known, {number for card in cards if (number := card_id(card)) is not None}


def companies_behind(database: Database, since: datetime) -> dict[int, datetime]:
    """Active companies whose mirror is older than `since`, and how old it is: loading, refused or forgotten."""
    query = f"""
        SELECT company_id, {_AGE} AS age FROM companies
        WHERE {_MIRRORED} AND crm_status = 'active' AND {_AGE} < :since ORDER BY age, company_id
    """  # noqa: S608 - constants
    with database.begin() as connection:
        return {row.company_id: row.age for row in connection.execute(text(query), {"since": since})}


# ---------------------------------------------------------------- what is stored


def store(database: Database, pull: Pull, now: datetime, *, afresh: bool = False, **progress: Any) -> Stored | None:
    """Store a reading. None, and nothing is stored, when the mirror is not where the reading began.

    Args:
        database, pull: Where and what.
        now: When the reading began.
        afresh: Forget the company's journal first: it is read again from its beginning.
        progress: New values of `changed_after` (which never goes back), `load_started_at`, `loaded_back_to`.
    """
    stored = Stored()
    salon = pull.salon
    with database.begin() as connection:
        query = text("SELECT * FROM companies WHERE company_id = :company FOR UPDATE")
        row = connection.execute(query, {"company": salon.company_id}).one_or_none()
        if row is None or any(
            getattr(row, name) != getattr(salon, name)
            for name in ("changed_after", "load_started_at", "loaded_back_to")
        ):
            return None
        for table in ("services", "staff", "clients"):
            rows = pull.rows(table)
            if rows is not None and rows.height:
                rows = _with_hidden_phones(connection, table, rows)
                stored.changed[table] += merge_rows(connection, table, rows)
            if table in pull.listed:
                _mark_gone(connection, pull, table, now, stored)
        if afresh:
            delete = text("DELETE FROM record_lines WHERE company_id = :company")
            stored.changed["records"] += connection.execute(delete, {"company": salon.company_id}).rowcount
        lines, nobodys = pull.lines()
        if lines.height or nobodys.height:
            stored.changed["records"] += replace_record_lines(connection, lines, nobodys)
        stored.changed["companies"] += _write_company(connection, pull, row, now, progress)
        _write_rejected(connection, pull, stored)
        bump(connection, *(name for name in VERSION_OF.values() if stored.changed[name]))
    return stored


def _write_company(connection: Connection, pull: Pull, row: Row[Any], now: datetime, progress: dict[str, Any]) -> int:
    """Write how far the mirror is and what the CRM says of the salon; returns 1 when it says something new."""
    said: dict[str, Any] = {}
    if facts := pull.facts:
        country = facts.country or row.country
        said = {"title": facts.title, "phone": normalise_phone(facts.phone, country), "country": country}
        said |= {"timezone": facts.timezone or row.timezone, "currency": facts.currency or row.currency}
        said = {name: value for name, value in said.items() if getattr(row, name) != value}
        if (row.load_started_at or row.changed_after) and said.keys() & {"timezone", "country"}:
            words = ", ".join(
                f"{name} {getattr(row, name)} is now {said[name]}" for name in ("timezone", "country") if name in said
            )
            raise_alert(
                connection,
                "crm_company_moved",
                f"crm_company_moved:{row.company_id}",
                f"{words}: the company is read afresh",
                now,
                row.company_id,
            )
        if row.catalogue_at == pull.salon.catalogue_at:  # otherwise somebody has asked for it meanwhile
            progress = progress | {"catalogue_at": now}
    if progress.get("changed_after") and row.changed_after:
        progress = progress | {"changed_after": max(row.changed_after, progress["changed_after"])}
    values = said | progress | ({"crm_status": "active"} if row.crm_status in ("frozen", "no_access") else {})
    if values:
        connection.execute(update(Company).where(Company.company_id == row.company_id).values(values))
    return int(bool(said))


def _with_hidden_phones(connection: Connection, table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the number known so far where the CRM shows one in part that fits it; staff are stored without the raw form."""
    key = _GONE[table][0]
    if "phone_raw" in rows.columns:
        hidden = dict(
            rows.filter(pl.col("phone").is_null() & pl.col("phone_raw").is_not_null())
            .select(key, "phone_raw")
            .iter_rows()
        )
        if hidden:
            query = f"SELECT {key}, phone FROM {table} WHERE company_id = :company AND {key} = ANY(:ids) AND phone IS NOT NULL"  # noqa: S608 - constants
            parameters = {"company": rows["company_id"][0], "ids": list(hidden)}
            known = {
                number: phone
                for number, phone in connection.execute(text(query), parameters)
                if fits_mask(phone, hidden[number])
            }
            kept = pl.col(key).replace_strict(known, default=None, return_dtype=pl.String)
            rows = rows.with_columns(phone=pl.coalesce("phone", kept))
    return rows.drop("phone_raw") if table == "staff" else rows


def _mark_gone(connection: Connection, pull: Pull, table: str, now: datetime, stored: Stored) -> None:
    """Mark what the CRM has no longer, unless it is too much to be believed at once: then an alert says so."""
    key, live, mark = _GONE[table]
    company, listed = pull.salon.company_id, pull.listed[table]
    query = f"SELECT {key} FROM {table} WHERE company_id = :company AND {live}"  # noqa: S608 - constants
    known = set(connection.execute(text(query), {"company": company}).scalars())
    gone = known - listed
    if len(gone) > FEW_GONE and len(gone) > SHARE_GONE * len(known):
        words = f"the CRM lists {len(known) - len(gone)} of {len(known)} {table}"
        believed = _found_before(connection, company, table, now)
        kind = f"crm_{table}_gone"
        fold = f"{kind}:{company}:{now.date().isoformat()}"
        verdict = (
            "as a day before: the others are taken for gone"
            if believed
            else "nothing is taken for gone unless it says so again tomorrow"
        )
        raise_alert(connection, kind, fold, f"{words}; {verdict}", now, company)
        if not believed:
            stored.doubts.append(f"{words}; {verdict}")
            return
    if gone:
        statement = f"UPDATE {table} SET {mark} WHERE company_id = :company AND {key} = ANY(:gone)"  # noqa: S608 - constants
        stored.changed[table] += connection.execute(
            text(statement), {"company": company, "gone": sorted(gone)}
        ).rowcount


def _found_before(connection: Connection, company_id: int, table: str, now: datetime) -> bool:
    """Whether an earlier synchronisation missed as much."""
    query = text(
        "SELECT EXISTS (SELECT FROM alerts WHERE company_id = :company AND kind = :kind AND first_at BETWEEN :after AND :before)"
    )
    parameters = {
        "company": company_id,
        "kind": f"crm_{table}_gone",
        "after": now - FORGOTTEN_AFTER,
        "before": now - BELIEVED_AFTER,
    }
    return bool(connection.execute(query, parameters).scalar())


# ---------------------------------------------------------------- what could not be read


def _write_rejected(connection: Connection, pull: Pull, stored: Stored) -> None:
    """Keep the cards that could not be read, each once; those that can be read now, have changed or are gone, are forgotten."""
    company = pull.salon.company_id
    sources = {_source(company, kind): kind for kind in KINDS}
    kept = text("SELECT DISTINCT source FROM rejected_rows WHERE source = ANY(:sources)")
    for source in connection.execute(kept, {"sources": list(sources)}).scalars().all():
        kind = sources[source]
        rejected = pull.rejected.get(kind, ())
        past = {
            "source": source,
            "good": _texts(pull.ids("record_lines" if kind == "records" else kind)),
            "again": _texts(rejected_ids(rejected)),
            "hashes": [_rejected_row(company, source, item)["hash"] for item in rejected],
            "listed": _texts(pull.listed[kind]) if kind in pull.listed else None,
        }
        connection.execute(text(_FORGET_REJECTED), past)
    for kind, rejected in pull.rejected.items():
        stored.rejected += len(rejected)
        connection.execute(
            text(_KEEP_REJECTED), [_rejected_row(company, _source(company, kind), item) for item in rejected]
        )


def _texts(numbers: Collection[int]) -> list[str]:
    return [str(number) for number in numbers]


def _rejected_row(company_id: int, source: str, item: Rejected) -> dict[str, Any]:
    content = json.dumps(item.card, ensure_ascii=False, sort_keys=True, default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {"company": company_id, "source": source, "reason": item.reason[:500], "content": content, "hash": digest}


def _source(company_id: int, kind: str) -> str:
    return f"yclients/{company_id}/{kind}"
