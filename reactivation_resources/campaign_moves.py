"""Moves campaigns from status to status in the database, and writes down every move.

What to add here: what a status change does to the campaign's row. What to keep out: which change is allowed
(`reactivation_core.campaign_states`) and why it happens (outbox.py, inbox.py). Every function runs inside the caller's transaction and
takes any number of campaigns at once: how many there are costs rows, not queries.

Everything that touches an account's campaigns takes the account's lock first, then campaign rows, then the account's row. One order for
all means that nobody waits in a circle, and under the lock what is counted stays true until the commit.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, TextClause, any_, literal, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement

from reactivation_core.campaign_states import Event, Status, advance
from reactivation_core.planning import next_attempt_at
from reactivation_resources.database.models import Campaign, InboxMessage

CAMPAIGNS = cast("Table", Campaign.__table__)
INBOX = cast("Table", InboxMessage.__table__)
# A status event may name a message whose answer we lost only by its chat; later than this it speaks of something else.
SETTLING_WINDOW = timedelta(days=7)
LONGEST_ANSWER = timedelta(seconds=60)
"""No channel waits longer for an answer: a message whose answer was lost had arrived by then, or never did."""
_CLOCK_SKEW = timedelta(minutes=2)
_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy has no types for it

_REPORTS = {"accepted": Event.ACCEPTED, "delivered": Event.DELIVERED, "read": Event.READ, "failed": Event.FAILED}
_LOCK = """
SELECT count(pg_advisory_xact_lock(hashtextextended('reactivation-account', account_id)))
FROM (SELECT account_id FROM unnest(CAST(:accounts AS bigint[])) AS a(account_id) ORDER BY 1) ordered
"""
_TRY_LOCK = """
SELECT account_id FROM unnest(CAST(:accounts AS bigint[])) AS a(account_id)
WHERE pg_try_advisory_xact_lock(hashtextextended('reactivation-account', account_id))
"""
# Taken after the accounts' locks, and nobody takes an account's afterwards: two who wait for each other there are none.
_LOCK_BUSINESSES = """
SELECT count(pg_advisory_xact_lock(hashtextextended('reactivation-business ' || business_id, 0)))
FROM (SELECT DISTINCT business_id FROM channel_accounts
      WHERE account_id = ANY(CAST(:accounts AS bigint[])) AND business_id IS NOT NULL AND clients_a_day IS NOT NULL ORDER BY 1) ordered
"""
# The account's age starts with its first message that went out.
_FIRST_SEND = """
UPDATE channel_accounts a SET first_sent_at = f.at
FROM unnest(CAST(:accounts AS bigint[]), CAST(:instants AS timestamptz[])) AS f(account_id, at)
WHERE a.account_id = f.account_id AND (a.first_sent_at IS NULL OR a.first_sent_at > f.at)
"""
_MOVES = """
INSERT INTO campaign_events (campaign_id, at, event, from_status, to_status, detail)
SELECT * FROM unnest(CAST(:campaign_id AS uuid[]), CAST(:at AS timestamptz[]), CAST(:event AS text[]), CAST(:from_status AS text[]),
                     CAST(:to_status AS text[]), CAST(:detail AS jsonb[]))
"""
_WAITING = """
SELECT i.* FROM inbox i
JOIN unnest(CAST(:accounts AS bigint[]), CAST(:messages AS text[])) AS m(account_id, message_id) USING (account_id, message_id)
WHERE i.kind = 'ack' AND i.processed_at IS NULL ORDER BY i.inbox_id
"""


def lock_accounts(connection: Connection, account_ids: Iterable[int]) -> None:
    """Wait for the locks of these accounts, in one order for all who do; they are held until the transaction ends."""
    if wanted := sorted(set(account_ids)):
        connection.execute(text(_LOCK), {"accounts": wanted})


def lock_businesses(connection: Connection, account_ids: Iterable[int]) -> None:
    """Wait for the locks of the businesses whose limit of clients these accounts share; the accounts' own locks must be held already."""
    connection.execute(text(_LOCK_BUSINESSES), {"accounts": sorted(set(account_ids))})


def try_lock_accounts(connection: Connection, account_ids: Iterable[int]) -> list[int]:
    """Take the locks that nobody holds, without waiting; returns whose they are, in the order given."""
    wanted = list(account_ids)
    taken = set(connection.execute(text(_TRY_LOCK), {"accounts": wanted}).scalars())
    return [account_id for account_id in wanted if account_id in taken]


