"""Which free times to offer to whom.

What to add here: scoring and sharing of free slots. What to keep out: fetching them, and checking them again before a send.

Clients are never joined with slots. A company's slots are sorted once into buckets (service, day, period) and, for favourite staff,
(service, staff, day, period); inside a bucket all slots score the same for a client, so only its first free slot matters. Clients then
choose in priority order, because a slot goes to at most two of them: a light loop over the day's planned clients, company by company.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import NamedTuple

import polars as pl

from reactivation_core.local_time import INSTANT, local_date, require_aware, with_local

CLIENTS_PER_SLOT = 2
PERIODS = ("morning", "afternoon", "evening")
PERIOD_STARTS = (0, 12 * 60, 17 * 60)
"""Minutes after local midnight at which the periods begin."""

_PERIOD_FILTER_ABOVE = 0.6
_WEEKDAY_FILTER_ABOVE = 0.5
_STAFF_POINTS, _PERIOD_POINTS, _SOON_POINTS = 60_000, 40_000, 10_000
_WEEKDAY_POINTS = (20_000, 15_000, 10_000)
_SOON = (2, 3)
_PAIR = ["company_id", "service_id"]
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "rank": pl.Int8, "spare": pl.Boolean, "staff_id": pl.Int64,
    "starts_at": INSTANT, "local_day": pl.Date, "length_s": pl.Int64, "score": pl.Int64, "match_reason": pl.String,
}  # fmt: skip


class _Wish(NamedTuple):
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


class _Pick(NamedTuple):
    row: int
    slot: int
    rank: int
    spare: bool
    score: int


def rank_slots(
    clients: pl.DataFrame,
    profiles: pl.DataFrame,
    open_slots: pl.DataFrame,
    services: pl.DataFrame,
    companies: pl.DataFrame,
    *,
    as_of: datetime,
    max_slots: int = 3,
    spares: int = 2,
    days_ahead: int = 7,
) -> pl.DataFrame:
    """The slots to offer (contract `ranked_slots`), sorted by company, client, rank; clients without a fitting slot have no row.

    - `clients`: company_id, client_id, service_id, priority_rank (lower chooses first; then the lower client_id).
    - `profiles`: the contract `preference_profiles`; a client without one has no preferences.
    - `open_slots`: company_id, service_id, staff_id, starts_at, length_s. `services`: duration_s per service; a shorter slot is dropped.
    - `companies`: company_id, timezone and, where the salon set it, max_slots_to_offer (else `max_slots` holds).

    Slots from tomorrow to `days_ahead` days ahead, in local days of the company at `as_of`, count. A confident period (> 0.6) and confident
    weekdays (> 0.5) filter; when that leaves nothing, weekdays are given up first, then the period. The score in thousandths of a point:
    60 x staff share for the favourite staff + 40 x confidence for the preferred period + (20, 15, 10) x confidence for the favourite weekdays +
    10 when two or three local days ahead. Best first, ties to the earlier slot and the lower staff id; one per local day while other days
    are left. No slot is given to more than two clients of a company, spares included; spares are chosen when everyone has an offer.
    """
    zones = companies.select("company_id", "timezone")
    today = _today(zones, require_aware(as_of, "as_of"))
    pairs = clients.select(_PAIR).unique().sort(_PAIR).with_row_index("pair")
    slots = _slots(open_slots, services, pairs, zones, today, as_of, days_ahead)
    wanted = (
        companies.select("company_id", max_slots_to_offer="max_slots_to_offer")
        if "max_slots_to_offer" in companies.columns
        else None
    )
    wishes, favourites = _wishes(clients, profiles, pairs, today, wanted, max_slots)
    board = _Board(slots, pairs.height, favourites, days_ahead)
    picks: list[_Pick] = []
    for _, of_company in groupby(
        map(_Wish._make, wishes.select(_Wish._fields).iter_rows()), key=lambda wish: wish.company_id
    ):
        picks += board.share(of_company, spares)
    return _offers(picks, wishes, slots)


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

    wish: _Wish
    options: list[tuple[int, bool, int]] = field(default_factory=list)
    days: list[tuple[int, int]] = field(default_factory=list)
    slots: set[int] = field(default_factory=set)
    used_days: set[int] = field(default_factory=set)
    picked: int = 0


class _Board:
    """All open slots, and who has been offered which."""

    def __init__(self, slots: pl.DataFrame, pairs: int, favourites: pl.DataFrame, days: int) -> None:
        self.days = days
        per_pair = days * len(PERIODS)
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

    def share(self, wishes: Iterable[_Wish], spares: int) -> list[_Pick]:
        """Let the clients of one company choose, in order: first everyone's offers, then everyone's spares."""
        self.offered = {}
        choices = [_Choice(wish) for wish in wishes]
        picks = [pick for choice in choices for pick in self._choose(choice, choice.wish.slots_wanted, spare=False)]
        return picks + [pick for choice in choices for pick in self._choose(choice, spares, spare=True)]

    def _choose(self, choice: _Choice, count: int, *, spare: bool) -> list[_Pick]:
        picks: list[_Pick] = []
        while len(picks) < count:
            best = self._best_of_days(choice)
            if not best and not choice.used_days:
                break
            if not best:  # every other day is taken or empty: days may repeat
                choice.used_days.clear()
                best = self._best_of_days(choice)
                if not best:
                    break
            for points, key, slot, day in best[: count - len(picks)]:
                self.offered[key] = self.offered.get(key, 0) + 1
                choice.slots.add(key)
                choice.used_days.add(day)
                choice.picked += 1
                picks.append(_Pick(choice.wish.row, slot, choice.picked, spare, -points))
        return picks

    def _best_of_days(self, choice: _Choice) -> list[tuple[int, int, int, int]]:
        """The best slot of each day not used yet, best first, as (minus points, key, slot, day)."""
        if choice.options:
            return self._look(choice)
        for only_period, only_weekdays in _relaxations(choice.wish):
            choice.options = _options(choice.wish, only_period=only_period)
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
            for points, favourite, period in choice.options:
                slot = self._first(choice, favourite=favourite, bucket=(day - 1) * len(PERIODS) + period)
                if slot is not None:
                    found.append((-points - day_points, self.keys[slot], slot, day))
                    break
        return sorted(found)

    def _first(self, choice: _Choice, *, favourite: bool, bucket: int) -> int | None:
        """The earliest slot of the bucket that is neither given away nor the client's already."""
        buckets = self.favourite if favourite else self.any_staff
        group = choice.wish.favourite if favourite else choice.wish.pair
        bucket += (group or 0) * self.days * len(PERIODS)
        rows, keys, offered, end = buckets.rows, self.keys, self.offered, buckets.ends[bucket]
        position = buckets.starts[bucket]
        while position < end and offered.get(keys[rows[position]], 0) >= CLIENTS_PER_SLOT:
            position += 1
        buckets.starts[bucket] = position
        while position < end:
            key = keys[rows[position]]
            if key not in choice.slots and offered.get(key, 0) < CLIENTS_PER_SLOT:
                return rows[position]
            position += 1
        return None


