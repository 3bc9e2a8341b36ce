"""What the CRM's webhook endpoint promises: only the right address is heard, every hint is stored once, nothing private is kept."""

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from reactivation_api.app import create_app
from reactivation_api.server import running_api
from reactivation_api.webhooks import MAX_BODY
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from tests.api.salons import CLIENT_PHONE, OTHER_SALON, SALON, Api, settings_for

SECRET = "an-invented-secret-of-a-webhook"
BASE = "/api/reactivation/webhooks/yclients"
STORED = (
    "SELECT kind, company_id, message_id, payload, body, error, processed_at, event_key FROM inbox ORDER BY inbox_id"
)


@contextmanager
def service(home: Path, urls: ServerUrls, **overrides: Any) -> Iterator[Api]:
    platform = Platform(settings_for(home, **{"yclients_webhook_secret": SECRET, **overrides}), SystemClock(), urls)
    with running_api(platform) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Api(http, create_app(platform).openapi(), platform)
    platform.close()


@pytest.fixture
def crm_api(platform: Platform, tmp_path: Path) -> Iterator[Api]:
    """The service with a secret, over the database with two salons."""
    with service(tmp_path, platform.urls) as api:
        yield api


def event(
    resource_id: int = 5001, *, salon: int = SALON, resource: str = "record", status: str = "create", **data: Any
) -> dict[str, Any]:
    """A change of a booking, as the CRM tells of it."""
    card = {"id": resource_id, "client": {"id": 1, "name": "Анна", "phone": CLIENT_PHONE}, "attendance": 0, **data}
    return {"company_id": salon, "resource": resource, "resource_id": resource_id, "status": status, "data": card}


def callback(event: str, salon: int = SALON) -> dict[str, Any]:
    return {"salon_id": salon, "application_id": 77, "event": event, "partner_token": "a-partner-token"}


def tell(api: Api, said: Any, secret: str = SECRET) -> httpx.Response:
    """Post as the CRM does."""
    raw = said if isinstance(said, bytes) else json.dumps(said).encode()
    return api.checked(api.http.post(f"{BASE}/{secret}", content=raw, headers={"Content-Type": "application/json"}))


def heard(api: Api, said: Any) -> dict[str, int]:
    answer = tell(api, said)
    assert answer.status_code == 200
    found: dict[str, int] = answer.json()["data"]
    return found


def test_a_change_is_stored_as_a_hint_without_its_data_before_the_answer(crm_api):
    assert tell(crm_api, event()).json() == {"success": True, "data": {"new": 1, "duplicates": 0}}
    [row] = crm_api.rows(STORED)
    assert (row.kind, row.company_id, row.message_id) == ("crm", SALON, "record:5001")
    assert row.payload == {"resource": "record", "resource_id": 5001, "status": "create"}
    assert (row.body, row.error, row.processed_at) == (None, None, None)


def test_the_four_copies_that_the_crm_sends_of_one_edit_are_one_hint(crm_api):
    assert [heard(crm_api, event(status="update"))["new"] for _ in range(4)] == [1, 0, 0, 0]
    assert heard(crm_api, [event(status="update")] * 3) == {"new": 0, "duplicates": 3}
    assert heard(crm_api, event(status="update", attendance=1)) == {"new": 1, "duplicates": 0}  # another edit
    assert heard(crm_api, event(status="delete")) == {"new": 1, "duplicates": 0}
    assert len(crm_api.rows(STORED)) == 3


def test_a_list_of_events_is_stored_whole_the_unreadable_one_too(crm_api):
    batch = [event(1), 7, event(2, salon=OTHER_SALON), {"resource": "record"}, callback("freeze"), event(1)]
    assert heard(crm_api, batch) == {"new": 5, "duplicates": 1}
    kinds = sorted((row.kind, row.company_id or 0) for row in crm_api.rows(STORED))
    assert kinds == [("crm", SALON), ("crm", SALON), ("crm", OTHER_SALON), ("malformed", 0), ("malformed", 0)]


