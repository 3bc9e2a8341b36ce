"""The inbox: every event of a channel is stored once, before anything else happens to it, and what cannot wait happens with it.

What to add here: effects that must be in force before the webhook is answered: a client who asks to stop is suppressed, a status event
moves its campaign, a lost session stops its number. What to keep out: understanding replies (responses.py) and anything slow.

All of a webhook call is one transaction, and costs about as many queries for a hundred events as for one. An event delivered twice is
stored once and has its effect once.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, or_, text
from sqlalchemy.exc import DataError, IntegrityError

from reactivation_core.campaign_states import Status
from reactivation_core.replies import is_clear_opt_out
from reactivation_resources.account_watch import recount
from reactivation_resources.accounts import record_signal
from reactivation_resources.alerts import raise_alert
from reactivation_resources.campaign_moves import (
    CAMPAIGNS,
    INBOX,
    SETTLING_WINDOW,
    Change,
    among,
    campaigns_for_update,
    change_of,
    lock_accounts,
    settle_from_chat,
    store_changes,
)
from reactivation_resources.channels.base import InboundEvent
from reactivation_resources.database.engine import Database
from reactivation_resources.send_outcomes import take_effect
from reactivation_resources.suppressions import suppress
from reactivation_resources.template_registry import apply_event

_LONGEST_KEY = 200  # an index entry has a size limit, and a stranger chooses the ids

_ACCOUNTS = """
SELECT account_id, company_id, session, business_id FROM channel_accounts
WHERE channel = :channel AND (session = ANY(:sessions) OR business_id = ANY(:businesses))
"""
_CONTACT = """
INSERT INTO contacts (company_id, phone, first_inbound_at, last_inbound_at) VALUES (:company, :phone, :at, :at)
ON CONFLICT (company_id, phone) DO UPDATE SET first_inbound_at = least(contacts.first_inbound_at, :at),
                                              last_inbound_at = greatest(contacts.last_inbound_at, :at)
"""
# A chat behind an alias is known by what was sent to it, by the message of ours it quotes, or by what came from it with its phone.
_ALIASES = """
SELECT e.place, (
  SELECT phone FROM (
    SELECT phone, sending_at AS at FROM reactivation_campaigns
    WHERE account_id = e.account AND (provider_contact_id = e.contact OR provider_message_id = e.quoted)
    UNION ALL
    SELECT phone, received_at FROM inbox
    WHERE account_id = e.account AND contact_id = e.contact AND kind = 'message' AND phone IS NOT NULL
  ) known ORDER BY at DESC LIMIT 1) AS phone
FROM unnest(CAST(:places AS int[]), CAST(:accounts AS bigint[]), CAST(:contacts AS text[]), CAST(:quoted AS text[]))
  AS e(place, account, contact, quoted)
"""
# Duplicates, of this very call too, are left out.
_STORE = """
INSERT INTO inbox (channel, event_key, kind, account_id, company_id, contact_id, phone, quoted_message_id, message_id, body, payload,
                   occurred_at, received_at, processed_at, error)
SELECT * FROM unnest(
  CAST(:channel AS text[]), CAST(:event_key AS text[]), CAST(:kind AS text[]), CAST(:account_id AS bigint[]), CAST(:company_id AS bigint[]),
  CAST(:contact_id AS text[]), CAST(:phone AS text[]), CAST(:quoted_message_id AS text[]), CAST(:message_id AS text[]),
  CAST(:body AS text[]), CAST(:payload AS jsonb[]), CAST(:occurred_at AS timestamptz[]), CAST(:received_at AS timestamptz[]),
  CAST(:processed_at AS timestamptz[]), CAST(:error AS text[]))
