import random
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import mean, median, pstdev
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.contracts import PREFERENCE_PROFILES, validate
from reactivation_core.preferences import preference_profiles
from tests.core.books import Row, frame, utc

AS_OF = utc(2026, 11, 20, 7)
MONDAY = utc(2026, 6, 1, 7)  # 10:00 in Moscow
STAFF = [{"staff_id": number} for number in (1, 2, 3, 4)]


def visit(
    week: int, *, weekday: int = 1, hour: int = 10, staff: int | None = 1, service: int | None = 1, client: int = 5
) -> Row:
    """A line at a Moscow hour; week 0 starts on 2026-06-01."""
    at = MONDAY + timedelta(weeks=week, days=weekday - 1, hours=hour - 10)
    return {"client_id": client, "starts_at": at, "staff_id": staff, "service_id": service}


def profiles(
    records: list[Row], *, staff: list[Row] = STAFF, due: list[tuple[int, int, int]] | None = None, **more: Any
) -> pl.DataFrame:
    wanted = pl.DataFrame(
        due or [(1, 5, 1)],
        schema=["company_id", "client_id", "service_id"],
        orient="row",
        schema_overrides=dict.fromkeys(["company_id", "client_id", "service_id"], pl.Int64),
    )
    companies = more.pop("companies", [{}])
    return validate(
        PREFERENCE_PROFILES,
        preference_profiles(
            companies=frame("companies", companies).lazy(), staff=frame("staff", staff).lazy(), records=frame("records", records).lazy(),
            due=wanted, as_of=AS_OF, **more,
        ),
    )  # fmt: skip


def profile(records: list[Row], **more: Any) -> Row:
    return profiles(records, **more).row(0, named=True)


def said(kind: str, value: object, week: float = 30) -> pl.DataFrame:
    at = min(MONDAY + timedelta(weeks=week), AS_OF)
    return pl.DataFrame({"company_id": [1], "client_id": [5], "kind": [kind], "value": [str(value)], "at": [at]}).cast(
        {"at": pl.Datetime("us", "UTC")}
    )


def test_a_client_without_visits_has_no_preferences():
    row = profile([])
    assert (
        row["visits"],
        row["confidence"],
        row["time_of_day"],
        row["weekdays"],
        row["staff_id"],
        row["regularity"],
    ) == (0, 0.0, None, [], None, None)


def test_a_steady_client_by_hand():
    row = profile([visit(week, hour=18, staff=2) for week in (0, 4, 8, 12)])
    assert (row["visits"], row["confidence"], row["time_of_day"], row["time_confidence"]) == (4, 0.5, "evening", 1.0)
    assert (row["weekdays"], row["weekday_confidence"]) == ([1], 1.0)
    assert (row["staff_id"], row["staff_share"], row["staff_visits"], row["assert_staff"]) == (2, 1.0, 4, True)
    assert (row["gap_mean"], row["gap_median"], row["gap_std"], row["regularity"], row["regular"]) == (
        28.0,
        28.0,
        0.0,
        1.0,
        True,
    )


@pytest.mark.parametrize(
    ("hour", "period"), [(11.99, "morning"), (12, "afternoon"), (16.99, "afternoon"), (17, "evening")]
)
def test_parts_of_the_day_begin_at_noon_and_at_five(hour: float, period: str):
    assert profile([visit(0, hour=hour)])["time_of_day"] == period  # type: ignore[arg-type]


def test_a_part_of_the_day_must_exceed_two_fifths():
    hours = (10, 10, 13, 13, 18)
    row = profile([visit(week, hour=hour) for week, hour in enumerate(hours)])
    assert (row["time_of_day"], row["time_confidence"], row["share_morning"]) == (None, 0.0, 0.4)


def test_ties_go_to_the_more_recent():
    row = profile([visit(0, weekday=2, staff=1, hour=10), visit(1, weekday=4, staff=3, hour=18)])
    assert (row["weekdays"], row["staff_id"], row["staff_alternatives"], row["time_of_day"]) == (
        [4, 2],
        3,
        [1],
        "evening",
    )


