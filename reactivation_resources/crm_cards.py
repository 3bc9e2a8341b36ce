"""The CRM's cards as rows of our tables, in compact frames.

What to add here: how a field of a card becomes a column. What to keep out: reading cards off the wire (yclients/models.py), asking for them
(crm_pull.py) and storing rows (crm_merge.py). Instants are UTC; the salon's wall clock decides when a visit starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from reactivation_core.local_time import parse_zone
from reactivation_core.phones import normalise_phone, normalise_phones
from reactivation_resources.book_columns import to_utc
from reactivation_resources.database.engine import FrameSchema
from reactivation_resources.yclients.models import (
    CategoryCard,
    ClientCard,
    CompanyCard,
    RecordCard,
    ServiceCard,
    StaffCard,
)

STATUS = {1: "attended", 2: "confirmed", 0: "booked", -1: "no_show"}
"""What the CRM's attendance means; a booking that the salon has not confirmed is a booking."""

_BLACKLIST = ("чёрный список", "черный список", "blacklist")
# The CRM has no ISO codes: it names countries and abbreviates currencies. A code is understood as well.
_COUNTRIES = {"россия": "RU", "казахстан": "KZ", "беларусь": "BY", "узбекистан": "UZ", "канада": "CA", "германия": "DE"}
_CURRENCIES = {"р": "RUB", "₽": "RUB", "руб": "RUB", "₸": "KZT", "тг": "KZT", "€": "EUR", "$": "USD", "br": "BYN"}
_INSTANT = pl.Datetime("us", "UTC")
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of wall clocks
_EPOCH_UTC = _EPOCH.replace(tzinfo=UTC)

