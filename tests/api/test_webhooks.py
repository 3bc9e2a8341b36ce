"""What WAHA's webhook endpoint promises: nothing unsigned comes in, nothing signed is lost, everything counts once."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from reactivation_api.webhooks import MAX_BODY
from tests.api.salons import CLIENT_PHONE, OTHER_SALON, SALON, WAHA_PATH, message, signature

STORED = "SELECT kind, company_id, phone, body, error, processed_at FROM inbox ORDER BY inbox_id"


def test_a_signed_message_is_stored_with_its_salon_before_the_answer(api):
    answer = api.deliver(message("Да, на 18:30"))
    assert (answer.status_code, answer.json()) == (
        200,
        {"success": True, "data": {"new": 1, "duplicates": 0, "opt_outs": 0}},
    )
    [row] = api.rows(STORED)
    assert (row.kind, row.company_id, row.phone, row.body) == ("message", SALON, CLIENT_PHONE, "Да, на 18:30")
    assert row.processed_at is None


@pytest.mark.parametrize("given", [None, "", "0" * 128, "не подпись".encode().decode("latin-1"), "a" * 5000])
def test_without_the_right_signature_nothing_comes_in(api, given):
    raw = json.dumps(message("стоп")).encode()
    headers = {} if given is None else {"X-Webhook-Hmac": given.encode("latin-1")}
    answer = api.checked(api.http.post(WAHA_PATH, content=raw, headers=headers))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert api.rows(STORED) == []


def test_a_signature_holds_for_exactly_the_bytes_it_was_made_of(api):
    raw = json.dumps(message("Спасибо")).encode()
    for altered in (raw + b" ", raw.replace(b'"message"', b'"message" '), raw[:-1], b""):
        assert api.post(altered, signature(raw)).status_code == 401
    assert api.rows(STORED) == []
    assert api.post(raw, signature(raw).upper()).status_code == 200  # hex has no case


def test_an_event_delivered_again_changes_nothing(api):
    event = message("стоп")
    first, second = api.deliver(event), api.deliver(event)
    assert first.json()["data"] == {"new": 1, "duplicates": 0, "opt_outs": 1}
    assert second.json()["data"] == {"new": 0, "duplicates": 1, "opt_outs": 0}
    assert len(api.rows(STORED)) == 1


def test_every_event_of_a_batch_is_stored_the_unreadable_one_too(api):
    batch = [message("Первое"), {"event": "message"}, message("Второе", salon=OTHER_SALON), 7, message("Третье")]
    assert api.deliver(batch).json()["data"] == {"new": 5, "duplicates": 0, "opt_outs": 0}
    kinds = sorted((row.kind, row.body) for row in api.rows(STORED) if row.body)
    assert kinds == [("message", "Второе"), ("message", "Первое"), ("message", "Третье")]
    assert len([row for row in api.rows(STORED) if row.kind == "malformed" and row.error]) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"\xff\xfe\x00",
        b"null",
        b'"text"',
        b"NaN",
        b"[" * 100_000,
        b'{"event": "message", "session": "salon-101", "payload": {"id": "\\u0000\\ud800", "from": 5}}',
        b'{"event": "message", "session": "salon-101", "payload": {"id": ' + b"9" * 5000 + b"}}",
    ],
    ids=str,
)
def test_signed_nonsense_is_kept_as_malformed_and_answered(api, raw):
    answer = api.deliver(raw)
    assert (answer.status_code, answer.json()["data"]["new"]) == (200, 1)
    [row] = api.rows(STORED)
    assert row.kind == "malformed"
    assert row.error


def test_a_body_over_one_mebibyte_is_refused_with_and_without_a_declared_length(api):
    fits, too_big = b" " * (MAX_BODY - 2) + b"{}", b" " * (MAX_BODY - 1) + b"{}"
    assert api.deliver(fits).status_code == 200
    assert api.deliver(too_big).status_code == 413
    chunked = api.checked(api.http.post(WAHA_PATH, content=iter([too_big[:1000], too_big[1000:]])))
    assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "payload_too_large")


def test_a_client_who_asks_to_stop_is_suppressed_when_the_answer_leaves(api):
    assert api.deliver(message("Не пишите мне больше")).json()["data"]["opt_outs"] == 1
    [entry] = api.rows(
        "SELECT company_id, phone, reason, inbox_id, lifted_at, (SELECT max(inbox_id) FROM inbox) AS stored FROM suppressions"
    )
    assert (entry.company_id, entry.phone, entry.lifted_at) == (SALON, CLIENT_PHONE, None)
    assert entry.inbox_id == entry.stored
    statuses = dict(api.rows("SELECT company_id, status FROM reactivation_campaigns"))
    assert statuses == {SALON: "cancelled", OTHER_SALON: "planned"}  # the same person is another salon's client


def test_a_message_whose_suppression_fails_is_not_stored_and_comes_again(api):
    event = message("стоп")
    with api.platform.database.begin() as connection:
        connection.execute(text("ALTER TABLE suppressions RENAME TO suppressions_away"))
    broken = api.deliver(event)
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal_error")
    assert broken.json()["error"]["details"] == {"request_id": broken.headers["x-request-id"]}
    assert api.rows(STORED) == []
    with api.platform.database.begin() as connection:
        connection.execute(text("ALTER TABLE suppressions_away RENAME TO suppressions"))
    assert api.deliver(event).json()["data"] == {"new": 1, "duplicates": 0, "opt_outs": 1}
    assert len(api.rows("SELECT 1 FROM suppressions")) == 1


def test_of_fifty_calls_at_once_with_repeats_none_is_lost_and_none_counts_twice(api):
    events = [message(f"Сообщение {n}", message_id=f"ID{n}") for n in range(40)]
    calls = events + [{**events[n], "id": f"again_{n}"} for n in range(10)]
    with ThreadPoolExecutor(max_workers=50) as pool:
        answers = list(pool.map(api.deliver, calls))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["data"]["new"] for answer in answers) == 40
    assert sum(answer.json()["data"]["duplicates"] for answer in answers) == 10
    assert {row.body for row in api.rows(STORED)} == {f"Сообщение {n}" for n in range(40)}


def test_two_clients_stopping_and_confirming_at_once_do_not_wait_for_each_other_for_ever(api):
    """Batches name the same events in opposite orders; a transaction that locked in the order given would deadlock."""
    events = [
        message("стоп", phone=f"+7900000{n:04}", message_id=f"S{n}", salon=s) for n, s in product(range(8), (101, 202))
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(api.deliver, [events, events[::-1]] * 4))
    assert {answer.status_code for answer in answers} == {200}
    assert len(api.rows("SELECT 1 FROM suppressions")) == len(events)


def test_connections_that_the_database_dropped_are_made_anew(api, database_url):
    assert api.deliver(message("раз")).status_code == 200
    name = make_url(database_url).database
    admin = create_engine(make_url(database_url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
    admin.dispose()
    assert api.deliver(message("два")).status_code == 200
    assert len(api.rows(STORED)) == 2


def test_a_caller_that_leaves_in_the_middle_of_its_body_harms_nobody(api):
    url = httpx.URL(str(api.http.base_url))
    with socket.create_connection((url.host, url.port)) as raw:
        raw.sendall(f"POST {WAHA_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf".encode())
    assert api.deliver(message("Да")).status_code == 200


def test_other_methods_and_paths_are_refused_in_the_envelope(api):
    wrong_method = api.http.get(WAHA_PATH)
    assert (wrong_method.status_code, wrong_method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong_method.headers["allow"] == "POST"
    for path in (f"{WAHA_PATH}/", "/api/reactivation/webhooks/whatsapp/other", "/", "/docs", "/openapi.json"):
        missing = api.http.post(path, content=b"{}")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found"), path
