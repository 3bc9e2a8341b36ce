"""The CRM's door: a question is answered or it fails; silence never looks like an empty answer."""

import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import date, datetime
from typing import Any

import anyio
import pytest

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import (
    AuthError,
    CrmError,
    ForbiddenError,
    LicenceError,
    MalformedError,
    NotFoundError,
    RateLimitedError,
    RefusedError,
    UnavailableError,
)
from reactivation_resources.yclients.models import CompanyCard
from reactivation_resources.yclients.transport import IN_FLIGHT, LONGEST_PAUSE_S, PAUSES_S
from tests.resources.crm_server import BUSY, HTML, PARTNER, USER, Answer, CrmServer, good, running_crm

CUT = (200, b'{"success": true, "data": [', {"Content-Length": "1000"})
STAFF = {"id": 1, "name": "Анна"}


@pytest.fixture(scope="module")
def running() -> Iterator[CrmServer]:
    with running_crm() as crm:
        yield crm


@pytest.fixture
def crm(running: CrmServer) -> CrmServer:
    running.forget()
    return running


def staff(client: YClients) -> Awaitable[Any]:
    return client.staff(7)


def names(crm: CrmServer, **options: Any) -> list[str]:
    return [card.name for card in crm.ask(staff, **options).good]


@pytest.mark.parametrize("meta", [(), {}, {"total_count": 1}, {"page": 1, "total_count": 1}, {"message": "ok"}, None])
def test_every_form_of_the_envelope_is_read(crm: CrmServer, meta: Any) -> None:
    crm.always(good([STAFF], meta))
    assert names(crm) == ["Анна"]


def test_bare_data_without_an_envelope_is_read(crm: CrmServer) -> None:
    crm.always((200, [STAFF]))
    assert names(crm) == ["Анна"]
    assert [len(page.good) for page in crm.read(lambda client: client.clients(7))] == [1]
    crm.always((200, {"id": 5, "title": "Салон"}))
    assert crm.ask(lambda client: client.company(5)) == CompanyCard(id=5, title="Салон")


def test_the_tokens_and_the_wanted_form_go_with_every_call(crm: CrmServer) -> None:
    crm.ask(staff)
    crm.ask(staff, partner_id="4711")
    plain, named = (request.headers for request in crm.requests)
    assert plain["Authorization"] == f"Bearer {PARTNER}, User {USER}"
    assert plain["Accept"] == "application/vnd.yclients.v2+json"
    assert "X-Partner-Id" not in plain
    assert named["X-Partner-Id"] == "4711"


def test_a_proxy_is_gone_through(crm: CrmServer) -> None:
    """The server plays the proxy: it is asked for the address of a host that does not exist."""
    proxy = crm.url.removesuffix("/api/v1")
    crm.url = "http://crm.invalid/api/v1"
    crm.always(good([STAFF]))
    assert names(crm, proxy=proxy) == ["Анна"]
    assert crm.requests[0].headers["Host"] == "crm.invalid"


PASSING = {
    "says no with status 200": (BUSY, RateLimitedError),
    "a web page with 403": (HTML, UnavailableError),
    "a web page with 200": ((200, b"<html>hi</html>", {"Content-Type": "text/html"}), UnavailableError),
    "a web page of another name": ((200, b" <html>hi</html>", {"Content-Type": "text/plain"}), UnavailableError),
    "403 without a word": ((403, b"", {"Content-Type": "text/plain"}), UnavailableError),
    "429": ((429, {}), RateLimitedError),
    "408": ((408, {}), UnavailableError),
    "500": ((500, {}), UnavailableError),
    "502 in plain text": ((502, b"Bad gateway"), UnavailableError),
    "503": ((503, {}), UnavailableError),
    "half of a document": ((200, b'{"data": ['), MalformedError),
    "nothing at all": ((200, b""), MalformedError),
    "a cut connection": (CUT, UnavailableError),
    "no answer": (None, UnavailableError),
}


