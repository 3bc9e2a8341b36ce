"""`account_health` in Dagster: one look at all numbers, with its picture, its checks and what it tells people."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reactivation_assets.build import build_defs
from reactivation_core.account_health import Signal
from reactivation_resources.accounts import record_signal
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from tests.resources.sending_world import NOON, add_campaign, add_salon, execute, rows
from tests.resources.test_alerts import TOKEN, Bot, running_bot


@pytest.fixture
def bot() -> Iterator[Bot]:
    with running_bot() as running:
        yield running


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path, bot: Bot) -> Iterator[Platform]:
    settings = Settings.load(
        reactivation_home=tmp_path, yclients_base_url="http://127.0.0.1:9", reactivation_alert_telegram_url=bot.url,
        reactivation_alert_telegram_token=TOKEN, reactivation_alert_telegram_chat="-100",
    )  # fmt: skip
    opened = Platform(settings, SimulatedClock(NOON), ServerUrls(database_url, redis_url))
    yield opened
    opened.close()


def materialized(platform: Platform) -> tuple[dict[str, Any], dict[str, bool]]:
    """The asset's metadata and what its checks found."""
    defs = build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)})
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("watch_accounts").execute_in_process(instance=instance)
    assert result.success
    (found,) = result.asset_materializations_for_node("account_health")
    checks = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    return {name: value.value for name, value in found.metadata.items()}, checks


def test_every_number_is_shown_with_a_picture_of_its_limits(platform: Platform) -> None:
    for company in (1, 2):
        add_salon(platform.database, company, clients=10, age_days=100)
    for client in range(1, 6):
        at = NOON - timedelta(minutes=client)
        add_campaign(platform.database, client, status="read", sending_at=at, sent_at=at)
    metadata, checks = materialized(platform)
    assert metadata["dagster/row_count"] == 2
    assert metadata["picture"].startswith("![Daily limit used")
    assert "data:image/png;base64," in metadata["picture"]
    assert checks == {"contract": True, "within_limits": True, "all_may_send": True}
    frame = platform.lake.scan("account_health").collect()
    assert frame.select("company_id", "sent_24h", "daily_limit").rows() == [(1, 5, 100), (2, 0, 100)]


def test_a_number_that_may_not_send_is_named_with_its_reason_and_people_are_told(platform: Platform, bot: Bot) -> None:
    account = add_salon(platform.database, age_days=100)
    with platform.database.begin() as connection:
        record_signal(connection, account, Signal.BANNED, NOON)
    metadata, checks = materialized(platform)
    assert checks["all_may_send"] is False
    assert "account_stopped" in metadata["cannot send"]
    assert (metadata["alerts told"], metadata["alerts waiting"]) == (1, 0)
    assert "logged out or banned" in bot.told[0]["text"]


def test_more_than_the_level_allows_is_a_warning(platform: Platform) -> None:
    add_salon(platform.database, clients=30)
    for client in range(1, 22):
        at = NOON - timedelta(minutes=client)
        add_campaign(platform.database, client, status="read", sending_at=at, sent_at=at)
    execute(platform.database, "UPDATE channel_accounts SET first_sent_at = :since", since=NOON - timedelta(days=3))
    _, checks = materialized(platform)
    assert checks["within_limits"] is False


def test_without_numbers_and_without_telegram_it_still_has_a_picture(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings.load(reactivation_home=tmp_path, yclients_base_url="http://127.0.0.1:9")
    platform = Platform(settings, SimulatedClock(NOON), ServerUrls(database_url, redis_url))
    metadata, checks = materialized(platform)
    platform.close()
    assert metadata["dagster/row_count"] == 0
    assert checks["contract"] is True


def test_the_alerts_sensor_asks_for_a_look_only_when_somebody_can_be_told(platform: Platform) -> None:
    defs = build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)})
    repository = defs.get_repository_def()

    def tick() -> Any:
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(
                instance=instance, repository_def=repository, resources={"platform": platform}
            ) as context,
        ):
            return repository.get_sensor_def("alerts_sensor").evaluate_tick(context)

    assert tick().skip_message == "no alert waits to be told"
    account = add_salon(platform.database, age_days=100)
    with platform.database.begin() as connection:
        record_signal(connection, account, Signal.SPAM_RATE, NOON)
    assert len(tick().run_requests) == 1
    materialized(platform)
    assert tick().run_requests == []
    assert rows(platform.database, "SELECT told_times FROM alerts") == [(1,)]
