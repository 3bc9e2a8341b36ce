"""What every due client likes: part of the day, weekdays, staff, services and rhythm, from the last twenty visits and from replies.

Counts are taken from packed 64-bit integers (client, value, day), one sort per question. What to keep out: which slots fit (slots).
"""

from datetime import datetime

import polars as pl

from reactivation_core.local_time import (
    day_number,
    local_microseconds,
    minute_of_day,
    require_aware,
    with_local,
    zone_shifts,
)
from reactivation_core.visits import DAY_BITS, Frame, distinct_days, last_days

VISITS = 20
PERIODS = ("morning", "afternoon", "evening")
_NOON, _EVENING = 12 * 60, 17 * 60
_PREFERRED_ABOVE = 0.4
_REGULAR_ABOVE = 0.7
_ASSERT_SHARE, _ASSERT_VISITS = 0.75, 3
_TOP = 3
_CONTRADICTIONS = 2
_DAY = 1 << DAY_BITS
_MINUTES = 1 << 11
_MOST = 31  # more than any count: orders pack five bits
_KEY_BITS = 62


def preference_profiles(
    *, companies: Frame, staff: Frame, records: Frame, due: pl.DataFrame, as_of: datetime, stated: Frame | None = None
) -> pl.DataFrame:
    """One profile per row of `due` (company_id, client_id, service_id), sorted by company and client: the frame `preference_profiles`.

    A visit is a local day; its time is its first line's, and it counts for every staff member and service it contains. Ties go to the
    value seen more recently, then to the lower one. The favourite and the alternatives still work and do the due service; shares are of
    all visits looked at. `stated` (company_id, client_id, kind time_of_day|weekday|staff|service, value as text, at) overrides history with
    full confidence, the last statement of a kind counting, until two later visits went against it; what a message may assert rests on
    visits alone. Raises ValueError for a naive `as_of` or an unknown time zone.
    """
    as_of = require_aware(as_of, "as_of")
    clients = (
        due.select("company_id", "client_id", "service_id")
        .sort("company_id", "client_id")
        .with_row_index("client")
        .with_columns(pl.col("client").cast(pl.Int64))
    )
    zones = dict(companies.lazy().select("company_id", "timezone").collect().iter_rows())
    lines = _recent_lines(zones, records, clients, as_of)
    visits = _visits(lines).with_columns(_period().alias("time_of_day"), _weekday().alias("weekday"))
    said = _standing(stated, zones, clients, lines, visits, as_of)
    able = staff.lazy().filter("active").select("company_id", "staff_id", "service_ids").collect()
    favourites = _favourites(lines, "staff_id", clients.height, said["staff"])
    favourites = _still_able(favourites, clients, able)
    profile = (
        clients.join(_rhythm(visits), on="client", how="left")
        .join(_times(_favourites(visits, "time_of_day", clients.height, said["time_of_day"])), on="client", how="left")
        .join(_top(_favourites(visits, "weekday", clients.height, said["weekday"]), "weekday"), on="client", how="left")
        .join(_top(favourites, "staff"), on="client", how="left")
        .join(
            _top(_favourites(lines, "service_id", clients.height, said["service"]), "service"), on="client", how="left"
        )
        .sort("client")
    )
    return _finished(profile)


