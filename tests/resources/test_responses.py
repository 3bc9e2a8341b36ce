"""A reply finds its campaign, is understood once, and does what its intent says."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from reactivation_core.reply_effects import OPEN_FOR, REST
from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.inbox import Inbox
from reactivation_resources.responses import Reply, apply_replies, responses_of_day
from reactivation_resources.settings import Settings
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, phone_of, reply, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SENT = NOON - DAY
NOW = NOON + HOUR
CALENDAR = Calendar(Settings(reactivation_timezone="Europe/Moscow"), SimulatedClock(NOON))
ONE = {"rank": 1, "spare": False, "staff_id": 5, "starts_at": "2026-11-26T15:30:00+00:00", "length_s": 3600, "score": 1}
SPARE = ONE | {"rank": 2, "spare": True, "starts_at": "2026-11-27T08:00:00+00:00"}


@pytest.fixture
def salon(database: Database) -> Database:
    add_salon(database)
    execute(
        database,
        "INSERT INTO staff (company_id, staff_id, name) VALUES (1, 5, 'Анна Смирнова'), (1, 6, 'Ольга Петрова')",
    )
    execute(
        database,
        "INSERT INTO services (company_id, service_id, title) VALUES (1, 1, 'Женская стрижка'), (1, 2, 'Маникюр')",
    )
    return database


def sent(database: Database, client_id: int = 1, at: datetime = SENT, **changes: Any) -> UUID:
    values = {
        "status": "delivered",
        "sending_at": at,
        "sent_at": at,
        "send_after": at,
        "planned_at": at - HOUR,
        "slots": [ONE, SPARE],
    }
    return add_campaign(database, client_id, **{**values, **changes})


def hear(database: Database, *bodies: str, **changes: Any) -> list[Reply]:
    """These messages come in, one a second, and are applied."""
    channel, at, start = changes.pop("channel", "waha"), changes.pop("at", NOON), changes.pop("start", 0)
    phone = changes.pop("phone", phone_of(1))
    events = [
        reply(body, phone, number=f"A{start + n}", occurred_at=at + timedelta(seconds=n), **changes)
        for n, body in enumerate(bodies)
    ]
    Inbox(database).store(channel, events, NOW)
    return apply(database)


def apply(database: Database) -> list[Reply]:
    return apply_replies(database, CALENDAR.day_of, NOW)


def test_the_second_time_is_the_one_told_second(salon: Database) -> None:
    later = ONE | {"rank": 2, "starts_at": "2026-11-27T15:30:00+00:00"}
    sent(salon, slots=[later, ONE | {"rank": 3}])  # the best one is not the earliest
    hear(salon, "давайте второе время")
    frame = responses_of_day(salon, NOON.date())
    assert frame.select("intent", "slot_starts_at").rows() == [
        ("choose_slot", datetime(2026, 11, 27, 15, 30, tzinfo=UTC))
    ]


def test_a_yes_takes_the_only_slot_that_was_told(salon: Database) -> None:
    sent(salon, slots=[ONE | {"told": True}, ONE | {"rank": 2, "staff_id": 6, "told": False}, SPARE])
    hear(salon, "да")
    frame = responses_of_day(salon, NOON.date())
    assert frame["slot_starts_at"].to_list() == [datetime(2026, 11, 26, 15, 30, tzinfo=UTC)]


# ------------------------------------------------------------ which campaign


def test_a_quoted_message_goes_before_the_latest(salon: Database) -> None:
    older = sent(salon, at=NOON - 10 * DAY, provider_message_id="m1")
    sent(salon, attempt_number=2, provider_message_id="m2")
    (found,) = hear(salon, "да", quoted_message_id="m1")
    assert found.campaign_id == str(older)


def test_the_chat_goes_before_the_phone(salon: Database) -> None:
    one = sent(salon, 1, at=NOON - 3 * DAY, provider_contact_id="900@c.us")
    sent(salon, 2, phone=phone_of(1))
    (found,) = hear(salon, "да", contact_id="900@c.us")
    assert (found.campaign_id, found.client_id) == (str(one), 1)


def test_by_phone_the_latest_campaign_is_meant(salon: Database) -> None:
    sent(salon, at=NOON - 10 * DAY)
    latest = sent(salon, attempt_number=2)
    (found,) = hear(salon, "да")
    assert found.campaign_id == str(latest)


def test_a_chat_without_a_phone_is_known_by_its_id(salon: Database) -> None:
    one = sent(salon, provider_contact_id="4815162342@lid")
    (found,) = hear(salon, "стоп", phone=None)
    assert found.campaign_id == str(one)
    assert found.phone == phone_of(1)
    assert rows(salon, "SELECT phone FROM suppressions") == [(phone_of(1),)]


@pytest.mark.parametrize(("age", "matched"), [(14 * DAY - timedelta(seconds=1), True), (14 * DAY, False)])
def test_after_fourteen_days_a_reply_belongs_to_nothing(salon: Database, age: timedelta, matched: bool) -> None:
    sent(salon, at=NOON - age)
    (found,) = hear(salon, "да")
    assert (found.campaign_id is not None) == matched
    assert found.client_id == 1


def test_a_message_that_came_before_the_campaign_does_not_answer_it(salon: Database) -> None:
    sent(salon, at=NOON + HOUR)
    assert hear(salon, "да")[0].campaign_id is None


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "planned", "sending_at": None, "sent_at": None},
        {"status": "held_out", "held_out": True, "sending_at": None, "sent_at": None},
    ],
)
def test_what_was_never_sent_cannot_be_answered(salon: Database, changes: dict[str, Any]) -> None:
    sent(salon, **changes)
    assert hear(salon, "да")[0].campaign_id is None


def test_a_message_whose_answer_was_lost_can_be_answered(salon: Database) -> None:
    one = sent(salon, status="unknown", sent_at=None)
    assert hear(salon, "да")[0].campaign_id == str(one)


def test_the_same_phone_at_another_company_is_another_person(salon: Database) -> None:
    add_salon(salon, 2)
    execute(salon, "UPDATE clients SET phone = :phone WHERE company_id = 2 AND client_id = 1", phone=phone_of(1))
    ours, theirs = sent(salon), sent(salon, company_id=2, phone=phone_of(1))
    (found,) = hear(salon, "стоп", session="salon_2")
    assert (found.company_id, found.campaign_id) == (2, str(theirs))
    assert rows(salon, "SELECT company_id FROM suppressions") == [(2,)]
    assert campaign(salon, ours).response_type is None


def test_a_reply_on_another_channel_does_not_answer_a_message_of_this_one(salon: Database) -> None:
    sent(salon)
    execute(salon, "INSERT INTO channel_accounts (company_id, channel, session) VALUES (1, 'sms', 'salon_1')")
    (found,) = hear(salon, "да", channel="sms")
    assert (found.campaign_id, found.client_id) == (None, 1)


def test_a_reply_to_nothing_is_kept_and_its_stop_is_honoured(salon: Database) -> None:
    stranger = "+79000099999"
    found = hear(salon, "стоп", phone=stranger)
    assert (found[0].campaign_id, found[0].client_id) == (None, None)
    assert rows(salon, "SELECT company_id, client_id, campaign_id, intent FROM client_responses") == [
        (1, None, None, "opt_out")
    ]
    assert rows(salon, "SELECT phone, reason, lifted_at FROM suppressions") == [(stranger, "opted_out", None)]


def test_a_message_to_a_number_nobody_knows_is_not_applied(salon: Database) -> None:
    assert hear(salon, "да", session="somebody") == []
    assert rows(salon, "SELECT error FROM inbox") == [("no account has this session",)]


# ------------------------------------------------------------ what each intent does


def effects(database: Database, campaign_id: UUID) -> dict[str, Any]:
    row = campaign(database, campaign_id)
    return {
        "type": row.response_type, "intent": row.intent, "open": row.open_until, "reason": row.completion_reason,
        "pauses": [tuple(r) for r in rows(database, "SELECT client_id, at, until, reason FROM pauses ORDER BY pause_id")],
        "suppressed": [tuple(r) for r in rows(database, "SELECT phone, reason FROM suppressions ORDER BY phone")],
        "stated": [tuple(r) for r in rows(database, "SELECT kind, value FROM stated_preferences ORDER BY inbox_id")],
    }  # fmt: skip


NONE: dict[str, Any] = {"open": None, "reason": None, "pauses": [], "suppressed": [], "stated": []}
TABLE: dict[str, tuple[str, dict[str, Any]]] = {
    "confirm": ("да", {"type": "positive", "open": NOON + OPEN_FOR}),
    "choose_slot": ("да, на 18:30", {"type": "positive", "open": NOON + OPEN_FOR}),
    "other_time": ("не хочу утром, лучше вечером", {"type": "positive", "open": NOON + OPEN_FOR, "stated": [("time_of_day", "evening")]}),
    "other_staff": ("к Ольге можно?", {"type": "positive", "open": NOON + OPEN_FOR, "stated": [("staff", "6")]}),
    "other_service": ("хочу маникюр", {"type": "positive", "open": NOON + OPEN_FOR, "stated": [("service", "2")]}),
    "pause_until": (
        "пока не надо, в отпуске до 15 декабря",
        {"type": "neutral", "pauses": [(1, NOON, datetime(2026, 12, 15, 21, tzinfo=UTC), "pause_until")]},
    ),
    "decline_now": ("Нет, спасибо", {"type": "negative", "reason": "declined", "pauses": [(1, NOON, NOON + REST, "decline_now")]}),
    "opt_out": ("не пишите", {"type": "negative", "reason": "opted_out", "suppressed": [(phone_of(1), "opted_out")]}),
    "already_booked": ("я уже записалась", {"type": "neutral", "reason": "cancelled"}),
    "wrong_person": ("не тот номер", {"type": "neutral", "reason": "cancelled", "suppressed": [(phone_of(1), "wrong_person")]}),
    "question": ("сколько стоит?", {"type": "neutral", "open": NOON + OPEN_FOR}),
    "thanks": ("спасибо", {"type": "neutral"}),
    "unclear": ("хм, ну даже не знаю что сказать", {"type": "neutral"}),
}  # fmt: skip


@pytest.mark.parametrize("intent", TABLE)
def test_an_intent_does_what_the_table_says_and_nothing_else(salon: Database, intent: str) -> None:
    body, expected = TABLE[intent]
    one = sent(salon)
    (found,) = hear(salon, body)
    assert found.classification.intent == intent
    assert effects(salon, one) == NONE | {"intent": intent} | expected
    row = campaign(salon, one)
    assert row.responded_at == NOON
    assert (row.completed_at == NOON) == (row.completion_reason is not None)
    assert rows(salon, "SELECT FROM alerts") == []


def test_a_pause_keeps_the_client_from_another_attempt_and_leaves_the_attempts_own_date(salon: Database) -> None:
    """The pause is dated and the attempt's date is not: a day that is run again must not know of a later reply."""
    one = sent(salon, next_attempt_at=SENT + 14 * DAY)
    hear(salon, "пока не надо, в отпуске до 15 декабря")
    (pause,) = rows(salon, "SELECT at, until FROM pauses")
    assert pause.until == datetime(2026, 12, 15, 21, tzinfo=UTC)  # the 16th, 0:00 in Moscow
    assert pause.at == campaign(salon, one).responded_at
    assert campaign(salon, one).next_attempt_at == SENT + 14 * DAY


