"""The plan: every limit holds over any rolling window, everyone has one decision, the same input gives the same plan."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from reactivation_core.account_health import LEVELS, Limits
from reactivation_core.planning import (
    campaign_id,
    discounts,
    is_held_out,
    next_attempt,
    next_attempt_at,
    plan_day,
)
from reactivation_core.send_times import plan_company
from reactivation_core.sending_window import SendingWindow

MONDAY = date(2026, 11, 23)
T = datetime(2026, 11, 23, 7, tzinfo=UTC)  # 10:00 in Moscow
INSTANT = pl.Datetime("us", "UTC")
MOSCOW = SendingWindow(ZoneInfo("Europe/Moscow"))
DAY, HOUR = timedelta(hours=24), timedelta(hours=1)


def nobody(_row):
    return False


def plan(warm, cold, *, held_out=nobody, start=T, window=MOSCOW, limits=LEVELS["cold"], quota=5, recent=(), seed="1"):
    return plan_company(
        {"warm": warm, "cold": cold},
        held_out,
        start=start,
        window=window,
        limits=limits,
        cold_quota=quota,
        recent_sends=recent,
        seed=seed,
    )


def most_within(instants, span, among):
    """The most instants in any half-open span that contains one of `among`."""
    ordered = sorted(instants)
    return max(
        (
            sum(start <= at < start + span for at in ordered)
            for start in ordered
            if any(start <= at < start + span for at in among)
        ),
        default=0,
    )


# ---------------------------------------------------------------- times of one number


def test_a_cold_number_spreads_twenty_sends_over_the_nine_open_hours():
    times = [placement.send_after for placement in plan(range(30), []).placements]
    assert len(times) == 20
    for position, at in enumerate(times):
        wait = at - (T + position * timedelta(minutes=27))  # 9 h / 20
        assert timedelta(0) <= wait <= timedelta(seconds=150)


def test_whoever_does_not_fit_is_told_the_limit():
    assert plan(range(30), []).deferred["warm"] == "daily_limit"
    assert plan([], range(30)).deferred["cold"] == "cold_lane_full"
    assert plan(range(3), []).deferred == {"warm": "", "cold": ""}


def test_a_closed_day_plans_nobody():
    saturday = datetime(2026, 11, 21, 7, tzinfo=UTC)
    assert plan(range(3), [], start=saturday).deferred["warm"] == "window_closed"


def test_an_hourly_limit_is_the_reason_only_in_a_short_window():
    one_hour = SendingWindow(ZoneInfo("Europe/Moscow"), 10, 11)
    short = plan(range(30), [], window=one_hour)
    assert len(short.placements) == 5
    assert short.deferred["warm"] == "hourly_limit"


def test_a_gap_that_leaves_no_room_counts_as_a_closed_window():
    short = plan(range(9), [], window=SendingWindow(ZoneInfo("Europe/Moscow"), 10, 11), limits=Limits(20, 20, 2, 900))
    assert len(short.placements) == 4
    assert short.deferred["warm"] == "window_closed"


def test_yesterdays_sends_make_room_as_they_grow_a_day_old():
    yesterday = [(T - DAY + position * timedelta(minutes=27), "warm") for position in range(20)]
    today = plan(range(30), [], recent=yesterday)
    assert len(today.placements) == 20


def test_pending_sends_late_in_the_day_leave_the_early_hours_in_use():
    pending = [(T + 5 * HOUR + position * timedelta(minutes=12), "warm") for position in range(18)]
    assert len(plan(range(9), [], recent=pending).placements) == 2


def test_a_held_out_client_takes_nobodys_place():
    with_one = plan(range(31), [], held_out=lambda row: row == 3)
    aside = next(placement for placement in with_one.placements if placement.held_out)
    following = next(placement for placement in with_one.placements if placement.row == 4)
    assert aside.send_after == following.send_after
    assert sum(not placement.held_out for placement in with_one.placements) == 20


def test_the_cold_lane_waits_while_the_warm_one_goes_on():
    placed = plan(range(0, 40, 2), range(1, 40, 2)).placements
    assert [placement.row for placement in placed] == [
        *range(10),
        *range(10, 30, 2),
    ][: len(placed)]
    assert sum(placement.row % 2 for placement in placed) == 5


limits_ = st.builds(Limits, st.integers(0, 12), st.integers(0, 5), st.just(2), st.sampled_from([1, 30, 300, 1800]))
windows = st.builds(
    SendingWindow,
    st.sampled_from(["Europe/Moscow", "America/Toronto", "Asia/Kamchatka"]).map(ZoneInfo),
    st.integers(0, 23),
    st.integers(1, 24),
    st.frozensets(st.integers(1, 7), min_size=3),
)
sends = st.lists(
    st.tuples(
        st.integers(-30 * 3600, 24 * 3600).map(lambda seconds: T + timedelta(seconds=seconds)),
        st.sampled_from(["warm", "cold"]),
    ),
    max_size=20,
)


@settings(max_examples=300)
@given(st.lists(st.booleans(), max_size=30), limits_, windows, sends, st.integers(0, 5), st.sets(st.integers(0, 29)))
def test_every_limit_holds_over_any_rolling_window(warm_first, limits, window, recent, quota, aside):
    warm = [row for row, is_warm in enumerate(warm_first) if is_warm]
    cold = [row for row, is_warm in enumerate(warm_first) if not is_warm]
    arguments = {"held_out": aside.__contains__, "window": window, "limits": limits, "quota": quota, "recent": recent}
    result = plan(warm, cold, **arguments)
    assert result == plan(warm, cold, **arguments)

    new = [placement.send_after for placement in result.placements if not placement.held_out]
    new_cold = [p.send_after for p in result.placements if not p.held_out and p.row in cold]
    everything = [at for at, _ in recent] + new
    assert most_within(everything, DAY, new) <= limits.daily
    assert most_within(everything, HOUR, new) <= limits.hourly
    assert most_within([at for at, lane in recent if lane == "cold"] + new_cold, DAY, new_cold) <= quota
    assert most_within(everything, timedelta(seconds=limits.min_gap_s), new) <= 1
    assert all(T <= p.send_after < T + DAY and window.is_open(p.send_after) for p in result.placements)

    rows = [placement.row for placement in result.placements]
    assert len(rows) == len(set(rows))
    for lane, queue in (("warm", warm), ("cold", cold)):
        got = [row for row in queue if row in rows]
        assert got == queue[: len(got)]  # nobody overtakes in a lane
        assert (len(got) == len(queue)) or result.deferred[lane]


@settings(max_examples=50)
@given(limits_.filter(lambda limits: limits.daily and limits.hourly), sends)
def test_a_deferred_client_really_has_no_time_left(limits, recent):
    result = plan(range(40), [], limits=limits, recent=recent)
    held = [at for at, _ in recent if at > T - DAY] + [placement.send_after for placement in result.placements]
    for minute in range(0, 24 * 60, 5):
        at = T + timedelta(minutes=minute)
        spans = ((DAY, limits.daily), (HOUR, limits.hourly), (timedelta(seconds=limits.min_gap_s), 1))
        fits = all(most_within([*held, at], span, [at]) <= capacity for span, capacity in spans)
        assert not (MOSCOW.is_open(at) and fits)


# ---------------------------------------------------------------- numbers, attempts, discounts


def test_holdout_is_a_stable_draw_of_the_episode():
    share = sum(is_held_out("salt", 1, client, 1, 10) for client in range(5000)) / 5000
    assert 0.08 < share < 0.12
    assert not any(is_held_out("salt", 1, client, 1, 0) for client in range(100))
    assert [is_held_out("salt", 7, client, 1, 50) for client in range(8)] == [
        is_held_out("salt", 7, client, 1, 50) for client in range(8)
    ]


def test_a_campaign_has_the_same_id_whoever_plans_it():
    assert campaign_id(1, 2, 1, 1) == campaign_id(1, 2, 1, 1)
    assert campaign_id(1, 12, 1, 1) != campaign_id(11, 2, 1, 1)


def test_the_next_attempt_waits_for_the_reply_window_and_the_rule():
    assert next_attempt_at(T, 3) == T + timedelta(days=7)
    assert next_attempt_at(T, 14) == T + timedelta(days=14)
    with pytest.raises(ValueError, match="time zone"):
        next_attempt_at(datetime(2026, 11, 23), 14)  # noqa: DTZ001 - that is the point


def log(*rows):
    return pl.DataFrame(
        rows,
        schema={
            "company_id": pl.Int64, "client_id": pl.Int64, "episode_no": pl.Int32, "attempt_number": pl.Int16,
            "held_out": pl.Boolean, "completion_reason": pl.String,
        },
        orient="row",
    )  # fmt: skip


def test_an_unfinished_episode_goes_on_and_a_finished_one_is_followed_by_the_next():
    clients = pl.DataFrame({"company_id": [1] * 5, "client_id": [14, 11, 12, 13, 15]})
    campaigns = log(
        (1, 11, 1, 1, False, None),
        (1, 12, 1, 1, False, None),
        (1, 12, 1, 2, False, "max_attempts"),
        (1, 13, 1, 1, False, "converted"),
        (1, 13, 2, 1, True, None),
        (1, 15, 1, 2, False, None),
        (1, 15, 1, 1, False, "converted"),  # the first attempt's booking ends the episode
        (2, 14, 4, 1, False, None),  # another company
    )
    after = next_attempt(clients, campaigns)
    assert after.rows() == [
        (1, 14, 1, 1, None),
        (1, 11, 1, 2, False),
        (1, 12, 2, 1, None),
        (1, 13, 2, 2, True),
        (1, 15, 2, 1, None),
    ]


def test_the_nth_attempt_takes_the_nth_discount_and_then_the_last():
    rules = pl.DataFrame(
        {"company_id": [1, 1], "service_id": [5, 6], "discount_progression": [[10, 15], []]},
        schema_overrides={"discount_progression": pl.List(pl.Int16)},
    )
    clients = pl.DataFrame({"company_id": [1] * 5, "service_id": [5, 5, 5, 6, 7], "attempt_number": [1, 2, 9, 1, 1]})
    assert discounts(clients, rules)["discount_percent"].to_list() == [10, 15, 15, 0, 0]


# ---------------------------------------------------------------- the whole day


def day(eligible, *, companies=None, accounts=None, campaigns=None, contacts=None, recent=None, **options):
    ids = sorted({row[0] for row in eligible})
    eligible_frame = pl.DataFrame(
        eligible,
        schema={
            "company_id": pl.Int64,
            "client_id": pl.Int64,
            "service_id": pl.Int64,
            "segment": pl.String,
            "priority": pl.Float64,
        },
        orient="row",
    ).with_columns(pl.lit(40, pl.Int32).alias("days_since"))
    company = {
        "timezone": "Europe/Moscow", "country": "RU", "holdout_percent": 0, "daily_limit_mode": "auto", "manual_daily_limit": None,
        "sending_hour_from": 10, "sending_hour_to": 19, "sending_days": [1, 2, 3, 4, 5],
    }  # fmt: skip
    account = {
        "has_lanes": True, "objection": "", "quality": None, "state": "working", "first_sent_at": None, "level_reset_at": None, "paused_until": None,
        "cold_lane_off_until": None, "limit_override": None, "spam_score": 0.0, "ban_count": 0,
    }  # fmt: skip
    return plan_day(
        eligible_frame,
        log() if campaigns is None else campaigns,
        pl.DataFrame(contacts or [], schema={"company_id": pl.Int64, "client_id": pl.Int64}, orient="row"),
        pl.DataFrame(
            {"company_id": ids, "service_id": [5] * len(ids), "discount_progression": [[10, 15, 20]] * len(ids)}
        ),
        pl.DataFrame(
            [{"company_id": i, **company, **(companies or {}).get(i, {})} for i in ids], infer_schema_length=None
        ),
        pl.DataFrame(
            [{"company_id": i, **account, **(accounts or {}).get(i, {})} for i in ids], infer_schema_length=None
        ),
        pl.DataFrame(recent or [], schema={"company_id": pl.Int64, "at": INSTANT, "lane": pl.String}, orient="row"),
        as_of=T,
        day=MONDAY,
        salt="salt",
        **options,
    )


CROWD = [(company, client, 5, "regular", client / 100) for company in (1, 2) for client in range(1, 41)]


def test_vips_go_first_then_the_higher_priority():
    rows = [(1, 1, 5, "new", 0.9), (1, 2, 5, "regular", 0.5), (1, 3, 5, "vip", 0.1), (1, 4, 5, "regular", 0.6)]
    frame = day(rows)
    assert frame["client_id"].to_list() == [3, 4, 2, 1]
    assert frame["decision"].unique().to_list() == ["planned"]
    assert frame["discount_percent"].to_list() == [10] * 4


def test_clients_who_never_wrote_share_the_cold_lane():
    frame = day(CROWD, contacts=[(1, client) for client in range(1, 11)])
    first = frame.filter(company_id=1)
    counts = first.group_by("lane", "decision", "reason").len().sort("lane", "decision").rows()
    assert counts == [
        ("cold", "deferred", "cold_lane_full", 25),
        ("cold", "planned", "", 5),
        ("warm", "planned", "", 10),
    ]


def test_a_channel_without_lanes_is_warm_for_everyone():
    frame = day(CROWD, accounts={1: {"has_lanes": False}}).filter(company_id=1)
    assert frame["lane"].unique().to_list() == ["warm"]
    assert frame.filter(decision="planned").height == 20
    assert frame.filter(decision="deferred")["reason"].unique().to_list() == ["daily_limit"]


@pytest.mark.parametrize(
    ("company", "account", "reason"),
    [
        ({}, {"state": "stopped"}, "account_stopped"),
        ({}, {"paused_until": T + HOUR}, "account_paused"),
        ({}, {"cold_lane_off_until": T + HOUR}, "cold_lane_off"),
        ({"timezone": "Mars/Base"}, {}, "invalid_settings"),
        ({"sending_days": []}, {}, "window_closed"),
        ({"daily_limit_mode": "manual", "manual_daily_limit": 0}, {}, "daily_limit"),
    ],
)
def test_a_company_that_cannot_send_defers_everyone_and_the_others_go_on(company, account, reason):
    frame = day(CROWD, companies={1: company}, accounts={1: account})
    first = frame.filter(company_id=1)
    assert first.select("decision", "reason").unique().rows() == [("deferred", reason)]
    assert first["campaign_id"].null_count() == first["send_after"].null_count() == 40
    assert frame.filter(company_id=2, decision="planned").height == 5


def test_held_out_clients_are_planned_like_the_others_but_for_the_decision():
    frame = day(CROWD, companies={1: {"holdout_percent": 50}}, accounts={1: {"has_lanes": False}}).filter(company_id=1)
    aside = frame.filter(decision="held_out")
    assert aside.height > 5
    assert frame.filter(decision="planned").height == min(20, 40 - aside.height)
    assert aside["campaign_id"].null_count() == aside["send_after"].null_count() == 0
    expected = [is_held_out("salt", 1, client, 1, 50) for client in aside["client_id"]]
    assert all(expected)


def test_an_episode_that_began_held_out_stays_so():
    frame = day([(1, 1, 5, "new", 0.5)], campaigns=log((1, 1, 1, 1, True, None)))
    assert frame.select("decision", "episode_no", "attempt_number", "discount_percent").rows() == [
        ("held_out", 1, 2, 15)
    ]


def test_two_accounts_of_one_company_are_refused():
    with pytest.raises(ValueError, match="more than one row"):
        plan_day(
            *[pl.DataFrame()] * 5,
            pl.DataFrame({"company_id": [1, 1]}),
            pl.DataFrame(),
            as_of=T,
            day=MONDAY,
            salt="",
        )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 3),
            st.integers(1, 60),
            st.just(5),
            st.sampled_from(["vip", "regular", "new"]),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=60,
        unique_by=lambda row: row[:2],
    ),
    st.randoms(use_true_random=False),
)
def test_everyone_has_exactly_one_decision_whatever_the_order_of_the_rows(rows, random):
    frame = day(rows, companies={1: {"holdout_percent": 30}}, contacts=[(2, client) for client in range(30)])
    assert sorted(frame.select("company_id", "client_id").rows()) == sorted(row[:2] for row in rows)
    assert set(frame["decision"]) <= {"planned", "held_out", "deferred"}
    assert ((frame["reason"] == "") == (frame["decision"] != "deferred")).all()
    shuffled = random.sample(rows, len(rows))
    again = day(shuffled, companies={1: {"holdout_percent": 30}}, contacts=[(2, client) for client in range(30)])
    assert_frame_equal(frame, again)
    for _, company in frame.filter(decision="planned").group_by("company_id"):
        times = company["send_after"].sort().to_list()
        assert all(later - earlier >= timedelta(minutes=5) for earlier, later in pairwise(times))
