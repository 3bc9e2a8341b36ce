"""`generated_messages` with the model: what Dagster shows of it, and a day on which the model is gone."""

from typing import Any

import dagster as dg
import polars as pl
import pytest
from sqlalchemy import text

from reactivation_assets.build import build_defs
from reactivation_cli.simulation import Simulation
from tests.assets.town_world import DAY, PLANNING, frame, rows


def run_day(simulation: Simulation) -> dg.ExecuteInProcessResult:
    return simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())


def run_only(simulation: Simulation, *assets: str) -> dg.ExecuteInProcessResult:
    defs = build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(simulation.platform)})
    job = defs.resolve_job_def("daily_campaigns").get_subset(asset_selection={dg.AssetKey(name) for name in assets})
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, partition_key=DAY.isoformat(), raise_on_error=False)


def check(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    (found,) = [evaluation for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == name]
    return found


def metadata(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = [
        one for one in result.get_asset_materialization_events() if one.asset_key == dg.AssetKey("generated_messages")
    ]
    return {name: value.value for name, value in event.materialization.metadata.items()}


@pytest.mark.slow
def test_a_day_written_by_the_model(simulation: Simulation) -> None:
    simulation.town.model(forget=True)
    result = run_day(simulation)
    texts = frame(simulation.platform.lake, "generated_messages")
    assert set(texts["source"]) == {"gemini"}
    assert texts.select(pl.col("prompt_version").str.starts_with("prompt.ru/").all()).item()
    assert (texts["cost_micros"] > 0).all()
    assert (texts["cost_minor"] > 0).all()
    told = metadata(result)
    assert told["tokens of questions"] == texts["input_tokens"].sum() == simulation.town.model()["tokens"][0]
    assert "{days_phrase}" in str(told["examples"])
    assert "rules that answers broke" not in told
    assert told["cost, dollars"] == pytest.approx(texts["cost_micros"].sum() / 1e6)
    assert check(result, "model_writes_most").passed
    judged = check(result, "every_message_keeps_the_rules")
    assert (judged.passed, judged.metadata["judged"].value, judged.metadata["without a text"].value) == (
        True,
        texts.height,
        0,
    )
    stored = rows(
        simulation.platform.database,
        "SELECT message_text, text_template FROM reactivation_campaigns WHERE NOT held_out",
    )
    assert len({row["text_template"] for row in stored}) > len(stored) / 4
    assert all("{" not in row["message_text"] for row in stored)
    asked = str(simulation.town.questions())
    names = {row["name"] for row in rows(simulation.platform.database, "SELECT name FROM clients")}
    assert not any(word in asked for name in names for word in name.split() if len(word) > 4)


@pytest.mark.slow
def test_a_day_on_which_the_model_is_gone_is_written_from_templates_and_the_check_says_so(
    simulation: Simulation,
) -> None:
    simulation.town.model(forget=True, misbehave=1, kinds=["cut"])
    result = run_day(simulation)
    texts = frame(simulation.platform.lake, "generated_messages")
    planned = frame(simulation.platform.lake, "campaign_plan").filter(pl.col("decision") == "planned")
    assert texts.height == planned.height > 0
    assert set(texts["source"]) == {"template"}
    assert set(texts["fallback"]) == {"unavailable"}
    warned = check(result, "model_writes_most")
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.success
    simulation.town.model(forget=True)


@pytest.mark.slow
def test_a_day_of_bad_answers_shows_which_rules_they_broke(simulation: Simulation) -> None:
    simulation.town.model(forget=True, misbehave=1, kinds=["price"])
    result = run_day(simulation)
    assert "| price |" in str(metadata(result)["rules that answers broke"])
    assert set(frame(simulation.platform.lake, "generated_messages")["fallback"]) == {"rejected"}
    assert check(result, "every_message_keeps_the_rules").passed
    simulation.town.model(forget=True)


@pytest.mark.slow
def test_a_text_that_breaks_a_rule_stops_the_day(simulation: Simulation) -> None:
    """Whatever put it there: what depends on the messages does not run, so nothing is sent."""
    planned = run_only(simulation, *PLANNING)
    assert planned.success
    with simulation.platform.database.begin() as connection:
        connection.execute(
            text(
                "UPDATE reactivation_campaigns SET message_text = message_text || ' Всё бесплатно!' WHERE NOT held_out"
            )
        )
    result = run_only(simulation, "generated_messages", "sent_campaigns")
    judged = check(result, "every_message_keeps_the_rules")
    assert not judged.passed
    assert judged.metadata["breaks offer"].value > 0
    assert not result.success
    assert simulation.town.messages() == []
