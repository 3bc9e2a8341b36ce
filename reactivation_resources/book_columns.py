"""What the columns of a book may hold: text in, typed values and reasons out, a whole column at a time.

What to add here: a kind of column. What to keep out: reading files (book_files.py), rules between columns and tables (book_import.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from reactivation_core.local_time import zone_shifts

REASON = "_reason"
_DAY = timedelta(days=1)
_GREATEST_ID = 10**18
_EARLIEST, _LATEST = datetime(1990, 1, 1), datetime(2100, 1, 1)  # noqa: DTZ001 - wall time has no zone
_MOMENTS = (
    "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d", "%d.%m.%Y",
)  # fmt: skip
_YES, _NO = ("true", "t", "yes", "y", "1", "да"), ("false", "f", "no", "n", "0", "нет")
_STATUSES = {
    "completed": "attended", "attended": "attended", "booked": "booked", "confirmed": "confirmed", "no_show": "no_show",
    "cancelled": "cancelled",
}  # fmt: skip


@dataclass(frozen=True)
class Column:
    """A column: `read` makes the typed value (null when the text is none), `want` says what was expected.

    `required`: the file must have it. `filled`: a row must have it. `empty` is the value of an empty cell.
    """

    name: str
    read: Callable[[pl.Expr], pl.Expr]
    want: str
    required: bool = True
    filled: bool = False
    empty: object = None


def typed(frame: pl.DataFrame, columns: tuple[Column, ...]) -> pl.DataFrame:
    """`frame` with its text turned into values, and in `_reason` the first thing wrong with the row (null: nothing)."""
    present = [column for column in columns if column.name in frame.columns]
    raw = pl.col(pl.String)
    damaged = pl.any_horizontal(raw.str.contains("\ufffd", literal=True).fill_null(False))
    zero = pl.any_horizontal(raw.str.contains("\x00", literal=True).fill_null(False))
    reasons = [pl.when(damaged).then(pl.lit("not valid UTF-8")), pl.when(zero).then(pl.lit("contains a NUL character"))]
    values = []
    for column in present:
        text = pl.col(column.name)
        value = column.read(text)
        reasons.append(pl.when(text.is_not_null() & value.is_null()).then(pl.lit(f"{column.name}: not {column.want}")))
        if column.filled:
            reasons.append(pl.when(text.is_null()).then(pl.lit(f"{column.name}: empty")))
        if column.empty is not None:
            value = pl.when(text.is_null()).then(pl.lit(column.empty)).otherwise(value)
        values.append(value.alias(column.name))
    return frame.with_columns(*values, pl.coalesce(reasons).alias(REASON))


# ---------------------------------------------------------------- kinds


def identifier(name: str, **options: bool) -> Column:
    """A whole number above 0; `17.0` is 17 (spreadsheets write ids so when a cell of the column is empty)."""

    def read(text: pl.Expr) -> pl.Expr:
        number = text.str.strip_suffix(".0").cast(pl.Int64, strict=False)
        return pl.when(number.is_between(1, _GREATEST_ID)).then(number)

    return Column(name, read, "a whole number above 0", **options)


def whole(
    name: str, low: int, high: int, *, empty: int | None = None, filled: bool = False, required: bool = False
) -> Column:
    """A whole number from `low` to `high`."""

    def read(text: pl.Expr) -> pl.Expr:
        number = text.str.strip_suffix(".0").cast(pl.Int64, strict=False)
        return pl.when(number.is_between(low, high)).then(number)

    return Column(name, read, f"a whole number from {low} to {high}", required, filled, empty)


def words(name: str, *, required: bool = True, filled: bool = False, empty: str | None = None) -> Column:
    """Text of at most 500 characters."""

    def read(text: pl.Expr) -> pl.Expr:
        return pl.when(text.str.len_chars() <= 500).then(text)

    return Column(name, read, "shorter than 501 characters", required, filled, empty)


def price(name: str, *, required: bool = True, empty: str | None = None) -> Column:
    """An amount of at least 0 with at most two decimals, after a point or a comma; kept as decimal text."""

    def read(text: pl.Expr) -> pl.Expr:
        return text.str.extract(r"^(\d{1,10}|\d{1,10}[.,]\d{1,2}0*)$").str.replace(",", ".", literal=True)

    return Column(name, read, "an amount of 0 or more with at most two decimals", required, empty=empty)


def flag(name: str, *, empty: bool | None = None) -> Column:
    """Yes or no."""

    def read(text: pl.Expr) -> pl.Expr:
        lower = text.str.to_lowercase()
        return pl.when(lower.is_in(_YES)).then(True).when(lower.is_in(_NO)).then(False)

    return Column(name, read, "true or false", required=False, empty=empty)


def numbers(name: str, *, low: int, high: int, empty: str | None = None) -> Column:
    """Whole numbers joined by `|`."""

    def read(text: pl.Expr) -> pl.Expr:
        items = pl.when(text.str.contains(r"^\d{1,18}(\|\d{1,18})*$")).then(text).str.split("|").cast(pl.List(pl.Int64))
        return pl.when((items.list.min() >= low) & (items.list.max() <= high)).then(items)

    filler = None if empty is None else [int(item) for item in empty.split("|")]
    return Column(name, read, f"whole numbers from {low} to {high} joined by |", required=False, empty=filler)


def status(name: str) -> Column:
    """What became of a visit, in our words."""

    def read(text: pl.Expr) -> pl.Expr:
        return text.str.to_lowercase().replace_strict(_STATUSES, default=None, return_dtype=pl.String)

    return Column(name, read, f"one of {', '.join(word for word in _STATUSES if word != 'attended')}", filled=True)


def moment(name: str, *, required: bool = True, filled: bool = False) -> Column:
    """A wall time such as `2018-03-14 15:50` or `14.03.2018 15:50`, from 1990 to 2099; a day alone is its midnight."""

    def read(text: pl.Expr) -> pl.Expr:
        value = text.map_batches(_moments, return_dtype=pl.Datetime("us"))
        return pl.when(value.is_between(_EARLIEST, _LATEST, closed="left")).then(value)

    return Column(name, read, "a local date and time from 1990 to 2099 such as 2018-03-14 15:50", required, filled)


def _moments(text: pl.Series) -> pl.Series:
    """A whole column of wall times. A file has one way of writing them: the others are tried only on what the first cannot read."""
    value = pl.Series(text.name, [None], dtype=pl.Datetime("us")).new_from_index(0, text.len())
    for form in _MOMENTS:
        if value.null_count() == text.null_count():
            break
        rest = text.set(value.is_not_null(), None)
        value = value.zip_with(value.is_not_null(), rest.str.to_datetime(form, strict=False, time_unit="us"))
    return value


# ---------------------------------------------------------------- wall time


def to_utc(local: pl.Series, zone: str) -> pl.Series:
    """Wall times in `zone` (Datetime without a zone) as UTC instants.

    An hour shown twice means its first pass; a time the clocks skip moves forward by the skipped span.
    """
    earliest, latest = local.min(), local.max()
    if not isinstance(earliest, datetime) or not isinstance(latest, datetime):
        return local.dt.replace_time_zone("UTC")
    span = (earliest.replace(tzinfo=UTC) - 2 * _DAY, latest.replace(tzinfo=UTC) + 2 * _DAY)
    (_, offset, *changes), *_ = zone_shifts({0: zone}, *span).rows()
    walls, offsets = [], [offset]
    for at, step in zip(changes[::2], changes[1::2], strict=True):
        # a skipped hour still counts by the offset before it, and so does the first pass of a repeated one
        walls.append(at + max(offsets[-1], offsets[-1] + step))
        offsets.append(offsets[-1] + step)
    wall = local.dt.epoch("us")
    places = pl.Series(walls, dtype=pl.Int64).search_sorted(wall.fill_null(0), side="right")
    shift = pl.Series(offsets, dtype=pl.Int64).gather(places)
    return (wall - shift).cast(pl.Datetime("us", "UTC")).alias(local.name)


def names(columns: tuple[Column, ...], required: bool) -> list[str]:
    """The names of the columns that are required, or that are not."""
    return [column.name for column in columns if column.required == required]


TABLES: Mapping[str, tuple[Column, ...]] = {
    "services": (
        identifier("service_id", filled=True),
        words("title", filled=True),
        words("category", required=False),
        price("list_price", required=False, empty="0"),
        whole("duration_minutes", 1, 24 * 60),
        flag("active", empty=True),
    ),
    "staff": (
        identifier("staff_id", filled=True),
        words("name", empty=""),
        words("phone", required=False),
        flag("active", empty=True),
        numbers("service_ids", low=1, high=_GREATEST_ID),
    ),
    "clients": (
        identifier("client_id", filled=True),
        words("name", empty=""),
        words("phone"),
        flag("mailing_refused", empty=False),
        flag("blacklisted", empty=False),
        flag("consent"),
    ),
    "rules": (
        identifier("service_id", filled=True),
        whole("reactivation_interval_days", 1, 730, filled=True, required=True),
        whole("retry_interval_days", 1, 365, empty=14),
        whole("max_attempts", 1, 10, empty=3),
        numbers("discount_progression", low=0, high=100, empty="10|15|20"),
        flag("active", empty=True),
    ),
    "visits": (
        identifier("record_id", filled=True),
        identifier("client_id"),
        moment("starts_at", filled=True),
        identifier("staff_id"),
        identifier("service_id"),
        price("price"),
        status("status"),
        moment("created_at", required=False),
    ),
}
"""The tables of a book in the order in which they are imported, with their columns."""
