"""One salon: its services, its people at work, its journal of bookings and the places left free in it."""

from bisect import insort
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from reactivation_sandbox.people import Person

LEAD = timedelta(minutes=60)
HORIZON_DAYS = 60
VISIT_IDS = 8_000_000  # a visit's id is its leading record's id and this
LISTINGS = 12  # as many paged queries of one salon are remembered


@dataclass(frozen=True, slots=True)
class Service:
    """What can be booked. `price` is in major units, `minutes` the usual length, `rhythm_days` how often people come back for it.

    One that is not `active` cannot be booked; one that is not `listed` is gone from the CRM's lists as well.
    """

    service_id: int
    title: str
    category_id: int
    category: str
    price: float
    minutes: int
    rhythm_days: float
    active: bool = True
    listed: bool = True


@dataclass(slots=True)
class StaffMember:
    """Who works. `hours` maps ISO weekdays to opening and closing minutes; `rota` is the offset of a two-on-two-off rota.

    `left_how` is how the CRM shows somebody who left: `fired`, `hidden`, `deleted`, or `vanished` from its lists.
    """

    staff_id: int
    name: str
    phone: str
    specialization: str
    service_ids: frozenset[int]
    hours: dict[int, tuple[int, int]]
    pace: float = 1.0
    rota: int | None = None
    left_on: date | None = None
    left_how: str = "fired"

    def left(self, today: date) -> bool:
        """Whether this person no longer works here."""
        return self.left_on is not None and today >= self.left_on

    def working_hours(self, day: date) -> tuple[int, int] | None:
        """Opening and closing minute of the day, None on a day off."""
        if self.left(day):
            return None
        if self.rota is not None and (day.toordinal() + self.rota) % 4 > 1:
            return None
        return self.hours.get(day.isoweekday())


class Line(NamedTuple):
    """A service of a record. `price` is for one, before the record's discount."""

    service_id: int
    price: float
    amount: int = 1


@dataclass(slots=True, eq=False)
class Record:
    """One row of the journal. Without a client it is a break or a note. Records of one visit share `visit_id`.

    A group event's rows share an `activity_id`. What was planned for a record is void once `fate` has moved on.
    """

    record_id: int
    visit_id: int
    client_id: int | None
    staff_id: int
    lines: tuple[Line, ...]
    starts_at: datetime
    local: datetime
    minutes: int
    created: datetime
    changed: datetime
    attendance: int = 0
    deleted: bool = False
    online: bool = False
    main: bool = True
    discount: int = 0
    api_id: str = ""
    comment: str = ""
    activity_id: int = 0
    fate: int = 0

    @property
    def cost(self) -> float:
        """What is paid for all lines, in major units."""
        return sum(self.paid(line) for line in self.lines)

    def paid(self, line: Line) -> float:
        """What is paid for a line, after the discount."""
        return round(self.reduced(line.price) * line.amount, 2)

    def reduced(self, price: float) -> float:
        """A price after the discount."""
        return round(price * (100 - self.discount) / 100, 2)

    @property
    def ends_at(self) -> datetime:
        """The instant the chair is free again."""
        return self.starts_at + timedelta(minutes=self.minutes)


