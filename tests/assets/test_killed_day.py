"""Kill -9 at any point of the day: the next run ends where an undisturbed one would have, and nobody is written to twice."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from reactivation_assets.jobs import DAY as STEPS
from reactivation_cli.launcher import JobFailedError
from reactivation_cli.simulation import Simulation
from reactivation_resources.database.engine import Database
from tests.assets.killed_day import Kill, job_for
from tests.assets.town_world import DAILY, DAY, START, World, fingerprints, rows

REPOSITORY = Path(__file__).resolve().parents[2]
LEFT_BEHIND = {
    # how long the model took is nobody's doing
    "campaigns": "SELECT c.*, writing - 'latency_ms' AS writing FROM reactivation_campaigns c ORDER BY campaign_id",
    "deferrals": "SELECT * FROM deferrals ORDER BY company_id, client_id",
    "planned days": "SELECT * FROM planned_days ORDER BY company_id",
    "events": "SELECT campaign_id, at, event, from_status, to_status, detail FROM campaign_events ORDER BY campaign_id, event_id",
}
PLANNED = (
    "SELECT campaign_id, company_id, client_id, episode_no, attempt_number, held_out, lane, discount_percent, send_after, stage, template_id,"
    " text_template FROM reactivation_campaigns ORDER BY campaign_id"
)
IN_THE_MORNING = [
    *(Kill(step=step) for step in STEPS),
    Kill(statement=60),
]
WHILE_SENDING = [Kill(while_sending=number) for number in (15, 50, 90, 130)]
LATER = START + timedelta(hours=3)
DELAY = timedelta(minutes=30)  # what a killed dispatcher had claimed waits for its lease to end


class Killed(BaseException):
    """Ends a run in this process where SIGKILL would end the process."""


@dataclass(frozen=True)
class Undisturbed:
    """The same day in the same town with nobody killed."""

    morning: dict[str, Any]
    files: dict[str, str]
    planned: list[dict[str, Any]]
    messages: list[dict[str, Any]]


def state(simulation: Simulation) -> dict[str, Any]:
    return {name: rows(simulation.platform.database, query) for name, query in LEFT_BEHIND.items()}


def chats(messages: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    return Counter((message["session"], message["chatId"]) for message in messages)


def run_and_be_killed(world: World, url: str, home: Path, kill: Kill) -> None:
    job = job_for(world.town, world.settings(url, home), kill)
    killed = subprocess.run([sys.executable, "-m", "tests.assets.killed_day", job], cwd=REPOSITORY, check=False)
    assert killed.returncode == -9


def run_again(simulation: Simulation) -> None:
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat())


@pytest.fixture(scope="module")
def undisturbed(world: World, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    world.town.reset()
    with world.database_url() as url, world.simulation(url, tmp_path_factory.mktemp("undisturbed")) as simulation:
        run_again(simulation)
        morning, files = state(simulation), fingerprints(simulation.platform.lake)
        planned = rows(simulation.platform.database, PLANNED)
        simulation.live_until(LATER)
        return Undisturbed(morning, files, planned, simulation.town.messages())


@pytest.mark.slow
@pytest.mark.parametrize("kill", IN_THE_MORNING, ids=lambda kill: kill.step or f"statement {kill.statement}")
def test_a_morning_killed_and_run_again_leaves_what_an_undisturbed_one_leaves(
    world: World, undisturbed: Undisturbed, tmp_path: Path, kill: Kill
) -> None:
    world.town.reset()
    with world.database_url() as url:
        run_and_be_killed(world, url, tmp_path, kill)
        with world.simulation(url, tmp_path) as simulation:
            run_again(simulation)
            assert state(simulation) == undisturbed.morning
            assert fingerprints(simulation.platform.lake) == undisturbed.files
            assert simulation.town.messages() == []


@pytest.mark.slow
@pytest.mark.parametrize("kill", WHILE_SENDING, ids=lambda kill: f"statement {kill.while_sending}")
def test_a_day_killed_while_sending_writes_to_everyone_once(
    world: World, undisturbed: Undisturbed, tmp_path: Path, kill: Kill
) -> None:
    town = world.town
    town.reset()
    with world.database_url() as url:
        run_and_be_killed(world, url, tmp_path, kill)
        assert town.clock() > START  # it died while sending, not before
        with world.simulation(url, tmp_path, town.clock()) as simulation:
            database = simulation.platform.database
            cut_off = rows(database, "SELECT campaign_id FROM reactivation_campaigns WHERE status = 'sending'")
            run_again(simulation)
            assert rows(database, PLANNED) == undisturbed.planned
            simulation.live_until(LATER)
            unknown = rows(
                database,
                "SELECT campaign_id, session, c.phone FROM reactivation_campaigns c JOIN channel_accounts USING (account_id)"
                " WHERE status = 'unknown'",
            )
    assert {row["campaign_id"] for row in unknown} <= {row["campaign_id"] for row in cut_off}
    sent = chats(town.messages())
    assert max(sent.values()) == 1
    in_doubt = {(row["session"], f"{row['phone'][1:]}@c.us") for row in unknown}
    in_time = [message for message in undisturbed.messages if datetime.fromisoformat(message["at"]) < LATER - DELAY]
    assert set(chats(in_time)) <= set(sent) | in_doubt
    assert set(sent) <= set(chats(undisturbed.messages)) | in_doubt


def forget_the_day(simulation: Simulation) -> None:
    with simulation.platform.database.begin() as connection:
        connection.execute(
            text("TRUNCATE reactivation_campaigns, campaign_events, deferrals, planned_days RESTART IDENTITY CASCADE")
        )
    for asset in DAILY:
        shutil.rmtree(Path(simulation.platform.lake.path(asset, DAY)).parent, ignore_errors=True)


@contextmanager
def ending_before_write(database: Database, number: int) -> Iterator[list[str]]:
    """Whatever runs ends before the `number`-th of the statements that write and the commits of what they wrote; yields them."""
    writes: list[str] = []

    def passed(what: str) -> None:
        writes.append(what)
        if len(writes) == number:
            raise Killed

    def execute(connection: Connection, _: Any, statement: str, *__: Any) -> None:
        # the salons' default settings are looked after before every look at the companies: nothing of the day's
        if statement.split(maxsplit=1)[0] in ("INSERT", "UPDATE") and "INTO reactivation_settings" not in statement:
            connection.info["wrote"] = True
            passed(statement)

    def commit(connection: Connection) -> None:
        if connection.info.pop("wrote", False):
            passed("COMMIT")

    event.listen(database.engine, "before_cursor_execute", execute)
    event.listen(database.engine, "commit", commit)
    try:
        yield writes
    finally:
        event.remove(database.engine, "before_cursor_execute", execute)
        event.remove(database.engine, "commit", commit)


@pytest.mark.slow
def test_a_morning_that_ends_before_any_of_its_writes_is_made_up_for(
    simulation: Simulation, undisturbed: Undisturbed
) -> None:
    """As above in one process, for every write there is."""
    for number in count(1):
        forget_the_day(simulation)
        with ending_before_write(simulation.platform.database, number) as writes, suppress(Killed, JobFailedError):
            run_again(simulation)
        if len(writes) < number:
            break
        run_again(simulation)
        assert state(simulation) == undisturbed.morning, writes
        assert fingerprints(simulation.platform.lake) == undisturbed.files, writes
    assert sum("reactivation_campaigns" in write for write in writes) >= 3  # the plan, the slots, the texts
    assert writes.count("COMMIT") >= 3
