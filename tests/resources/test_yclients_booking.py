"""Free times, bookings and webhooks: what writes is sent once, and what became of it can be found out."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from reactivation_resources.yclients.client import HOOKED, MOST_HOOKS, YClients
from reactivation_resources.yclients.errors import (
    CrmError,
    ForbiddenError,
    MalformedError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from reactivation_resources.yclients.models import Appointment, BookTime, HooksSettings
from tests.resources.crm_server import BUSY, HTML, Answer, CrmServer, Request, good, running_crm

START = datetime.fromisoformat("2026-11-26T10:00:00")
WISH = Appointment(services=[8], staff_id=5, starts_at=START)
RECORD: dict[str, Any] = {
    "id": 11,
    "staff_id": 5,
    "services": [{"id": 8, "cost": 1000, "amount": 1}],
    "client": {"id": 3},
    "date": "2026-11-26 10:00:00",
    "create_date": "2026-11-22T12:00:00+0300",
    "attendance": 0,
    "api_id": "ours-1",
}
CUT = (201, b'{"success": true', {"Content-Length": "1000"})


@pytest.fixture(scope="module")
def running() -> Iterator[CrmServer]:
    with running_crm() as crm:
        yield crm


@pytest.fixture
def crm(running: CrmServer) -> CrmServer:
    running.forget()
    return running


def book(client: YClients) -> Awaitable[Any]:
    return client.book_record(7, [WISH], phone="+79000000001", fullname="Анна", api_id="ours-1")


def create(client: YClients) -> Awaitable[Any]:
    return client.create_record(
        7,
        staff_id=5,
        service_ids=[8],
        phone="+79000000001",
        name="Анна",
        starts_at=START,
        seance_length_s=3600,
        api_id="ours-1",
    )


def hook(client: YClients) -> Awaitable[Any]:
    return client.set_hooks_settings(7, HooksSettings(urls=("https://ours.example/hook",), active=True))


# ---------------------------------------------------------------- free times


def slot(start: str, **changes: Any) -> dict[str, Any]:
    return {"time": start, "seance_length": 3600, "sum_length": 5400, "datetime": "2026-11-26T10:00:00+04:00"} | changes


def times(client: YClients) -> Awaitable[list[BookTime]]:
    return client.book_times(7, 5, date(2026, 11, 26), [8])


def test_slots_are_times_of_the_wall_clock_with_a_length(crm: CrmServer) -> None:
    crm.always(good([slot("9:00"), slot("18:30", sum_length=None), slot("20:15", sum_length="1800")]))
    found = [(free.time, free.length_s) for free in crm.ask(times)]
    assert found == [(time(9), 5400), (time(18, 30), 3600), (time(20, 15), 1800)]
    crm.always(good([]))
    assert crm.ask(times) == []


@pytest.mark.parametrize(
    "row",
    [
        {"seance_length": 3600},
        {"time": "10:00"},
        slot("later"),
        slot("25:00"),
        slot("10:00", sum_length="long"),
        slot("10:00", sum_length=0, seance_length=0),
    ],
)
def test_a_slot_that_cannot_be_read_is_an_error_and_no_slot_less(crm: CrmServer, row: dict[str, Any]) -> None:
    crm.always(good([slot("9:00"), row]))
    with pytest.raises(MalformedError):
        crm.ask(times)
    assert len(crm.requests) == 1


def test_days_and_staff_that_can_be_booked(crm: CrmServer) -> None:
    crm.always(good({"booking_days": {"11": ["26"]}, "booking_dates": ["2026-11-26"], "working_dates": ["2026-11-26"]}))
    days = crm.ask(lambda client: client.book_dates(7, [8]))
    assert (days.booking_dates, days.booking_days) == ([date(2026, 11, 26)], {11: [26]})
    crm.always(good([{"id": "5", "name": "Мастер", "bookable": True, "seances": []}, {"id": 6, "bookable": 0}]))
    staff = crm.ask(lambda client: client.book_staff(7, [8]))
    assert [(member.id, member.bookable) for member in staff] == [(5, True), (6, False)]


# ---------------------------------------------------------------- what is written


def test_a_booking_goes_out_as_the_booking_form_sends_it(crm: CrmServer) -> None:
    crm.always((201, {"success": True, "data": [{"id": 1, "record_id": "11", "record_hash": "abc"}], "meta": []}))
    [booking] = crm.ask(book)
    assert (booking.appointment_id, booking.record_id, booking.record_hash) == (1, 11, "abc")
    assert (crm.requests[0].method, crm.requests[0].path) == ("POST", "/api/v1/book_record/7")
    assert crm.requests[0].body == {
        "phone": "79000000001",
        "fullname": "Анна",
        "email": "",
        "comment": "",
        "api_id": "ours-1",
        "appointments": [{"id": 1, "services": [8], "staff_id": 5, "datetime": "2026-11-26T10:00:00"}],
    }


def test_an_instant_of_a_wish_carries_its_offset() -> None:
    wish = Appointment(services=[8], starts_at=datetime(2026, 11, 26, 7, tzinfo=UTC))
    assert wish.model_dump(mode="json", by_alias=True)["datetime"] == "2026-11-26T07:00:00+00:00"


@pytest.mark.parametrize("data", [RECORD, [RECORD]])
def test_a_created_record_comes_as_an_object_or_in_a_list(crm: CrmServer, data: Any) -> None:
    crm.always((201, {"success": True, "data": data, "meta": []}))
    record = crm.ask(create)
    assert (record.id, record.client_id, record.api_id) == (11, 3, "ours-1")
    body = crm.requests[0].body
    assert (body["services"], body["client"]) == ([{"id": 8}], {"phone": "79000000001", "name": "Анна"})
    assert (body["datetime"], body["seance_length"]) == ("2026-11-26T10:00:00", 3600)
    assert (body["save_if_busy"], body["send_sms"], body["api_id"]) == (False, False, "ours-1")


def test_a_booking_without_envelope_is_read(crm: CrmServer) -> None:
    crm.always((201, [{"id": 1, "record_id": 11, "record_hash": "abc"}]))
    assert [booking.record_id for booking in crm.ask(book)] == [11]


@pytest.mark.parametrize("write", [book, create, hook])
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ((500, {}), UnavailableError),
        (HTML, UnavailableError),
        ((429, {}, {"Retry-After": "1"}), RateLimitedError),
        (BUSY, RefusedError),
        (None, UnavailableError),
        (CUT, UnavailableError),
        ((201, b"{"), MalformedError),
    ],
)
def test_what_writes_is_never_sent_twice(
    crm: CrmServer, write: Callable[[YClients], Awaitable[Any]], fault: Answer, kind: type[CrmError]
) -> None:
    crm.always(fault)
    with pytest.raises(CrmError) as error:
        crm.ask(write)
    assert type(error.value) is kind
    assert len(crm.requests) == 1
    assert crm.waits == []


@pytest.mark.parametrize("write", [book, create])
def test_a_booking_whose_answer_was_lost_is_found_by_our_id(
    crm: CrmServer, write: Callable[[YClients], Awaitable[Any]]
) -> None:
    journal = [RECORD | {"id": 10, "api_id": ""}, RECORD | {"id": 9, "deleted": True}]

    def answer(request: Request) -> Answer:
        if request.method == "POST":
            journal.append(RECORD | {"api_id": request.body["api_id"]})
            return CUT
        return good(journal, {"total_count": len(journal)})

    crm.answer = answer
    with pytest.raises(UnavailableError):
        crm.ask(write)
    found = crm.ask(lambda client: client.find_by_api_id(7, "ours-1", date(2026, 11, 26)))
    assert [record.id for record in found] == [11]
    assert crm.requests[-1].query["start_date"] == ["2026-11-25"]
    assert crm.requests[-1].query["end_date"] == ["2026-11-27"]
    assert crm.ask(lambda client: client.find_by_api_id(7, "ours-2", date(2026, 11, 26))) == []


def errors(code: Any, message: str = "Выбранное время уже занято") -> dict[str, Any]:
    return {"errors": {"code": code, "message": message}, "meta": {"message": message}}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        *((422, errors(code), code) for code in (431, 432, 433, 435, 436, 437, 438)),
        (422, errors("433"), 433),
        (422, {"errors": [{"code": 433, "message": "занято"}]}, 433),
        (403, errors(434, "Клиент в чёрном списке"), 434),
        (422, {"success": False, "meta": {"message": "Выбранное время уже занято"}}, None),
        (422, {"meta": {"message": "Ошибка", "errors": [{}]}}, None),
        (409, {"success": False, "meta": {"message": "Пересечение"}}, None),
    ],
)
@pytest.mark.parametrize("call", [book, lambda client: client.book_check(7, [WISH])])
def test_a_booking_error_says_what_is_wrong(
    crm: CrmServer, call: Callable[[YClients], Awaitable[Any]], status: int, body: Any, code: int | None
) -> None:
    crm.always((status, body))
    with pytest.raises(RefusedError) as error:
        crm.ask(call)
    assert (error.value.status, error.value.code, error.value.company_id) == (status, code, 7)
    assert len(crm.requests) == 1


def test_403_without_that_code_is_a_missing_right(crm: CrmServer) -> None:
    crm.always((403, {"success": False, "meta": {"message": "Нет прав"}}))
    with pytest.raises(ForbiddenError):
        crm.ask(book)


def test_a_check_asks_only_and_may_be_asked_again(crm: CrmServer) -> None:
    crm.always((502, b""), (201, {"success": True, "data": None, "meta": {"message": "Created"}}))
    crm.ask(lambda client: client.book_check(7, [WISH]))
    assert [request.method for request in crm.requests] == ["POST", "POST"]


# ---------------------------------------------------------------- webhooks


class Hooks:
    """The settings of one salon: a write replaces all of them."""

    def __init__(self, crm: CrmServer, **settings: Any) -> None:
        self.settings = settings
        self.writes = 0
        crm.answer = self.answer

    def answer(self, request: Request) -> Answer:
        if request.method == "POST":
            self.writes += 1
            self.settings = request.body
            return 201, {"success": True, "data": self.settings, "meta": []}
        return good(self.settings)


OURS, THEIRS = "https://ours.example/hook", "https://theirs.example/hook"


def test_an_address_is_added_and_nothing_of_other_applications_is_lost(crm: CrmServer) -> None:
    hooks = Hooks(crm, urls=[THEIRS], active=1, good=1, goods_operations_sale=1, loyalty_card=0, record=0)
    settings = crm.ask(lambda client: client.add_hook_url(7, OURS))
    assert settings.urls == (THEIRS, OURS)
    assert hooks.settings == {
        "urls": [THEIRS, OURS],
        "active": 1,
        "good": 1,
        "goods_operations_sale": 1,
        "loyalty_card": 0,
        **dict.fromkeys(HOOKED, 1),
    }


def test_an_address_that_is_there_already_is_not_written_again(crm: CrmServer) -> None:
    hooks = Hooks(crm, urls=[], active=0)
    crm.ask(lambda client: client.add_hook_url(7, OURS))
    crm.ask(lambda client: client.add_hook_url(7, OURS))
    assert (hooks.settings["urls"], hooks.writes) == ([OURS], 1)
    hooks.settings["record"] = 0  # somebody has turned it off
    crm.ask(lambda client: client.add_hook_url(7, OURS, ["record"]))
    assert (hooks.settings["record"], hooks.writes) == (1, 2)


def test_there_is_room_for_ten_addresses(crm: CrmServer) -> None:
    others = [f"https://other.example/{number}" for number in range(MOST_HOOKS)]
    hooks = Hooks(crm, urls=others, active=1)
    with pytest.raises(RefusedError, match="10 addresses are set already") as error:
        crm.ask(lambda client: client.add_hook_url(7, OURS))
    assert error.value.company_id == 7
    assert (hooks.settings["urls"], hooks.writes) == (others, 0)
    hooks.settings["urls"] = others[1:]
    crm.ask(lambda client: client.add_hook_url(7, OURS))
    assert hooks.settings["urls"] == [*others[1:], OURS]


def test_settings_that_cannot_be_read_are_not_written_over(crm: CrmServer) -> None:
    hooks = Hooks(crm, urls="none")
    with pytest.raises(MalformedError):
        crm.ask(lambda client: client.add_hook_url(7, OURS))
    assert hooks.writes == 0
