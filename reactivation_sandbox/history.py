"""A past for a big town's clients, laid down at once instead of lived through: what a load test reads, quickly and always the same.

Nobody's decisions are in it. From the town's present on its clients live as everybody does.
"""

from datetime import date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import VISIT_IDS, Line, Record, Salon, StaffMember

if TYPE_CHECKING:
    from reactivation_sandbox.town import Town

DAYS = 730
ACTIVE, AHEAD, MISSED, CANCELLED = 0.55, 0.12, 0.05, 0.06
_STEP = 15  # minutes


def lay_down(town: "Town", salon: Salon, visits: int) -> None:
    """Give every client of the salon this many records: over the last two years, and for some the last one ahead.

    About half still come; the others stopped one to sixteen months ago.
    """
    today = salon.local(town.now).date()
    taken: dict[tuple[int, date], int] = {}
    for person in salon.people.values():
        chance = Random(town.dice.number("history", salon.company_id, person.client_id))  # noqa: S311 (a game)
        _client(town, salon, person, visits, chance, taken, today)
    salon.touch()


def _client(
    town: "Town",
    salon: Salon,
    person: Person,
    visits: int,
    chance: Random,
    taken: dict[tuple[int, date], int],
    today: date,
) -> None:
    tastes = person.tastes
    able = salon.offering(frozenset({tastes.service_id}))
    favourite = next((member for member in able if member.staff_id == tastes.staff_id), able[0])
    lines = (Line(tastes.service_id, salon.services[tastes.service_id].price),)
    lengths = {member.staff_id: salon.length(member, [tastes.service_id]) for member in able}
    last = 1.0 if chance.random() < ACTIVE else chance.uniform(30, 480)
    gap = (DAYS - last) / visits
    rows = salon.of_client[person.client_id] = []
    for number in range(visits):
        coming = number == visits - 1 and last == 1.0 and chance.random() < AHEAD
        if coming and _ahead(town, salon, person, favourite, chance, today):
            continue
        member = favourite if chance.random() < tastes.loyalty else able[int(chance.random() * len(able))]
        minutes = lengths[member.staff_id]
        day = today - timedelta(days=int(DAYS - gap * (number + chance.random())))
        local = _free(member, day, minutes, chance, taken)
        row = _row(town, salon, person, member.staff_id, lines, local, minutes, chance)
        salon.records[row.record_id] = row
        rows.append(row)
    _count(town, salon, person)


def _free(member: StaffMember, day: date, minutes: int, chance: Random, taken: dict[tuple[int, date], int]) -> datetime:
    """A wall-clock time of a working day not after this one, free if one of a few tries is; a day's places are bits of a number."""
    for back in range(8):
        hours = member.working_hours(day - timedelta(days=back))
        if hours is not None:
            break
    else:
        back, hours = 0, (600, 1200)
    day -= timedelta(days=back)
    key = (member.staff_id, day)
    busy = taken.get(key, 0)
    for _ in range(4):
        start = hours[0] + _STEP * int(chance.random() * max(1, (hours[1] - hours[0] - minutes) // _STEP))
        place = ((1 << (minutes // _STEP)) - 1) << (start // _STEP)
        if not busy & place:
            break
    taken[key] = busy | place
    return datetime(day.year, day.month, day.day, start // 60, start % 60)  # noqa: DTZ001 (the salon's wall clock)


def _row(
    town: "Town",
    salon: Salon,
    person: Person,
    staff_id: int,
    lines: tuple[Line, ...],
    local: datetime,
    minutes: int,
    chance: Random,
) -> Record:
    record_id = town.new_record_id()
    starts_at = salon.instant(local)
    created = starts_at - timedelta(minutes=int(chance.uniform(600, 20_000)))
    fate = chance.random()
    deleted = MISSED <= fate < MISSED + CANCELLED
    return Record(
        record_id=record_id,
        visit_id=record_id + VISIT_IDS,
        client_id=person.client_id,
        staff_id=staff_id,
        lines=lines,
        starts_at=starts_at,
        local=local,
        minutes=minutes,
        created=created,
        changed=created + timedelta(minutes=300) if deleted else starts_at + timedelta(minutes=minutes),
        attendance=-1 if fate < MISSED else 0 if deleted else 1,
        deleted=deleted,
        online=chance.random() < 0.4,
    )


def _ahead(
    town: "Town", salon: Salon, person: Person, member: StaffMember, chance: Random, today: date
) -> Record | None:
    """A booking of the next three weeks, lived through like any other; None when the master is booked up."""
    service_id = person.tastes.service_id
    minutes = salon.length(member, [service_id])
    for _ in range(4):
        day = today + timedelta(days=1 + int(chance.random() * 20))
        starts = salon.starts(member, day, minutes, town.now)
        if starts:
            start = starts[int(chance.random() * len(starts))]
            local = datetime(day.year, day.month, day.day, start // 60, start % 60)  # noqa: DTZ001
            person.bookings += 1
            return town.write(salon, person, member.staff_id, [service_id], local, minutes, online=True)
    return None


def _count(town: "Town", salon: Salon, person: Person) -> None:
    """Count what was, and plan when she comes back."""
    rows = salon.of_client[person.client_id]
    made = [row for row in rows if row.attendance == 1]
    person.visits, person.misses = len(made), sum(1 for row in rows if row.attendance == -1)
    person.spent = len(made) * salon.services[person.tastes.service_id].price
    person.bookings = len(rows)
    person.last_visit = max((row.starts_at for row in made), default=None)
    person.changed = max((row.changed for row in rows), default=person.since)
    if salon.upcoming(person.client_id, town.now) is None:
        town.plan_return(salon, person, person.last_visit or town.now)