def test_a_chosen_slot_is_kept_as_an_instant(salon: Database) -> None:
    sent(salon)
    hear(salon, "да, на 18:30")
    assert rows(salon, "SELECT slot_starts_at, day FROM client_responses") == [
        (datetime(2026, 11, 26, 15, 30, tzinfo=UTC), date(2026, 11, 23))
    ]


def test_every_change_of_mind_is_kept_in_order_and_the_last_service_is_the_one_requested(salon: Database) -> None:
    one = sent(salon)
    hear(salon, "хочу маникюр", "к Ольге можно?", "Не стрижку, а маникюр")
    said = campaign(salon, one).personalization
    assert [(change["kind"], change["value"]) for change in said["changes"]] == [
        ("service", "2"),
        ("staff", "6"),
        ("service", "2"),
    ]
    assert said["requested_service"] == "2"
    assert [change["at"] for change in said["changes"]] == sorted(change["at"] for change in said["changes"])


def booked(
    database: Database, created: datetime, record_id: int = 70, starts: datetime = NOON + 3 * DAY, **changes: Any
) -> None:
    values = {"status": "booked", "deleted": False} | changes
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, deleted, created_at)"
        " VALUES (1, :record, 0, 1, :starts, :status, :deleted, :created)",
        record=record_id, starts=starts, created=created, **values,
    )  # fmt: skip


