"""Clients choosing among a company's open slots, in order of priority.

What to add here: how a slot is found and shared. What to keep out: frames, points and filters (slots).

A company's slots are sorted once into buckets (service, day, period) and, for favourite staff, (service, staff, day, period). Inside a bucket
all slots score the same for a client, so only its first free slot matters, and a bucket's beginning moves on as its slots are given away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

CLIENTS_PER_SLOT = 2
SOON = (2, 3)
"""Days ahead that earn a bonus: local calendar days."""
SOON_POINTS = 10_000


class Wish(NamedTuple):
    """A client's row of the queue; the fields are columns of the queue."""

    row: int
    company_id: int
    pair: int
    favourite: int | None
    staff_points: int
    period: int | None
    period_points: int
    only_period: bool
    weekdays: list[int]
    weekday_points: list[int]
    only_weekdays: bool
    today: int
    slots_wanted: int


@dataclass(slots=True)
class Picks:
    """What was chosen, as columns: a million small objects would keep the garbage collector busy."""

    row: list[int] = field(default_factory=list)
    slot: list[int] = field(default_factory=list)
    rank: list[int] = field(default_factory=list)
    spare: list[bool] = field(default_factory=list)
    score: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Buckets:
    """Rows of the slots frame by bucket, earliest first; `starts` moves on as slots are given away."""

    rows: Sequence[int]
    starts: list[int]
    ends: list[int]

    @classmethod
    def of(cls, rows: Sequence[int], bucket_of_row: pl.Series, buckets: int) -> "_Buckets":
        """From rows sorted by bucket."""
        edges = bucket_of_row.search_sorted(
            pl.Series(range(buckets + 1), dtype=bucket_of_row.dtype), side="left"
        ).to_list()
        return cls(rows, edges[:-1], edges[1:])


@dataclass(slots=True)
class _Choice:
    """How far a client has come: where it looks, and what it has."""

    wish: Wish
    options: list[tuple[int, _Buckets, int]] = field(default_factory=list)
    days: list[tuple[int, int]] = field(default_factory=list)
    slots: set[int] = field(default_factory=set)
    used_days: set[int] = field(default_factory=set)
    picked: int = 0


class Board:
    """All open slots, and who has been offered which."""

    def __init__(self, slots: pl.DataFrame, pairs: int, favourites: pl.DataFrame, days: int, periods: int) -> None:
        self.days, self.periods = days, periods
        self.picks = Picks()
        per_pair = days * periods
        self.any_staff = _Buckets.of(range(slots.height), slots["bucket"], pairs * per_pair)
        own = (
            slots.lazy()
            .select("pair", "staff_id", "bucket")
            .with_row_index("row")
            .join(favourites.lazy(), on=["pair", "staff_id"])
            .select(
                "row", (pl.col("favourite").cast(pl.Int64) * per_pair + pl.col("bucket") % per_pair).alias("bucket")
            )
            .sort("bucket", "row")
            .collect()
        )
        self.favourite = _Buckets.of(own["row"].to_list(), own["bucket"], favourites.height * per_pair)
        self.keys: list[int] = slots["key"].to_list()
        self.offered: dict[int, int] = {}
        self.full: set[int] = set()

    def share(self, wishes: Iterable[Wish], spares: int) -> None:
        """Let the clients of one company choose, in order: first everyone's offers, then everyone's spares."""
        self.offered, self.full = {}, set()
        choices = [_Choice(wish) for wish in wishes]
        for choice in choices:
            self._choose(choice, choice.wish.slots_wanted, spare=False)
        for choice in choices:
            self._choose(choice, spares, spare=True)

    def _choose(self, choice: _Choice, count: int, *, spare: bool) -> None:
        while count > 0:
            best = self._best_of_days(choice)
            if not best and choice.used_days:  # every other day is taken or empty: days may repeat
                choice.used_days.clear()
                best = self._best_of_days(choice)
            if not best:
                return
            for points, key, slot, day in best[:count]:
                self.offered[key] = self.offered.get(key, 0) + 1
                if self.offered[key] == CLIENTS_PER_SLOT:
                    self.full.add(key)
                choice.slots.add(key)
                choice.used_days.add(day)
                choice.picked += 1
                self._note(choice, slot, -points, spare=spare)
            count -= len(best)

    def _note(self, choice: _Choice, slot: int, score: int, *, spare: bool) -> None:
        self.picks.row.append(choice.wish.row)
        self.picks.slot.append(slot)
        self.picks.rank.append(choice.picked)
        self.picks.spare.append(spare)
        self.picks.score.append(score)

    def _best_of_days(self, choice: _Choice) -> list[tuple[int, int, int, int]]:
        """The best slot of each day not used yet, best first, as (minus points, key, slot, day)."""
        if choice.options:
            return self._look(choice)
        for only_period, only_weekdays in _relaxations(choice.wish):
            choice.options = self._options(choice.wish, only_period=only_period)
            choice.days = _days(choice.wish, self.days, only_weekdays=only_weekdays)
            best = self._look(choice)
            if best:
                return best
        return []

    def _look(self, choice: _Choice) -> list[tuple[int, int, int, int]]:
        found = []
        for day, day_points in choice.days:
            if day in choice.used_days:
                continue
            for points, buckets, first_bucket in choice.options:
                slot = self._first(buckets, first_bucket + day * self.periods, choice.slots)
                if slot is not None:
                    found.append((-points - day_points, self.keys[slot], slot, day))
                    break
        return sorted(found)

    def _first(self, buckets: _Buckets, bucket: int, already: set[int]) -> int | None:
        """The earliest slot of the bucket that is neither given away nor among `already`."""
        position, end = buckets.starts[bucket], buckets.ends[bucket]
        if position == end:
            return None
        rows, keys, full = buckets.rows, self.keys, self.full
        while position < end and keys[rows[position]] in full:
            position += 1
        buckets.starts[bucket] = position
        while position < end:
            key = keys[rows[position]]
            if key not in already and key not in full:
                return rows[position]
            position += 1
        return None

    def _options(self, wish: Wish, *, only_period: bool) -> list[tuple[int, _Buckets, int]]:
        """(points, buckets, the bucket of day 0), best first. Equal points go by period: inside a day that means the earlier."""
        per_pair = self.days * self.periods
        periods = [wish.period] if only_period and wish.period is not None else range(self.periods)
        options = []
        for period in periods:
            points = wish.period_points if period == wish.period else 0
            day_zero = period - self.periods
            options.append((points, period, self.any_staff, wish.pair * per_pair + day_zero))
            if wish.favourite is not None and wish.staff_points > 0:
                options.append(
                    (points + wish.staff_points, period, self.favourite, wish.favourite * per_pair + day_zero)
                )
        options.sort(key=lambda option: (-option[0], option[1]))
        return [(points, buckets, bucket) for points, _, buckets, bucket in options]


def _relaxations(wish: Wish) -> Iterable[tuple[bool, bool]]:
    """What to insist on, (period, weekdays): everything, then without weekdays, then without the period."""
    return dict.fromkeys([(wish.only_period, wish.only_weekdays), (wish.only_period, False), (False, False)])


def _days(wish: Wish, days: int, *, only_weekdays: bool) -> list[tuple[int, int]]:
    """(days ahead, points of the day) of the days to look at."""
    liked = dict(zip(wish.weekdays, wish.weekday_points, strict=False))
    found = []
    for ahead in range(1, days + 1):
        weekday = (wish.today + ahead - 1) % 7 + 1
        if not only_weekdays or weekday in liked:
            found.append((ahead, liked.get(weekday, 0) + (SOON_POINTS if ahead in SOON else 0)))
    return found
