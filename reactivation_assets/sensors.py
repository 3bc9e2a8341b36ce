"""Sensors: ask for a run when there is work, and only then.

What to add here: a pure look at what waits, and a thin sensor over it. What to keep out: the work. The database's unique keys make work
idempotent; a run key is the second line only.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy import text

from reactivation_assets.daily.sent_campaigns import SHARD_TAG, STAY_TAG
from reactivation_assets.jobs import read_replies, refresh_hinted, send_due, watch_accounts
from reactivation_assets.resources import PlatformParam
from reactivation_resources.alerts import untold
from reactivation_resources.crm_hints import waiting_hints
from reactivation_resources.database.engine import Database
from reactivation_resources.platform import Platform
from reactivation_resources.sending_checks import NO_CAPS, Caps, standings
from reactivation_resources.settings import Settings

_IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


STAY_S = 240
"""How long a sending run stays to send what comes due, in seconds: starting one costs some seconds too."""
# A process that was killed leaves its run as under way; no run takes this long, and two at once do no harm.
_LONGEST_RUN = timedelta(minutes=15)

_OF_SHARD = "company_id % :shards = :shard"
_DUE = f"""
SELECT account_id, count(*) AS campaigns, min(send_after) AS oldest FROM reactivation_campaigns
WHERE status IN ('planned', 'claimed') AND send_after <= :now AND expires_at > :now AND message_text IS NOT NULL
  AND (lease_until IS NULL OR lease_until <= :now) AND account_id IS NOT NULL AND {_OF_SHARD}
GROUP BY account_id ORDER BY account_id
"""  # noqa: S608 - our own words
_LEFT_OVER = f"""
SELECT count(*), min(send_after) FROM reactivation_campaigns
WHERE ((status = 'planned' AND expires_at <= :now) OR (status IN ('claimed', 'sending') AND lease_until <= :now)) AND {_OF_SHARD}
"""  # noqa: S608 - our own words
_LAST_MOVE = "SELECT coalesce(max(event_id), 0) FROM campaign_events"


def due_sends(
    database: Database,
    now: datetime,
    *,
    shard: tuple[int, int] = (0, 1),
    caps: Caps = NO_CAPS,
) -> tuple[int, datetime | None]:
    """How many campaigns of a shard (number, of how many) a sending run could move now, and when the oldest of them was due.

    What an account may not send now (limits, window, pause) is not due: a run could do nothing, and would be asked for again and again.
    """
    number, of = shard
    parameters = {"now": now, "shard": number, "shards": of}
    with database.begin() as connection:
        count, oldest = connection.execute(text(_LEFT_OVER), parameters).one()
        due = connection.execute(text(_DUE), parameters).all()
        found = standings(connection, [account.account_id for account in due], now, caps=caps)
    for account in due:
        if found[account.account_id].room:
            count += account.campaigns
            oldest = account.oldest if oldest is None else min(oldest, account.oldest)
    return int(count), oldest


def _run_key(database: Database, shard: tuple[int, int], now: datetime) -> str:
    """The same while nothing has moved, so that one state of the outbox is one run; for five minutes, in case that run came to nothing."""
    with database.begin() as connection:
        last_move = connection.execute(text(_LAST_MOVE)).scalar_one()
    return f"{shard[0]}/{shard[1]} {last_move} {now:%Y-%m-%dT%H}:{now.minute // 5 * 5:02}"


def waiting_replies(database: Database) -> tuple[int, int] | None:
    """The first and last inbox id of replies that wait, None when none does."""
    query = text("SELECT min(inbox_id), max(inbox_id) FROM inbox WHERE kind = 'message' AND processed_at IS NULL")
    with database.begin() as connection:
        first, last = connection.execute(query).one()
    return None if first is None else (int(first), int(last))


def sensors(settings: Settings) -> list[dg.SensorDefinition]:
    """The sensors for due sends, waiting replies, hints of the CRM and alerts; stopped when the platform is off."""
    status = dg.DefaultSensorStatus.RUNNING if settings.reactivation_enabled else dg.DefaultSensorStatus.STOPPED

    @dg.sensor(job=send_due, minimum_interval_seconds=30, default_status=status)
    def due_sends_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a sending run, one a shard at a time, when a planned message has come due."""
        yield from _sending_runs(context, platform)

    @dg.sensor(job=read_replies, minimum_interval_seconds=15, default_status=status)
    def replies_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a run when clients have written; the run is keyed by the range of inbox ids, and by the hour for when it fails."""
        waiting, now = waiting_replies(platform.database), platform.clock.now()
        if waiting is None:
            yield dg.SkipReason("no reply waits")
        elif _in_flight(context, read_replies.name, now):
            yield dg.SkipReason("replies are being read")
        else:
            context.update_cursor(str(waiting[1]))
            yield dg.RunRequest(
                run_key=f"{waiting[0]}-{waiting[1]} {now:%Y-%m-%dT%H}",
                partition_key=platform.calendar.today().isoformat(),
            )

    @dg.sensor(job=refresh_hinted, minimum_interval_seconds=15, default_status=status)
    def crm_hints_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a run when the CRM has told that something has changed. All that was told of a company is one reading of it."""
        now = platform.clock.now()
        companies = waiting_hints(platform.database, now) if platform.crm.configured else []
        if not companies:
            yield dg.SkipReason("no hint waits")
        elif _in_flight(context, refresh_hinted.name, now):
            yield dg.SkipReason("what the CRM told of is being read")
        else:
            yield dg.RunRequest(run_config={"ops": {"crm_mirror": {"config": {"companies": companies}}}})

    @dg.sensor(job=watch_accounts, minimum_interval_seconds=60, default_status=status)
    def alerts_sensor(
        context: dg.SensorEvaluationContext, platform: PlatformParam
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Asks for a look at the numbers, which tells people of alerts, when some wait. Without Telegram they are rows only."""
        now = platform.clock.now()
        if platform.telegram is None or not untold(platform.database, now):
            yield dg.SkipReason("no alert waits to be told")
        elif _in_flight(context, watch_accounts.name, now):
            yield dg.SkipReason("the numbers are being looked at")
        else:
            yield dg.RunRequest()

    return [due_sends_sensor, replies_sensor, crm_hints_sensor, alerts_sensor]


def _sending_runs(context: dg.SensorEvaluationContext, platform: Platform) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """A sending run for every shard that has something due and none under way."""
    now, of = platform.clock.now(), platform.settings.reactivation_shards
    asked = waiting = 0
    for number in range(of):
        shard = (number, of)
        count, _ = due_sends(platform.database, now, shard=shard, caps=platform.caps)
        tags = {SHARD_TAG: f"{number}/{of}"} if of > 1 else {}
        if count and _in_flight(context, send_due.name, now, tags):
            waiting += 1
        elif count:
            asked += 1
            yield dg.RunRequest(
                run_key=_run_key(platform.database, shard, now),
                partition_key=platform.calendar.today().isoformat(),
                tags={**tags, STAY_TAG: str(STAY_S)},
            )
    if not asked:
        yield dg.SkipReason("a sending run is under way" if waiting else "nothing is due")


def _in_flight(
    context: dg.SensorEvaluationContext, job: str, now: datetime, tags: dict[str, str] | None = None
) -> bool:
    """Whether a run of `job` has been asked for and has not ended: runs that overlap would only wait for each other."""
    asked_for = dg.RunsFilter(job_name=job, statuses=_IN_FLIGHT, tags=tags or {}, created_after=now - _LONGEST_RUN)
    return bool(context.instance.get_run_records(asked_for, limit=1))
