"""Which free times to offer to whom.

What to add here: points, filters and reasons. What to keep out: fetching slots, and checking them again before a send.

Clients are never joined with slots: they choose in priority order (slot_board), because a slot goes to at most two of them. That is a light
loop over the day's planned clients, company by company; everything around it works on whole columns.
"""

from datetime import datetime, timedelta
from itertools import groupby

import polars as pl

from reactivation_core.local_time import INSTANT, local_date, require_aware, with_local
from reactivation_core.slot_board import SOON, Board, Picks, Wish

PERIODS = ("morning", "afternoon", "evening")
PERIOD_STARTS = (0, 12 * 60, 17 * 60)
"""Minutes after local midnight at which the periods begin."""

_PERIOD_FILTER_ABOVE = 0.6
_WEEKDAY_FILTER_ABOVE = 0.5
_STAFF_POINTS, _PERIOD_POINTS = 60_000, 40_000
_WEEKDAY_POINTS = (20_000, 15_000, 10_000)
_PAIR = ["company_id", "service_id"]
_CLIENT = ["company_id", "client_id"]
_TASTES = ("staff_id", "staff_share", "time_of_day", "time_confidence", "weekdays", "weekday_confidence")
_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64, "client_id": pl.Int64, "service_id": pl.Int64, "rank": pl.Int8, "spare": pl.Boolean, "staff_id": pl.Int64,
    "starts_at": INSTANT, "local_day": pl.Date, "length_s": pl.Int64, "score": pl.Int64, "match_reason": pl.String,
}  # fmt: skip


def wishes(
    clients: pl.DataFrame, profiles: pl.DataFrame, companies: pl.DataFrame, *, as_of: datetime, max_slots: int = 3
) -> pl.DataFrame:
    """What each client is after, one row each, sorted by company and then as they choose. The arguments are those of `rank_slots`.

    Columns: company_id, client_id, service_id, today (local day at `as_of`), slots_wanted; staff_id (the favourite) and staff_points; period
    (0 morning, 1 afternoon, 2 evening) and period_points; weekdays (ISO, best first) and weekday_points; whether only_period and
    only_weekdays filter. Points are thousandths.
    """

    def points(factor: int, share: str) -> pl.Expr:
        return (factor * pl.col(share) + 0.5).floor().cast(pl.Int64).fill_null(0)

    if "max_slots_to_offer" not in companies.columns:
        companies = companies.with_columns(max_slots_to_offer=pl.lit(max_slots))
    salons = companies.join(clients.select("company_id").unique(), on="company_id", how="semi")
    today = _today(salons.select("company_id", "timezone"), require_aware(as_of, "as_of"))
    salons = salons.select("company_id", pl.col("max_slots_to_offer").fill_null(max_slots).alias("slots_wanted"))
    period = pl.col("time_of_day").replace_strict(PERIODS, range(len(PERIODS)), default=None, return_dtype=pl.Int64)
    return (
        clients.lazy()
        .join(profiles.lazy().select(*_CLIENT, *_TASTES), on=_CLIENT, how="left")
        .join(today.lazy(), on="company_id")
        .join(salons.lazy(), on="company_id")
        .sort("company_id", "priority_rank", "client_id")
        .select(
            *_CLIENT,
            "service_id",
            "today",
            "slots_wanted",
            "staff_id",
            points(_STAFF_POINTS, "staff_share").alias("staff_points"),
            period.alias("period"),
            points(_PERIOD_POINTS, "time_confidence").alias("period_points"),
            (period.is_not_null() & (pl.col("time_confidence") > _PERIOD_FILTER_ABOVE))
            .fill_null(value=False)
            .alias("only_period"),
            pl.col("weekdays").fill_null([]),
            pl.concat_list(points(factor, "weekday_confidence") for factor in _WEEKDAY_POINTS).alias("weekday_points"),
            ((pl.col("weekdays").list.len() > 0) & (pl.col("weekday_confidence") > _WEEKDAY_FILTER_ABOVE))
            .fill_null(value=False)
            .alias("only_weekdays"),
        )
        .collect()
    )


