"""What all commands share at the terminal: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from reactivation_cli.launcher import STEP_STARTED

stderr = Console(stderr=True)


def fail(message: str) -> NoReturn:
    """End the command with an error that says what to do."""
    stderr.print(f"[red]error:[/red] {message}", highlight=False)
    sys.exit(1)


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def print_csv(frame: pl.DataFrame) -> None:
    """A frame as CSV on standard output; lists are joined by `|`."""
    lists = [
        pl.col(name).cast(pl.List(pl.String)).list.join("|")
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.List)
    ]
    sys.stdout.write(frame.with_columns(lists).write_csv())


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Progress]:
    """A progress display on standard error; still on a terminal that cannot move its cursor, silent when quiet."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, disable=quiet, transient=not stderr.is_terminal) as progress:
        yield progress


class StepProgress:
    """Shows a job's steps in a progress bar, one task a job."""

    def __init__(self, progress: Progress, title: str, steps: int) -> None:
        self._progress = progress
        self._title = title
        self._task = progress.add_task(title, total=steps)

    def __call__(self, step: str, kind: str) -> None:
        """Hear that a step began or ended."""
        if kind == STEP_STARTED:
            self._progress.update(self._task, description=f"{self._title}: {step}")
        else:
            self._progress.advance(self._task)

    def close(self) -> None:
        """Take the bar away: the job has ended."""
        self._progress.remove_task(self._task)
