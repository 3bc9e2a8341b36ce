"""A number's health: what it may send, and what takes that away."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.account_health import (
    LEVELS,
    NOTHING,
    AccountHealth,
    Limits,
    Signal,
    State,
    apply_signal,
    cold_lane_open,
    cold_lane_quota,
    effective_limits,
    refusal,
    spam_score,
    warmup_level,
)

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
HOT = AccountHealth(first_sent_at=NOW - timedelta(days=200))

accounts = st.builds(
    AccountHealth,
    state=st.sampled_from([*State, "mystery"]),
    first_sent_at=st.none() | st.integers(0, 200).map(lambda days: NOW - timedelta(days=days)),
    paused_until=st.none() | st.integers(-72, 72).map(lambda hours: NOW + timedelta(hours=hours)),
    limit_override=st.none() | st.just(5),
    spam_score=st.floats(0, 1) | st.just(float("nan")),
)


@pytest.mark.parametrize(
    ("days", "level"), [(None, "cold"), (0, "cold"), (30, "cold"), (31, "warm"), (90, "warm"), (91, "hot")]
)
def test_the_level_follows_the_age_of_the_first_message(days, level):
    first = None if days is None else NOW - timedelta(days=days)
    assert warmup_level(AccountHealth(first_sent_at=first), NOW) == level
    assert effective_limits(AccountHealth(first_sent_at=first), now=NOW) == LEVELS[level]


def test_a_manual_limit_lowers_and_never_raises():
    assert effective_limits(HOT, now=NOW, mode="manual", manual_daily_limit=12) == Limits(12, 12, 10, 30)
    assert effective_limits(HOT, now=NOW, mode="manual", manual_daily_limit=500) == LEVELS["hot"]
    assert effective_limits(HOT, now=NOW, mode="auto", manual_daily_limit=12) == LEVELS["hot"]


def test_a_manual_limit_of_zero_sends_nothing():
    limits = effective_limits(HOT, now=NOW, mode="manual", manual_daily_limit=0)
    assert (limits.daily, limits.hourly, limits.concurrent) == (0, 0, 0)


def test_the_platform_caps_every_number():
    assert effective_limits(HOT, now=NOW, platform_daily=30, platform_hourly=7) == Limits(30, 7, 10, 30)


@pytest.mark.parametrize(("score", "daily"), [(0.5, 100), (0.51, 50), (0.7, 50), (0.71, 0)])
def test_a_spam_score_halves_and_then_stops(score, daily):
    assert effective_limits(replace(HOT, spam_score=score), now=NOW).daily == daily


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (None, "no_account"),
        (replace(HOT, state="stopped"), "account_stopped"),
        (replace(HOT, state="mystery"), "account_stopped"),
        (replace(HOT, state="paused"), "account_paused"),
        (replace(HOT, paused_until=NOW + timedelta(seconds=1)), "account_paused"),
        (replace(HOT, spam_score=float("nan")), "account_paused"),
    ],
)
def test_whatever_is_missing_or_not_understood_sends_nothing(account, reason):
    assert refusal(account, NOW) == reason
    assert effective_limits(account, now=NOW) == NOTHING


def test_an_unknown_mode_sends_nothing():
    assert effective_limits(HOT, now=NOW, mode="turbo") == NOTHING


def test_a_pause_that_is_over_no_longer_counts():
    assert effective_limits(replace(HOT, paused_until=NOW), now=NOW) == LEVELS["hot"]


@pytest.mark.parametrize(("daily", "quota"), [(100, 25), (50, 12), (20, 5), (12, 5), (3, 3), (0, 0)])
def test_a_quarter_of_the_day_goes_to_the_cold_lane_but_at_least_five(daily, quota):
    assert cold_lane_quota(Limits(daily, 5, 2, 300)) == quota


@pytest.mark.parametrize(
    ("counts", "score"),
    [
        ((19, 19, 19, 0), 0.0),  # too few sends to say
        ((100, 0, 0, 10), 0.0),
        ((100, 0, 0, 0), 0.3),
        ((100, 5, 0, 10), 0.4),
        ((100, 1, 2, 5), 0.08 + 0.06 + 0.15),
        ((100, 50, 50, 0), 1.0),
    ],
)
def test_the_spam_score_is_the_published_sum(counts, score):
    assert spam_score(*counts) == pytest.approx(score)


def test_the_spam_score_fades_with_silence():
    assert spam_score(100, 50, 50, 0, since_last_send=timedelta(days=14)) == pytest.approx(0.5)
    assert spam_score(100, 50, 50, 0, since_last_send=timedelta(days=8)) < 0.7


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="optouts=-1"):
        spam_score(100, -1, 0, 0)


def test_a_ban_stops_at_once_and_recovery_starts_over_at_five_a_day():
    banned = apply_signal(HOT, Signal.BANNED, NOW)
    assert (banned.state, banned.ban_count) == (State.STOPPED, 1)
    assert effective_limits(banned, now=NOW) == NOTHING
    later = NOW + timedelta(days=40)
    recovered = apply_signal(banned, Signal.RECOVERED, later)
    assert warmup_level(recovered, later) == "cold"
    assert effective_limits(recovered, now=later) == Limits(5, 5, 2, 300)
    forgiven = apply_signal(recovered, Signal.RESET, later)
    assert effective_limits(forgiven, now=later) == LEVELS["cold"]


def test_the_same_ban_reported_twice_counts_once():
    once = apply_signal(HOT, Signal.BANNED, NOW)
    assert apply_signal(once, Signal.BANNED, NOW + timedelta(minutes=1)) == once


def test_a_spam_signal_pauses_three_days_and_rests_the_cold_lane_longer():
    after = apply_signal(HOT, Signal.SPAM_RATE, NOW)
    assert refusal(after, NOW + timedelta(hours=71)) == "account_paused"
    assert refusal(after, NOW + timedelta(hours=72)) == ""
    assert not cold_lane_open(after, NOW + timedelta(hours=72))
    assert cold_lane_open(after, NOW + timedelta(hours=168))


def test_a_pause_by_hand_outlives_a_session_that_reconnects():
    paused = apply_signal(HOT, Signal.PAUSED, NOW)
    assert apply_signal(paused, Signal.RECOVERED, NOW) == paused
    assert apply_signal(paused, Signal.RESUMED, NOW) == HOT


def test_resuming_does_not_start_a_banned_number():
    banned = apply_signal(HOT, Signal.BANNED, NOW)
    assert apply_signal(banned, Signal.RESUMED, NOW) == banned


@given(accounts, st.sampled_from(["auto", "manual", "?"]), *[st.none() | st.integers(-5, 300)] * 3)
def test_limits_never_exceed_the_level_or_any_cap(account, mode, manual, daily, hourly):
    limits = effective_limits(
        account, now=NOW, mode=mode, manual_daily_limit=manual, platform_daily=daily, platform_hourly=hourly
    )
    level = LEVELS[warmup_level(account, NOW)]
    assert 0 <= limits.hourly <= limits.daily <= level.daily
    assert 0 <= cold_lane_quota(limits) <= limits.daily
    assert limits.min_gap_s >= level.min_gap_s
    for cap in (manual if mode == "manual" else None, daily):
        assert cap is None or limits.daily <= max(0, cap)


@given(accounts, st.sampled_from([Signal.BANNED, Signal.SPAM_RATE, Signal.QUALITY_RED, Signal.PAUSED]))
def test_a_bad_signal_never_allows_more_and_repeats_without_effect(account, signal):
    after = apply_signal(account, signal, NOW)
    assert effective_limits(after, now=NOW) == NOTHING
    assert apply_signal(after, signal, NOW) == after


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(0, 90))
def test_the_spam_score_stays_between_zero_and_one(sends, optouts, failed, replies, days):
    assert 0 <= spam_score(sends, optouts, failed, replies, since_last_send=timedelta(days=days)) <= 1
