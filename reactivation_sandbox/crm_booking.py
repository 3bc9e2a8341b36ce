"""The CRM's calls of a client at the booking widget: bookings made, moved and cancelled. What is free is in `crm_free.py`."""

import re
from datetime import datetime, timedelta
from itertools import combinations
from typing import Any, NamedTuple

from reactivation_sandbox import bookkeeping, wire
from reactivation_sandbox.ask import Answer, Ask, Calls, RefusedError, by_phone, wall_clock, whole
from reactivation_sandbox.crm_free import members
from reactivation_sandbox.dice import Dice
from reactivation_sandbox.salon import StaffMember

SMS_CODE = "0000"


class _Place(NamedTuple):
    """A free place for an appointment of a request."""

    wish: dict[str, Any]
    member: StaffMember
    local: datetime
    services: list[int]
    minutes: int


def book_check(ask: Ask) -> Answer:
    """POST /book_check/{company}: whether these appointments could be booked now."""
    _places(ask)
    return Answer(None, {"message": "Created"})


def book_record(ask: Ask) -> Answer:
    """POST /book_record/{company}: book them. There is no idempotency key; asking twice books twice if there is room."""
    salon, body, town = ask.salon, ask.body, ask.town
    phone = re.sub(r"\D", "", str(body.get("phone", "")))
    if not 10 <= len(phone) <= 15:
        raise RefusedError(422, "Неверный номер телефона", 431)
    if body.get("code") not in (None, "", SMS_CODE):
        raise RefusedError(422, "Неверный код подтверждения", 432)
    if not str(body.get("fullname") or "").strip():
        raise RefusedError(422, "Не указано имя", 435)
    person = by_phone(salon, phone)
    if person is not None and person.blacklisted:
        raise RefusedError(403, "Клиент в чёрном списке", 434)
    answers = []
    for place in _places(ask):
        person = person or town.newcomer(salon, str(body["fullname"]), f"+{phone}")
        person.bookings += 1
        person.plan += 1
        row = town.write(
            salon, person, place.member.staff_id, place.services, place.local, place.minutes, online=True,
            api_id=str(body.get("api_id") or ""), comment=str(body.get("comment") or ""),
        )  # fmt: skip
        answers.append(
            {
                "id": place.wish.get("id", 1),
                "record_id": row.record_id,
                "record_hash": _hash(town.dice, row.record_id),
            }
        )
    return Answer(answers)


def move_booking(ask: Ask) -> Answer:
    """PUT /book_record/{company}/{record}: another time with the same master."""
    salon, row = ask.salon, ask.record
    local = wall_clock(salon, ask.body.get("datetime"))
    member = salon.staff[row.staff_id]
    if row.deleted:
        raise RefusedError(404, "Запись не найдена")
    salon.unseat(row)
    free = salon.is_free(member, local, row.minutes, ask.town.now)
    salon.seat(row)
    if not free:
        raise RefusedError(422, "Выбранное время уже занято", 433)
    bookkeeping.move(ask.town, salon, row, local=local)
    row.comment = str(ask.body.get("comment", row.comment))
    return Answer(wire.record(ask.v, salon, row, ask.town.now), status=200)


def cancel_booking(ask: Ask) -> Answer:
    """DELETE /user/records/{record}/{hash}: 204; the hash came with the booking."""
    record_id = ask.path["record"]
    salon = next((salon for salon in ask.town.salons.values() if record_id in salon.records), None)
    if salon is None or salon.records[record_id].deleted or ask.path["hash"] != _hash(ask.town.dice, record_id):
        raise RefusedError(404, "Запись не найдена")
    bookkeeping.cancel(ask.town, salon, salon.records[record_id])
    return Answer(None, status=204)


def _hash(dice: Dice, record_id: int) -> str:
    return f"{dice.number(record_id):016x}"


def _places(ask: Ask) -> list[_Place]:
    """Places for all appointments of the request, none of which takes another's."""
    places = [_place(ask, wish) for wish in ask.body.get("appointments") or []]
    for one, other in combinations(places, 2):
        apart = one.local + timedelta(minutes=one.minutes) <= other.local
        apart = apart or other.local + timedelta(minutes=other.minutes) <= one.local
        if one.member is other.member and not apart:
            raise RefusedError(422, "Записи пересекаются", 437)
    return places


def _place(ask: Ask, wish: dict[str, Any]) -> _Place:
    salon = ask.salon
    wanted = [whole(service_id, "services") for service_id in wish.get("services") or []]
    if not wanted or any(service_id not in salon.services for service_id in wanted):
        raise RefusedError(422, "Услуга недоступна", 438)
    able = members(salon, whole(wish.get("staff_id") or 0, "staff_id"), wanted)
    if not able:
        raise RefusedError(422, "Нет доступных сотрудников", 436)
    local = wall_clock(salon, wish.get("datetime"))
    for member in able:
        minutes = salon.length(member, wanted)
        if salon.is_free(member, local, minutes, ask.town.now):
            return _Place(wish, member, local, wanted, minutes)
    raise RefusedError(422, "Выбранное время уже занято", 433)


CALLS: Calls = (
    ("POST", "/book_check/{company:int}", book_check),
    ("POST", "/book_record/{company:int}", book_record),
    ("PUT", "/book_record/{company:int}/{record:int}", move_booking),
    ("DELETE", "/user/records/{record:int}/{hash}", cancel_booking),
)
