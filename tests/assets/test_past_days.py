"""Days that are over reach nobody, days that have not begun are refused, and a simulated day meets the sandbox only."""

from datetime import timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from reactivation_assets.jobs import DAY as DAILY_JOB
from reactivation_cli.launcher import JobFailedError
from reactivation_cli.simulation import Simulation
from reactivation_resources.clock import SimulatedClock, SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from tests.assets.town_world import DAY, PLANNING, START, World, fingerprints, frame, outside_calls, rows

FIRST, LAST = DAY - timedelta(days=60), DAY - timedelta(days=1)
WRITTEN = (
    "reactivation_campaigns",
    "planned_days",
    "deferrals",
    "campaign_events",
    "client_responses",
    "suppressions",
    "pauses",
)


def written(simulation: Simulation) -> dict[str, int]:
    return {
        table: rows(simulation.platform.database, f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in WRITTEN
    }


@pytest.mark.slow
def test_a_backfill_of_sixty_days_calls_nobody_and_writes_no_campaign(simulation: Simulation) -> None:
    calls = outside_calls(simulation.town)
    for job in ("daily_campaigns", "read_replies", "measure"):
        simulation.launcher.run_days(job, FIRST.isoformat(), LAST.isoformat())
    assert outside_calls(simulation.town) == calls
    assert simulation.town.messages() == []
    assert set(written(simulation).values()) == {0}
    lake = simulation.platform.lake
    days = [FIRST + timedelta(days=number) for number in range(60)]
    for asset in (*DAILY_JOB, "client_responses", "conversions", "conversion_metrics"):
        assert all(lake.exists(asset, day) for day in days), asset
    for asset in ("campaign_plan", "ranked_slots", "generated_messages", "sent_campaigns"):
        assert sum(lake.rows(asset, day) for day in days) == 0, asset
    assert all(lake.rows("inactive_clients", day) > 0 for day in days)


@pytest.mark.slow
def test_a_day_of_a_backfill_has_the_bytes_it_has_alone(simulation: Simulation) -> None:
    lake = simulation.platform.lake
    simulation.launcher.run_days("daily_campaigns", (LAST - timedelta(days=2)).isoformat(), LAST.isoformat())
    in_a_range = {day: fingerprints(lake, PLANNING, day) for day in (LAST - timedelta(days=1), LAST)}
    for day, bytes_of_day in in_a_range.items():
        simulation.launcher.run("daily_campaigns", partition=day.isoformat())
        assert fingerprints(lake, PLANNING, day) == bytes_of_day


@pytest.mark.slow
def test_a_lived_day_looked_at_later_is_what_it_was_and_sends_nothing(simulation: Simulation) -> None:
    lake = simulation.platform.lake
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    lived = {asset: frame(lake, asset) for asset in PLANNING}
    planned, before = rows(simulation.platform.database, "TABLE planned_days"), written(simulation)
    simulation.town.set_webhook(None)
    simulation.advance_to(
        START + timedelta(days=1, hours=2)
    )  # every message of the day is due, and none may leave any more
    calls = outside_calls(simulation.town)
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    for asset, then in lived.items():
        assert_frame_equal(frame(lake, asset), then)
    assert outside_calls(simulation.town) == calls
    assert simulation.town.messages() == []
    assert rows(simulation.platform.database, "TABLE planned_days") == planned
    assert written(simulation) == before


@pytest.mark.slow
def test_a_range_that_ends_today_plans_today_only(simulation: Simulation) -> None:
    simulation.launcher.run_days("daily_campaigns", (DAY - timedelta(days=2)).isoformat(), DAY.isoformat())
    planned = rows(simulation.platform.database, "SELECT DISTINCT day FROM reactivation_campaigns")
    assert [row["day"] for row in planned] == [DAY]


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(days=-1)])
def test_a_day_that_has_not_begun_is_refused(world: World, tmp_path: Path, ahead: timedelta) -> None:
    world.town.reset(now=(START + timedelta(days=-2)).isoformat())
    with world.database_url() as url, world.simulation(url, tmp_path, START + ahead) as simulation:
        calls = outside_calls(world.town)
        with pytest.raises(
            JobFailedError, match=r"2026-10-14 has not begun: its run is due at 2026-10-14T07:00:00\+00:00"
        ):
            simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
        assert outside_calls(world.town) == calls
        assert set(written(simulation).values()) == {0}
        assert not simulation.platform.lake.exists("inactive_clients", DAY)


@pytest.mark.parametrize("variable", ["yclients_base_url", "waha_base_url"])
@pytest.mark.parametrize(
    "url", ["https://api.yclients.com/api/v1", "http://10.0.0.5:3000", "http://localhost.example.com"]
)
def test_a_simulated_clock_refuses_a_crm_or_channel_outside_this_machine(
    world: World, tmp_path: Path, variable: str, url: str
) -> None:
    inside = {"yclients_base_url": world.town.yclients_url, "waha_base_url": world.town.waha_url}
    settings = world.settings(world.server_url, tmp_path).model_copy(update={**inside, variable: url})
    with pytest.raises(ValueError, match=f"{variable.upper()}=.* is not a loopback address"):
        Platform(settings, SimulatedClock(START), ServerUrls(world.server_url, world.redis_url))
    Platform(settings, SystemClock(), ServerUrls(world.server_url, world.redis_url)).close()
