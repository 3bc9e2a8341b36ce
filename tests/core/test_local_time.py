from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.local_time import (
    INSTANT,
    local_date,
    local_to_instant,
    microseconds,
    parse_zone,
    require_aware,
    with_local,
    zone_shifts,
)  # fmt: skip
from tests.core.books import utc

ZONES = (
    "Europe/Moscow",
    "America/Toronto",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kolkata",
    "America/Havana",
)
instants = st.datetimes(
    datetime.fromisoformat("2009-01-01T00:00"), datetime.fromisoformat("2036-12-31T00:00"), timezones=st.just(UTC)
)


def test_an_unknown_zone_is_refused_by_field_and_value():
    with pytest.raises(ValueError, match=r"company\.timezone: 'Mars/Base' is not an IANA time zone"):
        parse_zone("Mars/Base", "company.timezone")
    for name in ("", "../etc/passwd", "europe\0"):
        with pytest.raises(ValueError, match="timezone"):
            parse_zone(name)


def test_a_naive_instant_is_refused_by_name():
    with pytest.raises(ValueError, match="as_of: 2026-11-22T10:00:00 has no time zone"):
        require_aware(datetime.fromisoformat("2026-11-22T10:00"), "as_of")
    with pytest.raises(ValueError, match="already has a time zone"):
        local_to_instant(utc(2026, 1, 1), "UTC")


def test_an_evening_in_utc_is_the_next_day_in_kamchatka():
    assert local_date(utc(2026, 11, 22, 13), "Asia/Kamchatka") == date(2026, 11, 23)


def test_an_hour_shown_twice_means_the_first_one():
    assert local_to_instant(datetime.fromisoformat("2018-11-04T01:30"), "America/Toronto") == utc(2018, 11, 4, 5, 30)


def test_a_time_the_clocks_skip_moves_forward():
    assert local_to_instant(datetime.fromisoformat("2018-03-11T02:30"), "America/Toronto") == utc(
        2018, 3, 11, 7, 30
    )  # shown as 03:30


@given(st.lists(st.tuples(st.integers(0, len(ZONES) - 1), st.none() | instants), max_size=40))
def test_whole_frames_tell_the_same_time_as_single_instants(rows: list[tuple[int, datetime | None]]):
    frame = pl.DataFrame(rows, schema={"company_id": pl.Int64, "at": INSTANT}, orient="row")
    told = with_local(frame.lazy(), dict(enumerate(ZONES)), "at").collect()
    assert told.select("company_id", "at").equals(frame)
    expected = [None if at is None else at.astimezone(ZoneInfo(ZONES[number])) for number, at in rows]
    assert told["local_day"].to_list() == [at and at.date() for at in expected]
    assert told["local_minute"].to_list() == [at and at.hour * 60 + at.minute for at in expected]
    assert told["local_weekday"].to_list() == [at and at.isoweekday() for at in expected]
    assert told.schema["local_minute"] == pl.Int16


@given(zone=st.sampled_from(ZONES), at=instants, days=st.integers(0, 900))
def test_a_span_knows_every_change_inside_it(zone: str, at: datetime, days: int):
    until = at + timedelta(days=days)
    row = zone_shifts({1: zone}, at, until).row(0, named=True)
    moved = row["offset_0"] + sum(row[name.replace("shift", "step")] for name in row if name.startswith("shift_"))
    assert moved == until.astimezone(ZoneInfo(zone)).utcoffset() // timedelta(microseconds=1)


def test_companies_without_a_zone_get_nulls_and_naive_columns_are_refused():
    frame = pl.LazyFrame({"company_id": [1, 2], "at": [utc(2026, 1, 1)] * 2}, schema_overrides={"at": INSTANT})
    zones = pl.DataFrame({"company_id": [1], "timezone": ["Europe/Moscow"]})
    assert with_local(frame, zones, "at").collect()["local_day"].to_list() == [date(2026, 1, 1), None]
    with pytest.raises(ValueError, match=r"at: .* is not an instant in UTC"):
        with_local(frame.with_columns(pl.col("at").dt.replace_time_zone(None)), zones, "at")


def test_microseconds_count_from_1970():
    assert microseconds(datetime(1970, 1, 1, 3, tzinfo=ZoneInfo("Europe/Moscow")) + timedelta(microseconds=7)) == 7
