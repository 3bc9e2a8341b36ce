"""Runs Dagster jobs in this process, on the same instance that the UI shows.

What to add here: how a job is started. What to keep out: what a command does with the result.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import Platform

if TYPE_CHECKING:
    import dagster as dg

STEP_STARTED, STEP_DONE = "STEP_START", ("STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED")
Progress = Callable[[str, str], None]
"""Told the name of a step and what happened to it: `STEP_START`, `STEP_SUCCESS`, `STEP_FAILURE`, `STEP_SKIPPED`."""


class JobFailedError(RuntimeError):
    """A job did not succeed; the message names the steps and their errors."""


def dagster_environment(platform: Platform) -> dict[str, str]:
    """The variables with which a Dagster process uses this platform's servers and home."""
    home = platform.settings.home
    return {
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_EVENT_BATCH_SIZE": "100",  # events of a backfill are written a hundred at a time
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DATABASE_URL": platform.urls.database_url,
        "REDIS_URL": platform.urls.redis_url,
        "REACTIVATION_HOME": str(home),
    }


def prepare_home(platform: Platform) -> Path:
    """Bring the schema up to date and put `dagster.yaml` into the home. Returns Dagster's home."""
    migrate(platform.urls.database_url)
    folder = platform.settings.home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    package = Path(__file__).resolve().parent
    shipped = next(path for path in (package.parent / "dagster.yaml", package / "dagster.yaml") if path.is_file())
    shutil.copyfile(shipped, folder / "dagster.yaml")
    return folder


class Launcher:
    """Starts jobs of the code location with an open platform. Made by `open_launcher`."""

    def __init__(
        self, platform: Platform, instance: "dg.DagsterInstance", defs: "dg.Definitions", listener: "_StepListener"
    ) -> None:
        self.platform = platform
        self._listener = listener
        self._instance = instance
        self._defs = defs

    def run(
        self,
        job: str,
        *,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
        progress: Progress | None = None,
    ) -> "dg.ExecuteInProcessResult":
        """Run `job` (for a partition, or for a range given by Dagster's range tags) and wait for its end.

        Raises JobFailedError naming what failed.
        """
        self._listener.progress = progress
        result = self._defs.resolve_job_def(job).execute_in_process(
            instance=self._instance,
            partition_key=partition,
            tags=dict(tags or {}),
            raise_on_error=False,
            run_config={"loggers": {"console": {}}},
        )
        if not result.success:
            raise JobFailedError(f"job {job} {partition or ''} failed: {_failures(result)}")
        return result

    def run_days(
        self, job: str, first: str, last: str, progress: Progress | None = None
    ) -> "dg.ExecuteInProcessResult":
        """Run `job` for the days from `first` to `last` in one run."""
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return self.run(job, tags=tags, progress=progress)


@contextmanager
def open_launcher(platform: Platform) -> Iterator[Launcher]:
    """Have the instance and the definitions at hand, with `platform` as their outside world."""
    folder = prepare_home(platform)
    os.environ.update(dagster_environment(platform))
    import dagster as dg

    from reactivation_assets.build import build_defs

    listener = _StepListener()
    defs = dg.Definitions.merge(
        build_defs(resources={"platform": dg.ResourceDefinition.hardcoded_resource(platform)}),
        dg.Definitions(loggers={"console": listener.as_logger()}),
    )
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        # Dagster opens a connection an event; a short-lived process may keep a few, as the webserver does
        instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3600, max_overflow=5)
        yield Launcher(platform, instance, defs, listener)


class _StepListener(logging.Handler):
    """Hears of steps from the log of the run under way, and keeps that log from the terminal."""

    progress: Progress | None = None

    def emit(self, record: logging.LogRecord) -> None:
        event: Any = getattr(record, "dagster_event", None)
        if self.progress is not None and event is not None and event.step_key:
            kind = event.event_type_value
            if kind == STEP_STARTED or kind in STEP_DONE:
                self.progress(event.step_key, kind)

    def as_logger(self) -> "dg.LoggerDefinition":
        """The logger of all runs in this process, in place of Dagster's own."""
        import dagster as dg

        @dg.logger({}, "tells the launcher about steps")
        def steps(_: "dg.InitLoggerContext") -> logging.Logger:
            logger = logging.getLogger("reactivation.steps")
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
            logger.handlers = [self]
            return logger

        return steps


def _failures(result: "dg.ExecuteInProcessResult") -> str:
    words = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error if error is not None else None
            words.append(f"{event.step_key}: {cause.message.strip() if cause else 'no reason given'}")
    checks = [
        f"{evaluation.asset_key.to_user_string()}: check {evaluation.check_name} failed {dict(evaluation.metadata)}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.blocking
    ]
    return "; ".join(words + checks) or "no step was run"
