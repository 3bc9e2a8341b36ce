"""When messages may go out: local hours, weekdays, holidays, both changes of the clock."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.sending_window import SendingWindow

MOSCOW = SendingWindow(ZoneInfo("Europe/Moscow"), country="RU")
TORONTO = ZoneInfo("America/Toronto")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


windows = st.builds(
    SendingWindow,
    zone=st.sampled_from(["Europe/Moscow", "America/Toronto", "Asia/Kamchatka", "Australia/Lord_Howe", "UTC"]).map(
        ZoneInfo
    ),
    hour_from=st.integers(0, 24),
    hour_to=st.integers(0, 24),
    days=st.frozensets(st.integers(1, 7)),
    country=st.sampled_from([None, "RU", "CA", "ZZ"]),
)
instants = st.integers(0, 2 * 365 * 86_400).map(lambda seconds: utc(2026, 1, 1) + timedelta(seconds=seconds))


def test_a_monday_in_moscow_is_open_from_ten_to_nineteen_local():
    assert MOSCOW.opening(date(2026, 11, 23)) == (utc(2026, 11, 23, 7), utc(2026, 11, 23, 16))
    assert not MOSCOW.is_open(utc(2026, 11, 23, 6, 59, 59))
    assert MOSCOW.is_open(utc(2026, 11, 23, 7))
    assert not MOSCOW.is_open(utc(2026, 11, 23, 16))


def test_a_friday_evening_waits_for_monday():
    assert MOSCOW.next_open(utc(2026, 11, 20, 16)) == utc(2026, 11, 23, 7)


def test_public_holidays_are_closed():
    assert MOSCOW.closes_at(date(2027, 1, 1)) is None
    assert MOSCOW.next_open(utc(2026, 12, 31, 17)) == utc(2027, 1, 11, 7)


def test_a_country_without_a_calendar_has_no_holidays():
    assert SendingWindow(TORONTO, country="ZZ").closes_at(date(2027, 1, 1)) == utc(2027, 1, 2)


def test_clocks_going_forward_shorten_the_night_and_not_the_window():
    window = SendingWindow(TORONTO, 0, 24, frozenset({7}))
    assert window.open_intervals(utc(2026, 3, 8), utc(2026, 3, 10)) == [(utc(2026, 3, 8, 5), utc(2026, 3, 9, 4))]
    skipped_hour = SendingWindow(TORONTO, 2, 3, frozenset({7}))
    assert skipped_hour.opening(date(2026, 3, 8)) is None


def test_clocks_going_back_lengthen_the_day():
    window = SendingWindow(TORONTO, 0, 24, frozenset({7}))
    opens, closes = window.opening(date(2026, 11, 1))
    assert closes - opens == timedelta(hours=25)


def test_the_intersection_is_what_both_allow():
    both = SendingWindow(TORONTO, 9, 18, frozenset({1, 2, 6})) & SendingWindow(
        TORONTO, 10, 20, frozenset({2, 6, 7}), "CA"
    )
    assert both == SendingWindow(TORONTO, 10, 18, frozenset({2, 6}), "CA")


def test_a_window_without_hours_never_opens():
    assert SendingWindow(TORONTO, 12, 12).next_open(utc(2026, 1, 1)) is None


@pytest.mark.parametrize(("hours", "days"), [((10, 25), {1}), ((-1, 9), {1}), ((10, 19), {0}), ((10, 19), {8})])
def test_hours_and_days_that_do_not_exist_are_refused(hours, days):
    with pytest.raises(ValueError, match=r"^(hours|days):"):
        SendingWindow(TORONTO, *hours, frozenset(days))


@given(windows, instants, st.integers(0, 80))
def test_every_open_interval_lies_in_local_hours_and_days(window, start, hours):
    end = start + timedelta(hours=hours)
    for opens, closes in window.open_intervals(start, end):
        assert start <= opens < closes <= end
        for instant in (opens, opens + (closes - opens) / 2, closes - timedelta(microseconds=1)):
            local = instant.astimezone(window.zone)
            assert window.is_open(instant)
            assert local.isoweekday() in window.days
            assert window.hour_from <= local.hour < window.hour_to


@given(windows, instants)
def test_the_next_opening_is_open_and_nothing_before_it_is(window, instant):
    opening = window.next_open(instant)
    if opening is None:
        assert not window.is_open(instant)
        return
    assert opening >= instant
    assert window.is_open(opening)
    if opening > instant:
        assert not any(window.is_open(instant + (opening - instant) * share / 7) for share in range(7))
