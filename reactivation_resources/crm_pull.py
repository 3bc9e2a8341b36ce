"""Reads one company of the CRM into compact frames, to be stored in one transaction (crm_merge.py).

What to add here: what is read of a company, and how. What to keep out: when it is read (crm_sync.py, crm_load.py) and storing it. Pages become
frames as they arrive; the cards themselves are never collected.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from reactivation_core.local_time import parse_zone
from reactivation_resources.crm_cards import (
    LINES,
    SalonFacts,
    client_frame,
    in_utc,
    line_frame,
    salon_facts,
    service_frame,
    staff_frame,
)
from reactivation_resources.yclients.caller import PAGE
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import ListingChangedError, MalformedError, NotFoundError
from reactivation_resources.yclients.models import Cards, ClientCard, Rejected

MOST_CARDS = 20_000
"""Journal rows that are read in one go: some hundred pages, and what is held in memory before it is stored."""

WINDOW_DAYS = 31
FEW, MANY = 4_000, 16_000
"""Journal rows of a window below which the next one is twice as long, and above which it is half as long."""

KINDS = ("services", "categories", "staff", "clients", "records")
"""Kinds of cards that may be rejected."""

KEY = {"services": "service_id", "staff": "staff_id", "clients": "client_id", "record_lines": "record_id"}
"""Tables that are read, and the CRM's ids in them."""

_DAY = timedelta(days=1)


class TooManyCardsError(RuntimeError):
    """More journal rows than are read in one go."""


@dataclass(frozen=True, slots=True)
class Salon:
    """A company as the mirror knows it, and how far its mirror is: the columns of `companies`."""

    company_id: int
    timezone: str
    country: str
    changed_after: datetime | None
    load_started_at: datetime | None
    loaded_back_to: date | None
    catalogue_at: datetime | None

    @property
    def zone(self) -> ZoneInfo:
        """The salon's zone. Raises ValueError when there is no such zone."""
        return parse_zone(self.timezone)