@pytest.mark.parametrize(("fault", "_kind"), PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_is_asked_again_after_a_pause(crm: CrmServer, fault: Answer, _kind: type[CrmError]) -> None:
    crm.always(fault, fault, good([STAFF]))
    assert names(crm, jitter=lambda: 0.5) == ["Анна"]
    assert crm.waits == [PAUSES_S[0] / 2, PAUSES_S[1] / 2]


@pytest.mark.parametrize(("fault", "kind"), PASSING.values(), ids=PASSING.keys())
def test_a_fault_that_stays_is_an_error_after_a_few_questions_and_never_an_empty_answer(
    crm: CrmServer, fault: Answer, kind: type[CrmError]
) -> None:
    crm.always(fault)
    with pytest.raises(CrmError) as error:
        crm.ask(staff)
    assert type(error.value) is kind
    assert not error.value.permanent
    assert (error.value.company_id, error.value.call) == (7, "company/7/staff/")
    assert error.value.status == (None if fault in (None, CUT) else fault[0])
    assert len(crm.requests) == len(PAUSES_S) + 1
    assert crm.waits == list(PAUSES_S)


NOW = "Sun, 22 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("named", "waited"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("100000", LONGEST_PAUSE_S),
        ("Sun, 22 Nov 2026 10:00:09 GMT", 9.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2026 11:00:00 GMT", LONGEST_PAUSE_S),
        ("Sun, 22 Nov 2026 10:00:09", PAUSES_S[0]),
        ("soon", PAUSES_S[0]),
        ("²", PAUSES_S[0]),
        ("-1", PAUSES_S[0]),
        ("", PAUSES_S[0]),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_the_servers_own_delay_is_kept_within_reason(crm: CrmServer, status: int, named: str, waited: float) -> None:
    crm.always((status, {}, {"Retry-After": named, "Date": NOW}), good([]))
    crm.ask(staff)
    assert crm.waits == [waited]


BODIES = [
    {"success": False, "data": None, "meta": {"message": "Нет прав"}},
    {"errors": {"code": 438, "message": "Нет прав"}, "meta": {"message": "Нет прав"}},
    {"meta": {"message": "Нет прав", "errors": [{}]}},
    {"meta": {"message": "Нет прав", "errors": {"filters": []}}},
]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, AuthError),
        (402, LicenceError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (405, RefusedError),
        (409, RefusedError),
        (422, RefusedError),
    ],
)
@pytest.mark.parametrize("body", [*BODIES, {"meta": []}, [], None, {"errors": "Нет прав"}, {"meta": {"errors": None}}])
def test_a_refusal_that_will_not_pass_is_not_asked_again(
    crm: CrmServer, status: int, kind: type[CrmError], body: Any
) -> None:
    crm.always((status, body))
    with pytest.raises(CrmError) as error:
        crm.ask(staff)
    assert type(error.value) is kind
    assert error.value.permanent
    assert error.value.status == status
    assert error.value.code == (438 if body == BODIES[1] else None)
    assert len(crm.requests) == 1
    expected = "Нет прав" if "Нет прав" in str(body) else "refused"
    assert str(error.value).startswith(f"company/7/staff/ (company 7): HTTP {status}:")
    assert str(error.value).endswith(expected)


def test_what_the_crm_says_of_single_fields_is_passed_on(crm: CrmServer) -> None:
    errors = {"filters": ["неизвестный тип", "ещё"], "page": {"0": ["мало"]}}
    crm.always((400, {"success": False, "meta": {"message": "Ошибка", "errors": errors}}))
    with pytest.raises(RefusedError, match="Ошибка; filters: неизвестный тип; filters: ещё; page: 0: мало"):
        crm.ask(staff)


