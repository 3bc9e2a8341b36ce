"""Which booking belongs to which campaign, and the facts of every campaign.

Holds the attribution rule and the frame `conversions`, one row per campaign. Sums and rates over it live in
`reactivation_core.metrics`. Nothing here decides what a campaign does next.
"""

from datetime import datetime

import polars as pl

from reactivation_core.local_time import INSTANT, require_aware, with_local

ATTRIBUTION_DAYS = 7
SETTLE_DAYS = 14
PLATFORM_SHARE_MINOR = 500  # five units of the company's currency for every message sent
OPT_OUT = "opt_out"

_MICROSECONDS_PER_MINUTE = 60_000_000
_NOT_A_BOOKING = "cancelled"

CAMPAIGN_COLUMNS = ("campaign_id", "company_id", "client_id", "episode_no", "attempt_number", "held_out")
FACT_COLUMNS = (
    *CAMPAIGN_COLUMNS,
    *("service_id", "staff_id", "timezone", "send_after", "sent_at", "delivered_at", "read_at"),
    *("stage", "tone", "source", "discount_percent", "cost_minor"),
)

BOOKINGS = pl.Schema(
    {
        "campaign_id": pl.String(),
        "company_id": pl.Int64(),
        "client_id": pl.Int64(),
        "booked_record_id": pl.Int64(),
        "booked_at": INSTANT,
        "starts_at": INSTANT,
        "booking_minutes": pl.Float64(),
        "attended": pl.Boolean(),
        "revenue_minor": pl.Int64(),
    }
)

CONVERSIONS = pl.Schema(
    {
        "campaign_id": pl.String(),
        "company_id": pl.Int64(),
        "client_id": pl.Int64(),
        "service_id": pl.Int64(),
        "staff_id": pl.Int64(),
        "episode_no": pl.Int32(),
        "attempt_number": pl.Int16(),
        "held_out": pl.Boolean(),
        "day": pl.Date(),
        "sent_at": INSTANT,
        "hour": pl.Int8(),
        "weekday": pl.Int8(),
        "stage": pl.String(),
        "tone": pl.String(),
        "source": pl.String(),
        "discount_percent": pl.Int16(),
        "delivered": pl.Boolean(),
        "read": pl.Boolean(),
        "replied": pl.Boolean(),
        "reply_minutes": pl.Float64(),
        "opted_out": pl.Boolean(),
        "booked": pl.Boolean(),
        "booked_record_id": pl.Int64(),
        "booking_minutes": pl.Float64(),
        "attended": pl.Boolean(),
        "revenue_minor": pl.Int64(),
        "discount_minor": pl.Int64(),
        "cost_minor": pl.Int64(),
        "settled": pl.Boolean(),
    }
)


def attribute_bookings(
    campaigns: pl.DataFrame, records: pl.DataFrame, as_of: datetime, window_days: int = ATTRIBUTION_DAYS
) -> pl.DataFrame:
    """The booking each campaign is credited with, as far as it was known at `as_of`.

    A record qualifies for a campaign of the same company and client when it was *created* between the send and
    `window_days` times 24 hours later, both ends included, is not deleted or cancelled, and was created by `as_of`.
    A held-out campaign counts from `send_after`, the moment it would have been sent; one that was neither sent nor
    held out by `as_of` gets nothing. A record is credited to one campaign at most: among the qualifying ones, the
    last attempt of the last episode, and of that attempt the earliest. A campaign credited with several records
    keeps the one created first.

    `campaigns` has the columns `CAMPAIGN_COLUMNS`, `sent_at` and `send_after`. Give it every campaign of the clients
    in question, also those up to `window_days` after the days wanted, since a later attempt takes precedence.
    `records` has record lines: company_id, client_id, record_id, starts_at, price_minor, status, deleted, created_at.

    Returns the columns `BOOKINGS`, sorted by company_id, client_id, booked_at, campaign_id. `revenue_minor` is the sum
    of the prices of the record's lines when the visit was attended and had started by `as_of`, else 0; a line without
    a price adds nothing. Raises ValueError for a naive `as_of`, a negative window or a missing column.
    """
    _check(as_of, window_days)
    _require("campaigns", campaigns, (*CAMPAIGN_COLUMNS, "sent_at", "send_after"))
    touches = _touches(campaigns.lazy(), as_of)
    window = pl.duration(days=window_days)
    return (
        touches.join(_bookings(records.lazy(), as_of), on=["company_id", "client_id"])
        .filter(pl.col("booked_at").is_between(pl.col("touch"), pl.col("touch") + window))
        .sort(
            *("company_id", "client_id", "booked_record_id", "episode_no", "attempt_number", "touch", "campaign_id"),
            descending=[False, False, False, True, True, False, False],
        )
        .unique(["company_id", "client_id", "booked_record_id"], keep="first", maintain_order=True)
        .sort("company_id", "client_id", "booked_at", "booked_record_id")
        .unique("campaign_id", keep="first", maintain_order=True)
        .with_columns(booking_minutes=_minutes(pl.col("booked_at") - pl.col("touch")))
        .sort("company_id", "client_id", "booked_at", "campaign_id")
        .select(pl.col(name).cast(dtype) for name, dtype in BOOKINGS.items())
        .collect(engine="streaming")
    )