def campaigns_for_update(connection: Connection, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """The campaigns that meet all conditions, their rows locked, in the order of their ids."""
    query = select(CAMPAIGNS).where(*conditions).order_by(CAMPAIGNS.c.campaign_id).with_for_update()
    return list(connection.execute(query))


@dataclass(slots=True)
class Change:
    """A locked campaign on its way: what its row holds now and will hold, and the moves made on the way."""

    campaign: Mapping[str, Any]
    columns: dict[str, Any] = field(default_factory=dict)
    moves: list[dict[str, Any]] = field(default_factory=list)

    def __getitem__(self, column: str) -> Any:
        """What a column holds by now."""
        return self.columns[column] if column in self.columns else self.campaign[column]

    @property
    def status(self) -> Status:
        """The status it has come to."""
        return Status(self["status"])

    def move(self, event: Event, at: datetime, detail: Mapping[str, Any] | None = None, **columns: Any) -> Status:
        """Let `event` happen and set `columns` with it. Returns the new status.

        Raises `IllegalTransition` when the campaign's status does not allow the event.
        """
        current = self.status
        status = advance(current, event, tries=columns.get("tries", self["tries"]))
        self.columns |= {**columns, "status": status}
        if status != current:
            self.moves.append(
                {
                    "campaign_id": self.campaign["campaign_id"],
                    "at": at,
                    "event": event,
                    "from_status": current,
                    "to_status": status,
                    "detail": dict(detail or {}),
                }
            )
        return status

    def cancel(self, reason: str, at: datetime) -> None:
        """Call off a campaign that has not been sent. This ends its episode."""
        self.move(
            Event.CANCEL,
            at,
            {"reason": reason},
            completion_reason="opted_out" if reason == "opted_out" else "cancelled",
            completed_at=at,
            lease_owner=None,
            lease_until=None,
            error=reason,
        )

    def release(self, at: datetime, not_before: datetime | None = None) -> None:
        """Plan a claimed campaign again. A planned campaign's lease, if it has one, only says until when nobody may take it."""
        self.move(Event.RELEASE, at, lease_owner=None, lease_until=not_before)

    def hear(
        self,
        report: str,
        at: datetime,
        *,
        message_id: str | None = None,
        contact_id: str | None = None,
        error: str | None = None,
    ) -> Status:
        """Take in what the channel says: `accepted`, `delivered`, `read` or `failed`.

        The same reports in any order, any number of times, leave the same row.
        """
        event = _REPORTS[report]
        status = advance(self.status, event, tries=self["tries"])
        if status in (Status.PLANNED, Status.CLAIMED):
            return status  # a late word on a try that had failed; the next one is on its way
        failed = status is Status.FAILED
        sending_at = self["sending_at"] or at  # none: the try was refused, and has arrived after all
        arrived = _between(at, sending_at, sending_at + LONGEST_ANSWER)
        columns: dict[str, Any] = {
            "sending_at": sending_at,
            "sent_at": _first(self["sent_at"], arrived if report != "failed" else None),
            "provider_message_id": self["provider_message_id"] or message_id,
            "provider_contact_id": self["provider_contact_id"] or contact_id,
            "next_attempt_at": self["next_attempt_at"] or next_attempt_at(sending_at, self["retry_interval_days"]),
            "delivered_at": _first(self["delivered_at"], at if report in {"delivered", "read"} else None),
            "read_at": _first(self["read_at"], at if report == "read" else None),
            "failed_at": _first(self["failed_at"], at if report == "failed" else None) if failed else None,
            "error": (self["error"] or error or "the channel reported a failure") if failed else None,
            "lease_owner": None,
            "lease_until": None,
        }
        return self.move(event, at, {"error": error} if error else None, **columns)


def change_of(campaign: Row[Any]) -> Change:
    """A change of a locked row, with nothing changed yet."""
    return Change(campaign._asdict())


def store_changes(connection: Connection, changes: Iterable[Change]) -> None:
    """Write changed campaigns, the moves they made, and the first send of their accounts."""
    by_columns: dict[tuple[str, ...], list[Change]] = {}
    moves: list[dict[str, Any]] = []
    first: dict[int, datetime] = {}
    for change in changes:
        if not change.columns:
            continue
        by_columns.setdefault(tuple(sorted(change.columns)), []).append(change)
        moves += change.moves
        sent_at, account_id = change.columns.get("sent_at"), change["account_id"]
        if sent_at is not None and account_id is not None and change.campaign["sent_at"] != sent_at:
            first[account_id] = min(sent_at, first.get(account_id, sent_at))
    for names, changed in by_columns.items():
        values = {name: [change.columns[name] for change in changed] for name in names}
        connection.execute(
            _update_of(names), {"campaign_id": [change.campaign["campaign_id"] for change in changed], **values}
        )
    if moves:
        columns = {name: [move[name] for move in moves] for name in moves[0]}
        connection.execute(text(_MOVES), {**columns, "detail": [json.dumps(detail) for detail in columns["detail"]]})
    if first:
        connection.execute(text(_FIRST_SEND), {"accounts": list(first), "instants": list(first.values())})


@cache
def _update_of(names: tuple[str, ...]) -> TextClause:
    """The statement that sets these columns of any number of campaigns, each to values of its own."""
    lists = ", ".join(f"CAST(:{name} AS {_type_of(name)}[])" for name in ("campaign_id", *names))
    sets = ", ".join(f"{name} = v.{name}" for name in names)
    return text(
        f"UPDATE reactivation_campaigns c SET {sets} FROM unnest({lists}) AS v(campaign_id, {', '.join(names)})"  # noqa: S608 - columns of ours
        " WHERE c.campaign_id = v.campaign_id"
    )


def _type_of(name: str) -> str:
    return str(CAMPAIGNS.c[name].type.compile(dialect=_POSTGRESQL))


def cancel(connection: Connection, campaigns: Iterable[Row[Any]], reason: str, at: datetime) -> None:
    """Call off locked campaigns that have not been sent. This ends their episodes."""
    changes = [change_of(campaign) for campaign in campaigns]
    for change in changes:
        change.cancel(reason, at)
    store_changes(connection, changes)


def settle_from_chat(connection: Connection, account_id: int, phone: str, heard_at: datetime) -> Row[Any] | None:
    """The one campaign to `phone` whose answer was lost and that a status event of an unknown message may speak of."""
    waiting = campaigns_for_update(
        connection,
        CAMPAIGNS.c.account_id == account_id,
        CAMPAIGNS.c.phone == phone,
        CAMPAIGNS.c.status == Status.UNKNOWN,
        CAMPAIGNS.c.provider_message_id.is_(None),
        CAMPAIGNS.c.sending_at <= heard_at + _CLOCK_SKEW,
        CAMPAIGNS.c.sending_at > heard_at - SETTLING_WINDOW,
    )
    return waiting[0] if len(waiting) == 1 else None


def hear_waiting(connection: Connection, changes: Sequence[Change]) -> None:
    """Let changes hear the status events that came before the answer of their send was stored."""
    named = {
        (change["account_id"], change["provider_message_id"]): change
        for change in changes
        if change["provider_message_id"]
    }
    if not named:
        return
    accounts, messages = zip(*named, strict=True)
    query = {"accounts": list(accounts), "messages": list(messages)}
    _hear_all(
        connection, ((named[ack.account_id, ack.message_id], ack) for ack in connection.execute(text(_WAITING), query))
    )


def hear_waiting_chat(connection: Connection, change: Change) -> None:
    """Let a campaign whose answer was lost hear the status events that its chat has waiting, if they can only mean it."""
    conditions = [
        INBOX.c.account_id == change["account_id"],
        INBOX.c.kind == "ack",
        INBOX.c.processed_at.is_(None),
        INBOX.c.phone == change["phone"],
        INBOX.c.occurred_at >= change["sending_at"] - _CLOCK_SKEW,
    ]
    waiting = list(connection.execute(select(INBOX).where(*conditions).order_by(INBOX.c.inbox_id)))
    if len({ack.message_id for ack in waiting}) > 1:
        return  # several messages in that chat: which one is ours cannot be told
    _hear_all(connection, ((change, ack) for ack in waiting))


def _hear_all(connection: Connection, heard: Iterable[tuple[Change, Row[Any]]]) -> None:
    done = []
    for change, ack in heard:
        change.hear(ack.body, ack.occurred_at, message_id=ack.message_id, contact_id=ack.contact_id)
        done.append(ack.inbox_id)
    if done:
        mark = update(INBOX).where(among(INBOX.c.inbox_id, done))
        connection.execute(mark.values(processed_at=INBOX.c.received_at, error=None))


def among(column: ColumnElement[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Whether a column holds one of these values: one statement, however many there are."""
    return column == any_(literal(list(values), postgresql.ARRAY(column.type)))


def _between(at: datetime, earliest: datetime, latest: datetime) -> datetime:
    return max(earliest, min(at, latest))


def _first(known: datetime | None, heard: datetime | None) -> datetime | None:
    return min((instant for instant in (known, heard) if instant is not None), default=None)