def test_who_has_booked_since_the_message_is_converted_by_that_booking(salon: Database) -> None:
    one = sent(salon)
    booked(salon, SENT - 5 * DAY, 69)
    booked(salon, SENT + HOUR, 70)
    hear(salon, "я уже записалась")
    row = campaign(salon, one)
    assert (row.completion_reason, row.response_type, row.completed_at) == ("converted", "booking_created", SENT + HOUR)
    assert (row.booked_record_id, row.booked_at) == (70, SENT + HOUR)


@pytest.mark.parametrize(
    ("created", "changes"),
    [(SENT - DAY, {}), (SENT + HOUR, {"deleted": True}), (SENT + HOUR, {"status": "cancelled"}), (NOON + HOUR, {})],
)
def test_who_has_booked_before_or_not_at_all_is_not_converted(
    salon: Database, created: datetime, changes: dict[str, Any]
) -> None:
    one = sent(salon)
    booked(salon, created, **changes)
    hear(salon, "я уже записалась")
    row = campaign(salon, one)
    assert (row.completion_reason, row.booked_record_id, row.completed_at) == ("cancelled", None, NOON)


# ------------------------------------------------------------ one after the other


def test_the_first_reply_is_kept_for_ever_and_the_last_word_counts(salon: Database) -> None:
    one = sent(salon)
    hear(salon, "да")
    hear(salon, "Нет, спасибо", at=NOON + HOUR / 2, start=5)
    row = campaign(salon, one)
    assert row.responded_at == NOON
    assert (row.response_type, row.intent, row.completion_reason) == ("negative", "decline_now", "declined")
    assert len(rows(salon, "SELECT FROM client_responses")) == 2


