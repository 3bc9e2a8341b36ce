"""The files of a salon's book, read in batches of plain text with true line numbers.

A table is a CSV or a Parquet file. Every line of it comes out exactly once: in a batch, or in the batch's list of lines that are no row
at all. What to keep out: what a column means (book_columns.py) and whether a value is right (book_import.py).
"""

import csv
from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import polars as pl

from reactivation_resources.database.engine import FrameSchema

BATCH_ROWS = 100_000
BATCH_CHARACTERS = 5_000_000
LINE = "_line"
_LONGEST_LINE = 1_000_000  # bytes; a longer one is no table
_LONGEST_ROW = 100  # lines of one row whose quoted text goes over several
_SEPARATORS = ",;\t"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class BookError(ValueError):
    """The book cannot be imported at all, and nothing was written; the message names file, field and value."""


@dataclass(frozen=True)
class BadLine:
    """A line that could not be taken."""

    line: int
    reason: str
    content: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file: the line number in `_line` and the known columns as text, empty text as null."""

    frame: pl.DataFrame
    bad: list[BadLine]
    content: Callable[[int], str]
    """The text of the frame's i-th row as it stands in the file."""


@dataclass(frozen=True)
class TableFile:
    """One file of the book that has the columns it needs. `total` is the number of rows, more or less: quoted text may have lines."""

    path: Path
    columns: tuple[str, ...]
    ignored: tuple[str, ...]
    total: int
    batches: Callable[[], Iterator[Batch]]


