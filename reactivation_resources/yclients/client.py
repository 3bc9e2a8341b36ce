"""The calls of the CRM: salons, clients, the journal, webhooks; free times and bookings are in booking.py.

What to add here: a call somebody makes. What to keep out: how a request travels (transport.py), what a card looks like (models.py), where rows
go. Times in questions are the salon's wall clock, as the CRM wants them.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from reactivation_resources.yclients.booking import BookingCalls
from reactivation_resources.yclients.caller import PAGE, paged, rows_of, total_of
from reactivation_resources.yclients.errors import MalformedError, RefusedError
from reactivation_resources.yclients.journal import by_days
from reactivation_resources.yclients.models import (
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
)
from reactivation_resources.yclients.transport import Answer, Call

MOST_HOOKS = 10
HOOKED = ("salon", "service_category", "service", "master", "client", "record")


class YClients(BookingCalls):
    """The CRM; see `Caller` for what it is made of.

    Every call raises a CrmError (errors.py): a permanent one at once, a passing one of a call that only reads after a few more tries.
    """

    # ------------------------------------------------------------ the salon

    async def company(self, company_id: int) -> CompanyCard:
        """A salon's card."""
        return await self._one(Call("company", f"company/{company_id}/", company_id), CompanyCard)

    async def companies(self) -> Cards[CompanyCard]:
        """All salons of the user's token; none for some tokens of applications."""
        found: Cards[CompanyCard] = Cards([], [])
        async for cards in self._listing(Call("companies", "companies", None), CompanyCard, {"my": "1"}):
            found.good.extend(cards.good)
            found.rejected.extend(cards.rejected)
        return found

    async def staff(self, company_id: int) -> Cards[StaffCard]:
        """All staff, also those who left."""
        return await self._all(Call("staff", f"company/{company_id}/staff/", company_id), StaffCard)

    async def services(self, company_id: int, staff_id: int | None = None) -> Cards[ServiceCard]:
        """All services, or those of one staff member with that member's prices."""
        query = {} if staff_id is None else {"staff_id": str(staff_id)}
        return await self._all(Call("services", f"company/{company_id}/services/", company_id), ServiceCard, query)

    async def categories(self, company_id: int) -> Cards[CategoryCard]:
        """All groups of services."""
        call = Call("service_categories", f"company/{company_id}/service_categories/", company_id)
        return await self._all(call, CategoryCard)

    # ------------------------------------------------------------ clients and the journal

    async def client(self, company_id: int, client_id: int) -> ClientCard:
        """One client's card."""
        return await self._one(Call("client", f"client/{company_id}/{client_id}", company_id), ClientCard)

    async def record(self, company_id: int, record_id: int) -> RecordCard:
        """One row of the journal."""
        return await self._one(Call("record", f"record/{company_id}/{record_id}", company_id), RecordCard)

    def clients(self, company_id: int, changed_after: datetime | None = None) -> AsyncIterator[Cards[ClientCard]]:
        """Client cards changed since a wall time of the salon, all of them when None, page by page, each id once."""
        query = {} if changed_after is None else {"changed_after": _wall_time(changed_after)}
        return self._listing(Call("clients", f"clients/{company_id}", company_id), ClientCard, query)

    def records(
        self,
        company_id: int,
        *,
        changed_after: datetime | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        client_id: int | None = None,
    ) -> AsyncIterator[Cards[RecordCard]]:
        """Rows of the journal, deleted ones too, page by page. A row that moves meanwhile may come twice: the later one counts.

        Changed since a wall time of the salon, starting within local days (both included), of one client: what is None does not narrow.
        """
        call = Call("records", f"records/{company_id}", company_id)
        if start_date is None:
            return self._listing(call, RecordCard, _journal(changed_after, None, end_date, client_id))

        async def ask(first: date, last: date | None, page: int) -> Answer:
            query = _journal(changed_after, first, last, client_id)
            return await self._transport.read(call, {**query, "page": str(page), "count": str(PAGE)})

        return by_days(call, RecordCard, ask, start_date, end_date)

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
        query = _journal(changed_after, start_date, end_date, client_id) | {"page": "1", "count": "1"}
        call = Call("records", f"records/{company_id}", company_id)
        return _total(call, await self._transport.read(call, query))

    async def find_by_api_id(self, company_id: int, api_id: str, around: date) -> list[RecordCard]:
        """The rows we created under an id of ours for about that day: what became of a booking whose answer was lost."""
        day = timedelta(days=1)
        near: dict[int, RecordCard] = {}
        async for cards in self.records(company_id, start_date=around - day, end_date=around + day):
            near.update((card.id, card) for card in cards.good)
        return [card for card in near.values() if card.api_id == api_id and not card.deleted]

    def search_clients(
        self,
        company_id: int,
        *,
        filters: Sequence[dict[str, Any]] = (),
        fields: Sequence[str] = ("id",),
        order_by: str = "id",
    ) -> AsyncIterator[Cards[FoundClient]]:
        """Clients that pass all filters (`{"type": ..., "state": ...}`), with the fields asked for, in ascending order, page by page."""
        call = _search(company_id)

        async def ask(page: int) -> Answer:
            return await self._transport.read(call, body=_wanted(page, PAGE, filters, fields, order_by))

        return paged(call, FoundClient, ask)

    async def count_clients(self, company_id: int) -> int:
        """How many clients the salon has."""
        call = _search(company_id)
        return _total(call, await self._transport.read(call, body=_wanted(1, 1, (), ("id",), "id")))

    async def visit_history(
        self,
        company_id: int,
        *,
        client_id: int | None = None,
        client_phone: str | None = None,
        start: date | None = None,
        end: date | None = None,
    ) -> AsyncIterator[Cards[HistoryVisit]]:
        """Visits of one client, by id or phone, within local days, newest first, page by page, each id once."""
        call = Call("visits", f"company/{company_id}/clients/visits/search", company_id)
        body: dict[str, Any] = {
            "client_id": client_id,
            "client_phone": client_phone,
            "from": start and start.isoformat(),
            "to": end and end.isoformat(),
            "payment_statuses": [],
            "attendance": None,
        }
        seen: set[int] = set()
        while True:
            answer = await self._transport.read(call, body=body)
            data = answer.data.get("records") if isinstance(answer.data, dict) else answer.data
            cards = read_cards(HistoryVisit, rows_of(call, data))
            fresh = [card for card in cards.good if card.id not in seen]
            seen.update(card.id for card in fresh)
            if fresh or cards.rejected:
                yield Cards(fresh, cards.rejected)
            cursor = answer.meta.get("dateCursor")
            following = cursor.get("next") if isinstance(cursor, dict) else None
            if not following:
                return
            if not isinstance(following, dict) or not {"from", "to"} <= following.keys():
                raise call.error(MalformedError, "a cursor without dates")
            if (following["from"], following["to"]) == (body["from"], body["to"]):
                raise call.error(MalformedError, "a cursor that stands still")
            body |= {"from": following["from"], "to": following["to"]}

    # ------------------------------------------------------------ webhooks

    async def hooks_settings(self, company_id: int) -> HooksSettings:
        """Where changes of this salon are posted to, and of what."""
        return await self._one(_hooks(company_id), HooksSettings)

    async def set_hooks_settings(self, company_id: int, settings: HooksSettings) -> None:
        """Replace the whole set, addresses of other applications included: change what `hooks_settings` gave."""
        await self._transport.write(_hooks(company_id), settings.model_dump(mode="json"))

    async def add_hook_url(self, company_id: int, url: str, resources: Sequence[str] = HOOKED) -> HooksSettings:
        """Have changes of these resources posted to `url` as well, and return the settings as they are then.

        Nothing of other applications is taken away. Raises RefusedError when there is no room for another address.
        """
        found = await self.hooks_settings(company_id)
        urls = found.urls if url in found.urls else (*found.urls, url)
        if len(urls) > MOST_HOOKS:
            words = f"{MOST_HOOKS} addresses are set already: remove one in the CRM"
            raise _hooks(company_id).error(RefusedError, words)
        wanted = found.model_copy(update={"urls": urls, "active": True} | dict.fromkeys(resources, True))
        if wanted != found:
            await self.set_hooks_settings(company_id, wanted)
        return wanted


def _search(company_id: int) -> Call:
    return Call("search", f"company/{company_id}/clients/search", company_id)


def _hooks(company_id: int) -> Call:
    return Call("hooks_settings", f"hooks_settings/{company_id}", company_id)


def _total(call: Call, answer: Answer) -> int:
    total = total_of(answer)
    if total is None:
        raise call.error(MalformedError, "an answer without total_count")
    return total


def _wall_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def _journal(
    changed_after: datetime | None, start_date: date | None, end_date: date | None, client_id: int | None
) -> dict[str, str]:
    query = {"with_deleted": "1", "include_consumables": "0"}
    if changed_after is not None:
        query["changed_after"] = _wall_time(changed_after)
    if start_date is not None:
        query["start_date"] = start_date.isoformat()
    if end_date is not None:
        query["end_date"] = end_date.isoformat()
    if client_id is not None:
        query["client_id"] = str(client_id)
    return query


def _wanted(
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