def test_one_visit_may_hold_several_services_and_is_timed_by_its_first_line():
    row = profile([visit(0, hour=11, service=1), visit(0, hour=13, service=2, staff=2), visit(1, hour=11, service=1)])
    assert (row["visits"], row["services"], row["service_shares"], row["share_morning"]) == (2, [1, 2], [1.0, 0.5], 1.0)


def test_only_the_last_twenty_visits_count():
    row = profile([visit(-week, staff=2) for week in range(20)] + [visit(-week, staff=1) for week in range(20, 60)])
    assert (row["visits"], row["confidence"], row["staff_visits"], row["staff_id"], row["staff_alternatives"]) == (
        20,
        0.9,
        20,
        2,
        [],
    )


def test_staff_who_left_or_do_not_do_the_service_are_no_favourites():
    records = [visit(week, staff=1) for week in range(4)] + [visit(4, staff=2), visit(5, staff=3)]
    row = profile(
        records,
        staff=[
            {"staff_id": 1, "active": False},
            {"staff_id": 2, "service_ids": [7]},
            {"staff_id": 3, "service_ids": [1, 7]},
        ],
    )
    assert (row["staff_id"], row["staff_share"], row["staff_alternatives"], row["assert_staff"]) == (
        3,
        1 / 6,
        [],
        False,
    )


def test_a_favourite_may_be_named_from_three_visits_and_three_quarters():
    assert profile([visit(week, staff=1) for week in range(3)] + [visit(3, staff=2)])["assert_staff"] is True
    assert profile([visit(week, staff=1) for week in range(2)])["assert_staff"] is False
    assert (
        profile([visit(week, staff=1) for week in range(3)] + [visit(week, staff=2) for week in (3, 4)])["assert_staff"]
        is False
    )


def test_two_visits_have_a_gap_but_no_regularity():
    row = profile([visit(0), visit(3)])
    assert (row["gap_mean"], row["gap_std"], row["regularity"], row["regular"]) == (21.0, None, None, None)


def test_stated_preferences_override_history_with_full_confidence():
    records = [visit(week, hour=10, staff=1) for week in range(6)]
    stated = pl.concat([said("time_of_day", "evening"), said("staff", 4), said("weekday", 6), said("service", 9)])
    row = profile(records, stated=stated)
    assert (row["time_of_day"], row["time_confidence"], row["weekdays"], row["weekday_confidence"]) == (
        "evening",
        1.0,
        [6, 1],
        1.0,
    )
    assert (row["staff_id"], row["staff_share"], row["staff_visits"], row["staff_alternatives"]) == (4, 1.0, 0, [1])
    assert (row["services"], row["service_shares"], row["assert_staff"]) == ([9, 1], [0.0, 1.0], False)


def test_the_last_statement_of_a_kind_counts():
    stated = pl.concat([said("staff", 2, 9), said("staff", 3, 8)])
    assert profile([visit(0)], stated=stated)["staff_id"] == 2


@pytest.mark.parametrize(("contradictions", "staff"), [(1, 2), (2, 1)])
def test_two_visits_against_a_statement_end_it(contradictions: int, staff: int):
    later = [visit(10 + week, staff=1) for week in range(contradictions)] + [visit(20, staff=2)]
    assert profile([visit(week) for week in range(6)] + later, stated=said("staff", 2, 9))["staff_id"] == staff


def test_a_statement_about_someone_who_left_and_an_unreadable_one_are_ignored():
    gone = [{"staff_id": 1}, {"staff_id": 2, "active": False}]
    assert profile([visit(0)], staff=gone, stated=said("staff", 2))["staff_id"] == 1
    assert profile([visit(0)], stated=said("weekday", "soon"))["weekdays"] == [1]


# ------------------------------------------------------------------------------------------------ against plain loops