def open_table(directory: Path, name: str, required: Collection[str], optional: Collection[str]) -> TableFile | None:
    """The file `name` (`.csv` or `.parquet`) of `directory`; None when there is none.

    Raises BookError when both exist, when the file cannot be read as such a table, and when a required column is missing.
    """
    found = [path for path in (directory / f"{name}.csv", directory / f"{name}.parquet") if path.is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise BookError(f"{directory}: both {name}.csv and {name}.parquet are there; leave one of them")
    (path,) = found
    read = _open_csv if path.suffix == ".csv" else _open_parquet
    try:
        header, total, batches = read(path)
    except OSError as error:
        raise BookError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    missing = [column for column in required if column not in header]
    if repeated or missing:
        problem = "appears twice" if repeated else f"is missing; the first line has {', '.join(header)[:200]}"
        raise BookError(f"{path.name}: column {(repeated or missing)[0]} {problem}")
    known = tuple(column for column in (*required, *optional) if column in header)
    ignored = tuple(column for column in header if column and column not in known)
    return TableFile(path, known, ignored, total, lambda: batches(known))


_Opened = tuple[list[str], int, Callable[[tuple[str, ...]], Iterator[Batch]]]

# ---------------------------------------------------------------- CSV


def _open_csv(path: Path) -> _Opened:
    total = 0
    with path.open("rb") as raw:
        if raw.read(2) in _UTF16:
            raise BookError(f"{path.name}: is UTF-16; save it as UTF-8")
        while chunk := raw.read(_LONGEST_LINE):
            ends = chunk.count(b"\n") or chunk.count(b"\r")
            if not ends and len(chunk) == _LONGEST_LINE:
                raise BookError(f"{path.name}: is no table: it has a line longer than {_LONGEST_LINE:,} bytes")
            total += ends
    with _text(path) as stream:
        first = stream.readline()
    if not first.strip() or "\ufffd" in first or "\x00" in first:
        raise BookError(f"{path.name}: the first line is not a list of column names in UTF-8")
    separator = max(_SEPARATORS, key=first.count)
    header = [field.strip().casefold() for field in next(csv.reader([first], delimiter=separator))]
    return header, max(total - 1, 0), lambda known: _csv_batches(path, separator, header, known)


def _text(path: Path) -> TextIO:
    # what is no UTF-8 becomes U+FFFD, by which the row is known later; newline="" leaves line ends as they are
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _csv_batches(path: Path, separator: str, header: list[str], known: tuple[str, ...]) -> Iterator[Batch]:
    with _text(path) as stream:
        stream.readline()
        number = 2
        while lines := stream.readlines(BATCH_CHARACTERS):
            if any('"' in line for line in lines):
                rows, read = _quoted_rows(lines, stream, separator, number)
            else:
                rows = pl.DataFrame({"text": lines}).with_row_index(LINE, number)
                rows = rows.with_columns(pl.col("text").str.strip_chars_end("\r\n"))
                rows = rows.with_columns(fields=pl.col("text").str.split(separator))
                read = len(lines)
            yield _csv_batch(rows, header, known)
            number += read


def _csv_batch(rows: pl.DataFrame, header: list[str], known: tuple[str, ...]) -> Batch:
    """Rows of `_line`, `text` and `fields` (null when their quotes make no sense) as a batch. Blank lines are no rows."""
    rows = rows.filter(pl.col("text").str.strip_chars() != "")
    width = pl.col("fields").list.len()
    fits = (width == len(header)).fill_null(False)
    reason = pl.coalesce(pl.format(f"{{}} fields instead of {len(header)}", width), pl.lit("a quote is not closed"))
    bad = [BadLine(*row) for row in rows.filter(~fits).select(LINE, reason.alias("reason"), "text").iter_rows()]
    rows = rows.filter(fits)
    columns = [pl.col("fields").list.get(header.index(name)).alias(name) for name in known]
    return Batch(_bare(rows.select(pl.col(LINE).cast(pl.Int64), *columns)), bad, rows["text"].__getitem__)


def _quoted_rows(lines: list[str], stream: TextIO, separator: str, first: int) -> tuple[pl.DataFrame, int]:
    """The rows that begin in `lines`, of which the first has the number `first`, and how many lines were read for them.

    Quoted text may go over several lines, also beyond `lines`. A row whose quotes make no sense costs its first line only: the next ones
    may be rows of their own.
    """
    pending, number, read = deque(lines), first, len(lines)
    rows: list[tuple[int, str, list[str] | None]] = []
    while pending:
        taken = [pending.popleft()]
        fields, complete = _fields(taken[0], separator)
        while not complete and len(taken) < _LONGEST_ROW:
            if not pending:
                pending.append(stream.readline())
                read += 1
            taken.append(pending.popleft())
            if not taken[-1]:  # the file has ended
                break
            if '"' in taken[-1]:
                fields, complete = _fields("".join(taken), separator)
        if fields is None:
            pending.extendleft(reversed(taken[1:]))
            del taken[1:]
        rows.append((number, "".join(taken).rstrip("\r\n"), fields))
        number += len(taken)
    kinds: FrameSchema = {LINE: pl.Int64, "text": pl.String, "fields": pl.List(pl.String)}
    return pl.DataFrame(rows, schema=kinds, orient="row"), read


def _fields(text: str, separator: str) -> tuple[list[str] | None, bool]:
    """The fields of a row, and whether it is complete (or hopeless)."""
    if '"' not in text:
        return text.rstrip("\r\n").split(separator), True
    try:
        return next(csv.reader([text], delimiter=separator, strict=True)), True
    except csv.Error as error:
        return None, "unexpected end of data" not in str(error)


# ---------------------------------------------------------------- Parquet


def _open_parquet(path: Path) -> _Opened:
    try:
        frame = pl.scan_parquet(path)
        names = frame.collect_schema().names()
        total = int(frame.select(pl.len()).collect().item())
    except pl.exceptions.PolarsError as error:
        raise BookError(f"{path.name}: is not a Parquet file that can be read: {str(error)[:200]}") from error
    header = [name.strip().casefold() for name in names]
    frame = frame.rename(dict(zip(names, header, strict=True))) if len(set(header)) == len(header) else frame
    return header, total, lambda known: _parquet_batches(path, frame, known)


def _parquet_batches(path: Path, frame: pl.LazyFrame, known: tuple[str, ...]) -> Iterator[Batch]:
    schema = frame.collect_schema()
    texts = [_as_text(path, name, schema[name]) for name in known]
    number = 1
    for rows in frame.select(texts).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        lines = pl.int_range(number, number + rows.height, dtype=pl.Int64, eager=True).alias(LINE)
        number += rows.height

        def content(index: int, rows: pl.DataFrame = rows) -> str:
            return ",".join(value or "" for value in rows.row(index))

        yield Batch(_bare(rows.select(lines, *known)), [], content)


def _as_text(path: Path, name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        if kind.time_zone:
            problem = f"has the time zone {kind.time_zone}; times must be local, without a zone"
            raise BookError(f"{path.name}: column {name} {problem}")
        return column.dt.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(kind, pl.List):
        return column.cast(pl.List(pl.String)).list.join("|")
    return column.cast(pl.String)


def _bare(frame: pl.DataFrame) -> pl.DataFrame:
    """Text without surrounding space; empty text is null."""
    stripped = pl.col(pl.String).str.strip_chars()
    return frame.with_columns(pl.when(stripped != "").then(stripped))
