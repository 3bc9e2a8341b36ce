"""What we rely on in the CRM, as promises that are asked of it: of the sandbox always, of any other one by its address.

    YCLIENTS_CONTRACT_URL=https://api.yclients.com/api/v1 YCLIENTS_CONTRACT_PARTNER_TOKEN=... YCLIENTS_CONTRACT_USER_TOKEN=... \\
    YCLIENTS_CONTRACT_COMPANY=4564 python -m pytest tests/contract

Only reading promises are asked of another one, in less than a hundred calls within the published limits. What fails there is a promise that
the sandbox keeps and the real service does not: correct the client and the sandbox.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

from reactivation_resources.rate_limit import PUBLISHED_LIMITS, RateLimiter
from reactivation_resources.yclients.client import MOST_HOOKS, YClients
from reactivation_resources.yclients.door import Crm
from reactivation_resources.yclients.errors import (
    AuthError,
    CrmError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
)
from reactivation_resources.yclients.models import Appointment, Cards, RecordCard, ServiceCard
from reactivation_sandbox.process import Town, running_town

T = TypeVar("T")
GIVEN = [os.environ.get(f"YCLIENTS_CONTRACT_{name}", "") for name in ("URL", "PARTNER_TOKEN", "USER_TOKEN", "COMPANY")]
LONG_AGO = timedelta(days=30)
NOBODY = 2**62  # an id that no card has


@dataclass(frozen=True)
class Service:
    """A CRM that is held to its promises, and a company of it. `now` is its own time."""

    url: str
    partner: str
    user: str
    company: int
    door: Crm
    now: datetime

    def ask(self, work: Callable[[YClients], Awaitable[T]]) -> T:
        return self.door.run(work)

    def page(self, work: Callable[[YClients], AsyncIterator[Cards[Any]]]) -> list[Any]:
        """The first page of a listing, nothing of it rejected."""

        async def first(client: YClients) -> list[Any]:
            async for cards in work(client):
                assert cards.rejected == []
                return cards.good
            return []

        return self.ask(first)

    def all(self, work: Callable[[YClients], AsyncIterator[Cards[Any]]]) -> list[Any]:
        async def every(client: YClients) -> list[Any]:
            return [card async for cards in work(client) for card in cards.good]

        return self.ask(every)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(seed=8, salons=2, clients=250, now="2026-11-03T06:00:00+00:00") as running:
        yield running


def sandbox(town: Town) -> Service:
    company = int(next(iter(town.sessions)))
    return opened(town.yclients_url, town.partner, town.user, company, RateLimiter("none", ()), town.clock())


def opened(url: str, partner: str, user: str, company: int, limiter: RateLimiter, now: datetime) -> Service:
    door = Crm(lambda: YClients(url, partner, user, limiter), base_url=url, configured=True)
    return Service(url, partner, user, company, door, now)


@pytest.fixture(scope="module", params=["sandbox", "given"] if all(GIVEN) else ["sandbox"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    if request.param == "sandbox":
        found = sandbox(request.getfixturevalue("town"))
    else:
        url, partner, user, company = GIVEN
        found = opened(url, partner, user, int(company), RateLimiter("contract", PUBLISHED_LIMITS), datetime.now(UTC))
    yield found
    found.door.close()


@pytest.fixture(scope="module")
def zone(service: Service) -> ZoneInfo:
    return ZoneInfo(service.ask(lambda client: client.company(service.company)).timezone_name or "")


@pytest.fixture(scope="module")
def services(service: Service) -> list[ServiceCard]:
    return service.ask(lambda client: client.services(service.company)).good


@pytest.fixture(scope="module")
def month(service: Service, zone: ZoneInfo) -> list[RecordCard]:
    """The journal of the last month."""
    today = service.now.astimezone(zone).date()
    return service.all(lambda client: client.records(service.company, start_date=today - LONG_AGO, end_date=today))


# ---------------------------------------------------------------- the salon


def test_a_company_has_a_zone_and_a_currency(service: Service) -> None:
    card = service.ask(lambda client: client.company(service.company))
    assert card.id == service.company
    assert card.country
    assert card.currency
    assert ZoneInfo(card.timezone_name or "")


def test_the_companies_of_a_token_have_ours_among_them_or_are_none(service: Service) -> None:
    found = service.ask(lambda client: client.companies())
    assert found.rejected == []
    assert not found.good or service.company in {card.id for card in found.good}


def test_all_staff_and_services_can_be_read_and_know_each_other(service: Service) -> None:
    staff = service.ask(lambda client: client.staff(service.company))
    services = service.ask(lambda client: client.services(service.company))
    categories = service.ask(lambda client: client.categories(service.company))
    assert staff.rejected == services.rejected == categories.rejected == []
    assert any(card.works for card in staff.good)
    workers = {card.id for card in staff.good}
    linked = {link.id for card in services.good for link in card.staff}
    assert linked & workers
    groups = {card.id for card in categories.good}
    assert {card.category_id for card in services.good} & groups
    lengths = [link.seance_length_s for card in services.good for link in card.staff]
    assert all(length is None or 60 <= length <= 24 * 3600 for length in lengths)  # seconds


def test_services_of_one_staff_member_are_those_of_theirs(service: Service, services: list[ServiceCard]) -> None:
    offered = next(card for card in services if card.staff)
    member = offered.staff[0].id
    theirs = service.ask(lambda client: client.services(service.company, staff_id=member)).good
    assert offered.id in {card.id for card in theirs}


# ---------------------------------------------------------------- clients


def test_client_cards_come_by_ascending_id_and_are_the_same_one_by_one(service: Service) -> None:
    cards = service.page(lambda client: client.clients(service.company))
    ids = [card.id for card in cards]
    assert ids
    assert ids == sorted(ids)
    assert service.ask(lambda client: client.client(service.company, ids[-1])) == cards[-1]


def test_changed_after_narrows_the_list_of_clients(service: Service, zone: ZoneInfo) -> None:
    tomorrow = (service.now + timedelta(days=1)).astimezone(zone).replace(tzinfo=None)
    assert service.page(lambda client: client.clients(service.company, tomorrow)) == []
    since = service.now - LONG_AGO
    cards = service.page(lambda client: client.clients(service.company, since.astimezone(zone).replace(tzinfo=None)))
    assert all(card.last_change_date is None or card.last_change_date >= since for card in cards)


def test_the_search_finds_what_was_asked_for_and_no_more(service: Service) -> None:
    cards = service.page(lambda client: client.clients(service.company))
    one = cards[0].id
    fields = ("id", "name", "last_visit_date", "visits_count", "sold_amount")
    ours = [{"type": "id", "state": {"value": [one]}}]
    [found] = service.page(lambda client: client.search_clients(service.company, filters=ours, fields=fields))
    assert (found.id, found.name) == (one, cards[0].name)
    assert found.visits_count is not None
    bare = service.page(lambda client: client.search_clients(service.company))
    ids = [card.id for card in bare]
    assert ids == sorted(ids)
    assert service.ask(lambda client: client.count_clients(service.company)) >= len(ids) > 0


def test_the_search_sorts_by_the_last_visit(service: Service) -> None:
    work = lambda client: client.search_clients(  # noqa: E731
        service.company, fields=("id", "last_visit_date"), order_by="last_visit_date"
    )
    days = [card.last_visit_date for card in service.page(work) if card.last_visit_date]
    assert days == sorted(days)


def test_a_filter_that_is_none_is_refused_and_not_ignored(service: Service) -> None:
    wrong = [{"type": "no_such_filter", "state": {"value": [1]}}]
    with pytest.raises(RefusedError) as error:
        service.page(lambda client: client.search_clients(service.company, filters=wrong))
    assert error.value.status in (400, 422)


# ---------------------------------------------------------------- the journal


def test_the_journal_of_some_days_has_rows_of_those_days_and_says_how_many(
    service: Service, zone: ZoneInfo, month: list[RecordCard]
) -> None:
    today = service.now.astimezone(zone).date()
    days = {card.starts_local.date() for card in month}
    assert days
    assert today - LONG_AGO <= min(days) <= max(days) <= today
    ids = {card.id for card in month}
    span = {"start_date": today - LONG_AGO, "end_date": today}
    count = service.ask(lambda client: client.count_records(service.company, **span))
    assert abs(count - len(ids)) <= 5  # somebody may book meanwhile


def test_a_row_of_the_journal_is_the_same_by_itself(service: Service, month: list[RecordCard]) -> None:
    row = next(card for card in month if card.client_id is not None and not card.deleted)
    assert service.ask(lambda client: client.record(service.company, row.id)) == row


def test_a_month_has_rows_that_are_deleted_rows_without_client_and_lines_with_a_price(
    service: Service, month: list[RecordCard]
) -> None:
    if service.url != GIVEN[0]:
        assert any(card.deleted for card in month)
        assert any(card.client_id is None for card in month)
    assert any(line.price > 0 for card in month for line in card.lines)
    assert any(card.attendance == 1 for card in month)


def test_the_journal_of_one_client_is_theirs(service: Service, month: list[RecordCard]) -> None:
    visitor = next(card.client_id for card in month if card.client_id is not None)
    rows = service.page(lambda client: client.records(service.company, client_id=visitor))
    assert {card.client_id for card in rows} == {visitor}


def test_changed_after_narrows_the_journal(service: Service, zone: ZoneInfo) -> None:
    since = service.now - timedelta(days=3)
    rows = service.page(
        lambda client: client.records(service.company, changed_after=since.astimezone(zone).replace(tzinfo=None))
    )
    assert all(card.last_change_date is None or card.last_change_date >= since for card in rows)
    tomorrow = (service.now + timedelta(days=1)).astimezone(zone).replace(tzinfo=None)
    assert service.page(lambda client: client.records(service.company, changed_after=tomorrow)) == []


def test_a_visit_of_the_journal_is_in_the_clients_history(
    service: Service, zone: ZoneInfo, month: list[RecordCard]
) -> None:
    came = next(card for card in month if card.attendance == 1 and card.client_id is not None and not card.deleted)
    today = service.now.astimezone(zone).date()
    visits = service.all(
        lambda client: client.visit_history(
            service.company, client_id=came.client_id, start=today - LONG_AGO, end=today
        )
    )
    [visit] = [visit for visit in visits if visit.id == came.id]
    assert (visit.starts_local, visit.attendance) == (came.starts_local, 1)
    assert {line.service_id for line in visit.lines} == {line.service_id for line in came.lines}


# ---------------------------------------------------------------- free times


@pytest.fixture(scope="module")
def bookable(service: Service, services: list[ServiceCard]) -> Appointment:
    """Something that can be booked."""

    async def work(client: YClients) -> Appointment:
        for card in services:
            if not card.active or not card.staff:
                continue
            dates = (await client.book_dates(service.company, [card.id])).booking_dates
            for day in dates[:3]:
                for link in card.staff[:3]:
                    times = await client.book_times(service.company, link.id, day, [card.id])
                    if times:
                        starts_at = datetime.combine(day, times[0].time)
                        return Appointment(services=[card.id], staff_id=link.id, starts_at=starts_at)
        pytest.skip("nothing can be booked in this company")

    return service.ask(work)


def test_a_day_that_can_be_booked_has_starts_in_order_and_long_enough(
    service: Service, services: list[ServiceCard], bookable: Appointment
) -> None:
    day, [service_id] = bookable.starts_at.date(), bookable.services
    days = service.ask(lambda client: client.book_dates(service.company, [service_id]))
    assert day in days.booking_dates
    assert service.now.date() - timedelta(days=1) <= min(days.booking_dates)
    times = service.ask(lambda client: client.book_times(service.company, bookable.staff_id, day, [service_id]))
    starts = [free.time for free in times]
    assert starts == sorted(set(starts))
    card = next(card for card in services if card.id == service_id)
    needed = next(link.seance_length_s for link in card.staff if link.id == bookable.staff_id)
    assert all(free.length_s >= (needed or 0) for free in times)
    anybody = service.ask(lambda client: client.book_times(service.company, 0, day, [service_id]))
    assert set(starts) <= {free.time for free in anybody}


def test_days_are_those_asked_for(service: Service, bookable: Appointment) -> None:
    day = bookable.starts_at.date()
    days = service.ask(
        lambda client: client.book_dates(service.company, bookable.services, bookable.staff_id, day, day)
    )
    assert days.booking_dates == [day]


def test_who_can_be_booked_does_the_service(service: Service, bookable: Appointment) -> None:
    staff = service.ask(lambda client: client.book_staff(service.company, bookable.services))
    assert bookable.staff_id in {member.id for member in staff if member.bookable}


def test_who_does_not_do_a_service_has_no_time_for_it(service: Service, services: list[ServiceCard]) -> None:
    everybody = {link.id for card in services for link in card.staff}
    card = next((card for card in services if card.staff and everybody - {link.id for link in card.staff}), None)
    if card is None:
        pytest.skip("everybody does everything in this company")
    other = min(everybody - {link.id for link in card.staff})
    day = service.now.date() + timedelta(days=2)
    try:
        times = service.ask(lambda client: client.book_times(service.company, other, day, [card.id]))
    except RefusedError:
        return
    assert times == []


# ---------------------------------------------------------------- refusals


def test_what_does_not_exist_is_not_found(service: Service) -> None:
    for work in (
        lambda client: client.client(service.company, NOBODY),
        lambda client: client.record(service.company, NOBODY),
    ):
        with pytest.raises((NotFoundError, ForbiddenError)):
            service.ask(work)
    with pytest.raises(CrmError) as error:
        service.ask(lambda client: client.staff(NOBODY))
    assert error.value.permanent


def test_a_wrong_user_token_is_told_by_its_status(service: Service) -> None:
    limiter = RateLimiter("contract", PUBLISHED_LIMITS)

    async def work() -> None:
        async with YClients(service.url, service.partner, "0" * 32, limiter) as client:
            await client.staff(service.company)

    with pytest.raises((AuthError, ForbiddenError)):
        asyncio.run(work())


def test_addresses_of_webhooks_can_be_read(service: Service) -> None:
    try:
        settings = service.ask(lambda client: client.hooks_settings(service.company))
    except (NotFoundError, ForbiddenError) as error:
        pytest.skip(f"webhooks are set elsewhere: {error}")
    assert len(settings.urls) <= MOST_HOOKS


# ---------------------------------------------------------------- writing: of the sandbox only


@pytest.fixture
def own(town: Town) -> Iterator[Service]:
    found = sandbox(town)
    yield found
    found.door.close()


@pytest.fixture
def wish(own: Service) -> Appointment:
    async def work(client: YClients) -> Appointment:
        card = next(card for card in (await client.services(own.company)).good if card.staff)
        day = (await client.book_dates(own.company, [card.id], card.staff[0].id)).booking_dates[5]
        times = await client.book_times(own.company, card.staff[0].id, day, [card.id])
        starts_at = datetime.combine(day, times[-1].time)
        return Appointment(services=[card.id], staff_id=card.staff[0].id, starts_at=starts_at)

    return own.ask(work)


def test_a_booking_takes_its_slot_and_carries_our_id(own: Service, wish: Appointment) -> None:
    day = wish.starts_at.date()
    own.ask(lambda client: client.book_check(own.company, [wish]))
    [booking] = own.ask(
        lambda client: client.book_record(
            own.company, [wish], phone="+79000008888", fullname="Новая", api_id="contract-1"
        )
    )
    [found] = own.ask(lambda client: client.find_by_api_id(own.company, "contract-1", day))
    assert (found.id, found.starts_local) == (booking.record_id, wish.starts_at)
    times = own.ask(lambda client: client.book_times(own.company, wish.staff_id, day, wish.services))
    assert wish.starts_at.time() not in {free.time for free in times}
    with pytest.raises(RefusedError) as error:
        own.ask(lambda client: client.book_check(own.company, [wish]))
    assert error.value.code == 433


@pytest.mark.parametrize(
    ("change", "code"),
    [({"phone": "+7900"}, 431), ({"fullname": ""}, 435), ({"services": [NOBODY]}, 438)],
)
def test_a_booking_that_cannot_be_made_says_why(
    own: Service, wish: Appointment, change: dict[str, Any], code: int
) -> None:
    asked = wish.model_copy(update={"services": change.get("services", wish.services)})
    person = {"phone": "+79000008888", "fullname": "Новая"} | {k: v for k, v in change.items() if k != "services"}
    with pytest.raises(RefusedError) as error:
        own.ask(lambda client: client.book_record(own.company, [asked], api_id="contract-2", **person))
    assert error.value.code == code
