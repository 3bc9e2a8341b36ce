import hashlib
import hmac
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town

CHAT = "79000000003@c.us"


def send(gateway: httpx.Client, chat: str = CHAT, text: str = "Записать вас в среду в 18:30?") -> httpx.Response:
    return gateway.post("/api/sendText", json={"session": "company_101", "chatId": chat, "text": text})


def test_calls_without_the_key_or_to_an_unknown_session_are_refused(gateway: httpx.Client) -> None:
    assert gateway.post("/api/sendText", json={}, headers={"X-Api-Key": "wrong"}).status_code == 401
    assert gateway.get("/api/sessions/company_101", headers={"X-Api-Key": ""}).status_code == 401
    assert gateway.get("/api/sessions/nobody").status_code == 404
    assert send(gateway, chat="not-a-chat").status_code == 400


def test_a_sent_text_is_recorded_and_answered_like_the_gateway_does(town: Town, gateway: httpx.Client) -> None:
    answer = send(gateway)
    assert answer.status_code == 201
    assert answer.json()["id"].startswith(f"true_{CHAT}_3EB0")
    assert (answer.json()["ackName"], answer.json()["fromMe"]) == ("PENDING", True)
    (kept,) = town.messages()
    assert (kept["chatId"], kept["session"], kept["id"]) == (CHAT, "company_101", answer.json()["id"])


def test_numbers_and_sessions_can_be_asked_about(town: Town, gateway: httpx.Client) -> None:
    known = gateway.get("/api/contacts/check-exists", params={"phone": "79000000003", "session": "company_101"}).json()
    assert known == {"numberExists": True, "chatId": CHAT}
    assert gateway.get(
        "/api/contacts/check-exists", params={"phone": "79009999999", "session": "company_101"}
    ).json() == {"numberExists": False}
    state = gateway.get("/api/sessions/company_101").json()
    assert (state["status"], state["me"]["id"]) == ("WORKING", "79001000000@c.us")
    assert gateway.get("/api/sessions/company_101/capping").json()["cappingStatus"] == "NONE"
    town.set_session("company_101", "FAILED")
    assert gateway.get("/api/sessions/company_101").json()["me"] is None
    assert (send(gateway).status_code, town.messages()) == (422, [])


def test_a_lost_answer_leaves_the_message_sent(town: Town, gateway: httpx.Client) -> None:
    town.fail("/api/sendText", kind="lose_response")
    with pytest.raises(httpx.TransportError):
        send(gateway)
    assert len(town.messages()) == 1
    assert send(gateway).status_code == 201


def test_webhooks_are_signed_in_time_order_and_sometimes_doubled(
    town: Town, gateway: httpx.Client, receiver: Any
) -> None:
    town.set_webhook(receiver.url, "a key")
    for number in range(1, 60):
        assert send(gateway, f"790000{number:05d}@c.us").status_code == 201
    town.set_session("company_102", "STARTING")
    town.set_clock(town.clock() + timedelta(days=3))
    assert len(receiver.got) > 100
    for headers, body in receiver.got:
        assert headers["x-webhook-hmac"] == hmac.new(b"a key", body, hashlib.sha512).hexdigest()
        assert headers["x-webhook-hmac-algorithm"] == "sha512"
        assert headers["x-webhook-request-id"] == json.loads(body)["id"]
    events = [json.loads(body) for _, body in receiver.got]
    assert {e["event"] for e in events} == {"message", "message.ack", "session.status"}
    assert {"id", "event", "session", "me", "payload", "timestamp", "engine", "environment"} <= set(events[0])
    times = [e["timestamp"] for e in events]
    assert times == sorted(times)
    assert max(Counter(e["id"] for e in events).values()) == 2
    replies = [e["payload"] for e in events if e["event"] == "message"]
    assert replies
    assert all(p["from"].endswith("@c.us") and not p["fromMe"] and p["body"] for p in replies)


def test_webhooks_that_nobody_takes_are_kept_for_the_next_time(
    town: Town, gateway: httpx.Client, receiver: Any
) -> None:
    town.set_webhook(receiver.url)
    receiver.status = 503
    send(gateway)
    town.set_clock(town.clock() + timedelta(minutes=3))
    tried = {headers["x-webhook-request-id"] for headers, _ in receiver.got}
    assert len(receiver.got) >= 3
    receiver.got.clear()
    receiver.status = 200
    town.set_clock(town.clock() + timedelta(seconds=1))
    assert tried <= {headers["x-webhook-request-id"] for headers, _ in receiver.got}


def test_webhooks_never_leave_this_machine(town: Town) -> None:
    with pytest.raises(ValueError, match="loopback"):
        town.set_webhook("http://example.com/hook")
