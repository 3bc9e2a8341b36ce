"""What the CRM has no longer, and what it never tells of among the changes: clients, services and staff are compared as whole lists."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from reactivation_resources.database.engine import Database
from tests.resources.crm_books import NOW, Books, add_company, card, client, company, service, staff, sync
from tests.resources.crm_server import Answer, CrmServer, Request, running_crm
from tests.resources.sending_world import execute, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OLD = "2026-11-01T10:00:00+0300"
LIVE = "SELECT client_id FROM clients WHERE NOT deleted ORDER BY 1"
ALERTS = "SELECT kind, message, times FROM alerts ORDER BY alert_id"


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with running_crm() as running:
        yield running


@pytest.fixture
def books(crm: CrmServer) -> Books:
    return Books(crm)


def people(*numbers: int, **changes: Any) -> list[dict[str, Any]]:
    """Clients that have not changed for weeks."""
    return [client(id=number, name=f"Клиент {number}", last_change_date=OLD) | changes for number in numbers]


def live(database: Database) -> list[int]:
    return [row.client_id for row in rows(database, LIVE)]


# ---------------------------------------------------------------- clients


def test_as_long_as_the_number_is_right_one_call_is_enough(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    books.open(1, clients=people(*range(1, 500)))
    sync(database, crm)
    assert len(books.calls("clients/search")) == 1
    sync(database, crm, NOW + HOUR)
    assert len(books.calls("clients/search")) == 2


def test_deleted_clients_are_found_by_the_number_and_come_back_when_they_are_shown_again(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(1, 2, 3, 4))
    sync(database, crm)
    execute(database, "UPDATE clients SET consent = true")
    book["clients"] = people(1, 4)
    assert sync(database, crm, NOW + HOUR).changed["clients"] == 2
    assert live(database) == [1, 4]
    assert sync(database, crm, NOW + 2 * HOUR).changed["clients"] == 0
    book["clients"] = people(1, 2, 4)
    assert sync(database, crm, NOW + 3 * HOUR).changed["clients"] == 1
    assert live(database) == [1, 2, 4]
    assert [row.consent for row in rows(database, "SELECT consent FROM clients")] == [True] * 4
    assert rows(database, ALERTS) == []


def test_one_gone_and_one_new_are_found_though_the_number_is_the_same_as_before(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(1, 2))
    sync(database, crm)
    book["clients"] = [*people(1), *people(3, last_change_date="2026-11-22T10:30:00+0300")]
    sync(database, crm, NOW + HOUR)
    assert live(database) == [1, 3]
    # the same without a trace among the changes is found by the day's comparison of all ids
    book["clients"] = people(1, 5)
    sync(database, crm, NOW + 2 * HOUR)
    assert live(database) == [1, 3]
    sync(database, crm, NOW + DAY + HOUR)
    assert live(database) == [1, 5]


def test_clients_that_the_changes_never_told_of_are_fetched_by_their_cards(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    everybody = people(*range(1, 450))
    book = books.open(1, clients=everybody[:-2])
    sync(database, crm)
    book["clients"] = everybody
    books.asked.clear()
    assert sync(database, crm, NOW + HOUR).failed == {}
    assert live(database) == list(range(1, 450))
    assert len(books.calls("client")) == 2
    assert len(books.calls("clients")) == 1


def test_when_many_are_missing_all_cards_are_read_which_takes_fewer_calls(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    everybody = people(*range(1, 450))
    book = books.open(1, clients=everybody[:-4])
    sync(database, crm)
    book["clients"] = everybody
    books.asked.clear()
    sync(database, crm, NOW + HOUR)
    assert live(database) == list(range(1, 450))
    assert books.calls("client") == []
    assert ["changed_after" in query for query in books.calls("clients")] == [True, False, False, False]


def test_a_client_that_is_gone_before_its_card_is_read_or_whose_card_is_odd_does_no_harm(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(*range(1, 602)))
    sync(database, crm)
    book["clients"] = [*people(*range(1, 602)), *people(701, phone={}, last_change_date=OLD)]
    book["search"] = [*range(1, 602), 701, 702]
    report = sync(database, crm, NOW + HOUR)
    assert (report.failed, report.rejected) == ({}, 1)
    assert live(database) == list(range(1, 602))
    assert rows(database, "SELECT content FROM rejected_rows") == [({"id": 701},)]
    book["search"] = [*range(1, 602), 701]
    books.asked.clear()
    sync(database, crm, NOW + 2 * HOUR)
    assert (len(books.calls("clients/search")), books.calls("client")) == (1, [])  # it is known to be odd
    book["search"] = list(range(1, 602))
    sync(database, crm, NOW + 3 * HOUR)
    assert rows(database, "SELECT FROM rejected_rows") == []  # and when it is gone, it is forgotten


@pytest.mark.parametrize("left", [0, 10, 70])
def test_too_many_gone_at_once_are_not_believed_until_it_is_said_again_the_next_day(
    database: Database, crm: CrmServer, books: Books, left: int
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(*range(1, 101)))
    sync(database, crm)
    book["search"] = list(range(1, left + 1))
    book["records"][0]["attendance"] = -1
    for hours in (1, 2, 3):
        report = sync(database, crm, NOW + hours * HOUR)
        assert "the CRM lists" in report.failed[1]
        assert str(left) in report.failed[1]
        assert live(database) == list(range(1, 101))
        assert company(database).changed_after == NOW + hours * HOUR  # the rest of what it said is taken in
    assert rows(database, "SELECT status FROM record_lines") == [("no_show",)]
    (alert,) = rows(database, ALERTS)
    assert (alert.kind, alert.times) == ("crm_clients_gone", 3)
    report = sync(database, crm, NOW + 22 * HOUR)
    assert report.failed == {}
    assert live(database) == list(range(1, left + 1))
    del book["search"]  # it was a right that had been lost
    for row in book["clients"]:
        row["last_change_date"] = OLD
    assert sync(database, crm, NOW + 23 * HOUR).failed == {}
    assert live(database) == list(range(1, 101))


def test_what_was_missing_long_ago_is_no_witness_for_what_is_missing_now(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(*range(1, 101)))
    sync(database, crm)
    book["search"] = []
    assert sync(database, crm, NOW + HOUR).failed
    del book["search"]
    assert sync(database, crm, NOW + 2 * HOUR).failed == {}
    book["search"] = []
    assert sync(database, crm, NOW + 100 * HOUR).failed
    assert len(live(database)) == 100


def test_a_few_gone_are_believed_at_once_however_few_there_were(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(*range(1, 21)))
    sync(database, crm)
    book["clients"] = []
    assert sync(database, crm, NOW + HOUR).failed == {}
    assert live(database) == []


@pytest.mark.parametrize("fault", [(500, {}), (200, {"success": False, "meta": {"message": "limit"}}), None])
def test_a_comparison_that_fails_deletes_nobody(
    database: Database, crm: CrmServer, books: Books, fault: Answer
) -> None:
    add_company(database, 1)
    book = books.open(1, clients=people(*range(1, 11)))
    sync(database, crm)
    book["clients"] = people(1)

    def answer(request: Request) -> Answer:
        return fault if request.path.endswith("search") and request.body["page_size"] > 1 else books.answer(request)

    crm.answer = answer
    assert set(sync(database, crm, NOW + HOUR).failed) == {1}
    assert live(database) == list(range(1, 11))
    assert company(database).changed_after == NOW


# ---------------------------------------------------------------- the catalogue


def test_the_catalogue_is_read_once_a_day_or_when_it_is_asked_for(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    for hours, read in ((1, 1), (23, 1), (25, 2), (26, 2)):
        sync(database, crm, NOW + hours * HOUR)
        assert [len(books.calls(kind)) for kind in ("company", "services", "service_categories", "staff")] == [read] * 4
    execute(database, "UPDATE companies SET catalogue_at = NULL")  # as a hint does
    sync(database, crm, NOW + 27 * HOUR)
    assert len(books.calls("staff")) == 3
    assert company(database).catalogue_at == NOW + 27 * HOUR


def test_a_hint_that_comes_while_the_catalogue_is_read_is_not_lost(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)

    def answer(request: Request) -> Answer:
        if "records" in request.path:
            execute(database, "UPDATE companies SET catalogue_at = NULL")
        return books.answer(request)

    crm.answer = answer
    sync(database, crm, NOW + 30 * HOUR)
    assert company(database).catalogue_at is None


def test_the_salons_card_is_followed(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    book = books.open(1)
    sync(database, crm)
    execute(database, "UPDATE companies SET business_type = 'barbershop', consent_basis = 'at the desk'")
    book["company"] = card(1, title="Новый салон", phone="8 900 000-00-09", currency_short_title="₸")
    report = sync(database, crm, NOW + 25 * HOUR)
    row = company(database)
    assert (row.title, row.phone, row.currency) == ("Новый салон", "+79000000009", "KZT")
    assert (row.business_type, row.consent_basis, row.changed_after) == ("barbershop", "at the desk", NOW + 25 * HOUR)
    assert report.changed["companies"] == 1
    book["company"] = card(
        1, title="Новый салон", phone="8 900 000-00-09", currency_short_title="?", country="?", timezone_name=""
    )
    assert sync(database, crm, NOW + 50 * HOUR).changed["companies"] == 0
    row = company(database)
    assert (row.currency, row.country, row.timezone) == ("KZT", "RU", "Europe/Moscow")


def test_services_and_staff_that_are_gone_become_inactive_and_stay(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1, services=[service(), service(id=10)], staff=[staff(), staff(id=6)])
    sync(database, crm)
    book |= {"services": [service()], "staff": [staff(id=6)]}
    report = sync(database, crm, NOW + 25 * HOUR)
    assert (report.changed["services"], report.changed["staff"]) == (1, 1)
    assert rows(database, "SELECT service_id, active FROM services ORDER BY 1") == [(9, True), (10, False)]
    assert rows(database, "SELECT staff_id, active FROM staff ORDER BY 1") == [(5, False), (6, True)]
    book |= {"services": [service(), service(id=10)]}
    sync(database, crm, NOW + 50 * HOUR)
    assert rows(database, "SELECT service_id, active FROM services ORDER BY 1") == [(9, True), (10, True)]


def test_a_service_whose_card_cannot_be_read_is_there_all_the_same(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1)
    sync(database, crm)
    book["services"] = [service(title=None)]
    report = sync(database, crm, NOW + 25 * HOUR)
    assert (report.rejected, report.failed) == (1, {})
    assert rows(database, "SELECT title, active FROM services") == [("Стрижка", True)]


def test_a_price_list_that_vanishes_is_not_believed_at_once(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    book = books.open(1, services=[service(id=number) for number in range(1, 41)])
    sync(database, crm)
    book["services"] = []
    report = sync(database, crm, NOW + 25 * HOUR)
    assert "0 of 40 services" in report.failed[1]
    assert rows(database, "SELECT count(*) FROM services WHERE active") == [(40,)]
    assert sync(database, crm, NOW + 50 * HOUR).failed == {}
    assert rows(database, "SELECT count(*) FROM services WHERE active") == [(0,)]
