"""What would be written to a client now: the facts of a message that nobody has planned.

What to keep out: writing it (`message_writing`, the same code as the daily run's).
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import polars as pl
from sqlalchemy import text

from reactivation_core.local_time import local_date
from reactivation_core.message_facts import MessageFacts
from reactivation_resources.composing import Message
from reactivation_resources.platform import Platform

_FACTS = """
SELECT k.name, m.title AS salon, m.business_type, m.language, m.timezone, g.tone, s.title AS service, v.starts_at,
       coalesce(r.discount_progression[1], 0) AS discount,
       (SELECT array_agg(DISTINCT o.title) FROM services o WHERE o.company_id = m.company_id AND o.active AND o.title IS DISTINCT FROM s.title)
         AS other_services
FROM clients k JOIN companies m USING (company_id) JOIN reactivation_settings g USING (company_id)
LEFT JOIN LATERAL (
  SELECT service_id, starts_at FROM record_lines v
  WHERE (v.company_id, v.client_id) = (k.company_id, k.client_id) AND v.status = 'attended' AND NOT v.deleted AND v.starts_at <= :now
  ORDER BY starts_at DESC LIMIT 1) v ON true
LEFT JOIN services s ON (s.company_id, s.service_id) = (k.company_id, v.service_id)
LEFT JOIN service_reactivation_rules r ON (r.company_id, r.service_id) = (k.company_id, v.service_id)
WHERE (k.company_id, k.client_id) = (:company, :client) AND NOT k.deleted
"""


class NoPreviewError(LookupError):
    """There is nobody to write to, or nothing to write about; the message says which."""


def preview_message(platform: Platform, company: int, client: int) -> Message:
    """The message that the client would get as the first of an episode, about the service of the last visit, without slots.

    Nothing is planned, offered or stored but the model's answer, which serves the daily run of the same day. Raises NoPreviewError.
    """
    facts = preview_facts(platform, company, client)
    return platform.message_writer.preview(
        facts, company, f"{company}:{client}", platform.calendar.today(), platform.clock.now()
    )


def preview_facts(platform: Platform, company: int, client: int) -> MessageFacts:
    """What that message may say. Raises NoPreviewError."""
    now = platform.clock.now()
    with platform.database.begin() as connection:
        row: Any = connection.execute(text(_FACTS), {"company": company, "client": client, "now": now}).one_or_none()
    if row is None:
        raise NoPreviewError(f"company {company} has no client {client}, or is not connected")
    if row.starts_at is None:
        raise NoPreviewError(
            f"client {client} of company {company} has never been there: there is nothing to write about"
        )
    days = (local_date(now, row.timezone) - local_date(row.starts_at, row.timezone)).days
    facts = MessageFacts(
        name=row.name,
        service_title=row.service or "",
        staff_name=None,
        days_inactive=days,
        discount_percent=row.discount,
        business_type=row.business_type,
        tone=row.tone,
        language=row.language,
        salon=row.salon,
        other_services=tuple(row.other_services or ()),
    )
    return replace(facts, staff_name=_favourite(platform, company, client))


def _favourite(platform: Platform, company: int, client: int) -> str | None:
    """The staff member that the client's profile of today, or else of yesterday, lets a message name."""
    today = platform.calendar.today()
    day = next(
        (one for one in (today, today - timedelta(days=1)) if platform.lake.exists("preference_profiles", one)), None
    )
    if day is None:
        return None
    mine = (pl.col("company_id") == company) & (pl.col("client_id") == client) & pl.col("assert_staff")
    found = platform.lake.scan("preference_profiles", day).filter(mine).select("staff_id").collect()
    if found.is_empty():
        return None
    query = "SELECT name FROM staff WHERE active AND (company_id, staff_id) = (:company, :staff)"
    with platform.database.begin() as connection:
        name = connection.execute(text(query), {"company": company, "staff": found.item(0, 0)}).scalar_one_or_none()
    return str(name) if name is not None else None