ON CONFLICT DO NOTHING RETURNING event_key, inbox_id
"""
_OUTSTANDING = """
SELECT DISTINCT account_id FROM reactivation_campaigns
WHERE account_id = ANY(:accounts) AND status IN ('sending', 'unknown') AND provider_message_id IS NULL AND sending_at > :since
"""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """What a webhook call brought: events stored now, events known already, clients who asked to stop."""

    new: int = 0
    duplicates: int = 0
    opt_outs: int = 0


@dataclass(frozen=True, slots=True)
class _Filed:
    """A new event in the inbox and the accounts it is about: one, or all of a business, or none that we know."""

    inbox_id: int
    event: InboundEvent
    accounts: tuple[Row[Any], ...]

    @property
    def account(self) -> Row[Any]:
        """The account it is about."""
        return self.accounts[0]

    @property
    def at(self) -> datetime:
        """When it happened."""
        assert self.event.occurred_at is not None  # noqa: S101 - set when it was stored
        return self.event.occurred_at


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
        with self.database.begin() as connection:
            accounts = _Accounts.of(connection, channel, ordered)
            lock_accounts(
                connection, (a.account_id for event in ordered if _acts(event) for a in accounts.about(event))
            )
            filed = _file(connection, channel, ordered, accounts, received_at)
            opt_outs = _Effects(connection, received_at).take(filed)
        return StoredReport(new=len(filed), duplicates=len(ordered) - len(filed), opt_outs=opt_outs)


class _Accounts:
    """The accounts that a call's events may be about."""

    def __init__(self, rows: Sequence[Row[Any]]) -> None:
        self._of_session = {row.session: row for row in rows}
        self._of_business: dict[str, list[Row[Any]]] = {}
        for row in rows:
            if row.business_id is not None:
                self._of_business.setdefault(row.business_id, []).append(row)

    @classmethod
    def of(cls, connection: Connection, channel: str, events: Sequence[InboundEvent]) -> "_Accounts":
        sessions = sorted({event.session for event in events if event.session is not None})
        businesses = sorted(
            {event.business for event in events if event.session is None and event.business is not None}
        )
        query = {"channel": channel, "sessions": sessions, "businesses": businesses}
        return cls(connection.execute(text(_ACCOUNTS), query).all())

    def about(self, event: InboundEvent) -> list[Row[Any]]:
        """The account that the event names, or all of the business that it names instead."""
        if event.session is not None:
            return [row] if (row := self._of_session.get(event.session)) is not None else []
        return self._of_business.get(event.business or "", [])


def _acts(event: InboundEvent) -> bool:
    """Whether the event may change campaigns or the health of accounts."""
    return event.kind in {"ack", "session", "preference"} or _asks_to_stop(event)


def _asks_to_stop(event: InboundEvent) -> bool:
    if event.kind == "preference":
        return event.stops is True
    return event.kind == "message" and event.error is None and event.body is not None and is_clear_opt_out(event.body)


def _file(
    connection: Connection, channel: str, events: Sequence[InboundEvent], accounts: _Accounts, received_at: datetime
) -> list[_Filed]:
    """Insert the events; returns those that had not been stored before, with what became known of them."""
    unique: dict[str, InboundEvent] = {}
    for event in events:
        unique.setdefault(event.key, event)
    if not unique:
        return []
    known = _with_phones(connection, list(unique.values()), accounts)
    rows = {event.key: _row(channel, event, accounts, received_at) for event in known}
    columns = {name: [row[name] for row in rows.values()] for name in next(iter(rows.values()))}
    columns["payload"] = [json.dumps(payload) for payload in columns["payload"]]
    ids = {row.event_key: row.inbox_id for row in connection.execute(text(_STORE), columns)}
    return [_Filed(ids[event.key], event, tuple(accounts.about(event))) for event in known if event.key in ids]


def _with_phones(connection: Connection, events: list[InboundEvent], accounts: _Accounts) -> list[InboundEvent]:
    """The events with the phones of chats behind aliases, where they are known."""
    hidden = [
        (place, account[0].account_id, event.contact_id, event.quoted_message_id)
        for place, event in enumerate(events)
        if event.phone is None and event.contact_id is not None and (account := accounts.about(event))
    ]
    if not hidden:
        return events
    places, ids, contacts, quoted = (list(column) for column in zip(*hidden, strict=True))
    query = {"places": places, "accounts": ids, "contacts": contacts, "quoted": quoted}
    phones = {row.place: row.phone for row in connection.execute(text(_ALIASES), query)}
    return [replace(event, phone=phones.get(place, event.phone)) for place, event in enumerate(events)]


