"""The CRM's calls about its journal: records read, written, moved and deleted, and the visits they make up."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, time
from typing import Any

from reactivation_sandbox import bookkeeping, wire
from reactivation_sandbox.ask import (
    Answer,
    Ask,
    Calls,
    RefusedError,
    amount,
    by_phone,
    query_key,
    wall_clock,
    whole,
)
from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import VISIT_IDS, Line, Record, Salon

Keep = Callable[[Record], bool]
_ORDERS: dict[str, Callable[[Record], Any]] = {
    "id": lambda row: row.record_id,
    "changed_asc": lambda row: (row.changed, row.record_id),
    "changed_desc": lambda row: (-row.changed.timestamp(), row.record_id),
}
_ATTENDANCES = (-1, 0, 1, 2)


def records(ask: Ask) -> Answer:
    """GET /records/{company}: the journal; deleted rows only on request; an unknown parameter is silently ignored."""
    salon, order = ask.salon, ask.v.order

    def find() -> list[Record]:
        client_id = ask.number("client_id")
        among = _among_days(salon, ask) if client_id is None else salon.of_client.get(client_id, ())
        conditions = list(_conditions(ask, salon))
        return sorted((row for row in among if all(keep(row) for keep in conditions)), key=_ORDERS[order])

    rows = salon.listing(("records", order, query_key(ask.query)), find)
    number, page = ask.paged(rows, 50)
    cards = [wire.record(ask.v, salon, row, ask.town.now) for row in page]
    return Answer(cards, {"page": number, "total_count": len(rows)})


def _among_days(salon: Salon, ask: Ask) -> Collection[Record]:
    """The rows of the days that the query names, found by halving; a journal is mostly asked for in short spans."""
    first, last = ask.day("start_date"), ask.day("end_date")
    if first is None and last is None:
        return salon.records.values()
    by_time: list[Record] = salon.listing("by time", lambda: sorted(salon.records.values(), key=_local))
    low = 0 if first is None else bisect_left(by_time, datetime.combine(first, time.min), key=_local)
    high = len(by_time) if last is None else bisect_right(by_time, datetime.combine(last, time.max), key=_local)
    return by_time[low:high]


def _local(row: Record) -> datetime:
    return row.local


def _conditions(ask: Ask, salon: Salon) -> Iterator[Keep]:
    """The conditions that the query names."""
    if not ask.flag("with_deleted"):
        yield lambda row: not row.deleted
    if (staff_id := ask.number("staff_id")) is not None:
        yield lambda row: row.staff_id == staff_id
    if (user_id := ask.number("created_user_id")) is not None:
        yield lambda row: wire.creator(row) == user_id
    if (after := ask.instant("changed_after")) is not None:
        yield lambda row: row.changed >= after
    if (before := ask.instant("changed_before")) is not None:
        yield lambda row: row.changed <= before
    if (first := ask.day("start_date")) is not None:
        yield lambda row: row.local.date() >= first
    if (last := ask.day("end_date")) is not None:
        yield lambda row: row.local.date() <= last
    if (made_first := ask.day("c_start_date")) is not None:
        yield lambda row: salon.local(row.created).date() >= made_first
    if (made_last := ask.day("c_end_date")) is not None:
        yield lambda row: salon.local(row.created).date() <= made_last


def record(ask: Ask) -> Answer:
    """GET /record/{company}/{id}, also of a deleted one."""
    return Answer(_card(ask, ask.record))


def _card(ask: Ask, row: Record) -> dict[str, Any]:
    return wire.record(ask.v, ask.salon, row, ask.town.now)


# writing


def add_record(ask: Ask) -> Answer:
    """POST /records/{company}: a booking by the administrator; 409 when the time is taken, unless save_if_busy."""
    salon, body = ask.salon, ask.body
    staff_id = _staff(salon, body.get("staff_id"))
    lines = _lines(salon, body.get("services") or [])
    local = wall_clock(salon, body.get("datetime"))
    usual = salon.length(salon.staff[staff_id], [line.service_id for line in lines])
    minutes = whole(body.get("seance_length") or usual * 60, "seance_length") // 60
    if not body.get("save_if_busy") and salon.overlaps(staff_id, local, minutes):
        raise RefusedError(409, "Выбранное время уже занято")
    row = bookkeeping.write(
        ask.town, salon, _client(ask, salon), staff_id, lines, local, minutes,
        attendance=_attendance(body), api_id=str(body.get("api_id") or ""), comment=str(body.get("comment") or ""),
        activity_id=whole(body.get("activity_id") or 0, "activity_id"),
    )  # fmt: skip
    card = _card(ask, row)
    return Answer([card] if ask.v.record_created == "array" else card)


def change_record(ask: Ask) -> Answer:
    """PUT /record/{company}/{id}: whatever is named; 409 when the new time is taken, unless save_if_busy."""
    salon, row, body, town = ask.salon, ask.record, ask.body, ask.town
    if row.deleted:
        raise RefusedError(404, "Запись не найдена")
    local = wall_clock(salon, body["datetime"]) if "datetime" in body else row.local
    staff_id = _staff(salon, body["staff_id"]) if "staff_id" in body else row.staff_id
    minutes = whole(body["seance_length"], "seance_length") // 60 if "seance_length" in body else row.minutes
    lines = _lines(salon, body["services"]) if "services" in body else row.lines
    attendance = _attendance(body)
    if (local, staff_id, minutes) != (row.local, row.staff_id, row.minutes):
        if not body.get("save_if_busy") and salon.overlaps(staff_id, local, minutes, but=row.record_id):
            raise RefusedError(409, "Выбранное время уже занято")
        bookkeeping.move(town, salon, row, local=local, staff_id=staff_id, minutes=minutes)
    if lines != row.lines:
        bookkeeping.charge(town, salon, row, lines, discount=0)
    if attendance is not None:
        bookkeeping.attend(town, salon, row, attendance)
    if "comment" in body:
        row.comment = str(body["comment"])
        bookkeeping.changed(town, salon, row)
    return Answer(_card(ask, row))


def remove_record(ask: Ask) -> Answer:
    """DELETE /record/{company}/{id}: 204; often forbidden to the users of marketplace applications."""
    if ask.v.delete_record == "forbidden":
        raise RefusedError(403, "Нет прав на удаление записи")
    row = ask.record
    if row.deleted:
        raise RefusedError(404, "Запись не найдена")
    bookkeeping.cancel(ask.town, ask.salon, row)
    return Answer(None, status=204)


def _staff(salon: Salon, value: Any) -> int:
    staff_id = whole(value, "staff_id")
    if staff_id not in salon.staff:
        raise RefusedError(422, "Ошибка валидации", errors={"staff_id": ["Сотрудник не найден"]})
    return staff_id


def _lines(salon: Salon, services: list[dict[str, Any]]) -> tuple[Line, ...]:
    """What the named services cost after their discount; at the usual price where none is named."""
    lines = []
    for item in services:
        service = salon.services.get(whole(item.get("id"), "services"))
        if service is None:
            raise RefusedError(422, "Ошибка валидации", errors={"services": ["Услуга не найдена"]})
        price = amount(item["cost"] if item.get("cost") is not None else service.price, "services")
        lines.append(Line(service.service_id, price, whole(item.get("amount") or 1, "services")))
    return tuple(lines)


def _attendance(body: dict[str, Any]) -> int | None:
    if body.get("attendance") is None:
        return None
    value = whole(body["attendance"], "attendance")
    if value not in _ATTENDANCES:
        raise RefusedError(422, "Ошибка валидации", errors={"attendance": ["Недопустимое значение"]})
    return value


def _client(ask: Ask, salon: Salon) -> Person | None:
    """The named client by id or phone, a new one where the phone is unknown, nobody where none is named."""
    card = ask.body.get("client") or {}
    if card.get("id"):
        person = salon.people.get(whole(card["id"], "client"))
        if person is None:
            raise RefusedError(422, "Ошибка валидации", errors={"client": ["Клиент не найден"]})
        return person
    digits = "".join(filter(str.isdigit, str(card.get("phone") or "")))
    if not digits:
        return None
    return by_phone(salon, digits) or ask.town.newcomer(salon, str(card.get("name") or ""), f"+{digits}")


# visits


def _visit(ask: Ask) -> tuple[Salon, list[Record]]:
    """The salon and the rows of the visit in the path; a visit's id tells its leading row."""
    visit_id = ask.path["visit"]
    for salon in ask.town.salons.values():
        lead = salon.records.get(visit_id - VISIT_IDS)
        rows = [row for row in salon.together(lead) if row.visit_id == visit_id] if lead else []
        if rows:
            return salon, rows
    raise RefusedError(404, "Визит не найден")


