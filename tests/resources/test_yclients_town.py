"""The client and the town's CRM: every form in which the CRM is known to write something is read as the same cards, every fault survived."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import (
    AuthError,
    CrmError,
    ListingChangedError,
    MalformedError,
    RateLimitedError,
    UnavailableError,
)
from reactivation_sandbox.process import Town, running_town
from tests.resources.crm_town import Asking

DAY = date(2026, 11, 4)


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=1, clients=60, now="2026-11-01T06:00:00+00:00") as town:
        yield town


@pytest.fixture
def town(running: Town) -> Iterator[Town]:
    before = running.variants()
    yield running
    running.heal()
    running.variants(**before)


@pytest.fixture
def asking(town: Town) -> Asking:
    return Asking(town)


async def every(pages: AsyncIterator[Any]) -> list[Any]:
    """All cards of a listing, by id; a card that cannot be read is an error."""
    cards = {}
    async for page in pages:
        assert page.rejected == []
        cards.update((card.id, card) for card in page.good)
    return [cards[number] for number in sorted(cards)]


def whole(company: int) -> Callable[[YClients], Awaitable[dict[str, Any]]]:
    """Everything that is read of a salon."""

    async def read(client: YClients) -> dict[str, Any]:
        services = await client.services(company)
        service = next(card for card in services.good if card.staff)
        clients = await every(client.clients(company))
        fields = ("id", "phone", "first_visit_date", "last_visit_date", "visits_count", "sold_amount")
        visitor = max(clients, key=lambda card: card.visits)
        return {
            "company": await client.company(company),
            "staff": await client.staff(company),
            "services": services,
            "categories": await client.categories(company),
            "clients": clients,
            "records": await every(client.records(company)),
            "days": await every(client.records(company, start_date=DAY - timedelta(days=60), end_date=DAY)),
            "found": await every(client.search_clients(company, fields=fields)),
            "visits": await every(client.visit_history(company, client_id=visitor.id)),
            "dates": await client.book_dates(company, [service.id]),
            "times": [(free.time, free.length_s) for free in await client.book_times(company, 0, DAY, [service.id])],
            "hooks": await client.hooks_settings(company),
        }

    return read


@pytest.fixture(scope="module")
def expected(running: Town) -> dict[str, Any]:
    asking = Asking(running)
    return asking.ask(whole(asking.company))


def test_there_is_something_to_be_read(expected: dict[str, Any]) -> None:
    assert [part for part in expected if not expected[part]] == []
    assert expected["staff"].good
    assert len(expected["records"]) > 200
    assert {record.client_id is None for record in expected["records"]} == {True, False}
    assert {record.deleted for record in expected["records"]} == {True, False}
    assert len(expected["visits"]) > 1


SAME = [
    ("envelope", "always"),
    ("envelope", "never"),
    ("meta", "object"),
    ("meta", "list"),
    ("total_count", "text"),
    ("total_count", "missing"),
    ("page_size", "fallback"),
    ("page_size", "short"),
    ("order", "changed_desc"),
    ("order", "changed_asc"),
    ("custom_fields", "list"),
    ("custom_fields", "object"),
    ("custom_fields", "filled"),
    ("client_null", "missing"),
    ("client_null", "list"),
    ("visit_id", "int"),
    ("visit_id", "text"),
    ("label_id", "int"),
    ("label_id", "text"),
    ("price", "number"),
    ("price", "text"),
    ("booking_days", "int"),
    ("booking_days", "text"),
    ("book_times", "seance_only"),
    ("book_times", "unix"),
    ("last_visit_date", "date"),
    ("last_visit_date", "datetime"),
    ("datetime_offset", "right"),
    ("flags", "int"),
    ("flags", "text"),
]


@pytest.mark.parametrize(("name", "value"), SAME)
def test_every_form_is_read_as_the_same_cards(
    town: Town, asking: Asking, expected: dict[str, Any], name: str, value: str
) -> None:
    town.variants(**{name: value})
    found = asking.ask(whole(asking.company))
    if name == "last_visit_date":  # by itself some of the dates are nothing
        found, expected = ({**parts, "found": [card.id for card in parts["found"]]} for parts in (found, expected))
    for part, cards in expected.items():
        assert found[part] == cards, part


@pytest.mark.parametrize(
    ("name", "value", "differs"),
    [
        ("position", "list", {"staff"}),
        ("position", "object", {"staff"}),
        ("position", "missing", {"staff"}),
        ("booking_days", "empty", {"dates"}),
        ("phones", "masked", {"clients", "found"}),
        ("phones", "empty", {"clients", "found"}),
        ("last_visit_date", "null", {"found"}),
        ("last_visit_date", "empty", {"found"}),
        ("composite", "apart", {"records", "days", "visits"}),
        ("activity", "by_id", {"records", "days"}),
    ],
)
def test_what_is_not_there_is_nothing_and_no_error(
    town: Town, asking: Asking, expected: dict[str, Any], name: str, value: str, differs: set[str]
) -> None:
    town.variants(**{name: value})
    found = asking.ask(whole(asking.company))
    assert {part for part, cards in expected.items() if found[part] != cards} <= differs
    if name == "phones":
        assert {card.phone is None or "*" in card.phone for card in found["clients"]} == {True}
    if name == "last_visit_date":
        assert {card.last_visit_date for card in found["found"]} == {None}
    if name == "activity":
        assert any(card.activity_id for card in found["records"])


@pytest.mark.parametrize("value", ["nul", "surrogate"])
def test_names_that_no_table_takes_are_mended(town: Town, asking: Asking, expected: dict[str, Any], value: str) -> None:
    town.variants(names=value)
    found = asking.ask(whole(asking.company))
    names = [card.name for card in found["clients"]]
    assert [card.id for card in found["clients"]] == [card.id for card in expected["clients"]]
    assert not any("\x00" in name for name in names)
    "".join(names).encode()


def test_numbers_that_no_table_takes_reject_their_cards_and_no_other(town: Town, asking: Asking) -> None:
    town.variants(numbers="absurd")

    async def work(client: YClients) -> tuple[int, list[str]]:
        good, reasons = 0, []
        async for page in client.records(asking.company):
            good += len(page.good)
            reasons += [rejected.reason for rejected in page.rejected]
        return good, reasons

    good, reasons = asking.ask(work)
    assert good > 5 * len(reasons) > 0
    assert all("=" in reason and ": " in reason for reason in reasons)


@pytest.mark.parametrize("value", ["no_length", "no_time"])
def test_slots_without_time_or_length_are_an_error(
    town: Town, asking: Asking, expected: dict[str, Any], value: str
) -> None:
    town.variants(book_times=value)
    service = next(card for card in expected["services"].good if card.staff)
    with pytest.raises(MalformedError):
        asking.ask(lambda client: client.book_times(asking.company, 0, DAY, [service.id]))


def test_a_partner_id_is_sent_where_it_is_needed(town: Town, asking: Asking) -> None:
    town.variants(partner_id="required")
    with pytest.raises(CrmError) as error:
        asking.ask(lambda client: client.staff(asking.company))
    assert error.value.permanent
    assert asking.ask(lambda client: client.staff(asking.company), partner_id="4711").good


def test_a_wrong_token_is_not_asked_with_again(town: Town, asking: Asking) -> None:
    wrong = Asking(replace(town, user="wrong"))
    with pytest.raises(AuthError):
        wrong.ask(lambda client: client.staff(asking.company))
    assert wrong.waits == []


FAULTS: list[tuple[dict[str, Any], type[CrmError]]] = [
    ({"status": 429}, RateLimitedError),
    ({"status": 429, "retry_after": 3}, RateLimitedError),
    ({"kind": "success_false"}, RateLimitedError),
    ({"kind": "html", "status": 403}, UnavailableError),
    ({"status": 500}, UnavailableError),
    ({"status": 503, "retry_after": 3}, UnavailableError),
    ({"kind": "cut_before"}, UnavailableError),
    ({"kind": "cut_middle"}, UnavailableError),
    ({"kind": "lose_response"}, UnavailableError),
]


@pytest.mark.parametrize(("fault", "kind"), FAULTS)
def test_faults_that_pass_are_survived_and_faults_that_stay_are_told(
    town: Town, asking: Asking, fault: dict[str, Any], kind: type[CrmError]
) -> None:
    town.fail("/api/v1/clients", count=3, **fault)
    clients = asking.ask(lambda client: every(client.clients(asking.company)))
    assert len(clients) >= 60
    assert asking.waits == ([3.0] * 3 if "retry_after" in fault else [0.5, 1.0, 2.0])
    town.fail("/api/v1/clients", count=4, **fault)
    with pytest.raises(kind) as error:
        asking.ask(lambda client: every(client.clients(asking.company)))
    assert type(error.value) is kind
    assert error.value.company_id == asking.company


def test_a_cut_list_is_read_again_and_never_believed(town: Town, asking: Asking, expected: dict[str, Any]) -> None:
    """The answer lacks its last rows and promises all of them."""
    town.fail("/api/v1/clients", kind="shrink", rows=7, count=1)
    clients = asking.ask(lambda client: every(client.clients(asking.company)))
    assert clients == expected["clients"]
    town.fail("/api/v1/clients", kind="shrink", rows=7, count=9)
    with pytest.raises(ListingChangedError):
        asking.ask(lambda client: every(client.clients(asking.company)))


def test_many_faults_at_random_change_nothing_of_what_is_read(
    town: Town, asking: Asking, expected: dict[str, Any]
) -> None:
    town.variants(page_size="fallback")
    town.fail("/api/v1", kind="random", share=0.15, seed=11, count=10**6, seconds=0.0)
    assert asking.ask(lambda client: every(client.clients(asking.company))) == expected["clients"]
    assert asking.ask(lambda client: every(client.records(asking.company))) == expected["records"]
    assert asking.waits
