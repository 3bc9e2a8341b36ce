"""Something outside is away: the day goes on without it, and nobody is written to twice."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import redis

from reactivation_cli.simulation import Simulation
from tests.assets.town_world import DAY, START, World, fingerprints, frame, rows

NOWHERE = "redis://127.0.0.1:1/0"
SILENT, OTHER = 101, 102


def run_day(simulation: Simulation) -> dg.ExecuteInProcessResult:
    return simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = [evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == name]
    return found


def key_of(campaign: dict[str, Any]) -> str:
    """Where the chat bot looks for the client's dialog."""
    return f"dialog:{campaign['company_id']}:whatsapp:{campaign['phone'][1:]}"


def at_most_once(simulation: Simulation) -> bool:
    chats = Counter((message["session"], message["chatId"]) for message in simulation.town.messages())
    return not chats or max(chats.values()) == 1


@pytest.mark.slow
def test_a_company_whose_crm_is_silent_gets_messages_without_slots_and_the_others_get_theirs(
    simulation: Simulation,
) -> None:
    simulation.town.fail(f"/api/v1/book_times/{SILENT}", status=401, count=10_000)
    result = run_day(simulation)
    lake = simulation.platform.lake
    assert set(frame(lake, "ranked_slots")["company_id"]) == {OTHER}
    planned = frame(lake, "campaign_plan").filter(pl.col("decision") == "planned")["campaign_id"]
    assert sorted(frame(lake, "generated_messages")["campaign_id"]) == sorted(planned)
    silence = check(result, "crm_answered")
    assert (silence.passed, silence.severity, list(silence.metadata)) == (
        False,
        dg.AssetCheckSeverity.WARN,
        [str(SILENT)],
    )
    texts = rows(
        simulation.platform.database, "SELECT company_id, message_text FROM reactivation_campaigns WHERE NOT held_out"
    )
    assert not [row for row in texts if row["company_id"] == SILENT and " октября" in row["message_text"]]
    assert [row for row in texts if row["company_id"] == OTHER and " октября" in row["message_text"]]


@pytest.mark.slow
def test_a_message_that_was_written_without_slots_is_given_none_afterwards(simulation: Simulation) -> None:
    """What the chat bot is told to have been offered must be what the client reads."""
    simulation.town.fail(f"/api/v1/book_times/{SILENT}", status=401, count=10_000)
    run_day(simulation)
    before = fingerprints(simulation.platform.lake)
    simulation.town.heal()
    run_day(simulation)
    assert fingerprints(simulation.platform.lake) == before


@pytest.mark.slow
def test_a_company_that_cannot_be_mirrored_is_named_by_a_warning_and_keeps_its_watermark(
    simulation: Simulation,
) -> None:
    database = simulation.platform.database
    query = "SELECT company_id, changed_after FROM companies ORDER BY 1"
    first = {row["company_id"]: row["changed_after"] for row in rows(database, query)}
    simulation.advance_to(START + timedelta(hours=1))
    simulation.town.fail(f"/api/v1/records/{SILENT}", status=404, count=10_000)
    result = simulation.launcher.run("mirror_crm")
    answered = check(result, "all_companies_answered")
    assert (answered.passed, answered.severity, list(answered.metadata)) == (
        False,
        dg.AssetCheckSeverity.WARN,
        [str(SILENT)],
    )
    second = {row["company_id"]: row["changed_after"] for row in rows(database, query)}
    assert second[SILENT] == first[SILENT]
    assert second[OTHER] == START + timedelta(hours=1)
    simulation.town.heal()
    simulation.launcher.run("mirror_crm")
    assert {row["changed_after"] for row in rows(database, query)} == {START + timedelta(hours=1)}


@pytest.mark.slow
def test_without_redis_messages_leave_and_the_bots_context_is_written_when_it_is_back(
    world: World, tmp_path: Path
) -> None:
    world.town.reset()
    with world.database_url() as url:
        with world.simulation(url, tmp_path, redis_url=NOWHERE) as simulation:
            run_day(simulation)
            simulation.live_until(START + timedelta(hours=4))
            now, database = simulation.clock.now(), simulation.platform.database
            sent = rows(database, "SELECT company_id, phone FROM reactivation_campaigns WHERE sent_at IS NOT NULL")
            assert len(sent) == len(simulation.town.messages()) > 3
            assert not rows(database, "SELECT 1 FROM reactivation_campaigns WHERE context_synced_at IS NOT NULL")
        bot = redis.Redis.from_url(world.redis_url, decode_responses=True)
        bot.delete(*(key_of(row) for row in sent))
        with world.simulation(url, tmp_path, now) as simulation:
            simulation.launcher.run("send_due", partition=DAY.isoformat())
            arrived = rows(
                simulation.platform.database,
                "SELECT * FROM reactivation_campaigns WHERE status IN ('accepted', 'delivered', 'read')",
            )
        assert all(row["context_synced_at"] for row in arrived)
        unanswered = [bot.hgetall(key_of(row)) for row in arrived if row["responded_at"] is None]
        assert len(unanswered) > 3
        assert {json.loads(dialog["pendingAction"])["type"] for dialog in unanswered} == {"reactivation_response"}
        bot.delete(*(key_of(row) for row in sent))
        bot.close()


@pytest.mark.slow
def test_while_the_gateway_refuses_campaigns_wait_and_leave_when_it_is_back(simulation: Simulation) -> None:
    simulation.town.fail("/api/sendText", status=503, count=10_000)
    run_day(simulation)
    simulation.live_until(START + timedelta(hours=2))
    statuses = Counter(frame(simulation.platform.lake, "sent_campaigns")["status"])
    assert simulation.town.messages() == []
    assert set(statuses) == {"planned"}
    simulation.town.heal()
    simulation.live_until(simulation.closing_time(DAY))
    assert len(simulation.town.messages()) > 10
    assert at_most_once(simulation)


@pytest.mark.slow
def test_a_message_whose_answer_was_lost_is_never_sent_again(simulation: Simulation) -> None:
    simulation.town.set_webhook(None)  # so that no status event settles what became of it
    simulation.town.fail("/api/sendText", kind="lose_response", count=3)
    run_day(simulation)
    simulation.live_until(simulation.closing_time(DAY))
    simulation.close_day(DAY)
    assert Counter(frame(simulation.platform.lake, "sent_campaigns")["status"])["unknown"] == 3
    assert at_most_once(simulation)
