"""Local days and hours: the only place that turns instants into what a clock on the salon's wall shows.

Instants are timezone-aware UTC everywhere else; days and hours belong to a company and are told by its IANA zone. Whole frames are
converted by arithmetic: the zone's few changes of offset inside the frame's span become columns of a small table per company, so that
companies of many zones share one pass. What to keep out: business hours and holidays (planning), the clock itself.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

INSTANT = pl.Datetime("us", "UTC")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS_PER_MINUTE = 60_000_000
_MICROSECONDS_PER_DAY = 86_400_000_000


@lru_cache(maxsize=1024)
def parse_zone(name: str, field: str = "timezone") -> ZoneInfo:
    """The IANA zone called `name`. Raises ValueError naming `field` and the value when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise ValueError(f"{field}: {name!r} is not an IANA time zone such as 'Europe/Moscow'") from error


def require_aware(instant: datetime, field: str = "instant") -> datetime:
    """`instant` in UTC. Raises ValueError naming `field` when it carries no zone."""
    if instant.tzinfo is None or instant.utcoffset() is None:
        raise ValueError(f"{field}: {instant.isoformat()} has no time zone")
    return instant.astimezone(UTC)


def local_date(instant: datetime, zone: ZoneInfo | str) -> date:
    """The calendar day `instant` falls on in `zone`. Raises ValueError for a naive instant or an unknown zone."""
    return to_local(instant, zone).date()


def to_local(instant: datetime, zone: ZoneInfo | str) -> datetime:
    """`instant` as wall time in `zone`, aware. Raises ValueError for a naive instant or an unknown zone."""
    return require_aware(instant).astimezone(parse_zone(zone) if isinstance(zone, str) else zone)


def local_to_instant(naive_local: datetime, zone: ZoneInfo | str) -> datetime:
    """The UTC instant at which clocks in `zone` show `naive_local`.

    An hour shown twice (autumn) means its first pass. A time the clocks skip (spring) is moved forward by the skipped span, as a
    clock that nobody set would show it. Raises ValueError when the time already carries a zone, or for an unknown zone.
    """
    if naive_local.tzinfo is not None:
        raise ValueError(f"local time: {naive_local.isoformat()} already has a time zone")
    place = parse_zone(zone) if isinstance(zone, str) else zone
    return naive_local.replace(tzinfo=place, fold=0).astimezone(UTC)


def microseconds(instant: datetime) -> int:
    """Whole microseconds from 1970-01-01 UTC to `instant`: the physical value of an instant in a frame."""
    return (require_aware(instant) - EPOCH) // _MICROSECOND


def zone_shifts(zones: Mapping[int, str], earliest: datetime, latest: datetime) -> pl.DataFrame:
    """The offsets of each company between two instants, one row per company.

    Columns: company_id; offset_0, the offset from UTC at `earliest` in microseconds; then a pair per change, shift_i (the instant, in
    microseconds) and step_i (how much the offset grows from then on), padded with changes of nothing. The companies with the most changes
    set the number of pairs: two a year with summer time, none without. `local_microseconds` reads this table.
    """
    changes = {name: _changes(name, earliest, latest) for name in set(zones.values())}
    pairs = max((len(steps) for _, steps in changes.values()), default=0)
    columns: dict[str, list[int]] = {
        "company_id": list(zones),
        "offset_0": [changes[name][0] for name in zones.values()],
    }
    for index in range(pairs):
        found = [changes[name][1][index] if index < len(changes[name][1]) else (0, 0) for name in zones.values()]
        columns[f"shift_{index}"] = [at for at, _ in found]
        columns[f"step_{index}"] = [step for _, step in found]
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64))


def local_microseconds(instant: pl.Expr, shift_columns: Iterable[str]) -> pl.Expr:
    """Wall time in microseconds since 1970-01-01 local (Int64), for rows joined with `zone_shifts` (whose columns are named)."""
    at = instant.dt.epoch("us")
    local = at + pl.col("offset_0")
    for index in range(sum(name.startswith("shift_") for name in shift_columns)):
        local = local + (at >= pl.col(f"shift_{index}")).cast(pl.Int64) * pl.col(f"step_{index}")
    return local