@pytest.mark.parametrize("polite", ["спасибо", "🙏", "хм, ну даже не знаю что сказать"])
def test_a_later_thanks_takes_nothing_back(salon: Database, polite: str) -> None:
    one = sent(salon)
    hear(salon, "да, на 18:30", polite)
    row = campaign(salon, one)
    assert (row.response_type, row.intent) == ("positive", "choose_slot")
    assert rows(salon, "SELECT intent FROM client_responses ORDER BY inbox_id")[0].intent == "choose_slot"


def test_a_message_delivered_late_does_not_make_the_first_reply_later(salon: Database) -> None:
    one = sent(salon)
    hear(salon, "да")
    hear(salon, "сколько стоит?", at=NOON - HOUR, start=5)
    assert campaign(salon, one).responded_at == NOON - HOUR


def test_how_an_episode_ended_stays(salon: Database) -> None:
    one = sent(salon)
    hear(salon, "Нет, спасибо", "стоп")
    row = campaign(salon, one)
    assert (row.completion_reason, row.completed_at, row.intent) == ("declined", NOON, "opt_out")
    assert len(rows(salon, "SELECT FROM suppressions")) == 1


def test_what_was_converted_is_not_taken_back_by_words(salon: Database) -> None:
    one = sent(
        salon,
        response_type="booking_created",
        completion_reason="converted",
        completed_at=NOON - HOUR,
        booked_record_id=7,
    )
    hear(salon, "Нет, спасибо")
    row = campaign(salon, one)
    assert (row.response_type, row.completion_reason, row.booked_record_id) == ("booking_created", "converted", 7)


