"""The inbox: every event of a channel is stored once, before anything else happens to it, and what cannot wait happens with it.

What to add here: effects that must be in force before the webhook is answered: a client who asks to stop is suppressed, a status event
moves its campaign, a lost session stops its number. What to keep out: understanding replies (responses.py) and anything slow.

All of a webhook call is one transaction. An event delivered twice is stored once and has its effect once.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError

from reactivation_core.campaign_states import Status
from reactivation_core.replies import is_clear_opt_out
from reactivation_resources.accounts import record_signal
from reactivation_resources.alerts import raise_alert
from reactivation_resources.campaign_moves import (
    CAMPAIGNS,
    INBOX,
    SETTLING_WINDOW,
    campaigns_for_update,
    cancel,
    hear,
    lock_accounts,
    settle_from_chat,
)
from reactivation_resources.channels.base import AckStatus, InboundEvent
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import Client, InboxMessage, Suppression

_LONGEST_KEY = 200  # an index entry has a size limit, and a stranger chooses the ids

_ACCOUNTS = """
SELECT account_id, company_id, session FROM channel_accounts WHERE channel = :channel AND session = ANY(:sessions)
"""
_CONTACT = """
INSERT INTO contacts (company_id, phone, first_inbound_at, last_inbound_at) VALUES (:company, :phone, :at, :at)
ON CONFLICT (company_id, phone) DO UPDATE SET first_inbound_at = least(contacts.first_inbound_at, :at),
                                              last_inbound_at = greatest(contacts.last_inbound_at, :at)
"""
# A chat behind an alias is known by what was sent to it, by the message of ours it quotes, or by what came from it with its phone.
_ALIAS = """
SELECT phone FROM (
  SELECT phone, sending_at AS at FROM reactivation_campaigns
  WHERE account_id = :account AND (provider_contact_id = :contact OR provider_message_id = :quoted)
  UNION ALL
  SELECT phone, received_at FROM inbox WHERE account_id = :account AND contact_id = :contact AND phone IS NOT NULL
) known ORDER BY at DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What a webhook call brought: events stored now, events known already, clients who asked to stop."""

    new: int = 0
    duplicates: int = 0
    opt_outs: int = 0


class Inbox:
    """Stores what channels tell us."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def store(self, channel: str, events: Iterable[InboundEvent], received_at: datetime) -> StoredReport:
        """Store `events` of `channel` and let them take effect, in one transaction.

        Whatever an event holds, the others are stored. Raises only when the database cannot be used: the channel then delivers again.
        """
        # One order for all calls, so that two of them never wait for each other.
        ordered = sorted((_storable(event, received_at) for event in events), key=lambda event: event.key)
        new = opt_outs = 0
        with self.database.begin() as connection:
            accounts = _accounts(connection, channel, ordered)
            lock_accounts(connection, _to_lock(ordered, accounts))
            for event in ordered:
                account = accounts.get(event.session or "")
                filed = _file(connection, channel, event, account, received_at)
                if filed is None:
                    continue
                new += 1
                inbox_id, known = filed
                if account is not None:
                    opt_outs += _take_effect(connection, account, inbox_id, known, received_at)
        return StoredReport(new=new, duplicates=len(ordered) - new, opt_outs=opt_outs)


def enter_suppression(
    connection: Connection,
    company_id: int,
    phone: str,
    at: datetime,
    *,
    reason: str,
    source: str,
    inbox_id: int | None = None,
) -> None:
    """Enter `phone` into the company's suppression ledger; one that is in force already stays as it is."""
    ledger = insert(Suppression).values(
        company_id=company_id, phone=phone, reason=reason, source=source, inbox_id=inbox_id, at=at
    )
    connection.execute(ledger.on_conflict_do_nothing())


def suppress(
    connection: Connection,
    company_id: int,
    phone: str,
    at: datetime,
    *,
    reason: str,
    source: str,
    inbox_id: int | None = None,
) -> None:
    """Never write to `phone` again for this company, and call off what is planned for it. Repeating it changes nothing."""
    enter_suppression(connection, company_id, phone, at, reason=reason, source=source, inbox_id=inbox_id)
    owners = select(Client.client_id).where(Client.company_id == company_id, Client.phone == phone)
    unsent = campaigns_for_update(
        connection,
        CAMPAIGNS.c.company_id == company_id,
        or_(CAMPAIGNS.c.phone == phone, CAMPAIGNS.c.client_id.in_(owners)),
        CAMPAIGNS.c.status.in_([Status.PLANNED, Status.CLAIMED]),
    )
    for campaign in unsent:
        cancel(connection, campaign, reason, at)


def _accounts(connection: Connection, channel: str, events: list[InboundEvent]) -> dict[str, Row[Any]]:
    sessions = sorted({event.session for event in events if event.session is not None})
    rows = connection.execute(text(_ACCOUNTS), {"channel": channel, "sessions": sessions})
    return {row.session: row for row in rows}


def _asks_to_stop(event: InboundEvent) -> bool:
    return event.kind == "message" and event.error is None and event.body is not None and is_clear_opt_out(event.body)


def _to_lock(events: Iterable[InboundEvent], accounts: dict[str, Row[Any]]) -> Iterable[int]:
    """The accounts whose campaigns or health these events may change."""
    for event in events:
        account = accounts.get(event.session or "")
        if account is not None and (event.kind in {"ack", "session"} or _asks_to_stop(event)):
            yield account.account_id


