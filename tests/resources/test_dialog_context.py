import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivation_resources.dialog_context import (
    LIFETIME,
    ContextSlot,
    ContextUnavailable,
    DialogContextWriter,
    SentContext,
    bot_phone,
)

ZONE = ZoneInfo("Europe/Moscow")
SENT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PHONE = "+79000000017"
DIGITS = "79000000017"
ONE = ContextSlot(datetime(2026, 11, 26, 18, 30, tzinfo=ZONE), "Анна Смирнова")
TWO = ContextSlot(datetime(2026, 11, 27, 11, 0, tzinfo=ZONE), "Марина Котова")
EIGHT_DAYS = int(LIFETIME.total_seconds())
# Every test has a company of its own, so tests share a server without meeting.
COMPANIES = count(900_000_000 + os.getpid() % 10_000 * 1_000)


@pytest.fixture
def company(redis_url) -> Iterator[int]:
    number = next(COMPANIES)
    yield number
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"*:{number}:whatsapp:*"):
            client.delete(key)
        client.delete(f"reminder_context:{bot_phone(PHONE)}")


@pytest.fixture
def server(redis_url) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def writer(redis_url) -> Iterator[DialogContextWriter]:
    door = DialogContextWriter(redis_url)
    yield door
    door.close()


@pytest.fixture
def sent(company) -> SentContext:
    # The reminder's key carries no company, so each test has a phone of its own, too.
    return SentContext(
        company, f"+7900{company % 10_000_000:07d}", "5f0c0000-0000-4000-8000-000000000001", "Анна", 77, "Женская стрижка",
        None, (ONE,), "Анна, здравствуйте! Записать вас?\nОтветьте «стоп».", SENT, 60, date(2026, 9, 23),
    )  # fmt: skip


def key(kind, sent):
    return f"{kind}:{sent.company_id}:whatsapp:{bot_phone(sent.phone)}"


def bot_update(server, sent, at, **fields):
    """What the unmodified bot does: it deletes the hash and writes back the fields it knows."""
    name = key("dialog", sent)
    known = {"phone", "companyId", "state", "selection", "clientName", "pendingAction"}
    kept = {field: value for field, value in server.hgetall(name).items() if field in known}
    with server.pipeline() as pipe:
        pipe.delete(name)
        pipe.hset(
            name, mapping=kept | {"lastUpdated": at.isoformat().replace("+00:00", "Z"), "state": "active"} | fields
        )
        pipe.expire(name, 86_400)
        pipe.execute()


def test_one_offered_slot_is_selected_so_that_a_bare_yes_books_it(writer, server, sent):
    assert writer.write_after_send(sent) == "written"
    dialog = server.hgetall(key("dialog", sent))
    assert set(dialog) == {
        "phone",
        "companyId",
        "lastUpdated",
        "state",
        "clientName",
        "selection",
        "pendingAction",
        "data",
    }
    assert (dialog["phone"], dialog["companyId"]) == (bot_phone(sent.phone), str(sent.company_id))
    assert (dialog["state"], dialog["lastUpdated"], dialog["clientName"]) == (
        "active",
        "2026-11-22T09:30:00.000Z",
        "Анна",
    )
    assert json.loads(dialog["selection"]) == {
        "service": "Женская стрижка", "staff": "Анна Смирнова", "date": "2026-11-26", "time": "18:30",
    }  # fmt: skip
    assert json.loads(dialog["data"]) == {"lastService": "Женская стрижка", "lastStaff": "Анна Смирнова"}
    assert json.loads(dialog["pendingAction"]) == {
        "type": "reactivation_response",
        "campaign": sent.campaign_id,
        "daysInactive": 60,
        "lastVisitDate": "2026-09-23",
        "suggestedService": {"id": 77, "name": "Женская стрижка"},
        "messageSent": sent.text,
        "messageSentAt": "2026-11-22T09:30:00.000Z",
        "reactivationHistoryId": sent.campaign_id,
        "writtenAt": "2026-11-22T09:30:00.000Z",
    }
    assert EIGHT_DAYS - 5 <= server.ttl(key("dialog", sent)) <= EIGHT_DAYS


def test_several_slots_are_proposed_and_none_is_selected(writer, server, sent):
    writer.write_after_send(replace(sent, slots=(ONE, TWO), staff_name="Анна Смирнова"))
    dialog = server.hgetall(key("dialog", sent))
    assert json.loads(dialog["selection"]) == {"service": "Женская стрижка", "staff": "Анна Смирнова"}
    assert json.loads(dialog["data"])["proposedSlots"] == [
        {"date": "2026-11-26", "time": "18:30", "staff": "Анна Смирнова", "service": "Женская стрижка"},
        {"date": "2026-11-27", "time": "11:00", "staff": "Марина Котова", "service": "Женская стрижка"},
    ]
    assert "proposedSlots" not in dialog


def test_without_slots_only_the_service_is_selected(writer, server, sent):
    writer.write_after_send(replace(sent, slots=()))
    dialog = server.hgetall(key("dialog", sent))
    assert json.loads(dialog["selection"]) == {"service": "Женская стрижка"}
    assert json.loads(dialog["data"]) == {"lastService": "Женская стрижка"}


