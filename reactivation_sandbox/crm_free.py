"""The CRM's calls about what is free and who works when: the booking widget's offers, timetables, schedules."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from reactivation_sandbox import wire_catalogue
from reactivation_sandbox.ask import Answer, Ask, Calls, RefusedError, day, wall_clock, whole
from reactivation_sandbox.salon import HORIZON_DAYS, Salon, StaffMember
from reactivation_sandbox.variants import Variants, form


def book_services(ask: Ask) -> Answer:
    """GET /book_services/{company}: what can be booked, with one master or with anybody."""
    salon, staff_id = ask.salon, ask.number("staff_id")
    offered = [item for item in salon.services.values() if item.active and item.listed]
    if staff_id:
        able = salon.staff.get(staff_id)
        offered = [item for item in offered if able and item.service_id in able.service_ids]
    cards = [wire_catalogue.bookable_service(ask.v, salon, item, staff_id) for item in offered]
    used = {item.category_id for item in offered}
    categories = [
        {key: card[key] for key in ("id", "title", "api_id", "weight")}
        for card in wire_catalogue.categories(ask.v, salon)
        if card["id"] in used
    ]
    return Answer({"events": [], "services": cards, "category": categories})


def book_staff(ask: Ask) -> Answer:
    """GET /book_staff/{company}: who can be booked for these services, and at a moment where one is named."""
    salon = ask.salon
    wanted = _services(ask)
    moment = ask.query.get("datetime")
    local = wall_clock(salon, moment) if moment else None
    today = salon.local(ask.town.now)
    return Answer(
        [
            {
                **wire_catalogue.staff(ask.v, salon, m, today),
                "bookable": frozenset(wanted) <= m.service_ids
                and (local is None or salon.is_free(m, local, salon.length(m, wanted), ask.town.now)),
                "seances": [],
            }
            for m in salon.staff.values()
            if not m.left(today.date())
        ]
    )


def book_dates(ask: Ask) -> Answer:
    """GET /book_dates/{company}: days with at least one free start, and days somebody works."""
    salon, query = ask.salon, ask.query
    wanted = _services(ask)
    able = members(salon, ask.number("staff_id") or 0, wanted)
    low = query.get("date_from") or query.get("date") or ""
    high = query.get("date_to") or query.get("date") or "9999"
    days = [day for day in _horizon(ask) if low <= day.isoformat() <= high]
    free = [day for day in days if any(_starts(ask, m, day, wanted) for m in able)]
    working = [day for day in days if any(m.working_hours(day) for m in able)]
    return Answer(
        {
            "booking_days": _days(ask.v, salon, free),
            "booking_dates": [day.isoformat() for day in free],
            "working_days": _days(ask.v, salon, working),
            "working_dates": [day.isoformat() for day in working],
        }
    )


def book_times(ask: Ask) -> Answer:
    """GET /book_times/{company}/{staff}/{day}: free starts; without services they are for one hour."""
    salon, asked = ask.salon, day(ask.path["day"])
    wanted = _services(ask)
    seen: dict[int, int] = {}
    for member in members(salon, ask.path["staff"], wanted):
        for start in _starts(ask, member, asked, wanted):
            seen.setdefault(start, salon.length(member, wanted))
    return Answer([_time(ask.v, salon, asked, start, minutes) for start, minutes in sorted(seen.items())])


def book_staff_seances(ask: Ask) -> Answer:
    """GET /book_staff_seances/{company}/{staff}: the free starts of the nearest day that has any."""
    salon, wanted = ask.salon, _services(ask)
    for member in members(salon, ask.path["staff"], wanted):
        minutes = salon.length(member, wanted)
        for asked in _horizon(ask):
            if starts := _starts(ask, member, asked, wanted):
                seances = [_time(ask.v, salon, asked, start, minutes) for start in starts]
                return Answer({"seance_date": asked.isoformat(), "seances": seances})
    return Answer({"seance_date": None, "seances": []})


def timetable_seances(ask: Ask) -> Answer:
    """GET /timetable/seances/{company}/{staff}/{day}: every quarter of an hour of the working day."""
    salon, asked = ask.salon, day(ask.path["day"])
    member = _member(salon, ask.path["staff"])
    hours = member.working_hours(asked) or (0, 0)
    midnight = datetime(asked.year, asked.month, asked.day)  # noqa: DTZ001 (the salon's wall clock)
    return Answer(
        [
            {
                "time": _clock(start),
                "is_free": not salon.overlaps(member.staff_id, midnight + timedelta(minutes=start), 15),
            }
            for start in range(hours[0], hours[1], 15)
        ]
    )


def timetable_dates(ask: Ask) -> Answer:
    """GET /timetable/dates/{company}/{day}: the working days from this one on."""
    salon, first = ask.salon, day(ask.path["day"])
    named = ask.number("staff_id")
    able = [_member(salon, named)] if named else list(salon.staff.values())
    days = (first + timedelta(days=offset) for offset in range(HORIZON_DAYS + 1))
    return Answer([day.isoformat() for day in days if any(m.working_hours(day) for m in able)])


def schedule(ask: Ask) -> Answer:
    """GET /schedule/{company}/{staff}/{from}/{to}: one master's days; `is_working` is a number in one salon, a bool in the next."""
    salon = ask.salon
    member = _member(salon, ask.path["staff"])
    cards = []
    for asked in _span(day(ask.path["first"]), day(ask.path["last"])):
        slots = _slots(member, asked)
        cards.append(
            {
                "date": asked.isoformat(),
                "is_working": int(bool(slots)) if salon.company_id % 2 else bool(slots),
                "slots": slots,
            }
        )
    return Answer(cards)


