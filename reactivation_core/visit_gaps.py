"""How often people really come: the gaps between their visits, and what these say about every service.

A gap lies between two consecutive local days on which a client came: for one service, or for any. What to add here: what is measured from
gaps. What to keep out: which interval a rule uses (intervals.py), and how often clients are expected before anything is measured.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from reactivation_core.local_time import require_aware
from reactivation_core.visits import Frame, distinct_days, read_book

WINDOW_DAYS = 730
ENOUGH_GAPS = 50  # fewer say too little about a service: minDataPoints
REGULAR_ABOVE = 0.7
_ZONES_APART = timedelta(days=2)  # more than any two clocks differ
_SERVICE = ("company_id", "service_id")


def visit_gaps(*, companies: Frame, clients: Frame, records: Frame, as_of: datetime) -> pl.DataFrame:
    """One row per two consecutive visits of a client in the two years before `as_of`: the frame `visit_gaps`.

    Columns: company_id, client_id, service_id (null: visits for any service), visit_day (Date, local: the later visit's), gap_days (Int16).
    A visit is an attended local day known at `as_of`; several lines of a day are one visit. Null stands for "any service" because no
    service has that id, and a join with rules leaves those rows out by itself. Sorted by company, client, service (null first) and day.
    Raises ValueError for a naive `as_of` or an unknown time zone.
    """
    as_of = require_aware(as_of, "as_of")
    recent = records.lazy().filter(
        pl.col("starts_at").is_between(as_of - timedelta(days=WINDOW_DAYS) - _ZONES_APART, as_of)
    )
    performed = recent.filter(pl.col("service_id").is_not_null()).select(_SERVICE).unique().with_columns(active=True)
    book = read_book(companies, clients, recent, performed.collect(engine="streaming"), as_of)
    today = pl.lit(book.companies["today"]).gather(pl.col("client") // book.span)
    lines = book.lines.lazy().filter(pl.col("day") >= today - WINDOW_DAYS)
    anything = pl.col("client") * book.services  # number 0 is no service: there it stands for any
    visits = pl.concat(
        [
            lines.select(anything.alias("key"), "day"),
            lines.filter(pl.col("rule_no") > 0).select((anything + pl.col("rule_no")).alias("key"), "day"),
        ]
    ).collect(engine="streaming")
    book = replace(book, lines=book.lines.clear())  # the lines are half of the memory, and no longer needed
    same = pl.col("key") == pl.col("key").shift(1)
    days = distinct_days(visits, pl.col("key"))
    del visits
    gaps = (
        days.lazy()
        .with_columns(pl.when(same).then(pl.col("day") - pl.col("day").shift(1)).cast(pl.Int16).alias("gap_days"))
        .drop_nulls("gap_days")
        .select(
            (pl.col("key") // book.services).alias("client"),
            (pl.col("key") % book.services).alias("rule_no"),
            pl.col("day").cast(pl.Int32).cast(pl.Date).alias("visit_day"),
            "gap_days",
        )
    )
    services = book.rules.lazy().select("company_no", "rule_no", "service_id")
    return (
        book.with_ids(gaps)
        .join(services, on=["company_no", "rule_no"], how="left", maintain_order="left")
        .select("company_id", "client_id", "service_id", "visit_day", "gap_days")
        .collect(engine="streaming")
    )


def service_intervals(gaps: Frame) -> pl.DataFrame:
    """What the gaps say about every service, and about all together (service_id null): the frame `service_intervals`.

    Columns: company_id, service_id, clients (with a gap), gaps (the sample), lower_quartile, median_days, upper_quartile (interpolated),
    mean_days, std_days (population), regular_share (of the clients with two gaps or more those whose regularity, `1 - min(std/mean, 1)` of
    their gaps, is above 0.7; null without such clients), historical_days: the median in whole days, a half counting up because that asks
    less often; null below fifty gaps. Sorted by company and service, null first.
    """
    return (
        _distribution(gaps)
        .join(_clients(gaps), on=_SERVICE, nulls_equal=True)
        .sort(_SERVICE)
        .select(
            *_SERVICE, "clients", "gaps", "lower_quartile", "median_days", "upper_quartile", "mean_days", "std_days", "regular_share",
            pl.when(pl.col("gaps") >= ENOUGH_GAPS).then((pl.col("median_days") + 0.5).floor()).cast(pl.Int32).alias("historical_days"),
        )
    )  # fmt: skip


def _distribution(gaps: Frame) -> pl.DataFrame:
    """Sample size, quartiles, mean and deviation per service, from how often each length occurs: a fraction of the gaps' memory."""
    lengths = (
        gaps.lazy()
        .group_by(*_SERVICE, pl.col("gap_days").cast(pl.Int64))
        .agg(pl.len().cast(pl.Int64).alias("count"))
        .collect(engine="streaming")
        .sort(*_SERVICE, "gap_days")
    )
    length, count = pl.col("gap_days"), pl.col("count")
    sample, total, squares = count.sum(), (length * count).sum(), (length * length * count).sum()

    def quartile(number: int) -> pl.Expr:
        place = (sample - 1) * number  # in quarters of a place
        low = length.filter(count.cum_sum() > place // 4).first()
        high = length.filter(count.cum_sum() > (place + 3) // 4).first()
        return low + (high - low) * (place % 4) / 4

    return lengths.group_by(_SERVICE).agg(
        sample.cast(pl.Int32).alias("gaps"),
        quartile(1).alias("lower_quartile"),
        quartile(2).alias("median_days"),
        quartile(3).alias("upper_quartile"),
        (total / sample).alias("mean_days"),
        ((sample * squares - total * total).sqrt() / sample).alias("std_days"),
    )


def _clients(gaps: Frame) -> pl.DataFrame:
    """Clients per service, and the share of regulars among those with two gaps or more."""
    length = pl.col("gap_days").cast(pl.Int64)
    sample, total, squares = pl.col("sample"), pl.col("total"), pl.col("squares")
    spread = (sample * squares - total * total).sqrt()  # the deviation and the mean, each times the sample
    regularity = 1 - pl.min_horizontal(spread / total, 1.0)
    return (
        gaps.lazy()
        .group_by(*_SERVICE, "client_id")
        .agg(
            pl.len().cast(pl.Int64).alias("sample"),
            length.sum().alias("total"),
            (length * length).sum().alias("squares"),
        )
        .group_by(_SERVICE)
        .agg(
            pl.len().cast(pl.Int32).alias("clients"),
            (regularity > REGULAR_ABOVE).filter(sample >= 2).mean().alias("regular_share"),
        )
        .collect(engine="streaming")
    )
