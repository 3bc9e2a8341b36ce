"""Keeps the chat bot's dialog context in step with campaigns and replies, from PostgreSQL.

What to add here: when the context is written. What to keep out: its keys and fields (dialog_context.py). Redis being away delays the
context and nothing else: what has not been written is found again by `context_synced_at`.
"""

import logging
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from reactivation_core.local_time import local_date, to_local
from reactivation_resources.database.engine import Database
from reactivation_resources.dialog_context import ContextSlot, ContextUnavailable, DialogContextWriter, SentContext
from reactivation_resources.message_writing import FAVOURITE
from reactivation_resources.responses import Reply

log = logging.getLogger(__name__)

WORTH_WRITING = timedelta(days=7)

_CONTEXT = """
SELECT c.campaign_id::text, c.company_id, c.phone, c.service_id, c.slots, c.message_text, c.sent_at, c.days_since, c.planned_at,
       c.personalization, k.name, coalesce(s.title, '') AS title, m.timezone,
       (SELECT json_object_agg(p.staff_id, p.name) FROM staff p WHERE p.company_id = c.company_id AND p.active) AS staff
FROM reactivation_campaigns c JOIN clients k USING (company_id, client_id) JOIN companies m USING (company_id)
LEFT JOIN services s USING (company_id, service_id)
WHERE c.campaign_id = :campaign AND c.sent_at IS NOT NULL
"""
_UNSYNCED = """
SELECT campaign_id FROM reactivation_campaigns
WHERE status IN ('accepted', 'delivered', 'read') AND context_synced_at IS NULL AND completion_reason IS NULL AND sent_at > :since
ORDER BY sent_at LIMIT 500
"""


class ContextSync:
    """Writes the dialog context of campaigns and replies."""

    def __init__(self, database: Database, writer: DialogContextWriter) -> None:
        self._database = database
        self._writer = writer

    def after_send(self, campaign_id: UUID) -> None:
        """Write a sent campaign. Raises ContextUnavailable when Redis is away: it is written later."""
        with self._database.begin() as connection:
            row = connection.execute(text(_CONTEXT), {"campaign": campaign_id}).one_or_none()
        if row is not None:
            self._writer.write_after_send(_context(row))

    def after_reply(self, reply: Reply) -> None:
        """Follow a reply: fill the selection, or take our part out of the dialog. An outage is logged and passes."""
        if reply.company_id is None or reply.phone is None:
            return
        found = reply.classification
        try:
            match reply.effects.context:
                case "selection":
                    self._writer.select(
                        reply.company_id,
                        reply.phone,
                        at=reply.received_at,
                        service=found.service,
                        staff=found.staff,
                        starts_local=found.slot.starts_local if found.slot else None,
                    )
                case "cleared" | "opted_out" as change:
                    self._writer.clear(reply.company_id, reply.phone, opted_out=change == "opted_out")
                case _:
                    pass
        except ContextUnavailable:
            log.warning("the dialog context could not follow message %s", reply.inbox_id)

    def catch_up(self, now: datetime) -> int:
        """Write the campaigns whose context is still missing; stop at the first outage. Returns how many were written."""
        with self._database.begin() as connection:
            waiting = list(connection.execute(text(_UNSYNCED), {"since": now - WORTH_WRITING}).scalars())
        for written, campaign_id in enumerate(waiting):
            try:
                self.after_send(campaign_id)
            except ContextUnavailable:
                return written
            with self._database.begin() as connection:
                connection.execute(
                    text("UPDATE reactivation_campaigns SET context_synced_at = :now WHERE campaign_id = :campaign"),
                    {"now": now, "campaign": campaign_id},
                )
        return len(waiting)


def _context(row: Row[Any]) -> SentContext:
    staff = row.staff or {}
    favourite = row.personalization.get(FAVOURITE)
    offered = [slot for slot in row.slots or [] if not slot["spare"]]
    return SentContext(
        company_id=row.company_id,
        phone=row.phone,
        campaign_id=row.campaign_id,
        client_name=row.name,
        service_id=row.service_id,
        service_title=row.title,
        staff_name=staff.get(str(favourite)) if favourite is not None else None,
        slots=tuple(
            ContextSlot(
                to_local(datetime.fromisoformat(slot["starts_at"]), row.timezone), staff.get(str(slot["staff_id"]))
            )
            for slot in offered
        ),
        text=row.message_text,
        sent_at=row.sent_at,
        days_inactive=row.days_since,
        last_visit=local_date(row.planned_at, row.timezone) - timedelta(days=row.days_since),
    )
