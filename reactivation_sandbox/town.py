"""The town: salons and the lives of their clients, event by event, with no I/O.

People visit, fall out of the habit, come back by themselves or not at all. What happens between the salon and a client by
messenger is in `dialog.py`; what the outside sees is in the `*_api.py` modules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count

from reactivation_sandbox.clock import Agenda
from reactivation_sandbox.dialog import Dialog, Event
from reactivation_sandbox.dice import Dice
from reactivation_sandbox.founding import found
from reactivation_sandbox.people import Person, invent
from reactivation_sandbox.salon import Record, Salon

HISTORY = timedelta(days=425)
ONCE, LAPSE, COME_BACK = 0.32, 0.06, 0.55
NO_SHOW, CANCEL, CONFIRM = 0.05, 0.06, 0.3


class Town:
    """Salons, clients and their hidden plans. The same seed and the same calls give the same town, whatever the steps of the clock."""

    def __init__(self, *, seed: int, now: datetime, salons: int, clients: int) -> None:
        self.dice = Dice(seed)
        self.agenda = Agenda(now - HISTORY)
        self.dialog = Dialog(self)
        self.salons: dict[int, Salon] = {}
        self.journal: list[tuple[datetime, str, int, int | None, str]] = []
        self._record_ids = count(700_000_001)
        self._phones = count(1)
        for index in range(salons):
            self._settle(index, clients, now)
        for _ in self.advance(now):
            pass

    @property
    def now(self) -> datetime:
        """The town's time."""
        return self.agenda.now

    def advance(self, until: datetime) -> Iterator[Event]:
        """Live on until this instant, handing out webhook events as they happen; going back raises ValueError."""
        if until < self.now:
            raise ValueError(f"the town's clock does not go back: {until.isoformat()} < {self.now.isoformat()}")
        while self.agenda.step(until):
            yield from self.dialog.drain()

    def note(self, what: str, salon: Salon, client_id: int | None, detail: object = "") -> None:
        """Write into the journal of the town what has just happened."""
        self.journal.append((self.now, what, salon.company_id, client_id, str(detail)))

    # settling

    def _settle(self, index: int, clients: int, now: datetime) -> None:
        salon = found(self.dice, index, clients, now.date())
        self.salons[salon.company_id] = salon
        start = self.now
        for number in range(1, clients + clients // 25 + 1):
            client_id = salon.company_id * 100_000 + number
            key = (salon.company_id, client_id)
            if number > clients:
                since = now + timedelta(days=self.dice.between(0, 60, "since", *key))
            else:
                share = self.dice.unit("since", *key)
                since = start + (timedelta(days=100 * share) if share < 0.6 else (now - start) * ((share - 0.6) / 0.4))
            person = invent(self.dice, salon, client_id, next(self._phones), self._by_day(salon, since))
            self._untidy(person, number, salon, index)
            self.agenda.plan(person.since, self._arrive, salon, person)
        self.agenda.plan(start, self._pin_breaks, salon)

    def _untidy(self, person: Person, number: int, salon: Salon, index: int) -> None:
        """Shared phones, masters among the clients, people who go to two salons."""
        staff = list(salon.staff.values())
        if number in {11, 12}:
            person.phone, person.is_staff, person.on_whatsapp = staff[number - 11].phone, True, True
        elif number % 90 == 17:
            person.phone = f"+79000{int(person.phone[6:] or 0) - 1:06d}" if person.chat else person.phone
        elif index > 0 and number % 97 == 5:
            person.phone = f"+79000{number:06d}"
        person.chat = person.phone[1:] if len(person.phone) == 12 else None

    def _by_day(self, salon: Salon, instant: datetime) -> datetime:
        """Move an instant out of the night: nobody calls a salon before nine."""
        local = salon.local(instant)
        if 9 <= local.hour < 21:
            return instant
        morning = local.replace(hour=9 + local.minute % 9, minute=local.second, second=0, microsecond=0)
        return salon.instant(morning + timedelta(days=local.hour >= 21))

    def _pin_breaks(self, salon: Salon) -> None:
        """Once a week the administrator pins breaks into the schedules: rows without a client."""
        monday = salon.local(self.now).date()
        for member in salon.staff.values():
            day = monday + timedelta(days=self.dice.number("break", salon.company_id, member.staff_id, monday) % 7)
            local = datetime(day.year, day.month, day.day, 14, 0)  # noqa: DTZ001 (the salon's wall clock)
            if salon.is_free(member, local, 30, self.now):
                self.write(salon, None, member.staff_id, [], local, 30, comment="Обед")
        self.agenda.plan(self.now + timedelta(days=7), self._pin_breaks, salon)

    # living

    def _arrive(self, salon: Salon, person: Person) -> None:
        salon.people[person.client_id] = person
        self.note("new client", salon, person.client_id)
        self.book_somewhere(salon, person, online=self.dice.chance(0.4, "online", salon.company_id, person.client_id))

    def plan_return(self, salon: Salon, person: Person, after: datetime) -> None:
        """Decide when, if ever, this person will come back without being asked."""
        key = (salon.company_id, person.client_id, person.bookings)
        tastes = person.tastes
        person.plan += 1
        person.lapsed = self.dice.chance(ONCE if person.visits <= 1 else LAPSE, "lapse", *key)
        if not person.lapsed:
            gap = tastes.rhythm_days * self.dice.spread(tastes.noise, "gap", *key)
        elif self.dice.chance(COME_BACK, "comes back", *key):
            gap = tastes.rhythm_days * self.dice.between(2.0, 6.0, "late", *key)
        else:
            person.returns_at = None
            return
        lead = self.dice.between(0.5, 4.0, "lead", *key)
        person.returns_at = self._by_day(salon, after + timedelta(days=max(gap - lead, 0.5)))
        if person.returns_at <= self.now:
            person.lapsed = True
            late = tastes.rhythm_days * self.dice.between(0.2, 4.0, "late still", *key)
            person.returns_at = self._by_day(salon, self.now + timedelta(days=late))
        self.agenda.plan(person.returns_at, self._return, salon, person, person.plan)

    def _return(self, salon: Salon, person: Person, plan: int) -> None:
        if plan != person.plan or salon.upcoming(person.client_id, self.now):
            return
        key = (salon.company_id, person.client_id, person.bookings)
        if person.tastes.writes_first and person.chat and person.on_whatsapp:
            self.dialog.write_first(salon, person)
        if self.book_somewhere(salon, person, online=self.dice.chance(0.4, "online", *key)) is None:
            person.returns_at = self.now + timedelta(days=3)
            self.agenda.plan(person.returns_at, self._return, salon, person, plan)

    def book_somewhere(self, salon: Salon, person: Person, *, online: bool, discount: int = 0) -> Record | None:
        """Book what suits this person best in the next days: liked weekday, liked master, liked hour, in that order."""
        key = (salon.company_id, person.client_id, person.bookings)
        tastes = person.tastes
        able = salon.offering(frozenset({tastes.service_id}))
        faithful = self.dice.chance(tastes.loyalty, "faithful", *key)
        able.sort(
            key=lambda m: (
                (m.staff_id != tastes.staff_id, 0) if faithful else (0, self.dice.number("whom", *key, m.staff_id))
            )
        )
        wish = tastes.minute + round(45 * self.dice.normal("wish", *key))
        today = salon.local(self.now).date()
        days = [today + timedelta(days=offset) for offset in range(1, 11)]
        days.sort(key=lambda day: day.isoweekday() not in tastes.weekdays)
        for member in able[:2]:
            minutes = salon.length(member, [tastes.service_id])
            for day in days:
                free = salon.starts(member, day, minutes, self.now)
                if free:
                    start = min(free, key=lambda minute: abs(minute - wish))
                    local = datetime(day.year, day.month, day.day, start // 60, start % 60)  # noqa: DTZ001
                    return self.book(salon, person, member.staff_id, local, online=online, discount=discount)
        return None

    def book(
        self,
        salon: Salon,
        person: Person,
        staff_id: int,
        local: datetime,
        *,
        online: bool,
        comment: str = "",
        discount: int = 0,
    ) -> Record:
        """Write the booking of this person's usual service, sometimes with a second one, by the same hands or the next."""
        person.bookings += 1
        person.plan += 1
        key = (salon.company_id, person.client_id, person.bookings)
        member = salon.staff[staff_id]
        chosen = [person.tastes.service_id]
        extra = person.tastes.extra_service_id
        wants_more = extra is not None and self.dice.chance(0.3, "wants more", *key)
        if wants_more and extra in member.service_ids:
            longer = salon.length(member, [*chosen, extra])
            if salon.is_free(member, local, longer, self.now):
                chosen.append(extra)
        minutes = salon.length(member, chosen)
        record = self.write(
            salon, person, staff_id, chosen, local, minutes, online=online, comment=comment, discount=discount
        )
        if wants_more and extra is not None and extra not in member.service_ids:
            then = local + timedelta(minutes=minutes)
            for other in salon.offering(frozenset({extra})):
                length = salon.length(other, [extra])
                if salon.is_free(other, then, length, self.now):
                    self.write(salon, person, other.staff_id, [extra], then, length, online=online, visit=record)
                    break
        return record

    def write(
        self,
        salon: Salon,
        person: Person | None,
        staff_id: int,
        service_ids: list[int],
        local: datetime,
        minutes: int,
        *,
        online: bool = False,
        comment: str = "",
        api_id: str = "",
        discount: int = 0,
        visit: Record | None = None,
    ) -> Record:
        """Put one row into the journal and plan what becomes of it. `visit` is the row of the same visit that leads."""
        record_id = next(self._record_ids)
        record = Record(
            record_id=record_id,
            visit_id=visit.visit_id if visit else record_id + 8_000_000,
            client_id=person.client_id if person else None,
            staff_id=staff_id,
            lines=[(service_id, salon.services[service_id].price) for service_id in service_ids],
            starts_at=salon.instant(local),
            local=local,
            minutes=minutes,
            created=self.now,
            changed=self.now,
            online=online,
            main=visit is None,
            discount=discount,
            api_id=api_id,
            comment=comment,
        )
        salon.add(record)
        self.note("booked", salon, record.client_id, f"{record_id} {local} {staff_id}")
        if person:
            self.follow(salon, person, record)
        return record

    def follow(self, salon: Salon, person: Person, record: Record) -> None:
        """Plan a booking's fate: cancelled, confirmed the day before, visited or missed."""
        key = (salon.company_id, person.client_id, record.starts_at.isoformat())
        if record.main and self.dice.chance(CANCEL, "cancel", *key):
            share = self.dice.between(0.2, 0.95, "cancel when", *key)
            self.agenda.plan(self.now + (record.starts_at - self.now) * share, self._cancel, salon, person, record)
        elif self.dice.chance(CONFIRM, "confirm", *key):
            self.agenda.plan(record.starts_at - timedelta(hours=20), self._confirm, salon, record)
        self.agenda.plan(record.ends_at, self._end, salon, person, record)

    def _cancel(self, salon: Salon, person: Person, record: Record) -> None:
        for row in salon.of_client[person.client_id]:
            if row.visit_id == record.visit_id and not row.deleted:
                salon.cancel(row, self.now)
        self.note("cancelled", salon, person.client_id, record.record_id)
        self.plan_return(salon, person, self.now)

    def _confirm(self, salon: Salon, record: Record) -> None:
        if not record.deleted:
            record.attendance, record.changed = 2, self.now
            self.note("confirmed", salon, record.client_id, record.record_id)

    def _end(self, salon: Salon, person: Person, record: Record) -> None:
        if record.deleted:
            return
        day = record.local.date()
        missed = self.dice.chance(NO_SHOW, "no show", salon.company_id, person.client_id, day)
        record.attendance, record.changed = (-1 if missed else 1), self.now
        person.changed = self.now
        self.note("missed" if missed else "visited", salon, person.client_id, record.record_id)
        if not missed:
            person.spent += record.cost
        if not record.main:
            return
        if missed:
            person.misses += 1
        else:
            person.visits += 1
            person.last_visit = record.starts_at
        self.plan_return(salon, person, self.now)


@dataclass(slots=True)
class World:
    """Where the servers look for the town, so that a fresh one can take its place."""

    town: Town
