"""The code location: it loads from nothing, connects to nothing, and holds what the operator is promised."""

import os
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pytest

from reactivation_assets.build import build_defs
from reactivation_assets.jobs import DAY, FEEDBACK, INTERVALS, MIRROR
from reactivation_assets.partitions import DAILY, MONTHLY, days_before, monthly_partitions
from reactivation_resources.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS = {
    **dict.fromkeys(DAY, "daily"),
    **dict.fromkeys(FEEDBACK, "feedback"),
    "account_health": "feedback",
    **dict.fromkeys(INTERVALS, "intervals"),
    **dict.fromkeys(MIRROR, "mirror"),
}
HEAVY = [
    "pandas",
    "matplotlib",
    "duckdb",
    "pandera",
    "phonenumbers",
    "pymorphy3",
    "holidays",
    "alembic",
    "reactivation_sandbox",
]
BARE_LOAD = f"""
import socket, sys

def refuse(*_):
    raise AssertionError("loading the definitions opened a connection")

for name in ("connect", "connect_ex", "bind", "sendto"):
    setattr(socket.socket, name, refuse)
socket.getaddrinfo = refuse
from reactivation_assets.definitions import defs

keys = sorted(key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys())
print(",".join(keys))
print(",".join(name for name in {HEAVY} if name in sys.modules))
"""


def specs() -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in build_defs().resolve_all_asset_specs()}


def test_the_definitions_load_without_any_variable_any_connection_and_any_heavy_module(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", BARE_LOAD],
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    keys, heavy = found.stdout.splitlines()[-2:]
    assert keys.split(",") == sorted(GROUPS)
    assert heavy == ""
    assert not list(tmp_path.iterdir())  # no home, no embedded server


def test_every_asset_has_its_group_an_owner_kinds_and_a_description() -> None:
    found = specs()
    assert {key: spec.group_name for key, spec in found.items()} == GROUPS
    for key, spec in found.items():
        assert spec.owners, key
        assert spec.kinds, key
        assert len(spec.description or "") > 20, key


def test_every_daily_or_monthly_asset_is_backfilled_in_one_run_with_its_contract_as_a_blocking_check() -> None:
    graph = build_defs().resolve_asset_graph()
    cuts = dict.fromkeys((*DAY, *FEEDBACK), dg.DailyPartitionsDefinition)
    for name, cut in (cuts | dict.fromkeys(INTERVALS, dg.MonthlyPartitionsDefinition)).items():
        node = graph.get(dg.AssetKey(name))
        assert isinstance(node.partitions_def, cut), name
        assert node.backfill_policy == dg.BackfillPolicy.single_run(), name
        checks = {key.name: graph.get_check_spec(key) for key in node.check_keys}
        assert checks["contract"].blocking, name
        assert not checks["row_count_within_history"].blocking, name
    for name in MIRROR:
        assert graph.get(dg.AssetKey(name)).partitions_def is None, name


def test_the_daily_job_runs_the_whole_day_in_this_process() -> None:
    job = build_defs().resolve_job_def("daily_campaigns")
    assert set(job.graph.node_dict) == set(DAY)
    assert job.executor_def.name == "in_process"


def test_the_daily_schedule_follows_the_configured_time_and_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REACTIVATION_CRON", "30 8 * * *")
    monkeypatch.setenv("REACTIVATION_TIMEZONE", "Asia/Almaty")
    schedule = build_defs().resolve_schedule_def("daily_campaigns_schedule")
    assert schedule.job_name == "daily_campaigns"
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 8 * * *", "Asia/Almaty")


def test_a_tick_of_the_daily_schedule_asks_for_the_day_of_the_platforms_zone_once() -> None:
    repository = build_defs().get_repository_def()
    schedule = repository.get_schedule_def("daily_campaigns_schedule")
    assert schedule.execution_timezone == "Europe/Moscow"
    tick = datetime(2026, 10, 13, 21, 30, tzinfo=UTC)  # half past midnight in Moscow
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick, repository_def=repository)
        requests = schedule.evaluate_tick(context).run_requests
    assert [(request.run_key, request.partition_key) for request in requests] == [("2026-10-14", "2026-10-14")]


@pytest.mark.parametrize(
    ("daily", "monthly"),
    [
        ("0 10 * * *", "0 9 1 * *"),
        ("30 1 * * *", "30 0 1 * *"),
        ("15 0 * * *", "0 0 1 * *"),
        ("0 0 * * *", "0 0 1 * *"),
    ],
)
def test_intervals_are_learned_on_the_first_of_the_month_an_hour_before_the_daily_run(
    monkeypatch: pytest.MonkeyPatch, daily: str, monthly: str
) -> None:
    monkeypatch.setenv("REACTIVATION_CRON", daily)
    schedule = build_defs().resolve_schedule_def("learn_intervals_schedule")
    assert (schedule.job_name, schedule.cron_schedule) == ("learn_intervals", monthly)
    assert schedule.execution_timezone == "Europe/Moscow"


def test_a_tick_of_the_monthly_schedule_asks_for_the_month_that_begins_once() -> None:
    repository = build_defs().get_repository_def()
    schedule = repository.get_schedule_def("learn_intervals_schedule")
    tick = datetime(2026, 10, 31, 22, tzinfo=UTC)  # already November in Moscow
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=tick, repository_def=repository)
        requests = schedule.evaluate_tick(context).run_requests
    assert [(request.run_key, request.partition_key) for request in requests] == [("2026-11-01", "2026-11-01")]


def test_months_begin_where_days_do_and_the_running_one_is_there() -> None:
    keys = MONTHLY.get_partition_keys(current_time=datetime(2026, 11, 20, tzinfo=UTC))
    assert (keys[0], keys[-1]) == ("2018-01-01", "2026-11-01")
    assert days_before(MONTHLY, date(2018, 3, 1), 28) == [date(2018, 2, 1), date(2018, 1, 1)]
    assert days_before(DAILY, date(2018, 3, 1), 2) == [date(2018, 2, 28), date(2018, 2, 27)]
    middle = monthly_partitions(Settings.load(reactivation_first_day=date(2019, 5, 17)))
    assert middle.get_first_partition_key() == "2019-05-01"


def test_a_platform_that_is_off_has_every_schedule_and_sensor_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def statuses() -> set[str]:
        defs = build_defs()
        return {one.default_status.value for one in (*(defs.schedules or ()), *(defs.sensors or ()))}

    assert statuses() == {"RUNNING"}
    monkeypatch.setenv("REACTIVATION_ENABLED", "false")
    assert statuses() == {"STOPPED"}


def test_each_argument_of_the_factory_replaces_its_default() -> None:
    @dg.asset
    def another() -> None: ...

    defs = build_defs(assets=[another], schedules=[], sensors=[], resources={})
    assert [key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()] == ["another"]
    assert not defs.schedules
    assert not defs.sensors


@pytest.mark.slow
def test_dagsters_own_tool_finds_and_checks_the_definitions(tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("dg")
    assert "dg" in tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]
    checked = subprocess.run(
        [tool, "check", "defs"],
        cwd=REPOSITORY,
        env={**os.environ, "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path), "DAGSTER_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout[-2000:] + checked.stderr[-2000:]
