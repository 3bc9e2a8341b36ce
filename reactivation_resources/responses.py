"""Turns stored inbound messages into classified replies and writes what they do, each in one transaction and once.

What to add here: how a reply finds its campaign, and where its effects are written. What to keep out: what a text means
(`reactivation_core.replies`) and what an intent does (`reactivation_core.reply_effects`).
"""

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DataError, IntegrityError

from reactivation_core.local_time import local_date, to_local
from reactivation_core.replies import Classification, OfferedSlot, classify
from reactivation_core.reply_effects import ReplyEffects, effects_of
from reactivation_resources.alerts import raise_alert
from reactivation_resources.database.engine import Database, FrameSchema
from reactivation_resources.offered_slots import offered
from reactivation_resources.suppressions import enter_suppression

BATCH = 500
Ids = dict[str, dict[str, int]]
"""Names and titles to the CRM's ids, for `staff` and `service`."""
_FAULTS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, DataError, IntegrityError)
_UNDECIDED = ("thanks", "unclear")  # says nothing that an earlier reply has not said

# One chat's messages are taken in order, also when several processes work: the next one waits until the one before it is done.
_NEXT = """
SELECT i.*, c.timezone FROM inbox i LEFT JOIN companies c USING (company_id)
WHERE i.kind = 'message' AND i.processed_at IS NULL AND i.inbox_id > :after
  AND NOT EXISTS (SELECT FROM inbox e WHERE e.kind = 'message' AND e.processed_at IS NULL AND e.inbox_id < i.inbox_id
                  AND e.account_id = i.account_id AND (e.contact_id = i.contact_id OR e.phone = i.phone))
ORDER BY i.inbox_id LIMIT 1 FOR UPDATE OF i SKIP LOCKED
"""

# The latest campaign sent in the last fourteen days on the channel: by quoted message, then by the channel's contact id, then by phone
# within the company that owns the number.
_CAMPAIGN = """
SELECT c.* FROM reactivation_campaigns c JOIN channel_accounts a USING (account_id)
WHERE a.channel = :channel AND c.company_id = :company AND coalesce(c.sent_at, c.sending_at) <= :at
  AND coalesce(c.sent_at, c.sending_at) > :at - interval '14 days'
  AND (c.provider_message_id = :quoted OR c.provider_contact_id = :contact OR c.phone = :phone)
ORDER BY coalesce(c.provider_message_id = :quoted, false) DESC, coalesce(c.provider_contact_id = :contact, false) DESC,
         coalesce(c.sent_at, c.sending_at) DESC
LIMIT 1 FOR UPDATE OF c
"""
_CLIENT = """
SELECT client_id FROM clients WHERE company_id = :company AND phone = :phone AND NOT deleted ORDER BY client_id LIMIT 1
"""
# The booking a client may speak of: the first one made since the message, else any that lies ahead.
_UPCOMING = """
SELECT record_id, created_at FROM record_lines
WHERE company_id = :company AND client_id = :client AND created_at <= :at AND (starts_at > :at OR created_at >= :sent)
  AND NOT deleted AND status <> 'cancelled'
ORDER BY coalesce(created_at >= :sent, false) DESC, created_at, record_id LIMIT 1
"""
_REPLIED = """
UPDATE reactivation_campaigns SET
  responded_at = least(responded_at, :at),
  response_type = CASE WHEN response_type = 'booking_created' OR (:undecided AND intent IS NOT NULL) THEN response_type ELSE :type END,
  intent = CASE WHEN :undecided AND intent IS NOT NULL THEN intent ELSE :intent END,
  open_until = greatest(open_until, :open_until),
  completion_reason = coalesce(completion_reason, :reason),
  completed_at = CASE WHEN completion_reason IS NULL AND CAST(:reason AS text) IS NOT NULL THEN :completed_at ELSE completed_at END,
  booked_record_id = CASE WHEN completion_reason IS NULL THEN :record ELSE booked_record_id END,
  booked_at = CASE WHEN completion_reason IS NULL THEN :booked_at ELSE booked_at END,
  personalization = CASE WHEN CAST(:change AS jsonb) IS NULL THEN personalization ELSE
    jsonb_set(personalization, '{changes}', coalesce(personalization->'changes', '[]') || CAST(:change AS jsonb))
      || CAST(:requested AS jsonb) END
WHERE campaign_id = :campaign
"""