def _row(channel: str, event: InboundEvent, accounts: _Accounts, received_at: datetime) -> dict[str, Any]:
    """The event as a row of the inbox."""
    about = accounts.about(event)
    account = about[0] if about and event.session is not None else None
    error = event.error
    if not about and error is None and event.kind not in {"malformed", "template"}:
        error = "no account has this session"
    waits = event.kind == "message" and error is None
    return {
        "channel": channel,
        "event_key": event.key,
        "kind": event.kind,
        "account_id": account.account_id if account is not None else None,
        "company_id": account.company_id if account is not None else None,
        "contact_id": event.contact_id,
        "phone": event.phone,
        "quoted_message_id": event.quoted_message_id,
        "message_id": event.message_id,
        "body": event.ack if event.kind == "ack" else event.body,
        "payload": event.payload,
        "occurred_at": event.occurred_at,
        "received_at": received_at,
        "processed_at": None if waits else received_at,
        "error": error,
    }


class _Effects:
    """What new events do, in the transaction that stores them. An event that makes no sense keeps its error and stops no other."""

    def __init__(self, connection: Connection, received_at: datetime) -> None:
        self._connection = connection
        self._received_at = received_at
        self._opt_outs = 0
        self._recount: set[int] = set()

    def take(self, filed: Sequence[_Filed]) -> int:
        """Let events take effect; returns how many clients asked to stop."""
        steps: dict[str, Callable[[Sequence[_Filed]], None]] = {
            "message": self._hear_clients,
            "preference": self._note_preferences,
            "ack": self._hear_acks,
            "session": self._note_signals,
            "template": self._note_templates,
        }
        for kind, act in steps.items():
            of_kind = [one for one in filed if one.event.kind == kind and one.event.error is None]
            self._safely([one for one in of_kind if one.accounts or kind == "template"], act)
        recount(self._connection, sorted(self._recount), self._received_at)
        return self._opt_outs

    def _safely(self, filed: Sequence[_Filed], act: Callable[[Sequence[_Filed]], None]) -> None:
        """Do it for all at once; when one of them cannot be done, for each alone."""
        if not filed:
            return
        opt_outs = self._opt_outs
        try:
            with self._connection.begin_nested():
                act(filed)
        except (ValueError, IntegrityError, DataError) as error:
            self._opt_outs = opt_outs
            if len(filed) == 1:
                self._note(filed, error=type(error).__name__)
                return
            for one in filed:
                self._safely([one], act)

    # ------------------------------------------------------------ what clients say

    def _hear_clients(self, filed: Sequence[_Filed]) -> None:
        heard = [
            {"company": one.account.company_id, "phone": one.event.phone, "at": one.at}
            for one in filed
            if one.event.phone is not None
        ]
        if heard:  # in one order for all calls
            self._connection.execute(text(_CONTACT), sorted(heard, key=lambda row: (row["company"], row["phone"])))
        for one in filed:
            if _asks_to_stop(one.event):
                self._stop(one, "webhook")

    def _note_preferences(self, filed: Sequence[_Filed]) -> None:
        """Marketing stopped at the messenger itself is an opt-out. Resuming it there lifts nothing: what was said to the salon stands."""
        for one in filed:
            if one.event.stops:
                self._stop(one, "channel")

    def _stop(self, one: _Filed, source: str) -> None:
        company, at = one.account.company_id, self._received_at
        if one.event.phone is None:
            words = f"A client asked for no more messages, but the channel hides the phone: see message {one.inbox_id} in the inbox"
            raise_alert(self._connection, "opt_out_unknown", f"opt_out_unknown:{one.inbox_id}", words, at, company)
            return
        suppress(
            self._connection, company, one.event.phone, at, reason="opted_out", source=source, inbox_id=one.inbox_id
        )
        self._opt_outs += 1
        self._recount.add(one.account.account_id)

    # ------------------------------------------------------------ what became of our messages

    def _hear_acks(self, filed: Sequence[_Filed]) -> None:
        """Move the campaigns that status events speak of. One without a campaign waits as long as a send's answer is outstanding."""
        acks = [one for one in filed if one.event.ack is not None]
        campaigns = _Campaigns.of(self._connection, acks)
        strangers = []
        for one in acks:
            event, account_id = one.event, one.account.account_id
            change = campaigns.named(one)
            if change is None and not campaigns.knows(one) and event.phone is not None and not event.by_hand:
                change = campaigns.add(settle_from_chat(self._connection, account_id, event.phone, one.at))
            if change is None:
                strangers.append(one)
                continue
            error = f"{event.refusal.code}: {event.refusal.words}" if event.refusal is not None else None
            change.hear(str(event.ack), one.at, message_id=event.message_id, contact_id=event.contact_id, error=error)
            if event.ack == "failed":
                self._recount.add(account_id)
                if event.refusal is not None:
                    take_effect(self._connection, change, event.refusal, self._received_at)
        store_changes(self._connection, campaigns.changes.values())
        self._note_strangers(strangers)

    def _note_strangers(self, strangers: Sequence[_Filed]) -> None:
        if not strangers:
            return
        since = min(one.at for one in strangers) - SETTLING_WINDOW
        query = {"accounts": sorted({one.account.account_id for one in strangers}), "since": since}
        outstanding = set(self._connection.execute(text(_OUTSTANDING), query).scalars())
        wait = [one for one in strangers if one.account.account_id in outstanding and not one.event.by_hand]
        self._note(wait, error="no campaign", processed_at=None)
        self._note([one for one in strangers if one not in wait], error="no campaign")

    # ------------------------------------------------------------ what becomes of numbers and templates

    def _note_signals(self, filed: Sequence[_Filed]) -> None:
        for one in filed:
            signal, detail = one.event.signal, {"inbox_id": one.inbox_id}
            if signal is None:
                continue
            for account in one.accounts:
                record_signal(self._connection, account.account_id, signal, self._received_at, detail)

    def _note_templates(self, filed: Sequence[_Filed]) -> None:
        for one in filed:
            if one.event.business is not None:
                apply_event(self._connection, one.event.business, one.event.payload, self._received_at)

    def _note(self, filed: Sequence[_Filed], **values: Any) -> None:
        if filed:
            ids = [one.inbox_id for one in filed]
            self._connection.execute(INBOX.update().where(among(INBOX.c.inbox_id, ids)).values(**values))


