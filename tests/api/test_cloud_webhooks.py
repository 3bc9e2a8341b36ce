"""What the Cloud API's webhook promises: the challenge, signatures over raw bytes, every part of every batch, clear refusals."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from reactivation_api.app import create_app
from reactivation_api.server import running_api
from reactivation_api.webhooks import MAX_BATCH
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import SettingsError
from tests.api.salons import CLIENT_PHONE, SALONS, Api, settings_for

PATH = "/api/reactivation/webhooks/whatsapp/cloud"
SECRET, VERIFY = "invented-app-secret", "invented-verify-token"
NUMBERS = "UPDATE channel_accounts SET channel = 'whatsapp_cloud', session = 'number-' || company_id, business_id = 'waba-' || company_id"


@pytest.fixture
def cloud(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Api]:
    settings = settings_for(
        tmp_path, whatsapp_access_token="invented", whatsapp_app_secret=SECRET, whatsapp_verify_token=VERIFY
    )
    platform = Platform(settings, SystemClock(), ServerUrls(database_url, redis_url))
    with platform.database.begin() as connection:
        connection.execute(text(SALONS))
        connection.execute(text(NUMBERS))
    with running_api(platform) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Api(http, create_app(platform).openapi(), platform)
    platform.close()


def signed(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


def deliver(api: Api, body: Any) -> httpx.Response:
    raw = json.dumps(body).encode()
    return api.checked(api.http.post(PATH, content=raw, headers=signed(raw)))


def status(number: int, name: str = "delivered") -> dict[str, str]:
    return {"id": f"wamid.{number}", "status": name, "timestamp": "1780000000", "recipient_id": CLIENT_PHONE[1:]}


def said(number: int, words: str) -> dict[str, Any]:
    return {
        "id": f"wamid.in{number}",
        "from": CLIENT_PHONE[1:],
        "timestamp": "1780000000",
        "type": "text",
        "text": {"body": words},
    }


def change(salon: int, **content: Any) -> dict[str, Any]:
    return {"field": "messages", "value": {"metadata": {"phone_number_id": f"number-{salon}"}, **content}}


def entry(salon: int, *changes: Any) -> dict[str, Any]:
    return {"id": f"waba-{salon}", "time": 1780000000, "changes": list(changes)}


def test_the_challenge_is_echoed_to_whoever_knows_the_token(cloud):
    asked = {"hub.mode": "subscribe", "hub.verify_token": VERIFY, "hub.challenge": "1158201444"}
    answer = cloud.http.get(PATH, params=asked)
    assert (answer.status_code, answer.text) == (200, "1158201444")
    assert cloud.http.get(PATH, params={**asked, "hub.verify_token": "guess"}).status_code == 403
    assert cloud.http.get(PATH).status_code == 403


def test_every_part_of_every_entry_and_change_is_stored_once(cloud):
    body = {
        "entry": [
            entry(
                101,
                change(101, statuses=[status(1), status(2)]),
                change(101, messages=[said(1, "Да"), said(2, "Спасибо")]),
            ),
            entry(202, change(202, statuses=[status(3), status(4, "read")], messages=[said(3, "Нет")])),
        ]
    }
    assert deliver(cloud, body).json()["data"] == {"new": 7, "duplicates": 0, "opt_outs": 0}
    assert deliver(cloud, body).json()["data"] == {"new": 0, "duplicates": 7, "opt_outs": 0}
    rows = cloud.rows("SELECT company_id, kind, count(*) AS found FROM inbox GROUP BY 1, 2 ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [(101, "ack", 2), (101, "message", 2), (202, "ack", 2), (202, "message", 1)]


def test_a_pressed_button_that_stops_is_in_force_when_it_is_answered(cloud):
    pressed = {**said(1, ""), "type": "button", "button": {"payload": "x", "text": "Не пишите мне"}}
    assert deliver(cloud, {"entry": [entry(101, change(101, messages=[pressed]))]}).json()["data"]["opt_outs"] == 1
    [row] = cloud.rows("SELECT company_id, phone, source FROM suppressions")
    assert tuple(row) == (101, CLIENT_PHONE, "webhook")
    [left] = cloud.rows("SELECT status FROM reactivation_campaigns WHERE company_id = 101")
    assert left.status == "cancelled"


def test_marketing_stopped_at_the_messenger_is_an_opt_out_and_resumed_there_lifts_nothing(cloud):
    wish = {"wa_id": CLIENT_PHONE[1:], "category": "marketing_messages", "timestamp": "1780000000"}
    for value in ("stop", "resume"):
        wanted = {"metadata": {"phone_number_id": "number-101"}, "user_preferences": [{**wish, "value": value}]}
        deliver(cloud, {"entry": [entry(101, {"field": "user_preferences", "value": wanted})]})
    [row] = cloud.rows("SELECT company_id, phone, source, lifted_at FROM suppressions")
    assert tuple(row) == (101, CLIENT_PHONE, "channel", None)


def test_a_ban_of_a_business_stops_all_its_numbers_and_no_other(cloud):
    cloud.rows("UPDATE channel_accounts SET first_sent_at = now() - interval '1 day' RETURNING 1")
    banned = {
        "field": "account_update",
        "value": {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}},
    }
    assert deliver(cloud, {"entry": [entry(101, banned)]}).status_code == 200
    rows = cloud.rows("SELECT company_id, state, ban_count FROM channel_accounts ORDER BY 1")
    assert [tuple(row) for row in rows] == [(101, "stopped", 1), (202, "working", 0)]


def test_what_cannot_be_read_is_kept_and_the_rest_goes_on(cloud):
    body = {"entry": [entry(101, change(101, statuses=[7, status(1)]), "x", {"field": 1}), None, 5]}
    assert deliver(cloud, body).json()["data"]["new"] == 6
    rows = cloud.rows("SELECT kind, count(*) AS found FROM inbox GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [("ack", 1), ("malformed", 5)]


def test_only_the_right_signature_of_these_very_bytes_comes_in(cloud):
    raw = json.dumps({"entry": [entry(101, change(101, messages=[said(1, "стоп")]))]}).encode()
    for headers, sent in (({}, raw), (signed(raw), raw + b" "), (signed(raw, "guess"), raw), (signed(raw, ""), raw)):
        answer = cloud.checked(cloud.http.post(PATH, content=sent, headers=headers))
        assert answer.status_code == 401
    assert cloud.rows("SELECT 1 FROM inbox") == []


def test_a_batch_that_is_too_large_is_refused_before_it_is_read(cloud):
    answer = cloud.checked(cloud.http.post(PATH, content=b"x" * (MAX_BATCH + 1)))
    assert answer.status_code == 413


def test_without_the_channel_there_is_no_such_address(api):
    assert api.http.get(PATH).status_code == 404
    assert api.checked(api.http.post(PATH, content=b"{}")).status_code == 404


@pytest.mark.parametrize("missing", ["whatsapp_app_secret", "whatsapp_verify_token"])
def test_the_service_does_not_start_when_anybody_could_post(tmp_path, missing):
    secrets = {"whatsapp_app_secret": SECRET, "whatsapp_verify_token": VERIFY, missing: None}
    platform = Platform(
        settings_for(tmp_path, whatsapp_access_token="invented", **secrets), SystemClock(), ServerUrls("", "")
    )
    with pytest.raises(SettingsError, match=missing.upper()), running_api(platform):
        pass