@pytest.mark.parametrize("data", [[], {}, None, {"id": "5001"}], ids=str)
def test_partial_and_empty_data_are_as_good_a_hint_as_any(crm_api, data):
    assert heard(crm_api, event() | {"data": data})["new"] == 1
    [row] = crm_api.rows(STORED)
    assert (row.kind, row.processed_at) == ("crm", None)


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
        b'{"company_id": ' + b"9" * 5000 + b', "resource": "record", "resource_id": 1, "status": "create"}',
        b'{"company_id": 99999999999999999999, "resource": "record", "resource_id": 1, "status": "create"}',
        b'{"company_id": 101, "resource": "\\u0000\\ud800", "resource_id": -1, "status": "create"}',
        b'{"company_id": 101, "resource": "record", "resource_id": 1, "status": "explode"}',
        b'{"salon_id": 101, "event": "uninstall"}',
    ],
    ids=lambda raw: repr(raw[:40]),
)
def test_nonsense_is_kept_as_malformed_with_its_reason_and_answered(crm_api, raw):
    assert heard(crm_api, raw) == {"new": 1, "duplicates": 0}
    [row] = crm_api.rows(STORED)
    assert (row.kind, row.processed_at is not None) == ("malformed", True)
    assert row.error
    assert len(row.body) <= 2000
    assert crm_api.rows("SELECT crm_status FROM companies WHERE company_id = 101") == [("active",)]


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps({**event(), "status": "?", "partner_token": "a-partner-token"}).encode(),
        json.dumps(
            {**callback("gone"), "client": {"fullname": "Анна", "phones": [CLIENT_PHONE]}}, ensure_ascii=False
        ).encode(),
        json.dumps({**callback("gone"), "email": "anna@example.org", "display_name": {"first": "Анна"}}).encode(),
        json.dumps({**event(), "email": "anna@example.org"}, ensure_ascii=False).encode()[:-1],
        f"phone={CLIENT_PHONE}&name=Анна&partner_token=a-partner-token&email=anna@example.org&x=1".encode(),
        f"call {CLIENT_PHONE}".encode(),
    ],
    ids=lambda raw: repr(raw[-60:]),
)
def test_of_what_cannot_be_understood_nothing_private_is_kept(crm_api, raw):
    assert heard(crm_api, raw)["new"] == 1
    [row] = crm_api.rows("SELECT CAST(inbox AS text) AS all_of_it, kind FROM inbox")
    assert row.kind == "malformed"
    for private in ("Анна", "\\u0410\\u043d\\u043d\\u0430", CLIENT_PHONE, CLIENT_PHONE[1:], "a-partner-token", "anna@"):
        assert private not in row.all_of_it


def test_of_a_well_formed_event_and_of_a_callback_nothing_private_is_kept(crm_api):
    heard(crm_api, [event(), callback("payment"), callback("uninstall")])
    everything = "".join(row.everything for row in crm_api.rows("SELECT CAST(inbox AS text) AS everything FROM inbox"))
    for private in ("Анна", CLIENT_PHONE[1:], "a-partner-token"):
        assert private not in everything


@pytest.mark.parametrize(
    "given", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), "%00", "я" * 31, SECRET + "/", f"{SECRET}/x"]
)
def test_at_any_other_address_there_is_nothing(crm_api, given):
    answer = tell(crm_api, event(), given)
    assert answer.status_code == 404
    assert answer.json() == crm_api.http.post("/api/reactivation/nowhere").json()
    assert crm_api.rows(STORED) == []


def test_a_stranger_is_refused_before_the_body_is_read(crm_api):
    assert tell(crm_api, b" " * (2 * MAX_BODY), "wrong").status_code == 404


def test_without_a_secret_there_is_no_such_webhook(api):
    for given in ("", "None", "unset", SECRET):
        assert tell(api, event(), given).status_code == 404