@dataclass(slots=True)
class Salon:
    """A salon location. `grid` is the step of the booking widget in minutes.

    `licensed` and `open_to_us` say whether the CRM still serves the location and still lets the caller see it. `gone` are
    deleted clients, whose rows may still name them. `version` moves with every change.
    """

    company_id: int
    title: str
    business_type: str
    zone: ZoneInfo
    country: str
    city: str
    currency: str
    phone: str
    language: str = "ru"
    grid: int = 30
    licensed: bool = True
    open_to_us: bool = True
    services: dict[int, Service] = field(default_factory=dict)
    staff: dict[int, StaffMember] = field(default_factory=dict)
    people: dict[int, "Person"] = field(default_factory=dict)
    gone: dict[int, "Person"] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    of_client: dict[int, list[Record]] = field(default_factory=dict)
    busy: dict[tuple[int, date], list[tuple[int, int, int]]] = field(default_factory=dict)
    hooks: dict[str, Any] = field(default_factory=dict)
    version: int = 0
    _listings: dict[Hashable, list[Any]] = field(default_factory=dict)
    _listed: int = -1

    @property
    def session(self) -> str:
        """The name of the salon's WhatsApp session."""
        return f"company_{self.company_id}"

    @property
    def number_id(self) -> str:
        """The Cloud API's name of the salon's number."""
        return f"1{self.company_id:011d}"

    @property
    def business_id(self) -> str:
        """The Cloud API's name of the salon's business account."""
        return f"9{self.company_id:011d}"

    def local(self, instant: datetime) -> datetime:
        """The salon's wall clock, naive."""
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def instant(self, local: datetime) -> datetime:
        """The UTC instant of a wall-clock time."""
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def by_day(self, instant: datetime) -> datetime:
        """Move an instant out of the night: nobody calls a salon before nine."""
        local = self.local(instant)
        if 9 <= local.hour < 21:
            return instant
        morning = local.replace(hour=9 + local.minute % 9, minute=local.second, second=0, microsecond=0)
        return self.instant(morning + timedelta(days=local.hour >= 21))

    def listing(self, key: Hashable, make: Callable[[], list[Any]]) -> list[Any]:
        """What `make` found for this query, remembered until the salon changes, so that paging costs one search."""
        if self._listed != self.version:
            self._listings.clear()
            self._listed = self.version
        if key not in self._listings:
            if len(self._listings) >= LISTINGS:
                del self._listings[next(iter(self._listings))]
            self._listings[key] = make()
        return self._listings[key]

    def client(self, client_id: int | None) -> "Person | None":
        """The client of a row, also one who was deleted."""
        if client_id is None:
            return None
        return self.people.get(client_id) or self.gone.get(client_id)

    # what is free

    def offering(self, service_ids: frozenset[int]) -> list[StaffMember]:
        """Staff who do all of these services, by id; nobody does one that is no longer active."""
        if any(service_id in self.services and not self.services[service_id].active for service_id in service_ids):
            return []
        return [member for member in self.staff.values() if service_ids <= member.service_ids]

    def length(self, member: StaffMember, service_ids: list[int]) -> int:
        """Minutes that these services take with this person; one hour when none is named."""
        usual = sum(self.services[service_id].minutes for service_id in service_ids) or 60
        return -(-round(usual * member.pace) // 15) * 15

    def starts(self, member: StaffMember, day: date, minutes: int, now: datetime) -> list[int]:
        """Free starting minutes of a day for a visit of this length: within hours, clear of bookings, not too soon and not too far."""
        hours = member.working_hours(day)
        if hours is None:
            return []
        local_now = self.local(now + LEAD)
        if day < local_now.date() or day > local_now.date() + timedelta(days=HORIZON_DAYS):
            return []
        earliest = local_now.hour * 60 + local_now.minute + 1 if day == local_now.date() else 0
        taken = self.busy.get((member.staff_id, day), [])
        return [
            start
            for start in range(hours[0], hours[1] - minutes + 1, self.grid)
            if start >= earliest and all(start + minutes <= begin or end <= start for begin, end, _ in taken)
        ]

    def is_free(self, member: StaffMember, local: datetime, minutes: int, now: datetime) -> bool:
        """Whether a visit of this length may start at this wall-clock time."""
        return local.hour * 60 + local.minute in self.starts(member, local.date(), minutes, now)

    def overlaps(self, staff_id: int, local: datetime, minutes: int, but: int = 0) -> bool:
        """Whether this person has a booking, other than record `but`, in these minutes."""
        start = local.hour * 60 + local.minute
        taken = self.busy.get((staff_id, local.date()), [])
        return any(start < end and begin < start + minutes for begin, end, record_id in taken if record_id != but)

    # the journal

    def touch(self) -> None:
        """Something of the salon has changed."""
        self.version += 1

    def add(self, record: Record) -> None:
        """Write a record into the journal; one that is not deleted takes its place in the schedule."""
        self.records[record.record_id] = record
        if record.client_id is not None:
            self.of_client.setdefault(record.client_id, []).append(record)
        if not record.deleted:
            self.seat(record)
        self.touch()

    def seat(self, record: Record) -> None:
        """Take the record's place in the schedule."""
        start = record.local.hour * 60 + record.local.minute
        place = self.busy.setdefault((record.staff_id, record.local.date()), [])
        insort(place, (start, start + record.minutes, record.record_id))

    def unseat(self, record: Record) -> None:
        """Free the record's place in the schedule."""
        place = self.busy.get((record.staff_id, record.local.date()), [])
        place[:] = [taken for taken in place if taken[2] != record.record_id]

    def cancel(self, record: Record, now: datetime) -> None:
        """Mark a record deleted and free its place."""
        record.deleted, record.changed = True, now
        self.unseat(record)
        self.touch()

    def together(self, record: Record) -> list[Record]:
        """The rows of the record's visit, itself among them."""
        if record.client_id is None:
            return [record]
        return [row for row in self.of_client.get(record.client_id, ()) if row.visit_id == record.visit_id]

    def upcoming(self, client_id: int, now: datetime) -> Record | None:
        """The client's next booking, if any."""
        ahead = [r for r in self.of_client.get(client_id, ()) if not r.deleted and r.starts_at > now]
        return min(ahead, key=lambda record: record.starts_at, default=None)
