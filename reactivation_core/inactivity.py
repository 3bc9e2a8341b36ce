"""Which clients are due, and whether they may be written to: the frame `inactive_clients`.

A client is due when the days since the last visit with a service exceed the rule's interval, stretched to the client's own rhythm where
that is known. Every due client gets one service, one decision and one reason. What to keep out: how many can be written to today and when
(planning), and what they like (preferences).
"""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from reactivation_core.exclusions import REASONS, Reason, exclusion_flags
from reactivation_core.intervals import RHYTHM_GAPS, due_after, rhythm_days
from reactivation_core.local_time import INSTANT, require_aware
from reactivation_core.visits import DAY_BITS, Book, Frame, company_clock, distinct_days, last_days, read_book

__all__ = ["InactivityInputs", "LoyaltyThresholds", "Reason", "detect_inactive", "due_clients", "evaluate_rules"]

SEGMENTS = ("vip", "regular", "new")
MINOR_UNITS = 100
INACTIVE_CLIENTS: dict[str, pl.DataType | type[pl.DataType]] = {
    "company_id": pl.Int64,
    "client_id": pl.Int64,
    "service_id": pl.Int64,
    "last_visit": pl.Date,
    "days_since": pl.Int32,
    "days_since_any": pl.Int32,
    "due_after": pl.Int32,
    "decision": pl.String,
    "reason": pl.String,
    "segment": pl.String,
    "priority": pl.Float64,
    "visits": pl.Int32,
    "spent_minor": pl.Int64,
    "loyalty": pl.Int8,
    "interval_days": pl.Int32,
    "rhythm_days": pl.Float64,
    "gaps": pl.Int8,
    "service_visits": pl.Int32,
    "upcoming_at": INSTANT,
}


@dataclass(frozen=True)
class InactivityInputs:
    """The mirror, the rules and what was said and sent, each a DataFrame or a LazyFrame with the columns of its contract."""

    companies: Frame
    services: Frame
    staff: Frame
    clients: Frame
    records: Frame
    rules: Frame
    campaigns: Frame
    suppressions: Frame
    pauses: Frame


@dataclass(frozen=True)
class LoyaltyThresholds:
    """What a client must reach for each level: visits, and spend in whole units of the company's currency."""

    vip_visits: int = 20
    vip_spent: int = 50_000
    gold_visits: int = 10
    gold_spent: int = 20_000
    silver_visits: int = 5
    silver_spent: int = 8_000
    bronze_visits: int = 2

    def loyalty(self) -> pl.Expr:
        """1 New, 2 Bronze, 3 Silver, 4 Gold, 5 VIP (Int8), from the columns visits and spent_minor."""

        def reached(visits: int, spent: int = 0) -> pl.Expr:
            return (pl.col("visits") >= visits) & (pl.col("spent_minor") >= spent * MINOR_UNITS)

        level = (
            pl.when(reached(self.vip_visits, self.vip_spent))
            .then(5)
            .when(reached(self.gold_visits, self.gold_spent))
            .then(4)
            .when(reached(self.silver_visits, self.silver_spent))
            .then(3)
            .when(pl.col("visits") >= self.bronze_visits)
            .then(2)
            .otherwise(1)
        )
        return level.cast(pl.Int8)


def detect_inactive(
    inputs: InactivityInputs, as_of: datetime, thresholds: LoyaltyThresholds = LoyaltyThresholds()
) -> pl.DataFrame:
    """One row per client due at `as_of`, with the decision, the reason and the priority: the frame `inactive_clients`.

    Only what was known at `as_of` counts. Rows are sorted by company, segment, score and client. Raises ValueError for a naive `as_of`
    or an unknown time zone of a company.
    """
    as_of = require_aware(as_of, "as_of")
    due = due_clients(inputs, as_of, thresholds)
    flags = exclusion_flags(inputs, due, as_of)
    reason = pl.coalesce(*(pl.when(pl.col(name)).then(pl.lit(name.value)) for name in REASONS), pl.lit(""))
    return (
        flags.with_columns(reason.alias("reason"))
        .with_columns(
            pl.when(pl.col("reason") == "").then(pl.lit("eligible")).otherwise(pl.lit("excluded")).alias("decision")
        )
        .sort("company_id", "segment_rank", "score", "client_id", descending=[False, False, True, False])
        .select(pl.col(name).cast(kind) for name, kind in INACTIVE_CLIENTS.items())
    )


