"""Sums over the facts of campaigns, and the report a salon reads.

Every function takes the frame `conversions` (`reactivation_core.attribution.CONVERSIONS`), already limited to the
companies and days wanted. Each frame here has its twin among the DuckDB queries in `sql/analytics`, which gives the
same rows. Intervals and tests live in `reactivation_core.statistics`. Times are averaged over whole microseconds, so
that the order in which an engine adds them up cannot show.
"""

from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from reactivation_core.statistics import Arm, Lift, Rate, lift, rate, roi

METRIC_KEYS = (
    *("day", "company_id", "service_id", "attempt_number", "hour", "weekday", "stage", "tone", "source", "held_out"),
)
_EPISODE = ("company_id", "client_id", "episode_no")
_MICROSECONDS_PER_MINUTE = 60_000_000
_MINUTES = (
    1 / _MICROSECONDS_PER_MINUTE
)  # multiplied by, never divided: engines round divisions by a constant differently


def conversion_metrics(conversions: pl.DataFrame) -> pl.DataFrame:
    """Counts and sums of each cell of `METRIC_KEYS`, sorted by them, null first; held-out campaigns have cells of their own.

    Columns after the keys: campaigns, delivered, read, replied, booked, attended, opted_out, revenue_minor,
    discount_minor, cost_minor, reply_minutes_sum.
    """
    return (
        conversions.group_by(METRIC_KEYS)
        .agg(
            pl.len().cast(pl.Int64).alias("campaigns"),
            *_counts("delivered", "read", "replied", "booked", "attended", "opted_out"),
            *_money("revenue_minor", "discount_minor", "cost_minor"),
            (_microseconds("reply_minutes").sum() * _MINUTES).alias("reply_minutes_sum"),
        )
        .sort(METRIC_KEYS)
    )


def overview(conversions: pl.DataFrame) -> pl.DataFrame:
    """One row over the messages sent.

    Columns: sent, delivered, read, replied, booked, attended, opted_out, unsettled (may still gain a booking), and
    reply_minutes_average, reply_minutes_median, booking_minutes_average, booking_minutes_median (null without any).
    """
    return _sent(conversions).select(
        pl.len().cast(pl.Int64).alias("sent"),
        *_counts("delivered", "read", "replied", "booked", "attended", "opted_out"),
        (~pl.col("settled")).sum().cast(pl.Int64).alias("unsettled"),
        *_average_and_median("reply_minutes"),
        *_average_and_median("booking_minutes"),
    )


