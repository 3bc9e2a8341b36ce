"""The monthly assets through their real job: gaps, intervals, and the rules of the running month."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from reactivation_assets.build import build_defs
from reactivation_assets.detection import inactivity_inputs
from reactivation_assets.jobs import INTERVALS
from reactivation_core.inactivity import evaluate_rules
from reactivation_resources.platform import Platform
from tests.resources.learning_world import (
    COLOUR,
    CUT,
    MONTH,
    NOW,
    RITUAL,
    open_salon,
    platform_at,
    rule_columns,
    rules_version,
    set_rule,
)


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    with platform_at(database_url, redis_url, tmp_path) as opened:
        yield opened


def run(platform: Platform, month: str = MONTH, last: str | None = None, only: str | None = None) -> Any:
    """Run the job `learn_intervals` for a month or a range of them, or one of its assets."""
    defs = build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)})
    job = defs.resolve_job_def("learn_intervals")
    if only is not None:
        job = job.get_subset(asset_selection={dg.AssetKey(only)})
    when: dict[str, Any] = {"partition_key": month}
    if last is not None:
        when = {"tags": {"dagster/asset_partition_range_start": month, "dagster/asset_partition_range_end": last}}
    with dg.DagsterInstance.ephemeral() as instance:
        return job.execute_in_process(instance=instance, raise_on_error=False, **when)


def historical(platform: Platform, company: int = 1) -> dict[int, int | None]:
    return rule_columns(platform.database, "calculated_avg_interval", company)


def test_the_running_month_moves_a_clients_threshold_and_a_manual_interval_wins(platform: Platform) -> None:
    as_of = platform.calendar.as_of(NOW.date())

    def threshold() -> tuple[int, int, bool]:
        """Of a client who came every 15 days, for the last time 25 days ago: interval, days after which it is due, due or not."""
        found = evaluate_rules(inactivity_inputs(platform, as_of), as_of).filter(client_id=CUT * 1000, service_id=CUT)
        return found.select("interval_days", "due_after", "due").row(0)

    open_salon(platform.database, 1, {CUT: 50}, every=15, last=datetime(2026, 10, 26, 9, tzinfo=UTC))
    assert threshold() == (28, 30, False)  # the seed's interval; the rhythm (5*15 + 3*28) / 8, stretched by a half
    assert run(platform).success
    assert threshold() == (15, 23, True)
    set_rule(platform.database, 1, CUT, manual_interval=60)
    assert run(platform).success
    assert threshold() == (60, 60, False)


def test_a_past_month_is_looked_at_and_teaches_nothing(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50}, last=datetime(2026, 5, 1, 9, tzinfo=UTC))
    version = rules_version(platform.database)
    assert run(platform, "2026-10-01").success
    assert platform.lake.scan("service_intervals", date(2026, 10, 1)).collect()["historical_days"].to_list() == [40, 40]
    assert historical(platform)[CUT] is None
    assert rules_version(platform.database) == version


def test_a_backfill_is_one_run_over_its_months_and_only_the_running_one_reaches_the_rules(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50}, every=60)
    found = run(platform, "2026-01-01", MONTH)
    assert found.success
    assert historical(platform) == {CUT: 60, COLOUR: None, RITUAL: None}
    sizes = [platform.lake.rows("visit_gaps", date(2026, month, 1)) for month in range(1, 12)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, 100)  # fifty of the service, fifty of any
    written = [
        event.partition
        for event in found.get_asset_materialization_events()
        if event.asset_key.path == ["service_intervals"]
    ]
    assert written == [f"2026-{month:02d}-01" for month in range(1, 12)]


def test_a_month_of_a_backfill_has_the_bytes_it_has_alone(platform: Platform) -> None:
    def fingerprints() -> list[str]:
        files = [platform.lake.path(name, date(2026, 10, 1)) for name in INTERVALS]
        return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]

    open_salon(platform.database, 1, {CUT: 50, COLOUR: 9})
    run(platform, "2026-09-01", MONTH)
    together = fingerprints()
    run(platform, "2026-10-01")
    assert fingerprints() == together


def test_a_month_that_has_not_begun_is_refused(database_url: str, redis_url: str, tmp_path: Path) -> None:
    with platform_at(database_url, redis_url, tmp_path, datetime(2026, 10, 31, 20, tzinfo=UTC)) as platform:
        open_salon(platform.database, 1, {CUT: 50})
        found = run(platform)
        assert not found.success
        assert "the month 2026-11 has not begun" in str(found.filter_events(lambda event: event.is_step_failure))
        assert historical(platform)[CUT] is None


def test_a_salon_connected_after_the_gaps_were_measured_keeps_what_it_has_learned(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    assert run(platform, only="visit_gaps").success
    open_salon(platform.database, 2, {CUT: 50}, every=33)
    assert run(platform, only="service_intervals").success
    assert (historical(platform)[CUT], historical(platform, 2)[CUT]) == (40, 33)


def test_every_month_has_its_checks_its_numbers_and_its_pictures(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 10})
    found = run(platform)
    checks = {
        (check.asset_key.path[-1], check.check_name): check.passed for check in found.get_asset_check_evaluations()
    }
    assert checks == {
        ("visit_gaps", "contract"): True, ("visit_gaps", "row_count_within_history"): True, ("visit_gaps", "gaps_lie_end_to_end"): True,
        ("service_intervals", "contract"): True, ("service_intervals", "row_count_within_history"): True,
        ("service_intervals", "intervals_are_steady"): True,
    }  # fmt: skip
    gaps, intervals = (
        {name: value.value for name, value in event.materialization.metadata.items()}
        for event in found.get_asset_materialization_events()
    )
    assert (gaps["gaps of services"], gaps["clients who came again"], gaps["services"]) == (60, 12, 2)
    assert "Мужская стрижка (1), 2026-11; its rule: 28 days" in gaps["picture"]
    assert (intervals["rules"], intervals["rules with a historical interval"], intervals["rules changed"]) == (3, 1, 1)
    assert intervals["rules that lack an interval"] == 2
    assert "Окрашивание" in intervals["lacking"]
    assert intervals["picture"].startswith("![Days between visits, 2026-11](data:image/png;base64,")
    assert all("column_schema" not in name or value.columns for name, value in gaps.items())


def test_an_interval_that_jumps_within_a_month_is_a_warning(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 50}, last=datetime(2026, 9, 20, 9, tzinfo=UTC))
    run(platform, "2026-10-01")
    with platform.database.begin() as connection:
        connection.execute(text("DELETE FROM record_lines"))
    open_salon(platform.database, 1, {CUT: 50}, every=61)
    found = run(platform)
    assert found.success
    steady = next(c for c in found.get_asset_check_evaluations() if c.check_name == "intervals_are_steady")
    assert not steady.passed
    assert steady.severity == dg.AssetCheckSeverity.WARN
    numbers = {name: value.value for name, value in steady.metadata.items()}
    assert numbers == {"services compared": 1, "intervals that jumped": 1}


def test_a_platform_without_a_salon_has_empty_months(platform: Platform) -> None:
    assert run(platform).success
    assert [platform.lake.rows(name, date(2026, 11, 1)) for name in INTERVALS] == [0, 0]
