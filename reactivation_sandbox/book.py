"""Moving a salon into the town from its own book: services, staff, clients and the rows of its journal.

Nothing about opening hours, lengths or tastes is in such a book, so they are inferred from the bookings themselves.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from reactivation_sandbox.clock import parse_instant
from reactivation_sandbox.people import Person, Tastes
from reactivation_sandbox.salon import VISIT_IDS, Line, Record, Salon, Service, StaffMember
from reactivation_sandbox.town import Town

Row = dict[str, Any]
_ATTENDANCE = {"attended": 1, "completed": 1, "no_show": -1, "booked": 0, "confirmed": 2, "cancelled": 0}


@dataclass(frozen=True, slots=True)
class _Line:
    record_id: int
    client_id: int | None
    local: datetime
    staff_id: int
    service_id: int
    price: float | None
    status: str
    created: str | None


def load(town: Town, book: Row) -> Salon:
    """Add the salon of `book` (keys company, services, staff, clients, records) to the town and return it.

    A record is {record_id, client_id, starts_at (the salon's wall clock, or an instant with a zone), staff_id, service_id, price,
    status}. An unknown zone, status or reference raises ValueError or KeyError and leaves the town as it was; a salon already in the town raises ValueError.
    """
    company = book["company"]
    salon = Salon(
        company_id=int(company["company_id"]),
        title=company["title"],
        business_type=company.get("business_type") or "other",
        zone=ZoneInfo(company["timezone"]),
        country=company.get("country") or "RU",
        city=company.get("city") or "",
        currency=company.get("currency") or "RUB",
        phone=company.get("phone") or "+79001999999",
        language=company.get("language") or "ru",
    )
    if salon.company_id in town.salons:
        raise ValueError(f"company_id={salon.company_id} is in the town already")
    lines = sorted((_line(salon, row) for row in book["records"]), key=lambda line: (line.local, line.record_id))
    kept = [line for line in lines if line.status != "cancelled"]
    lengths = _lengths(kept)
    for row in book["services"]:
        service = _service(row, kept, lengths)
        salon.services[service.service_id] = service
    for row in book["staff"]:
        member = _member(row, kept, lengths)
        salon.staff[member.staff_id] = member
    exported = parse_instant(company["exported_at"]) if company.get("exported_at") else town.now
    _people(town, salon, book["clients"], kept, exported)
    for line in lines:
        _check(salon, line)
    town.salons[salon.company_id] = salon
    _journal(town, salon, lines, exported)
    for person in salon.people.values():
        if person.last_visit and salon.upcoming(person.client_id, town.now) is None:
            town.plan_return(salon, person, person.last_visit)
    return salon


def _line(salon: Salon, row: Row) -> _Line:
    starts = datetime.fromisoformat(str(row["starts_at"]))
    if row["status"] not in _ATTENDANCE:
        raise ValueError(f"record_id={row['record_id']}: unknown status {row['status']!r}")
    return _Line(
        record_id=int(row["record_id"]),
        client_id=None if row.get("client_id") in (None, "") else int(row["client_id"]),
        local=salon.local(starts) if starts.tzinfo else starts,
        staff_id=int(row["staff_id"]),
        service_id=int(row["service_id"]),
        price=None if row.get("price") in (None, "") else float(row["price"]),
        status=row["status"],
        created=row.get("created_at"),
    )


def _check(salon: Salon, line: _Line) -> None:
    """A row that names a service, a master or a client who is not in the book raises ValueError."""
    known: tuple[tuple[str, int | None, Container[int | None]], ...] = (
        ("service_id", line.service_id, salon.services),
        ("staff_id", line.staff_id, salon.staff),
        ("client_id", line.client_id, {None, *salon.people}),
    )
    for name, value, among in known:
        if value not in among:
            raise ValueError(f"record_id={line.record_id}: {name}={value} is not in the book")


def _lengths(lines: list[_Line]) -> dict[int, int]:
    """Minutes per service: the median time until the same person's next booking of the day, in quarters of an hour."""
    days: dict[tuple[int, date], list[_Line]] = defaultdict(list)
    for line in lines:
        days[line.staff_id, line.local.date()].append(line)
    gaps: dict[int, list[float]] = defaultdict(list)
    for day in days.values():
        for line in day:
            later = [other.local for other in day if other.local > line.local]
            if later:
                gap = (min(later) - line.local).total_seconds() / 60
                if gap <= 240:
                    gaps[line.service_id].append(gap)
    return {service_id: min(180, max(15, round(median(seen) / 15) * 15)) for service_id, seen in gaps.items()}


def _service(row: Row, lines: list[_Line], lengths: dict[int, int]) -> Service:
    service_id = int(row["service_id"])
    paid = [line.price for line in lines if line.service_id == service_id and line.price]
    days: dict[int, set[date]] = defaultdict(set)
    for line in lines:
        if line.service_id == service_id and line.client_id is not None:
            days[line.client_id].add(line.local.date())
    gaps = [gap for seen in days.values() for gap in _gaps(seen)]
    category = row.get("category") or ""
    return Service(
        service_id=service_id,
        title=row["title"],
        category_id=sum(map(ord, category)),
        category=category,
        price=float(row.get("list_price") or 0) or (median(paid) if paid else 0.0),
        minutes=int(row.get("duration_s") or 0) // 60 or lengths.get(service_id, 60),
        rhythm_days=float(median(gaps)) if gaps else 42.0,
    )


def _gaps(days: Iterable[date]) -> list[int]:
    ordered = sorted(days)
    return [(later - earlier).days for earlier, later in pairwise(ordered)]


def _member(row: Row, lines: list[_Line], lengths: dict[int, int]) -> StaffMember:
    staff_id = int(row["staff_id"])
    own = [line for line in lines if line.staff_id == staff_id]
    hours: dict[int, tuple[int, int]] = {}
    for line in own:
        start = line.local.hour * 60 + line.local.minute
        end = -(-(start + lengths.get(line.service_id, 60)) // 60) * 60
        opens, closes = hours.get(line.local.isoweekday(), (24 * 60, 0))
        hours[line.local.isoweekday()] = (min(opens, start // 60 * 60), min(24 * 60, max(closes, end)))
    return StaffMember(
        staff_id=staff_id,
        name=row["name"],
        phone=row.get("phone") or "",
        specialization=row.get("specialization") or "",
        service_ids=frozenset(line.service_id for line in own),
        hours=hours,
    )


def _people(town: Town, salon: Salon, rows: list[Row], lines: list[_Line], exported: datetime) -> None:
    of: dict[int, list[_Line]] = defaultdict(list)
    for line in lines:
        if line.client_id is not None:
            of[line.client_id].append(line)
    for row in rows:
        client_id = int(row["client_id"])
        own = of[client_id]
        phone = row.get("phone") or ""
        since = min([exported, *(salon.instant(line.local) for line in own[:1])])
        salon.people[client_id] = Person(
            client_id=client_id,
            name=row.get("name") or "",
            phone=phone,
            chat="".join(filter(str.isdigit, phone)) or None,
            tastes=_tastes(town, salon, client_id, own),
            since=since,
            changed=since,
            mailing_refused=bool(row.get("mailing_refused", False)),
            blacklisted=bool(row.get("blacklisted", False)),
            on_whatsapp=bool(phone) and not town.dice.chance(0.04, "no whatsapp", salon.company_id, client_id),
        )


def _tastes(town: Town, salon: Salon, client_id: int, own: list[_Line]) -> Tastes:
    dice, key = town.dice, (salon.company_id, client_id)
    common = Counter(line.service_id for line in own).most_common(1)
    offered = [s for s in salon.services if salon.offering(frozenset({s}))] or list(salon.services)
    service_id = common[0][0] if common else dice.pick(offered, "service", *key)
    gaps = _gaps({line.local.date() for line in own})
    staff = Counter(line.staff_id for line in own).most_common(1)
    return Tastes(
        service_id=service_id,
        rhythm_days=max(5.0, float(median(gaps)) if gaps else salon.services[service_id].rhythm_days),
        staff_id=staff[0][0] if staff else dice.pick(list(salon.staff), "favourite", *key),
        loyalty=dice.between(0.45, 0.97, "loyalty", *key),
        minute=round(median(line.local.hour * 60 + line.local.minute for line in own)) if own else 14 * 60,
        weekdays=frozenset(line.local.isoweekday() for line in own) or frozenset({2, 4, 6}),
        noise=dice.between(0.06, 0.35, "noise", *key),
        lure=0.27 * dice.unit("lure", *key) ** 0.8,
        stop=0.004 + 0.06 * dice.unit("stop", *key) ** 4,
        writes_first=dice.chance(0.25, "writes first", *key),
    )


def _journal(town: Town, salon: Salon, lines: list[_Line], exported: datetime) -> None:
    leading: dict[tuple[int | None, date], int] = {}
    for line in lines:
        starts = salon.instant(line.local)
        created = parse_instant(line.created) if line.created else min(starts, exported)
        place = (line.client_id if line.client_id is not None else -line.record_id, line.local.date())
        lead = leading.setdefault(place, line.record_id)
        record = Record(
            record_id=line.record_id,
            visit_id=lead + VISIT_IDS,
            client_id=line.client_id,
            staff_id=line.staff_id,
            lines=(Line(line.service_id, line.price if line.price is not None else 0.0),),
            starts_at=starts,
            local=line.local,
            minutes=salon.services[line.service_id].minutes,
            created=created,
            changed=created,
            attendance=_ATTENDANCE[line.status],
            deleted=line.status == "cancelled",
            main=lead == line.record_id,
        )
        salon.add(record)
        if line.client_id is not None and not record.deleted:
            _settle(town, salon, salon.people[line.client_id], record)


def _settle(town: Town, salon: Salon, person: Person, record: Record) -> None:
    """Count what has happened, plan what has not."""
    person.bookings += record.main
    if record.ends_at > town.now:
        town.follow(salon, person, record)
        return
    if record.attendance not in {1, -1}:
        missed = town.dice.chance(0.05, "no show", salon.company_id, person.client_id, record.local.date())
        record.attendance, record.changed = (-1 if missed else 1), max(record.changed, record.ends_at)
    if record.attendance == 1:
        person.visits += record.main
        person.spent += record.cost
        person.last_visit = record.starts_at
    else:
        person.misses += record.main
