"""A campaign day that kills itself: `python -m tests.assets.killed_day JSON`. What it leaves behind is the test's to look at."""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from reactivation_cli.launcher import Progress
from reactivation_cli.simulation import Simulation, simulation_in
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town
from tests.assets.town_world import DAY, START
from tests.sudden_death import die, die_at_statement

SENDING_STEPS = 3


@dataclass(frozen=True)
class Kill:
    """When to die: before the n-th statement or commit, the n-th once the daily job has ended, or when a step of that job starts."""

    statement: int = 0
    while_sending: int = 0
    step: str = ""


def live(simulation: Simulation, progress: Progress | None = None, while_sending: int = 0) -> None:
    """The daily job, then the first moments at which something is due."""
    simulation.launcher.run("daily_campaigns", partition=DAY.isoformat(), progress=progress)
    if while_sending:
        die_at_statement(simulation.platform.database, while_sending)
    for _ in range(SENDING_STEPS):
        due = simulation.platform.outbox.next_planned_at()
        if due is not None:
            simulation.advance_to(due)
        simulation.launcher.run("send_due", partition=DAY.isoformat())


def job_for(town: Town, settings: Settings, kill: Kill) -> str:
    """The argument of `main`."""
    assert settings.database_url is not None
    assert settings.redis_url is not None
    card = {name: getattr(town, name) for name in Town.__dataclass_fields__ if name != "http"}
    return json.dumps(
        {
            "town": card,
            "database_url": settings.database_url.get_secret_value(),
            "redis_url": settings.redis_url.get_secret_value(),
            "home": str(settings.home),
            "kill": asdict(kill),
        }
    )


def main(argument: str) -> None:
    job = json.loads(argument)
    kill = Kill(**job["kill"])
    with httpx.Client(base_url=job["town"]["url"], timeout=60, trust_env=False) as http:
        town = Town(**job["town"], http=http)
        settings = Settings.load(
            database_url=job["database_url"], redis_url=job["redis_url"], reactivation_home=Path(job["home"])
        )
        with simulation_in(town, settings, START) as simulation:
            if kill.statement:
                die_at_statement(simulation.platform.database, kill.statement)
            live(
                simulation,
                lambda step, moment: die() if (step, moment) == (kill.step, "STEP_START") else None,
                kill.while_sending,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
