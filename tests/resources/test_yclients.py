"""The CRM's door: a question is answered or it fails; silence never looks like an empty answer."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients import LONGEST_PAUSE, PAUSES, RETRIES, CrmError, SlotQuestion, YClients
from reactivation_sandbox.process import Town, running_town

DAY = date(2026, 11, 26)
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None


@dataclass
class Crm:
    """A CRM that answers what the test says: (status, body) or (status, body, headers); None hangs up."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    answer: Callable[[str, dict[str, list[str]]], Answer] = lambda path, query: (200, {"success": True, "data": []})  # noqa: ARG005
    headers: list[dict[str, str]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def always(self, *answers: Answer) -> None:
        """Give these answers one after the other, the last one for ever."""
        left = list(answers)
        self.answer = lambda *_: left.pop(0) if len(left) > 1 else left[0]

    def door(self, **options: Any) -> YClients:
        return YClients(self.url, "partner", "user", RateLimiter("none", ()), sleep=self.waits.append, **options)


@contextmanager
def running_crm() -> Iterator[Crm]:
    crm = Crm()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            crm.asked.append(self.path)
            crm.headers.append(dict(self.headers))
            answer = crm.answer(parts.path, parse_qs(parts.query))
            if answer is None:
                self.close_connection = True
                return
            status, body, headers = answer if len(answer) == 3 else (*answer, {})
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    crm.url = f"http://127.0.0.1:{server.server_address[1]}/api/v1"
    try:
        yield crm
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def crm() -> Iterator[Crm]:
    with running_crm() as running:
        yield running


@pytest.fixture
def door(crm: Crm) -> Iterator[YClients]:
    opened = crm.door()
    yield opened
    opened.close()


def good(data: Any, meta: Any = ()) -> tuple[int, Any]:
    return 200, {"success": True, "data": data, "meta": list(meta) if meta == () else meta}


HTML = (403, b"<!DOCTYPE html><html>Just a moment...</html>", {"Content-Type": "text/html; charset=UTF-8"})
BUSY = (200, {"success": False, "data": None, "meta": {"message": "Превышен лимит запросов"}})


@pytest.mark.parametrize("meta", [(), {}, {"total_count": 1}, {"page": 1, "total_count": 1}, {"message": "ok"}, None])
def test_every_form_of_the_envelope_is_read(crm: Crm, door: YClients, meta: Any) -> None:
    crm.always(good([{"id": 1}], meta))
    assert door.staff(1) == [{"id": 1}]


def test_bare_data_without_an_envelope_is_read(crm: Crm, door: YClients) -> None:
    crm.always((200, [{"id": 1}]))
    assert door.services(1) == [{"id": 1}]
    assert list(door.clients(1, None)) == [{"id": 1}]
    crm.always((200, {"id": 5, "title": "Салон"}))
    assert door.company(5)["title"] == "Салон"


def test_the_tokens_and_the_wanted_form_go_with_every_call(crm: Crm, door: YClients) -> None:
    door.staff(1)
    assert crm.headers[0]["Authorization"] == "Bearer partner, User user"
    assert crm.headers[0]["Accept"] == "application/vnd.yclients.v2+json"


@pytest.mark.parametrize(
    "fault", [BUSY, HTML, (429, {}), (500, {}), (502, b"Bad gateway"), (503, {}), (200, b"half a {"), None]
)
def test_a_passing_fault_is_asked_again(crm: Crm, door: YClients, fault: Answer) -> None:
    crm.always(fault, fault, good([{"id": 1}]))
    assert door.staff(1) == [{"id": 1}]
    assert crm.waits == list(PAUSES[:2])


@pytest.mark.parametrize("fault", [BUSY, HTML, (429, {}), (503, {}), (200, b"half a {"), None])
def test_a_fault_that_stays_is_an_error_after_a_few_questions_and_never_an_empty_answer(
    crm: Crm, door: YClients, fault: Answer
) -> None:
    crm.always(fault)
    with pytest.raises(CrmError) as error:
        door.staff(1)
    assert not error.value.permanent
    assert len(crm.asked) == RETRIES + 1
    assert len(crm.waits) == RETRIES


@pytest.mark.parametrize(
    ("named", "waited"),
    [("7", 7.0), ("0", 0.0), ("100000", LONGEST_PAUSE), ("soon", PAUSES[0]), ("²", PAUSES[0]), ("-1", PAUSES[0])],
)
def test_the_servers_own_delay_is_kept_within_reason(crm: Crm, door: YClients, named: str, waited: float) -> None:
    crm.always((429, {}, {"Retry-After": named}), good([]))
    door.staff(1)
    assert crm.waits == [waited]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 409, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "data": None, "meta": {"message": "Нет прав"}},
        {"errors": {"code": 438, "message": "Нет прав"}, "meta": {"message": "Нет прав"}},
        {"meta": {"message": "Нет прав", "errors": [{}]}},
        {"meta": []},
        [],
        None,
    ],
)
def test_a_refusal_that_will_not_pass_is_not_asked_again(crm: Crm, door: YClients, status: int, body: Any) -> None:
    crm.always((status, body))
    with pytest.raises(CrmError) as error:
        door.staff(1)
    assert error.value.permanent
    assert error.value.status == status
    assert len(crm.asked) == 1


