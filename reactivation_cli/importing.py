"""`reactivation import`: a salon's book from files."""

from dataclasses import asdict
from pathlib import Path

from rich.progress import TaskID
from rich.table import Table

from reactivation_cli.console import fail, print_json, progress_bar, stderr
from reactivation_resources.book_files import BookError
from reactivation_resources.book_import import ImportReport, import_book
from reactivation_resources.book_template import write_template
from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings


def import_directory(settings: Settings, directory: Path, rejects: Path | None, *, as_json: bool) -> None:
    """Import the book in `directory` with a progress bar and say what happened."""
    if not directory.is_dir():
        fail(f"{directory}: no such folder")
    with open_platform(settings) as platform, progress_bar(quiet=as_json) as bar:
        migrate(platform.urls.database_url)
        tasks: dict[str, TaskID] = {}

        def progress(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=done, total=total)

        kept = rejects or settings.home / "rejects" / f"{directory.resolve().name}.csv"
        try:
            report = import_book(platform.database, directory, rejects_path=kept, progress=progress)
        except BookError as error:
            fail(str(error))
        for name in ("companies", "services", "staff", "clients", "records", "rules"):
            platform.mirror.snapshot(name)
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)


def _print(report: ImportReport) -> None:
    table = Table("table", "rows", "changed", "rejected", title=f"company {report.company_id}")
    changed = {
        "records": report.changed.get("record_lines", 0),
        "rules": report.changed.get("service_reactivation_rules", 0),
    }
    files = {"records": "visits"}
    for name in ("clients", "services", "staff", "records", "rules"):
        rejected = sum(count for file, count in report.rejected.items() if file.startswith(files.get(name, name)))
        table.add_row(
            name, f"{getattr(report, name):,}", f"{changed.get(name, report.changed.get(name, 0)):,}", f"{rejected:,}"
        )
    stderr.print(table)
    for note in report.notes:
        stderr.print(f"note: {note}")
    if report.rejects_path is not None:
        stderr.print(f"[yellow]rejected rows and their reasons:[/yellow] {report.rejects_path}")
    stderr.print(f"imported {report.clients:,} clients and {report.records:,} records in {report.seconds:.1f} s")


def write_example(directory: Path) -> None:
    """Write an example book."""
    try:
        write_template(directory)
    except FileExistsError as error:
        fail(f"{error}: choose an empty folder")
    stderr.print(f"an example book is in {directory}: import it with `reactivation import {directory}`")
