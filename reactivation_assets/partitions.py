"""The backbone: one partition a day, cut in the platform's zone; and one a month for what changes slowly.

What to add here: how days are cut. What to keep out: companies and clients, which are columns and never partitions.
"""

from datetime import date

import dagster as dg

from reactivation_resources.settings import Settings

Partitions = dg.DailyPartitionsDefinition | dg.MonthlyPartitionsDefinition


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Days from `REACTIVATION_FIRST_DAY` on; the running day is one of them, for its run is in the morning, not at midnight."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.reactivation_first_day.isoformat(), timezone=settings.reactivation_timezone, end_offset=1
    )


def monthly_partitions(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Months by their first day, from that of `REACTIVATION_FIRST_DAY` on; the running month is one of them."""
    return dg.MonthlyPartitionsDefinition(
        start_date=settings.reactivation_first_day.replace(day=1).isoformat(),
        timezone=settings.reactivation_timezone,
        end_offset=1,
    )


def days_before(partitions: Partitions, day: date, at_most: int) -> list[date]:
    """The days that name the last partitions before that of `day`, the latest first."""
    found: list[date] = []
    start = partitions.time_window_for_partition_key(day.isoformat()).start
    while len(found) < at_most and (window := partitions.get_prev_partition_window(start)) is not None:
        start = window.start
        found.append(start.date())
    return found


# Partitions are part of an asset's definition, so the one place that reads the configuration at load is here.
_settings = Settings.load()
DAILY = daily_partitions(_settings)
MONTHLY = monthly_partitions(_settings)
