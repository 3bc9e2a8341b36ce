"""Times of sending: as many sends of one number as fit into its limits, spread over the open hours.

What to add here: how sends are laid out in time. What to keep out: who is to be written to (planning), what a number may (account_health).

Every limit of a number has one shape: at most so many sends in any half-open span of time. So many a day, so many an hour, one per minimum
gap and the cold lane's share of the day are four such limits, checked exactly against what the number has sent and still holds planned.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from reactivation_core.account_health import Limits
from reactivation_core.local_time import EPOCH, microseconds
from reactivation_core.sending_window import SendingWindow

HORIZON = timedelta(hours=24)
LANES = ("warm", "cold")

_SECOND = 1_000_000
_HOUR = 3600 * _SECOND
_DAY = 24 * _HOUR


class Placement(NamedTuple):
    """One client of a company's queue who gets a time: `row` of the queue, `send_after` in UTC."""

    row: int
    send_after: datetime
    held_out: bool


@dataclass(frozen=True, slots=True)
class CompanyPlan:
    """Who got a time, and why the others of each lane did not ("" when everyone did)."""

    placements: list[Placement]
    deferred: dict[str, str]


def stable_number(text: str) -> int:
    """A number of 64 bits that depends on `text` alone, the same on every machine and in every version of Python."""
    return int.from_bytes(sha256(text.encode()).digest()[:8], "big")


def plan_company(
    lanes: Mapping[str, Sequence[int]],
    held_out: Callable[[int], bool],
    *,
    start: datetime,
    window: SendingWindow,
    limits: Limits,
    cold_quota: int,
    recent_sends: Sequence[tuple[datetime, str]],
    seed: str,
) -> CompanyPlan:
    """Give the clients of one sending number their times between `start` and 24 h later.

    `lanes` holds the clients' rows in the company's priority order, by lane (warm, cold). `recent_sends` are the number's sends and
    the sends still planned, with their lanes. Sends spread evenly over the open hours, each moved on by up to half the minimum gap as
    `seed` says; where that breaks a limit it goes to the next instant that keeps them all. A held-out client gets the time it would
    have had and takes nobody's place. When one client of a lane has no time left, nor has anyone of that lane behind it.
    """
    first, last = microseconds(start), microseconds(start + HORIZON)
    opened = [(microseconds(a), microseconds(b)) for a, b in window.open_intervals(start, start + HORIZON)]
    deferred = dict.fromkeys(LANES, "")
    if not opened or not limits.daily or not limits.hourly:
        reason = "window_closed" if not opened else "hourly_limit" if limits.daily else "daily_limit"
        return CompanyPlan([], dict.fromkeys(LANES, reason))
    if not cold_quota:
        deferred["cold"] = "cold_lane_full"
    known = sorted((microseconds(at), lane) for at, lane in recent_sends if at > start - HORIZON)
    taken = [at for at, _ in known]
    taken_cold = [at for at, lane in known if lane == "cold"]
    of_all = [
        _Limit("daily_limit", limits.daily, _DAY, taken),
        _Limit("hourly_limit", limits.hourly, _HOUR, taken),
        _Limit("", 1, limits.min_gap_s * _SECOND, taken),
    ]
    by_lane = {"warm": of_all, "cold": [*of_all, _Limit("cold_lane_full", cold_quota, _DAY, taken_cold)]}
    expected = max(1, min(limits.daily, len(lanes["warm"]) + min(cold_quota, len(lanes["cold"]))))
    step = sum(closes - opens for opens, closes in opened) // expected // _SECOND * _SECOND
    placements: list[Placement] = []
    placed = 0
    for row, lane in _in_order(lanes, deferred):
        jitter = stable_number(f"{seed}/{placed}") % (limits.min_gap_s // 2 + 1) * _SECOND
        wished = _open_instant(opened, placed * step) + jitter
        at, reason = _first_free(wished, last, opened, by_lane[lane])
        if at is None:  # late hours may be full while early ones are not
            at, reason = _first_free(first, last, opened, by_lane[lane])
        if at is None:
            deferred[lane] = reason
            if lane == "warm":
                deferred["cold"] = deferred["cold"] or reason
                break
            continue
        aside = held_out(row)
        placements.append(Placement(row, EPOCH + timedelta(microseconds=at), aside))
        if not aside:
            placed += 1
            insort(taken, at)
            if lane == "cold":
                insort(taken_cold, at)
    return CompanyPlan(placements, deferred)


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most `capacity` (>= 1) of the sorted `instants` within any half-open span; all in microseconds."""

    reason: str
    capacity: int
    span: int
    instants: list[int]

    def free_from(self, at: int) -> int:
        """`at` when one more fits there, else a later instant before which none fits."""
        held, capacity = self.instants, self.capacity
        after = bisect_right(held, at)
        if after >= capacity and at - held[after - capacity] < self.span:
            return held[after - capacity] + self.span
        for before in range(max(0, capacity - (len(held) - after)), min(capacity - 1, after) + 1):
            earliest = held[after - before] if before else at
            if held[after - before + capacity - 1] - earliest < self.span:
                return held[after]
        return at


def _first_free(at: int, end: int, opened: list[tuple[int, int]], limits: list[_Limit]) -> tuple[int | None, str]:
    """The first open instant in [at, end) that keeps all `limits`, or None and the limit that pushed it out."""
    reason = ""
    while at < end:
        opening = next((max(at, opens) for opens, closes in opened if at < closes), None)
        if opening is None:
            break
        free = opening
        for limit in limits:
            later = limit.free_from(free)
            if later > free:
                free, reason = later, limit.reason or reason
        if free == opening:
            return opening, ""
        at = free
    return None, reason or "window_closed"


def _open_instant(opened: list[tuple[int, int]], offset: int) -> int:
    """The instant after `offset` microseconds of open time."""
    for opens, closes in opened:
        if offset < closes - opens:
            return opens + offset
        offset -= closes - opens
    return opened[-1][1]


def _in_order(lanes: Mapping[str, Sequence[int]], deferred: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Indices of both lanes in priority order with their lane; a lane that is deferred ends there."""
    waiting = dict.fromkeys(LANES, 0)
    while True:
        heads = [
            (lanes[lane][position], lane)
            for lane, position in waiting.items()
            if not deferred[lane] and position < len(lanes[lane])
        ]
        if not heads:
            return
        index, lane = min(heads)
        waiting[lane] += 1
        yield index, lane