RESPONSES: FrameSchema = {
    "inbox_id": pl.Int64, "campaign_id": pl.String, "company_id": pl.Int64, "client_id": pl.Int64,
    "received_at": pl.Datetime("us", "UTC"), "response_type": pl.String, "intent": pl.String, "layer": pl.String,
    "slot_starts_at": pl.Datetime("us", "UTC"), "pause_until": pl.Date,
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """A reply that has been classified and applied: what the dialog context needs to follow it."""

    inbox_id: int
    company_id: int | None
    client_id: int | None
    campaign_id: str | None
    phone: str | None
    received_at: datetime
    classification: Classification
    effects: ReplyEffects


def apply_replies(
    database: Database, day_of: Callable[[datetime], Any], now: datetime, limit: int = BATCH
) -> list[Reply]:
    """Classify and apply up to `limit` waiting messages, oldest first, each in a transaction of its own.

    A message whose handling fails keeps its error in the inbox and stops nobody else's. Running it again changes nothing.
    """
    replies: list[Reply] = []
    after = 0
    for _ in range(limit):
        try:
            with database.begin() as connection:
                row = connection.execute(text(_NEXT), {"after": after}).one_or_none()
                if row is None:
                    return replies
                after = row.inbox_id
                replies.append(_apply(connection, row, day_of(row.occurred_at), now))
        except _FAULTS as error:  # of this message, not of the database
            with database.begin() as connection:
                connection.execute(
                    text("UPDATE inbox SET processed_at = :now, error = :error WHERE inbox_id = :id"),
                    {"now": now, "error": f"{type(error).__name__}: {error}".splitlines()[0][:500], "id": after},
                )
    return replies


def responses_of_day(database: Database, day: Any) -> pl.DataFrame:
    """The replies of a platform day as they were classified (contract `client_responses`)."""
    return database.frame(
        "SELECT inbox_id, campaign_id::text, company_id, client_id, received_at, response_type, intent, layer, slot_starts_at, pause_until"
        " FROM client_responses WHERE day = %(day)s ORDER BY inbox_id",
        RESPONSES,
        day=day,
    )


def asked_for(found: Classification) -> str | None:
    """The staff member a reply means: the one it names, else the one of the slot it chose."""
    return found.staff or (found.slot.staff_name if found.slot is not None else None)


def _apply(connection: Connection, message: Row[Any], day: Any, now: datetime) -> Reply:
    at = message.occurred_at
    campaign = _campaign_of(connection, message)
    client_id = campaign.client_id if campaign is not None else _client_of(connection, message)
    phone = message.phone or (campaign.phone if campaign is not None else None)
    sent_at = (campaign.sent_at or campaign.sending_at) if campaign is not None else None
    booking = _booking(connection, message.company_id, client_id, at, sent_at)
    found, ids = _classified(connection, message, campaign)
    effects = effects_of(
        found,
        received_at=at,
        zone=message.timezone or "UTC",
        sent_at=sent_at,
        record_created_at=booking.created_at if booking is not None else None,
    )
    connection.execute(
        text(
            "INSERT INTO client_responses (inbox_id, company_id, client_id, campaign_id, received_at, day, response_type, intent, layer,"
            " slot_starts_at, pause_until, extracted) VALUES (:inbox, :company, :client, :campaign, :at, :day, :type, :intent, :layer,"
            " :slot, :pause, CAST(:extracted AS jsonb)) ON CONFLICT (inbox_id) DO NOTHING"
        ),
        {
            "inbox": message.inbox_id,
            "company": message.company_id,
            "client": client_id,
            "campaign": campaign.campaign_id if campaign is not None else None,
            "at": at,
            "day": day,
            "type": effects.response_type,
            "intent": found.intent,
            "layer": found.layer,
            "slot": found.slot.starts_local if found.slot else None,
            "pause": found.pause_until,
            "extracted": json.dumps({"staff": asked_for(found), "service": found.service}, ensure_ascii=False),
        },
    )
    if campaign is not None:
        _write_campaign(connection, campaign, found, effects, ids, at, booking)
    if message.company_id is not None:
        phones = {number for number in (phone, campaign.phone if campaign is not None else None) if number is not None}
        _write_client(connection, message, client_id, found, effects, ids, at, phones)
    connection.execute(
        text("UPDATE inbox SET processed_at = :now WHERE inbox_id = :id"), {"now": now, "id": message.inbox_id}
    )
    campaign_id = str(campaign.campaign_id) if campaign is not None else None
    return Reply(message.inbox_id, message.company_id, client_id, campaign_id, phone, at, found, effects)


def _campaign_of(connection: Connection, message: Row[Any]) -> Row[Any] | None:
    if message.company_id is None:
        return None
    parameters = {
        "channel": message.channel,
        "company": message.company_id,
        "at": message.occurred_at,
        "quoted": message.quoted_message_id,
        "contact": message.contact_id,
        "phone": message.phone,
    }
    return connection.execute(text(_CAMPAIGN), parameters).one_or_none()


def _client_of(connection: Connection, message: Row[Any]) -> int | None:
    if message.company_id is None or message.phone is None:
        return None
    return connection.execute(
        text(_CLIENT), {"company": message.company_id, "phone": message.phone}
    ).scalar_one_or_none()


def _booking(
    connection: Connection, company_id: int | None, client_id: int | None, at: datetime, sent_at: datetime | None
) -> Row[Any] | None:
    parameters = {"company": company_id, "client": client_id, "at": at, "sent": sent_at}
    return connection.execute(text(_UPCOMING), parameters).one_or_none()


def _classified(connection: Connection, message: Row[Any], campaign: Row[Any] | None) -> tuple[Classification, Ids]:
    zone = message.timezone or "UTC"
    people = connection.execute(
        text("SELECT staff_id, name FROM staff WHERE company_id = :company AND active ORDER BY staff_id"),
        {"company": message.company_id},
    ).all()
    services = connection.execute(
        text("SELECT service_id, title FROM services WHERE company_id = :company AND active ORDER BY service_id"),
        {"company": message.company_id},
    ).all()
    names, titles = {row.staff_id: row.name for row in people}, {row.service_id: row.title for row in services}
    found = classify(
        message.body or "",
        offered=[
            OfferedSlot(to_local(slot.starts_at, zone), names.get(slot.staff_id), titles.get(campaign.service_id))
            for slot in offered(campaign.slots)
        ]
        if campaign is not None
        else [],
        today=local_date(message.occurred_at, zone),
        staff_names=list(names.values()),
        service_titles=list(titles.values()),
    )
    ids = {
        "staff": {name: key for key, name in names.items()},
        "service": {title: key for key, title in titles.items()},
    }
    return found, ids


def _stated(effects: ReplyEffects, ids: Ids) -> tuple[str, str] | None:
    """The stated preference with the CRM's id for the name that was said."""
    if effects.preference is None:
        return None
    kind, value = effects.preference
    return kind, str(ids.get(kind, {}).get(value, value))


def _write_campaign(
    connection: Connection,
    campaign: Row[Any],
    found: Classification,
    effects: ReplyEffects,
    ids: Ids,
    at: datetime,
    booking: Row[Any] | None,
) -> None:
    preference = _stated(effects, ids)
    made = booking if effects.completes_episode == "converted" else None
    change = {"at": at.isoformat(), "kind": preference[0], "value": preference[1]} if preference else None
    connection.execute(
        text(_REPLIED),
        {
            "campaign": campaign.campaign_id,
            "at": at,
            "type": effects.response_type,
            "intent": found.intent,
            "undecided": found.intent in _UNDECIDED,
            "open_until": effects.open_until,
            "reason": effects.completes_episode,
            "completed_at": made.created_at if made is not None else at,
            "record": made.record_id if made is not None else None,
            "booked_at": made.created_at if made is not None else None,
            "change": json.dumps([change], ensure_ascii=False) if change else None,
            "requested": json.dumps(
                {"requested_service": preference[1]} if preference and preference[0] == "service" else {}
            ),
        },
    )


def _write_client(
    connection: Connection,
    message: Row[Any],
    client_id: int | None,
    found: Classification,
    effects: ReplyEffects,
    ids: Ids,
    at: datetime,
    phones: Collection[str],
) -> None:
    key = {"company": message.company_id, "client": client_id, "inbox": message.inbox_id, "at": at}
    reason = "opted_out" if found.intent == "opt_out" else found.intent
    for phone in sorted(phones) if effects.suppress_phone else ():
        enter_suppression(
            connection, message.company_id, phone, at, reason=reason, source="reply", inbox_id=message.inbox_id
        )
    if client_id is not None and effects.pause is not None:
        connection.execute(
            text(
                "INSERT INTO pauses (company_id, client_id, at, until, reason, inbox_id)"
                " VALUES (:company, :client, :at, :until, :reason, :inbox) ON CONFLICT (inbox_id) DO NOTHING"
            ),
            {**key, "until": effects.pause.until, "reason": effects.pause.reason},
        )
    preference = _stated(effects, ids)
    if client_id is not None and preference is not None:
        kind, value = preference
        connection.execute(
            text(
                "INSERT INTO stated_preferences (inbox_id, kind, company_id, client_id, value, at)"
                " VALUES (:inbox, :kind, :company, :client, :value, :at) ON CONFLICT DO NOTHING"
            ),
            {**key, "kind": kind, "value": value},
        )
    if effects.alert:
        raise_alert(
            connection,
            "complaint",
            f"complaint:{message.inbox_id}",
            f"a client of company {message.company_id} complains: see message {message.inbox_id} in the inbox",
            at,
            message.company_id,
        )
