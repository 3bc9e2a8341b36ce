"""Listings: every row once, none missed, and an error where that cannot be promised."""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_resources.yclients.caller import READINGS
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import ListingChangedError, MalformedError, UnavailableError
from reactivation_resources.yclients.models import Cards, ClientCard
from tests.resources.crm_server import Answer, CrmServer, Request, good, running_crm


@pytest.fixture(scope="module")
def running() -> Iterator[CrmServer]:
    with running_crm() as crm:
        yield crm


@pytest.fixture
def crm(running: CrmServer) -> CrmServer:
    running.forget()
    return running


def clients(client: YClients) -> Any:
    return client.clients(7)


def ids(pages: list[Cards[ClientCard]]) -> list[int]:
    return [card.id for page in pages for card in page.good]


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"Клиент {number}"} for number in numbers]


def page_of(request: Request) -> int:
    return int(request.query["page"][0] if request.query else request.body["page"])


def paged(
    found: list[Any], size: int, total: int | str | None = None, change: Callable[[int], None] = lambda _: None
) -> Callable[[Request], Answer]:
    """A CRM that serves `size` rows a page, whatever was asked for. After each page `change` may change the rows."""

    def answer(request: Request) -> Answer:
        page = page_of(request)
        count = len(found) if total == "all" else total
        meta = {} if count is None else {"page": page, "total_count": count}
        reply = good(found[(page - 1) * size : page * size], meta)
        change(page)
        return reply

    return answer


@pytest.mark.parametrize("total", [None, 60, "60"])
def test_a_short_page_is_no_end(crm: CrmServer, total: int | str | None) -> None:
    """More rows a page were asked for than the CRM gives: it falls back to 25."""
    crm.answer = paged(rows(*range(1, 61)), 25, total)
    assert ids(crm.read(clients)) == list(range(1, 61))
    assert len(crm.requests) == (4 if total is None else 3)
    assert [request.query["count"] for request in crm.requests[:1]] == [["200"]]


def test_an_empty_book_is_one_question(crm: CrmServer) -> None:
    crm.answer = paged([], 25, 0)
    assert crm.read(clients) == []
    assert len(crm.requests) == 1


def test_pages_that_shift_while_they_are_read_give_each_row_once(crm: CrmServer) -> None:
    """Newest first, and somebody books twice while we read."""
    found = rows(*range(9, 0, -1))
    news = rows(101, 102)
    crm.answer = paged(found, 4, "all", lambda _: found.insert(0, news.pop()) if news else None)
    read = ids(crm.read(clients))
    assert len(read) == len(set(read))
    assert set(read) == {*range(1, 10), 101, 102}


def test_a_row_that_drops_out_between_two_pages_makes_no_other_row_be_missed(crm: CrmServer) -> None:
    """The fifth row moves into the first page after that has been read."""
    found = rows(*range(1, 10))
    gone = [0]
    crm.answer = paged(found, 4, "all", lambda _: found.pop(gone.pop()) if gone else None)
    assert sorted(ids(crm.read(clients))) == list(range(1, 10))
    assert [page_of(request) for request in crm.requests] == [1, 2, 1, 2]


def test_a_row_that_drops_out_on_the_last_page_is_noticed_too(crm: CrmServer) -> None:
    """The total is as it was, and there are fewer rows: one of them came twice."""
    answers = [good(rows(1, 2), {"total_count": 4}), good(rows(2, 3), {"total_count": 4}), good([], {"total_count": 4})]
    whole = [good(rows(1, 2), {"total_count": 4}), good(rows(3, 4), {"total_count": 4})]
    crm.always(*answers, *whole)
    assert ids(crm.read(clients)) == [1, 2, 3, 4]
    assert len(crm.requests) == 5


def test_a_listing_that_is_restless_three_times_is_an_error(crm: CrmServer) -> None:
    found = rows(*range(1, 40))
    crm.answer = paged(found, 4, "all", lambda _: found.pop())
    with pytest.raises(ListingChangedError, match="changed while it was read") as error:
        crm.read(clients)
    assert isinstance(error.value, UnavailableError)
    assert (error.value.company_id, error.value.permanent) == (7, False)
    assert [page_of(request) for request in crm.requests] == [1, 2] * READINGS