def _relaxations(wish: _Wish) -> Iterable[tuple[bool, bool]]:
    """What to insist on, (period, weekdays): everything, then without weekdays, then without the period."""
    return dict.fromkeys([(wish.only_period, wish.only_weekdays), (wish.only_period, False), (False, False)])


def _options(wish: _Wish, *, only_period: bool) -> list[tuple[int, bool, int]]:
    """(points, favourite staff, period), best first. Equal points go by period, which inside a day means: earlier first."""
    periods = [wish.period] if only_period and wish.period is not None else range(len(PERIODS))
    options = []
    for period in periods:
        points = wish.period_points if period == wish.period else 0
        options.append((points, False, period))
        if wish.favourite is not None and wish.staff_points > 0:
            options.append((points + wish.staff_points, True, period))
    return sorted(options, key=lambda option: (-option[0], option[2]))


def _days(wish: _Wish, days: int, *, only_weekdays: bool) -> list[tuple[int, int]]:
    """(days ahead, points of the day) of the days to look at."""
    liked = dict(zip(wish.weekdays, wish.weekday_points, strict=False))
    found = []
    for ahead in range(1, days + 1):
        weekday = (wish.today + ahead - 1) % 7 + 1
        if not only_weekdays or weekday in liked:
            found.append((ahead, liked.get(weekday, 0) + (_SOON_POINTS if ahead in _SOON else 0)))
    return found


