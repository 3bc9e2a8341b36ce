"""Whatever dies, and whenever: no client gets a second message and no planned message is forgotten."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.inbox import Inbox
from reactivation_resources.outbox import Cleared, Held, Outbox
from tests.resources.sending_world import (
    NOON,
    Gateway,
    ack,
    add_campaign,
    add_salon,
    campaign,
    execute,
    meanwhile,
    phone_of,
    reply,
    rows,
    running_gateway,
)

REPOSITORY = Path(__file__).resolve().parents[2]
CHECKPOINTS = [
    "claiming",
    "claimed",
    "clearing",
    "before_send",
    "after_send",
    "before_commit",
    "completed",
    "recovering",
]
END = NOON + timedelta(hours=7)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_gateway() as running:
        yield running


def start(database: Database, gateway: Gateway, at: datetime, checkpoint: str = "") -> "subprocess.Popen[bytes]":
    url = database.engine.url.render_as_string(hide_password=False)
    arguments = [url, gateway.url, at.isoformat(), checkpoint]
    return subprocess.Popen([sys.executable, "-m", "tests.resources.crash_dispatcher", *arguments], cwd=REPOSITORY)


def dispatch_until_quiet(database: Database, gateway: Gateway, clock: SimulatedClock) -> None:
    outbox = Outbox(database, clock)
    waha = Waha(gateway.url)
    while True:
        following = dispatch_due(outbox, {"waha": waha}, "survivor").next_due_at
        if following is None or following > END:
            return
        clock.advance_to(max(following, clock.now() + timedelta(seconds=1)))


def statuses(database: Database) -> Counter[str]:
    return Counter(row.status for row in rows(database, "SELECT status FROM reactivation_campaigns"))


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_a_dispatcher_killed_at_any_step_sends_nothing_twice_and_loses_nothing(
    database: Database, gateway: Gateway, checkpoint: str
) -> None:
    account_id = add_salon(database, clients=4)
    for client in (1, 2, 3):
        add_campaign(database, client)
    # one that an earlier dispatcher left in the middle of its send
    left_over = add_campaign(
        database,
        4,
        status="sending",
        sending_at=NOON - timedelta(hours=1),
        lease_owner="gone",
        lease_until=NOON,
        tries=1,
    )

    killed = start(database, gateway, NOON, checkpoint)
    assert killed.wait(timeout=60) == -9
    dispatch_until_quiet(database, gateway, SimulatedClock(NOON + timedelta(minutes=11)))

    assert max(Counter(gateway.texts()).values()) == 1
    in_doubt = checkpoint in {"before_send", "after_send", "before_commit"}
    assert statuses(database) == Counter(accepted=2 if in_doubt else 3, unknown=2 if in_doubt else 1)
    assert len(gateway.sent) == (2 if checkpoint == "before_send" else 3)
    assert campaign(database, left_over).status == "unknown"
    assert rows(database, "SELECT account_id FROM channel_accounts WHERE first_sent_at IS NOT NULL") == [(account_id,)]


@pytest.mark.slow
def test_processes_at_once_send_each_message_once(database: Database, gateway: Gateway) -> None:
    for company in range(1, 6):
        add_salon(database, company, clients=2)
        for client in (1, 2):
            add_campaign(database, client, company)
    processes = [start(database, gateway, NOON) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert len(gateway.sent) == len(set(gateway.texts())) == 5  # the gap holds the second of each salon
    assert statuses(database) == Counter(accepted=5, planned=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("age_days", "daily", "hourly", "gap"), [(None, 20, 5, 300), (40, 50, 10, 120), (120, 100, 20, 30)]
)
def test_eight_dispatchers_never_exceed_the_limits(
    database_url: str, gateway: Gateway, age_days: int | None, daily: int, hourly: int, gap: int
) -> None:
    databases = [Database(database_url) for _ in range(8)]
    first = databases[0]
    add_salon(first, clients=130, age_days=age_days)
    for client in range(1, 131):
        add_campaign(first, client, lane="cold" if client % 3 else "warm", send_after=NOON - timedelta(hours=2))
    clock = SimulatedClock(NOON - timedelta(hours=2))
    outboxes = [Outbox(one, clock) for one in databases]
    waha = Waha(gateway.url)
    with ThreadPoolExecutor(8) as pool:
        while True:
            reports = list(
                pool.map(
                    lambda number: dispatch_due(outboxes[number], {"waha": waha}, f"dispatcher-{number}"), range(8)
                )
            )
            assert not any(report.counts["error"] for report in reports)
            following = min((r.next_due_at for r in reports if r.next_due_at is not None), default=None)
            if following is None or following > END:
                break
            clock.advance_to(max(following, clock.now() + timedelta(seconds=gap // 3)))
    sent = rows(first, "SELECT sending_at, lane FROM reactivation_campaigns WHERE status = 'accepted' ORDER BY 1")
    for one in databases:
        one.close()
    times = [row.sending_at for row in sent]
    assert len(gateway.sent) == len(set(gateway.texts())) == len(sent)
    cold = sum(row.lane == "cold" for row in sent)
    assert cold == max(5, daily // 4)
    assert len(sent) == min(daily, 9 * hourly, 43 + cold)  # nothing that fits was left out either
    assert all(sum(at - timedelta(hours=1) < other <= at for other in times) <= hourly for at in times)
    assert all((later - earlier).total_seconds() >= gap for earlier, later in pairwise(times))


def test_two_dispatchers_in_the_same_moment_claim_one_campaign_of_an_account(database: Database) -> None:
    account_id = add_salon(database)
    for client in (1, 2):
        add_campaign(database, client)
    clock = SimulatedClock(NOON)
    taken: list[object] = []
    rivals: list[threading.Thread] = []

    def checkpoint(name: str) -> None:
        if name == "claiming":
            second = Outbox(database, clock)
            rivals.append(meanwhile(database, lambda: taken.append(second.claim_from("two", [account_id]))))

    assert len(Outbox(database, clock, checkpoint=checkpoint).claim("one")) == 1
    rivals[0].join()
    assert taken == [([], {account_id: Held("busy")})]
    assert statuses(database) == Counter(claimed=1, planned=1)


def test_a_status_event_in_the_very_moment_of_storing_the_answer_is_not_lost(
    database: Database, gateway: Gateway
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    inbox = Inbox(database)
    rivals: list[threading.Thread] = []

    def checkpoint(name: str) -> None:
        if name == "before_commit":
            event = ack("delivered", "3EB00001")
            rivals.append(meanwhile(database, lambda: inbox.store("waha", [event], NOON)))

    dispatch_due(Outbox(database, SimulatedClock(NOON), checkpoint=checkpoint), {"waha": Waha(gateway.url)}, "one")
    rivals[0].join()
    assert campaign(database, campaign_id).status == "delivered"


def test_a_stop_in_the_very_moment_of_the_last_check_waits_for_it_or_wins(database: Database) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    inbox = Inbox(database)
    rivals: list[threading.Thread] = []

    def checkpoint(name: str) -> None:
        if name == "clearing":
            event = reply("стоп", phone_of(1))
            rivals.append(meanwhile(database, lambda: inbox.store("waha", [event], NOON)))

    outbox = Outbox(database, SimulatedClock(NOON), checkpoint=checkpoint)
    (claim,) = outbox.claim("one")
    assert isinstance(outbox.begin_sending(claim), Cleared)
    rivals[0].join()
    assert campaign(database, campaign_id).status == "sending"  # the check was first, so the message is on its way
    assert rows(database, "SELECT phone FROM suppressions") == [(phone_of(1),)]


def test_a_connection_dropped_between_send_and_commit_is_made_anew_and_the_outcome_stored(
    database: Database, gateway: Gateway
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    other = Database(database.engine.url.render_as_string(hide_password=False))
    dropped: list[str] = []

    def checkpoint(name: str) -> None:
        if name == "before_commit" and not dropped:
            dropped.append(name)
            drop_connections(other)

    report = dispatch_due(
        Outbox(database, SimulatedClock(NOON), checkpoint=checkpoint), {"waha": Waha(gateway.url)}, "one"
    )
    assert report.counts == {"accepted": 1}
    assert dropped
    assert campaign(database, campaign_id).status == "accepted"
    assert len(gateway.sent) == 1
    other.close()


def test_a_database_that_stays_away_after_the_send_leaves_the_campaign_unknown(
    database: Database, gateway: Gateway
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    other = Database(database.engine.url.render_as_string(hide_password=False))
    clock = SimulatedClock(NOON)
    failing = Outbox(
        database, clock, checkpoint=lambda name: drop_connections(other) if name == "before_commit" else None
    )
    assert dispatch_due(failing, {"waha": Waha(gateway.url)}, "one", store_patience_s=0.1).counts == {"error": 1}
    assert campaign(other, campaign_id).status == "sending"

    dispatch_until_quiet(other, gateway, clock)
    assert campaign(other, campaign_id).status == "unknown"
    assert len(gateway.sent) == 1
    other.close()


def test_a_lost_answer_is_never_sent_again_and_is_settled_by_a_status_event(
    database: Database, gateway: Gateway
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    gateway.behave = lambda _: None
    clock = SimulatedClock(NOON)
    assert dispatch_due(Outbox(database, clock), {"waha": Waha(gateway.url)}, "one").counts == {"unknown": 1}

    gateway.behave = None
    dispatch_until_quiet(database, gateway, clock)
    assert len(gateway.sent) == 1
    assert campaign(database, campaign_id).status == "unknown"
    assert campaign(database, campaign_id).next_attempt_at == NOON + timedelta(days=14)

    later = NOON + timedelta(minutes=3)
    Inbox(database).store("waha", [ack("delivered", "3EB0", phone_of(1), occurred_at=later)], later)
    settled = campaign(database, campaign_id)
    assert (settled.status, settled.sending_at, settled.delivered_at) == ("delivered", NOON, later)
    assert settled.sent_at == NOON + timedelta(minutes=1)  # by then it had arrived
    assert settled.provider_message_id == "3EB0"


def test_a_status_event_before_the_lost_answer_is_known_settles_it_too(database: Database, gateway: Gateway) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    inbox = Inbox(database)

    def behave(_: int) -> None:  # the event overtakes the answer that never comes
        inbox.store("waha", [ack("accepted", "3EB07", phone_of(1))], NOON)

    gateway.behave = behave
    report = dispatch_due(Outbox(database, SimulatedClock(NOON)), {"waha": Waha(gateway.url)}, "one")
    assert report.counts == {"accepted": 1}
    assert campaign(database, campaign_id).provider_message_id == "3EB07"
    assert rows(database, "SELECT error, processed_at FROM inbox") == [(None, NOON)]


def test_a_late_answer_settles_what_recovery_had_given_up(database: Database, gateway: Gateway) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    clock = SimulatedClock(NOON)

    def behave(_: int) -> tuple[int, None]:  # the answer takes longer than the lease
        clock.advance_to(NOON + timedelta(minutes=20))
        assert Outbox(database, clock).recover().unknown == 1
        return 201, None

    gateway.behave = behave
    dispatch_due(Outbox(database, clock), {"waha": Waha(gateway.url)}, "one")
    assert campaign(database, campaign_id).status == "accepted"


def drop_connections(database: Database) -> None:
    execute(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
