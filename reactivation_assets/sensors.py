"""Sensors: ask for a run when there is work, and only then.

What to add here: a pure look at what waits, and a thin sensor over it. What to keep out: the work. The database's unique keys make work
idempotent; a run key is the second line only.
"""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg
from sqlalchemy import text

from reactivation_assets.jobs import read_replies, send_due
from reactivation_assets.resources import PlatformParam
from reactivation_resources.database.engine import Database
from reactivation_resources.settings import Settings

_IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def due_sends(database: Database, now: datetime) -> tuple[int, datetime | None]:
    """How many campaigns are due at `now`, and the send time of the oldest."""
    query = text(
        "SELECT count(*), min(send_after) FROM reactivation_campaigns"
        " WHERE status IN ('planned', 'claimed') AND send_after <= :now AND message_text IS NOT NULL"
    )
    with database.begin() as connection:
        count, oldest = connection.execute(query, {"now": now}).one()
    return int(count), oldest


def waiting_replies(database: Database) -> tuple[int, int] | None:
    """The first and last inbox id of replies that wait, None when none does."""
    query = text("SELECT min(inbox_id), max(inbox_id) FROM inbox WHERE kind = 'message' AND processed_at IS NULL")
    with database.begin() as connection:
        first, last = connection.execute(query).one()
    return None if first is None else (int(first), int(last))


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors for due sends and waiting replies; stopped when the platform is off."""
    status = dg.DefaultSensorStatus.RUNNING if settings.reactivation_enabled else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(job=send_due, minimum_interval_seconds=30, default_status=status)
    def due_sends_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a sending run when a planned message has come due."""
        count, oldest = due_sends(platform.database, platform.clock.now())
        if not count or oldest is None:
            yield dg.SkipReason("nothing is due")
        elif _in_flight(context, send_due.name):
            yield dg.SkipReason("a sending run is under way")
        else:
            yield dg.RunRequest(partition_key=platform.calendar.today().isoformat())

    @dg.sensor(job=read_replies, minimum_interval_seconds=15, default_status=status)
    def replies_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a run when clients have written; the run is keyed by the range of inbox ids."""
        waiting = waiting_replies(platform.database)
        if waiting is None:
            yield dg.SkipReason("no reply waits")
        elif _in_flight(context, read_replies.name):
            yield dg.SkipReason("replies are being read")
        else:
            context.update_cursor(str(waiting[1]))
            yield dg.RunRequest(
                run_key=f"{waiting[0]}-{waiting[1]}", partition_key=platform.calendar.today().isoformat()
            )

    return [due_sends_sensor, replies_sensor]


def _in_flight(context: dg.SensorEvaluationContext, job: str) -> bool:
    """Whether a run of `job` has been asked for and has not ended: runs that overlap would only wait for each other."""
    return bool(context.instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_IN_FLIGHT), limit=1))