@pytest.mark.parametrize("data", [{"1": {"id": 1}}, "text", [1, 2], [[{"id": 1}]]])
def test_an_answer_of_another_shape_is_an_error(crm: Crm, door: YClients, data: Any) -> None:
    crm.always(good(data))
    with pytest.raises(CrmError, match="expected a list of objects"):
        door.staff(1)


def paged(rows: list[Any], size: int, total: int | str | None = None) -> Callable[[str, dict[str, list[str]]], Answer]:
    """A CRM that serves `size` rows a page, whatever was asked for."""

    def answer(_: str, query: dict[str, list[str]]) -> Answer:
        page = int(query["page"][0])
        meta = {} if total is None else {"page": page, "total_count": total}
        return good(rows[(page - 1) * size : page * size], meta)

    return answer


@pytest.mark.parametrize("total", [None, 60, "60"])
def test_a_short_page_is_no_end(crm: Crm, door: YClients, total: int | str | None) -> None:
    crm.answer = paged([{"id": n} for n in range(60)], 25, total)
    assert [row["id"] for row in door.clients(1, None)] == list(range(60))
    assert len(crm.asked) == (4 if total is None else 3)


def test_an_empty_book_is_one_question(crm: Crm, door: YClients) -> None:
    crm.answer = paged([], 25, 0)
    assert list(door.clients(1, None)) == []
    assert len(crm.asked) == 1


def test_pages_that_shift_while_they_are_read_give_each_row_once(crm: Crm, door: YClients) -> None:
    rows = [{"id": n} for n in range(9, -1, -1)]  # newest first

    def answer(_: str, query: dict[str, list[str]]) -> Answer:
        page = int(query["page"][0])
        found = good(rows[(page - 1) * 4 : page * 4], {"total_count": len(rows)})
        rows.insert(0, {"id": 100 + page})  # somebody books while we read
        return found

    crm.answer = answer
    read = [row["id"] for row in door.records(1, changed_after=None, start_date=None)]
    assert len(read) == len(set(read))
    assert set(range(10)) <= set(read)


def test_a_page_that_only_repeats_is_an_error_and_no_endless_reading(crm: Crm, door: YClients) -> None:
    crm.answer = lambda *_: good([{"id": 1}, {"id": 2}], {"total_count": 1000})
    with pytest.raises(CrmError, match="repeats"):
        list(door.clients(1, None))
    assert len(crm.asked) == 2


def test_rows_without_an_id_are_passed_on_to_be_rejected(crm: Crm, door: YClients) -> None:
    rows = [{"name": "A"}, {"name": "B"}, {"id": None}, {"id": [1]}, {"id": 3}]
    crm.answer = paged(rows, 10, 5)
    assert list(door.clients(1, None)) == rows


def test_a_total_that_is_no_number_stops_nothing(crm: Crm, door: YClients) -> None:
    crm.answer = paged([{"id": 1}], 10, "many")
    assert list(door.clients(1, None)) == [{"id": 1}]


def test_texts_that_no_table_takes_are_mended_at_the_door(crm: Crm, door: YClients) -> None:
    crm.always(
        (
            200,
            b'{"success": true, "data": [{"id": 1, "a\\u0000": "x\\u0000y", "b": ["\\ud83d"], "c": "\\ud83d\\ude00", "d": NaN}]}',
        )
    )
    assert door.staff(1) == [{"id": 1, "a": "xy", "b": ["?"], "c": "😀", "d": "NaN"}]


def test_changes_are_asked_for_with_deleted_rows(crm: Crm, door: YClients) -> None:
    list(door.records(7, changed_after="2026-11-22T10:00:00", start_date=None))
    list(door.records(7, changed_after=None, start_date=DAY))
    first, second = (parse_qs(urlsplit(path).query) for path in crm.asked)
    assert first["with_deleted"] == second["with_deleted"] == ["1"]
    assert first["changed_after"] == ["2026-11-22T10:00:00"]
    assert "start_date" not in first
    assert second["start_date"] == ["2026-11-26"]
    assert "changed_after" not in second


def question(company_id: int = 1, staff_id: int = 5, day: date = DAY, zone: str = "Europe/Moscow") -> SlotQuestion:
    return SlotQuestion(company_id, 9, staff_id, day, zone)


def slot(time: str, **changes: Any) -> dict[str, Any]:
    return {"time": time, "seance_length": 3600, "sum_length": 5400, "datetime": "2026-11-26T10:00:00+04:00"} | changes