def test_the_history_holds_the_text_once_and_no_more_than_fifty(writer, server, sent):
    name = key("messages", sent)
    server.rpush(name, *[json.dumps({"sender": "user", "text": str(number)}) for number in range(60)])
    writer.write_after_send(sent)
    writer.write_after_send(sent)
    history = [json.loads(entry) for entry in server.lrange(name, 0, -1)]
    assert len(history) == 50
    assert history[0] == {
        "sender": "bot", "text": sent.text, "timestamp": "2026-11-22T09:30:00.000Z", "type": "reactivation",
    }  # fmt: skip
    assert history[1] == {"sender": "user", "text": "0"}
    assert EIGHT_DAYS - 5 <= server.ttl(name) <= EIGHT_DAYS


def test_the_assembled_cache_is_dropped(writer, server, sent):
    server.set(key("full_ctx", sent), "{}", ex=300)
    writer.write_after_send(sent)
    assert not server.exists(key("full_ctx", sent))


def test_writing_again_changes_nothing(writer, server, sent):
    assert writer.write_after_send(sent) == "written"
    before = server.hgetall(key("dialog", sent))
    assert writer.write_after_send(sent) == "written"
    assert server.hgetall(key("dialog", sent)) == before


def test_a_dialog_newer_than_the_send_is_left_alone(writer, server, sent):
    writer.write_after_send(sent)
    bot_update(server, sent, SENT + timedelta(minutes=5))
    before = server.hgetall(key("dialog", sent))
    assert writer.write_after_send(sent) == "skipped_live_dialog"
    assert server.hgetall(key("dialog", sent)) == before
    assert server.llen(key("messages", sent)) == 1


@pytest.mark.parametrize(
    ("age", "fields", "outcome"),
    [
        (timedelta(hours=1), {"selection": '{"service":"Маникюр"}'}, "skipped_live_dialog"),
        (timedelta(hours=1), {"pendingAction": '{"type":"cancellation"}'}, "skipped_live_dialog"),
        (timedelta(hours=1), {"selection": "{}"}, "written"),
        (timedelta(hours=1), {"selection": '{"service":"Маникюр"}', "state": "completed"}, "written"),
        (timedelta(hours=25), {"selection": '{"service":"Маникюр"}'}, "written"),
    ],
)
def test_an_unfinished_booking_of_the_last_day_is_left_alone(writer, server, sent, age, fields, outcome):
    bot_update(server, sent, SENT - age, **fields)
    assert writer.write_after_send(sent) == outcome


def test_a_dialog_whose_time_cannot_be_read_counts_as_live(writer, server, sent):
    server.hset(key("dialog", sent), mapping={"lastUpdated": "вчера"})
    assert writer.write_after_send(sent) == "skipped_live_dialog"


def test_broken_json_of_an_old_dialog_is_replaced_by_valid_json(writer, server, sent):
    bot_update(server, sent, SENT - timedelta(days=2), selection="[object Object]")
    assert writer.write_after_send(sent) == "written"
    assert json.loads(server.hget(key("dialog", sent), "selection"))["time"] == "18:30"


@pytest.mark.parametrize(
    ("reminder", "outcome"),
    [
        ('{"type":"day","awaitingConfirmation":true}', "skipped_reminder"),
        ('{"type":"day","awaitingConfirmation":false}', "written"),
        ('{"type":"day"}', "skipped_reminder"),
        ("not json", "skipped_reminder"),
    ],
)
def test_a_reminder_that_awaits_an_answer_comes_first(writer, server, sent, reminder, outcome):
    name = f"reminder_context:{bot_phone(sent.phone)}"
    server.set(name, reminder, ex=60)
    try:
        assert writer.write_after_send(sent) == outcome
        assert bool(server.exists(key("dialog", sent))) == (outcome == "written")
    finally:
        server.delete(name)


def test_a_reply_fills_the_selection_and_keeps_the_rest(writer, server, sent):
    writer.write_after_send(replace(sent, slots=(ONE, TWO)))
    at = SENT + timedelta(hours=1)
    chosen = writer.select(sent.company_id, sent.phone, at=at, staff="Марина Котова", starts_local=TWO.starts_local)
    dialog = server.hgetall(key("dialog", sent))
    assert chosen == "written"
    assert json.loads(dialog["selection"]) == {
        "service": "Женская стрижка", "staff": "Марина Котова", "date": "2026-11-27", "time": "11:00",
    }  # fmt: skip
    assert json.loads(dialog["data"]) == {
        "lastService": "Женская стрижка", "lastStaff": "Марина Котова", "lastDate": "2026-11-27", "lastTime": "11:00",
    }  # fmt: skip
    assert dialog["lastUpdated"] == "2026-11-22T10:30:00.000Z"
    assert json.loads(dialog["pendingAction"])["campaign"] == sent.campaign_id
    assert writer.select(sent.company_id, sent.phone, at=at + timedelta(minutes=1), service="Маникюр") == "written"
    assert json.loads(server.hget(key("dialog", sent), "selection")) == {"service": "Маникюр", "staff": "Марина Котова"}


