"""What WAHA's answers and webhooks mean, over real HTTP."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.account_health import Signal
from reactivation_resources.channels.base import Accepted, Channel, Letter, Lost, Rejected, SendOutcome
from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.known_numbers import KnownNumbers
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import KEY, NOON, Gateway, running_gateway

PHONE = "+79000100001"
CAMPAIGN = UUID(int=1)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_gateway() as running:
        yield running


@pytest.fixture
def waha(gateway: Gateway) -> Iterator[Waha]:
    channel = Waha(gateway.url, "api-key", KEY, timeout_s=5)
    yield channel
    channel.close()


def send(channel: Channel) -> SendOutcome:
    return channel.send(Letter(CAMPAIGN, "salon_1", PHONE, "Здравствуйте!"))


# ---------------------------------------------------------------- out


@pytest.mark.parametrize(
    "wrapped",
    ["true_79000100001@c.us_3EB0AA", "3EB0AA", {"_serialized": "true_79000100001@c.us_3EB0AA"}, {"id": "3EB0AA"}],
    ids=["gows", "bare", "webjs", "object"],
)
def test_an_accepted_message_is_named_as_its_status_events_name_it(gateway: Gateway, waha: Waha, wrapped: Any) -> None:
    gateway.behave = lambda _: (201, {"id": wrapped})
    assert send(waha) == Accepted("3EB0AA", "79000100001@c.us")


def test_a_number_is_looked_up_once_and_one_without_the_messenger_is_not_written_to(
    gateway: Gateway, database: Database
) -> None:
    clock = SimulatedClock(NOON)
    waha = Waha(gateway.url, numbers=KnownNumbers(database, clock))
    for _ in range(3):
        send(waha)
    assert len(gateway.checked) == 1
    waha.settle_down()
    again = Waha(gateway.url, numbers=KnownNumbers(database, clock))  # another process remembers it too
    again.get_ready([PHONE])
    send(again)
    assert len(gateway.checked) == 1
    clock.advance_to(NOON + timedelta(days=31))
    send(again)
    assert len(gateway.checked) == 2
    gateway.absent.add("79000100002")
    refused = again.send(Letter(CAMPAIGN, "salon_1", "+79000100002", "Здравствуйте!"))
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.retryable, refused.client) == ("no_whatsapp", False, "unreachable")
    assert len(gateway.sent) == 5


ANSWERS: dict[str, tuple[tuple[int, Any], SendOutcome | type[Lost]]] = {
    "bad request": (
        (400, {"message": ["chatId is wrong"]}),
        Rejected("http_400", "WAHA refused the message: HTTP 400", retryable=False),
    ),
    "wrong key": (
        (401, {}),
        Rejected("http_401", "the gateway does not take the key", retryable=True, of_account=True),
    ),
    "a page that says 403": (
        (403, b"<html>403 Forbidden, banned</html>"),
        Rejected("http_403", "the gateway forbids the call", retryable=True, of_account=True),
    ),
    "too busy": ((429, {}), Rejected("http_429", "the gateway is called too often", retryable=True, of_account=True)),
    "logged out": (
        (422, {"status": "SCAN_QR_CODE"}),
        Rejected("session_not_working", "the session is not working: SCAN_QR_CODE", True, True, Signal.BANNED),
    ),
    "restarting": (
        (422, {"status": "STARTING"}),
        Rejected("session_not_working", "the session is not working: STARTING", True, True, None),
    ),
    "reach-out lock": (
        (500, {"exception": {"message": "server returned error 463"}}),
        Rejected("463", "WhatsApp does not let this number open new chats", True, True, Signal.SPAM_RATE),
    ),
    "refused by WhatsApp": (
        (500, {"exception": {"message": "server returned error 403"}}),
        Rejected("whatsapp_403", "WhatsApp refused the message: 403", retryable=True),
    ),
    "a fault after who knows what": ((500, {"message": "Evaluation failed"}), Lost),
    "a proxy that waited in vain": ((504, b"<html>gateway timeout</html>"), Lost),
    "yes, but not in JSON": ((201, b"<html>OK</html>"), Lost),
    "yes, without an id": ((200, {}), Lost),
    "yes, in a list": ((200, ["3EB0"]), Lost),
}


@pytest.mark.parametrize("name", list(ANSWERS))
def test_only_a_clear_refusal_counts_as_not_sent(gateway: Gateway, waha: Waha, name: str) -> None:
    answer, expected = ANSWERS[name]
    gateway.behave = lambda _: answer
    outcome = send(waha)
    assert outcome == expected if isinstance(expected, Rejected) else isinstance(outcome, Lost)


def test_a_connection_closed_after_the_request_is_a_lost_answer(gateway: Gateway, waha: Waha) -> None:
    gateway.behave = lambda _: None
    assert isinstance(send(waha), Lost)
    assert len(gateway.sent) == 1


def test_a_gateway_that_is_not_there_has_certainly_sent_nothing() -> None:
    refused = send(Waha("http://127.0.0.1:9"))
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.retryable, refused.of_account) == ("unreachable", True, True)


# ---------------------------------------------------------------- in


def envelope(event: str, payload: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": "evt_1",
        "timestamp": 1_795_424_400_000,
        "event": event,
        "session": "salon_1",
        "payload": payload,
        **fields,
    }


def message(**changes: Any) -> dict[str, Any]:
    payload = {"id": "false_79000100001@c.us_AAA", "timestamp": 1_795_424_400, "from": "79000100001@c.us", "fromMe": False,
               "body": "Да, на 18:30", "replyTo": {"id": "3EB0AA"}}  # fmt: skip
    return envelope("message", {**payload, **changes})


def test_a_clients_message_is_read_with_its_quote(waha: Waha) -> None:
    (event,) = waha.parse_events(message())
    assert (event.kind, event.session, event.phone, event.contact_id) == (
        "message",
        "salon_1",
        PHONE,
        "79000100001@c.us",
    )
    assert (event.message_id, event.quoted_message_id, event.body, event.error) == (
        "AAA",
        "3EB0AA",
        "Да, на 18:30",
        None,
    )
    assert event.occurred_at == datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw",
    [
        {"Info": {"SenderAlt": "79000100001@s.whatsapp.net"}},
        {"key": {"remoteJidAlt": "79000100001:12@s.whatsapp.net"}},
    ],
)
def test_a_chat_behind_an_alias_keeps_it_and_takes_the_phone_where_there_is_one(
    waha: Waha, raw: dict[str, Any]
) -> None:
    (hidden,) = waha.parse_events(message(**{"from": "152900000018@lid"}))
    assert (hidden.phone, hidden.contact_id) == (None, "152900000018@lid")
    (known,) = waha.parse_events(message(**{"from": "152900000018@lid", "_data": raw}))
    assert (known.phone, known.contact_id) == (PHONE, "152900000018@lid")


def test_what_the_salon_itself_wrote_and_what_groups_say_has_no_effect(waha: Waha) -> None:
    assert [
        waha.parse_events(message(**changes))[0].error for changes in ({"fromMe": True}, {"from": "1203@g.us"})
    ] == [
        "not from a client",
        "not a personal chat",
    ]


@pytest.mark.parametrize(
    ("name", "number", "meaning"),
    [
        ("SERVER", 1, "accepted"),
        ("DEVICE", 2, "delivered"),
        ("READ", 3, "read"),
        ("PLAYED", 4, "read"),
        ("ERROR", -1, "failed"),
        ("PENDING", 0, None),
    ],
)
def test_status_events_are_read_by_name_or_number(waha: Waha, name: str, number: int, meaning: str | None) -> None:
    payload = {
        "id": "true_79000100001@c.us_3EB0AA",
        "from": "74950000001@c.us",
        "to": "79000100001@c.us",
        "fromMe": True,
    }
    for said in ({"ack": number, "ackName": name}, {"ack": number}):
        (event,) = waha.parse_events(envelope("message.ack", {**payload, **said}, me={"id": "74950000001@c.us"}))
        assert (event.kind, event.message_id, event.ack, event.phone) == ("ack", "3EB0AA", meaning, PHONE)
        assert event.key == f"ack:salon_1:3EB0AA:{name}"


SESSIONS: list[tuple[dict[str, Any], Signal | None]] = [
    ({"status": "SCAN_QR_CODE"}, Signal.BANNED),
    ({"status": "FAILED"}, Signal.BANNED),
    ({"status": "STOPPED"}, None),
    ({"status": "STARTING"}, None),
    ({"status": "WORKING"}, Signal.RECOVERED),
    ({"status": "WORKING", "me": {"messageCapping": {"cappingStatus": "CAPPED"}}}, Signal.SPAM_RATE),
    ({"status": "WORKING", "me": {"reachoutTimelock": {"isActive": True}}}, Signal.SPAM_RATE),
    ({"status": "WORKING", "me": {"messageCapping": {"cappingStatus": "FIRST_WARNING"}}}, Signal.RECOVERED),
]


@pytest.mark.parametrize(("payload", "signal"), SESSIONS)
def test_a_sessions_state_says_what_the_number_may(waha: Waha, payload: dict[str, Any], signal: Signal | None) -> None:
    (event,) = waha.parse_events(envelope("session.status", payload))
    assert (event.kind, event.signal) == ("session", signal)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["event", "session", "payload", "id", "from", "fromMe", "ack", "ackName", "me", "body", "status"]
            ),
            inner | st.sampled_from(["message", "message.ack", "session.status"]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(payload=json_values)
def test_no_webhook_breaks_the_reader_and_the_same_one_has_the_same_keys(payload: Any) -> None:
    channel = Waha("http://127.0.0.1:9", None, KEY)
    events = channel.parse_events(payload)
    assert [event.key for event in events] == [event.key for event in channel.parse_events(payload)]
    if not isinstance(payload, dict | list):
        assert [event.kind for event in events] == ["malformed"]


# ---------------------------------------------------------------- signatures


def signed(raw: bytes, key: str = KEY) -> dict[str, str]:
    return {
        "X-Webhook-Hmac": hmac.new(key.encode(), raw, hashlib.sha512).hexdigest(),
        "X-Webhook-Hmac-Algorithm": "sha512",
    }


def test_only_the_right_key_over_the_exact_bytes_is_a_signature(waha: Waha) -> None:
    raw = json.dumps(message()).encode()
    assert waha.verify(signed(raw), raw)
    assert waha.verify({name.lower(): value for name, value in signed(raw).items()}, raw)
    assert not waha.verify(signed(raw), raw + b" ")
    assert not waha.verify(signed(raw, "another"), raw)
    assert not waha.verify({}, raw)
    assert not waha.verify({"X-Webhook-Hmac": "ё"}, raw)


def test_without_a_key_nothing_is_believed() -> None:
    assert not Waha("http://127.0.0.1:9").verify(signed(b"{}", ""), b"{}")


# ---------------------------------------------------------------- against the sandbox's gateway


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(seed=5, salons=1, clients=20) as running:
        yield running


@pytest.fixture
def session(town: Town) -> str:
    town.reset()
    return next(iter(town.sessions.values()))


@pytest.mark.slow
def test_the_sandbox_takes_a_message_and_its_faults_are_told_apart(town: Town, session: str) -> None:
    channel = Waha(town.waha_url, town.api_key, town.hmac_key, timeout_s=2)
    chat = next(
        person
        for number in range(10_000)
        if isinstance(channel.send(Letter(CAMPAIGN, session, (person := f"+7900{number:07}"), "Проба")), Accepted)
    )
    town.fail("/api/sendText", kind="lose_response")
    assert isinstance(channel.send(Letter(CAMPAIGN, session, chat, "Потеряно")), Lost)
    town.fail("/api/sendText", kind="html", status=403)
    refused = channel.send(Letter(CAMPAIGN, session, chat, "Отказ"))
    assert isinstance(refused, Rejected)
    assert refused.signal is None
    assert [sent["text"] for sent in town.messages()] == ["Проба", "Потеряно"]


@pytest.mark.slow
def test_the_sandboxs_sessions_tell_their_health(town: Town, session: str) -> None:
    channel = Waha(town.waha_url, town.api_key, town.hmac_key)
    assert channel.health(session).working
    town.set_session(session, "SCAN_QR_CODE")
    status = channel.health(session)
    assert (status.working, status.words, status.signal) == (False, "SCAN_QR_CODE", Signal.BANNED)
    refused = channel.send(Letter(CAMPAIGN, session, PHONE, "Здравствуйте!"))
    assert isinstance(refused, Rejected)
    assert not Waha("http://127.0.0.1:9").health(session).working