def test_slots_are_instants_by_the_wall_clock_and_the_salons_zone(crm: Crm, door: YClients) -> None:
    crm.always(good([slot("9:00"), slot("18:30", sum_length=None), slot("20:15", sum_length="1800")]))
    answer = door.open_slots([question()])
    assert answer.failed == {}
    assert answer.slots.rows() == [
        (1, 9, 5, datetime(2026, 11, 26, 6, tzinfo=UTC), 5400),
        (1, 9, 5, datetime(2026, 11, 26, 15, 30, tzinfo=UTC), 3600),
        (1, 9, 5, datetime(2026, 11, 26, 17, 15, tzinfo=UTC), 1800),
    ]
    assert "service_ids%5B%5D=9" in crm.asked[0]
    assert crm.asked[0].startswith("/api/v1/book_times/1/5/2026-11-26?")


def test_on_the_day_of_the_change_of_clocks_the_wall_clock_counts(crm: Crm, door: YClients) -> None:
    crm.always(good([slot("1:30"), slot("10:00", datetime="2026-11-01T10:00:00-04:00")]))
    starts = door.open_slots([question(day=date(2026, 11, 1), zone="America/Toronto")]).slots["starts_at"].to_list()
    assert starts == [datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 15, tzinfo=UTC)]


def test_each_question_is_asked_once(crm: Crm, door: YClients) -> None:
    door.open_slots([question(staff_id=n % 3) for n in range(12)])
    assert len(crm.asked) == 3


def test_no_free_time_is_an_answer(crm: Crm, door: YClients) -> None:
    crm.always(good([]))
    answer = door.open_slots([question()])
    assert answer.slots.is_empty()
    assert answer.slots.schema["starts_at"] == pl.Datetime("us", "UTC")
    assert answer.failed == {}
    assert door.open_slots([]).slots.is_empty()


@pytest.mark.parametrize("fault", [(402, {"meta": {"message": "Необходимо продлить лицензию"}}), (429, {}), HTML, BUSY])
def test_a_company_with_one_failed_question_is_left_out_whole_and_the_others_are_not(
    crm: Crm, door: YClients, fault: Answer
) -> None:
    crm.answer = lambda path, _: fault if "/book_times/2/7/" in path else good([slot("10:00")])
    answer = door.open_slots([question(company, staff) for company in (1, 2, 3) for staff in (5, 7, 8)])
    assert set(answer.failed) == {2}
    assert answer.slots["company_id"].unique().sort().to_list() == [1, 3]


@pytest.mark.parametrize(
    "row", [{"seance_length": 3600}, {"time": "10:00"}, slot("later"), slot("25:00"), slot("10:00", sum_length="long")]
)
def test_a_slot_that_cannot_be_read_fails_its_company(crm: Crm, door: YClients, row: dict[str, Any]) -> None:
    crm.always(good([slot("9:00"), row]))
    answer = door.open_slots([question()])
    assert set(answer.failed) == {1}
    assert answer.slots.is_empty()


def test_a_company_that_failed_is_not_asked_on_and_on(crm: Crm, door: YClients) -> None:
    crm.always((401, {}))
    assert set(door.open_slots([question(staff_id=n) for n in range(100)]).failed) == {1}
    assert len(crm.asked) <= 8  # a few were under way


def test_only_companies_of_its_sources_are_served_and_only_with_a_token(crm: Crm) -> None:
    assert crm.door().serves("yclients")
    assert not crm.door().serves("import")
    assert not YClients(crm.url, None, None, RateLimiter("none", ())).serves("yclients")


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=1, clients=40, now="2026-11-01T00:00:00+00:00") as town:
        yield town


def test_the_door_and_the_town_understand_each_other(running: Town) -> None:
    limiter, waits = RateLimiter("none", ()), []
    door = YClients(running.yclients_url, running.partner, running.user, limiter, sleep=waits.append)
    (company_id,) = (int(key) for key in running.sessions)
    card = door.company(company_id)
    clients = list(door.clients(company_id, None))
    records = list(door.records(company_id, changed_after=None, start_date=None))
    assert len(clients) == 40
    assert len({row["id"] for row in records}) == len(records) > 40
    running.fail("/api/v1/book_times", status=429, retry_after=3)
    running.fail("/api/v1/book_times", status=403)
    service = door.services(company_id)[0]
    staff = [int(row["id"]) for row in service["staff"]]
    questions = [
        SlotQuestion(company_id, service["id"], member, date(2026, 11, day), card["timezone_name"])
        for member in staff
        for day in (3, 4, 5)
    ]
    answer = door.open_slots(questions)
    assert answer.failed == {}
    assert answer.slots.height > 0
    assert len(waits) == 2
    assert 3.0 in waits
    door.close()
