"""Keeps the chat bot's dialog context in step with campaigns and replies, from PostgreSQL.

What to add here: when the context is written. What to keep out: its keys and fields (dialog_context.py). Redis being away delays the
context and nothing else: what has not been written is found again by `context_synced_at`.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from reactivation_core.local_time import local_date, to_local
from reactivation_core.reply_effects import ContextChange, context_of
from reactivation_resources.database.engine import Database
from reactivation_resources.dialog_context import ContextSlot, ContextUnavailable, DialogContextWriter, SentContext
from reactivation_resources.message_orders import FAVOURITE
from reactivation_resources.offered_slots import offered
from reactivation_resources.responses import Reply, asked_for

log = logging.getLogger(__name__)

WORTH_WRITING = timedelta(days=7)

_CONTEXT = """
SELECT c.campaign_id::text, c.company_id, c.phone, c.service_id, c.slots, c.message_text, c.sent_at, c.days_since, c.planned_at,
       c.personalization, k.name, g.include_slots_in_message, coalesce(s.title, '') AS title, m.timezone,
       (SELECT json_object_agg(p.staff_id, p.name) FROM staff p WHERE p.company_id = c.company_id AND p.active) AS staff
FROM reactivation_campaigns c JOIN clients k USING (company_id, client_id) JOIN companies m USING (company_id)
JOIN reactivation_settings g USING (company_id) LEFT JOIN services s USING (company_id, service_id)
WHERE c.campaign_id = ANY(:campaigns) AND c.sent_at IS NOT NULL
"""
_UNSYNCED = """
SELECT campaign_id, company_id, phone, completion_reason FROM reactivation_campaigns
WHERE status IN ('accepted', 'delivered', 'read') AND context_synced_at IS NULL AND sent_at > :since
ORDER BY sent_at, campaign_id LIMIT 500
"""
_REPLIES = """
SELECT r.intent, r.received_at, r.slot_starts_at, r.extracted, m.timezone FROM client_responses r JOIN companies m USING (company_id)
WHERE r.campaign_id = :campaign ORDER BY r.received_at, r.inbox_id
"""
_MARK = "UPDATE reactivation_campaigns SET context_synced_at = :now WHERE campaign_id = ANY(:campaigns)"


class ContextSync:
    """Writes the dialog context of campaigns and replies."""

    def __init__(self, database: Database, writer: DialogContextWriter) -> None:
        self._database = database
        self._writer = writer

    def after_send(self, campaign_ids: Sequence[UUID], now: datetime) -> None:
        """Write sent campaigns. Raises ContextUnavailable when Redis is away: what is missing is written later."""
        self._write(campaign_ids)
        with self._database.begin() as connection:
            connection.execute(text(_MARK), {"now": now, "campaigns": list(campaign_ids)})

    def _write(self, campaign_ids: Sequence[UUID]) -> None:
        with self._database.begin() as connection:
            rows = connection.execute(text(_CONTEXT), {"campaigns": list(campaign_ids)}).all()
        for row in rows:
            self._writer.write_after_send(_context(row))

    def after_reply(self, reply: Reply) -> None:
        """Follow a reply: fill the selection, or take our part out of the dialog. An outage passes: `catch_up` makes it good."""
        if reply.company_id is None or reply.phone is None:
            return
        found = reply.classification
        start = found.slot.starts_local if found.slot else None
        staff = asked_for(found)
        try:
            self._follow(
                reply.company_id,
                reply.phone,
                reply.effects.context,
                reply.received_at,
                found.service,
                staff,
                start,
            )
        except ContextUnavailable:
            log.warning("the dialog context could not follow message %s", reply.inbox_id)
            if reply.campaign_id is not None:
                with self._database.begin() as connection:
                    connection.execute(text(_MARK), {"now": None, "campaigns": [UUID(reply.campaign_id)]})

    def catch_up(self, now: datetime) -> int:
        """Bring the context of every campaign that has not been followed to what is true now; stop at the first outage.

        An open campaign is written with what its client has replied so far; one that is over is taken out. Returns how many were done.
        """
        with self._database.begin() as connection:
            waiting = connection.execute(text(_UNSYNCED), {"since": now - WORTH_WRITING}).all()
        done = 0
        for campaign in waiting:
            try:
                self._bring_up(campaign)
            except ContextUnavailable:
                return done
            except (ValueError, LookupError, TypeError) as error:  # of this campaign alone; looked at again next time
                log.warning("no dialog context for campaign %s: %s", campaign.campaign_id, type(error).__name__)
                continue
            with self._database.begin() as connection:
                connection.execute(text(_MARK), {"now": now, "campaigns": [campaign.campaign_id]})
            done += 1
        return done

    def _bring_up(self, campaign: Row[Any]) -> None:
        if campaign.completion_reason is not None:
            self._writer.clear(campaign.company_id, campaign.phone, opted_out=campaign.completion_reason == "opted_out")
            return
        with self._database.begin() as connection:
            replies = connection.execute(text(_REPLIES), {"campaign": campaign.campaign_id}).all()
        changes = [context_of(reply.intent) for reply in replies]
        if changes and changes[-1] in ("cleared", "opted_out"):
            self._writer.clear(campaign.company_id, campaign.phone, opted_out=changes[-1] == "opted_out")
            return
        self._write([campaign.campaign_id])
        for reply, change in zip(replies, changes, strict=True):
            start = to_local(reply.slot_starts_at, reply.timezone) if reply.slot_starts_at is not None else None
            said = reply.extracted
            self._follow(
                campaign.company_id,
                campaign.phone,
                change,
                reply.received_at,
                said.get("service"),
                said.get("staff"),
                start,
            )

    def _follow(
        self,
        company_id: int,
        phone: str,
        change: ContextChange,
        at: datetime,
        service: str | None,
        staff: str | None,
        starts_local: datetime | None,
    ) -> None:
        match change:
            case "selection":
                self._writer.select(company_id, phone, at=at, service=service, staff=staff, starts_local=starts_local)
            case "cleared" | "opted_out":
                self._writer.clear(company_id, phone, opted_out=change == "opted_out")
            case "none":
                pass


def _context(row: Row[Any]) -> SentContext:
    staff = row.staff or {}
    favourite = row.personalization.get(FAVOURITE)
    return SentContext(
        company_id=row.company_id,
        phone=row.phone,
        campaign_id=row.campaign_id,
        client_name=row.name,
        service_id=row.service_id,
        service_title=row.title,
        staff_name=staff.get(str(favourite)) if favourite is not None else None,
        slots=tuple(
            ContextSlot(to_local(slot.starts_at, row.timezone), staff.get(str(slot.staff_id)))
            for slot in offered(row.slots)
            if row.include_slots_in_message
        ),
        text=row.message_text,
        sent_at=row.sent_at,
        days_inactive=row.days_since,
        last_visit=local_date(row.planned_at, row.timezone) - timedelta(days=row.days_since),
    )
