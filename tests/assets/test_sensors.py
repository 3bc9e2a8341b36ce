"""Sensors ask for a run exactly when there is work that a run could do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
from sqlalchemy import insert, select, text

from reactivation_assets.build import build_defs
from reactivation_assets.sensors import due_sends, waiting_replies
from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.models import Account, Campaign, Client
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings

NOON = datetime.fromisoformat("2026-10-14T09:00:00+00:00")  # a Wednesday, 12:00 in Moscow
MINUTE = timedelta(minutes=1)
SALON = """
INSERT INTO companies (company_id, title, timezone, country, currency, consent_basis) VALUES (1, 'Салон', 'Europe/Moscow', 'KZ', 'KZT', 'договор');
INSERT INTO reactivation_settings (company_id, enabled) VALUES (1, true);
INSERT INTO channel_accounts (company_id, channel, session) VALUES (1, 'waha', 'salon-1');
"""
REPLY = """
INSERT INTO inbox (channel, event_key, kind, company_id, body, payload, occurred_at, received_at, processed_at)
VALUES ('waha', :key, :kind, 1, 'да', '{}', :at, :at, :processed) RETURNING inbox_id
"""


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = Settings.load(reactivation_home=tmp_path, reactivation_timezone="Europe/Moscow")
    opened = Platform(
        settings.model_copy(update={"yclients_base_url": "http://127.0.0.1:9"}),
        SimulatedClock(NOON),
        ServerUrls(database_url, redis_url),
    )
    with opened.database.begin() as connection:
        connection.execute(text(SALON))
    yield opened
    opened.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def add_campaign(
    platform: Platform, due: datetime, *, status: str = "planned", words: str | None = "Здравствуйте"
) -> None:
    """A campaign of a client of its own."""
    with platform.database.begin() as connection:
        client = connection.execute(text("SELECT count(*) FROM clients")).scalar_one()
        phone = f"+7900{client:07}"
        connection.execute(insert(Client).values(company_id=1, client_id=client, name="Анна", phone=phone))
        connection.execute(
            insert(Campaign).values(
                campaign_id=uuid4(), company_id=1, client_id=client, episode_no=1, attempt_number=1, day=NOON.date(), service_id=7,
                account_id=select(Account.account_id).scalar_subquery(), phone=phone, held_out=status == "held_out", status=status,
                lane="warm", segment="regular", priority=0.5, days_since=60, retry_interval_days=14, max_attempts=3,
                planned_at=due - timedelta(hours=2), send_after=due, expires_at=due + timedelta(hours=22), message_text=words,
                sending_at=due if status == "sending" else None,
            )
        )  # fmt: skip


def add_reply(platform: Platform, *, kind: str = "message", read: bool = False) -> int:
    with platform.database.begin() as connection:
        number = connection.execute(text("SELECT count(*) FROM inbox")).scalar_one()
        values = {"key": f"{kind}:{number}", "kind": kind, "at": NOON, "processed": NOON if read else None}
        return int(connection.execute(text(REPLY), values).scalar_one())


def change(platform: Platform, statement: str, **values: Any) -> None:
    with platform.database.begin() as connection:
        connection.execute(text(statement), values)


def move(platform: Platform, instant: datetime) -> None:
    assert isinstance(platform.clock, SimulatedClock)
    platform.clock.advance_to(instant)


def tick(name: str, platform: Platform, instance: dg.DagsterInstance) -> Any:
    defs = build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)})
    repository = defs.get_repository_def()
    with dg.build_sensor_context(
        instance=instance, repository_def=repository, resources={"platform": platform}
    ) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def start_run(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun(job_name=job, run_id=str(uuid4()), status=status))


# ------------------------------------------------------------------------------------------------ what is due


def test_a_campaign_is_due_from_its_very_moment_on(platform: Platform) -> None:
    add_campaign(platform, NOON + MINUTE)
    assert due_sends(platform.database, NOON + MINUTE - timedelta(microseconds=1)) == (0, None)
    assert due_sends(platform.database, NOON + MINUTE) == (1, NOON + MINUTE)


@pytest.mark.parametrize(
    "status", ["sending", "accepted", "delivered", "read", "failed", "unknown", "cancelled", "expired", "held_out"]
)
def test_what_is_under_way_or_over_is_not_due(platform: Platform, status: str) -> None:
    add_campaign(platform, NOON, status=status)
    assert due_sends(platform.database, NOON + MINUTE) == (0, None)


def test_a_campaign_without_a_text_is_not_due(platform: Platform) -> None:
    add_campaign(platform, NOON, words=None)
    assert due_sends(platform.database, NOON) == (0, None)


def test_the_oldest_of_several_due_campaigns_is_told(platform: Platform) -> None:
    for minutes in (3, 1, 2, 60):
        add_campaign(platform, NOON + minutes * MINUTE)
    assert due_sends(platform.database, NOON + 5 * MINUTE) == (3, NOON + MINUTE)


def test_a_campaign_that_rests_or_is_held_by_another_dispatcher_is_not_due_until_then(platform: Platform) -> None:
    add_campaign(platform, NOON)
    change(platform, "UPDATE reactivation_campaigns SET lease_until = :until", until=NOON + 5 * MINUTE)
    assert due_sends(platform.database, NOON + 4 * MINUTE) == (0, None)
    assert due_sends(platform.database, NOON + 5 * MINUTE) == (1, NOON)


@pytest.mark.parametrize(
    "trouble",
    [
        "UPDATE channel_accounts SET paused_until = '2026-10-17'",
        "UPDATE reactivation_settings SET enabled = false",
        "UPDATE reactivation_settings SET sending_hour_from = 13",
        "UPDATE companies SET crm_status = 'frozen'",
    ],
)
def test_what_its_account_may_not_send_now_is_not_due(platform: Platform, trouble: str) -> None:
    """A run could do nothing about it, and the sensor would ask for one every half minute for a day."""
    add_campaign(platform, NOON)
    assert due_sends(platform.database, NOON) == (1, NOON)
    change(platform, trouble)
    assert due_sends(platform.database, NOON) == (0, None)


def test_what_is_past_its_time_is_due_to_be_ended(platform: Platform) -> None:
    add_campaign(platform, NOON - timedelta(hours=23))
    change(platform, "UPDATE reactivation_settings SET enabled = false")
    assert due_sends(platform.database, NOON) == (1, NOON - timedelta(hours=23))
    add_campaign(platform, NOON, status="sending")
    change(platform, "UPDATE reactivation_campaigns SET lease_until = :now WHERE status = 'sending'", now=NOON)
    assert due_sends(platform.database, NOON) == (2, NOON - timedelta(hours=23))


def test_only_unread_messages_of_clients_wait(platform: Platform) -> None:
    add_reply(platform, read=True)
    add_reply(platform, kind="ack")
    assert waiting_replies(platform.database) is None
    first, _, last = add_reply(platform), add_reply(platform), add_reply(platform)
    assert waiting_replies(platform.database) == (first, last)


# ------------------------------------------------------------------------------------------------ the sensors


def test_the_sending_sensor_skips_until_something_is_due_and_then_asks_for_today(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    add_campaign(platform, NOON + MINUTE)
    early = tick("due_sends_sensor", platform, instance)
    assert early.run_requests == []
    assert early.skip_message == "nothing is due"
    move(platform, NOON + MINUTE)
    (request,) = tick("due_sends_sensor", platform, instance).run_requests
    assert request.partition_key == "2026-10-14"
    (again,) = tick("due_sends_sensor", platform, instance).run_requests
    assert again.run_key == request.run_key  # nothing has moved: Dagster starts no second run
    change(
        platform,
        "INSERT INTO campaign_events (campaign_id, at, event, to_status) SELECT campaign_id, now(), 'claim', 'claimed' FROM reactivation_campaigns",
    )
    (moved,) = tick("due_sends_sensor", platform, instance).run_requests
    assert moved.run_key != request.run_key
    move(platform, NOON + 7 * MINUTE)  # ... or its run came to nothing
    (late,) = tick("due_sends_sensor", platform, instance).run_requests
    assert late.run_key not in {request.run_key, moved.run_key}


def test_each_shard_has_its_own_run_and_never_two(platform: Platform, instance: dg.DagsterInstance) -> None:
    for _ in range(2):
        add_campaign(platform, NOON)
    platform.settings = platform.settings.model_copy(update={"reactivation_shards": 4})
    (request,) = tick("due_sends_sensor", platform, instance).run_requests  # of company 1
    assert request.tags["reactivation/shard"] == "1/4"
    running = dg.DagsterRun(
        job_name="send_due", run_id=str(uuid4()), status=dg.DagsterRunStatus.STARTED, tags={"reactivation/shard": "1/4"}
    )
    instance.add_run(running)
    assert tick("due_sends_sensor", platform, instance).skip_message == "a sending run is under way"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_no_second_run_is_asked_for_while_one_is_under_way(
    platform: Platform, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    add_campaign(platform, NOON)
    add_reply(platform)
    for job in ("send_due", "read_replies"):
        start_run(instance, job, status)
    assert tick("due_sends_sensor", platform, instance).skip_message == "a sending run is under way"
    assert tick("replies_sensor", platform, instance).skip_message == "replies are being read"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
def test_a_run_that_has_ended_and_runs_of_other_jobs_are_in_nobodys_way(
    platform: Platform, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    add_campaign(platform, NOON)
    start_run(instance, "send_due", status)
    start_run(instance, "daily_campaigns", dg.DagsterRunStatus.STARTED)
    assert len(tick("due_sends_sensor", platform, instance).run_requests) == 1


def test_a_run_that_never_ended_stops_being_in_the_way(platform: Platform, instance: dg.DagsterInstance) -> None:
    """A killed process leaves its run as started: sending must not wait for it."""
    add_campaign(platform, NOON)
    start_run(instance, "send_due", dg.DagsterRunStatus.STARTED)
    started = datetime.now(UTC)  # Dagster dates runs by the machine's clock
    western = platform.settings.model_copy(
        update={"reactivation_timezone": "Etc/GMT+12"}
    )  # no day is ahead of Dagster's
    platform.calendar = Calendar(western, platform.clock)
    move(platform, started + 5 * MINUTE)
    assert tick("due_sends_sensor", platform, instance).skip_message == "a sending run is under way"
    move(platform, started + 20 * MINUTE)
    assert len(tick("due_sends_sensor", platform, instance).run_requests) == 1


def test_the_run_of_the_replies_is_keyed_by_their_range_and_asked_for_again_an_hour_later(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    assert tick("replies_sensor", platform, instance).skip_message == "no reply waits"
    first, last = add_reply(platform), add_reply(platform)

    def asked() -> str:
        (request,) = tick("replies_sensor", platform, instance).run_requests
        assert request.partition_key == "2026-10-14"
        return str(request.run_key)

    key = asked()
    assert key.startswith(f"{first}-{last}")
    assert asked() == key
    move(platform, NOON + timedelta(hours=1))
    assert asked() != key  # a run that failed is not the last one
    assert add_reply(platform) > last
    assert asked().startswith(f"{first}-{last + 1}")