def test_a_page_that_only_repeats_is_an_error_and_no_endless_reading(crm: CrmServer) -> None:
    crm.answer = lambda _: good(rows(1, 2), {"total_count": 1000})
    with pytest.raises(ListingChangedError):
        crm.read(clients)
    assert len(crm.requests) == 2 * READINGS


@pytest.mark.parametrize("served", [[], rows(1, 2)])
def test_rows_that_are_promised_and_never_come_are_an_error(crm: CrmServer, served: list[Any]) -> None:
    crm.answer = paged(served, 25, 3)
    with pytest.raises(ListingChangedError):
        crm.read(clients)


def test_who_knows_no_pages_and_gives_all_at_once_is_believed(crm: CrmServer) -> None:
    crm.answer = lambda _: (200, rows(1, 2))
    assert ids(crm.read(clients)) == [1, 2]
    assert len(crm.requests) == 2


def test_a_total_that_is_no_number_stops_nothing(crm: CrmServer) -> None:
    crm.answer = paged(rows(1), 10, "many")
    assert ids(crm.read(clients)) == [1]


def test_rows_without_an_id_are_passed_on_to_be_rejected_and_spoil_no_page(crm: CrmServer) -> None:
    bad: list[Any] = [{"name": "A"}, {"name": "B"}, {"id": None}, {"id": [1]}, "text", None]
    crm.answer = paged([*bad, {"id": 3}], 10, 7)
    [page] = crm.read(clients)
    assert [card.id for card in page.good] == [3]
    assert [rejected.card for rejected in page.rejected] == bad
    assert [rejected.reason.split(":")[0] for rejected in page.rejected[:4]] == [
        "id=None",
        "id=None",
        "id=None",
        "id=[1]",
    ]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["drop", "add", "none"]), st.integers(0, 30)), max_size=6),
    st.integers(1, 7),
    st.integers(0, 24),
)
def test_whatever_one_kind_of_change_happens_nothing_that_stays_is_missed(
    running: CrmServer, changes: list[tuple[str, int]], size: int, many: int
) -> None:
    """Rows drop out, or rows come in, at any place and between any pages: all that was there throughout is read, or it is an error."""
    running.forget()
    found = rows(*range(1, many + 1))
    left = [change for change in changes if change[0] in (changes[0][0], "none")]

    def change(_: int) -> None:
        if left:
            kind, place = left.pop()
            if kind == "drop" and found:
                found.pop(place % len(found))
            elif kind == "add":
                found.insert(place % (len(found) + 1), rows(1000 + len(left))[0])

    running.answer = paged(found, size, "all", change)
    try:
        read = ids(running.read(clients))
    except ListingChangedError:
        return
    assert len(read) == len(set(read))
    assert {row["id"] for row in found if row["id"] < 1000} <= set(read)


def test_changes_are_asked_for_with_deleted_rows(crm: CrmServer) -> None:
    crm.always(good([], {"total_count": 0}))
    since, day = datetime.fromisoformat("2026-11-22T10:00:00"), date(2026, 11, 26)
    crm.read(lambda client: client.records(7, changed_after=since))
    crm.read(lambda client: client.records(7, start_date=day, end_date=day, client_id=5))
    first, second = (request.query for request in crm.requests)
    assert first["with_deleted"] == second["with_deleted"] == ["1"]
    assert first["changed_after"] == ["2026-11-22T10:00:00"]
    assert "start_date" not in first
    assert second["start_date"] == second["end_date"] == ["2026-11-26"]
    assert second["client_id"] == ["5"]
    assert "changed_after" not in second


def test_companies_are_read_to_the_last_page(crm: CrmServer) -> None:
    """Their meta counts the rows of the page and not all of them."""
    salons = [{"id": number, "title": f"Салон {number}"} for number in range(1, 8)]
    crm.answer = lambda request: good(salons[(page_of(request) - 1) * 3 : page_of(request) * 3], {"count": 3})
    assert [card.id for card in crm.ask(lambda client: client.companies()).good] == list(range(1, 8))