def _today(zones: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """company_id and today, its local day at `as_of`."""
    local = {zone: local_date(as_of, zone) for zone in zones["timezone"].unique().to_list()}
    day = pl.col("timezone").replace_strict(list(local), list(local.values()), return_dtype=pl.Date)
    return zones.select("company_id", day.alias("today"))


def _slots(
    open_slots: pl.DataFrame,
    services: pl.DataFrame,
    pairs: pl.DataFrame,
    zones: pl.DataFrame,
    today: pl.DataFrame,
    as_of: datetime,
    days: int,
) -> pl.DataFrame:
    """The slots that count, with pair, bucket, key, local_day, period and days ahead, sorted by bucket and key.

    The key is the slot of a company as one integer, ordered by start and then by staff.
    """
    durations = services.lazy().select(*_PAIR, "duration_s")
    near = (
        open_slots.lazy()
        .filter(
            pl.col("starts_at").is_between(pl.lit(as_of, INSTANT), pl.lit(as_of + timedelta(days=days + 2), INSTANT))
        )
        .join(pairs.lazy(), on=_PAIR)
        .join(durations, on=_PAIR, how="left")
        .filter(pl.col("length_s") >= pl.col("duration_s").fill_null(0))
        .select("company_id", "pair", "staff_id", "starts_at", "length_s")
        .collect(engine="streaming")
    )
    staff = near.select(pl.col("staff_id").unique().sort()).with_row_index("staff_no")
    since = (pl.col("starts_at") - pl.lit(as_of, INSTANT)).dt.total_microseconds()
    minute = pl.col("local_minute")
    period = sum(((minute >= start).cast(pl.Int64) for start in PERIOD_STARTS[1:]), start=pl.lit(0, pl.Int64))
    day = (pl.col("ahead") - 1) * len(PERIODS) + pl.col("period")
    return (
        with_local(near.lazy(), zones, "starts_at")
        .join(today.lazy(), on="company_id")
        .join(staff.lazy(), on="staff_id")
        .with_columns((since * staff.height + pl.col("staff_no").cast(pl.Int64)).alias("key"))
        .with_columns((pl.col("local_day") - pl.col("today")).dt.total_days().alias("ahead"), period.alias("period"))
        .filter(pl.col("ahead").is_between(1, days))
        .with_columns((pl.col("pair").cast(pl.Int64) * (days * len(PERIODS)) + day).alias("bucket"))
        .sort("bucket", "key")
        .collect(engine="streaming")
    )


def _wishes(
    clients: pl.DataFrame,
    profiles: pl.DataFrame,
    pairs: pl.DataFrame,
    today: pl.DataFrame,
    wanted: pl.DataFrame | None,
    max_slots: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The queue: the columns of `_Wish`, the clients' keys and favourite_staff_id; and the pairs' favourite staff (pair, staff_id, favourite)."""

    def points(factor: int, share: str) -> pl.Expr:
        return (factor * pl.col(share) + 0.5).floor().cast(pl.Int64).fill_null(0)

    tastes = profiles.lazy().select(
        "company_id",
        "client_id",
        "staff_id",
        "staff_share",
        "time_of_day",
        "time_confidence",
        "weekdays",
        "weekday_confidence",
    )
    offers = today.select("company_id").with_columns(max_slots_to_offer=pl.lit(max_slots)) if wanted is None else wanted
    period = pl.col("time_of_day").replace_strict(PERIODS, range(len(PERIODS)), default=None, return_dtype=pl.Int64)
    queue = (
        clients.lazy()
        .join(pairs.lazy(), on=_PAIR)
        .join(tastes, on=["company_id", "client_id"], how="left")
        .join(today.lazy(), on="company_id")
        .join(offers.lazy(), on="company_id", how="left")
        .with_columns(period.alias("period"), pl.col("weekdays").fill_null([]))
        .sort("company_id", "priority_rank", "client_id")
        .with_row_index("row")
        .collect()
    )
    favourites = (
        queue.select("pair", "staff_id").drop_nulls().unique().sort("pair", "staff_id").with_row_index("favourite")
    )
    return queue.join(favourites, on=["pair", "staff_id"], how="left", maintain_order="left").select(
        "row",
        "company_id",
        "pair",
        "favourite",
        points(_STAFF_POINTS, "staff_share").alias("staff_points"),
        "period",
        points(_PERIOD_POINTS, "time_confidence").alias("period_points"),
        (pl.col("period").is_not_null() & (pl.col("time_confidence") > _PERIOD_FILTER_ABOVE))
        .fill_null(value=False)
        .alias("only_period"),
        "weekdays",
        pl.concat_list(points(factor, "weekday_confidence") for factor in _WEEKDAY_POINTS).alias("weekday_points"),
        ((pl.col("weekdays").list.len() > 0) & (pl.col("weekday_confidence") > _WEEKDAY_FILTER_ABOVE))
        .fill_null(value=False)
        .alias("only_weekdays"),
        pl.col("today").dt.weekday().cast(pl.Int64),
        pl.col("max_slots_to_offer").fill_null(max_slots).alias("slots_wanted"),
        "client_id",
        "service_id",
        pl.col("staff_id").alias("favourite_staff_id"),
    ), favourites


def _offers(picks: list[_Pick], wishes: pl.DataFrame, slots: pl.DataFrame) -> pl.DataFrame:
    """The picks as the contract's columns, with the reasons in words."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "row": wishes.schema["row"],
        "slot": pl.Int64,
        "rank": pl.Int8,
        "spare": pl.Boolean,
        "score": pl.Int64,
    }
    chosen = pl.DataFrame(picks, schema=schema, orient="row")
    taken = slots.select(
        "staff_id", "starts_at", "local_day", "length_s", "ahead", pl.col("period").alias("slot_period")
    )
    period_name = pl.col("slot_period").replace_strict(range(len(PERIODS)), PERIODS, return_dtype=pl.String)
    reasons = (
        pl.when(pl.col("favourite_staff_id") == pl.col("staff_id")).then(pl.lit("favourite staff")),
        pl.when(pl.col("period") == pl.col("slot_period")).then(pl.format("usual time of day ({})", period_name)),
        pl.when(pl.col("local_day").dt.weekday().is_in(pl.col("weekdays"))).then(
            pl.format("usual weekday ({})", pl.col("local_day").dt.strftime("%A"))
        ),
        pl.when(pl.col("ahead").is_in(_SOON)).then(pl.lit("two or three days ahead")),
    )
    words = pl.concat_list(reasons).list.drop_nulls().list.join(", ")
    return (
        chosen.hstack(taken[chosen["slot"]])
        .lazy()
        .join(
            wishes.lazy().select(
                "row", "company_id", "client_id", "service_id", "favourite_staff_id", "period", "weekdays"
            ),
            on="row",
        )
        .with_columns(words.replace("", "next free time").alias("match_reason"))
        .select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())
        .sort("company_id", "client_id", "rank")
        .collect()
    )
