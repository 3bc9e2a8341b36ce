"""What only the town knows: who would have come anyway. For reports that check an estimate against the truth; never for the product."""

from collections import Counter
from datetime import timedelta
from typing import Any

from reactivation_sandbox.dialog import Message
from reactivation_sandbox.town import Town

WINDOW = timedelta(days=7)


def truth(town: Town) -> dict[str, Any]:
    """Hidden facts: `messages` one by one, `clients` with tastes and plans, and a `summary` of counts.

    `would_have_booked` says whether the client would have booked within seven days of the message without it; `caused` counts
    bookings that came of a message and would not have been made.
    """
    messages = [_message(message) for message in town.dialog.messages]
    first = [message for message in messages if message["client_id"] is not None]
    return {
        "now": town.now.isoformat(),
        "summary": {
            "sent": len(messages),
            "known_clients": len({(m["company_id"], m["client_id"]) for m in first}),
            "read": sum(m["read_at"] is not None for m in messages),
            "replied": sum(bool(m["replies"]) for m in messages),
            "booked_because": sum(m["record_id"] is not None for m in messages),
            "would_have_booked": sum(m["would_have_booked"] for m in messages),
            "caused": sum(m["record_id"] is not None and not m["would_have_booked"] for m in messages),
            "intents": dict(sorted(Counter(m["intent"] or "unread" for m in messages).items())),
        },
        "messages": messages,
        "clients": [
            {
                "company_id": salon.company_id,
                "client_id": person.client_id,
                "service_id": person.tastes.service_id,
                "rhythm_days": round(person.tastes.rhythm_days, 2),
                "staff_id": person.tastes.staff_id,
                "minute": person.tastes.minute,
                "weekdays": sorted(person.tastes.weekdays),
                "lure": round(person.tastes.lure, 4),
                "lapsed": person.lapsed,
                "stopped": person.stopped,
                "on_whatsapp": person.on_whatsapp,
                "returns_at": person.returns_at.isoformat()
                if person.returns_at and person.returns_at > town.now
                else None,
            }
            for salon in town.salons.values()
            for _, person in sorted(salon.people.items())
        ],
    }


def _message(message: Message) -> dict[str, Any]:
    returns = message.would_return_at
    return {
        "id": message.message_id,
        "at": message.at.isoformat(),
        "company_id": message.company_id,
        "client_id": message.client_id,
        "read_at": message.read_at.isoformat() if message.read_at else None,
        "intent": message.intent,
        "replies": message.replies,
        "record_id": message.record_id,
        "would_return_at": returns.isoformat() if returns else None,
        "would_have_booked": returns is not None and message.at < returns <= message.at + WINDOW,
    }
