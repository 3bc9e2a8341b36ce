"""Reads the CRM's cards: rows as they travel in, rows of our tables out.

The CRM writes one thing in several ways: numbers as text, empty lists for empty objects, nothing for null. What cannot be read raises
ValueError naming field and value, so that the caller keeps the card with its reason and goes on. What to keep out: asking for cards
(yclients.py) and storing rows (crm_sync.py).
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from reactivation_core.local_time import local_to_instant

Card = dict[str, Any]
Row = dict[str, Any]

_BLACKLIST = ("чёрный список", "черный список", "blacklist")
_STATUS = {1: "attended", 2: "confirmed", 0: "booked", -1: "no_show"}


def service_row(company_id: int, card: Card) -> Row:
    """A row of `services`."""
    return {
        "company_id": company_id,
        "service_id": _integer(card, "id"),
        "title": _text(card, "title"),
        "category": str(card["category_id"]) if card.get("category_id") else None,
        "list_price": _money(card.get("price_min"), "price_min"),
        "duration_s": (_integer(card, "duration") or None) if card.get("duration") else None,
        "active": _flag(card.get("active", 1)),
    }


def staff_row(company_id: int, card: Card, services: list[Card]) -> Row:
    """A row of `staff`; who does what is written on the services."""
    staff_id = _integer(card, "id")
    does = sorted(
        _integer(service, "id")
        for service in services
        if _readable(service) and any(str(worker.get("id")) == str(staff_id) for worker in service.get("staff") or [])
    )
    employee = card.get("employee")
    gone = any(_flag(card.get(flag)) for flag in ("fired", "hidden", "status", "is_deleted"))
    return {
        "company_id": company_id,
        "staff_id": staff_id,
        "name": _text(card, "name"),
        "phone_raw": employee.get("phone") if isinstance(employee, dict) else None,
        "active": not gone,
        "service_ids": does,
    }


def client_row(company_id: int, card: Card) -> Row:
    """A row of `clients`, its phone as it came."""
    categories = card.get("categories") or []
    return {
        "company_id": company_id,
        "client_id": _integer(card, "id"),
        "name": str(card.get("name") or ""),
        "phone_raw": str(card.get("phone") or "") or None,
        "mailing_refused": _flag(card.get("sms_not")),
        "blacklisted": any(str(tag.get("title", "")).strip().lower() in _BLACKLIST for tag in categories),
    }


def record_rows(company_id: int, card: Card, zone: ZoneInfo) -> list[Row]:
    """The lines of one journal row; none for a row without a client, which is a note or a break of the salon's own."""
    if not card.get("client"):
        return []
    status = _STATUS.get(_integer(card, "attendance"))
    if status is None:
        raise ValueError(f"attendance={card['attendance']!r}: not one of -1, 0, 1, 2")
    common = {
        "company_id": company_id,
        "record_id": _integer(card, "id"),
        "client_id": _integer(card["client"], "id"),
        "starts_at": _start(card, zone),
        "staff_id": _integer(card, "staff_id") if card.get("staff_id") else None,
        "status": status,
        "deleted": _flag(card.get("deleted")),
        "created_at": _instant(card, "create_date"),
    }
    services = card.get("services") or [{}]
    return [
        common
        | {
            "line": line,
            "service_id": _integer(service, "id") if service else None,
            "price": _cost(service) if service else None,
        }
        for line, service in enumerate(services)
    ]


def _readable(service: Card) -> bool:
    """Whether the service's own card can be read; one that cannot is rejected by itself and spoils no staff member's."""
    return str(service.get("id")).isdecimal() and isinstance(service.get("staff") or [], list)


def _flag(value: Any) -> bool:
    """A yes or no, which travels as 0 and 1, as their texts, as a boolean or as nothing."""
    return str(value).strip().lower() not in ("", "0", "false", "none")


def _integer(card: Card, field: str) -> int:
    try:
        number = int(card[field])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{field}={card.get(field)!r}: not an integer") from None
    if abs(number) >= 2**63:
        raise ValueError(f"{field}={number}: not an integer of a sensible size")
    return number


def _text(card: Card, field: str) -> str:
    value = card.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field}={value!r}: missing")
    return value.strip()


def _cost(service: Card) -> Decimal:
    amount = _integer(service, "amount") if service.get("amount") else 1
    return _money(_money(service.get("cost"), "cost") * amount, "cost times amount")


def _money(value: Any, field: str) -> Decimal:
    try:
        amount = Decimal(str(value or 0)).quantize(Decimal("0.01"))
        sensible = 0 <= amount < Decimal(10) ** 12
    except InvalidOperation:
        sensible = False
    if not sensible:
        raise ValueError(f"{field}={value!r}: not an amount")
    return amount


def _start(card: Card, zone: ZoneInfo) -> datetime:
    """When the visit starts, by the salon's wall clock: it is right where the offset has been seen wrong."""
    try:
        return local_to_instant(datetime.fromisoformat(_text(card, "date")), zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"date={card.get('date')!r}: not a local time") from error


def _instant(card: Card, field: str) -> datetime:
    try:
        instant = datetime.fromisoformat(str(card.get(field)))
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{field}={card.get(field)!r}: not a time") from None
    raise ValueError(f"{field}={card.get(field)!r}: without a zone")
