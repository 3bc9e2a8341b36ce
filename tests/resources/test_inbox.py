"""Every event is stored once and has its effect once, whatever its order, its content or its company."""

import statistics
import time
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivation_resources.channels.base import InboundEvent
from reactivation_resources.channels.waha import Waha
from reactivation_resources.database.engine import Database
from reactivation_resources.inbox import Inbox, StoredReport
from tests.resources.sending_world import NOON, ack, add_campaign, add_salon, campaign, execute, phone_of, reply, rows

LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database)


def accepted(database: Database, client_id: int = 1, message_id: str = "m1", **changes: object) -> object:
    values = {"status": "accepted", "sending_at": NOON, "sent_at": NOON, "tries": 1, "provider_message_id": message_id}
    return add_campaign(database, client_id, **{**values, **changes})


def test_a_message_delivered_twice_is_stored_once(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    event = reply("Да, на 18:30", phone_of(1))
    assert inbox.store("waha", [event, event], NOON) == StoredReport(new=1, duplicates=1)
    assert inbox.store("waha", [event], LATER) == StoredReport(duplicates=1)
    assert rows(database, "SELECT company_id, phone, body, processed_at FROM inbox") == [
        (1, phone_of(1), "Да, на 18:30", None)
    ]
    assert rows(database, "SELECT phone, first_inbound_at, last_inbound_at FROM contacts") == [
        (phone_of(1), NOON, NOON)
    ]


def test_a_stop_suppresses_the_phone_in_its_own_company_only(database: Database, inbox: Inbox) -> None:
    for company in (1, 2):
        add_salon(database, company)
    shared = phone_of(1)
    execute(database, "UPDATE clients SET phone = :phone WHERE company_id = 2 AND client_id = 1", phone=shared)
    mine = add_campaign(database, 1)
    theirs = add_campaign(database, 1, 2, phone=shared)
    assert inbox.store("waha", [reply("СТОП!", shared)], NOON).opt_outs == 1
    assert rows(database, "SELECT company_id, phone, reason, source FROM suppressions") == [
        (1, shared, "opted_out", "webhook")
    ]
    assert campaign(database, mine).status == "cancelled"
    assert campaign(database, theirs).status == "planned"


def test_a_second_stop_changes_nothing(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    for number in ("A1", "A2"):
        inbox.store("waha", [reply("не пишите мне", phone_of(1), number=number)], NOON)
    assert rows(database, "SELECT count(*) FROM suppressions") == [(1,)]


def test_a_refusal_with_an_alternative_is_no_stop(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    assert inbox.store("waha", [reply("не хочу утром, лучше вечером", phone_of(1))], NOON).opt_outs == 0
    assert campaign(database, campaign_id).status == "planned"


def test_a_stop_from_a_chat_behind_an_alias_finds_the_phone_it_was_sent_to(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    accepted(database, provider_contact_id="4815162342@lid", status="read")
    unsent = add_campaign(database, 1, attempt_number=2)
    assert inbox.store("waha", [reply("стоп")], LATER).opt_outs == 1
    assert campaign(database, unsent).completion_reason == "opted_out"


def test_a_stop_whose_phone_nobody_knows_is_shown_to_people(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    assert inbox.store("waha", [reply("стоп")], NOON) == StoredReport(new=1)
    assert rows(database, "SELECT kind, company_id FROM alerts") == [("opt_out_unknown", 1)]


def test_events_of_an_unknown_session_are_kept_with_the_reason(database: Database, inbox: Inbox) -> None:
    assert inbox.store("waha", [reply("стоп", phone_of(1)), ack("read", "m1")], NOON).new == 2
    errors = rows(database, "SELECT error, processed_at FROM inbox")
    assert errors == [("no account has this session", NOON)] * 2


REPORTS = ["accepted", "delivered", "read", "failed"]


@pytest.mark.parametrize("order", list(permutations(REPORTS)), ids="-".join)
def test_status_events_in_any_order_leave_the_same_campaign(
    database: Database, inbox: Inbox, order: tuple[str, ...]
) -> None:
    add_salon(database)
    campaign_id = accepted(database)
    for status in order:
        minutes = REPORTS.index(status)
        inbox.store(
            "waha", [ack(status, "m1", occurred_at=NOON + timedelta(minutes=minutes))], NOON + timedelta(hours=1)
        )
    row = campaign(database, campaign_id)  # type: ignore[arg-type]
    assert (row.status, row.sent_at) == ("read", NOON)
    assert (row.delivered_at, row.read_at) == (NOON + timedelta(minutes=1), NOON + timedelta(minutes=2))
    assert (row.failed_at, row.error) == (None, None)


def test_a_status_event_of_another_accounts_message_moves_nothing(database: Database, inbox: Inbox) -> None:
    for company in (1, 2):
        add_salon(database, company)
    campaign_id = accepted(database)
    inbox.store("waha", [ack("read", "m1", session="salon_2")], NOON)
    assert campaign(database, campaign_id).status == "accepted"  # type: ignore[arg-type]
    assert rows(database, "SELECT error FROM inbox") == [("no campaign",)]


def test_a_message_typed_on_the_phone_settles_nothing(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1, status="unknown", sending_at=NOON, tries=1)
    inbox.store("waha", [ack("read", "hand", phone_of(1), by_hand=True, occurred_at=LATER)], LATER)
    assert campaign(database, campaign_id).status == "unknown"
    inbox.store("waha", [ack("read", "ours", phone_of(1), occurred_at=LATER)], LATER)
    assert campaign(database, campaign_id).status == "read"


def test_status_events_from_long_before_or_after_settle_nothing(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1, status="unknown", sending_at=NOON, tries=1)
    for number, away in enumerate((timedelta(hours=-1), timedelta(days=8))):
        at = NOON + away
        inbox.store("waha", [ack("delivered", f"m{number}", phone_of(1), occurred_at=at)], at)
    assert campaign(database, campaign_id).status == "unknown"


def test_a_lost_session_stops_its_number_and_a_working_one_starts_it_again(database: Database, inbox: Inbox) -> None:
    add_salon(database, age_days=100)
    waha = Waha("http://127.0.0.1:9")
    for number, status in enumerate(("SCAN_QR_CODE", "SCAN_QR_CODE", "WORKING")):
        payload = {
            "id": f"evt_{number}",
            "event": "session.status",
            "session": "salon_1",
            "payload": {"status": status},
        }
        inbox.store("waha", waha.parse_events(payload), NOON + timedelta(minutes=number))
        state = "stopped" if status == "SCAN_QR_CODE" else "working"
        assert rows(database, "SELECT state, ban_count, limit_override FROM channel_accounts") == [(state, 1, 5)]
    assert rows(database, "SELECT kind, times FROM alerts") == [("account_banned", 2)]


def test_pairing_a_new_number_is_no_ban(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    payload = {"event": "session.status", "session": "salon_1", "payload": {"status": "SCAN_QR_CODE"}}
    inbox.store("waha", Waha("http://127.0.0.1:9").parse_events(payload), NOON)
    assert rows(database, "SELECT state, ban_count FROM channel_accounts") == [("working", 0)]


texts = st.text(max_size=30) | st.sampled_from(["стоп", "да", "\x00", "\ud800", "отпишите меня"])
payloads = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**30), 10**30) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
messages = st.builds(
    lambda number, body, client, payload: reply(body, phone_of(client), number=number, payload={"raw": payload}),
    st.text(min_size=1, max_size=3) | st.just("x" * 3000),
    texts,
    st.integers(1, 3),
    payloads,
)
acks = st.builds(
    lambda status, message, minute: ack(status, message, occurred_at=NOON + timedelta(minutes=minute)),
    st.sampled_from(REPORTS),
    st.sampled_from(["m1", "m2", "stranger"]),
    st.integers(-5, 5),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(messages | acks, max_size=8), data=st.data())
def test_any_events_delivered_again_in_any_batches_and_order_change_nothing(
    database: Database, events: list[InboundEvent], data: st.DataObject
) -> None:
    execute(
        database,
        "TRUNCATE companies, clients, channel_accounts, reactivation_campaigns, inbox, suppressions, contacts CASCADE",
    )
    add_salon(database)
    accepted(database, 1, "m1")
    accepted(database, 2, "m2")
    inbox = Inbox(database)
    report = inbox.store("waha", events, LATER)
    assert report.new == len({event.key.replace("\x00", "").replace("\ud800", "?") for event in events})
    before = everything(database)
    for event in data.draw(st.permutations(events)):
        assert inbox.store("waha", [event], LATER).new == 0
    assert everything(database) == before


def everything(database: Database) -> list[object]:
    tables = ("inbox", "suppressions", "contacts", "reactivation_campaigns", "campaign_events")
    return [rows(database, f"SELECT * FROM {table} ORDER BY 1") for table in tables]


def test_a_webhook_takes_less_than_fifty_milliseconds_at_the_median(database: Database, inbox: Inbox) -> None:
    add_salon(database)
    accepted(database)
    times = []
    for number in range(40):
        started = time.perf_counter()
        inbox.store("waha", [reply(f"стоп {number}" if number % 2 else "да", phone_of(1), number=str(number))], NOON)
        inbox.store("waha", [ack("delivered", "m1", phone_of(1))], NOON)
        times.append((time.perf_counter() - started) / 2)
    assert statistics.median(times) < 0.05
