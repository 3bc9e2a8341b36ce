"""The town: salons and the lives of their clients, event by event, with no I/O.

People visit, fall out of the habit, come back by themselves or not at all. What happens between the salon and a client by
messenger is in `dialog.py`; what somebody does to the salons' books by hand in `edits.py`; what the outside sees in the
`*_api.py` and `crm_*.py` modules.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

from reactivation_sandbox.changes import Change, Changes
from reactivation_sandbox.clock import Agenda
from reactivation_sandbox.dialog import Dialog, Event
from reactivation_sandbox.dice import Dice
from reactivation_sandbox.founding import found, populate
from reactivation_sandbox.history import lay_down
from reactivation_sandbox.people import Person, tastes_of
from reactivation_sandbox.salon import VISIT_IDS, Line, Record, Salon

HISTORY = timedelta(days=425)
ONCE, LAPSE, COME_BACK = 0.32, 0.06, 0.55
NO_SHOW, CANCEL, CONFIRM = 0.05, 0.06, 0.3


class Town:
    """Salons, clients and their hidden plans. The same seed and the same calls give the same town, whatever the steps of the clock.

    The past is lived through; with `history` every client is given that many records instead, which is for big towns.
    """

    def __init__(self, *, seed: int, now: datetime, salons: int, clients: int, history: int = 0) -> None:
        self.dice = Dice(seed)
        self.agenda = Agenda(now if history else now - HISTORY)
        self.dialog = Dialog(self)
        self.salons: dict[int, Salon] = {}
        self.journal: list[tuple[datetime, str, int, int | None, str]] = []
        self.changes = Changes()
        self._record_ids = count(700_000_001)
        phones = count(1)
        for index in range(salons):
            self._settle(index, clients, now, phones, history)
        for _ in self.advance(now):
            pass

    @property
    def now(self) -> datetime:
        """The town's time."""
        return self.agenda.now

    def advance(self, until: datetime) -> Iterator[Event | Change]:
        """Live on until this instant, handing out the messenger's events and the books' changes as they happen; going back raises ValueError."""
        if until < self.now:
            raise ValueError(f"the town's clock does not go back: {until.isoformat()} < {self.now.isoformat()}")
        while self.agenda.step(until):
            yield from self.dialog.drain()
            yield from self.changes.drain()

    def note(self, what: str, salon: Salon, client_id: int | None, detail: object = "") -> None:
        """Write into the journal of the town what has just happened."""
        self.journal.append((self.now, what, salon.company_id, client_id, str(detail)))

    # settling

    def _settle(self, index: int, clients: int, now: datetime, phones: Iterator[int], history: int) -> None:
        salon = found(self.dice, index, clients, now.date())
        self.salons[salon.company_id] = salon
        for person in populate(self.dice, salon, index, clients, phones, since=now - HISTORY, until=now):
            if history and person.since <= now:
                salon.people[person.client_id] = person
            else:
                self.agenda.plan(person.since, self._arrive, salon, person)
        if history:
            lay_down(self, salon, history)
        self.agenda.plan(self.now, self._pin_breaks, salon)

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
        self.changes.note(salon, "client", person.client_id, "create")
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
        person.returns_at = salon.by_day(after + timedelta(days=max(gap - lead, 0.5)))
        if person.returns_at <= self.now:
            person.lapsed = True
            late = tastes.rhythm_days * self.dice.between(0.2, 4.0, "late still", *key)
            person.returns_at = salon.by_day(self.now + timedelta(days=late))
        self.agenda.plan(person.returns_at, self._return, salon, person, person.plan)

    def _return(self, salon: Salon, person: Person, plan: int) -> None:
        here = salon.people.get(person.client_id) is person
        if plan != person.plan or not here or salon.upcoming(person.client_id, self.now):
            return
        key = (salon.company_id, person.client_id, person.bookings)
        if person.tastes.writes_first and person.chat and person.on_whatsapp:
            self.dialog.write_first(salon, person)
        if self.book_somewhere(salon, person, online=self.dice.chance(0.4, "online", *key)) is None:
            person.returns_at = self.now + timedelta(days=3)
            self.agenda.plan(person.returns_at, self._return, salon, person, plan)

    def new_record_id(self) -> int:
        """An id that no record has."""
        return next(self._record_ids)

    def newcomer(self, salon: Salon, name: str, phone: str) -> Person:
        """Write a card for somebody the salon did not know."""
        client_id = max(salon.people, default=0) + 50_000
        tastes = tastes_of(self.dice, salon, client_id)
        person = Person(client_id, name, "", None, tastes, self.now, self.now)
        person.dial(phone)
        salon.people[client_id] = person
        self.changes.note(salon, "client", client_id, "create")
        return person

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
        lines: tuple[Line, ...] | None = None,
    ) -> Record:
        """Put one row into the journal and plan what becomes of it.

        `visit` is the row of the same visit that leads; `lines` take the place of the services at their usual price.
        """
        record_id = self.new_record_id()
        record = Record(
            record_id=record_id,
            visit_id=visit.visit_id if visit else record_id + VISIT_IDS,
            client_id=person.client_id if person else None,
            staff_id=staff_id,
            lines=lines or tuple(Line(service_id, salon.services[service_id].price) for service_id in service_ids),
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
        self.changes.note(salon, "record", record_id, "create")
        self.note("booked", salon, record.client_id, f"{record_id} {local} {staff_id}")
        if person:
            self.follow(salon, person, record)
        return record

    def follow(self, salon: Salon, person: Person, record: Record) -> None:
        """Plan a booking's fate, in place of any planned before: cancelled, confirmed the day before, visited or missed."""
        record.fate += 1
        key = (salon.company_id, person.client_id, record.starts_at.isoformat())
        if record.main and self.dice.chance(CANCEL, "cancel", *key):
            share = self.dice.between(0.2, 0.95, "cancel when", *key)
            self.agenda.plan(self.now + (record.starts_at - self.now) * share, self._cancel, salon, record, record.fate)
        elif self.dice.chance(CONFIRM, "confirm", *key):
            self.agenda.plan(record.starts_at - timedelta(hours=20), self._confirm, salon, record, record.fate)
        self.agenda.plan(record.ends_at, self._end, salon, record, record.fate)

    def _cancel(self, salon: Salon, record: Record, fate: int) -> None:
        person = salon.people.get(record.client_id or 0)
        if person is None or fate != record.fate:
            return
        for row in salon.together(record):
            if not row.deleted:
                salon.cancel(row, self.now)
                self.changes.note(salon, "record", row.record_id, "delete")
        self.note("cancelled", salon, person.client_id, record.record_id)
        self.plan_return(salon, person, self.now)

    def _confirm(self, salon: Salon, record: Record, fate: int) -> None:
        if not record.deleted and fate == record.fate:
            record.attendance, record.changed = 2, self.now
            self.changes.note(salon, "record", record.record_id)
            self.note("confirmed", salon, record.client_id, record.record_id)

    def _end(self, salon: Salon, record: Record, fate: int) -> None:
        if record.deleted or fate != record.fate:
            return
        day = record.local.date()
        missed = self.dice.chance(NO_SHOW, "no show", salon.company_id, record.client_id, day)
        record.attendance, record.changed = (-1 if missed else 1), self.now
        self.changes.note(salon, "record", record.record_id)
        self.note("missed" if missed else "visited", salon, record.client_id, record.record_id)
        person = salon.people.get(record.client_id or 0)
        if person is None:  # deleted meanwhile
            return
        person.changed = self.now
        self.changes.note(salon, "client", person.client_id)
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
