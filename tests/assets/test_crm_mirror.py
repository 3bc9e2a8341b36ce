"""What a run of the mirror shows: what changed, what it cost, who could not be read and whose mirror has grown old."""

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from reactivation_assets.mirror.crm_mirror import MirrorScope, crm_mirror
from reactivation_cli.simulation import Simulation
from tests.assets.town_world import START, outside_calls, rows

SILENT, OTHER = 101, 102
ASSETS = {"companies", "services", "staff", "clients", "visits"}


def mirror(simulation: Simulation, *companies: int) -> dg.ExecuteInProcessResult:
    scope = dg.RunConfig(ops={"crm_mirror": MirrorScope(companies=list(companies))})
    return dg.materialize([crm_mirror], resources={"platform": simulation.platform}, run_config=scope)


def shown(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """The metadata of each asset."""
    return {
        event.materialization.asset_key.to_user_string(): {
            name: value.value for name, value in event.materialization.metadata.items()
        }
        for event in result.get_asset_materialization_events()
    }


def checks(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, list[str]]]:
    return {found.check_name: (found.passed, sorted(found.metadata)) for found in result.get_asset_check_evaluations()}


@pytest.mark.slow
def test_a_run_shows_what_changed_and_what_it_cost(simulation: Simulation) -> None:
    simulation.advance_to(START + timedelta(hours=30))
    result = mirror(simulation)
    found = shown(result)
    assert set(found) == ASSETS
    visits = found["visits"]
    assert 0 < visits["changed"] < visits["dagster/row_count"]
    assert found["companies"]["dagster/row_count"] == 2
    assert (visits["failed companies"], visits["rejected cards"], visits["companies still loading"]) == (0, 0, {})
    assert visits["calls"]["staff"] == 2
    assert checks(result) == {"all_companies_answered": (True, []), "all_companies_up_to_date": (True, [])}


@pytest.mark.slow
def test_a_run_for_one_company_reads_that_one_and_takes_no_snapshots(simulation: Simulation) -> None:
    before = outside_calls(simulation.town)
    simulation.advance_to(START + timedelta(hours=1))
    found = shown(mirror(simulation, OTHER))
    assert set(found) == ASSETS
    assert "dagster/row_count" not in found["visits"]
    assert outside_calls(simulation.town) != before
    watermarks = rows(simulation.platform.database, "SELECT company_id, changed_after FROM companies")
    assert {row["company_id"]: row["changed_after"] for row in watermarks} == {
        SILENT: START,
        OTHER: START + timedelta(hours=1),
    }


@pytest.mark.slow
def test_a_company_whose_mirror_is_a_day_old_is_named(simulation: Simulation) -> None:
    simulation.town.fail(f"/api/v1/records/{SILENT}", status=404, count=10_000)
    for hours, fresh in ((20, True), (25, False)):
        simulation.advance_to(START + timedelta(hours=hours))
        result = mirror(simulation)
        assert checks(result)["all_companies_up_to_date"] == (fresh, [] if fresh else [str(SILENT)])
    simulation.town.heal()
    assert checks(mirror(simulation))["all_companies_up_to_date"] == (True, [])
