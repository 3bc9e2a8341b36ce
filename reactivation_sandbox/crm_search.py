"""The CRM's searches: clients by filters, and the visits of one client."""

import json
from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

from reactivation_sandbox import wire
from reactivation_sandbox.ask import FALLBACK_PAGE, Answer, Ask, Calls, by_phone, cut, whole
from reactivation_sandbox.crm_filters import Searched, bad, searched, test_of
from reactivation_sandbox.salon import Record, Salon

MAX_FOUND = 200
FIELDS = (
    "id", "name", "surname", "patronymic", "phone", "email", "discount", "first_visit_date", "last_visit_date", "sold_amount",
    "visits_count", "passteam_card_id", "deposit_balance",
)  # fmt: skip
_VISITS_A_PAGE = 25
_NEVER = datetime(1, 1, 1)  # noqa: DTZ001 (before any wall clock)


_ORDERS: dict[str, Callable[[Searched], Any]] = {
    "id": lambda one: one.person.client_id,
    "name": lambda one: one.person.name,
    "phone": lambda one: one.person.phone,
    "email": lambda _: "",
    "discount": lambda one: one.person.client_id % 41 == 0,
    "first_visit_date": lambda one: one.first or _NEVER,
    "last_visit_date": lambda one: one.last or _NEVER,
    "sold_amount": lambda one: one.person.spent,
    "visits_count": lambda one: one.person.visits,
}


def search(ask: Ask) -> Answer:
    """POST /company/{id}/clients/search: the asked fields of the clients who pass all filters, or any with operation OR."""
    salon, body = ask.salon, ask.body
    wanted = body.get("fields") or ["id"]
    order, direction = body.get("order_by") or "id", str(body.get("order_by_direction") or "ASC").upper()
    operation = str(body.get("operation") or "AND").upper()
    if not isinstance(wanted, list) or not set(wanted) <= set(FIELDS):
        raise bad("fields", f"Недопустимые поля: {wanted}")
    if order not in _ORDERS or direction not in {"ASC", "DESC"}:
        raise bad("order_by", f"Недопустимая сортировка: {order} {direction}")
    if operation not in {"AND", "OR"}:
        raise bad("operation", f"Недопустимая операция: {operation}")
    filters = body.get("filters") or []

    def find() -> list[Searched]:
        tests = [test_of(ask.v, salon, item) for item in filters]
        agree = all if operation == "AND" or not tests else any
        found = [
            one for one in (searched(salon, person) for person in salon.people.values()) if agree(t(one) for t in tests)
        ]
        found.sort(key=lambda one: one.person.client_id)
        return sorted(found, key=_ORDERS[order], reverse=direction == "DESC")

    asked = (
        json.dumps(filters, sort_keys=True),
        operation,
        order,
        direction,
        ask.v.search_created,
        ask.v.consent_filters,
    )
    rows = salon.listing(("search", *asked), find)
    size = whole(body.get("page_size") or FALLBACK_PAGE, "page_size")
    number = max(1, whole(body.get("page") or 1, "page"))
    page = cut(ask.v, rows, number, size if 1 <= size <= MAX_FOUND else FALLBACK_PAGE)
    cards = [wire.found_client(ask.v, one.person, one.first, one.last, wanted) for one in page]
    return Answer(cards, {"total_count": len(rows)}, 200)


# visits


def visits(ask: Ask) -> Answer:
    """POST /company/{id}/clients/visits/search: newest first; `meta.dateCursor.next` names the days still to be asked for.

    A page has 25 rows or as many more as its last day needs.
    """
    salon, body = ask.salon, ask.body
    low, high = str(body.get("from") or ""), str(body.get("to") or "9999")
    attendance = body.get("attendance")
    paid = {1: "paid_full"}
    wanted = set(body.get("payment_statuses") or ())
    rows = [
        row
        for row in salon.of_client.get(_whose(ask, salon), ())
        if not row.deleted
        and low <= row.local.date().isoformat() <= high
        and attendance in (None, row.attendance)
        and (not wanted or paid.get(row.attendance, "not_paid") in wanted)
    ]
    rows.sort(key=lambda row: (row.local, row.record_id), reverse=True)
    by_day: dict[date, list[Record]] = defaultdict(list)
    for row in rows:
        by_day[row.local.date()].append(row)
    page: list[Record] = []
    for of_day in by_day.values():
        if len(page) >= _VISITS_A_PAGE:
            break
        page += of_day
    left = len(rows) - len(page)
    last = page[-1].local.date() - timedelta(days=1) if page else None
    following = {"from": low or None, "to": last and last.isoformat(), "count": left}
    cursor = {
        "previous": None,
        "current": {"from": body.get("from"), "to": body.get("to"), "count": len(page)},
        "next": following if left else None,
    }
    cards = [wire.visit(ask.v, salon, row) for row in page]
    return Answer({"records": cards, "goods_transactions": []}, {"dateCursor": cursor}, 200)


def _whose(ask: Ask, salon: Salon) -> int:
    if ask.body.get("client_id") is not None:
        return whole(ask.body["client_id"], "client_id")
    digits = "".join(filter(str.isdigit, str(ask.body.get("client_phone") or "")))
    if not digits:
        raise bad("client_id", "Нужен client_id или client_phone")
    person = by_phone(salon, digits)
    return person.client_id if person else 0


CALLS: Calls = (
    ("POST", "/company/{company:int}/clients/search", search),
    ("POST", "/company/{company:int}/clients/visits/search", visits),
)
