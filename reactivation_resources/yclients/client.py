"""The calls of the CRM, each with its cards.

What to add here: a call somebody makes. What to keep out: how a request travels (transport.py), what a card looks like (models.py), where rows
go. A listing that moves while it is read is read again; what cannot be read whole is an error and never a part.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.errors import MalformedError, RefusedError, UnavailableError
from reactivation_resources.yclients.models import (
    Appointment,
    BookableStaff,
    BookDates,
    Booking,
    BookTime,
    Cards,
    CategoryCard,
    ClientCard,
    CompanyCard,
    FoundClient,
    HistoryVisit,
    HooksSettings,
    RecordCard,
    ServiceCard,
    StaffCard,
    read_cards,
    why,
)
from reactivation_resources.yclients.transport import Answer, Transport

PAGE = 200  # rows; more can fall back to 25
READINGS = 3
MOST_HOOKS = 10
_MINUTE = "%Y-%m-%dT%H:%M:%S"

CardT = TypeVar("CardT", bound=BaseModel)


class YClients:
    """The CRM. Use it on one event loop, `async with` or with `aclose()` at the end.

    Every call raises a CrmError (errors.py): permanent ones at once, passing ones after a few more tries of what only reads.

    Args:
        base_url: Up to and including `/api/v1`.
        partner_token, user_token: Without a user token only companies and free times can be asked for.
        limiter: Shared by everybody who calls from this address.
        partner_id: Sent as `X-Partner-Id`, which some partner tokens need.
        proxy: HTTP or SOCKS5 proxy.
        sleep, jitter: See `Transport`.
    """

    def __init__(
        self,
        base_url: str,
        partner_token: str | None,
        user_token: str | None,
        limiter: RateLimiter,
        *,
        partner_id: str | None = None,
        proxy: str | None = None,
        **timing: Any,
    ) -> None:
        headers = {
            "Authorization": f"Bearer {partner_token or ''}" + (f", User {user_token}" if user_token else ""),
            "Accept": "application/vnd.yclients.v2+json",
            "Content-Type": "application/json",
        }
        if partner_id:
            headers["X-Partner-Id"] = partner_id
        secrets = tuple(token for token in (partner_token, user_token) if token)
        self._transport = Transport(base_url, headers, secrets, limiter, proxy=proxy, **timing)

    async def __aenter__(self) -> Self:
        """Nothing to do: connections are made by calls."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    @property
    def calls(self) -> Counter[str]:
        """The requests that left so far, by call, retries included."""
        return self._transport.calls

    # ------------------------------------------------------------ the salon

    async def company(self, company_id: int) -> CompanyCard:
        """A salon's card."""
        return await self._one("company", f"company/{company_id}/", company_id, CompanyCard)

    async def companies(self) -> Cards[CompanyCard]:
        """All salons of the user's token; none for some tokens of applications."""
        good, rejected = [], []
        async for cards in self._listing("companies", "companies", None, CompanyCard, {"my": "1"}):
            good += cards.good
            rejected += cards.rejected
        return Cards(good, rejected)

    async def staff(self, company_id: int) -> Cards[StaffCard]:
        """All staff, also those who left."""
        return await self._all("staff", f"company/{company_id}/staff/", company_id, StaffCard)

    async def services(self, company_id: int, staff_id: int | None = None) -> Cards[ServiceCard]:
        """All services, or those of one staff member with that member's prices."""
        query = {} if staff_id is None else {"staff_id": str(staff_id)}
        return await self._all("services", f"company/{company_id}/services/", company_id, ServiceCard, query)

    async def categories(self, company_id: int) -> Cards[CategoryCard]:
        """All groups of services."""
        return await self._all("categories", f"company/{company_id}/service_categories/", company_id, CategoryCard)

    # ------------------------------------------------------------ clients and the journal

    async def client(self, company_id: int, client_id: int) -> ClientCard:
        """One client's card."""
        return await self._one("client", f"client/{company_id}/{client_id}", company_id, ClientCard)

    async def record(self, company_id: int, record_id: int) -> RecordCard:
        """One row of the journal."""
        return await self._one("record", f"record/{company_id}/{record_id}", company_id, RecordCard)

    def clients(self, company_id: int, changed_after: datetime | None = None) -> AsyncIterator[Cards[ClientCard]]:
        """Client cards changed since a wall time of the salon, all of them when None, page by page, each id once."""
        query = {} if changed_after is None else {"changed_after": changed_after.strftime(_MINUTE)}
        return self._listing("clients", f"clients/{company_id}", company_id, ClientCard, query)

    def records(
        self,
        company_id: int,
        *,
        changed_after: datetime | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        client_id: int | None = None,
    ) -> AsyncIterator[Cards[RecordCard]]:
        """Rows of the journal, deleted ones too, page by page, each id once.

        Changed since a wall time of the salon, starting within local days (both included), of one client: what is None does not narrow.
        """
        query = _journal_query(changed_after, start_date, end_date, client_id)
        return self._listing("records", f"records/{company_id}", company_id, RecordCard, query)

    async def count_records(
        self,
        company_id: int,
        *,
        changed_after: datetime | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        client_id: int | None = None,
    ) -> int:
        """How many rows `records` would give."""
        query = _journal_query(changed_after, start_date, end_date, client_id) | {"page": "1", "count": "1"}
        path = f"records/{company_id}"
        return self._total(path, company_id, await self._transport.read("records", path, company_id, query))

    async def find_by_api_id(self, company_id: int, api_id: str, around: date) -> list[RecordCard]:
        """The rows we created under an id of ours, near a day: what became of a create whose answer was lost."""
        day = timedelta(days=1)
        return [
            card
            async for cards in self.records(company_id, start_date=around - day, end_date=around + day)
            for card in cards.good
            if card.api_id == api_id and not card.deleted
        ]

    def search_clients(
        self,
        company_id: int,
        *,
        filters: Sequence[dict[str, Any]] = (),
        fields: Sequence[str] = ("id",),
        order_by: str = "id",
    ) -> AsyncIterator[Cards[FoundClient]]:
        """Clients that pass all filters (`{"type": ..., "state": ...}`), with the fields asked for, in ascending order, page by page."""
        path = f"company/{company_id}/clients/search"

        async def ask(page: int) -> Answer:
            body = _search_body(page, PAGE, filters, fields, order_by)
            return await self._transport.read("search", path, company_id, body=body)

        return self._paged(path, company_id, FoundClient, ask)

    async def count_clients(self, company_id: int) -> int:
        """How many clients the salon has."""
        path = f"company/{company_id}/clients/search"
        body = _search_body(1, 1, (), ("id",), "id")
        return self._total(path, company_id, await self._transport.read("search", path, company_id, body=body))

    async def visit_history(
        self,
        company_id: int,
        *,
        client_id: int | None = None,
        client_phone: str | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> AsyncIterator[Cards[HistoryVisit]]:
        """Visits of one client, by id or phone, within local days, newest first, page by page."""
        path = f"company/{company_id}/clients/visits/search"
        span: dict[str, Any] = {"from": start and start.isoformat(), "to": end and end.isoformat()}
        seen: set[int] = set()
        while True:
            body = {
                "client_id": client_id,
                "client_phone": client_phone,
                **span,
                "payment_statuses": [],
                "attendance": None,
            }
            answer = await self._transport.read("visits", path, company_id, body=body)
            data = answer.data.get("records") if isinstance(answer.data, dict) else answer.data
            cards = read_cards(HistoryVisit, self._rows(path, company_id, data))
            fresh = [card for card in cards.good if card.id not in seen]
            seen.update(card.id for card in fresh)
            if fresh or cards.rejected:
                yield Cards(fresh, cards.rejected)
            cursor = answer.meta.get("dateCursor")
            following = cursor.get("next") if isinstance(cursor, dict) else None
            if not following:
                return
            if not isinstance(following, dict) or not {"from", "to"} <= following.keys():
                raise MalformedError(f"a cursor without dates: {following!r}", call=path, company_id=company_id)
            before, span = span, {"from": following["from"], "to": following["to"]}
            if span == before:
                raise MalformedError("a cursor that stands still", call=path, company_id=company_id)

    # ------------------------------------------------------------ free times

    async def book_dates(
        self,
        company_id: int,
        service_ids: Iterable[int],
        staff_id: int | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> BookDates:
        """Days on which all these services can start, with one person or anybody."""
        query = _services_query(service_ids)
        if staff_id is not None:
            query["staff_id"] = str(staff_id)
        if date_from is not None:
            query["date_from"] = date_from.isoformat()
        if date_to is not None:
            query["date_to"] = date_to.isoformat()
        return await self._one("book_dates", f"book_dates/{company_id}", company_id, BookDates, query)

    async def book_times(self, company_id: int, staff_id: int, day: date, service_ids: Iterable[int]) -> list[BookTime]:
        """Free starts of a local day for all these services, with one person or anybody (0)."""
        path = f"book_times/{company_id}/{staff_id}/{day.isoformat()}"
        times = await self._whole("book_times", path, company_id, BookTime, _services_query(service_ids))
        if any(not time.length_s for time in times):
            raise MalformedError("a slot without a length", call=path, company_id=company_id)
        return times

    async def book_staff(self, company_id: int, service_ids: Iterable[int]) -> list[BookableStaff]:
        """Who can be booked for all these services."""
        query = _services_query(service_ids) | {"without_seances": "1"}
        return await self._whole("book_staff", f"book_staff/{company_id}", company_id, BookableStaff, query)

    # ------------------------------------------------------------ bookings

    async def book_check(self, company_id: int, appointments: Sequence[Appointment]) -> None:
        """Whether these could be booked now; raises RefusedError with the CRM's code where not."""
        body = {"appointments": _wishes(appointments)}
        await self._transport.read("book_check", f"book_check/{company_id}", company_id, body=body)

    async def book_record(
        self,
        company_id: int,
        appointments: Sequence[Appointment],
        *,
        phone: str,
        fullname: str,
        api_id: str,
        email: str = "",
        comment: str = "",
    ) -> list[Booking]:
        """Book as a client would. It is sent once; after UnavailableError ask `find_by_api_id` before anything else."""
        path = f"book_record/{company_id}"
        body = {
            "phone": phone.removeprefix("+"),
            "fullname": fullname,
            "email": email,
            "comment": comment,
            "api_id": api_id,
            "appointments": _wishes(appointments),
        }
        answer = await self._transport.write("book_record", path, company_id, body)
        return self._sound(path, company_id, read_cards(Booking, self._rows(path, company_id, answer.data)))

    async def create_record(
        self,
        company_id: int,
        *,
        staff_id: int,
        service_ids: Sequence[int],
        phone: str,
        name: str,
        starts_at: datetime,
        seance_length_s: int,
        api_id: str,
        comment: str = "",
        save_if_busy: bool = False,
    ) -> RecordCard:
        """Write into the journal as the salon's desk would. It is sent once; after UnavailableError ask `find_by_api_id`."""
        path = f"records/{company_id}"
        body = {
            "staff_id": staff_id,
            "services": [{"id": service_id} for service_id in service_ids],
            "client": {"phone": phone.removeprefix("+"), "name": name},
            "datetime": starts_at.isoformat(),
            "seance_length": seance_length_s,
            "save_if_busy": save_if_busy,
            "send_sms": False,
            "comment": comment,
            "api_id": api_id,
        }
        answer = await self._transport.write("create_record", path, company_id, body)
        data = answer.data[0] if isinstance(answer.data, list) and len(answer.data) == 1 else answer.data
        return self._card(path, company_id, RecordCard, data)

    # ------------------------------------------------------------ webhooks

    async def hooks_settings(self, company_id: int) -> HooksSettings:
        """Where changes of this salon are posted to, and of what."""
        return await self._one("hooks_settings", f"hooks_settings/{company_id}", company_id, HooksSettings)

    async def set_hooks_settings(self, company_id: int, settings: HooksSettings) -> None:
        """Replace the whole set, addresses of other applications included: change what `hooks_settings` gave."""
        path = f"hooks_settings/{company_id}"
        await self._transport.write("hooks_settings", path, company_id, settings.model_dump(mode="json"))

    async def add_hook_url(
        self,
        company_id: int,
        url: str,
        resources: Sequence[str] = ("salon", "service_category", "service", "master", "client", "record"),
    ) -> HooksSettings:
        """Have changes of these resources posted to `url` as well, and return the settings as they are then.

        Nothing of other applications is taken away. Raises RefusedError when there is no room for another address.
        """
        found = await self.hooks_settings(company_id)
        urls = found.urls if url in found.urls else (*found.urls, url)
        if len(urls) > MOST_HOOKS:
            words = f"{MOST_HOOKS} addresses are set already: remove one in the CRM"
            raise RefusedError(words, call=f"hooks_settings/{company_id}", company_id=company_id)
        wanted = found.model_copy(update={"urls": urls, "active": True} | dict.fromkeys(resources, True))
        if wanted != found:
            await self.set_hooks_settings(company_id, wanted)
        return wanted

    # ------------------------------------------------------------ reading

    async def _one(
        self, name: str, path: str, company_id: int, model: type[CardT], query: dict[str, Any] | None = None
    ) -> CardT:
        answer = await self._transport.read(name, path, company_id, query)
        return self._card(path, company_id, model, answer.data)

    async def _all(
        self, name: str, path: str, company_id: int, model: type[CardT], query: dict[str, Any] | None = None
    ) -> Cards[CardT]:
        answer = await self._transport.read(name, path, company_id, query)
        return read_cards(model, self._rows(path, company_id, answer.data))

    async def _whole(
        self, name: str, path: str, company_id: int, model: type[CardT], query: dict[str, Any]
    ) -> list[CardT]:
        return self._sound(path, company_id, await self._all(name, path, company_id, model, query))

    def _listing(
        self, name: str, path: str, company_id: int | None, model: type[CardT], query: dict[str, str]
    ) -> AsyncIterator[Cards[CardT]]:
        async def ask(page: int) -> Answer:
            return await self._transport.read(name, path, company_id, {**query, "page": str(page), "count": str(PAGE)})

        return self._paged(path, company_id, model, ask)

    async def _paged(
        self, path: str, company_id: int | None, model: type[CardT], ask: Callable[[int], Awaitable[Answer]]
    ) -> AsyncIterator[Cards[CardT]]:
        """All pages, each id once. A short page is no end: an empty one is, or having seen as many rows as there are.

        A row that drops out while we read moves the rest forward, and one of them would be missed: when the total changes, a page comes
        twice or rows are wanting at the end, everything is read again.
        """
        given: set[str] = set()
        for _ in range(READINGS):
            seen: set[str] = set()
            before: list[str] = []
            page, total_at_first, complete = 1, None, False
            while True:
                answer = await ask(page)
                rows = self._rows(path, company_id, answer.data)
                keys = [_key(row) for row in rows]
                total = _total_count(answer)
                if page == 1:
                    total_at_first = total
                if total != total_at_first or (keys and keys == before):
                    complete = total is None and total_at_first is None  # it does not know pages and gives all at once
                    break
                fresh = [row for key, row in dict(zip(keys, rows, strict=True)).items() if key not in given]
                seen.update(keys)
                given.update(keys)
                if fresh:
                    yield read_cards(model, fresh)
                if not rows or (total is not None and len(seen) >= total):
                    complete = total is None or len(seen) >= total
                    break
                before = keys
                page += 1
            if complete:
                return
        raise UnavailableError("the listing changed while it was read", call=path, company_id=company_id)

    # ------------------------------------------------------------ shapes

    def _rows(self, path: str, company_id: int | None, data: Any) -> list[Any]:
        if not isinstance(data, list):
            raise MalformedError(f"expected a list, got {type(data).__name__}", call=path, company_id=company_id)
        return data

    def _card(self, path: str, company_id: int, model: type[CardT], data: Any) -> CardT:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise MalformedError(why(error), call=path, company_id=company_id) from None

    def _sound(self, path: str, company_id: int, cards: Cards[CardT]) -> list[CardT]:
        if cards.rejected:
            raise MalformedError(cards.rejected[0].reason, call=path, company_id=company_id)
        return cards.good

    def _total(self, path: str, company_id: int, answer: Answer) -> int:
        total = _total_count(answer)
        if total is None:
            raise MalformedError("an answer without total_count", call=path, company_id=company_id)
        return total


def _key(row: Any) -> str:
    """What makes a row one; without an id, which is not ours to reject here, it is all it says."""
    found = row.get("id") if isinstance(row, dict) else None
    return str(row if found is None else found)


def _total_count(answer: Answer) -> int | None:
    total = answer.meta.get("total_count")
    return int(str(total)) if str(total).isdecimal() else None


def _journal_query(
    changed_after: datetime | None, start_date: date | None, end_date: date | None, client_id: int | None
) -> dict[str, str]:
    query = {"with_deleted": "1", "include_consumables": "0"}
    if changed_after is not None:
        query["changed_after"] = changed_after.strftime(_MINUTE)
    if start_date is not None:
        query["start_date"] = start_date.isoformat()
    if end_date is not None:
        query["end_date"] = end_date.isoformat()
    if client_id is not None:
        query["client_id"] = str(client_id)
    return query


def _services_query(service_ids: Iterable[int]) -> dict[str, Any]:
    """The bracket form: any other is silently ignored, and the slots found are too short."""
    return {"service_ids[]": [str(service_id) for service_id in service_ids]}


def _search_body(
    page: int, size: int, filters: Sequence[dict[str, Any]], fields: Sequence[str], order_by: str
) -> dict[str, Any]:
    return {
        "page": page,
        "page_size": size,
        "fields": list(fields),
        "order_by": order_by,
        "order_by_direction": "ASC",
        "operation": "AND",
        "filters": list(filters),
    }


def _wishes(appointments: Sequence[Appointment]) -> list[dict[str, Any]]:
    return [wish.model_dump(mode="json", by_alias=True) for wish in appointments]
