"""The only place that wires things together. Production, the launcher and the tests call it with different overrides.

What to add here: nothing but a new asset's, schedule's or sensor's place in the lists. What to keep out: definitions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from reactivation_assets import jobs
from reactivation_assets import sensors as event_sensors
from reactivation_assets.daily.campaign_plan import campaign_plan
from reactivation_assets.daily.generated_messages import generated_messages
from reactivation_assets.daily.inactive_clients import inactive_clients
from reactivation_assets.daily.preference_profiles import preference_profiles
from reactivation_assets.daily.ranked_slots import ranked_slots
from reactivation_assets.daily.sent_campaigns import sent_campaigns
from reactivation_assets.feedback.account_health import account_health
from reactivation_assets.feedback.client_responses import client_responses
from reactivation_assets.feedback.conversion_metrics import conversion_metrics
from reactivation_assets.feedback.conversions import conversions
from reactivation_assets.intervals.service_intervals import service_intervals
from reactivation_assets.intervals.visit_gaps import visit_gaps
from reactivation_assets.mirror.crm_mirror import crm_mirror
from reactivation_assets.resources import platform_resource
from reactivation_resources.settings import Settings

ASSETS = (
    crm_mirror, inactive_clients, campaign_plan, preference_profiles, ranked_slots, generated_messages, sent_campaigns,
    client_responses, conversions, conversion_metrics, visit_gaps, service_intervals, account_health,
)  # fmt: skip
JOBS = (
    jobs.daily_campaigns,
    jobs.send_due,
    jobs.read_replies,
    jobs.measure,
    jobs.mirror_crm,
    jobs.refresh_hinted,
    jobs.learn_intervals,
    jobs.watch_accounts,
)


def build_defs(
    *,
    resources: Mapping[str, Any] | None = None,
    assets: Sequence[dg.AssetsDefinition] | None = None,
    checks: Sequence[dg.AssetChecksDefinition] | None = None,
    schedules: Sequence[dg.ScheduleDefinition] | None = None,
    sensors: Sequence[dg.SensorDefinition] | None = None,
) -> dg.Definitions:
    """The code location. Each argument replaces its default; loading opens no connection and needs no variable to be set."""
    settings = Settings.load()
    return dg.Definitions(
        assets=list(ASSETS if assets is None else assets),
        asset_checks=list(checks or ()),
        jobs=list(JOBS) if assets is None else None,
        schedules=jobs.schedules(settings) if schedules is None else list(schedules),
        sensors=event_sensors.sensors(settings) if sensors is None else list(sensors),
        resources={"platform": platform_resource} if resources is None else dict(resources),
        executor=dg.in_process_executor,  # a process a step costs six seconds each
    )
