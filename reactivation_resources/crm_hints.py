"""Hints of the CRM: its webhooks say that something has changed, and the mirror then reads what.

An event is never taken for the truth: it may come twice, late, out of order, in part, or not at all. It is stored without its data, and all
that wait of one company become one synchronisation. What to add here: what a hint is and what becomes of it. What to keep out: reading bodies
(crm_events.py) and reading the CRM (crm_sync.py).

A hint waits under a key made of what it says, so the same one is stored once as long as it waits. A synchronisation first takes what waits:
from then on a hint that says the same is a new one, for it may tell of what changed after the reading. What asks for no reading (of a company
unknown here, of goods and money, not to be understood) has a fixed number of places, each of which holds the latest: whoever knows the
webhook's address cannot fill the disk.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from reactivation_resources.alerts import raise_alert
from reactivation_resources.clock import Clock
from reactivation_resources.crm_events import Unreadable, read_events
from reactivation_resources.crm_sync import Progress, SyncReport, sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.upsert import bump
from reactivation_resources.yclients.door import Crm
from reactivation_resources.yclients.models import Event, Lifecycle

Row = dict[str, Any]

CHANNEL = "yclients"
KEPT_FOR = timedelta(days=7)
MOST_KEPT = 1_000_000
"""Processed hints, of all companies."""

MOST_WAITING = 1000
"""Of a company. They all become one synchronisation, so that one more would add nothing."""

_PLACES = 10_000
_LONGEST_NAME = 50
_COMPANIES_A_RUN = 200
_JOURNAL = frozenset({"record", "client"})
_CATALOGUE = frozenset({"company", "service_category", "service", "staff"})

# What a callback makes of a company's status, from which ones, and the words for people.
_CALLBACKS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "uninstall": (
        "uninstalled",
        ("active", "frozen", "no_access", "suspended"),
        "has removed our application: its mirror stands still and nothing is sent. `reactivation connect` takes it back.",
    ),
    "freeze": (
        "suspended",
        ("active", "frozen", "no_access"),
        "was frozen by the marketplace: its mirror stands still and nothing is sent until the application is paid for.",
    ),
    "payment": ("active", ("suspended",), "has paid for the application: mirror and sending go on."),
}

_SALONS = """
SELECT c.company_id, CASE WHEN c.crm_source <> 'yclients' THEN 'unknown company'
                          WHEN c.crm_status IN ('uninstalled', 'suspended') THEN 'not mirrored: ' || c.crm_status END AS trouble,
       (SELECT count(*) FROM inbox i WHERE i.kind = 'crm' AND i.processed_at IS NULL AND i.company_id = c.company_id
        AND NOT i.payload ? 'tries') AS waiting
FROM companies c WHERE c.company_id = ANY(:companies)
"""
_INSERT = """
INSERT INTO inbox (channel, event_key, kind, company_id, message_id, body, payload, error, occurred_at, received_at, processed_at)
SELECT :channel, event_key, kind, company_id, message_id, body, payload, error, :at, :at, CASE WHEN processed THEN :at END
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS said(event_key text, kind text, company_id bigint, message_id text, body text,
  payload jsonb, error text, processed boolean)
ORDER BY event_key
ON CONFLICT (channel, event_key) DO UPDATE SET kind = excluded.kind, company_id = excluded.company_id, message_id = excluded.message_id,
  body = excluded.body, payload = excluded.payload, error = excluded.error, occurred_at = excluded.occurred_at,
  received_at = excluded.received_at, processed_at = excluded.processed_at
WHERE inbox.processed_at IS NOT NULL
RETURNING CAST(xmax = 0 AS integer)
"""
_KNOWN = "SELECT FROM companies WHERE company_id = :company AND crm_source = 'yclients'"
_MOVE = """
UPDATE companies SET crm_status = :status WHERE company_id = :company AND crm_source = 'yclients' AND crm_status = ANY(:before)
"""
# A company that failed is tried again after 30 s, then a minute, two, and so on up to an hour, whatever else comes in meanwhile.
_DUE = """
SELECT i.company_id FROM inbox i JOIN companies c USING (company_id)
WHERE i.kind = 'crm' AND i.processed_at IS NULL AND c.changed_after IS NOT NULL
  AND c.crm_source = 'yclients' AND c.crm_status NOT IN ('uninstalled', 'suspended')
GROUP BY i.company_id
HAVING coalesce(max((i.payload->>'tried_at')::timestamptz)
                + least(interval '15 s' * 2 ^ least(max((i.payload->>'tries')::int), 10), interval '1 h'), '-infinity') <= :now
