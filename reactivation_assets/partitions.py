"""The backbone: one partition a day, cut in the platform's zone.

What to add here: how days are cut. What to keep out: companies and clients, which are columns and never partitions.
"""

import dagster as dg

from reactivation_resources.settings import Settings


def daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Days from `REACTIVATION_FIRST_DAY` on; the running day is one of them, for its run is in the morning, not at midnight."""
    return dg.DailyPartitionsDefinition(
        start_date=settings.reactivation_first_day.isoformat(), timezone=settings.reactivation_timezone, end_offset=1
    )


# Partitions are part of an asset's definition, so the one place that reads the configuration at load is here.
DAILY = daily_partitions(Settings.load())
