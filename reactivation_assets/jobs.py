"""Jobs and schedules: what runs together, and when.

What to add here: a job an operator would start by hand, a schedule that starts it. What to keep out: what reacts to events (sensors.py).
"""

from datetime import timedelta

import dagster as dg

from reactivation_core.attribution import SETTLE_DAYS
from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SystemClock
from reactivation_resources.settings import Settings

DAY = [
    "inactive_clients",
    "campaign_plan",
    "preference_profiles",
    "ranked_slots",
    "generated_messages",
    "sent_campaigns",
]
INTERVALS = ["visit_gaps", "service_intervals"]
FEEDBACK = ["client_responses", "conversions", "conversion_metrics"]
MIRROR = ["companies", "services", "staff", "clients", "visits"]

daily_campaigns = dg.define_asset_job(
    "daily_campaigns",
    selection=dg.AssetSelection.assets(*DAY),
    description="The campaign day: from overdue clients to the first sends. A past day is analysis only.",
)
send_due = dg.define_asset_job(
    "send_due",
    selection=dg.AssetSelection.assets("sent_campaigns"),
    description="Sends what is due now.",
)
read_replies = dg.define_asset_job(
    "read_replies",
    selection=dg.AssetSelection.assets("client_responses"),
    description="Classifies and applies the replies that wait in the inbox.",
)
measure = dg.define_asset_job(
    "measure",
    selection=dg.AssetSelection.assets("sent_campaigns", *FEEDBACK),
    description="What became of the campaigns of recent days.",
)
mirror_crm = dg.define_asset_job(
    "mirror_crm",
    selection=dg.AssetSelection.assets(*MIRROR),
    description="Brings the mirror up to date with the CRM.",
)
refresh_hinted = dg.define_asset_job(
    "refresh_hinted",
    selection=dg.AssetSelection.assets(*MIRROR),
    description="Brings the mirror up to date for the companies whose changes the CRM has told of.",
)
learn_intervals = dg.define_asset_job(
    "learn_intervals",
    selection=dg.AssetSelection.assets(*INTERVALS),
    description="How often people come: the running month's intervals go to the rules, another month is analysis only.",
)

watch_accounts = dg.define_asset_job(
    "watch_accounts",
    selection=dg.AssetSelection.assets("account_health"),
    description="Asks about the sending numbers, recounts their health, tells people what they must see.",
)


def measured_range(calendar: Calendar) -> tuple[str, str]:
    """First and last day whose campaigns have not settled."""
    today = calendar.today()
    return (today - timedelta(days=SETTLE_DAYS + 1)).isoformat(), today.isoformat()


def schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The daily run at `REACTIVATION_CRON`, the hourly mirror, the measuring every evening, the look at the numbers; none of them when the platform is off."""
    zone = settings.reactivation_timezone
    status = dg.DefaultScheduleStatus.RUNNING if settings.reactivation_enabled else dg.DefaultScheduleStatus.STOPPED

    @dg.schedule(
        job=daily_campaigns, cron_schedule=settings.reactivation_cron, execution_timezone=zone, default_status=status
    )
    def daily_campaigns_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Plans and starts the campaign day of every salon."""
        day = Calendar(settings, SystemClock()).day_of(context.scheduled_execution_time).isoformat()
        return dg.RunRequest(run_key=day, partition_key=day)

    @dg.schedule(job=mirror_crm, cron_schedule="45 * * * *", execution_timezone=zone, default_status=status)
    def mirror_crm_schedule(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Reads what has changed in the CRM, a quarter of an hour before the full hour."""
        return dg.RunRequest()

    @dg.schedule(job=measure, cron_schedule="30 21 * * *", execution_timezone=zone, default_status=status)
    def measure_schedule(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Measures the days that have not settled yet, in one run."""
        first, last = measured_range(Calendar(settings, SystemClock()))
        return dg.RunRequest(
            tags={"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        )

    @dg.schedule(job=watch_accounts, cron_schedule="*/15 * * * *", execution_timezone=zone, default_status=status)
    def watch_accounts_schedule(_: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Looks after the sending numbers four times an hour."""
        return dg.RunRequest()

    @dg.schedule(
        job=learn_intervals, cron_schedule=_hour_before(settings), execution_timezone=zone, default_status=status
    )
    def learn_intervals_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        """Gives the rules the intervals of the month that begins, an hour before the day's campaigns use them."""
        month = Calendar(settings, SystemClock()).day_of(context.scheduled_execution_time).replace(day=1).isoformat()
        return dg.RunRequest(run_key=month, partition_key=month)

    return [
        daily_campaigns_schedule,
        learn_intervals_schedule,
        mirror_crm_schedule,
        measure_schedule,
        watch_accounts_schedule,
    ]


def _hour_before(settings: Settings) -> str:
    """On the first of every month, an hour before the daily run, but not the day before."""
    hour, minute = settings.scheduled_time
    return f"{minute} {hour - 1} 1 * *" if hour else "0 0 1 * *"
