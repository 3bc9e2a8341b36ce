"""The CRM's cards as values: what travels in many forms comes out in one.

What to add here: a field somebody reads. What to keep out: asking for cards (client.py), forms of single values (values.py), rows of our tables.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)

from reactivation_resources.yclients.json_text import storable
from reactivation_resources.yclients.values import (
    LARGEST,
    Attendance,
    Count,
    Flag,
    Id,
    Instant,
    LocalTime,
    Money,
    OptionalCount,
    OptionalDay,
    OptionalId,
    OptionalInstant,
    OptionalMoney,
    OptionalText,
    Text,
    Title,
    money,
    text_or_none,
)


class Card(BaseModel):
    """What all cards have in common: they do not change, and what nobody asked for is dropped."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", coerce_numbers_to_str=True, validate_by_name=True, validate_by_alias=True
    )


def _list_of(value: Any) -> Any:
    return value or []


def _object_of(value: Any) -> Any:
    return value or {}


# ---------------------------------------------------------------- the salon


def _zone_name(value: Any) -> str | None:
    """An IANA name: `timezone` is one in some answers and a number of hours in others."""
    return value if isinstance(value, str) and any(letter.isalpha() for letter in value) else None


class CompanyCard(Card):
    """A salon. `currency` is the CRM's abbreviation of it; there is no ISO code."""

    id: Id
    title: Title
    timezone_name: Annotated[
        str | None, PlainValidator(_zone_name), Field(validation_alias=AliasChoices("timezone_name", "timezone"))
    ] = None
    country: OptionalText = None
    currency: Annotated[OptionalText, Field(validation_alias="currency_short_title")] = None
    phone: OptionalText = None
    business_type_id: Count = 0
    active: Flag = True


def _named(name: str) -> Any:
    """Reads one text out of an object that is absent, null or an empty list where there is none."""

    def pick(value: Any) -> Any:
        return text_or_none(value.get(name)) if isinstance(value, dict) else None

    return BeforeValidator(pick)


class StaffCard(Card):
    """Somebody who works or worked there."""

    id: Id
    name: Title
    specialization: Text = ""
    fired: Flag = False
    hidden: Flag = False
    status: Flag = False
    is_deleted: Flag = False
    phone: Annotated[str | None, _named("phone"), Field(validation_alias="employee")] = None
    position_title: Annotated[str | None, _named("title"), Field(validation_alias="position")] = None

    @property
    def works(self) -> bool:
        """Whether clients can be booked with them: not fired, not hidden, not deleted (`status`)."""
        return not (self.fired or self.hidden or self.status or self.is_deleted)


class StaffLink(Card):
    """Who does a service, and how long it takes them in seconds."""

    id: Id
    seance_length_s: Annotated[OptionalCount, Field(validation_alias="seance_length")] = None


class ServiceCard(Card):
    """What the salon offers. `duration_s` is in seconds, `price_min` in the salon's currency."""

    id: Id
    title: Title
    category_id: OptionalId = None
    price_min: Money = Decimal("0.00")
    duration_s: Annotated[OptionalId, Field(validation_alias="duration")] = None
    active: Flag = True
    staff: Annotated[list[StaffLink], BeforeValidator(_list_of)] = []


class CategoryCard(Card):
    """A group of services."""

    id: Id
    title: Title


# ---------------------------------------------------------------- clients


def _titles(value: Any) -> Any:
    if not isinstance(value, list):
        return value or []
    return [item.get("title") or "" if isinstance(item, dict) else item for item in value]


class ClientCard(Card):
    """A client's whole card. It has no date of the last visit."""

    id: Id
    name: Text = ""
    phone: OptionalText = None
    mailing_refused: Annotated[Flag, Field(validation_alias="sms_not")] = False
    categories: Annotated[list[str], BeforeValidator(_titles)] = []
    visits: Count = 0
    spent: Money = Decimal("0.00")
    last_change_date: OptionalInstant = None


class FoundClient(Card):
    """A row of the search: the id and whatever was asked for."""

    id: Id
    name: Text = ""
    phone: OptionalText = None
    first_visit_date: OptionalDay = None
    last_visit_date: OptionalDay = None
    visits_count: OptionalCount = None
    sold_amount: OptionalMoney = None


# ---------------------------------------------------------------- the journal


class RecordLineCard(NamedTuple):
    """One service of a booking; `price` is what it costs times how many."""

    service_id: int
    price: Decimal


def _lines(value: Any, cost: str = "cost") -> tuple[RecordLineCard, ...]:
    try:
        return tuple([_line(item, cost) for item in value]) if value else ()
    except (KeyError, TypeError, AttributeError, OverflowError):
        raise ValueError("a service without an id or a sensible amount") from None


def _line(item: Any, cost: str) -> RecordLineCard:
    if type(item) is RecordLineCard:
        return item
    service_id = int(item["id"])
    if not 0 < service_id <= LARGEST:
        raise ValueError("an id that no service has")
    price, amount = money(item.get(cost)), item.get("amount") or 1
    return RecordLineCard(service_id, price if amount == 1 else money(price * int(amount)))


def _client_of(value: Any) -> Any:
    """The client's id; None for a note or a break of the salon's own."""
    if not value:
        return None
    if not isinstance(value, dict):
        return value
    if value.get("id") is None:
        raise ValueError("a client without an id")
    return value["id"]


