"""The platform's days: as-of instants, bounds, and which day is live."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.settings import Settings

DAY = date(2026, 11, 22)
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def calendar(now: datetime, zone: str = "Europe/Moscow", cron: str = "0 10 * * *") -> Calendar:
    return Calendar(Settings(reactivation_timezone=zone, reactivation_cron=cron), SimulatedClock(now))


def test_a_day_is_seen_as_of_its_scheduled_time_in_the_platforms_zone() -> None:
    assert calendar(datetime(2026, 11, 22, 20, tzinfo=UTC)).as_of(DAY) == datetime(2026, 11, 22, 7, tzinfo=UTC)
    toronto = calendar(datetime(2026, 11, 22, 20, tzinfo=UTC), "America/Toronto", "30 9 * * *")
    assert toronto.as_of(DAY) == datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
    assert toronto.as_of(date(2026, 7, 1)) == datetime(2026, 7, 1, 13, 30, tzinfo=UTC)


def test_only_today_is_live_and_only_once_its_hour_has_come() -> None:
    before, at = datetime(2026, 11, 22, 6, 59, 59, tzinfo=UTC), datetime(2026, 11, 22, 7, tzinfo=UTC)
    with pytest.raises(ValueError, match="2026-11-22 has not begun"):
        calendar(before).is_live(DAY)
    assert calendar(at).is_live(DAY)
    assert not calendar(at).is_live(DAY - timedelta(days=1))
    with pytest.raises(ValueError, match="2026-11-23"):
        calendar(at).is_live(DAY + timedelta(days=1))


def test_the_day_turns_at_midnight_of_the_platforms_zone() -> None:
    assert calendar(datetime(2026, 11, 22, 20, 59, 59, tzinfo=UTC)).today() == DAY
    assert calendar(datetime(2026, 11, 22, 21, tzinfo=UTC)).today() == DAY + timedelta(days=1)


def test_an_outcome_is_looked_at_now_until_it_has_settled_and_then_always_at_the_same_instant() -> None:
    settled = datetime(2026, 12, 6, 7, tzinfo=UTC)
    for now, expected in (
        (datetime(2026, 11, 25, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)),
        (settled, settled),
        (datetime(2027, 3, 1, tzinfo=UTC), settled),
    ):
        assert calendar(now).evaluated_at(DAY, timedelta(days=14)) == expected


@given(st.sampled_from(ZONES), st.dates(date(2015, 1, 2), date(2030, 1, 1)))
def test_days_follow_each_other_without_gap_or_overlap_in_every_zone(zone: str, day: date) -> None:
    days = calendar(datetime(2031, 1, 1, tzinfo=UTC), zone)
    start, end = days.bounds(day)
    assert end == days.bounds(day + timedelta(days=1))[0]
    if start == end:  # Samoa skipped a whole day
        return
    assert days.day_of(start) == days.day_of(end - timedelta(microseconds=1)) == day
    assert days.day_of(start - timedelta(microseconds=1)) < day
    assert start.astimezone(ZoneInfo(zone)).date() == day