@dataclass
class Pull:
    """What was read of a company.

    Attributes:
        facts: What the CRM says of the salon, where that was asked.
        listed: By table, all ids that the CRM has: what is not among them is gone.
        rejected: By kind of card, the cards that could not be read.
        cards: How many journal rows were read.
    """

    salon: Salon
    facts: SalonFacts | None = None
    listed: dict[str, set[int]] = field(default_factory=dict)
    rejected: dict[str, list[Rejected]] = field(default_factory=dict)
    cards: int = 0
    _frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def add(self, table: str, frame: pl.DataFrame) -> None:
        """Take in rows; of rows with one key the last counts."""
        self._frames.setdefault(table, []).append(frame)

    def reject(self, kind: str, cards: Cards[Any]) -> None:
        """Take in the cards that could not be read."""
        if cards.rejected:
            self.rejected.setdefault(kind, []).extend(cards.rejected)

    def rows(self, table: str) -> pl.DataFrame | None:
        """The rows of `services`, `staff` or `clients`; None where none were read."""
        frames = self._frames.get(table)
        return None if not frames else pl.concat(frames).unique(KEY[table], keep="last", maintain_order=True)

    def lines(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The lines of bookings, and the records (company_id, record_id) that are notes or breaks of the salon's own."""
        frames = self._frames.get("record_lines") or [line_frame(self.salon.company_id, ())]
        # A row that was changed while we read may come twice, with other lines: all of its lines are those of the last time.
        read = pl.concat([frame.with_columns(page=pl.lit(page)) for page, frame in enumerate(frames)])
        read = read.filter(pl.col("page") == pl.col("page").max().over("record_id")).drop("page")
        read = read.unique(["record_id", "line"], keep="last", maintain_order=True)
        nobodys = read.filter(pl.col("client_id").is_null()).select("company_id", "record_id")
        return in_utc(read.filter(pl.col("client_id").is_not_null()), self.salon.timezone).select(*LINES), nobodys

    def drop_records(self) -> None:
        """Forget the journal rows read so far."""
        self._frames.pop("record_lines", None)
        self.rejected.pop("records", None)
        self.cards = 0

    def salon_as_told(self) -> Salon:
        """The salon with the zone and the country of its card, where that was read."""
        facts = self.facts
        if facts is None:
            return self.salon
        return replace(
            self.salon, timezone=facts.timezone or self.salon.timezone, country=facts.country or self.salon.country
        )

    def ids(self, table: str) -> set[int]:
        """The ids of what was read."""
        return {number for frame in self._frames.get(table, ()) for number in frame[KEY[table]]}


async def read_catalogue(crm: YClients, pull: Pull) -> None:
    """Read the salon's card, its services with the titles of their groups, and its staff."""
    salon = pull.salon
    pull.facts = salon_facts(await crm.company(salon.company_id))
    services, categories = await crm.services(salon.company_id), await crm.categories(salon.company_id)
    staff = await crm.staff(salon.company_id)
    pull.add("services", service_frame(salon.company_id, services.good, categories.good))
    pull.add("staff", staff_frame(salon.company_id, pull.facts.country or salon.country, staff.good, services.good))
    for kind, cards in (("services", services), ("categories", categories), ("staff", staff)):
        pull.reject(kind, cards)
    # a card that cannot be read is there all the same
    pull.listed["services"] = {card.id for card in services.good} | rejected_ids(services.rejected)
    pull.listed["staff"] = {card.id for card in staff.good} | rejected_ids(staff.rejected)
    pull.listed["categories"] = rejected_ids(
        categories.rejected
    )  # of which we keep nothing but what is wrong with them


async def read_clients(crm: YClients, pull: Pull, changed_after: datetime | None) -> None:
    """Read the cards of clients changed since a wall time of the salon; all of them when None."""
    async for cards in crm.clients(pull.salon.company_id, changed_after):
        _add_clients(pull, cards)


async def read_records(
    crm: YClients,
    pull: Pull,
    *,
    changed_after: datetime | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
    at_most: int | None = None,
) -> None:
    """Read journal rows. Raises TooManyCardsError when there are more than `at_most`."""
    pages = crm.records(pull.salon.company_id, changed_after=changed_after, start_date=start_date, end_date=end_date)
    async for cards in pages:
        pull.cards += len(cards.good) + len(cards.rejected)
        if at_most is not None and pull.cards > at_most:
            raise TooManyCardsError
        pull.add("record_lines", line_frame(pull.salon.company_id, cards.good))
        pull.reject("records", cards)


async def compare_clients(crm: YClients, pull: Pull, known: set[int], unreadable: set[int], *, whole: bool) -> None:
    """Compare the CRM's clients with ours: who was deleted or merged never shows among the changed.

    As long as the number of clients is right and a `whole` comparison is not asked for, that is all. Otherwise all ids are read: those that
    are not among them are gone, and the cards of those that we lack are read.

    Args:
        crm, pull: Where from and where to.
        known: The clients in the mirror that are not deleted.
        unreadable: Clients whose cards were rejected before: they are there, but no use to us.
        whole: Read the ids although the number is right.
    """
    company_id = pull.salon.company_id
    expected = known | pull.ids("clients")
    unreadable = unreadable | rejected_ids(pull.rejected.get("clients", ()))
    if not whole and await crm.count_clients(company_id) == len(expected | unreadable):
        return
    listed: set[int] = set()
    async for found in crm.search_clients(company_id):
        listed.update(card.id for card in found.good)
        listed.update(rejected_ids(found.rejected))
    pull.listed["clients"] = listed
    missing = sorted(listed - expected - unreadable)
    if len(missing) > len(listed) / PAGE:  # as many calls as all cards take
        await read_clients(crm, pull, None)
        return
    for client_id in missing:
        try:
            _add_clients(pull, Cards([await crm.client(company_id, client_id)], []))
        except NotFoundError:  # deleted since
            continue
        except MalformedError as error:
            _add_clients(pull, Cards([], [Rejected({"id": client_id}, error.words)]))


async def windows_back(
    read: Callable[[date | None, date | None, int | None], Awaitable[Pull]],
    newest: date,
    back_to: date | None,
    horizon: date,
) -> AsyncIterator[tuple[date, Pull]]:
    """The journal from `newest` and the open future back to `horizon`, in windows of local days, with the first day of each.

    A window is about a month long, longer where there is little to read and shorter where there is much, or where it changes while it is
    read. `read` reads from and to a day (None: open) at most so many rows.

    Args:
        read: Reads a window.
        newest: The first day of the first window, which has no end.
        back_to: Continue from this day on; None: begin.
        horizon: The first day to be read.
    """
    if back_to is None:
        yield newest, await read(newest, None, None)
        back_to = newest
    days = WINDOW_DAYS
    while back_to > horizon:
        start = max(back_to - days * _DAY, horizon)
        length = (back_to - start).days
        try:
            pull = await read(start, back_to - _DAY, MOST_CARDS if length > 1 else None)
        except (TooManyCardsError, ListingChangedError):
            if length == 1:
                raise
            days = max(length // 4, 1)
            continue
        yield start, pull
        back_to = start
        if pull.cards < FEW:
            days *= 2
        elif pull.cards > MANY:
            days = max(days // 2, 1)


def wall_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """The salon's wall time by which to ask for what changed since `instant`; of an hour shown twice, never the later reading."""
    local = instant.astimezone(zone)
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    if first is not None and second is not None and first > second:  # the CRM may take the second reading
        local = local.replace(tzinfo=None) - (first - second)
    return local.replace(tzinfo=None, microsecond=0)


def rejected_ids(rejected: Iterable[Rejected]) -> set[int]:
    """The ids of rejected cards, of those that have one."""
    return {number for item in rejected if (number := card_id(item.card)) is not None}


def card_id(card: Any) -> int | None:
    """The id of a card that could not be read; None where that cannot be read either."""
    found = card.get("id") if isinstance(card, dict) else None
    return int(str(found)) if str(found).isdecimal() and len(str(found)) < 19 else None


def _add_clients(pull: Pull, cards: Cards[ClientCard]) -> None:
    if cards.good:
        pull.add("clients", client_frame(pull.salon.company_id, pull.salon.country, cards.good))
    pull.reject("clients", cards)
