"""The sandbox's messenger: the Cloud API's webhooks as Meta sends them, mischief on demand, bans, a clock that runs by itself."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from reactivation_sandbox.process import Town, running_town


@dataclass
class Receiver:
    """A webhook's receiver that keeps what it took. `refuse`: how many calls to answer with 503 first."""

    url: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    wrong: int = 0
    refuse: int = 0
    verify: str = "sandbox-verify"

    def statuses(self) -> list[dict[str, Any]]:
        return [one for value in self.values() for one in value.get("statuses", ())]

    def values(self) -> list[dict[str, Any]]:
        return [
            change["value"] for call in self.calls for entry in call.get("entry", ()) for change in entry["changes"]
        ]


@contextmanager
def receiver(secret: str) -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self._answer(200 if query["hub.verify_token"] == found.verify else 403, query["hub.challenge"].encode())

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            good = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
            if self.headers.get("X-Hub-Signature-256") != good:
                found.wrong += 1
            if found.refuse:
                found.refuse -= 1
                self._answer(503, b"")
                return
            found.calls.append(json.loads(raw))
            self._answer(200, b"")

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=2, clients=30, history=1) as running:
        yield running


@pytest.fixture
def hooks(town: Town) -> Iterator[Receiver]:
    town.reset()
    with receiver(town.app_secret) as running:
        town.set_cloud_webhook(running.url)
        yield running
        town.set_cloud_webhook(None)


def people(town: Town, company: int = 101) -> list[str]:
    return [one["phone"] for one in town.book(company)["clients"] if one["phone"].startswith("+79000")]


def send(town: Town, phone: str, company: int = 101, callback: str = "ours") -> httpx.Response:
    """Our own words, within a day of the client's."""
    town.write(company, phone, "Здравствуйте", "cloud")
    body = {
        "messaging_product": "whatsapp", "to": phone[1:], "type": "text", "text": {"body": "Ждём вас"},
        "biz_opaque_callback_data": callback,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {town.access_token}"}
    return httpx.post(
        f"{town.cloud_url}/{town.numbers[str(company)]}/messages", json=body, headers=headers, trust_env=False
    )


def test_statuses_come_signed_in_batches_with_our_id_and_the_price(town: Town, hooks: Receiver) -> None:
    town.mischief(batch=50, duplicate=0, quiet=True)
    for company in (101, 102):
        for number, phone in enumerate(people(town, company)[:5]):
            assert send(town, phone, company, f"{company}-{number}").status_code == 200
    hooks.calls.clear()
    town.set_clock(town.clock() + timedelta(minutes=10))
    assert hooks.wrong == 0
    (call,) = hooks.calls
    assert len(call["entry"]) == 2
    statuses = hooks.statuses()
    assert {one["biz_opaque_callback_data"] for one in statuses} == {f"{c}-{n}" for c in (101, 102) for n in range(5)}
    assert {one["status"] for one in statuses} == {"sent", "delivered"}
    assert statuses[0]["pricing"]["category"] == "marketing"


def test_an_address_that_does_not_answer_the_challenge_is_not_told_anything(town: Town, hooks: Receiver) -> None:
    hooks.verify = "another token"
    with pytest.raises(ValueError, match="did not answer the challenge"):
        town.set_cloud_webhook(hooks.url)


def test_what_is_not_taken_comes_again(town: Town, hooks: Receiver) -> None:
    hooks.refuse = 3
    town.write(101, people(town)[0], "Да", "cloud")
    assert (len(hooks.calls), town.undelivered()) == (0, 1)
    town.set_clock(town.clock() + timedelta(seconds=1))
    assert (len(hooks.calls), town.undelivered()) == (1, 0)
    assert len(town.answered()) == 1


def test_events_are_told_twice_late_and_without_a_step_on_demand(town: Town, hooks: Receiver) -> None:
    town.mischief(duplicate=1, late=1, late_s=3600, skip_delivered=1, batch=1)
    for phone in people(town)[:10]:
        send(town, phone)
    hooks.calls.clear()
    town.set_clock(town.clock() + timedelta(days=2))
    told = [(one["id"], one["status"]) for one in hooks.statuses()]
    assert all(told.count(one) == 2 for one in told)
    read = {one for one, status in told if status == "read"}
    assert read
    assert not read & {one for one, status in told if status == "delivered"}
    town.mischief(duplicate=0.03, late=0, skip_delivered=0.02)


@pytest.mark.parametrize("code", [131026, 131049, 131050, 131048, 368])
def test_any_error_can_come_with_a_failed_status(town: Town, hooks: Receiver, code: int) -> None:
    phone = people(town)[0]
    town.mischief(errors=[{"channel": "cloud", "code": code, "way": "status", "phone": phone[1:]}], duplicate=0)
    assert send(town, phone).status_code == 200
    town.set_clock(town.clock() + timedelta(minutes=10))
    assert [(one["status"], one["errors"][0]["code"]) for one in hooks.statuses()] == [("failed", code)]


@pytest.mark.parametrize("code", [400, 401, 403, 422, 429, 500, 503, 463])
def test_the_gateway_fails_on_demand_too(town: Town, code: int) -> None:
    town.reset()
    town.mischief(errors=[{"channel": "waha", "code": code}])
    body = {"session": town.sessions["101"], "chatId": f"{people(town)[0][1:]}@c.us", "text": "Ждём"}
    answer = httpx.post(
        f"{town.waha_url}/api/sendText", json=body, headers={"X-Api-Key": town.api_key}, trust_env=False
    )
    assert answer.status_code == (500 if code == 463 else code)
    assert ("error 463" in answer.text) is (code == 463)
    assert town.messages() == []


def test_a_ban_refuses_sends_and_is_told_and_can_be_lifted(town: Town, hooks: Receiver) -> None:
    phone = people(town)[0]
    town.ban(101, "cloud", "disabled")
    assert send(town, phone).json()["error"]["code"] == 131031
    assert hooks.values()[0]["ban_info"] == {"waba_ban_state": "DISABLE"}
    town.ban(101, "cloud", "disabled", lifted=True)
    assert send(town, phone).status_code == 200


def test_a_wish_of_a_client_and_any_other_change_can_be_told(town: Town, hooks: Receiver) -> None:
    town.cloud_event(101, "user_preferences", {"user_preferences": [{"wa_id": "79000000001", "value": "stop"}]})
    (call,) = hooks.calls
    assert call["entry"][0]["id"] == town.businesses["101"]
    assert call["entry"][0]["changes"][0]["field"] == "user_preferences"


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"lose": 1}, "lose is none of"), ({"duplicate": 2}, "duplicate=2"), ({"batch": 0}, "batch=0"),
     ({"errors": [{"channel": "fax", "code": 1}]}, "channel=fax")],
)  # fmt: skip
def test_mischief_that_does_not_exist_is_refused_by_name(town: Town, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        town.mischief(**fields)


@pytest.mark.slow
def test_a_clock_that_runs_by_itself_tells_what_happens_meanwhile(town: Town, hooks: Receiver) -> None:
    town.mischief(quiet=True, duplicate=0)
    before = town.clock()
    town.live(600)
    send(town, people(town)[0])
    done = threading.Event()
    while not {"sent", "delivered"} <= {one["status"] for one in hooks.statuses()}:
        done.wait(0.02)
    town.live(0)
    assert town.clock() > before + timedelta(seconds=4)
    stopped = town.clock()
    assert town.clock() == stopped
    town.mischief(quiet=False)
