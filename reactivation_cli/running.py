"""`reactivation run`: opens the platform, runs the day, prints what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from reactivation_assets.jobs import DAY
from reactivation_cli.console import StepProgress, fail, print_csv, print_json, progress_bar, stderr
from reactivation_cli.launcher import JobFailedError, Launcher, open_launcher
from reactivation_cli.run_day import LISTED, DayReport, day_report, listed, run_day
from reactivation_cli.simulation import Simulation, book_of, open_simulation, start_of
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings


def run_command(
    settings: Settings, day: date | None, company: int | None, *, simulate: bool, list_asset: str | None, as_json: bool
) -> None:
    """Run `day` (today by default) and print the report, the JSON object or the rows of one asset."""
    if list_asset is not None and list_asset not in LISTED:
        fail(f"--list {list_asset}: not one of {', '.join(LISTED)}")
    quiet = as_json or list_asset is not None
    try:
        with _launched(settings, day, company, simulate=simulate, quiet=quiet) as (launcher, ran, live):
            lake = launcher.platform.lake
            report = day_report(lake, ran, company, live=live)
            rows = listed(lake, list_asset, ran, company) if list_asset is not None else None
    except (JobFailedError, ValueError, LookupError) as error:
        fail(str(error))
    if rows is not None:
        print_csv(rows)
    elif as_json:
        print_json(report.as_json())
    else:
        _print(report)


@contextmanager
def _launched(
    settings: Settings, day: date | None, company: int | None, *, simulate: bool, quiet: bool
) -> Iterator[tuple[Launcher, date, bool]]:
    """Run the day in the real or in a simulated world; yield the launcher, the day, and whether it could reach clients."""
    if simulate:
        if day is None or company is None:
            fail("--simulate needs --day and --company")
        with open_simulation(
            settings, start_of(settings, day), only_company=company, salons=0, clients=0
        ) as simulation:
            simulation.town.load_salon(book_of(simulation.platform, company))
            with progress_bar(quiet) as bar:
                run_day(simulation.launcher, day, StepProgress(bar, "day", len(DAY)))
                _live(simulation, day, bar)
            yield simulation.launcher, day, True
        return
    with open_platform(settings, only_company=company) as platform, open_launcher(platform) as launcher:
        ran = day or platform.calendar.today()
        live = platform.calendar.is_live(ran)
        with progress_bar(quiet) as bar:
            run_day(launcher, ran, StepProgress(bar, "day", len(DAY)))
        yield launcher, ran, live


def _live(simulation: Simulation, day: date, bar: Progress) -> None:
    """Let the simulated day run until the last sending window has closed, then take down what became of it."""
    start, end = simulation.clock.now(), simulation.closing_time(day)
    task = bar.add_task("day: sending", total=max(int((end - start).total_seconds() // 60), 1))

    def passed(now: datetime) -> None:
        bar.update(task, completed=int((now - start).total_seconds() // 60))

    simulation.live_until(end, passed)
    simulation.close_day(day)


def _print(report: DayReport) -> None:
    if report.analysis_only:
        stderr.print(f"{report.day} is not today: analysis only, nothing was planned or sent")
    table = Table("what", "clients", title=f"the day {report.day}")
    table.add_row("due", f"{report.due:,}")
    for reason, count in report.excluded.items():
        table.add_row(f"  excluded: {reason}", f"{count:,}")
    table.add_row("eligible", f"{report.eligible:,}")
    table.add_row("planned", f"{report.planned:,}")
    table.add_row("held out", f"{report.held_out:,}")
    for reason, count in report.deferred.items():
        table.add_row(f"  deferred: {reason}", f"{count:,}")
    table.add_row("messages written", f"{report.messages:,}")
    table.add_row("messages sent", f"{report.sent:,}")
    Console().print(table)
