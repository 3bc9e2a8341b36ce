"""Free times of a live day: what the CRM is asked for, what it is spared, and what becomes of those it does not answer for."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from reactivation_cli.simulation import Simulation, simulation_in
from reactivation_core.slots import rank_slots
from reactivation_resources.open_slots import BUDGET_SPENT, SlotQuestion, ask_slots
from reactivation_sandbox.process import Town
from tests.assets.town_world import DAY, START, World, frame, outside_calls, restored_environment, rows

CLIENT = ["company_id", "client_id"]


def asked(town: Town) -> int:
    """Questions about free times so far."""
    return sum(count for route, count in outside_calls(town).items() if "book_times" in route or "book_dates" in route)


def run_day(simulation: Simulation) -> tuple[dict[str, Any], dg.AssetCheckEvaluation]:
    """The day's run: the metadata of its slots, and the check that the CRM answered."""
    result = simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())
    (event,) = result.asset_materializations_for_node("ranked_slots")
    (check,) = [one for one in result.get_asset_check_evaluations() if one.check_name == "crm_answered"]
    return {name: value.value for name, value in event.metadata.items()}, check


def full_fetch(simulation: Simulation) -> tuple[pl.DataFrame, int]:
    """The offers when everything is asked, and how many questions that takes."""
    platform = simulation.platform
    companies = platform.mirror.snapshot("companies").collect()
    zones = dict(companies.select("company_id", "timezone").iter_rows())
    staff = platform.mirror.snapshot("staff").filter("active").explode("service_ids").collect()
    planned = frame(platform.lake, "campaign_plan").filter(pl.col("decision") == "planned")
    able = planned.select("company_id", "service_id").unique().join(
        staff, left_on=["company_id", "service_id"], right_on=["company_id", "service_ids"]
    )  # fmt: skip
    questions = [
        SlotQuestion(*row, DAY + timedelta(days=ahead), zones[row[0]])
        for row in able.select("company_id", "service_id", "staff_id").iter_rows()
        for ahead in range(1, 8)
    ]
    answer = platform.crm.run(lambda crm: ask_slots(crm, questions))
    offers = rank_slots(
        planned.sort("company_id", "send_after", "client_id").with_row_index("priority_rank"),
        frame(platform.lake, "preference_profiles"),
        answer.slots,
        platform.mirror.snapshot("services").collect(),
        companies,
        as_of=START,
    )
    return offers, len(questions)


def offers_of(ranked: pl.DataFrame) -> dict[tuple[int, int], list[tuple[int, datetime, int]]]:
    """What each client is offered: staff, start, score, best first."""
    firm = ranked.filter(~pl.col("spare")).sort(*CLIENT, "rank")
    return {
        (company, client): found.select("staff_id", "starts_at", "score").rows()
        for (company, client), found in firm.group_by(CLIENT, maintain_order=True)
    }


@pytest.mark.slow
def test_fewer_calls_make_the_offers_of_the_full_fetch(simulation: Simulation) -> None:
    before = asked(simulation.town)
    metadata, check = run_day(simulation)
    spent = asked(simulation.town) - before
    full, questions = full_fetch(simulation)
    assert (metadata["calls_spent"], metadata["calls_saved"]) == (spent, questions - spent)
    assert metadata["calls_saved"] > questions // 4
    assert metadata["rounds"] > 1
    assert (check.passed, metadata["companies_without_slots"]) == (True, 0)
    ours, theirs = offers_of(frame(simulation.platform.lake, "ranked_slots")), offers_of(full)
    assert len(ours) == len(theirs) > 20
    assert all(len(ours[client]) >= len(theirs[client]) for client in theirs)
    profiles = frame(simulation.platform.lake, "preference_profiles").select(*CLIENT, "staff_id").drop_nulls()
    favourites = {(company, client): staff for company, client, staff in profiles.iter_rows()}
    with_favourite = {client for client, slots in theirs.items() if slots[0][0] == favourites.get(client)}
    assert len(with_favourite) > 5
    assert {client for client in with_favourite if ours[client][0][0] != favourites[client]} == set()
    same = sum([score for *_, score in ours[client]] == [score for *_, score in theirs[client]] for client in theirs)
    assert same >= 0.95 * len(theirs)


@pytest.mark.slow
def test_the_same_day_run_again_asks_nothing(simulation: Simulation) -> None:
    run_day(simulation)
    before = asked(simulation.town)
    metadata, check = run_day(simulation)
    assert asked(simulation.town) == before
    assert check.passed
    assert "calls_spent" not in metadata


@contextmanager
def with_budget(world: World, home: Path, calls: int) -> Iterator[Simulation]:
    """The morning of the day, with so many calls to spend on free times."""
    world.town.reset()
    with world.database_url() as url, restored_environment():
        settings = world.settings(url, home).model_copy(update={"yclients_slot_calls": calls})
        with simulation_in(world.town, settings, START) as simulation:
            yield simulation


@pytest.mark.slow
def test_a_company_beyond_the_budget_goes_without_slots_and_the_check_says_why(world: World, tmp_path: Path) -> None:
    with with_budget(world, tmp_path / "rich", 6000) as simulation:
        needed = run_day(simulation)[0]["calls_spent"]
        plan = frame(simulation.platform.lake, "campaign_plan").filter(pl.col("decision") == "planned")
        first, last = plan.sort("send_after", "company_id")["company_id"].unique(maintain_order=True)
        slots_of_first = frame(simulation.platform.lake, "ranked_slots").filter(pl.col("company_id") == first)
    with with_budget(world, tmp_path / "poor", needed - 1) as simulation:
        before = asked(simulation.town)
        metadata, check = run_day(simulation)
        assert metadata["calls_spent"] == asked(simulation.town) - before < needed
        assert metadata["companies_without_slots"] == 1
        assert f"| {last} | {BUDGET_SPENT} |" in metadata["why without slots"]
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert {name: value.value for name, value in check.metadata.items()} == {str(last): BUDGET_SPENT}
        assert frame(simulation.platform.lake, "ranked_slots").equals(slots_of_first)
        without = "SELECT count(*) AS n FROM reactivation_campaigns WHERE message_text IS NULL AND NOT held_out"
        assert rows(simulation.platform.database, without)[0]["n"] == 0


@pytest.mark.slow
def test_a_backfill_of_past_days_asks_nothing(simulation: Simulation) -> None:
    before = asked(simulation.town)
    yesterday = DAY - timedelta(days=1)
    simulation.launcher.run("daily_campaigns", partition=yesterday.isoformat())
    assert frame(simulation.platform.lake, "ranked_slots", yesterday).is_empty()
    assert asked(simulation.town) == before