def naive(client: Row, records: list[Row], staff: list[Row], zone: ZoneInfo) -> Row:
    lines: dict[date, list[Row]] = defaultdict(list)
    for record in records:
        if record["client_id"] == client["client_id"] and record["company_id"] == client["company_id"]:
            lines[record["starts_at"].astimezone(zone).date()].append(record)
    days = sorted(lines)[-20:]

    def best(values_of: Any, allowed: Any = lambda _: True) -> list[tuple[Any, int]]:
        count: Counter[Any] = Counter()
        last: dict[Any, date] = {}
        for day in days:
            for value in values_of(day):
                if value is not None and allowed(value):
                    count[value] += 1
                    last[value] = day
        return sorted(count.items(), key=lambda item: (-item[1], -last[item[0]].toordinal(), item[0]))

    def period(day: date) -> list[str]:
        first = min(record["starts_at"] for record in lines[day]).astimezone(zone)
        return ["morning" if first.hour < 12 else "afternoon" if first.hour < 17 else "evening"]

    able = {
        row["staff_id"] for row in staff
        if row["company_id"] == client["company_id"] and row["active"]
        and (row["service_ids"] is None or client["service_id"] in row["service_ids"])
    }  # fmt: skip
    masters = best(lambda day: {record["staff_id"] for record in lines[day]}, able.__contains__)
    services = best(lambda day: {record["service_id"] for record in lines[day]})[:3]
    gaps = [(b - a).days for a, b in pairwise(days)]
    return {
        "visits": len(days),
        "period": (best(period) or [(None, 0)])[0],
        "weekdays": [value for value, _ in best(lambda day: [day.isoweekday()])[:3]],
        "staff": [value for value, _ in masters[:3]],
        "staff_visits": masters[0][1] if masters else 0,
        "services": services,
        "mean": mean(gaps) if gaps else None,
        "median": median(gaps) if gaps else None,
        "std": pstdev(gaps) if len(gaps) >= 2 else None,
    }


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), wide=st.booleans())
def test_random_histories_give_the_same_profiles_as_plain_loops(seed: int, wide: bool):
    dice = random.Random(seed)
    far = 2**50 if wide else 0  # ids too wide for packing
    zones = {1: "Europe/Moscow", 2: "Pacific/Auckland"}
    staff = [
        {"company_id": company, "staff_id": number + far, "active": dice.random() > 0.2, "service_ids": dice.choice([None, [1 + far], [2 + far, 3 + far]])}
        for company in zones for number in range(1, 5)
    ]  # fmt: skip
    records = [
        {"company_id": dice.choice([1, 2]), "client_id": dice.randrange(1, 5), "starts_at": utc(2024, 1, 1, 0) + timedelta(minutes=30 * dice.randrange(48 * 400)),
         "staff_id": dice.choice([None, *range(1 + far, 5 + far)]), "service_id": dice.choice([None, 1 + far, 2 + far, 3 + far])}
        for _ in range(dice.choice([10, 200]))
    ]  # fmt: skip
    due = [(company, client, dice.choice([1, 2, 3]) + far) for company in zones for client in range(1, 5)]
    found = profiles(
        records,
        staff=staff,
        due=due,
        companies=[{"company_id": company, "timezone": zone} for company, zone in zones.items()],
    )
    for row, (company, client, service) in zip(found.iter_rows(named=True), due, strict=True):
        wanted = naive(
            {"company_id": company, "client_id": client, "service_id": service},
            records,
            staff,
            ZoneInfo(zones[company]),
        )
        value, count = wanted["period"]
        share = count / wanted["visits"] if wanted["visits"] else 0
        assert row["visits"] == wanted["visits"]
        assert row["time_of_day"] == (value if share > 0.4 else None)
        assert row["time_confidence"] == (share if share > 0.4 else 0)
        assert row["weekdays"] == wanted["weekdays"]
        assert [number for number in (row["staff_id"], *row["staff_alternatives"]) if number is not None] == wanted[
            "staff"
        ]
        assert row["staff_visits"] == wanted["staff_visits"]
        assert row["services"] == [number for number, _ in wanted["services"]]
        assert row["service_shares"] == [count / wanted["visits"] for _, count in wanted["services"]]
        assert row["gap_median"] == wanted["median"]
        assert row["gap_mean"] == (pytest.approx(wanted["mean"]) if wanted["mean"] is not None else None)
        assert row["gap_std"] == (pytest.approx(wanted["std"]) if wanted["std"] is not None else None)


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match="as_of"):
        preference_profiles(
            companies=frame("companies", [{}]), staff=frame("staff", []), records=frame("records", []),
            due=pl.DataFrame(schema={"company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64}), as_of=datetime.fromisoformat("2026-01-01T00:00"),
        )  # fmt: skip
