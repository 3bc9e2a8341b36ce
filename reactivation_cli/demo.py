"""`reactivation demo`: some weeks of a pretend town, lived with the real jobs, and a report of what they earned.

The demo has a home of its own with embedded servers, whatever is configured: it must never meet a real salon's database.
"""

import shutil
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from rich.progress import Progress

from reactivation_assets.jobs import DAY, MIRROR
from reactivation_cli.console import StepProgress, fail, progress_bar, stderr
from reactivation_cli.demo_report import print_report
from reactivation_cli.launcher import JobFailedError
from reactivation_cli.run_day import run_day
from reactivation_cli.simulation import Simulation, open_simulation, start_of
from reactivation_core.channel_policy import RISKS
from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SystemClock
from reactivation_resources.database.engine import Database
from reactivation_resources.onboarding import connect_company, mark_number_in_use, write_default_rules
from reactivation_resources.settings import Settings
from reactivation_resources.yclients.client import YClients

MARK = "this-is-a-demo"
# The town's own numbers for its trades.
_TRADES = {1: "beauty", 5: "barbershop", 9: "dental", 12: "fitness"}
NUMBER_IN_USE = timedelta(days=100)
"""The salons' numbers are no newcomers: a cold one may send twenty messages a day, and a demo should show more."""


def demo_settings(settings: Settings) -> Settings:
    """The settings with the demo's own home and embedded servers."""
    return settings.model_copy(
        update={
            "reactivation_home": settings.home / "demo",
            "database_url": None,
            "redis_url": None,
            "reactivation_lake": None,
        }
    )


def run_demo(settings: Settings, *, days: int, salons: int, clients: int, seed: int) -> None:
    """Live `days` days up to yesterday and print the report."""
    own = demo_settings(settings)
    _fresh_home(own.home)
    last = Calendar(own, SystemClock()).today() - timedelta(days=1)
    first = last - timedelta(days=days - 1)
    stderr.print(f"a town of {salons} salons with {clients} clients each, from {first} to {last}", highlight=False)
    try:
        with (
            open_simulation(own, start_of(own, first), salons=salons, clients=clients, seed=seed) as simulation,
            progress_bar() as bar,
        ):
            _open_salons(simulation, bar)
            task = bar.add_task("days", total=days)
            for number in range(days):
                day = first + timedelta(days=number)
                bar.update(task, description=f"days: {day:%a %d %b}")
                _live_day(simulation, day, bar)
                bar.advance(task)
            _measure(simulation, first, last, bar)
            bar.stop()
            print_report(simulation, first, last)
    except JobFailedError as error:
        fail(str(error))


def _fresh_home(home: Path) -> None:
    """Empty the demo's home; a folder that is no demo's is left alone."""
    if home.exists():
        if not (home / MARK).exists():
            fail(f"{home} exists and is no demo's home: move it away or set REACTIVATION_HOME")
        shutil.rmtree(home)
    home.mkdir(parents=True)
    (home / MARK).touch()


def _open_salons(simulation: Simulation, bar: Progress) -> None:
    """Connect every salon of the town: card, first mirror, rules."""
    platform = simulation.platform
    task = bar.add_task("connecting salons", total=len(simulation.town.sessions) + 1)
    for company, session in sorted(simulation.town.sessions.items()):
        platform.crm.run(partial(_connect, platform.database, int(company), session))
        bar.advance(task)
    simulation.launcher.run("mirror_crm")
    bar.advance(task)
    for company in simulation.town.sessions:
        write_default_rules(platform.database, int(company))
        mark_number_in_use(platform.database, int(company), simulation.clock.now() - NUMBER_IN_USE)


async def _connect(database: Database, company_id: int, session: str, crm: YClients) -> None:
    card = await crm.company(company_id)
    await connect_company(
        database,
        crm,
        company_id,
        business_type=_TRADES.get(card.business_type_id, "other"),
        consent_basis="agreed at the desk",
        session=session,
        enabled=True,
        accepted_risks=sorted(RISKS),
    )


def _live_day(simulation: Simulation, day: date, bar: Progress) -> None:
    """The night's replies, the daily job at its hour, and the day until the last window closes."""
    start = simulation.platform.calendar.as_of(day)
    simulation.live_until(start)
    simulation.react()
    steps = StepProgress(bar, "  today", len(DAY) + 1)
    run_day(simulation.launcher, day, steps)
    simulation.live_until(simulation.closing_time(day))
    simulation.close_day(day)
    steps.close()


def _measure(simulation: Simulation, first: date, last: date, bar: Progress) -> None:
    """Let the last day's evening pass, then measure all days in one run."""
    steps = StepProgress(bar, "measuring", len(MIRROR) + 4)
    evening = datetime.combine(last, datetime.max.time(), simulation.platform.calendar.zone)
    simulation.live_until(evening)
    simulation.launcher.run("mirror_crm", progress=steps)
    simulation.launcher.run_days("measure", first.isoformat(), last.isoformat(), progress=steps)
    steps.close()