def day_number(local: pl.Expr) -> pl.Expr:
    """Days since 1970-01-01 (Int32) of a wall time in microseconds; cast to Date to read it."""
    return (local // _MICROSECONDS_PER_DAY).cast(pl.Int32)


def minute_of_day(local: pl.Expr) -> pl.Expr:
    """Minutes after local midnight (Int16, 0-1439) of a wall time in microseconds."""
    return (local % _MICROSECONDS_PER_DAY // _MICROSECONDS_PER_MINUTE).cast(pl.Int16)


def with_local(
    frame: pl.LazyFrame,
    zones: pl.DataFrame | Mapping[int, str],
    instant_col: str,
    *,
    day: str = "local_day",
    minute: str = "local_minute",
    weekday: str = "local_weekday",
) -> pl.LazyFrame:
    """`frame` with the local day (Date), minute of the day (Int16) and ISO weekday (Int8, 1 = Monday) of `instant_col`.

    `zones` gives each company's IANA zone: a mapping, or a frame with company_id and timezone. Rows of other companies, and null
    instants, get nulls. Row order is kept. The span of the instants is measured first, by one pass over their column. Raises ValueError
    for an unknown zone and for an `instant_col` that is not UTC.
    """
    kind = frame.collect_schema()[instant_col]
    if not isinstance(kind, pl.Datetime) or kind.time_zone != "UTC":
        raise ValueError(f"{instant_col}: {kind} is not an instant in UTC")
    if isinstance(zones, pl.DataFrame):
        zones = dict(zones.select("company_id", "timezone").iter_rows())
    column = pl.col(instant_col)
    span = frame.select(column.min().alias("earliest"), column.max().alias("latest")).collect(engine="streaming").row(0)
    earliest, latest = (span[0], span[1]) if span[0] is not None else (EPOCH, EPOCH)
    shifts = zone_shifts(zones, earliest, latest)
    local = pl.col("_local")
    return (
        frame.join(shifts.lazy(), on="company_id", how="left", maintain_order="left")
        .with_columns(local_microseconds(column, shifts.columns).alias("_local"))
        .with_columns(
            day_number(local).cast(pl.Date).alias(day),
            minute_of_day(local).alias(minute),
            day_number(local).cast(pl.Date).dt.weekday().alias(weekday),
        )
        .drop("_local", *shifts.columns[1:])
    )


def _changes(name: str, earliest: datetime, latest: datetime) -> tuple[int, list[tuple[int, int]]]:
    """The zone's offset at `earliest`, and its changes up to `latest` as (instant, growth), all in microseconds."""
    zone = parse_zone(name)
    first, last = require_aware(earliest, "earliest"), require_aware(latest, "latest")
    years = range(first.year, last.year + 1)
    changes = [change for year in years for change in _changes_of_year(name, year) if first < change[0] <= last]
    return _offset(zone, first) // _MICROSECOND, [(microseconds(at), step // _MICROSECOND) for at, step in changes]


@lru_cache(maxsize=4096)
def _changes_of_year(name: str, year: int) -> tuple[tuple[datetime, timedelta], ...]:
    """The changes of the zone's offset inside a UTC year, found by halving every half day in which the offset differs."""
    zone, found = parse_zone(name), []
    before = datetime(year, 1, 1, tzinfo=UTC)
    end = datetime(year + 1, 1, 1, tzinfo=UTC)
    while before < end:
        after = before + timedelta(hours=12)
        step = _offset(zone, after) - _offset(zone, before)
        if step:
            low, high = before, after
            while high - low > timedelta(seconds=1):
                middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
                low, high = (middle, high) if _offset(zone, middle) == _offset(zone, before) else (low, middle)
            found.append((high, step))
        before = after
    return tuple(found)


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    if offset is None:
        raise ValueError(f"timezone: {zone.key!r} has no offset at {instant.isoformat()}")
    return offset
