"""How much a sending number may send: warm-up, limits, spam score, pauses.

What to add here: rules about one number's health. What to keep out: counting sends (planning and the dispatcher do) and storing.
Whatever is missing or not understood means: send nothing.
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

HALVE_ABOVE = 0.5
STOP_ABOVE = 0.7
MIN_SENDS = 20
"""A share of fewer sends says nothing: its term of the spam score is zero."""
SCORE_HALF_LIFE = timedelta(days=14)
"""A silent number recovers: the worst score, 1, falls under the stop threshold in a little over seven days."""
LIMIT_AFTER_BAN = 5
SPAM_PAUSE = timedelta(hours=72)
REFUSED_PAUSE = timedelta(hours=1)
COLD_LANE_REST = timedelta(hours=168)
"""The cold lane rests longer than the number: after the pause, the number first writes to people who know it."""

_OPTOUT_TOLERATED = 0.05
_FAILED_TOLERATED = 0.10
_REPLIES_EXPECTED = 0.10


class State(StrEnum):
    """Whether the number may be used. `paused` is open-ended; a pause with a date is in `paused_until`, whatever the state."""

    WORKING = "working"
    PAUSED = "paused"
    STOPPED = "stopped"


class Signal(StrEnum):
    """What the channel, or a person, says about the number."""

    BANNED = "banned"  # banned, locked or logged out
    SPAM_RATE = "spam_rate"  # spam-rate limit, capping, reach-out lock, yellow card
    QUALITY_RED = "quality_red"
    QUALITY_OK = "quality_ok"
    RESTRICTED = "restricted"  # the channel forbids business-initiated messages until a person has settled it
    REFUSED = "refused"  # the channel wants something of a person: access, payment; it may pass by itself
    RECOVERED = "recovered"  # the session works again
    PAUSED = "paused"  # by hand
    RESUMED = "resumed"  # by hand
    RESET = "reset"  # an admin forgives the past


@dataclass(frozen=True, slots=True)
class AccountHealth:
    """What is known of a number. Instants are aware; `spam_score` is 0..1; `limit_override` caps the daily limit until a reset.

    `quality` is the channel's own rating, GREEN, YELLOW or RED, None where it has none.
    """

    state: str = State.WORKING
    first_sent_at: datetime | None = None
    level_reset_at: datetime | None = None
    paused_until: datetime | None = None
    cold_lane_off_until: datetime | None = None
    limit_override: int | None = None
    spam_score: float = 0.0
    ban_count: int = 0
    quality: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """At most `daily` sends in any 24 h, `hourly` in any 60 min, `concurrent` at once, and `min_gap_s` seconds between two."""

    daily: int
    hourly: int
    concurrent: int
    min_gap_s: int


LEVELS = {"cold": Limits(20, 5, 2, 300), "warm": Limits(50, 10, 5, 120), "hot": Limits(100, 20, 10, 30)}
NOTHING = Limits(0, 0, 0, 300)


def warmup_level(account: AccountHealth, now: datetime) -> Literal["cold", "warm", "hot"]:
    """Cold for the first 31 days, warm up to day 90, hot beyond; counted from our first message or from the last reset."""
    if account.first_sent_at is None:
        return "cold"
    days = (now - max(account.first_sent_at, account.level_reset_at or account.first_sent_at)).days
    if days > 90:
        return "hot"
    return "warm" if days >= 31 else "cold"


def refusal(account: AccountHealth | None, now: datetime) -> str:
    """Why nothing may be sent from the number at all, or "": no_account, account_stopped, account_paused."""
    if account is None:
        return "no_account"
    if account.state not in (State.WORKING, State.PAUSED):
        return "account_stopped"
    if account.state == State.PAUSED or (account.paused_until is not None and account.paused_until > now):
        return "account_paused"
    if account.quality == "RED" or not 0 <= account.spam_score <= STOP_ABOVE:  # a NaN fails the comparison too
        return "account_paused"
    return ""


def effective_limits(
    account: AccountHealth | None,
    *,
    now: datetime,
    mode: str = "auto",
    manual_daily_limit: int | None = None,
    platform_daily: int | None = None,
    platform_hourly: int | None = None,
) -> Limits:
    """The limits in force at `now`: the level's, and whatever lowers them. Nothing raises them.

    `mode` "manual" applies `manual_daily_limit`; an unknown mode allows nothing. `platform_daily` and `platform_hourly` cap every
    number of the platform. A spam score above 0.5 halves the daily limit (rounded down), above 0.7 nothing is sent.
    """
    if account is None or refusal(account, now) or mode not in ("auto", "manual"):
        return NOTHING
    level = LEVELS[warmup_level(account, now)]
    caps = [level.daily, account.limit_override, platform_daily, manual_daily_limit if mode == "manual" else None]
    daily = max(0, min(cap for cap in caps if cap is not None))
    if account.spam_score > HALVE_ABOVE:
        daily //= 2
    hourly = max(0, min(level.hourly, daily, level.hourly if platform_hourly is None else platform_hourly))
    return replace(level, daily=daily, hourly=hourly, concurrent=min(level.concurrent, daily))


def cold_lane_quota(limits: Limits) -> int:
    """How many of the daily sends may go to people who never wrote to the number: a quarter, at least five, never above the limit."""
    return min(limits.daily, max(5, limits.daily // 4))


def cold_lane_open(account: AccountHealth, now: datetime) -> bool:
    """Whether the cold lane is in use."""
    return account.cold_lane_off_until is None or account.cold_lane_off_until <= now


def spam_score(
    sends: int, optouts: int, failed: int, replies: int, *, since_last_send: timedelta = timedelta(0)
) -> float:
    """How much the number looks like a spammer's, 0..1, from its last (up to 100) sends.

    `0.4*min(1, optout_rate/0.05) + 0.3*min(1, failed_rate/0.10) + 0.3*min(1, max(0, 0.10 - reply_rate)/0.10)`, each term zero below
    20 sends. The score halves with every `SCORE_HALF_LIFE` of silence, else a number that had to stop could never start again.

    Raises ValueError on negative counts.
    """
    if min(sends, optouts, failed, replies) < 0:
        raise ValueError(f"counts are never negative: {sends=} {optouts=} {failed=} {replies=}")
    if sends < MIN_SENDS:
        return 0.0
    score = (
        0.4 * min(1.0, optouts / sends / _OPTOUT_TOLERATED)
        + 0.3 * min(1.0, failed / sends / _FAILED_TOLERATED)
        + 0.3 * max(0.0, _REPLIES_EXPECTED - replies / sends) / _REPLIES_EXPECTED
    )
    silence = max(since_last_send, timedelta(0)) / SCORE_HALF_LIFE
    return min(1.0, score * math.exp2(-silence))


def apply_signal(health: AccountHealth, signal: Signal, now: datetime) -> AccountHealth:
    """The number's health after a signal; a repeated signal changes nothing more, a weaker one never lifts a stronger.

    - banned: stopped; back to the cold level with a limit of 5; the ban is counted once until it recovers.
    - spam_rate: no marketing for 72 h, no cold lane for 168 h.
    - quality_red: no marketing until the channel rates the number better (quality_ok).
    - restricted, paused: no marketing until resumed.
    - refused: no marketing for an hour, then it is tried again.
    - recovered: a stopped number works again, and its warm-up starts over.
    - resumed: lifts a pause, dated or not; a stopped number stays stopped.
    - reset: forgets the spam score, the cap after a ban and the rest of the cold lane.
    """
    stopped = health.state == State.STOPPED
    match signal:
        case Signal.BANNED if not stopped:
            return replace(
                health,
                state=State.STOPPED,
                level_reset_at=now,
                limit_override=LIMIT_AFTER_BAN,
                ban_count=health.ban_count + 1,
            )
        case Signal.SPAM_RATE:
            return replace(
                health,
                paused_until=_later(health.paused_until, now + SPAM_PAUSE),
                cold_lane_off_until=_later(health.cold_lane_off_until, now + COLD_LANE_REST),
            )
        case Signal.QUALITY_RED:
            return replace(health, quality="RED")
        case Signal.QUALITY_OK if health.quality == "RED":
            return replace(health, quality=None)
        case Signal.REFUSED:
            return replace(health, paused_until=_later(health.paused_until, now + REFUSED_PAUSE))
        case Signal.RESTRICTED | Signal.PAUSED if not stopped:
            return replace(health, state=State.PAUSED)
        case Signal.RECOVERED if stopped:
            return replace(health, state=State.WORKING, level_reset_at=now)
        case Signal.RESUMED if not stopped:
            return replace(health, state=State.WORKING, paused_until=None)
        case Signal.RESET:
            return replace(health, spam_score=0.0, limit_override=None, cold_lane_off_until=None)
        case _:
            return health


def _later(one: datetime | None, other: datetime) -> datetime:
    return other if one is None else max(one, other)