def test_a_page_that_has_moved_is_not_followed_with_our_tokens(crm: CrmServer) -> None:
    crm.always((302, b"", {"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(MalformedError) as error:
        crm.ask(staff)
    assert error.value.status == 302


@pytest.mark.parametrize("data", [{"1": {"id": 1}}, "text", None, 5])
def test_an_answer_of_another_shape_is_an_error_and_no_empty_list(crm: CrmServer, data: Any) -> None:
    crm.always(good(data))
    with pytest.raises(MalformedError, match="expected a list"):
        crm.ask(staff)
    assert len(crm.requests) == 1


def test_a_card_that_cannot_be_read_is_told_by_field_and_value(crm: CrmServer) -> None:
    crm.always(good({"id": "five", "title": "Салон"}))
    with pytest.raises(MalformedError, match=r"company/5/ .*: id='five': input should be a valid integer"):
        crm.ask(lambda client: client.company(5))


@pytest.mark.parametrize("fault", [(401, {"meta": {"message": f"Неверный токен {PARTNER} / {USER}"}}), HTML, CUT, None])
def test_no_token_is_in_any_error_or_log(crm: CrmServer, caplog: pytest.LogCaptureFixture, fault: Answer) -> None:
    crm.always(fault)
    with caplog.at_level(logging.DEBUG), pytest.raises(CrmError) as error:
        crm.ask(staff, proxy=None, partner_id="4711")
    shown = [
        str(error.value),
        repr(error.value),
        repr(vars(error.value)),
        "".join(traceback.format_exception(error.value)),
        caplog.text,
        repr(crm.client()),
    ]
    assert caplog.text
    for token in (PARTNER, USER):
        assert not any(token in text for text in shown)


def test_a_crm_that_is_not_there_is_an_outage(crm: CrmServer) -> None:
    crm.url = "http://127.0.0.1:1/api/v1"
    with pytest.raises(UnavailableError, match=r"no answer \(ConnectError\)") as error:
        crm.ask(staff)
    assert error.value.status is None
    assert len(crm.waits) == len(PAUSES_S)


def test_requests_that_left_are_counted_by_call(crm: CrmServer) -> None:
    async def work(client: YClients) -> dict[str, int]:
        crm.always((500, {}), good([]))
        await client.staff(1)
        await client.services(1)
        await client.services(1, staff_id=5)
        return dict(client.calls)

    assert crm.ask(work) == {"staff": 2, "services": 2}
    assert crm.requests[-1].query == {"staff_id": ["5"]}


def test_a_slow_crm_has_no_more_requests_in_flight_than_allowed(crm: CrmServer) -> None:
    """Each answer waits until as many requests as may be are under way, or all have come."""
    full = threading.Condition()
    came = 0

    def answer(_: object) -> Answer:
        nonlocal came
        with full:
            came += 1
            full.notify_all()
            full.wait_for(lambda: came >= IN_FLIGHT, timeout=10)
        return good([])

    crm.answer = answer

    async def work(client: YClients) -> None:
        async with anyio.create_task_group() as group:
            for company in range(40):
                group.start_soon(client.staff, company)

    crm.ask(work)
    assert len(crm.requests) == 40
    assert crm.busiest == IN_FLIGHT


def test_an_answer_that_takes_too_long_is_an_outage(crm: CrmServer) -> None:
    let_go = threading.Event()
    crm.answer = lambda _: (let_go.wait(10), good([]))[1]
    with pytest.raises(UnavailableError, match=r"no answer \(TimeoutError\)"):
        crm.ask(staff, limiter=RateLimiter("none", (), lease_s=0.05))
    let_go.set()


CALLS: list[tuple[Callable[[YClients], Awaitable[Any]], str, dict[str, list[str]]]] = [
    (lambda client: client.company(3), "company/3/", {}),
    (lambda client: client.categories(3), "company/3/service_categories/", {}),
    (lambda client: client.client(3, 4), "client/3/4", {}),
    (lambda client: client.record(3, 4), "record/3/4", {}),
    (
        lambda client: client.book_dates(3, [8, 9], 5, date(2026, 11, 1), date(2026, 11, 30)),
        "book_dates/3",
        {"service_ids[]": ["8", "9"], "staff_id": ["5"], "date_from": ["2026-11-01"], "date_to": ["2026-11-30"]},
    ),
    (lambda client: client.book_dates(3, [8]), "book_dates/3", {"service_ids[]": ["8"]}),
    (
        lambda client: client.book_times(3, 0, date(2026, 11, 26), [8]),
        "book_times/3/0/2026-11-26",
        {"service_ids[]": ["8"]},
    ),
    (
        lambda client: client.book_staff(3, [8]),
        "book_staff/3",
        {"service_ids[]": ["8"], "without_seances": ["1"]},
    ),
    (
        lambda client: client.count_records(3, changed_after=datetime.fromisoformat("2026-11-01T09:30:05")),
        "records/3",
        {
            "with_deleted": ["1"],
            "include_consumables": ["0"],
            "changed_after": ["2026-11-01T09:30:05"],
            "page": ["1"],
            "count": ["1"],
        },
    ),
]


@pytest.mark.parametrize(("work", "path", "query"), CALLS)
def test_each_call_asks_as_the_crm_wants_to_be_asked(
    crm: CrmServer, work: Callable[[YClients], Awaitable[Any]], path: str, query: dict[str, list[str]]
) -> None:
    crm.always((404, {}))
    with pytest.raises(NotFoundError) as error:
        crm.ask(work)
    assert crm.requests[0].path == f"/api/v1/{path}"
    assert crm.requests[0].query == query
    assert (error.value.company_id, error.value.call) == (3, path)
