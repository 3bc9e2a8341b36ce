"""Writes the messages of planned campaigns: gathers the facts, asks the core for the words, stores both.

What to add here: where a fact comes from. What to keep out: the words (`reactivation_core.messages`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from reactivation_core.local_time import to_local
from reactivation_core.messages import MessageFacts, SlotFact, fallback_message, validate_message
from reactivation_core.whatsapp_templates import text_parts
from reactivation_resources.offered_slots import offered

_FACTS = """
SELECT c.campaign_id::text, c.company_id, c.client_id, c.days_since, c.discount_percent, c.attempt_number, c.slots, c.personalization,
       k.name, s.title, m.title AS salon, m.business_type, m.language, m.timezone, g.tone, g.include_slots_in_message,
       (SELECT json_object_agg(p.staff_id, p.name) FROM staff p WHERE p.company_id = c.company_id AND p.active) AS staff
FROM reactivation_campaigns c
JOIN clients k USING (company_id, client_id) JOIN companies m USING (company_id) JOIN reactivation_settings g USING (company_id)
LEFT JOIN services s USING (company_id, service_id)
WHERE c.campaign_id = ANY(CAST(:campaigns AS uuid[])) ORDER BY c.company_id, c.client_id
"""
FAVOURITE = "favourite_staff_id"


class UnfitTextError(ValueError):
    """A text that breaks the rules of messages was about to be stored."""


def write_messages(
    connection: Connection, campaigns: Sequence[str], favourites: Mapping[tuple[int, int], int]
) -> list[dict[str, Any]]:
    """The texts of `campaigns`, as `CampaignLog.write_texts` takes them.

    `favourites` holds, by company and client, the staff member a message may name as the client's own. Raises UnfitTextError when a
    template breaks the rules of messages.
    """
    rows = connection.execute(text(_FACTS), {"campaigns": list(campaigns)}).all()
    return [_written(row, favourites.get((row.company_id, row.client_id))) for row in rows]


def rewrite_message(
    connection: Connection, campaign_id: str, slots: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, str]]:
    """The text of a campaign with other slots offered, in the words it was first written in, and the text's parts."""
    row = connection.execute(text(_FACTS), {"campaigns": [campaign_id]}).one()
    facts = _facts(row, row.personalization.get(FAVOURITE), slots)
    return fallback_message(facts, _key(row)).text, text_parts(facts, row.salon)


def _written(row: Row[Any], favourite: int | None) -> dict[str, Any]:
    facts = _facts(row, favourite, row.slots or [])
    message = fallback_message(facts, _key(row))
    if complaints := validate_message(message.text, facts):
        raise UnfitTextError(f"template {message.template_id}: {'; '.join(complaints)}")
    return {
        "campaign_id": row.campaign_id,
        "stage": message.stage,
        "tone": facts.tone,
        "text_source": "template",
        "template_id": message.template_id,
        "text_template": message.text_template,
        "message_text": message.text,
        "text_parts": json.dumps(text_parts(facts, row.salon)),
        "message_cost": 0,
        "personalization": json.dumps({FAVOURITE: favourite} if favourite is not None else {}),
    }


def _facts(row: Row[Any], favourite: int | None, slots: Iterable[Mapping[str, Any]]) -> MessageFacts:
    staff: Mapping[str, str] = row.staff or {}
    times = tuple(
        SlotFact(to_local(slot.starts_at, row.timezone), staff.get(str(slot.staff_id)))
        for slot in offered(slots)
        if row.include_slots_in_message
    )
    return MessageFacts(
        name=row.name,
        service_title=row.title or "",
        staff_name=staff.get(str(favourite)) if favourite is not None else None,
        days_inactive=row.days_since,
        discount_percent=row.discount_percent,
        slots=times,
        business_type=row.business_type,
        tone=row.tone,
        language=row.language,
        first_contact=row.attempt_number == 1,
    )


def _key(row: Row[Any]) -> str:
    return f"{row.company_id}:{row.client_id}"
