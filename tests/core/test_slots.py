"""Free times: scored, filtered, shared; checked against a slow reading of the same rules."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from reactivation_core.slots import rank_slots

T = datetime(2026, 11, 23, 7, tzinfo=UTC)  # Monday 10:00 in Moscow
INSTANT = pl.Datetime("us", "UTC")
ANNA, OLGA, VERA = 11, 12, 13
HAIRCUT = 5
ZONES = {1: "Europe/Moscow", 2: "America/Toronto"}


def at(day, hour, minute=0, zone="Europe/Moscow"):
    return datetime(2026, 11, day, hour, minute, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def slot(starts_at, staff=ANNA, *, company=1, service=HAIRCUT, length=3600):
    return (company, service, staff, starts_at, length)


def profile(client, *, company=1, staff=None, share=0.0, period=None, sure=0.0, weekdays=(), weekdays_sure=0.0):
    return (company, client, staff, share, period, sure, list(weekdays), weekdays_sure)


def rank(clients, slots, profiles=(), *, max_slots=3, companies=None):
    """`clients`: (company, client) in priority order."""
    return rank_slots(
        pl.DataFrame(
            [(company, client, HAIRCUT, position) for position, (company, client) in enumerate(clients)],
            schema=dict.fromkeys(["company_id", "client_id", "service_id", "priority_rank"], pl.Int64),
            orient="row",
        ),
        pl.DataFrame(
            list(profiles),
            schema={
                "company_id": pl.Int64, "client_id": pl.Int64, "staff_id": pl.Int64, "staff_share": pl.Float64,
                "time_of_day": pl.String, "time_confidence": pl.Float64, "weekdays": pl.List(pl.Int8), "weekday_confidence": pl.Float64,
            },
            orient="row",
        ),
        pl.DataFrame(
            list(slots),
            schema={
                "company_id": pl.Int64, "service_id": pl.Int64, "staff_id": pl.Int64, "starts_at": INSTANT, "length_s": pl.Int64,
            },
            orient="row",
        ),
        pl.DataFrame({"company_id": [1, 2], "service_id": [HAIRCUT] * 2, "duration_s": [3600] * 2}),
        pl.DataFrame({"company_id": list(ZONES), "timezone": list(ZONES.values())}) if companies is None else companies,
        as_of=T,
        max_slots=max_slots,
    )  # fmt: skip


def test_the_score_adds_up_as_by_hand():
    """Anna in the evening of Thursday 26: 60*0.8 + 40*0.5 + 20*0.4 + 10 = 86; Olga on Friday morning: 15*0.4 = 6."""
    tastes = profile(1, staff=ANNA, share=0.8, period="evening", sure=0.5, weekdays=[4, 5], weekdays_sure=0.4)
    frame = rank([(1, 1)], [slot(at(26, 18)), slot(at(27, 11), OLGA)], [tastes])
    assert frame.select("rank", "staff_id", "starts_at", "local_day", "score", "match_reason").rows() == [
        (
            1,
            ANNA,
            at(26, 18),
            date(2026, 11, 26),
            86_000,
            "favourite staff, usual time of day (evening), usual weekday (Thursday), two or three days ahead",
        ),
        (2, OLGA, at(27, 11), date(2026, 11, 27), 6_000, "usual weekday (Friday)"),
    ]


def test_only_tomorrow_to_seven_days_ahead_counts_in_the_companys_own_days():
    inside = [at(24, 0), at(30, 23, 59)]
    outside = [at(23, 23, 59), at(30, 23, 59) + timedelta(minutes=1)]
    frame = rank([(1, 1)], [slot(start) for start in inside + outside])
    assert sorted(frame["starts_at"]) == inside


def test_a_slot_shorter_than_the_service_is_dropped():
    assert rank([(1, 1)], [slot(at(24, 12), length=3599)]).is_empty()


def test_without_preferences_the_offer_is_early_on_three_days_two_or_three_days_ahead_first():
    slots = [slot(at(day, hour), staff) for day in (24, 25, 26, 27) for hour in (12, 10) for staff in (OLGA, ANNA)]
    frame = rank([(1, 1)], slots)
    assert frame.select("starts_at", "staff_id", "spare").rows() == [
        (at(25, 10), ANNA, False),
        (at(26, 10), ANNA, False),
        (at(24, 10), ANNA, False),
        (at(27, 10), ANNA, True),
        (at(25, 10), OLGA, True),
    ]
    assert frame["match_reason"].to_list()[2] == "next free time"


def test_days_repeat_only_when_no_other_day_is_left():
    frame = rank([(1, 1)], [slot(at(25, hour)) for hour in (10, 11, 12)] + [slot(at(28, 10))])
    assert frame["starts_at"].to_list() == [at(25, 10), at(28, 10), at(25, 11), at(25, 12)]
    assert frame["spare"].to_list() == [False, False, False, True]


@pytest.mark.parametrize(
    ("free", "offered"),
    [
        ([at(24, 9), at(24, 18), at(25, 18)], [at(24, 18)]),  # Tuesday evening: both wishes
        ([at(24, 9), at(25, 18)], [at(25, 18)]),  # no Tuesday evening: the weekday is given up first
        ([at(24, 9), at(25, 9)], [at(24, 9), at(25, 9)]),  # no evening at all
    ],
)
def test_confident_wishes_filter_and_are_given_up_weekday_first(free, offered):
    tastes = profile(1, period="evening", sure=0.7, weekdays=[2], weekdays_sure=0.6)
    assert sorted(rank([(1, 1)], [slot(start) for start in free], [tastes])["starts_at"]) == offered


def test_a_third_client_gets_the_next_slot():
    frame = rank([(1, 7), (1, 3), (1, 5)], [slot(at(25, 10)), slot(at(25, 11))], max_slots=1)
    first = frame.filter(~pl.col("spare")).select("client_id", "starts_at").rows()
    assert first == [(3, at(25, 10)), (5, at(25, 11)), (7, at(25, 10))]


def test_everyone_has_an_offer_before_anyone_has_a_spare():
    frame = rank([(1, 1), (1, 2), (1, 3), (1, 4)], [slot(at(25, 10)), slot(at(25, 11))], max_slots=1)
    assert frame.filter(~pl.col("spare")).height == 4
    assert frame.filter("spare").is_empty()


def test_a_salon_may_offer_fewer_slots():
    companies = pl.DataFrame({"company_id": [1], "timezone": ["Europe/Moscow"], "max_slots_to_offer": [1]})
    frame = rank([(1, 1)], [slot(at(day, 10)) for day in (24, 25, 26, 27)], companies=companies)
    assert frame["spare"].to_list() == [False, True, True]


def test_no_clients_or_no_slots_make_an_empty_frame_of_the_same_shape():
    full = rank([(1, 1)], [slot(at(25, 10))])
    assert rank([], [slot(at(25, 10))]).schema == rank([(1, 1)], []).schema == full.schema


# ---------------------------------------------------------------- the slow reading


def by_hand(clients, slots, profiles, max_slots=3, spares=2):  # noqa: C901 - as literal as can be
    """The same rules, read slot by slot."""
    tastes = {row[:2]: row for row in profiles}
    offered, result, left = Counter(), {}, {}

    def period_of(local):
        return "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"

    def pick(key, count):
        company = key[0]
        zone = ZoneInfo(ZONES[company])
        today = T.astimezone(zone).date()
        _, _, staff, share, period, sure, weekdays, weekdays_sure = tastes.get(key) or profile(key[1])
        mine, used = result.setdefault(key, []), left.setdefault(key, {"days": set(), "filter": None})

        def scored():
            for owner, _, who, start, length in slots:
                local = start.astimezone(zone)
                ahead = (local.date() - today).days
                if owner != company or length < 3600 or not 1 <= ahead <= 7 or offered[owner, who, start] >= 2:
                    continue
                if (start, who) in [entry[:2] for entry in mine]:
                    continue
                points = int(60_000 * share + 0.5) if who == staff else 0
                points += int(40_000 * sure + 0.5) if period_of(local) == period else 0
                if local.isoweekday() in weekdays:
                    points += int((20_000 - 5_000 * weekdays.index(local.isoweekday())) * weekdays_sure + 0.5)
                points += 10_000 if ahead in (2, 3) else 0
                yield -points, start, who, local.date(), period_of(local) == period, local.isoweekday() in weekdays

        def free(insist):
            return sorted(row for row in scored() if (row[4] or not insist[0]) and (row[5] or not insist[1]))

        if used["filter"] is None:
            wish = (period is not None and sure > 0.6, bool(weekdays) and weekdays_sure > 0.5)
            used["filter"] = next((i for i in (wish, (wish[0], False), (False, False)) if free(i)), None)
        if used["filter"] is None:
            return
        for _ in range(count):
            ranked = free(used["filter"])
            if not ranked:
                return
            other_days = [row for row in ranked if row[3] not in used["days"]]
            if not other_days:
                used["days"] = set()
            points, start, who, day, *_ = (other_days or ranked)[0]
            used["days"].add(day)
            offered[company, who, start] += 1
            mine.append((start, who, -points))

    for count in (max_slots, spares):
        for key in clients:
            pick(key, count)
    return {key: rows for key, rows in result.items() if rows}


confidences = st.sampled_from([0.0, 0.3, 0.5, 0.55, 0.6, 0.75, 1.0])
tastes_ = st.tuples(
    st.none() | st.sampled_from([ANNA, OLGA, VERA]),
    confidences,
    st.sampled_from([None, "morning", "afternoon", "evening"]),
    confidences,
    st.lists(st.integers(1, 7), unique=True, max_size=3),
    confidences,
)
slots_ = st.tuples(
    st.sampled_from([1, 2]),
    st.just(HAIRCUT),
    st.sampled_from([ANNA, OLGA, VERA]),
    st.tuples(st.integers(0, 9), st.sampled_from([4, 9, 10, 14, 16, 17, 20])).map(
        lambda when: T + timedelta(days=when[0], hours=when[1])
    ),
    st.sampled_from([1800, 3600]),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.integers(1, 8)), unique=True, max_size=10),
    st.lists(slots_, unique_by=lambda row: row[:4], max_size=40),
    st.lists(tastes_, min_size=10, max_size=10),
    st.randoms(use_true_random=False),
)
def test_the_fast_ranking_equals_the_slow_reading(clients, slots, tastes, random):
    profiles = [(*key, *taste) for key, taste in zip(clients, tastes, strict=False)]
    frame = rank(clients, slots, profiles)
    got = {
        (company, client): rows.select("starts_at", "staff_id", "score").rows()
        for (company, client), rows in frame.group_by("company_id", "client_id", maintain_order=True)
    }
    assert got == by_hand(clients, slots, profiles)
    assert frame.group_by("company_id", "staff_id", "starts_at").len()["len"].max() in (None, 1, 2)
    assert_frame_equal(frame, rank(clients, random.sample(slots, len(slots)), profiles))