class _Campaigns:
    """The locked campaigns that status events name, by our own id where the channel brings it back, else by the channel's."""

    def __init__(self, rows: Iterable[Row[Any]]) -> None:
        self.changes = {row.campaign_id: change_of(row) for row in rows}
        self._by_message = {
            change["provider_message_id"]: change for change in self.changes.values() if change["provider_message_id"]
        }

    @classmethod
    def of(cls, connection: Connection, acks: Sequence[_Filed]) -> "_Campaigns":
        messages = [one.event.message_id for one in acks if one.event.message_id is not None]
        ours = [one.event.campaign_id for one in acks if one.event.campaign_id is not None]
        if not acks:
            return cls(())
        wanted = among(CAMPAIGNS.c.provider_message_id, messages)
        if ours:
            wanted = or_(wanted, among(CAMPAIGNS.c.campaign_id, ours))
        return cls(campaigns_for_update(connection, wanted))

    def knows(self, one: _Filed) -> bool:
        """Whether any account's campaign has the message."""
        return one.event.message_id in self._by_message

    def named(self, one: _Filed) -> Change | None:
        """The campaign of the event's own account that it names."""
        ours = self.changes.get(one.event.campaign_id) if one.event.campaign_id is not None else None
        if ours is not None and ours["provider_message_id"] not in (None, one.event.message_id):
            ours = None  # another message went out for it
        change = ours or self._by_message.get(one.event.message_id)
        return change if change is not None and change["account_id"] == one.account.account_id else None

    def add(self, row: Row[Any] | None) -> Change | None:
        """A campaign found otherwise; one that has been found already is the same."""
        if row is None:
            return None
        change = self.changes.setdefault(row.campaign_id, change_of(row))
        return change if change.status is Status.UNKNOWN else None


def _storable(event: InboundEvent, received_at: datetime) -> InboundEvent:
    """The event as the database can hold it: a bounded key, no characters that PostgreSQL refuses, an instant that has come."""
    key = _text(event.key)
    if len(key.encode()) > _LONGEST_KEY:
        key = f"{event.kind}:{hashlib.sha256(key.encode()).hexdigest()}"
    cleaned: dict[str, Any] = {
        name: _text(value) if (value := getattr(event, name)) is not None else None
        for name in ("session", "business", "phone", "contact_id", "message_id", "quoted_message_id", "body", "error")
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