def _recent_lines(zones: dict[int, str], records: Frame, clients: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Attended lines of the last visits: client, day and minute (local), staff_id, service_id."""
    keys = ["company_id", "client_id"]
    known = (
        pl.col("status") == "attended",
        ~pl.col("deleted"),
        pl.col("starts_at") <= as_of,
        pl.col("created_at") <= as_of,
    )
    earliest = records.lazy().select(pl.col("starts_at").min()).collect(engine="streaming").item() or as_of
    shifts = zone_shifts(zones, min(earliest, as_of), as_of)
    local = local_microseconds(pl.col("starts_at"), shifts.columns)
    lines = (
        records.lazy()
        .filter(*known)
        .join(clients.lazy().select(*keys, "client"), on=keys)
        .join(shifts.lazy(), on="company_id")
        .select(
            "client",
            day_number(local).clip(0).alias("day"),
            minute_of_day(local).alias("minute"),
            "staff_id",
            "service_id",
        )
        .collect(engine="streaming")
    )
    return lines.filter(pl.col("day") >= pl.lit(_first_days(lines, clients.height)).gather(pl.col("client")))


def _first_days(lines: pl.DataFrame, clients: int) -> pl.Series:
    """The day of the twentieth last visit of each client, by client number; the first day of those with fewer visits."""
    days = distinct_days(lines, pl.col("client"))
    row = pl.col("row") - pl.min_horizontal(pl.col("days"), VISITS) + 1
    cut = last_days(days).select(pl.col("key").alias("client"), pl.lit(days["day"]).gather(row).alias("day"))
    everyone = pl.DataFrame({"client": pl.int_range(clients, dtype=pl.Int64, eager=True)})
    return everyone.join(cut, on="client", how="left", maintain_order="left")["day"].cast(pl.Int32)


def _visits(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per client and day with the minute of its first line: client, day, minute (Int64), sorted."""
    packed = (
        lines.select(((pl.col("client") * _DAY + pl.col("day")) * _MINUTES + pl.col("minute")).alias("packed"))
        .to_series()
        .sort()
    )
    visit = packed // _MINUTES
    new = visit.ne_missing(visit.shift(1))
    visit, minute = visit.filter(new), packed.filter(new) % _MINUTES
    return pl.DataFrame({"client": visit // _DAY, "day": visit % _DAY, "minute": minute})


def _period() -> pl.Expr:
    """0 morning, 1 afternoon, 2 evening, from the minute of the day."""
    return (pl.col("minute") >= _NOON).cast(pl.Int64) + (pl.col("minute") >= _EVENING).cast(pl.Int64)


def _weekday() -> pl.Expr:
    """ISO weekday (1 = Monday) of a day number: 1970-01-01 was a Thursday."""
    return (pl.col("day").cast(pl.Int64) + 3) % 7 + 1


def _favourites(visits: pl.DataFrame, column: str, clients: int, said: pl.DataFrame) -> pl.DataFrame:
    """How many visits of each client contain each value of `column`: client, value, count, stated; best first per client."""
    width = max(int(visits[column].max() or 0), 0) + 1  # type: ignore[arg-type]
    values: pl.Series | None = None
    number = pl.col(column)
    if (width * clients).bit_length() + DAY_BITS > _KEY_BITS:  # ids too wide to pack: count them by their rank
        values = visits[column].drop_nulls().unique().sort()
        width, number = len(values), pl.col(column).rank("dense").cast(pl.Int64) - 1
    known = visits.lazy().select("client", "day", number.alias("number")).filter(pl.col("number").is_not_null())
    days = distinct_days(known, pl.col("client") * width + pl.col("number"))
    value = pl.col("key") % width if values is None else pl.lit(values).gather(pl.col("key") % width)
    counted = last_days(days).select(
        (pl.col("key") // width).alias("client"), value.alias("value"), pl.col("days").alias("count"), pl.col("day")
    )
    counted = counted.with_columns(stated=pl.lit(value=False)) if said.is_empty() else _with_stated(counted, said)
    place = pl.when("stated").then(0).otherwise(_MOST - pl.col("count"))
    order = (pl.col("client") * (_MOST + 1) + place) * _DAY + (_DAY - 1 - pl.col("day"))
    return counted.with_columns(order.alias("order")).sort("order", maintain_order=True).drop("order", "day")


def _with_stated(counted: pl.DataFrame, said: pl.DataFrame) -> pl.DataFrame:
    return (
        counted.join(said.with_columns(stated=pl.lit(value=True)), on=["client", "value"], how="full", coalesce=True)
        .with_columns(pl.col("stated").fill_null(value=False), pl.col("count", "day").fill_null(0))
        .sort("client", "value")
    )


def _still_able(favourites: pl.DataFrame, clients: pl.DataFrame, able: pl.DataFrame) -> pl.DataFrame:
    """Only staff who still work and do the service the client is due for."""
    does = pl.col("service_ids").is_null() | pl.col("service_ids").list.contains(pl.col("service_id"))
    return (
        favourites.join(
            clients.select("client", "company_id", "service_id"), on="client", how="left", maintain_order="left"
        )
        .join(able, left_on=["company_id", "value"], right_on=["company_id", "staff_id"], maintain_order="left")
        .filter(does)
        .select("client", "value", "count", "stated")
    )


def _top(favourites: pl.DataFrame, name: str) -> pl.DataFrame:
    """Per client the best three values and their counts, as lists called `name` and `name`_counts, and whether the first was stated."""
    row = pl.int_range(pl.len(), dtype=pl.Int64)
    new = pl.col("client").ne_missing(pl.col("client").shift(1))
    place = row - pl.when(new).then(row).forward_fill()
    return (
        favourites.with_columns(place.alias("place"))
        .filter(pl.col("place") < _TOP)
        .group_by("client", maintain_order=True)
        .agg(
            pl.col("value").alias(name),
            pl.col("count").alias(f"{name}_counts"),
            pl.col("stated").first().alias(f"{name}_stated"),
        )
    )


def _times(favourites: pl.DataFrame) -> pl.DataFrame:
    """Per client the visits in each part of the day and the best part."""
    shares = [
        pl.col("count").filter(pl.col("value") == number).sum().alias(f"in_{name}")
        for number, name in enumerate(PERIODS)
    ]
    return favourites.group_by("client", maintain_order=True).agg(
        *shares,
        pl.col("value").first().alias("period"),
        pl.col("count").first().alias("period_count"),
        pl.col("stated").first().alias("period_stated"),
    )


def _rhythm(visits: pl.DataFrame) -> pl.DataFrame:
    """Per client: visits and, from the whole sums of gaps and of their squares, mean, median, deviation and regularity."""
    days = distinct_days(visits, pl.col("client"))
    gap = pl.when(pl.col("key") == pl.col("key").shift(1)).then(pl.col("day") - pl.col("day").shift(1))
    total, squares, gaps = pl.col("total").cast(pl.Float64), pl.col("squares"), pl.col("visits") - 1
    spread = (gaps * squares - pl.col("total") * pl.col("total")).cast(pl.Float64).sqrt()
    return (
        days.with_columns(gap.alias("gap"))
        .group_by("key")
        .agg(
            pl.len().cast(pl.Int64).alias("visits"),
            pl.col("gap").sum().alias("total"),
            (pl.col("gap") * pl.col("gap")).sum().alias("squares"),
            pl.col("gap").median().alias("gap_median"),
        )
        .select(
            pl.col("key").alias("client"),
            "visits",
            "gap_median",
            pl.when(gaps >= 1).then(total / gaps).alias("gap_mean"),
            pl.when(gaps >= 2).then(spread / gaps).alias("gap_std"),
            pl.when(gaps >= 2).then(1 - pl.min_horizontal(spread / total, 1.0)).alias("regularity"),
        )
    )


def _standing(
    stated: Frame | None,
    zones: dict[int, str],
    clients: pl.DataFrame,
    lines: pl.DataFrame,
    visits: pl.DataFrame,
    as_of: datetime,
) -> dict[str, pl.DataFrame]:
    """Per kind the statements that still hold: client and value (Int64). The last one of a kind counts, until two visits contradict it."""
    kinds = ("time_of_day", "weekday", "staff", "service")
    said = pl.DataFrame() if stated is None else stated.lazy().filter(pl.col("at") <= as_of).collect()
    if said.is_empty():
        return dict.fromkeys(kinds, pl.DataFrame(schema={"client": pl.Int64, "value": pl.Int64}))
    numbers = pl.coalesce(
        pl.col("value").replace_strict(PERIODS, range(len(PERIODS)), default=None, return_dtype=pl.Int64),
        pl.col("value").cast(pl.Int64, strict=False),
    )
    latest = (
        with_local(said.lazy(), zones, "at")
        .join(clients.lazy().select("company_id", "client_id", "client"), on=["company_id", "client_id"])
        .sort("at", maintain_order=True)
        .group_by("client", "kind", maintain_order=True)
        .agg(numbers.last().alias("value"), _minutes("local_day", "local_minute").last().alias("said_at"))
        .drop_nulls("value")
        .collect()
    )
    contained = {
        "time_of_day": visits.select("client", "day", value="time_of_day"),
        "weekday": visits.select("client", "day", value="weekday"),
        "staff": lines.select("client", "day", value="staff_id"),
        "service": lines.select("client", "day", value="service_id"),
    }
    holding = {}
    for kind in kinds:
        mine = latest.filter(pl.col("kind") == kind)
        later = mine.join(visits.select("client", "day", "minute"), on="client").filter(
            _minutes("day", "minute") > pl.col("said_at")
        )
        against = later.join(contained[kind], on=["client", "day", "value"], how="anti").group_by("client").len()
        contradicted = against.filter(pl.col("len") >= _CONTRADICTIONS)
        holding[kind] = mine.join(contradicted, on="client", how="anti").select("client", "value")
    return holding


def _minutes(day: str, minute: str) -> pl.Expr:
    """Local minutes since 1970."""
    return pl.col(day).cast(pl.Int32).cast(pl.Int64) * 1440 + pl.col(minute).cast(pl.Int64)


def _finished(profile: pl.DataFrame) -> pl.DataFrame:
    """The columns of the contract from the joined parts; clients without visits have no preferences."""
    visits = pl.col("visits").fill_null(0)

    def share(count: pl.Expr) -> pl.Expr:
        return pl.when(visits > 0).then(count / visits)

    def trust(first: pl.Expr, stated: str) -> pl.Expr:
        return pl.when(pl.col(stated)).then(1.0).otherwise(share(first)).fill_null(0.0)

    def listed(name: str, kind: type[pl.DataType]) -> pl.Expr:
        return pl.col(name).fill_null([]).cast(pl.List(kind))

    def first_count(name: str) -> pl.Expr:
        return pl.col(f"{name}_counts").list.first()

    confidence = (
        pl.when(visits >= 10)
        .then(0.9)
        .when(visits >= 5)
        .then(0.7)
        .when(visits >= 3)
        .then(0.5)
        .when(visits > 0)
        .then(0.3)
    )
    preferred = pl.col("period_stated") | (share(pl.col("period_count")) > _PREFERRED_ABOVE)
    staff_visits = first_count("staff").fill_null(0)
    return profile.select(
        "company_id",
        "client_id",
        visits.cast(pl.Int32).alias("visits"),
        confidence.otherwise(0.0).alias("confidence"),
        pl.when(preferred)
        .then(pl.col("period").replace_strict(range(len(PERIODS)), PERIODS, default=None, return_dtype=pl.String))
        .alias("time_of_day"),
        pl.when(preferred).then(trust(pl.col("period_count"), "period_stated")).otherwise(0.0).alias("time_confidence"),
        *(share(pl.col(f"in_{name}")).alias(f"share_{name}") for name in PERIODS),
        listed("weekday", pl.Int8).alias("weekdays"),
        trust(first_count("weekday"), "weekday_stated").alias("weekday_confidence"),
        pl.col("staff").list.first().alias("staff_id"),
        trust(first_count("staff"), "staff_stated").alias("staff_share"),
        staff_visits.cast(pl.Int32).alias("staff_visits"),
        listed("staff", pl.Int64).list.slice(1, _TOP - 1).alias("staff_alternatives"),
        listed("service", pl.Int64).alias("services"),
        (listed("service_counts", pl.Float64) / visits).alias("service_shares"),
        "gap_mean",
        "gap_median",
        "gap_std",
        "regularity",
        (pl.col("regularity") > _REGULAR_ABOVE).alias("regular"),
        ((staff_visits >= _ASSERT_VISITS) & (share(staff_visits) >= _ASSERT_SHARE))
        .fill_null(value=False)
        .alias("assert_staff"),
    )