ORDER BY min(i.inbox_id) LIMIT :most
"""
_TAKE = """
UPDATE inbox i SET event_key = 'taken:' || i.inbox_id,
  payload = i.payload || jsonb_build_object('tries', coalesce((i.payload->>'tries')::int, 0) + 1, 'tried_at', CAST(:now AS timestamptz))
FROM companies c
WHERE c.company_id = i.company_id AND i.kind = 'crm' AND i.processed_at IS NULL
  AND c.crm_source = 'yclients' AND c.crm_status NOT IN ('uninstalled', 'suspended')
  AND (CAST(:companies AS bigint[]) IS NULL OR i.company_id = ANY(:companies))
RETURNING i.inbox_id, i.company_id, i.payload
"""
_SETTLE = """
UPDATE inbox SET processed_at = CAST(:now AS timestamptz), error = :why WHERE inbox_id = ANY(:ids) AND processed_at IS NULL
"""
_FORGET = """
DELETE FROM inbox WHERE inbox_id IN (
  SELECT inbox_id FROM (
    SELECT inbox_id, processed_at, row_number() OVER (ORDER BY inbox_id DESC) AS place
    FROM inbox WHERE channel = :channel AND kind = 'crm' AND processed_at IS NOT NULL) kept
  WHERE processed_at < :before OR place > :most)
