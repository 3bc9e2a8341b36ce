"""A day is written once and read back; what was known is remembered as long as it decides anything."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy.exc import IntegrityError

from reactivation_core.planning import campaign_id, next_attempt
from reactivation_resources.campaign_log import CampaignLog
from reactivation_resources.database.engine import Database
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, phone_of, rows

AS_OF = NOON - timedelta(hours=2)
DAY = NOON.date()
YESTERDAY = DAY - timedelta(days=1)
SLOT = {
    "rank": 1, "spare": False, "staff_id": 5, "starts_at": "2026-11-26T15:30:00+00:00", "local_day": "2026-11-26", "length_s": 3600,
    "score": 9000, "match_reason": "evening",
}  # fmt: skip


@pytest.fixture
def log(database: Database) -> CampaignLog:
    for company in (1, 2):
        add_salon(database, company, clients=6)
    return CampaignLog(database)


def planned(client: int, company: int = 1, decision: str = "planned", **changes: Any) -> dict[str, Any]:
    return {
        "company_id": company, "client_id": client, "service_id": 1, "decision": decision, "reason": "",
        "campaign_id": None if decision == "deferred" else campaign_id(company, client, 1, 1), "episode_no": 1, "attempt_number": 1,
        "discount_percent": 10, "lane": "warm", "send_after": None if decision == "deferred" else NOON, "segment": "regular",
        "priority": 0.5, "days_since": 50, "phone": phone_of(client, company), "account_id": None, "retry_interval_days": 14,
        "max_attempts": 3, "expires_at": NOON + timedelta(hours=22),
    } | changes  # fmt: skip


def plan(log: CampaignLog, *written: dict[str, Any], day: date = DAY, companies: tuple[int, ...] = (1, 2)) -> None:
    log.write_plan(day, AS_OF, companies, written)


def test_a_plan_is_read_back_as_it_was_made(log: CampaignLog) -> None:
    plan(
        log,
        planned(1),
        planned(2, decision="held_out", send_after=NOON + timedelta(minutes=5)),
        planned(3, decision="deferred", reason="daily_limit"),
        planned(1, 2),
    )
    frame = log.plan(DAY)
    assert frame.select("company_id", "client_id", "decision", "reason", "send_after").rows() == [
        (1, 1, "planned", "", NOON),
        (1, 2, "held_out", "", NOON + timedelta(minutes=5)),
        (1, 3, "deferred", "daily_limit", None),
        (2, 1, "planned", "", NOON),
    ]
    assert frame["campaign_id"].null_count() == 1
    assert log.planned_companies(DAY) == [1, 2]
    assert log.plan(YESTERDAY).is_empty()


def test_a_company_is_planned_once_a_day_and_the_others_still_can_be(log: CampaignLog) -> None:
    plan(log, planned(1), companies=(1,))
    before = log.plan(DAY)
    plan(log, planned(1), planned(2), planned(3, decision="deferred", reason="daily_limit"), planned(1, 2))
    after = log.plan(DAY)
    assert_frame_equal(after.filter(pl.col("company_id") == 1), before)
    assert after.filter(pl.col("company_id") == 2).height == 1


def test_a_plan_that_cannot_be_written_leaves_the_day_unplanned(log: CampaignLog) -> None:
    with pytest.raises(IntegrityError):
        plan(log, planned(1), planned(99))
    assert log.plan(DAY).is_empty()
    assert log.planned_companies(DAY) == []


def test_every_planned_campaign_has_its_first_event(log: CampaignLog, database: Database) -> None:
    plan(log, planned(1), planned(2, decision="held_out"))
    assert rows(database, "SELECT event, from_status, to_status, at FROM campaign_events ORDER BY to_status") == [
        ("plan", None, "held_out", AS_OF),
        ("plan", None, "planned", AS_OF),
    ]


def test_slots_are_stored_once_and_read_back(log: CampaignLog, database: Database) -> None:
    plan(log, planned(1), planned(2), planned(3, decision="held_out"))
    one, two = (campaign_id(1, client, 1, 1) for client in (1, 2))
    assert set(log.without_slots(DAY)) == {one, two}
    log.write_slots({one: [SLOT, SLOT | {"rank": 2, "spare": True}], two: []}, NOON)
    log.write_slots({one: [], two: [SLOT]}, NOON + timedelta(hours=1))
    frame = log.slots(DAY)
    assert frame.select("client_id", "rank", "spare", "staff_id", "score", "match_reason").rows() == [
        (1, 1, False, 5, 9000, "evening"),
        (1, 2, True, 5, 9000, "evening"),
    ]
    assert frame["local_day"].to_list() == [date(2026, 11, 26)] * 2
    assert log.without_slots(DAY) == []
    assert campaign(database, one).slots_checked_at == NOON


def text_of(campaign: str, words: str = "Анна, записать вас?") -> dict[str, Any]:
    return {
        "campaign_id": campaign, "stage": "offer", "tone": "friendly", "text_source": "template", "template_id": "t/1",
        "text_template": "{name}, записать вас?", "message_text": words, "text_parts": "{}", "told": 1, "message_cost": "0.1234", "writing": '{"answers": 1, "requests": 2, "input_tokens": 900, "output_tokens": 60, "cost_micros": 420, "latency_ms": 700, "model": "m", "prompt_version": "v", "fallback": null}', "personalization": '{"a": 1}',
    }  # fmt: skip


def test_a_text_is_stored_once_and_read_back_without_the_name(log: CampaignLog, database: Database) -> None:
    plan(log, planned(1), planned(2), planned(3, decision="held_out"))
    one = campaign_id(1, 1, 1, 1)
    execute(database, "UPDATE reactivation_campaigns SET personalization = '{\"b\": 2}'")
    log.write_texts([text_of(one)])
    log.write_texts([text_of(one, "Другое")])
    frame = log.texts(DAY)
    assert frame.select("client_id", "source", "text_template", "characters", "attempts", "cost_minor").rows() == [
        (1, "template", "{name}, записать вас?", 19, 1, 12)
    ]
    assert "Анна" not in str(frame.rows())
    took = frame.select(
        "model", "prompt_version", "fallback", "requests", "input_tokens", "output_tokens", "cost_micros"
    )
    assert took.rows() == [("m", "v", None, 2, 900, 60, 420)]
    row = campaign(database, one)  # type: ignore[arg-type]
    assert (row.message_text, row.personalization) == ("Анна, записать вас?", {"a": 1, "b": 2})
    assert log.without_text(DAY) == [campaign_id(1, 2, 1, 1)]


@pytest.mark.parametrize("status", ["claimed", "sending", "accepted", "cancelled", "expired"])
def test_what_has_left_the_plan_is_not_written_to(log: CampaignLog, database: Database, status: str) -> None:
    one = str(add_campaign(database, 1, status=status, sending_at=NOON, message_text=None))
    log.write_slots({one: [SLOT]}, NOON)
    log.write_texts([text_of(one)])
    assert (campaign(database, one).slots, campaign(database, one).message_text) == (None, None)  # type: ignore[arg-type]
    assert log.without_slots(DAY) == log.without_text(DAY) == []


def test_the_days_outcome_leaves_out_who_was_held_out(log: CampaignLog, database: Database) -> None:
    add_campaign(database, 1, status="delivered", sending_at=NOON, sent_at=NOON, delivered_at=NOON)
    add_campaign(database, 2, status="held_out", held_out=True)
    add_campaign(database, 3, status="failed", sending_at=NOON, error="131026: unreachable")
    assert log.sent(DAY).select("client_id", "status", "sent_at", "error").rows() == [
        (1, "delivered", NOON, None),
        (3, "failed", None, "131026: unreachable"),
    ]


def test_history_holds_what_had_been_planned_by_then(log: CampaignLog, database: Database) -> None:
    add_campaign(database, 1, planned_at=AS_OF)
    add_campaign(database, 2, planned_at=AS_OF + timedelta(seconds=1))
    assert log.history(AS_OF)["client_id"].to_list() == [1]


def test_a_clients_last_campaign_is_remembered_however_old(log: CampaignLog, database: Database) -> None:
    """A client who comes back for years and then stays away again begins the next episode, not the first one once more."""
    for attempt, age in ((1, 800), (2, 770)):
        at = AS_OF - timedelta(days=age)
        ended = {"completion_reason": "converted", "completed_at": at} if attempt == 2 else {}
        add_campaign(
            database, 1, attempt_number=attempt, planned_at=at, status="delivered", sending_at=at, sent_at=at, **ended
        )
    known = log.history(AS_OF)
    assert known.select("client_id", "attempt_number").rows() == [(1, 2)]
    clients = pl.DataFrame({"company_id": [1], "client_id": [1]})
    assert next_attempt(clients, known).select("episode_no", "attempt_number").rows() == [(2, 1)]
    assert log.history(AS_OF - timedelta(days=780))["attempt_number"].to_list() == [1]


def test_facts_hold_every_attempt_of_the_clients_of_that_time(log: CampaignLog, database: Database) -> None:
    def sent(client: int, days: int, **changes: Any) -> str:
        at = NOON + timedelta(days=days)
        values = {
            "status": "delivered",
            "sending_at": at,
            "sent_at": at,
            "send_after": at,
            "planned_at": at - timedelta(hours=1),
        }
        return str(add_campaign(database, client, **{**values, **changes}))

    first, second = (
        sent(1, -20),
        sent(1, 0, attempt_number=2, slots=[SLOT | {"rank": 2}, SLOT | {"staff_id": 8}], message_cost="1.005"),
    )
    sent(2, -20)
    held = sent(3, 0, status="held_out", held_out=True, sending_at=None, sent_at=None)
    sent(4, 0, status="failed", sent_at=None)
    facts = log.facts(NOON, NOON + timedelta(days=1))
    assert facts["campaign_id"].to_list() == [first, second, held]
    assert facts.select("staff_id", "cost_minor").rows() == [(None, 0), (8, 101), (None, 0)]
    assert log.facts(NOON + timedelta(seconds=1), NOON + timedelta(days=1)).is_empty()


def test_who_wrote_to_the_salon_before_is_a_contact(log: CampaignLog, database: Database) -> None:
    add = "INSERT INTO contacts (company_id, phone, first_inbound_at, last_inbound_at) VALUES (:company, :phone, :at, :at)"
    execute(database, add, company=1, phone=phone_of(1), at=AS_OF)
    execute(database, add, company=1, phone=phone_of(2), at=AS_OF + timedelta(seconds=1))
    execute(database, add, company=2, phone=phone_of(3, 1), at=AS_OF)
    execute(database, "UPDATE clients SET phone = :phone WHERE company_id = 1 AND client_id = 4", phone=phone_of(1))
    assert log.contacts(AS_OF).rows() == [(1, 1), (1, 4)]


def test_ledgers_come_as_they_are(log: CampaignLog, database: Database) -> None:
    execute(
        database,
        "INSERT INTO suppressions (company_id, phone, reason, source, at, lifted_at) VALUES (1, '+79000000001', 'opted_out', 'reply', :at, :at)",
        at=NOON,
    )
    execute(
        database,
        "INSERT INTO pauses (company_id, client_id, at, until, reason) VALUES (1, 1, :at, :at, 'by_hand')",
        at=NOON,
    )
    assert log.suppressions().rows() == [(1, "+79000000001", NOON, "opted_out", NOON)]
    assert log.pauses().rows() == [(1, 1, NOON, NOON, "by_hand")]
    assert log.stated_preferences(NOON).is_empty()
    assert log.replies(NOON).is_empty()
