"""Numbers are looked after: what channels say of them, how scores come about, what a ban does, what people see."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from reactivation_core.account_health import Signal
from reactivation_core.contracts import CONTRACTS, validate
from reactivation_resources.account_watch import health_frame, incidents, poll_accounts, recount, refresh_health
from reactivation_resources.accounts import account_states, record_signal
from reactivation_resources.channels.base import AccountStatus, Channel
from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.inbox import Inbox
from reactivation_resources.outbox import Outbox
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import (
    NOON,
    ack,
    add_campaign,
    add_salon,
    campaign,
    execute,
    phone_of,
    reply,
    rows,
    running_gateway,
)

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=1, clients=5, history=1) as running:
        yield running


def sent(database: Database, count: int, **changes: Any) -> None:
    """Messages that have just gone out."""
    for client in range(1, count + 1):
        values = {"status": "read", "sending_at": NOON, "sent_at": NOON, "tries": 1, **changes}
        add_campaign(database, client, provider_message_id=f"m{client}", **values)


# ---------------------------------------------------------------- scores


def test_scores_of_many_numbers_cost_as_many_queries_as_of_one(database: Database) -> None:
    for company in (1, 2, 3):
        add_salon(database, company, clients=25)
    sent(database, 25)
    assert refresh_health(database, NOON) == {1: 0.3, 2: 0.0, 3: 0.0}  # nobody has replied to the first
    history = rows(database, "SELECT account_id, kind, detail->>'sends' AS sends FROM account_events")
    assert history == [(1, "score", "25")]
    refresh_health(database, NOON)
    assert len(rows(database, "SELECT 1 FROM account_events")) == 1  # no news, no history


def test_a_batch_of_failed_status_events_recounts_the_score_at_once(database: Database) -> None:
    add_salon(database, clients=25)
    sent(database, 25, status="accepted", responded_at=NOON)
    assert refresh_health(database, NOON)[1] == 0.0
    failed = [ack("failed", f"m{number}", occurred_at=NOON) for number in range(1, 11)]
    Inbox(database).store("waha", failed, NOON)
    assert rows(database, "SELECT spam_score FROM channel_accounts") == [(0.3,)]


def test_an_opt_out_recounts_the_score_at_once(database: Database) -> None:
    add_salon(database, clients=25)
    sent(database, 25, responded_at=NOON)
    Inbox(database).store("waha", [reply("стоп", phone_of(1))], NOON)
    assert rows(database, "SELECT round(spam_score::numeric, 2)::float8 FROM channel_accounts") == [(0.32,)]


def test_a_high_score_halves_and_stops_and_decays_by_itself(database: Database) -> None:
    add_salon(database, clients=25, age_days=100)
    sent(database, 25, status="failed")
    assert refresh_health(database, NOON)[1] == pytest.approx(0.6, abs=0.05)  # nobody replied, everything failed
    assert account_states(database, NOON)[1].limits(NOON).daily == 50
    for client in range(1, 6):
        Inbox(database).store("waha", [reply("стоп", phone_of(client), number=str(client))], NOON)
    assert account_states(database, NOON)[1].limits(NOON).daily == 0
    kinds = rows(database, "SELECT kind, count(*) FROM alerts GROUP BY 1")
    assert kinds == [("spam_score", 2)]  # once for each threshold
    later = NOON + 10 * DAY
    refresh_health(database, later)
    assert account_states(database, later)[1].limits(later).daily > 0


def test_some_accounts_alone_can_be_recounted(database: Database) -> None:
    for company in (1, 2):
        add_salon(database, company, clients=25)
    with database.begin() as connection:
        assert recount(connection, [2], NOON) == {2: 0.0}
        assert recount(connection, [], NOON) == {}


# ---------------------------------------------------------------- bans


def test_a_banned_number_holds_what_is_planned_and_starts_small_when_it_is_back(database: Database) -> None:
    """Edge case: the number is banned in the middle of the day."""
    account = add_salon(database, clients=10, age_days=100)
    planned = [add_campaign(database, client) for client in range(1, 11)]
    with running_gateway() as gateway:
        waha = Waha(gateway.url)
        clock = SimulatedClock(NOON)
        assert dispatch_due(Outbox(database, clock), {"waha": waha}, "one").counts["accepted"] == 1
        gateway.behave = lambda _: (422, {"status": "SCAN_QR_CODE"})
        clock.advance_to(NOON + timedelta(minutes=5))
        dispatch_due(Outbox(database, clock), {"waha": waha}, "one")
        clock.advance_to(NOON + timedelta(minutes=10))
        report = dispatch_due(Outbox(database, clock), {"waha": waha}, "one")
    assert report.counts == {"held:account_stopped": 1}
    assert [campaign(database, one).status for one in planned].count("planned") == 9  # nothing is cancelled
    assert rows(database, "SELECT state, ban_count, limit_override FROM channel_accounts") == [("stopped", 1, 5)]
    assert rows(database, "SELECT kind, company_id FROM alerts") == [("account_banned", 1)]
    with database.begin() as connection:
        record_signal(connection, account, Signal.RECOVERED, clock.now())
    limits = account_states(database, clock.now())[1].limits(clock.now())
    assert (limits.daily, limits.hourly, limits.min_gap_s) == (5, 5, 300)
    [incident] = incidents(database)
    assert (incident.kind, incident.company_id, incident.channel) == ("banned", 1, "waha")


def test_incidents_are_what_stopped_or_limited_a_number_the_latest_first(database: Database) -> None:
    for company in (1, 2):
        add_salon(database, company, age_days=10)
    with database.begin() as connection:
        for minute, signal in enumerate((Signal.SPAM_RATE, Signal.RESUMED, Signal.RESTRICTED)):
            record_signal(connection, 1, signal, NOON + timedelta(minutes=minute))
        record_signal(connection, 2, Signal.QUALITY_RED, NOON)
    assert [one.kind for one in incidents(database, company_id=1)] == ["restricted", "spam_rate"]
    assert len(incidents(database)) == 3
    assert len(incidents(database, limit=1)) == 1


# ---------------------------------------------------------------- what channels say


class Told:
    """A channel that has one thing to say of every number."""

    name = "waha"

    def __init__(self, status: AccountStatus) -> None:
        self.status = status
        self.asked: list[str] = []

    def health(self, session: str) -> AccountStatus:
        self.asked.append(session)
        return self.status


def polled(database: Database, status: AccountStatus, at: timedelta = timedelta(0)) -> Any:
    return poll_accounts(database, {"waha": Told(status)}, NOON + at)  # type: ignore[dict-item]


def test_what_a_channel_says_is_stored_and_takes_effect(database: Database) -> None:
    add_salon(database, age_days=100)
    status = AccountStatus(working=True, words="CONNECTED", quality="YELLOW", clients_a_day=250, new_chats_left=3)
    assert polled(database, status).working == 1
    found = rows(database, "SELECT quality, clients_a_day, new_chats_left, checked_at FROM channel_accounts")
    assert found == [("YELLOW", 250, 3, NOON)]
    red = AccountStatus(working=True, words="CONNECTED", quality="RED", signal=Signal.QUALITY_RED)
    polled(database, red, timedelta(minutes=20))
    later = NOON + timedelta(minutes=21)
    assert account_states(database, later)[1].limits(later).daily == 0
    polled(database, AccountStatus(True, "CONNECTED", Signal.QUALITY_OK, "GREEN"), timedelta(minutes=40))
    assert account_states(database, later)[1].limits(later).daily == 100


def test_a_number_is_not_asked_about_more_often_than_every_ten_minutes(database: Database) -> None:
    add_salon(database)
    status = AccountStatus(working=True, words="WORKING")
    counts = [polled(database, status, timedelta(minutes=minute)).asked for minute in (0, 5, 11)]
    assert counts == [1, 0, 1]


def test_a_channel_that_does_not_answer_changes_nothing(database: Database) -> None:
    add_salon(database, age_days=100)
    away: dict[str, Channel] = {"waha": Waha("http://127.0.0.1:9")}
    assert poll_accounts(database, away, NOON).working == 0
    assert account_states(database, NOON)[1].limits(NOON).daily == 100


def test_the_gateways_locks_and_quotas_are_heard(database: Database, town: Town) -> None:
    add_salon(database, age_days=100)
    execute(database, "UPDATE channel_accounts SET session = :session", session=town.sessions["101"])
    channels: dict[str, Channel] = {"waha": Waha(town.waha_url, town.api_key)}
    assert poll_accounts(database, channels, NOON).signals == {"recovered": 1}
    town.ban(101, "waha", "timelock")
    assert poll_accounts(database, channels, NOON + timedelta(hours=1)).signals == {"spam_rate": 1}
    town.ban(101, "waha", "timelock", lifted=True)
    town.ban(101, "waha", "logged_out")
    assert poll_accounts(database, channels, NOON + timedelta(hours=2)).signals == {"banned": 1}
    town.ban(101, "waha", "logged_out", lifted=True)


def test_a_number_that_may_begin_no_more_chats_writes_to_those_who_know_it(database: Database) -> None:
    add_salon(database, age_days=100)
    execute(database, "UPDATE channel_accounts SET new_chats_left = 0")
    cold, warm = add_campaign(database, 1, lane="cold"), add_campaign(database, 2)
    (claim,) = Outbox(database, SimulatedClock(NOON)).claim("one")
    assert claim.campaign_id == warm
    assert campaign(database, cold).status == "planned"


# ---------------------------------------------------------------- what people see


def test_every_number_is_shown_with_its_limits_and_what_of_them_is_used(database: Database) -> None:
    add_salon(database, 1, clients=3, age_days=100)
    add_salon(database, 2, age_days=10)
    execute(database, "UPDATE channel_accounts SET state = 'stopped' WHERE company_id = 2")
    for client, minutes in ((1, 10), (2, 90), (3, 30)):
        at = NOON - timedelta(minutes=minutes)
        add_campaign(database, client, status="read", sending_at=at, sent_at=at, lane="cold" if client == 3 else "warm")
    frame = health_frame(database, NOON)
    validate(CONTRACTS["account_health"], frame)
    first, second = frame.sort("company_id").to_dicts()
    assert (first["level"], first["daily_limit"], first["sent_24h"], first["sent_60m"], first["cold_sent_24h"]) == (
        "hot",
        100,
        3,
        2,
        1,
    )
    assert (first["refusal"], first["cold_limit"]) == ("", 25)
    assert (second["refusal"], second["daily_limit"], second["state"]) == ("account_stopped", 0, "stopped")
    assert frame.schema["paused_until"] == pl.Datetime("us", "UTC")


def test_without_numbers_there_is_an_empty_frame(database: Database) -> None:
    frame = health_frame(database, NOON)
    validate(CONTRACTS["account_health"], frame)
    assert frame.is_empty()