def period_of(minute: pl.Expr) -> pl.Expr:
    """The part of the day (0 morning, 1 afternoon, 2 evening) of a local minute of the day."""
    return sum(((minute >= start).cast(pl.Int64) for start in PERIOD_STARTS[1:]), start=pl.lit(0, pl.Int64))


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
    start = require_aware(as_of, "as_of")
    wanted = wishes(clients, profiles, companies, as_of=start, max_slots=max_slots)
    pairs = wanted.select(_PAIR).unique().sort(_PAIR).with_row_index("pair")
    salons = (
        wanted.select("company_id", "today").unique().join(companies.select("company_id", "timezone"), on="company_id")
    )
    slots = _slots(open_slots, services, pairs, salons, start, days_ahead)
    queue, favourites = _queue(wanted, pairs)
    board = Board(slots, pairs.height, favourites, days_ahead, len(PERIODS))
    in_turn = map(Wish._make, queue.select(Wish._fields).iter_rows())
    for _, of_company in groupby(in_turn, key=lambda wish: wish.company_id):
        board.share(of_company, spares)
    return _offers(board.picks, queue, slots)


def _today(zones: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """company_id and today, its local day at `as_of`."""
    names = zones["timezone"].unique().sort()
    days = pl.Series("today", [local_date(as_of, name) for name in names], dtype=pl.Date)
    return zones.join(pl.DataFrame([names, days]), on="timezone").select("company_id", "today")


def _slots(
    open_slots: pl.DataFrame,
    services: pl.DataFrame,
    pairs: pl.DataFrame,
    salons: pl.DataFrame,
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
    day = (pl.col("ahead") - 1) * len(PERIODS) + pl.col("period")
    return (
        with_local(near.lazy(), salons, "starts_at")
        .join(salons.lazy().select("company_id", "today"), on="company_id")
        .join(staff.lazy(), on="staff_id")
        .with_columns((since * staff.height + pl.col("staff_no").cast(pl.Int64)).alias("key"))
        .with_columns(
            (pl.col("local_day") - pl.col("today")).dt.total_days().alias("ahead"),
            period_of(pl.col("local_minute")).alias("period"),
        )
        .filter(pl.col("ahead").is_between(1, days))
        .with_columns((pl.col("pair").cast(pl.Int64) * (days * len(PERIODS)) + day).alias("bucket"))
        .sort("bucket", "key")
        .collect(engine="streaming")
    )


def _queue(wanted: pl.DataFrame, pairs: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The queue: the columns of `Wish`, the clients' keys and favourite_staff_id; and the pairs' favourite staff (pair, staff_id, favourite)."""
    queue = wanted.join(pairs, on=_PAIR, maintain_order="left").with_row_index("row")
    favourites = (
        queue.select("pair", "staff_id").drop_nulls().unique().sort("pair", "staff_id").with_row_index("favourite")
    )
    return queue.join(favourites, on=["pair", "staff_id"], how="left", maintain_order="left").with_columns(
        pl.col("today").dt.weekday().cast(pl.Int64), pl.col("staff_id").alias("favourite_staff_id")
    ), favourites


def _offers(picks: Picks, queue: pl.DataFrame, slots: pl.DataFrame) -> pl.DataFrame:
    """The picks as the contract's columns, with the reasons in words."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "row": queue.schema["row"],
        "slot": pl.Int64,
        "rank": pl.Int8,
        "spare": pl.Boolean,
        "score": pl.Int64,
    }
    chosen = pl.DataFrame({name: getattr(picks, name) for name in schema}, schema=schema)
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
        pl.when(pl.col("ahead").is_in(SOON)).then(pl.lit("two or three days ahead")),
    )
    words = pl.concat_list(reasons).list.drop_nulls().list.join(", ")
    return (
        chosen.hstack(taken[chosen["slot"]])
        .lazy()
        .join(
            queue.lazy().select(
                "row", "company_id", "client_id", "service_id", "favourite_staff_id", "period", "weekdays"
            ),
            on="row",
        )
        .with_columns(words.replace("", "next free time").alias("match_reason"))
        .select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())
        .sort("company_id", "client_id", "rank")
        .collect()
    )