def conversions(
    campaigns: pl.DataFrame,
    records: pl.DataFrame,
    responses: pl.DataFrame,
    as_of: datetime,
    *,
    window_days: int = ATTRIBUTION_DAYS,
    settle_days: int = SETTLE_DAYS,
    platform_share_minor: int = PLATFORM_SHARE_MINOR,
) -> pl.DataFrame:
    """The facts of every campaign sent, or held out from a send, by `as_of`.

    `campaigns` has the columns `FACT_COLUMNS`: besides those of `attribute_bookings`, `service_id`; `staff_id` (the
    master offered first, null when none was); `timezone` (IANA name of the company's zone); `delivered_at`,
    `read_at`; `stage`, `tone`, `source` of the text (null when none was written); `discount_percent` (null is none);
    `cost_minor` (tokens and channel price of the message, null is nothing). `records` as in `attribute_bookings`.
    `responses` has campaign_id, received_at, intent; the first one after the send is the reply, any `opt_out` among
    them is an opt-out. A read message counts as delivered, an answered one as read.

    Returns the columns `CONVERSIONS`, sorted by day, company_id, client_id, campaign_id. `sent_at` of a held-out
    campaign is the moment it would have been sent; `day`, `hour`, `weekday` (1 = Monday) are that instant's in the
    company's zone. Minutes count from the send and may be 0. Money is in minor units of the company's currency:
    `revenue_minor` before the discount; `discount_minor` = revenue * percent / 100, a half rounded up; `cost_minor` =
    message cost + `platform_share_minor` for every message sent. Held-out campaigns cost nothing and give no discount.
    `settled` once `settle_days` have passed since the send: the row no longer changes.

    Raises ValueError for a naive `as_of`, a negative window or a missing column.
    """
    _check(as_of, window_days)
    _require("campaigns", campaigns, FACT_COLUMNS)
    _require("responses", responses, ("campaign_id", "received_at", "intent"))
    touches = _touches(campaigns.lazy(), as_of)
    booked = attribute_bookings(campaigns, records, as_of, window_days)
    zones = campaigns.select("company_id", "timezone").unique().sort("company_id", "timezone")
    sent = ~pl.col("held_out")
    percent = pl.when(sent).then(pl.col("discount_percent")).otherwise(0).fill_null(0).cast(pl.Int64)
    facts = (
        with_local(touches, zones, "touch")
        .join(_replies(responses.lazy(), touches, as_of), on="campaign_id", how="left")
        .join(
            booked.lazy().select("campaign_id", "booked_record_id", "booking_minutes", "attended", "revenue_minor"),
            on="campaign_id",
            how="left",
        )
        .with_columns(
            replied=pl.col("reply_minutes").is_not_null(),
            opted_out=pl.col("opted_out").fill_null(False),
            booked=pl.col("booked_record_id").is_not_null(),
            attended=pl.col("attended").fill_null(False),
            revenue_minor=pl.col("revenue_minor").fill_null(0),
        )
        .with_columns(read=sent & (_by("read_at", as_of) | pl.col("replied")))
        .with_columns(
            delivered=sent & (_by("delivered_at", as_of) | pl.col("read")),
            discount_minor=(pl.col("revenue_minor") * percent + 50) // 100,
            cost_minor=pl.when(sent).then(pl.col("cost_minor").fill_null(0) + platform_share_minor).otherwise(0),
            sent_at=pl.col("touch"),
            day=pl.col("local_day"),
            hour=pl.col("local_minute") // 60,
            weekday=pl.col("local_weekday"),
            discount_percent=pl.col("discount_percent").fill_null(0),
            settled=pl.col("touch") + pl.duration(days=settle_days) <= _instant(as_of),
        )
    )
    return (
        facts.sort("day", "company_id", "client_id", "campaign_id")
        .select(pl.col(name).cast(dtype) for name, dtype in CONVERSIONS.items())
        .collect(engine="streaming")
    )


def _touches(campaigns: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Campaigns that reached their moment by `as_of`, with that moment as `touch`."""
    touch = pl.when("held_out").then(pl.col("send_after")).otherwise(pl.col("sent_at"))
    return campaigns.with_columns(touch=touch.cast(INSTANT)).filter(pl.col("touch") <= _instant(as_of))


def _bookings(records: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Record lines that stand, folded into one row per record."""
    now = _instant(as_of)
    attended = (pl.col("status") == "attended") & (pl.col("starts_at") <= now)
    return (
        records.filter(
            pl.col("client_id").is_not_null(),
            ~pl.col("deleted"),
            pl.col("status") != _NOT_A_BOOKING,
            pl.col("created_at") <= now,
        )
        .group_by("company_id", "client_id", booked_record_id="record_id")
        .agg(
            booked_at=pl.col("created_at").min(),
            starts_at=pl.col("starts_at").min(),
            attended=attended.any(),
            revenue_minor=pl.col("price_minor").filter(attended).sum(),
        )
    )


def _replies(responses: pl.LazyFrame, touches: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    sent = touches.filter(~pl.col("held_out")).select("campaign_id", "touch")
    return (
        responses.filter(pl.col("received_at") <= _instant(as_of))
        .join(sent, on="campaign_id")
        .filter(pl.col("received_at") >= pl.col("touch"))
        .group_by("campaign_id")
        .agg(
            reply_minutes=_minutes((pl.col("received_at") - pl.col("touch")).min()),
            opted_out=(pl.col("intent") == OPT_OUT).any(),
        )
    )


def _minutes(span: pl.Expr) -> pl.Expr:
    return span.dt.total_microseconds() / _MICROSECONDS_PER_MINUTE


def _instant(value: datetime) -> pl.Expr:
    return pl.lit(require_aware(value, "as_of"), dtype=INSTANT)


def _by(column: str, as_of: datetime) -> pl.Expr:
    return (pl.col(column) <= _instant(as_of)).fill_null(False)


def _check(as_of: datetime, window_days: int) -> None:
    require_aware(as_of, "as_of")
    if window_days < 0:
        raise ValueError(f"window_days must not be negative: {window_days}")


def _require(name: str, frame: pl.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"{name} lacks the column {', '.join(missing)}")
