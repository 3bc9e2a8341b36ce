"""The chat bot's context follows campaigns and replies; an outage of Redis delays it and loses nothing."""

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
import redis

from reactivation_resources.context_sync import ContextSync
from reactivation_resources.database.engine import Database
from reactivation_resources.dialog_context import ContextUnavailable, DialogContextWriter, bot_phone
from reactivation_resources.episodes import settle_episodes
from reactivation_resources.inbox import Inbox
from reactivation_resources.responses import Reply, apply_replies
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, phone_of, reply

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ONE = {"rank": 1, "spare": False, "staff_id": 5, "starts_at": "2026-11-26T15:30:00+00:00", "length_s": 3600}
TWO = ONE | {"rank": 2, "staff_id": 6, "starts_at": "2026-11-27T08:00:00+00:00"}
SPARE = ONE | {"rank": 3, "spare": True, "starts_at": "2026-11-28T08:00:00+00:00"}


@pytest.fixture
def company(database: Database, redis_url: str) -> Iterator[int]:
    """A salon whose number no other test has: they share the Redis server."""
    number = random.randrange(10**8, 10**9)
    add_salon(database, number)
    names = "INSERT INTO staff (company_id, staff_id, name) VALUES (:id, 5, 'Анна Смирнова'), (:id, 6, 'Ольга Петрова')"
    execute(database, names, id=number)
    titles = (
        "INSERT INTO services (company_id, service_id, title) VALUES (:id, 1, 'Женская стрижка'), (:id, 2, 'Маникюр')"
    )
    execute(database, titles, id=number)
    yield number
    with redis.Redis.from_url(redis_url) as client:
        for key in client.scan_iter(f"*:{number}:whatsapp:*"):
            client.delete(key)


@pytest.fixture
def sync(database: Database, redis_url: str) -> Iterator[ContextSync]:
    writer = DialogContextWriter(redis_url)
    yield ContextSync(database, writer)
    writer.close()


@pytest.fixture
def away(database: Database) -> ContextSync:
    return ContextSync(database, DialogContextWriter("redis://127.0.0.1:1"))


@pytest.fixture
def server(redis_url: str) -> Iterator["redis.Redis[str]"]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def sent(database: Database, company: int, client_id: int = 1, **changes: Any) -> UUID:
    values = {
        "status": "accepted",
        "sending_at": NOON,
        "sent_at": NOON,
        "slots": [ONE, SPARE],
        "planned_at": NOON - HOUR,
    }
    return add_campaign(database, client_id, company, **{**values, **changes})


def dialog(server: Any, company: int, client_id: int = 1) -> dict[str, str]:
    found: dict[str, str] = server.hgetall(f"dialog:{company}:whatsapp:{bot_phone(phone_of(client_id, company))}")
    return found


def selection(server: Any, company: int) -> Any:
    return json.loads(dialog(server, company).get("selection", "null"))


def hear(database: Database, company: int, body: str, number: str = "A1") -> Reply:
    message = reply(
        body, phone_of(1, company), number=f"{company}:{number}", session=f"salon_{company}", occurred_at=NOON + HOUR
    )
    Inbox(database).store("waha", [message], NOON + HOUR)
    (found,) = apply_replies(database, lambda at: at.date(), NOON + HOUR)
    return found


