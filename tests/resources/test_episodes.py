"""Episodes end when they ended: by a booking, by the last attempt, or not yet; a late run writes what a punctual one would have."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reactivation_resources.database.engine import Database
from reactivation_resources.episodes import Settled, settle_episodes
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, rows

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WEEK = 7 * DAY
NOTHING = Settled(booked=0, unanswered=0, exhausted=0, never_sent=0, dated=0)


@pytest.fixture
def salon(database: Database) -> Database:
    add_salon(database)
    return database


def settle(database: Database, as_of: datetime) -> Settled:
    with database.begin() as connection:
        return settle_episodes(connection, as_of)


def sent(database: Database, client_id: int = 1, at: datetime = NOON, **changes: Any) -> UUID:
    values = {"status": "delivered", "sending_at": at, "sent_at": at, "send_after": at, "planned_at": at - 2 * SECOND}
    return add_campaign(database, client_id, **{**values, **changes})


def held_out(database: Database, client_id: int = 1, **changes: Any) -> UUID:
    return add_campaign(database, client_id, **{"status": "held_out", "held_out": True, **changes})


def booked(
    database: Database, created: datetime, starts: datetime | None = None, *, record_id: int = 70, client_id: int = 1,
    company_id: int = 1, status: str = "booked", deleted: bool = False,
) -> None:  # fmt: skip
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, deleted, created_at)"
        " VALUES (:company, :record, 0, :client, :starts, :status, :deleted, :created)",
        company=company_id, record=record_id, client=client_id, starts=starts or created + 3 * DAY, status=status, deleted=deleted,
        created=created,
    )  # fmt: skip


def ending(database: Database, campaign_id: UUID) -> tuple[Any, ...]:
    row = campaign(database, campaign_id)
    return row.completion_reason, row.completed_at, row.booked_record_id, row.response_type


@pytest.mark.parametrize("start", [sent, held_out])
@pytest.mark.parametrize("after", [timedelta(0), SECOND, 3 * DAY, WEEK])
def test_a_booking_within_the_week_after_the_message_converts(salon: Database, start: Any, after: timedelta) -> None:
    one = start(salon)
    booked(salon, NOON + after)
    assert settle(salon, NOON + WEEK).booked == 1
    assert ending(salon, one) == ("converted", NOON + after, 70, "booking_created")
    assert campaign(salon, one).booked_at == NOON + after


@pytest.mark.parametrize("start", [sent, held_out])
def test_a_later_booking_ends_the_episode_and_converts_nothing(salon: Database, start: Any) -> None:
    one = start(salon)
    booked(salon, NOON + WEEK + SECOND)
    settle(salon, NOON + 9 * DAY)
    assert ending(salon, one) == ("cancelled", NOON + WEEK + SECOND, None, "no_response")


@pytest.mark.parametrize("start", [sent, held_out])
def test_a_visit_that_was_booked_before_the_message_ends_the_episode_and_converts_nothing(
    salon: Database, start: Any
) -> None:
    one = start(salon)
    booked(salon, NOON - 30 * DAY, NOON + DAY, status="attended")
    settle(salon, NOON + 2 * DAY)
    reason, at, record, response = ending(salon, one)
    assert (reason, record, response) == ("cancelled", None, None)
    assert at <= NOON


def test_a_visit_before_the_message_ends_nothing(salon: Database) -> None:
    one = sent(salon)
    booked(salon, NOON - 30 * DAY, NOON - SECOND, status="attended")
    settle(salon, NOON + DAY)
    assert ending(salon, one) == (None, None, None, None)


def test_a_client_held_out_who_books_before_the_hour_of_the_message_is_compared_with_nobody(salon: Database) -> None:
    from reactivation_resources.campaign_log import CampaignLog

    one, two = held_out(salon, 1), held_out(salon, 2)
    booked(salon, NOON - timedelta(hours=1), NOON + DAY)
    settle(salon, NOON + DAY)
    assert ending(salon, one) == ("cancelled", NOON - timedelta(hours=1), None, None)
    assert ending(salon, two)[0] is None
    facts = CampaignLog(salon).facts(NOON - DAY, NOON + DAY)
    assert facts["campaign_id"].to_list() == [str(two)]


@pytest.mark.parametrize("changes", [{"deleted": True}, {"status": "cancelled"}, {"client_id": 2}, {"company_id": 2}])
def test_what_is_no_booking_of_this_client_ends_nothing(salon: Database, changes: dict[str, Any]) -> None:
    one = sent(salon)
    booked(salon, NOON + DAY, **changes)
    settle(salon, NOON + 2 * DAY)
    assert ending(salon, one)[0] is None


def test_a_booking_not_yet_made_at_that_instant_is_not_known(salon: Database) -> None:
    one = sent(salon)
    booked(salon, NOON + 2 * DAY)
    assert settle(salon, NOON + DAY).booked == 0
    assert ending(salon, one)[0] is None


def test_the_first_booking_counts(salon: Database) -> None:
    one = sent(salon)
    booked(salon, NOON + 2 * DAY, record_id=71)
    booked(salon, NOON + DAY, record_id=72)
    settle(salon, NOON + WEEK)
    assert ending(salon, one)[:3] == ("converted", NOON + DAY, 72)


def test_a_missed_visit_was_a_booking(salon: Database) -> None:
    one = sent(salon)
    booked(salon, NOON + DAY, NOON + 2 * DAY, status="no_show")
    settle(salon, NOON + 3 * DAY)
    assert ending(salon, one)[0] == "converted"


def test_without_a_reply_the_message_is_unanswered_after_a_week_and_not_before(salon: Database) -> None:
    one = sent(salon)
    assert settle(salon, NOON + WEEK - SECOND).unanswered == 0
    assert settle(salon, NOON + WEEK).unanswered == 1
    row = campaign(salon, one)
    assert (row.response_type, row.completion_reason) == ("no_response", None)
    assert row.next_attempt_at == NOON + 14 * DAY


@pytest.mark.parametrize(("retry", "days"), [(3, 7), (7, 7), (21, 21)])
def test_the_next_attempt_waits_for_the_reply_window_and_the_rules_own_wait(
    salon: Database, retry: int, days: int
) -> None:
    one = held_out(salon, retry_interval_days=retry)
    assert settle(salon, NOON - SECOND).dated == 0
    assert settle(salon, NOON).dated == 1
    assert campaign(salon, one).next_attempt_at == NOON + days * DAY


@pytest.mark.parametrize("start", [sent, held_out])
def test_after_the_last_attempt_the_episode_is_over_when_its_week_is(salon: Database, start: Any) -> None:
    one = start(salon, attempt_number=3)
    assert settle(salon, NOON + WEEK - SECOND).exhausted == 0
    assert settle(salon, NOON + WEEK).exhausted == 1
    assert ending(salon, one) == ("max_attempts", NOON + WEEK, None, "no_response")
    assert campaign(salon, one).next_attempt_at is None


def test_only_the_last_campaign_of_a_client_decides(salon: Database) -> None:
    first = sent(salon, at=NOON - 14 * DAY)
    second = sent(salon, attempt_number=2)
    booked(salon, NOON + DAY)
    settle(salon, NOON + DAY)
    assert ending(salon, first) == (None, None, None, "no_response")
    assert ending(salon, second)[0] == "converted"


def test_a_campaign_on_its_way_holds_the_episode(salon: Database) -> None:
    first = sent(salon, at=NOON - 14 * DAY)
    second = add_campaign(salon, 1, attempt_number=2)
    booked(salon, NOON - DAY)
    settle(salon, NOON)
    assert ending(salon, first)[0] is None
    assert ending(salon, second)[0] is None


def test_a_positive_reply_keeps_the_dialog_open_for_the_booking(salon: Database) -> None:
    until = NOON + 8 * DAY
    one = sent(
        salon,
        attempt_number=3,
        responded_at=NOON + 6 * DAY,
        response_type="positive",
        intent="confirm",
        open_until=until,
    )
    assert settle(salon, until - SECOND) == NOTHING
    assert settle(salon, until).exhausted == 1
    assert ending(salon, one) == ("max_attempts", until, None, "positive")


def test_a_booking_in_the_open_dialog_after_the_week_ends_it_unconverted(salon: Database) -> None:
    until = NOON + 9 * DAY
    one = sent(
        salon,
        attempt_number=3,
        responded_at=NOON + 6 * DAY,
        response_type="positive",
        intent="confirm",
        open_until=until,
    )
    booked(salon, NOON + 8 * DAY)
    settle(salon, NOON + 30 * DAY)
    assert ending(salon, one) == ("cancelled", NOON + 8 * DAY, None, "positive")


@pytest.mark.parametrize("reason", ["declined", "opted_out", "max_attempts", "converted", "cancelled"])
def test_an_episode_that_is_over_stays_as_it_ended(salon: Database, reason: str) -> None:
    one = sent(
        salon,
        completion_reason=reason,
        completed_at=NOON + DAY,
        responded_at=NOON + DAY,
        response_type="negative",
        intent="decline_now",
    )
    booked(salon, NOON + 2 * DAY)
    booked(salon, NOON + SECOND, record_id=71)
    assert settle(salon, NOON + 30 * DAY) == NOTHING
    assert ending(salon, one) == (reason, NOON + DAY, None, "negative")


def test_a_client_who_said_to_have_booked_is_believed_once_the_crm_shows_it(salon: Database) -> None:
    said = {"completion_reason": "cancelled", "completed_at": NOON + DAY, "intent": "already_booked", "responded_at": NOON + DAY,
            "response_type": "neutral"}  # fmt: skip
    one, two = sent(salon, 1, **said), sent(salon, 2, **said)
    booked(salon, NOON + timedelta(hours=5), client_id=1)
    booked(salon, NOON + 2 * DAY, client_id=2, record_id=71)  # later than what she spoke of
    assert settle(salon, NOON + 2 * DAY).booked == 1
    assert ending(salon, one) == ("converted", NOON + timedelta(hours=5), 70, "booking_created")
    assert ending(salon, two) == ("cancelled", NOON + DAY, None, "neutral")


def test_a_message_whose_answer_was_lost_may_have_brought_the_client(salon: Database) -> None:
    one = sent(salon, status="unknown", sent_at=None)
    booked(salon, NOON + DAY)
    settle(salon, NOON + 2 * DAY)
    assert ending(salon, one)[0] == "converted"


def test_a_message_that_failed_brought_nobody(salon: Database) -> None:
    one = sent(salon, status="failed", sent_at=None, failed_at=NOON)
    two = sent(salon, 2, status="failed", sent_at=None, failed_at=NOON)
    booked(salon, NOON + DAY)
    settle(salon, NOON + 8 * DAY)
    assert ending(salon, one) == ("cancelled", NOON + DAY, None, None)
    assert ending(salon, two) == (None, None, None, None)
    assert campaign(salon, two).next_attempt_at == NOON + 14 * DAY


def test_a_last_attempt_that_failed_ends_the_episode_after_the_same_week(salon: Database) -> None:
    one = sent(salon, attempt_number=3, status="failed", sent_at=None, failed_at=NOON)
    settle(salon, NOON + WEEK)
    assert ending(salon, one) == ("max_attempts", NOON + WEEK, None, None)


def test_a_campaign_that_expired_unsent_ended_when_it_expired(salon: Database) -> None:
    one = add_campaign(salon, 1, status="expired", expires_at=NOON + DAY)
    assert settle(salon, NOON + DAY - SECOND) == NOTHING
    assert settle(salon, NOON + 5 * DAY).never_sent == 1
    assert ending(salon, one) == ("cancelled", NOON + DAY, None, None)


def test_a_planned_campaign_is_left_alone(salon: Database) -> None:
    for client_id, status in enumerate(("planned", "claimed", "sending"), start=1):
        add_campaign(salon, client_id, status=status, sending_at=NOON)
    assert settle(salon, NOON + 30 * DAY) == NOTHING


def test_a_date_that_was_set_stays(salon: Database) -> None:
    one = sent(salon, next_attempt_at=NOON + 90 * DAY)
    settle(salon, NOON + 30 * DAY)
    assert campaign(salon, one).next_attempt_at == NOON + 90 * DAY


def test_the_bots_context_of_a_client_who_booked_is_written_anew(salon: Database) -> None:
    one = sent(salon, context_synced_at=NOON)
    booked(salon, NOON + DAY)
    settle(salon, NOON + DAY)
    assert campaign(salon, one).context_synced_at is None


STATUSES = st.sampled_from(["accepted", "delivered", "read", "failed", "unknown", "held_out", "expired"])
MOMENTS = st.integers(-3, 30).map(lambda days: days * DAY) | st.sampled_from([WEEK + SECOND, WEEK - SECOND, SECOND])
WORLDS = st.lists(
    st.fixed_dictionaries(
        {
            "status": STATUSES,
            "attempt": st.integers(1, 3),
            "records": st.lists(st.tuples(MOMENTS, st.integers(0, 20), st.sampled_from(["booked", "attended", "no_show", "cancelled"])), max_size=3),
            "open_days": st.none() | st.integers(1, 12),
        }
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
STATE = """
SELECT client_id, completion_reason, completed_at, booked_record_id, booked_at, response_type, next_attempt_at FROM reactivation_campaigns
ORDER BY client_id
"""


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORLDS)
def test_one_late_run_writes_what_a_run_every_day_would_have(salon: Database, world: list[dict[str, Any]]) -> None:
    execute(salon, "TRUNCATE reactivation_campaigns, record_lines CASCADE")
    for client_id, one in enumerate(world, start=1):
        status = one["status"]
        silent = status in ("held_out", "expired", "failed")
        replied = {} if silent or one["open_days"] is None else {
            "responded_at": NOON + SECOND, "response_type": "positive", "intent": "confirm", "open_until": NOON + one["open_days"] * DAY,
        }  # fmt: skip
        changes = {"status": status, "attempt_number": one["attempt"], "held_out": status == "held_out", **replied}
        if status == "expired":
            add_campaign(salon, client_id, **changes)
        elif status == "held_out":
            held_out(salon, client_id, **changes)
        else:
            sent(salon, client_id, **changes, **({} if status not in ("failed", "unknown") else {"sent_at": None}))
        for number, (created, ahead, kind) in enumerate(one["records"]):
            booked(
                salon,
                NOON + created,
                NOON + created + ahead * DAY,
                record_id=client_id * 10 + number,
                client_id=client_id,
                status=kind,
            )
    with salon.engine.connect() as connection:
        trial = connection.begin()
        for day in range(41):
            settle_episodes(connection, NOON + day * DAY)
        punctual = connection.exec_driver_sql(STATE).all()
        trial.rollback()
    settle(salon, NOON + 40 * DAY)
    assert rows(salon, STATE) == punctual
    assert settle(salon, NOON + 40 * DAY) == NOTHING