def staff_schedule(ask: Ask) -> Answer:
    """GET /company/{company}/staff/schedule: the days of several masters, with what they are busy with where asked for."""
    salon = ask.salon
    ids = [whole(text, "staff_ids") for text in ask.query.getlist("staff_ids[]")] or list(salon.staff)
    busy = "busy_intervals" in ask.query.getlist("include[]")
    cards = []
    for staff_id in ids:
        member = _member(salon, staff_id)
        for asked in _span(day(ask.query.get("start_date", "")), day(ask.query.get("end_date", ""))):
            card: dict[str, Any] = {"staff_id": staff_id, "date": asked.isoformat(), "slots": _slots(member, asked)}
            if busy:
                taken = salon.busy.get((staff_id, asked), [])
                card["busy_intervals"] = [
                    {"entity_type": "record", "entity_id": key, "from": _clock(start), "to": _clock(end)}
                    for start, end, key in taken
                ]
            cards.append({**card, "off_day_type": None})
    return Answer(cards, {"count": len(cards)})


def _horizon(ask: Ask) -> list[date]:
    first = ask.salon.local(ask.town.now).date()
    return [first + timedelta(days=offset) for offset in range(HORIZON_DAYS + 1)]


def _span(first: date, last: date) -> Iterator[date]:
    if (last - first).days > 366:
        raise RefusedError(400, "Слишком большой период")
    return (first + timedelta(days=offset) for offset in range((last - first).days + 1))


def _slots(member: StaffMember, asked: date) -> list[dict[str, str]]:
    hours = member.working_hours(asked)
    return [{"from": _clock(hours[0]), "to": _clock(hours[1])}] if hours else []


def _clock(minute: int) -> str:
    return f"{minute // 60}:{minute % 60:02d}"


def _member(salon: Salon, staff_id: int) -> StaffMember:
    member = salon.staff.get(staff_id)
    if member is None:
        raise RefusedError(404, "Сотрудник не найден")
    return member


def members(salon: Salon, staff_id: int, wanted: list[int]) -> list[StaffMember]:
    """Who does all of these services: one master, or everybody for 0."""
    able = salon.offering(frozenset(wanted))
    return able if staff_id == 0 else [member for member in able if member.staff_id == staff_id]


def _starts(ask: Ask, member: StaffMember, asked: date, wanted: list[int]) -> list[int]:
    return ask.salon.starts(member, asked, ask.salon.length(member, wanted), ask.town.now)


def _services(ask: Ask) -> list[int]:
    """Only the bracket form is understood; a mistyped parameter is silently ignored."""
    wanted = [int(text) for text in ask.query.getlist("service_ids[]") if text.isdigit()]
    if any(service_id not in ask.salon.services for service_id in wanted):
        raise RefusedError(422, "Услуга недоступна", 438)
    return wanted


def _days(v: Variants, salon: Salon, days: list[date]) -> dict[str, list[Any]] | list[Any]:
    shape = form(v.booking_days, "int" if salon.company_id % 2 else "text")
    if shape == "empty":
        return []
    found: dict[str, list[Any]] = {}
    for asked in days:
        found.setdefault(str(asked.month), []).append(str(asked.day) if shape == "text" else asked.day)
    return found or []


def _time(v: Variants, salon: Salon, asked: date, start: int, minutes: int) -> dict[str, Any]:
    local = datetime(asked.year, asked.month, asked.day, start // 60, start % 60, tzinfo=salon.zone)
    card = {
        "time": _clock(start),
        "seance_length": minutes * 60,
        "sum_length": minutes * 60,
        "datetime": int(local.timestamp()) if v.book_times == "unix" else local.isoformat(),
    }
    for key in {"seance_only": ("sum_length",), "no_length": ("sum_length", "seance_length"), "no_time": ("time",)}.get(
        v.book_times, ()
    ):
        del card[key]
    return card


PARTNER: Calls = (
    ("GET", "/book_services/{company:int}", book_services),
    ("GET", "/book_staff/{company:int}", book_staff),
    ("GET", "/book_dates/{company:int}", book_dates),
    ("GET", "/book_times/{company:int}/{staff:int}/{day}", book_times),
    ("GET", "/book_staff_seances/{company:int}/{staff:int}", book_staff_seances),
)
USER: Calls = (
    ("GET", "/timetable/seances/{company:int}/{staff:int}/{day}", timetable_seances),
    ("GET", "/timetable/dates/{company:int}/{day}", timetable_dates),
    ("GET", "/schedule/{company:int}/{staff:int}/{first}/{last}", schedule),
    ("GET", "/company/{company:int}/staff/schedule", staff_schedule),
)