def test_a_sent_campaign_is_what_the_bot_remembers(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    one = sent(database, company, days_since=50, message_text="Анна, записать вас?")
    sync.after_send([one], NOON)
    assert selection(server, company) == {
        "service": "Женская стрижка", "staff": "Анна Смирнова", "date": "2026-11-26", "time": "18:30",
    }  # fmt: skip
    pending = json.loads(dialog(server, company)["pendingAction"])
    assert pending["campaign"] == str(one)
    assert pending["messageSent"] == "Анна, записать вас?"
    assert pending["lastVisitDate"] == date(2026, 10, 4).isoformat()
    assert pending["messageSentAt"] == "2026-11-23T09:00:00.000Z"


def test_with_several_slots_nothing_is_chosen_and_spares_are_not_told(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    sync.after_send([sent(database, company, slots=[ONE, TWO, SPARE], personalization={"favourite_staff_id": 6})], NOON)
    assert selection(server, company) == {"service": "Женская стрижка", "staff": "Ольга Петрова"}
    assert [slot["time"] for slot in json.loads(dialog(server, company)["data"])["proposedSlots"]] == ["18:30", "11:00"]


def test_slots_are_told_in_the_order_of_the_message(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    sync.after_send([sent(database, company, slots=[TWO, ONE])], NOON)
    assert [slot["time"] for slot in json.loads(dialog(server, company)["data"])["proposedSlots"]] == ["18:30", "11:00"]


def test_slots_the_message_did_not_show_are_not_told(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    execute(database, "UPDATE reactivation_settings SET include_slots_in_message = false")
    sync.after_send([sent(database, company)], NOON)
    assert selection(server, company) == {"service": "Женская стрижка"}


def test_what_was_not_sent_is_not_written(database: Database, company: int, sync: ContextSync, server: Any) -> None:
    sync.after_send([sent(database, company, status="planned", sending_at=None, sent_at=None)], NOON)
    assert dialog(server, company) == {}


def test_a_slot_is_chosen_with_the_person_it_belongs_to(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    sync.after_send([sent(database, company, slots=[ONE, TWO])], NOON)
    sync.after_reply(hear(database, company, "в пятницу"))
    assert selection(server, company) == {
        "service": "Женская стрижка", "staff": "Ольга Петрова", "date": "2026-11-27", "time": "11:00",
    }  # fmt: skip


def test_a_choice_fills_the_selection(database: Database, company: int, sync: ContextSync, server: Any) -> None:
    sync.after_send([sent(database, company, slots=[ONE, TWO])], NOON)
    sync.after_reply(hear(database, company, "да, на 18:30"))
    assert selection(server, company)["time"] == "18:30"
    sync.after_reply(hear(database, company, "хочу маникюр", "A2"))
    assert selection(server, company)["service"] == "Маникюр"
    assert "time" not in selection(server, company)


@pytest.mark.parametrize(
    ("words", "mark"), [("Нет, спасибо", None), ("пока не надо, в отпуске до 15", None), ("стоп", "opted_out")]
)
def test_an_end_takes_our_part_out(
    database: Database, company: int, sync: ContextSync, server: Any, words: str, mark: str | None
) -> None:
    sync.after_send([sent(database, company)], NOON)
    sync.after_reply(hear(database, company, words))
    left = dialog(server, company)
    assert not {"selection", "pendingAction", "data"} & set(left)
    assert left.get("reactivationStatus") == mark


def test_thanks_change_nothing(database: Database, company: int, sync: ContextSync, server: Any) -> None:
    sync.after_send([sent(database, company)], NOON)
    before = dialog(server, company)
    sync.after_reply(hear(database, company, "спасибо"))
    assert dialog(server, company) == before


def test_an_outage_at_the_send_is_told_and_made_good_later(
    database: Database, company: int, sync: ContextSync, away: ContextSync, server: Any
) -> None:
    one = sent(database, company)
    with pytest.raises(ContextUnavailable):
        away.after_send([one], NOON)
    assert away.catch_up(NOON + HOUR) == 0
    assert campaign(database, one).context_synced_at is None
    assert sync.catch_up(NOON + 2 * HOUR) == 1
    assert campaign(database, one).context_synced_at == NOON + 2 * HOUR
    assert selection(server, company)["time"] == "18:30"
    assert sync.catch_up(NOON + 3 * HOUR) == 0


def test_a_reply_during_an_outage_is_made_good_later(
    database: Database, company: int, sync: ContextSync, away: ContextSync, server: Any
) -> None:
    one = sent(database, company, slots=[ONE, TWO], context_synced_at=NOON)
    sync.after_send([one], NOON)
    away.after_reply(hear(database, company, "к Ольге можно?"))
    away.after_reply(hear(database, company, "хочу маникюр", "A2"))
    assert sync.catch_up(NOON + 2 * HOUR) == 1
    assert selection(server, company) == {"service": "Маникюр", "staff": "Ольга Петрова"}


def test_a_chosen_slot_is_not_lost_when_redis_was_away_all_the_time(
    database: Database, company: int, sync: ContextSync, away: ContextSync, server: Any
) -> None:
    sent(database, company, slots=[ONE, TWO])
    away.after_reply(hear(database, company, "в пятницу"))
    assert sync.catch_up(NOON + 2 * HOUR) == 1
    assert selection(server, company) == {
        "service": "Женская стрижка", "staff": "Ольга Петрова", "date": "2026-11-27", "time": "11:00",
    }  # fmt: skip


@pytest.mark.parametrize("words", ["Нет, спасибо", "пока не надо, в отпуске до 15"])
def test_who_has_declined_meanwhile_gets_no_context_afterwards(
    database: Database, company: int, sync: ContextSync, away: ContextSync, server: Any, words: str
) -> None:
    sent(database, company)
    away.after_reply(hear(database, company, words))
    assert sync.catch_up(NOON + 2 * HOUR) == 1
    assert "selection" not in dialog(server, company)


def test_a_stop_during_an_outage_takes_our_part_out_later(
    database: Database, company: int, sync: ContextSync, away: ContextSync, server: Any
) -> None:
    sync.after_send([sent(database, company, context_synced_at=NOON)], NOON)
    away.after_reply(hear(database, company, "стоп"))
    assert "selection" in dialog(server, company)
    sync.catch_up(NOON + 2 * HOUR)
    assert "selection" not in dialog(server, company)
    assert dialog(server, company)["reactivationStatus"] == "opted_out"


def test_a_booking_in_the_crm_takes_our_part_out(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    one = sent(database, company, context_synced_at=NOON)
    sync.after_send([one], NOON)
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
        " VALUES (:company, 1, 0, 1, :starts, 'booked', :at)",
        company=company, starts=NOON + 3 * DAY, at=NOON + HOUR,
    )  # fmt: skip
    with database.begin() as connection:
        settle_episodes(connection, NOON + DAY)
    assert sync.catch_up(NOON + DAY) == 1
    assert "selection" not in dialog(server, company)


def test_one_campaign_that_cannot_be_told_holds_up_no_other(
    database: Database, company: int, sync: ContextSync, server: Any
) -> None:
    sent(database, company, 1, slots=[{"rank": 1}])
    two = sent(database, company, 2)
    assert sync.catch_up(NOON + HOUR) == 1
    assert campaign(database, two).context_synced_at is not None
    assert dialog(server, company, 2) != {}


def test_what_is_too_old_to_be_answered_is_not_written(database: Database, company: int, sync: ContextSync) -> None:
    sent(database, company)
    assert sync.catch_up(NOON + 7 * DAY + HOUR) == 0


def test_a_reply_of_nobody_we_know_passes(database: Database, company: int, away: ContextSync) -> None:
    execute(database, "DELETE FROM clients WHERE company_id = :company", company=company)
    away.after_reply(hear(database, company, "да"))
    Inbox(database).store("waha", [reply("да", None, number=f"{company}:X", session=f"salon_{company}")], NOON)
    (found,) = apply_replies(database, lambda at: at.date(), NOON)
    away.after_reply(found)