def evaluate_rules(inputs: InactivityInputs, as_of: datetime) -> pl.DataFrame:
    """What every active rule says about every client who ever came for its service.

    Columns: company_id, client_id, service_id, last_visit (Date), days_since, interval_days, gaps (personal gaps used, at most five),
    own_days (their median, Float64, null below two gaps), rhythm_days (Float64|null), personal_factor, due_after, due (bool),
    service_visits. Sorted by company, client and service.
    """
    book = _book(inputs, require_aware(as_of, "as_of"))
    numbers = _rule_numbers(book, inputs.companies, every_pair=True)
    return book.with_ids(numbers).select(
        "company_id", "client_id", "service_id", pl.col("day").cast(pl.Int32).cast(pl.Date).alias("last_visit"),
        pl.col("days_since").cast(pl.Int32), pl.col("interval_days").cast(pl.Int32), pl.col("gaps").cast(pl.Int8), "own_days",
        "rhythm_days", "personal_factor", pl.col("due_after").cast(pl.Int32), (pl.col("days_since") > pl.col("due_after")).alias("due"),
        pl.col("service_visits").cast(pl.Int32),
    ).sort("company_id", "client_id", "service_id")  # fmt: skip


def due_clients(
    inputs: InactivityInputs, as_of: datetime, thresholds: LoyaltyThresholds = LoyaltyThresholds()
) -> pl.DataFrame:
    """The due clients with the service chosen for each, their history, segment, integer score and priority, undecided and unsorted.

    All columns of `inactive_clients` but decision and reason, and besides: own_days, segment_rank (0 vip, 1 regular, 2 new) and score.
    """
    book = _book(inputs, require_aware(as_of, "as_of"))
    numbers = _rule_numbers(book, inputs.companies)
    due = numbers.filter(pl.col("days_since") > pl.col("due_after"))
    chosen = _one_service(book.with_ids(due), inputs.services)
    return _scored(_with_history(book, chosen), thresholds)


def _book(inputs: InactivityInputs, as_of: datetime) -> Book:
    clock = company_clock(inputs.companies, as_of)
    return read_book(inputs.companies, inputs.clients, inputs.records, inputs.rules, as_of, clock=clock)


def _visits(book: Book) -> pl.LazyFrame:
    return book.lines.lazy().filter(pl.col("upcoming").is_null())


