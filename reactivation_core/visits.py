"""Visits as packed integers: what detection and preferences count, read from the journal's lines in one pass.

A visit is one client on one local day, attended, not deleted, known at the as-of instant. Lines are packed into single 64-bit integers
(client, service, day) because sorting and comparing one integer is several times cheaper than three columns. Clients get a number inside
the company only where their ids would not fit.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import polars as pl

from reactivation_core.local_time import (
    day_number,
    local_microseconds,
    microseconds,
    require_aware,
    zone_shifts,
)

DAY_BITS = 16  # days since 1970 up to the year 2149
_DAY_MASK = (1 << DAY_BITS) - 1
_KEY_BITS = 62

Frame = pl.DataFrame | pl.LazyFrame
EitherFrame = TypeVar("EitherFrame", pl.DataFrame, pl.LazyFrame)


@dataclass(frozen=True)
class Book:
    """The lines that matter at one instant, and how to read them.

    `lines`: client (Int64, packed company and client), rule_no (Int32; 0 = a service without an active rule), day (Int32, days since
    1970, local), price (Int64, minor units or null), upcoming (Int64 microseconds; null for a visit). `companies`: company_no,
    company_id, today. `rules`: company_no, rule_no and the columns of the frame `rules`.
    """

    lines: pl.DataFrame
    companies: pl.DataFrame
    rules: pl.DataFrame
    services: int
    span: int
    lowest: int
    client_ids: pl.Series | None

    def with_ids(self, frame: EitherFrame) -> EitherFrame:
        """`frame` (with the column client) with company_no (Int64), company_id and client_id in its place."""
        number = pl.col("client") % self.span
        client_id = number + self.lowest if self.client_ids is None else pl.lit(self.client_ids).gather(number)
        company_no = pl.col("client") // self.span
        return frame.with_columns(
            company_no.alias("company_no"),
            pl.lit(self.companies["company_id"]).gather(company_no).alias("company_id"),
            client_id.alias("client_id"),
        )


def company_clock(companies: Frame, as_of: datetime) -> pl.DataFrame:
    """company_no (Int64, by company_id), company_id, timezone and today (Int64, the local day of `as_of` since 1970)."""
    listed = companies.lazy().select("company_id", "timezone").sort("company_id").collect()
    shifts = zone_shifts(dict(listed.iter_rows()), as_of, as_of)
    today = day_number(pl.lit(microseconds(as_of)) + pl.col("offset_0")).cast(pl.Int64)
    return listed.join(
        shifts.select("company_id", today.alias("today")), on="company_id", maintain_order="left"
    ).select(pl.int_range(pl.len(), dtype=pl.Int64).alias("company_no"), "company_id", "timezone", "today")


def read_book(
    companies: Frame,
    clients: Frame,
    records: Frame,
    rules: Frame,
    as_of: datetime,
    *,
    clock: pl.DataFrame | None = None,
) -> Book:
    """The visits and the future records known at `as_of`, of known companies and clients that are not deleted.

    Frames carry the columns of the mirror. Raises ValueError for a naive `as_of` or an unknown time zone.
    """
    as_of = require_aware(as_of, "as_of")
    clock = company_clock(companies, as_of) if clock is None else clock
    journal = records.lazy()
    extent = _extent(journal, as_of)
    ruled = _numbered_rules(rules, clock)
    services = int(ruled["rule_no"].max() or 0) + 1  # type: ignore[arg-type]
    lowest, span = extent["lowest"], extent["highest"] - extent["lowest"] + 1
    client_ids = None
    if (clock.height * span * services).bit_length() + DAY_BITS > _KEY_BITS:
        client_ids = journal.select(pl.col("client_id").drop_nulls().unique().sort()).collect().to_series()
        lowest, span = 0, len(client_ids)
        numbers = pl.DataFrame({"client_id": client_ids, "number": pl.int_range(span, dtype=pl.Int64, eager=True)})
        journal = journal.join(numbers.lazy(), on="client_id", how="left")
    number = pl.col("client_id") - lowest if client_ids is None else pl.col("number")
    shifts = zone_shifts(dict(clock.select("company_id", "timezone").iter_rows()), extent["earliest"], extent["latest"])
    places = clock.select("company_id", "company_no").join(shifts, on="company_id")
    gone = clients.lazy().filter("deleted").select("company_id", "client_id")
    past = pl.col("starts_at") <= as_of
    lines = (
        journal.filter(
            pl.col("created_at") <= as_of,
            ~pl.col("deleted"),
            pl.col("client_id").is_not_null(),
            pl.when(past).then(pl.col("status") == "attended").otherwise(pl.col("status") != "cancelled"),
        )
        .join(gone, on=["company_id", "client_id"], how="anti")
        .join(places.lazy(), on="company_id")
        .join(ruled.lazy().select("company_id", "service_id", "rule_no"), on=["company_id", "service_id"], how="left")
        .select(
            (pl.col("company_no") * span + number).alias("client"),
            pl.col("rule_no").fill_null(0).cast(pl.Int32),
            day_number(local_microseconds(pl.col("starts_at"), shifts.columns)).clip(0).alias("day"),
            pl.col("price_minor").alias("price"),
            pl.when(~past).then(pl.col("starts_at").dt.epoch("us")).alias("upcoming"),
        )
        .collect(engine="streaming")
    )
    return Book(lines, clock, ruled, services, span, lowest, client_ids)


def _extent(journal: pl.LazyFrame, as_of: datetime) -> dict[str, Any]:
    """earliest and latest start, lowest and highest client id; harmless values for an empty journal."""
    row = (
        journal.select(
            pl.col("starts_at").min().alias("earliest"),
            pl.col("starts_at").max().alias("latest"),
            pl.col("client_id").min().alias("lowest"),
            pl.col("client_id").max().alias("highest"),
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    empty = {"earliest": as_of.astimezone(UTC), "latest": as_of.astimezone(UTC), "lowest": 0, "highest": 0}
    return {name: empty[name] if value is None else value for name, value in row.items()}


def _numbered_rules(rules: Frame, clock: pl.DataFrame) -> pl.DataFrame:
    """Active rules of known companies with rule_no, counted from 1 inside each company by service_id."""
    return (
        rules.lazy()
        .filter("active")
        .join(clock.lazy().select("company_id", "company_no"), on="company_id")
        .sort("company_id", "service_id")
        .with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("company_id").alias("rule_no"))
        .collect()
    )


def distinct_days(lines: Frame, key: pl.Expr) -> pl.DataFrame:
    """The distinct days of each `key` among `lines`: columns key and day (Int64), sorted. Sorts one packed integer."""
    packed = (
        lines.lazy()
        .select((key.cast(pl.Int64) * (1 << DAY_BITS) + pl.col("day")).alias("packed"))
        .collect()
        .to_series()
        .sort()
    )
    packed = packed.filter(packed.ne_missing(packed.shift(1)))
    return pl.DataFrame({"key": packed // (1 << DAY_BITS), "day": packed & _DAY_MASK})


def last_days(days: pl.DataFrame) -> pl.DataFrame:
    """The last row of each key of `distinct_days`: key, day, row (its place among `days`) and days (how many the key has), all Int64."""
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    last = days.with_columns(row.alias("row")).filter(pl.col("key").ne_missing(pl.col("key").shift(-1)))
    return last.with_columns((pl.col("row") - pl.col("row").shift(1).fill_null(-1)).alias("days"))