"""


@dataclass(frozen=True, slots=True)
class StoredHints:
    """What a webhook call brought: what is stored now, and what had been told already or adds nothing."""

    new: int = 0
    duplicates: int = 0


# ---------------------------------------------------------------- storing


def store_hints(database: Database, raw: bytes, received_at: datetime) -> StoredHints:
    """Store what the body of a webhook call says, in one transaction; callbacks of the marketplace are in force with it.

    Whatever the body holds, all of it is accounted for. Raises only when the database cannot be used: the CRM then delivers again.
    """
    told = list(read_events(raw))
    rows: dict[str, Row] = {}
    with database.begin() as connection:
        # All calls lock in one order (companies, rows of the inbox, the version), so that two of them never wait for each other.
        moved = False
        for callback in sorted((item for item in told if isinstance(item, Lifecycle)), key=lambda item: item.salon_id):
            moved |= _called_back(connection, callback, received_at, rows)
        events = [item for item in told if isinstance(item, Event)]
        room = _Room(connection, events)
        for event in events:
            rows |= _hint(event, room)
        for item in told:
            if isinstance(item, Unreadable):
                rows |= _malformed(item)
        new = _insert(connection, rows, received_at)
        if moved:
            bump(connection, "companies")
    return StoredHints(new=new, duplicates=len(told) - new)


class _Room:
    """What is known of the companies that `events` speak of, and how many hints of each may still be stored."""

    def __init__(self, connection: Connection, events: Iterable[Event]) -> None:
        companies = sorted({event.company_id for event in events})
        found = connection.execute(text(_SALONS), {"companies": companies}).all() if companies else []
        self._trouble: dict[int, str | None] = {row.company_id: row.trouble for row in found}
        self._left: dict[int, int] = {row.company_id: MOST_WAITING - row.waiting for row in found}

    def trouble(self, company_id: int) -> str | None:
        """Why nothing is read from the CRM for this company; None when it is mirrored."""
        return self._trouble.get(company_id, "unknown company")

    def take(self, company_id: int) -> bool:
        """Whether one more hint adds anything."""
        self._left[company_id] -= 1
        return self._left[company_id] >= 0


def _hint(event: Event, room: _Room) -> dict[str, Row]:
    resource = event.resource[:_LONGEST_NAME]
    row = {
        "kind": "crm",
        "company_id": event.company_id,
        "message_id": f"{resource}:{event.resource_id}",
        "payload": {"resource": resource, "resource_id": event.resource_id, "status": event.status},
    }
    if trouble := room.trouble(event.company_id):
        return {f"unread:{event.company_id % _PLACES}": row | {"error": trouble, "processed": True}}
    if resource not in _JOURNAL | _CATALOGUE:
        place = _digest(resource) % 100
        return {f"idle:{event.company_id}:{place}": row | {"error": "nothing of it is mirrored", "processed": True}}
    if not room.take(event.company_id):
        return {}
    said = f"{resource}:{event.resource_id}:{event.status}:{_digest(json.dumps(event.data, sort_keys=True)):032x}"
    return {f"{event.company_id}:{said}": row}


def _malformed(item: Unreadable) -> dict[str, Row]:
    place = _digest(f"{item.reason}{item.body}") % _PLACES
    row = {"kind": "malformed", "body": item.body, "error": item.reason, "processed": True}
    return {f"malformed:{place}": row}


def _called_back(connection: Connection, callback: Lifecycle, at: datetime, rows: dict[str, Row]) -> bool:
    """Let a callback of the marketplace take effect and add what is stored of it to `rows`.

    Returns whether the company's status has changed: a callback that comes twice tells nobody anything.
    """
    company, (status, before, words) = callback.salon_id, _CALLBACKS[callback.event]
    row = {
        "kind": "crm",
        "company_id": company,
        "message_id": f"application:{callback.application_id}",
        "payload": {"resource": "application", "resource_id": callback.application_id, "status": callback.event},
        "processed": True,
    }
    if connection.execute(text(_KNOWN), {"company": company}).one_or_none() is None:
        rows[f"unread:{company % _PLACES}"] = row | {"error": "unknown company"}
        return False
    moved = connection.execute(text(_MOVE), {"company": company, "status": status, "before": list(before)}).rowcount
    if moved:
        raise_alert(connection, f"crm_{status}", f"crm_{status}:{company}", f"Company {company} {words}", at, company)
    if moved and status == "active":  # a hint as well: what has changed meanwhile is read at once
        said = {"resource": "company", "resource_id": company, "status": callback.event}
        row = {"kind": "crm", "company_id": company, "message_id": f"company:{company}", "payload": said}
    key = f"callback:{company}:{callback.event}"
    rows[key] = row if moved else rows.get(key, row)
    return bool(moved)


def _insert(connection: Connection, rows: Mapping[str, Row], received_at: datetime) -> int:
    """Store rows by their keys, and return how many there were not yet. A hint that waits stays as it is; a place gets the latest."""
    listed = json.dumps([{"event_key": key, **row} for key, row in rows.items()])
    parameters = {"channel": CHANNEL, "rows": listed, "at": received_at}
    return sum(connection.execute(text(_INSERT), parameters).scalars())


def _digest(said: str) -> int:
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:16])


# ---------------------------------------------------------------- what becomes of them


def waiting_hints(database: Database, now: datetime) -> list[int]:
    """Companies whose hints wait and are due at `now`, the longest waiting first.

    A company that has not been mirrored yet is not among them (its first load reads everything), nor one that failed a moment ago.
    """
    with database.begin() as connection:
        return list(connection.execute(text(_DUE), {"now": now, "most": _COMPANIES_A_RUN}).scalars())


def sync_hinted(
    database: Database,
    crm: Crm,
    clock: Clock,
    *,
    companies: Collection[int] | None = None,
    progress: Progress = lambda _company, _share: None,
) -> SyncReport:
    """`sync_companies`, which settles the hints that waited when it began; those of companies that failed go on waiting.

    A synchronisation of all companies also removes old hints.
    """
    taken = _take(database, clock.now(), companies)
    now = clock.now()  # after the taking: a company that another synchronisation read since is not read again
    report = crm.run(lambda client: sync_companies(database, client, now, companies=companies, progress=progress))
    with database.begin() as connection:
        for company, ids in taken.items():
            why = report.failed.get(company) or ("its first load goes on" if company in report.loading else None)
            settled = {"ids": ids, "now": None if why else now, "why": why}
            connection.execute(text(_SETTLE), settled)
    if companies is None:
        forget_hints(database, now)
    return report


def _take(database: Database, now: datetime, companies: Collection[int] | None) -> dict[int, list[int]]:
    """The ids of the hints that wait, by company. What they say of the catalogue makes it due."""
    wanted = None if companies is None else sorted(companies)
    taken: dict[int, list[int]] = {}
    catalogue = set()
    with database.begin() as connection:
        for hint in connection.execute(text(_TAKE), {"now": now, "companies": wanted}):
            taken.setdefault(hint.company_id, []).append(hint.inbox_id)
            said = hint.payload
            if said["resource"] in _CATALOGUE or (said["resource"], said["status"]) == ("client", "delete"):
                catalogue.add(hint.company_id)
        statement = text("UPDATE companies SET catalogue_at = NULL WHERE company_id = ANY(:companies)")
        connection.execute(statement, {"companies": sorted(catalogue)})
    return taken


def forget_hints(database: Database, now: datetime) -> int:
    """Remove processed hints older than a week, and the oldest of more than a million. Returns how many."""
    with database.begin() as connection:
        parameters = {"channel": CHANNEL, "before": now - KEPT_FOR, "most": MOST_KEPT}
        return connection.execute(text(_FORGET), parameters).rowcount