class RecordCard(Card):
    """A row of the journal. `starts_local` is the salon's wall clock, which is right where the offset has been seen wrong."""

    id: Id
    staff_id: OptionalId = None
    client_id: Annotated[Id | None, BeforeValidator(_client_of), Field(validation_alias="client")] = None
    lines: Annotated[tuple[RecordLineCard, ...], PlainValidator(_lines), Field(validation_alias="services")] = ()
    starts_local: Annotated[LocalTime, Field(validation_alias="date")]
    created_at: Annotated[Instant, Field(validation_alias="create_date")]
    attendance: Attendance
    deleted: Flag = False
    visit_id: OptionalId = None
    activity_id: Count = 0
    length_s: Annotated[Count, Field(validation_alias=AliasChoices("length", "seance_length"))] = 0
    api_id: Text = ""
    last_change_date: OptionalInstant = None


def _owed(value: Any) -> tuple[RecordLineCard, ...]:
    """Lines of a visit's history, which have what was to be paid in place of a cost."""
    return _lines(value, "cost_to_pay")


def _staff_of(value: Any) -> Any:
    return value.get("id") if isinstance(value, dict) else value or None


class HistoryVisit(Card):
    """A visit of one client as the search of visits gives it; the price of a line is what was to be paid."""

    id: Id
    visit_id: OptionalId = None
    starts_local: Annotated[LocalTime, Field(validation_alias="date")]
    attendance: Attendance
    staff_id: Annotated[OptionalId, BeforeValidator(_staff_of), Field(validation_alias="staff")] = None
    lines: Annotated[tuple[RecordLineCard, ...], PlainValidator(_owed), Field(validation_alias="services")] = ()


# ---------------------------------------------------------------- free times and bookings


class BookDates(Card):
    """Days with a free start (`booking_*`) and days somebody works, within the salon's horizon."""

    booking_dates: Annotated[list[date], BeforeValidator(_list_of)]
    working_dates: Annotated[list[date], BeforeValidator(_list_of)] = []
    booking_days: Annotated[dict[int, list[int]], BeforeValidator(_object_of)] = {}


def _clock(value: Any) -> time:
    if isinstance(value, time):
        return value
    hour, minute = str(value).split(":")[:2]
    return time(int(hour), int(minute))


class BookTime(Card):
    """A free start by the salon's wall clock; `length_s` seconds are free from there."""

    time: Annotated[time, PlainValidator(_clock)]
    seance_length: OptionalId = None
    sum_length: OptionalId = None

    @property
    def length_s(self) -> int:
        """The length of all services together, in seconds."""
        return self.sum_length or self.seance_length or 0


class BookableStaff(Card):
    """Somebody who can be asked for, and whether they do the services asked about."""

    id: Id
    name: Text = ""
    bookable: Flag = True


class Appointment(BaseModel):
    """A wish: these services with this person (0 = anybody) from `starts_at` on. An instant, or the salon's wall clock without a zone."""

    model_config = ConfigDict(frozen=True)

    id: int = 1
    services: list[int]
    staff_id: int = 0
    starts_at: Annotated[datetime, PlainSerializer(datetime.isoformat), Field(serialization_alias="datetime")]


class Booking(Card):
    """What came of an appointment of the request."""

    appointment_id: Annotated[int, Field(validation_alias="id")]
    record_id: Id
    record_hash: Text = ""


# ---------------------------------------------------------------- webhooks

Bit = Annotated[Flag, PlainSerializer(int)]


class HooksSettings(BaseModel):
    """Where the CRM posts changes of a salon, and of what. A write replaces all of it, so flags nobody here knows are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    urls: Annotated[tuple[str, ...], BeforeValidator(_list_of)] = ()
    active: Bit = False
    salon: Bit = False
    service_category: Bit = False
    service: Bit = False
    master: Bit = False
    client: Bit = False
    record: Bit = False


class Event(Card):
    """A change the CRM tells of. A hint: nobody signs it, and `data` may be partial or empty."""

    company_id: Id
    resource: Title
    resource_id: Id
    status: Literal["create", "update", "delete"]
    data: Annotated[dict[str, Any], BeforeValidator(_object_of)] = {}


class Lifecycle(Card):
    """What happened to our application in a salon, told by the marketplace."""

    salon_id: Id
    application_id: Id
    event: Literal["uninstall", "freeze", "payment"]


# ---------------------------------------------------------------- many of them

CardT = TypeVar("CardT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rejected:
    """A card as it came, made fit for a table, and why it could not be read: `field=value: why`."""

    card: Any
    reason: str


@dataclass(frozen=True, slots=True)
class Cards(Generic[CardT]):
    """Cards that could be read and cards that could not: one bad card spoils no other."""

    good: list[CardT]
    rejected: list[Rejected]


def read_cards(model: type[CardT], rows: Iterable[Any]) -> Cards[CardT]:
    """Read each row as a card of this kind."""
    good: list[CardT] = []
    rejected: list[Rejected] = []
    read = model.__pydantic_validator__.validate_python
    for row in rows:
        try:
            good.append(read(row))
        except ValidationError as error:
            rejected.append(Rejected(storable(row), why(error)))
    return Cards(good, rejected)


def why(error: ValidationError) -> str:
    """The first thing that is wrong, as `field=value: why`."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"] if part != "") or "card"
    absent = first["type"] == "missing"
    value = "None" if absent else repr(first["input"])
    words = "missing" if absent else str(first["msg"]).removeprefix("Value error, ")
    return f"{field}={value if len(value) <= 80 else value[:77] + '...'}: {words[:1].lower()}{words[1:]}"