def _rule_numbers(book: Book, companies: Frame, *, every_pair: bool = False) -> pl.DataFrame:
    """Steps one and two per (client, rule): days since, personal rhythm, threshold.

    Without `every_pair` only pairs whose days since exceed the interval: no personal rhythm makes anyone due earlier than that.
    """
    ruled = _visits(book).filter(pl.col("rule_no") > 0)
    days = distinct_days(ruled, pl.col("client") * book.services + pl.col("rule_no"))
    settings = companies.lazy().select("company_id", pl.col("personal_factor").cast(pl.Float64)).collect()
    rules = (
        book.rules.join(book.companies.select("company_id", "today"), on="company_id")
        .join(settings, on="company_id")
        .select(
            "company_no",
            "rule_no",
            "service_id",
            pl.col("interval_days").cast(pl.Int64),
            "today",
            "personal_factor",
            "max_attempts",
        )
    )
    latest = (
        last_days(days)
        .rename({"days": "service_visits"})
        .with_columns(
            (pl.col("key") // (book.span * book.services)).alias("company_no"),
            (pl.col("key") % book.services).alias("rule_no"),
        )
        .join(rules, on=["company_no", "rule_no"])
        .with_columns(
            (pl.col("today") - pl.col("day")).alias("days_since"), (pl.col("key") // book.services).alias("client")
        )
    )
    if not every_pair:
        latest = latest.filter(pl.col("days_since") > pl.col("interval_days"))
    latest = latest.with_columns(pl.min_horizontal(pl.col("service_visits") - 1, RHYTHM_GAPS).alias("gaps"))
    return (
        latest.with_columns(_median_gap(latest, days["day"]).alias("own_days"))
        .with_columns(rhythm_days(pl.col("own_days"), pl.col("gaps"), pl.col("interval_days")).alias("rhythm_days"))
        .with_columns(
            due_after(pl.col("interval_days"), pl.col("rhythm_days"), pl.col("personal_factor")).alias("due_after")
        )
        .drop("key", "row", "today", "rule_no", "company_no")
    )


def _median_gap(latest: pl.DataFrame, days: pl.Series) -> pl.Series:
    """The median (Float64) of the last `gaps` gaps before place `row` among `days`; null below two gaps.

    All gaps are sorted at once, each behind the number of its row, so that a row's middle ones lie at known places.
    """
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    backs = []
    for back in range(RHYTHM_GAPS):
        rows = latest.select(number.alias("number"), "row", "gaps").filter(pl.col("gaps") > back)
        gap = days.gather(rows["row"] - back) - days.gather(rows["row"] - back - 1)
        backs.append(rows["number"] * (1 << DAY_BITS) + gap)
    gaps = pl.concat(backs).sort() % (1 << DAY_BITS)
    count, start = latest["gaps"], latest["gaps"].cum_sum() - latest["gaps"]
    several = pl.DataFrame({"several": count >= 2, "low": start + (count - 1) // 2, "high": start + count // 2})
    at = several.select(pl.when("several").then("low").alias("low"), pl.when("several").then("high").alias("high"))
    return (gaps.gather(at["low"]) + gaps.gather(at["high"])) / 2


def _one_service(due: pl.DataFrame, services: Frame) -> pl.DataFrame:
    """Step three: per client the service of most visits, then the most overdue, the dearest, the lowest id."""
    known = services.lazy().select("company_id", "service_id", "list_price_minor", "active").collect()
    order = ["client", "service_visits", "overdue", "list_price_minor", "service_id"]
    return (
        due.join(known, on=["company_id", "service_id"], how="left")
        .with_columns(
            pl.col("list_price_minor").fill_null(0),
            pl.col("active").fill_null(value=False).alias("service_active"),
            (pl.col("days_since") / pl.col("due_after")).alias("overdue"),
        )
        .sort(order, descending=[False, True, True, True, False])
        .filter(pl.col("client").ne_missing(pl.col("client").shift(1)))
        .drop("active")
    )


def _with_history(book: Book, chosen: pl.DataFrame) -> pl.DataFrame:
    """Visits, spend and last visit over all services, and the next future record, of the chosen rows' clients."""
    visits = _visits(book)
    days = distinct_days(visits, pl.col("client"))
    last = last_days(days).select(
        pl.col("key").alias("client"), pl.col("day").alias("last_any"), pl.col("days").alias("visits")
    )
    spent = (
        visits.lazy()
        .group_by("client")
        .agg(pl.col("price").sum().cast(pl.Int64).alias("spent_minor"))
        .collect(engine="streaming")
    )
    upcoming = book.lines.filter(pl.col("upcoming").is_not_null()).group_by("client").agg(pl.col("upcoming").min())
    return (
        chosen.join(last, on="client", how="left")
        .join(spent, on="client", how="left")
        .join(upcoming, on="client", how="left")
        .join(book.companies.select("company_id", "today"), on="company_id", how="left")
        .with_columns(
            (pl.col("today") - pl.col("last_any")).alias("days_since_any"),
            pl.col("day").cast(pl.Int32).cast(pl.Date).alias("last_visit"),
            pl.from_epoch("upcoming", time_unit="us").dt.replace_time_zone("UTC").alias("upcoming_at"),
        )
    )


def _scored(due: pl.DataFrame, thresholds: LoyaltyThresholds) -> pl.DataFrame:
    """Step five: loyalty, segment, and the score as a whole number of 1/(100 N) so that no rounding can reorder clients."""

    def at_most(name: str) -> pl.Expr:
        return pl.col(name).rank("max").over("company_id").cast(pl.Int64)

    clients = pl.len().over("company_id").cast(pl.Int64)
    rank = pl.when(pl.col("loyalty") >= 4).then(0).when(pl.col("visits") == 1).then(2).otherwise(1)
    score = (
        8 * pl.col("loyalty").cast(pl.Int64) * clients
        + 30 * at_most("spent_minor")
        + 20 * at_most("visits")
        + 10 * at_most("overdue")
    )
    return (
        due.with_columns(thresholds.loyalty().alias("loyalty"))
        .with_columns(rank.alias("segment_rank"), score.alias("score"))
        .with_columns(
            pl.col("segment_rank").replace_strict([0, 1, 2], SEGMENTS, return_dtype=pl.String).alias("segment"),
            (pl.col("score") / (100 * clients)).alias("priority"),
        )
    )