def test_the_secret_is_in_no_log_line_and_no_error(crm_api, caplog):
    caplog.set_level(logging.DEBUG)
    tell(crm_api, event())
    tell(crm_api, b"{")
    for path in (f"{BASE}/{SECRET}/", f"{BASE}//{SECRET}", f"/webhooks/YCLIENTS/{SECRET}", f"{BASE}%2F{SECRET}"):
        assert SECRET not in crm_api.http.post(path, content=b"{}").text
    assert crm_api.http.get(f"{BASE}/{SECRET}").status_code == 405
    with crm_api.platform.database.begin() as connection:
        connection.execute(text("ALTER TABLE inbox RENAME TO inbox_away"))
    broken = tell(crm_api, event())
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "internal_error")
    # the service turns uvicorn's own access log off; here it is heard all the same
    others = ("uvicorn.access", "httpx", "httpcore")
    ours = [record for record in caplog.records if not record.name.startswith(others)]
    lines = [record.getMessage() + (record.exc_text or "") for record in ours]
    assert sum("/webhooks/yclients/***" in line for line in lines) >= 5
    assert not [line for line in lines if SECRET in line]
    assert SECRET not in broken.text


def test_a_body_over_one_mebibyte_is_refused_and_two_with_it(crm_api):
    assert tell(crm_api, b" " * (MAX_BODY - 2) + b"{}").status_code == 200
    for size in (MAX_BODY + 1, 2 * MAX_BODY):
        assert tell(crm_api, b" " * size).status_code == 413
    chunked = crm_api.checked(crm_api.http.post(f"{BASE}/{SECRET}", content=iter([b" " * MAX_BODY, b"{}"])))
    assert (chunked.status_code, chunked.json()["error"]["code"]) == (413, "payload_too_large")


def test_a_database_that_is_away_makes_the_crm_come_again(tmp_path, redis_url):
    away = ServerUrls("postgresql+psycopg://someone:hunter2@127.0.0.1:1/db", redis_url)
    with service(tmp_path, away) as api:
        answer = tell(api, event())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert tell(api, event(), "wrong").status_code == 404


def test_a_body_whose_storing_fails_half_way_leaves_nothing_behind_and_comes_again(crm_api):
    with crm_api.platform.database.begin() as connection:
        connection.execute(text("ALTER TABLE alerts RENAME TO alerts_away"))
    assert tell(crm_api, [event(), callback("uninstall")]).status_code == 500
    assert crm_api.rows(STORED) == []
    assert crm_api.rows("SELECT crm_status FROM companies WHERE company_id = 101") == [("active",)]
    with crm_api.platform.database.begin() as connection:
        connection.execute(text("ALTER TABLE alerts_away RENAME TO alerts"))
    assert heard(crm_api, [event(), callback("uninstall")]) == {"new": 2, "duplicates": 0}
    assert crm_api.rows("SELECT crm_status FROM companies WHERE company_id = 101") == [("uninstalled",)]


def test_of_fifty_calls_at_once_with_repeats_none_is_lost_and_none_counts_twice(crm_api):
    calls = [event(number) for number in range(1, 41)] + [event(number) for number in range(1, 11)]
    with ThreadPoolExecutor(max_workers=25) as pool:
        answers = list(pool.map(lambda said: heard(crm_api, said), calls))
    assert sum(answer["new"] for answer in answers) == 40
    assert sum(answer["duplicates"] for answer in answers) == 10
    assert {row.message_id for row in crm_api.rows(STORED)} == {f"record:{number}" for number in range(1, 41)}


def test_lists_in_opposite_orders_do_not_wait_for_each_other_for_ever(crm_api):
    batch = [event(number, salon=salon) for number in range(1, 51) for salon in (SALON, OTHER_SALON)]
    batch += [callback("freeze"), callback("payment", OTHER_SALON), callback("freeze", OTHER_SALON)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        answers = list(pool.map(lambda said: tell(crm_api, said), [batch, batch[::-1]] * 6))
    assert {answer.status_code for answer in answers} == {200}


def test_hints_stand_in_the_inbox_of_their_salon(crm_api, salon_key):
    heard(crm_api, [event(1), event(2, salon=OTHER_SALON)])
    answer = crm_api.get(f"/api/reactivation/inbox/{SALON}?kind=crm", salon_key)
    [item] = answer.json()["data"]["items"]
    assert (item["channel"], item["kind"], item["message_id"], item["processed_at"]) == (
        "yclients",
        "crm",
        "record:1",
        None,
    )
