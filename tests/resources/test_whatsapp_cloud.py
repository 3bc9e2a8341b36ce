"""The Cloud API as a channel: what goes out, what an answer means, and that no webhook can break the reading of it."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.account_health import Signal
from reactivation_core.channel_errors import CLOUD_ERRORS, cloud_consequence
from reactivation_core.whatsapp_templates import own_frames
from reactivation_resources.channels.base import Accepted, Letter, Lost, Rejected, SendOutcome, TemplateCall
from reactivation_resources.channels.whatsapp_cloud import WhatsAppCloud
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.template_registry import TemplatesError
from reactivation_sandbox.process import Town, running_town

CAMPAIGN = UUID("12345678-1234-5678-1234-567812345678")
PLAIN = TemplateCall("come_back_plain", "ru", ("почти два месяца",))


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=2, clients=30, history=1) as running:
        graph = WhatsAppTemplates(running.cloud_url, running.access_token)
        for frame in own_frames("ru"):
            graph.submit(running.businesses["101"], frame)
        running.approve_templates()
        yield running


@pytest.fixture
def cloud(town: Town) -> Iterator[WhatsAppCloud]:
    town.mischief(errors=[], lose_answers=0, refuse=0)
    channel = WhatsAppCloud(town.cloud_url, town.access_token, "secret", "verify")
    yield channel
    channel.close()


@pytest.fixture
def phone(town: Town) -> str:
    """Somebody of the first salon who is on the messenger."""
    return next(one["phone"] for one in town.book(101)["clients"] if one["phone"].startswith("+79000"))


def letter(town: Town, phone: str, template: TemplateCall | None = PLAIN, text: str = "Здравствуйте!") -> Letter:
    return Letter(CAMPAIGN, town.numbers["101"], phone, text, template)


def test_a_template_arrives_with_its_values_and_our_id(town: Town, cloud: WhatsAppCloud, phone: str) -> None:
    outcome = cloud.send(letter(town, phone))
    assert isinstance(outcome, Accepted)
    sent = town.messages()[-1]
    assert (sent["id"], sent["campaign"], sent["template"]) == (outcome.message_id, str(CAMPAIGN), "come_back_plain")
    assert "почти два месяца назад" in sent["text"]
    assert outcome.contact_id == phone[1:]


def test_our_own_words_go_only_within_a_day_of_the_clients(town: Town, cloud: WhatsAppCloud) -> None:
    phone = [one["phone"] for one in town.book(101)["clients"] if one["phone"].startswith("+79000")][
        5
    ]  # no other test's
    refused = cloud.send(letter(town, phone, None))
    assert isinstance(refused, Rejected)
    assert (refused.code, refused.retryable) == ("131047", True)
    town.write(101, phone, "Здравствуйте", "cloud")
    assert isinstance(cloud.send(letter(town, phone, None)), Accepted)
    assert town.messages()[-1]["text"] == "Здравствуйте!"


def test_the_marketing_endpoint_takes_templates_and_is_used_by_setting(town: Town, phone: str) -> None:
    channel = WhatsAppCloud(town.cloud_url, town.access_token, marketing_messages=True)
    before = town.calls()["counts"]
    assert isinstance(channel.send(letter(town, phone)), Accepted)
    town.write(101, phone, "Да", "cloud")
    assert isinstance(channel.send(letter(town, phone, None)), Accepted)  # our own words do not go by it
    after = town.calls()["counts"]
    gone = {name: after[name] - before.get(name, 0) for name in after if name.endswith("messages")}
    assert gone["POST /graph/{version}/{number:str}/marketing_messages"] == 1
    assert gone["POST /graph/{version}/{number:str}/messages"] == 1


def test_a_template_that_only_the_marketing_endpoint_may_send_goes_by_it_at_once(
    town: Town, cloud: WhatsAppCloud, phone: str
) -> None:
    town.mischief(errors=[{"channel": "cloud", "code": 131063}])
    count = len(town.messages())
    assert isinstance(cloud.send(letter(town, phone)), Accepted)
    assert len(town.messages()) == count + 1


@pytest.mark.parametrize("code", sorted(code for code in CLOUD_ERRORS if code != 131063))
def test_every_error_as_an_answer_means_what_the_table_says(
    town: Town, cloud: WhatsAppCloud, phone: str, code: int
) -> None:
    town.mischief(errors=[{"channel": "cloud", "code": code}])
    count = len(town.messages())
    outcome = cloud.send(letter(town, phone))
    expected = cloud_consequence(code)
    assert len(town.messages()) == count
    if expected.ambiguous:
        assert isinstance(outcome, Lost)
        return
    assert isinstance(outcome, Rejected)
    assert outcome.code == str(code)
    assert (outcome.retryable, outcome.of_account) == (expected.campaign != "fail", expected.campaign == "hold")
    assert (outcome.client, outcome.signal, outcome.template) == (expected.client, expected.account, expected.template)


def test_an_answer_cut_off_after_the_message_was_taken_is_lost(town: Town, cloud: WhatsAppCloud, phone: str) -> None:
    town.mischief(lose_answers=1)
    count = len(town.messages())
    assert isinstance(cloud.send(letter(town, phone)), Lost)
    assert len(town.messages()) == count + 1


@pytest.mark.parametrize("kind", ["cut_before", "html", "timeout"])
def test_what_does_not_come_from_graph_is_no_refusal(town: Town, phone: str, kind: str) -> None:
    channel = WhatsAppCloud(town.cloud_url, town.access_token, timeout_s=0.5)
    town.fail("/graph", kind=kind, status=500, seconds=1.0)
    assert isinstance(channel.send(letter(town, phone)), Lost)


def test_nobody_there_is_certainly_not_sent(town: Town, phone: str) -> None:
    outcome = WhatsAppCloud("http://127.0.0.1:9/v26.0", "token").send(letter(town, phone))
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.retryable, outcome.of_account) == ("unreachable", True, True)


def test_wrong_values_are_refused_and_the_template_is_to_be_read_again(
    town: Town, cloud: WhatsAppCloud, phone: str
) -> None:
    for values, code in (((), "132000"), (("a", "b"), "132000"), (("две\nстроки",), "132018")):
        outcome = cloud.send(letter(town, phone, TemplateCall("come_back_plain", "ru", values)))
        assert isinstance(outcome, Rejected)
        assert (outcome.code, outcome.template) == (code, "resync")
    unknown = cloud.send(letter(town, phone, TemplateCall("not_there", "ru", ())))
    assert isinstance(unknown, Rejected)
    assert (unknown.code, unknown.template) == ("132001", "disable")


def test_the_numbers_card_tells_quality_limit_and_bans(town: Town, cloud: WhatsAppCloud) -> None:
    number = town.numbers["101"]
    good = cloud.health(number)
    assert (good.working, good.quality, good.clients_a_day, good.signal) == (True, "GREEN", 2000, Signal.QUALITY_OK)
    town.set_number(101, quality="RED", tier="TIER_UNLIMITED")
    red = cloud.health(number)
    assert (red.working, red.clients_a_day, red.signal) == (True, None, Signal.QUALITY_RED)
    town.set_number(101, quality="GREEN", tier="TIER_2K", status="BANNED")
    assert cloud.health(number).signal is Signal.BANNED
    town.set_number(101, status="CONNECTED")
    wrong = WhatsAppCloud(town.cloud_url, "another token").health(number)
    assert (wrong.working, wrong.signal) == (False, Signal.REFUSED)
    assert not WhatsAppCloud("http://127.0.0.1:9", "token").health(number).working


def test_a_business_has_a_limit_of_different_clients_in_a_day(town: Town, cloud: WhatsAppCloud) -> None:
    town.set_number(102, tier="TIER_250")
    graph = WhatsAppTemplates(town.cloud_url, town.access_token)
    graph.submit(town.businesses["102"], own_frames("ru")[-1])
    town.approve_templates()
    letters = [Letter(CAMPAIGN, town.numbers["102"], f"+7911{number:07}", "", PLAIN) for number in range(252)]
    outcomes: list[SendOutcome] = [cloud.send(one) for one in letters]
    assert [type(one) for one in outcomes] == [Accepted] * 250 + [Rejected] * 2


# ---------------------------------------------------------------- templates at the messenger


def test_templates_are_listed_page_by_page_and_handed_in_for_review(town: Town) -> None:
    graph = WhatsAppTemplates(town.cloud_url, town.access_token)
    kept, unreadable = graph.list(town.businesses["101"])
    assert (len(kept), unreadable) == (8, [])
    assert {one.status for one in kept} == {"APPROVED"}
    with pytest.raises(TemplatesError, match="already a template"):
        graph.submit(town.businesses["101"], own_frames("ru")[0])
    with pytest.raises(TemplatesError, match="190"):
        WhatsAppTemplates(town.cloud_url, "wrong").list(town.businesses["101"])


# ---------------------------------------------------------------- what comes in


def body(*values: dict[str, Any], field: str = "messages", business: str = "waba") -> dict[str, Any]:
    changes = [{"field": field, "value": value} for value in values]
    return {"object": "whatsapp_business_account", "entry": [{"id": business, "time": 1780000000, "changes": changes}]}


def value(**content: Any) -> dict[str, Any]:
    return {"messaging_product": "whatsapp", "metadata": {"phone_number_id": "number"}, **content}


def status(name: str, **more: Any) -> dict[str, Any]:
    return {"id": "wamid.1", "status": name, "timestamp": "1780000000", "recipient_id": "79000100001", **more}


CHANNEL = WhatsAppCloud("http://127.0.0.1:9", "token", "secret", "verify")


def test_every_status_of_every_change_of_every_entry_is_read() -> None:
    entries = [
        *body(value(statuses=[status("sent"), status("delivered")]), value(statuses=[status("read")]))["entry"],
        *body(value(statuses=[status("failed", errors=[{"code": 131026}])]))["entry"],
    ]
    events = CHANNEL.parse_events({"entry": entries})
    assert [event.ack for event in events] == ["accepted", "delivered", "read", "failed"]
    assert events[3].refusal is not None
    assert events[3].refusal.client == "unreachable"
    assert {event.session for event in events} == {"number"}
    assert {event.phone for event in events} == {"+79000100001"}


def test_our_id_comes_back_and_a_strangers_does_not_pass_for_it() -> None:
    ours, theirs = (
        CHANNEL.parse_events(body(value(statuses=[status("sent", biz_opaque_callback_data=data)])))[0]
        for data in (str(CAMPAIGN), "somebody else's")
    )
    assert (ours.campaign_id, theirs.campaign_id) == (CAMPAIGN, None)


MESSAGES = {
    "text": ({"type": "text", "text": {"body": "Да"}}, "Да"),
    "button": ({"type": "button", "button": {"payload": "STOP", "text": "Не пишите мне"}}, "Не пишите мне"),
    "reply": ({"type": "interactive", "interactive": {"button_reply": {"id": "1", "title": "Запишите"}}}, "Запишите"),
    "reaction": ({"type": "reaction", "reaction": {"emoji": "👍", "message_id": "wamid.1"}}, "👍"),
    "picture": ({"type": "image", "image": {"caption": "вот так"}}, "вот так"),
    "sticker": ({"type": "sticker", "sticker": {"id": "7"}}, None),
}


@pytest.mark.parametrize("kind", list(MESSAGES))
def test_a_clients_words_are_found_wherever_they_are(kind: str) -> None:
    item, words = MESSAGES[kind]
    message = {"id": "wamid.2", "from": "79000100001", "timestamp": "1780000000", "context": {"id": "wamid.1"}, **item}
    (event,) = CHANNEL.parse_events(body(value(messages=[message])))
    assert (event.kind, event.body, event.phone, event.quoted_message_id) == (
        "message",
        words,
        "+79000100001",
        "wamid.1",
    )


def test_a_client_who_hides_her_phone_is_known_by_her_id() -> None:
    message = {
        "id": "wamid.2",
        "from_user_id": "RU.123",
        "timestamp": "1780000000",
        "type": "text",
        "text": {"body": "Да"},
    }
    (event,) = CHANNEL.parse_events(body(value(messages=[message], contacts=[{"user_id": "RU.123"}])))
    assert (event.phone, event.contact_id, event.error) == (None, "RU.123", None)


def test_what_the_salon_wrote_by_hand_is_nobodys_reply() -> None:
    echo = {"id": "wamid.3", "to": "79000100001", "type": "text", "text": {"body": "стоп"}}
    (event,) = CHANNEL.parse_events(body(value(message_echoes=[echo]), field="smb_message_echoes"))
    assert event.error == "not from a client"


def test_a_stop_at_the_messenger_is_a_preference() -> None:
    wish = {"wa_id": "79000100001", "category": "marketing_messages", "value": "stop", "timestamp": "1780000000"}
    for wanted, stops in (("stop", True), ("resume", False)):
        (event,) = CHANNEL.parse_events(
            body(value(user_preferences=[{**wish, "value": wanted}]), field="user_preferences")
        )
        assert (event.kind, event.stops, event.phone) == ("preference", stops, "+79000100001")


ACCOUNT_UPDATES = {
    "banned": ({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE"}}, Signal.BANNED),
    "back": ({"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}, Signal.RECOVERED),
    "restricted": ({"event": "ACCOUNT_RESTRICTION", "restriction_info": []}, Signal.RESTRICTED),
    "gone": ({"event": "ACCOUNT_DELETED"}, Signal.BANNED),
    "no news": ({"event": "MM_LITE_TERMS_SIGNED"}, None),
}


@pytest.mark.parametrize("name", list(ACCOUNT_UPDATES))
def test_what_happens_to_a_business_is_about_all_its_numbers(name: str) -> None:
    change, signal = ACCOUNT_UPDATES[name]
    (event,) = CHANNEL.parse_events(body(change, field="account_update"))
    assert (event.kind, event.session, event.business, event.signal) == ("session", None, "waba", signal)


def test_a_templates_change_is_kept_whole() -> None:
    change = {"event": "PAUSED", "message_template_name": "come_back_plain", "message_template_language": "ru"}
    (event,) = CHANNEL.parse_events(body(change, field="message_template_status_update"))
    assert (event.kind, event.body, event.payload["value"]) == ("template", "PAUSED", change)


def test_the_signature_holds_for_exactly_the_bytes_it_was_made_of() -> None:
    raw = json.dumps(body()).encode()
    good = "sha256=" + hmac.new(b"secret", raw, hashlib.sha256).hexdigest()
    assert CHANNEL.verify({"X-Hub-Signature-256": good}, raw)
    for headers, given_raw in (
        ({}, raw),
        ({"X-Hub-Signature-256": good}, raw + b" "),
        ({"X-Hub-Signature-256": good[7:]}, raw),
    ):
        assert not CHANNEL.verify(headers, given_raw)
    unsigned = "sha256=" + hmac.new(b"", raw, hashlib.sha256).hexdigest()
    assert not WhatsAppCloud("http://127.0.0.1:9", "token").verify({"X-Hub-Signature-256": unsigned}, raw)


def test_the_challenge_is_answered_to_whoever_names_the_token() -> None:
    asked = {"hub.mode": "subscribe", "hub.verify_token": "verify", "hub.challenge": "42"}
    assert CHANNEL.challenge(asked) == "42"
    assert CHANNEL.challenge({**asked, "hub.verify_token": "guess"}) is None
    assert CHANNEL.challenge({**asked, "hub.mode": "else"}) is None
    assert WhatsAppCloud("http://127.0.0.1:9", "token").challenge({**asked, "hub.verify_token": ""}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(
    ["entry", "changes", "field", "value", "statuses", "messages", "metadata", "phone_number_id", "id", "status", "errors", "code",
     "timestamp", "type", "text", "body", "contacts", "user_preferences", "context", "time", "from", "recipient_id"]
)  # fmt: skip
likely = st.recursive(
    json_values | st.sampled_from(["messages", "failed", "sent", "account_update", "number", "text", "wamid.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=30,
)


@given(likely)
def test_no_body_breaks_the_reading(payload: Any) -> None:
    events = CHANNEL.parse_events(payload)
    assert all(event.key for event in events)


@given(likely, st.sampled_from(["messages", "user_preferences", "smb_message_echoes", "account_update"]))
def test_a_broken_part_spoils_no_other(broken: Any, field: str) -> None:
    good = status("read", id=f"wamid.{uuid4()}")
    payload = body(value(statuses=[broken, good]))
    payload["entry"] = [
        {"id": "waba", "changes": [{"field": field, "value": broken}, broken]},
        broken,
        *payload["entry"],
    ]
    events = CHANNEL.parse_events(payload)
    assert [event for event in events if event.key == f"status:{good['id']}:read"]
