"""Gathers what detection looks at: the mirror's snapshots and the campaign log up to an instant."""

from dataclasses import fields, replace
from datetime import date, datetime

import polars as pl

from reactivation_core.inactivity import InactivityInputs
from reactivation_resources.platform import Platform


def inactivity_inputs(platform: Platform, as_of: datetime) -> InactivityInputs:
    """The inputs of `detect_inactive` for any instant up to `as_of`; the rules themselves look no further than their own instant."""
    mirror, log = platform.mirror, platform.campaign_log
    return InactivityInputs(
        companies=mirror.snapshot("companies"),
        services=mirror.snapshot("services"),
        staff=mirror.snapshot("staff"),
        clients=mirror.snapshot("clients"),
        records=mirror.snapshot("records"),
        rules=mirror.snapshot("rules"),
        campaigns=log.history(as_of),
        suppressions=log.suppressions(),
        pauses=log.pauses(),
    )


def as_known_on(inputs: InactivityInputs, day: date) -> InactivityInputs:
    """`inputs` without the campaigns of `day` and later: a day's campaigns are the outcome of its detection and no part of it."""
    return replace(inputs, campaigns=inputs.campaigns.lazy().filter(pl.col("day") < day))


def read_once(inputs: InactivityInputs) -> InactivityInputs:
    """`inputs` held in memory: many days look at the same book, and reading it again for each would cost more than the days."""
    return InactivityInputs(**{field.name: getattr(inputs, field.name).lazy().collect() for field in fields(inputs)})