def _file(
    connection: Connection, channel: str, event: InboundEvent, account: Row[Any] | None, received_at: datetime
) -> tuple[int, InboundEvent] | None:
    """Insert the event; its id and what became known of it, or None when it had been stored before."""
    if account is None and event.error is None and event.kind != "malformed":
        event = replace(event, error="no account has this session")
    if account is not None and event.phone is None and event.contact_id is not None:
        query = {"account": account.account_id, "contact": event.contact_id, "quoted": event.quoted_message_id}
        event = replace(event, phone=connection.execute(text(_ALIAS), query).scalar_one_or_none())
    waits = event.kind == "message" and event.error is None
    inbox_id = connection.execute(
        insert(InboxMessage)
        .values(
            channel=channel,
            event_key=event.key,
            kind=event.kind,
            account_id=account.account_id if account is not None else None,
            company_id=account.company_id if account is not None else None,
            contact_id=event.contact_id,
            phone=event.phone,
            quoted_message_id=event.quoted_message_id,
            message_id=event.message_id,
            body=event.ack if event.kind == "ack" else event.body,
            payload=event.payload,
            occurred_at=event.occurred_at,
            received_at=received_at,
            processed_at=None if waits else received_at,
            error=event.error,
        )
        .on_conflict_do_nothing()
        .returning(InboxMessage.inbox_id)
    ).scalar_one_or_none()
    return None if inbox_id is None else (inbox_id, event)


def _take_effect(
    connection: Connection, account: Row[Any], inbox_id: int, event: InboundEvent, received_at: datetime
) -> int:
    """Do what cannot wait; returns how many clients asked to stop. An event that makes no sense keeps its error and stops nothing."""
    try:
        with connection.begin_nested():
            if event.kind == "message" and event.error is None:
                return _hear_client(connection, account, inbox_id, event, received_at)
            if event.kind == "session" and event.signal is not None:
                record_signal(connection, account.account_id, event.signal, received_at, {"inbox_id": inbox_id})
            if event.kind == "ack" and event.ack is not None:
                _hear_ack(connection, account.account_id, inbox_id, event, event.ack, received_at)
    except (ValueError, IntegrityError, DataError) as error:
        _note(connection, inbox_id, error=type(error).__name__)
    return 0


def _hear_client(
    connection: Connection, account: Row[Any], inbox_id: int, event: InboundEvent, received_at: datetime
) -> int:
    company = account.company_id
    if event.phone is not None:
        at = event.occurred_at or received_at
        connection.execute(text(_CONTACT), {"company": company, "phone": event.phone, "at": at})
    if not _asks_to_stop(event):
        return 0
    if event.phone is None:
        words = (
            f"A client asked for no more messages, but the channel hides the phone: see message {inbox_id} in the inbox"
        )
        raise_alert(connection, "opt_out_unknown", f"opt_out_unknown:{inbox_id}", words, received_at, company)
        return 0
    suppress(connection, company, event.phone, received_at, reason="opted_out", source="webhook", inbox_id=inbox_id)
    return 1


def _hear_ack(
    connection: Connection, account_id: int, inbox_id: int, event: InboundEvent, ack: AckStatus, received_at: datetime
) -> None:
    """Move the campaign that the status event speaks of. Without one it waits as long as a send's answer is outstanding."""
    at = event.occurred_at or received_at
    named = campaigns_for_update(connection, CAMPAIGNS.c.provider_message_id == event.message_id)
    campaign = next((row for row in named if row.account_id == account_id), None)
    if not named and event.phone is not None and not event.by_hand:
        campaign = settle_from_chat(connection, account_id, event.phone, at)
    if campaign is not None:
        hear(connection, campaign, ack, at, message_id=event.message_id, contact_id=event.contact_id)
        return
    outstanding = [
        CAMPAIGNS.c.status.in_([Status.SENDING, Status.UNKNOWN]),
        CAMPAIGNS.c.provider_message_id.is_(None),
        CAMPAIGNS.c.sending_at > at - SETTLING_WINDOW,
    ]
    query = select(CAMPAIGNS.c.campaign_id).where(CAMPAIGNS.c.account_id == account_id, *outstanding).limit(1)
    waits = not event.by_hand and connection.execute(query).first() is not None
    _note(connection, inbox_id, error="no campaign", **({"processed_at": None} if waits else {}))


def _note(connection: Connection, inbox_id: int, **values: Any) -> None:
    connection.execute(INBOX.update().where(INBOX.c.inbox_id == inbox_id).values(**values))


def _storable(event: InboundEvent, received_at: datetime) -> InboundEvent:
    """The event as the database can hold it: a bounded key, no characters that PostgreSQL refuses, an instant that has come."""
    key = _text(event.key)
    if len(key.encode()) > _LONGEST_KEY:
        key = f"{event.kind}:{hashlib.sha256(key.encode()).hexdigest()}"
    cleaned: dict[str, Any] = {
        name: _text(value) if (value := getattr(event, name)) is not None else None
        for name in ("session", "phone", "contact_id", "message_id", "quoted_message_id", "body", "error")
    }
    try:
        payload = {_text(name): _json(value) for name, value in event.payload.items()}
    except RecursionError:
        payload = {"dropped": "nested too deeply"}
    occurred_at = min(event.occurred_at or received_at, received_at)
    return replace(event, key=key, payload=payload, occurred_at=occurred_at, **cleaned)


def _text(value: str) -> str:
    return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _json(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return {_text(str(name)): _json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
