"""The facts of planned campaigns, gathered into orders to write.

What to add here: where a fact comes from. What to keep out: who writes (`message_writing`, `composing`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from reactivation_core.local_time import to_local
from reactivation_core.message_facts import MessageFacts, SlotFact
from reactivation_resources.composing import Order
from reactivation_resources.offered_slots import to_offer

FAVOURITE = "favourite_staff_id"
"""Where a campaign keeps the staff member that its message names."""

_FACTS = """
SELECT c.campaign_id::text, c.company_id, c.client_id, c.days_since, c.discount_percent, c.attempt_number, c.slots, c.personalization,
       c.text_template, k.name, s.title, m.title AS salon, m.business_type, m.language, m.timezone, m.currency, g.tone, g.include_slots_in_message,
       (SELECT p.text_template FROM reactivation_campaigns p WHERE (p.company_id, p.client_id) = (c.company_id, c.client_id)
          AND p.campaign_id <> c.campaign_id AND p.sent_at IS NOT NULL ORDER BY p.sent_at DESC LIMIT 1) AS previous
FROM reactivation_campaigns c
JOIN clients k USING (company_id, client_id) JOIN companies m USING (company_id) JOIN reactivation_settings g USING (company_id)
LEFT JOIN services s USING (company_id, service_id)
WHERE c.campaign_id = ANY(CAST(:campaigns AS uuid[])) ORDER BY c.company_id, c.client_id
"""
_STAFF = "SELECT company_id, staff_id, name FROM staff WHERE active AND company_id = ANY(CAST(:companies AS bigint[]))"
_SERVICES = """
SELECT company_id, array_agg(DISTINCT title ORDER BY title) AS titles FROM services
WHERE active AND company_id = ANY(CAST(:companies AS bigint[])) GROUP BY company_id
"""


@dataclass(frozen=True, slots=True)
class CampaignOrder:
    """A campaign to write: its order, and what is kept beside the text."""

    campaign_id: str
    company_id: int
    order: Order
    currency: str
    favourite: int | None


def orders_of(
    connection: Connection, campaigns: Sequence[str], favourites: Mapping[tuple[int, int], int]
) -> Iterator[CampaignOrder]:
    """The orders of campaigns; `favourites` are the staff that messages may name, by company and client."""
    rows = connection.execute(text(_FACTS), {"campaigns": list(campaigns)}).all()
    staff, services = _of_company(connection, sorted({row.company_id for row in rows}))
    for row in rows:
        favourite = favourites.get((row.company_id, row.client_id))
        facts = _facts(row, favourite, row.slots or [], staff, services)
        order = Order(facts, _key(row), row.attempt_number)
        yield CampaignOrder(row.campaign_id, row.company_id, order, row.currency, favourite)


def order_with(connection: Connection, campaign_id: str, slots: Sequence[Mapping[str, Any]]) -> tuple[Order, str]:
    """A campaign's order with other slots, and the template that it was first written in ("" for none)."""
    row = connection.execute(text(_FACTS), {"campaigns": [campaign_id]}).one()
    facts = _facts(row, row.personalization.get(FAVOURITE), slots, *_of_company(connection, [row.company_id]))
    return Order(facts, _key(row), row.attempt_number), row.text_template or ""


Staff = dict[tuple[int, int], str]
Services = dict[int, tuple[str, ...]]


def _of_company(connection: Connection, companies: Sequence[int]) -> tuple[Staff, Services]:
    """The working staff and the services of companies: read once, not once a client."""
    wanted = {"companies": list(companies)}
    staff = {(row.company_id, row.staff_id): row.name for row in connection.execute(text(_STAFF), wanted)}
    services = {row.company_id: tuple(row.titles) for row in connection.execute(text(_SERVICES), wanted)}
    return staff, services


def _facts(
    row: Row[Any], favourite: int | None, slots: Iterable[Mapping[str, Any]], staff: Staff, services: Services
) -> MessageFacts:
    times = tuple(
        SlotFact(to_local(slot.starts_at, row.timezone), staff.get((row.company_id, slot.staff_id)))
        for slot in to_offer(slots)
        if row.include_slots_in_message
    )
    return MessageFacts(
        name=row.name,
        service_title=row.title or "",
        staff_name=staff.get((row.company_id, favourite)) if favourite is not None else None,
        days_inactive=row.days_since,
        discount_percent=row.discount_percent,
        slots=times,
        business_type=row.business_type,
        tone=row.tone,
        language=row.language,
        first_contact=row.attempt_number == 1,
        salon=row.salon,
        other_services=tuple(title for title in services.get(row.company_id, ()) if title != row.title),
        previous=row.previous or "",
    )


def _key(row: Row[Any]) -> str:
    return f"{row.company_id}:{row.client_id}"