def visit(ask: Ask) -> Answer:
    """GET /visits/{visit}: its rows, whichever salon they are in."""
    salon, rows = _visit(ask)
    cards = [wire.record(ask.v, salon, row, ask.town.now) for row in rows]
    return Answer(
        {
            "attendance": max(row.attendance for row in rows),
            "datetime": cards[0]["datetime"],
            "comment": rows[0].comment,
            "records": cards,
        }
    )


def change_visit(ask: Ask) -> Answer:
    """PUT /visits/{visit}/{record}: attendance and comment of all its rows."""
    salon, rows = _visit(ask)
    attendance = _attendance(ask.body)
    for row in rows:
        row.comment = str(ask.body.get("comment", row.comment))
        bookkeeping.attend(ask.town, salon, row, row.attendance if attendance is None else attendance)
    return visit(ask)


def visit_details(ask: Ask) -> Answer:
    """GET /visit/details/{company}/{record}/{visit}: what was bought and paid."""
    row = ask.record
    items = [
        {"id": line.service_id, "item_type": "service", "amount": line.amount, "cost": row.paid(line)}
        for line in row.lines
    ]
    paid = row.cost if row.attendance == 1 else 0
    return Answer({"payment_transactions": [], "items": items, "kkm_transaction_details_container": [], "paid": paid})


CALLS: Calls = (
    ("GET", "/records/{company:int}", records),
    ("POST", "/records/{company:int}", add_record),
    ("GET", "/record/{company:int}/{record:int}", record),
    ("PUT", "/record/{company:int}/{record:int}", change_record),
    ("DELETE", "/record/{company:int}/{record:int}", remove_record),
    ("GET", "/visits/{visit:int}", visit),
    ("PUT", "/visits/{visit:int}/{record:int}", change_visit),
    ("GET", "/visit/details/{company:int}/{record:int}/{visit:int}", visit_details),
)