def everything(database: Database) -> list[list[Any]]:
    tables = (
        "reactivation_campaigns",
        "client_responses",
        "suppressions",
        "pauses",
        "stated_preferences",
        "alerts",
        "inbox",
    )
    return [rows(database, f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def test_applying_again_changes_nothing(salon: Database) -> None:
    sent(salon)
    hear(salon, "да", "к Ольге можно?", "Нет, спасибо", "стоп")
    before = everything(salon)
    assert apply(salon) == []
    assert everything(salon) == before


def test_classifying_a_message_once_more_changes_nothing_but_the_time_of_it(salon: Database) -> None:
    sent(salon)
    hear(salon, *(body for body, _ in TABLE.values()))
    before = everything(salon)[1:-1]
    execute(salon, "UPDATE inbox SET processed_at = NULL WHERE kind = 'message'")
    apply(salon)
    assert everything(salon)[1:-1] == before


def test_one_poisoned_message_stops_nobody(salon: Database) -> None:
    broken = sent(salon, 2, slots=[{"rank": 1}])
    one = sent(salon, 1)
    store = Inbox(salon)
    store.store("waha", [reply("да", phone_of(2), number="P")], NOW)
    store.store("waha", [reply("да", phone_of(1), number="Q")], NOW)
    assert [found.client_id for found in apply(salon)] == [1]
    assert campaign(salon, one).intent == "confirm"
    assert campaign(salon, broken).intent is None
    found = rows(salon, "SELECT processed_at, error FROM inbox ORDER BY inbox_id")
    assert found[0].error.startswith("KeyError")
    assert found == [(NOW, found[0].error), (NOW, None)]
    assert apply(salon) == []


def test_a_message_the_database_will_not_take_stops_nobody_either(salon: Database) -> None:
    execute(salon, "ALTER TABLE client_responses ADD CONSTRAINT odd CHECK (intent <> 'question')")
    sent(salon)
    assert [found.classification.intent for found in hear(salon, "сколько стоит?", "да")] == ["confirm"]
    assert rows(salon, "SELECT error LIKE 'IntegrityError%' FROM inbox ORDER BY inbox_id")[0][0]


def test_no_more_than_asked_for_are_taken_and_the_rest_waits(salon: Database) -> None:
    sent(salon)
    Inbox(salon).store("waha", [reply("да", phone_of(1), number=f"{n}") for n in range(5)], NOW)
    assert len(apply_replies(salon, CALENDAR.day_of, NOW, limit=2)) == 2
    assert len(apply(salon)) == 3


def test_two_messages_of_one_chat_are_never_taken_at_the_same_time(salon: Database) -> None:
    """Whoever comes second skips the chat that another process is busy with, and takes the others."""
    one, two = sent(salon, 1), sent(salon, 2)
    store = Inbox(salon)
    store.store("waha", [reply("да", phone_of(1), number="1")], NOW)
    store.store("waha", [reply("Нет, спасибо", phone_of(1), number="2")], NOW)
    store.store("waha", [reply("да", phone_of(2), number="3")], NOW)
    with salon.begin() as busy:
        busy.exec_driver_sql("SELECT FROM inbox WHERE message_id = '1' FOR UPDATE")
        assert [found.client_id for found in apply(salon)] == [2]
    assert [found.classification.intent for found in apply(salon)] == ["confirm", "decline_now"]
    assert (campaign(salon, one).intent, campaign(salon, two).intent) == ("decline_now", "confirm")


APPLY = """
import sys
from datetime import datetime
from reactivation_resources.database.engine import Database
from reactivation_resources.responses import apply_replies
now = datetime.fromisoformat(sys.argv[2])
print(len(apply_replies(Database(sys.argv[1]), lambda at: at.date(), now)))
"""


def test_two_processes_apply_each_message_once(salon: Database, database_url: str) -> None:
    for client in (1, 2, 3):
        sent(salon, client)
    store = Inbox(salon)
    for n in range(40):
        store.store(
            "waha",
            [
                reply(
                    "да" if n % 2 else "хочу маникюр",
                    phone_of(n % 3 + 1),
                    number=f"{n}",
                    occurred_at=NOON + n * timedelta(seconds=1),
                )
            ],
            NOW,
        )
    both = [
        subprocess.Popen(
            [sys.executable, "-c", APPLY, database_url, NOW.isoformat()], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    done = sum(int(process.communicate(timeout=60)[0]) for process in both)
    assert done + len(apply(salon)) == 40
    assert len(rows(salon, "SELECT FROM client_responses")) == 40
    for row in rows(salon, "SELECT personalization -> 'changes' AS said FROM reactivation_campaigns"):
        moments = [change["at"] for change in row.said]
        assert moments == sorted(set(moments))


def test_the_days_replies_are_read_back_as_they_were_classified(salon: Database) -> None:
    sent(salon)
    hear(salon, "да, на 18:30", "пока не надо, в отпуске до 15 декабря")
    frame = responses_of_day(salon, NOON.date())
    assert frame.select("intent", "layer", "slot_starts_at", "pause_until").rows() == [
        ("choose_slot", "rule", datetime(2026, 11, 26, 15, 30, tzinfo=UTC), None),
        ("pause_until", "rule", None, date(2026, 12, 15)),
    ]
    assert responses_of_day(salon, NOON.date() + DAY).is_empty()