def test_a_selection_never_overrides_what_the_bot_did_after_the_reply(writer, server, sent):
    writer.write_after_send(sent)
    bot_update(server, sent, SENT + timedelta(hours=2), selection='{"service":"Маникюр","time":"12:00"}')
    outcome = writer.select(sent.company_id, sent.phone, at=SENT + timedelta(hours=1), starts_local=TWO.starts_local)
    assert outcome == "skipped_live_dialog"
    assert json.loads(server.hget(key("dialog", sent), "selection"))["time"] == "12:00"


def test_clearing_takes_our_part_out(writer, server, sent):
    writer.write_after_send(sent)
    writer.clear(sent.company_id, sent.phone)
    dialog = server.hgetall(key("dialog", sent))
    assert not {"selection", "pendingAction", "data"} & set(dialog)
    assert dialog["state"] == "completed"
    writer.clear(sent.company_id, sent.phone)


def test_clearing_leaves_a_dialog_of_the_bot_alone(writer, server, sent):
    bot_update(server, sent, SENT, selection='{"service":"Маникюр"}')
    before = server.hgetall(key("dialog", sent))
    writer.clear(sent.company_id, sent.phone)
    assert server.hgetall(key("dialog", sent)) == before


def test_clearing_what_does_not_exist_creates_nothing(writer, server, sent):
    writer.clear(sent.company_id, sent.phone)
    assert not server.exists(key("dialog", sent))


def test_an_opt_out_is_marked_and_expires(writer, server, sent):
    writer.clear(sent.company_id, sent.phone, opted_out=True)
    assert server.hget(key("dialog", sent), "reactivationStatus") == "opted_out"
    assert 0 < server.ttl(key("dialog", sent)) <= EIGHT_DAYS


@pytest.mark.parametrize(
    ("phone", "digits"),
    [
        ("+79000000017", "79000000017"),
        ("8 (900) 000-00-17", "79000000017"),
        ("9000000017", "79000000017"),
        ("79000000017@c.us", "79000000017"),
        ("+14165550017", "14165550017"),
        ("+8200000017", "8200000017"),
    ],
)
def test_the_phone_is_kept_as_the_bot_keeps_it(phone, digits):
    assert bot_phone(phone) == digits


def test_an_outage_is_told_with_a_masked_phone():
    writer = DialogContextWriter("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(ContextUnavailable) as caught:
        writer.clear(1, PHONE)
    assert DIGITS not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_refused_command_is_told_and_nothing_is_half_written(writer, server, sent):
    server.set(key("dialog", sent), "not a hash", ex=60)
    with pytest.raises(ContextUnavailable):
        writer.write_after_send(sent)
    assert not server.exists(key("messages", sent))


def test_a_dropped_connection_is_tried_again(writer, server, sent):
    writer.write_after_send(sent)
    own = writer._redis.client_id()
    server.client_kill_filter(_id=own)
    assert writer.write_after_send(sent) == "written"


def test_a_write_and_the_bot_at_the_same_time_never_mix(redis_url, writer, server, sent):
    stop = threading.Event()

    def bot() -> None:
        with redis.Redis.from_url(redis_url, decode_responses=True) as own:
            while not stop.is_set():
                bot_update(own, sent, SENT + timedelta(hours=1), selection='{"service":"Маникюр"}', pendingAction="{}")

    thread = threading.Thread(target=bot)
    thread.start()
    try:
        outcomes = {writer.write_after_send(sent) for _ in range(50)}
    finally:
        stop.set()
        thread.join()
    dialog = server.hgetall(key("dialog", sent))
    assert outcomes <= {"written", "skipped_live_dialog"}
    assert json.loads(dialog["selection"]) == {"service": "Маникюр"}


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=200))
def test_whatever_the_names_the_bot_can_parse_what_is_written(writer, server, sent, name, title, text):
    try:
        (name + title + text).encode()
    except UnicodeEncodeError:
        return
    context = replace(sent, client_name=name, service_title=title, text=text)
    assert writer.write_after_send(context) == "written"
    dialog = server.hgetall(key("dialog", sent))
    assert all(isinstance(json.loads(dialog[field]), dict) for field in ("selection", "pendingAction", "data"))
    assert json.loads(dialog["pendingAction"])["messageSent"] == text
    assert json.loads(server.lindex(key("messages", sent), 0))["text"] == text


def test_a_lone_surrogate_does_not_stop_the_write(writer, server, sent):
    assert writer.write_after_send(replace(sent, client_name="А\ud83d", text="Да\ud83d")) == "written"
    assert json.loads(server.hget(key("dialog", sent), "pendingAction"))["messageSent"] == "Да\ud83d"


def test_naive_instants_are_refused(sent):
    with pytest.raises(ValueError, match="aware"):
        replace(sent, sent_at=datetime(2026, 11, 22))  # noqa: DTZ001
    with pytest.raises(ValueError, match="aware"):
        DialogContextWriter("redis://127.0.0.1:1").select(1, PHONE, at=datetime(2026, 11, 22))  # noqa: DTZ001