def test_the_search_is_paged_by_its_body_and_asked_again_after_a_fault(crm: CrmServer) -> None:
    filters = [{"type": "gender", "state": {"value": [2]}}]
    serve = paged([{"id": number} for number in range(1, 31)], 25, 30)
    faults: list[Answer] = [(503, {})]
    crm.answer = lambda request: faults.pop() if faults else serve(request)
    pages = crm.read(
        lambda client: client.search_clients(7, filters=filters, fields=("id", "last_visit_date"), order_by="name")
    )
    assert [card.id for page in pages for card in page.good] == list(range(1, 31))
    assert [request.body["page"] for request in crm.requests] == [1, 1, 2]
    assert crm.requests[0].method == "POST"
    assert crm.requests[0].body == {
        "page": 1,
        "page_size": 200,
        "fields": ["id", "last_visit_date"],
        "order_by": "name",
        "order_by_direction": "ASC",
        "operation": "AND",
        "filters": filters,
    }


def test_a_count_is_one_row_and_the_total(crm: CrmServer) -> None:
    crm.always(good([{"id": 1}], {"total_count": "908"}))
    assert crm.ask(lambda client: client.count_clients(7)) == 908
    assert crm.ask(lambda client: client.count_records(7, client_id=5)) == 908
    assert crm.requests[0].body["page_size"] == 1
    crm.always(good([], []))
    with pytest.raises(MalformedError, match="without total_count"):
        crm.ask(lambda client: client.count_clients(7))


def visit(number: int, day: str) -> dict[str, Any]:
    return {
        "id": number,
        "visit_id": str(number),
        "date": f"{day} 12:00:00",
        "attendance": 1,
        "services": [{"id": 8, "first_cost": 1000, "cost_to_pay": "900.50"}],
        "staff": {"id": 5},
    }


def test_the_history_of_visits_follows_its_cursor(crm: CrmServer) -> None:
    following = {"from": "2026-01-01", "to": "2026-03-01", "count": 25}
    crm.always(
        good({"records": [visit(3, "2026-04-01"), visit(2, "2026-03-01")]}, {"dateCursor": {"next": following}}),
        good({"records": [visit(2, "2026-03-01"), visit(1, "2026-02-01")]}, {"dateCursor": {"next": None}}),
    )
    start = date(2026, 1, 1)
    pages = crm.read(lambda client: client.visit_history(7, client_id=5, start=start, end=date(2026, 5, 1)))
    visits = [card for page in pages for card in page.good]
    assert [card.id for card in visits] == [3, 2, 1]
    assert (visits[0].visit_id, visits[0].staff_id, visits[0].starts_local.isoformat()) == (3, 5, "2026-04-01T12:00:00")
    assert [(line.service_id, str(line.price)) for line in visits[0].lines] == [(8, "900.50")]
    first, second = (request.body for request in crm.requests)
    assert first.keys() == {"client_id", "client_phone", "from", "to", "payment_statuses", "attendance"}
    assert (first["client_id"], first["client_phone"], first["from"], first["to"]) == (
        5,
        None,
        "2026-01-01",
        "2026-05-01",
    )
    assert (second["from"], second["to"]) == ("2026-01-01", "2026-03-01")


@pytest.mark.parametrize("following", [{"from": "2026-01-01", "to": "2026-05-01"}, {"count": 25}, "2026-03-01"])
def test_a_cursor_that_leads_nowhere_is_an_error(crm: CrmServer, following: Any) -> None:
    crm.always(good({"records": []}, {"dateCursor": {"next": following}}))
    start, end = date(2026, 1, 1), date(2026, 5, 1)
    with pytest.raises(MalformedError, match="a cursor"):
        crm.read(lambda client: client.visit_history(7, client_phone="79000000001", start=start, end=end))
    assert len(crm.requests) == 1
