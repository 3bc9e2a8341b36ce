"""One salon: its services, its people at work, its journal of bookings and the places left free in it."""

from bisect import insort
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from reactivation_sandbox.people import Person

LEAD = timedelta(minutes=60)
HORIZON_DAYS = 60


@dataclass(frozen=True, slots=True)
class Service:
    """What can be booked. `price` is in major units, `minutes` the usual length, `rhythm_days` how often people come back for it."""

    service_id: int
    title: str
    category_id: int
    category: str
    price: float
    minutes: int
    rhythm_days: float


@dataclass(slots=True)
class StaffMember:
    """Who works. `hours` maps ISO weekdays to opening and closing minutes; `rota` is the offset of a two-on-two-off rota."""

    staff_id: int
    name: str
    phone: str
    specialization: str
    service_ids: frozenset[int]
    hours: dict[int, tuple[int, int]]
    pace: float = 1.0
    rota: int | None = None
    left_on: date | None = None

    def working_hours(self, day: date) -> tuple[int, int] | None:
        """Opening and closing minute of the day, None on a day off."""
        if self.left_on is not None and day >= self.left_on:
            return None
        if self.rota is not None and (day.toordinal() + self.rota) % 4 > 1:
            return None
        return self.hours.get(day.isoweekday())


@dataclass(slots=True)
class Record:
    """One row of the journal. Without a client it is a break or a note. Records of one visit share `visit_id`.

    `lines` are pairs of a service and its price before `discount` percent."""

    record_id: int
    visit_id: int
    client_id: int | None
    staff_id: int
    lines: list[tuple[int, float]]
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

    @property
    def cost(self) -> float:
        """What is paid for all lines, in major units."""
        return sum(self.reduced(price) for _, price in self.lines)

    def reduced(self, price: float) -> float:
        """A line's price after the discount."""
        return round(price * (100 - self.discount) / 100, 2)

    @property
    def ends_at(self) -> datetime:
        """The instant the chair is free again."""
        return self.starts_at + timedelta(minutes=self.minutes)


@dataclass(slots=True)
class Salon:
    """A salon location. `active` is false for a frozen one; `grid` is the step of the booking widget in minutes."""

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
    services: dict[int, Service] = field(default_factory=dict)
    staff: dict[int, StaffMember] = field(default_factory=dict)
    people: dict[int, "Person"] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    of_client: dict[int, list[Record]] = field(default_factory=dict)
    busy: dict[tuple[int, date], list[tuple[int, int, int]]] = field(default_factory=dict)

    @property
    def session(self) -> str:
        """The name of the salon's WhatsApp session."""
        return f"company_{self.company_id}"

    def local(self, instant: datetime) -> datetime:
        """The salon's wall clock, naive."""
        return instant.astimezone(self.zone).replace(tzinfo=None)

    def instant(self, local: datetime) -> datetime:
        """The UTC instant of a wall-clock time."""
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    def offering(self, service_ids: frozenset[int]) -> list[StaffMember]:
        """Staff who do all of these services, by id."""
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

    def add(self, record: Record) -> None:
        """Write a record into the journal; one that is not deleted takes its place in the schedule."""
        self.records[record.record_id] = record
        if record.client_id is not None:
            self.of_client.setdefault(record.client_id, []).append(record)
        if not record.deleted:
            start = record.local.hour * 60 + record.local.minute
            place = self.busy.setdefault((record.staff_id, record.local.date()), [])
            insort(place, (start, start + record.minutes, record.record_id))

    def cancel(self, record: Record, now: datetime) -> None:
        """Mark a record deleted and free its place."""
        record.deleted, record.changed = True, now
        place = self.busy[record.staff_id, record.local.date()]
        place[:] = [taken for taken in place if taken[2] != record.record_id]

    def upcoming(self, client_id: int, now: datetime) -> Record | None:
        """The client's next booking, if any."""
        ahead = [r for r in self.of_client.get(client_id, ()) if not r.deleted and r.starts_at > now]
        return min(ahead, key=lambda record: record.starts_at, default=None)