SERVICES: FrameSchema = {
    "company_id": pl.Int64, "service_id": pl.Int64, "title": pl.String, "category": pl.String, "list_price": pl.Decimal(14, 2),
    "duration_s": pl.Int64, "active": pl.Boolean,
}  # fmt: skip
STAFF: FrameSchema = {
    "company_id": pl.Int64, "staff_id": pl.Int64, "name": pl.String, "phone_raw": pl.String, "phone": pl.String, "active": pl.Boolean,
    "service_ids": pl.List(pl.Int64),
}  # fmt: skip
CLIENTS: FrameSchema = {
    "company_id": pl.Int64, "client_id": pl.Int64, "name": pl.String, "phone_raw": pl.String, "phone": pl.String,
    "mailing_refused": pl.Boolean, "blacklisted": pl.Boolean, "deleted": pl.Boolean,
}  # fmt: skip
LINES: FrameSchema = {
    "company_id": pl.Int64, "record_id": pl.Int64, "line": pl.Int16, "client_id": pl.Int64, "starts_at": _INSTANT,
    "staff_id": pl.Int64, "service_id": pl.Int64, "price": pl.Decimal(14, 2), "status": pl.String, "deleted": pl.Boolean,
    "created_at": _INSTANT,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SalonFacts:
    """What the CRM says of a salon; None where it says nothing that can be read."""

    title: str
    phone: str | None
    timezone: str | None
    country: str | None
    currency: str | None


def salon_facts(card: CompanyCard) -> SalonFacts:
    """The salon's card with the codes we know countries and currencies by. Raises ValueError for a zone that does not exist."""
    return SalonFacts(
        title=card.title,
        phone=card.phone,
        timezone=parse_zone(card.timezone_name, "timezone_name").key if card.timezone_name else None,
        country=_country(card.country),
        currency=_code(card.currency, _CURRENCIES, 3),
    )


def service_frame(company_id: int, services: Sequence[ServiceCard], categories: Sequence[CategoryCard]) -> pl.DataFrame:
    """Rows of `services`; a category goes by its title."""
    titles = {card.id: card.title for card in categories}
    columns = {
        "company_id": [company_id] * len(services),
        "service_id": [card.id for card in services],
        "title": [card.title for card in services],
        "category": [titles.get(card.category_id or 0) for card in services],
        "list_price": [card.price_min for card in services],
        "duration_s": [card.duration_s for card in services],
        "active": [card.active for card in services],
    }
    return pl.DataFrame(columns, schema=SERVICES).unique("service_id", keep="last", maintain_order=True)


def staff_frame(
    company_id: int, country: str, staff: Sequence[StaffCard], services: Sequence[ServiceCard]
) -> pl.DataFrame:
    """Rows of `staff`, with the phone as it came beside its E.164; who does what is written on the services."""
    does: dict[int, set[int]] = {}
    for service in services:
        for worker in service.staff:
            does.setdefault(worker.id, set()).add(service.id)
    columns = {
        "company_id": [company_id] * len(staff),
        "staff_id": [card.id for card in staff],
        "name": [card.name for card in staff],
        "phone_raw": [card.phone for card in staff],
        "phone": [normalise_phone(card.phone, country) for card in staff],
        "active": [card.works for card in staff],
        "service_ids": [sorted(does.get(card.id, ())) for card in staff],
    }
    return pl.DataFrame(columns, schema=STAFF).unique("staff_id", keep="last", maintain_order=True)


def client_frame(company_id: int, country: str, clients: Sequence[ClientCard]) -> pl.DataFrame:
    """Rows of `clients`, with the phone as it came beside its E.164, which is null where that is no phone."""
    raw = pl.Series([card.phone for card in clients], dtype=pl.String)
    columns = {
        "company_id": [company_id] * len(clients),
        "client_id": [card.id for card in clients],
        "name": [card.name for card in clients],
        "phone_raw": raw,
        "phone": normalise_phones(raw, pl.Series([country]).new_from_index(0, raw.len())),
        "mailing_refused": [card.mailing_refused for card in clients],
        "blacklisted": [
            any(title.strip().lower() in _BLACKLIST for title in card.categories) for card in clients
        ],
        "deleted": [False] * len(clients),
    }  # fmt: skip
    return pl.DataFrame(columns, schema=CLIENTS)


def line_frame(company_id: int, records: Sequence[RecordCard]) -> pl.DataFrame:
    """The lines of journal rows as `LINES`, but `starts_at` is still the salon's wall clock (see `in_utc`).

    A row without a client, which is a note or a break of the salon's own, is one line whose client_id is null. A booking without services
    is one line without a service.
    """
    rows = [
        (card, number, line)
        for card in records
        for number, line in enumerate(card.lines or (None,))
        if number == 0 or card.client_id is not None
    ]
    # Numbers and texts are turned into instants and amounts in whole columns: value by value that takes ten times as long.
    starts = [(card.starts_local - _EPOCH) // _MICROSECOND for card, _, _ in rows]
    made = [(card.created_at - _EPOCH_UTC) // _MICROSECOND for card, _, _ in rows]
    prices = [None if line is None else str(line.price) for _, _, line in rows]
    columns = {
        "company_id": pl.Series([company_id], dtype=pl.Int64).new_from_index(0, len(rows)),
        "record_id": pl.Series([card.id for card, _, _ in rows], dtype=pl.Int64),
        "line": pl.Series([number for _, number, _ in rows], dtype=pl.Int16),
        "client_id": pl.Series([card.client_id for card, _, _ in rows], dtype=pl.Int64),
        "starts_at": pl.Series(starts, dtype=pl.Int64).cast(pl.Datetime("us")),
        "staff_id": pl.Series([card.staff_id for card, _, _ in rows], dtype=pl.Int64),
        "service_id": pl.Series([None if line is None else line.service_id for _, _, line in rows], dtype=pl.Int64),
        "price": pl.Series(prices, dtype=pl.String).cast(pl.Decimal(14, 2)),
        "status": pl.Series([STATUS[card.attendance] for card, _, _ in rows], dtype=pl.String),
        "deleted": pl.Series([card.deleted for card, _, _ in rows], dtype=pl.Boolean),
        "created_at": pl.Series(made, dtype=pl.Int64).cast(_INSTANT),
    }
    return pl.DataFrame(columns)


def in_utc(lines: pl.DataFrame, zone: str) -> pl.DataFrame:
    """Lines with `starts_at` as an instant: the first pass of an hour shown twice, moved on by the gap where the clocks skip it."""
    return lines.with_columns(to_utc(lines["starts_at"], zone))


def _country(name: str | None) -> str | None:
    """A country whose phone numbers can be read."""
    import phonenumbers

    found = _code(name, _COUNTRIES, 2)
    return found if found in phonenumbers.SUPPORTED_REGIONS else None


def _code(name: str | None, names: Mapping[str, str], length: int) -> str | None:
    found = (name or "").strip().rstrip(".")
    is_code = len(found) == length and found.isascii() and found.isalpha() and found.isupper()
    return found if is_code else names.get(found.lower())