def breakdown(conversions: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Messages sent by `keys`: sent, replied, booked, attended, opted_out, sorted by the keys, null first."""
    counts = _counts("replied", "booked", "attended", "opted_out")
    return _sent(conversions).group_by(keys).agg(pl.len().cast(pl.Int64).alias("sent"), *counts).sort(keys)


def by_attempt(conversions: pl.DataFrame) -> pl.DataFrame:
    """`breakdown` by attempt_number."""
    return breakdown(conversions, "attempt_number")


def by_service(conversions: pl.DataFrame) -> pl.DataFrame:
    """`breakdown` by company_id and service_id."""
    return breakdown(conversions, "company_id", "service_id")


def revenue(conversions: pl.DataFrame) -> pl.DataFrame:
    """Per company, since currencies differ: sent, booked, attended, revenue_minor, cost_minor, discount_minor."""
    return (
        _sent(conversions)
        .group_by("company_id")
        .agg(
            pl.len().cast(pl.Int64).alias("sent"),
            *_counts("booked", "attended"),
            *_money("revenue_minor", "cost_minor", "discount_minor"),
        )
        .sort("company_id")
    )


def lift_counts(conversions: pl.DataFrame) -> pl.DataFrame:
    """Episodes of both arms per company.

    Columns: company_id, held_out, episodes, booked, attended, revenue_minor, revenue_squared (sum of the squared
    revenue per episode, Decimal(38, 0)), cost_minor, discount_minor.

    An episode counts once however many messages it took, and counts as booked when any of them led to a booking. Only
    attempts that the company's held-out episodes went through as well are compared, so that both arms are watched
    through the same windows; without held-out episodes all attempts count.
    """
    compared = pl.col("attempt_number").filter("held_out").max().over("company_id")
    episodes = (
        conversions.filter(pl.col("attempt_number") <= pl.coalesce(compared, "attempt_number"))
        .group_by(*_EPISODE, "held_out")
        .agg(
            pl.col("booked", "attended").any(),
            *_money("revenue_minor", "cost_minor", "discount_minor"),
        )
    )
    return (
        episodes.group_by("company_id", "held_out")
        .agg(
            pl.len().cast(pl.Int64).alias("episodes"),
            *_counts("booked", "attended"),
            pl.col("revenue_minor").sum(),
            # The squares of a large salon's revenue in kopecks leave 64 bits.
            (pl.col("revenue_minor").cast(pl.Int128) ** 2).sum().cast(pl.Decimal(38, 0)).alias("revenue_squared"),
            pl.col("cost_minor", "discount_minor").sum(),
        )
        .sort("company_id", "held_out")
    )


def measured_lift(counts: pl.DataFrame) -> Lift:
    """Messaged against held-out episodes from the frame of `lift_counts`. Companies must share a currency."""
    return lift(_arm(counts.filter(~pl.col("held_out"))), _arm(counts.filter("held_out")))


@dataclass(frozen=True)
class Timing:
    """Average and median minutes; None when nothing happened yet. 0 is a time."""

    average_minutes: float | None
    median_minutes: float | None


@dataclass(frozen=True)
class Segment:
    """One row of a breakdown: what the messages sent under `key` came to."""

    key: int | str | None
    sent: int
    response: Rate
    conversion: Rate


@dataclass(frozen=True)
class Revenue:
    """Money in minor units. `cost_minor` is messages and platform share of all sends plus the discounts given.

    `roi` is (revenue - cost) / cost of all attributed revenue; the incremental one sets the revenue beyond the held-out
    clients' against the cost of the messages compared. None when nothing was spent or no one was held out.
    """

    revenue_minor: int
    message_cost_minor: int
    discount_minor: int
    cost_minor: int
    average_booking_minor: int | None
    roi: Decimal | None
    incremental_revenue_minor: int | None
    incremental_roi: Decimal | None


@dataclass(frozen=True)
class CampaignReport:
    """What the messages of one currency's companies came to, every rate with its 95 % interval.

    `funnel` counts sent, delivered, read, replied, booked, attended. `intents` counts replies by what they wanted.
    `unsettled` messages may still gain a booking. `lift.words` says what the comparison does and does not show.
    """

    currency: str
    funnel: dict[str, int]
    unsettled: int
    delivery: Rate
    response: Rate
    conversion: Rate
    attendance: Rate
    opt_out: Rate
    reply: Timing
    booking: Timing
    by_attempt: tuple[Segment, ...]
    by_service: tuple[Segment, ...]
    by_source: tuple[Segment, ...]
    intents: dict[str, int]
    revenue: Revenue
    lift: Lift


def campaign_report(conversions: pl.DataFrame, responses: pl.DataFrame, currency: str) -> CampaignReport:
    """The report over `conversions`; all its companies must keep their money in `currency` (ISO 4217).

    `responses` has campaign_id and intent; replies to other campaigns or to none are left out.
    """
    whole = overview(conversions).row(0, named=True)
    sent = whole["sent"]
    counts = lift_counts(conversions)
    measured = measured_lift(counts)
    return CampaignReport(
        currency=currency,
        funnel={stage: whole[stage] for stage in ("sent", "delivered", "read", "replied", "booked", "attended")},
        unsettled=whole["unsettled"],
        delivery=rate(whole["delivered"], sent),
        response=rate(whole["replied"], sent),
        conversion=rate(whole["booked"], sent),
        attendance=rate(whole["attended"], whole["booked"]),
        opt_out=rate(whole["opted_out"], sent),
        reply=Timing(whole["reply_minutes_average"], whole["reply_minutes_median"]),
        booking=Timing(whole["booking_minutes_average"], whole["booking_minutes_median"]),
        by_attempt=_segments(by_attempt(conversions), "attempt_number"),
        by_service=_segments(breakdown(conversions, "service_id"), "service_id"),
        by_source=_segments(breakdown(conversions, "source"), "source"),
        intents=_intents(conversions, responses),
        revenue=revenue_and_roi(revenue(conversions), counts),
        lift=measured,
    )


def revenue_and_roi(totals: pl.DataFrame, counts: pl.DataFrame) -> Revenue:
    """Gross and incremental revenue and ROI from the frames of `revenue` and `lift_counts`, in one currency."""
    total = totals.select(pl.col("attended", "revenue_minor", "cost_minor", "discount_minor").sum()).row(0, named=True)
    cost = total["cost_minor"] + total["discount_minor"]
    attended = total["attended"]
    gained = measured_lift(counts).revenue_minor
    compared = counts.filter(~pl.col("held_out"))
    spent = sum(compared.select(pl.col("cost_minor", "discount_minor").sum()).row(0))
    return Revenue(
        revenue_minor=total["revenue_minor"],
        message_cost_minor=total["cost_minor"],
        discount_minor=total["discount_minor"],
        cost_minor=cost,
        average_booking_minor=(2 * total["revenue_minor"] + attended) // (2 * attended) if attended else None,
        roi=roi(total["revenue_minor"], cost),
        incremental_revenue_minor=gained,
        incremental_roi=None if gained is None else roi(gained, spent),
    )


def _arm(counts: pl.DataFrame) -> Arm:
    episodes, booked, earned, squared = counts.select(
        pl.col("episodes", "booked", "revenue_minor", "revenue_squared").sum()
    ).row(0)
    return Arm(episodes, booked, earned, int(squared))


def _segments(frame: pl.DataFrame, key: str) -> tuple[Segment, ...]:
    return tuple(
        Segment(row[key], row["sent"], rate(row["replied"], row["sent"]), rate(row["booked"], row["sent"]))
        for row in frame.iter_rows(named=True)
    )


def _intents(conversions: pl.DataFrame, responses: pl.DataFrame) -> dict[str, int]:
    seen = responses.join(conversions.select("campaign_id"), on="campaign_id", how="semi")
    counted = seen.group_by("intent").len().sort("len", "intent", descending=[True, False], nulls_last=True)
    return {str(intent): count for intent, count in counted.iter_rows()}


def _sent(conversions: pl.DataFrame) -> pl.DataFrame:
    return conversions.filter(~pl.col("held_out"))


def _counts(*columns: str) -> list[pl.Expr]:
    return [pl.col(column).sum().cast(pl.Int64) for column in columns]


def _money(*columns: str) -> list[pl.Expr]:
    return [pl.col(column).sum() for column in columns]


def _average_and_median(minutes: str) -> list[pl.Expr]:
    spans = _microseconds(minutes)
    average = spans.sum() / pl.when(spans.count() > 0).then(spans.count())
    return [
        (average * _MINUTES).alias(f"{minutes}_average"),
        (spans.median() * _MINUTES).alias(f"{minutes}_median"),
    ]


def _microseconds(minutes: str) -> pl.Expr:
    return (pl.col(minutes) * _MICROSECONDS_PER_MINUTE).round().cast(pl.Int64)
