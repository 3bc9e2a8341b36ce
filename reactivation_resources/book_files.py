"""The files of a salon's book, read in batches of plain text with true line numbers.

A table is a CSV or a Parquet file. Every line of it comes out exactly once: in a batch, or in the batch's list of lines that are no row
at all. What to keep out: what a column means (book_columns.py) and whether a value is right (book_import.py).
"""

import csv
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import polars as pl

BATCH_ROWS = 100_000
LINE = "_line"
_LONGEST_LINE = 1_000_000  # characters; a longer one is not a table
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
    with _text(path) as stream:
        first = stream.readline(_LONGEST_LINE)
    if not first.strip() or "\ufffd" in first or "\x00" in first:
        raise BookError(f"{path.name}: the first line is not a list of column names in UTF-8")
    separator = max(_SEPARATORS, key=first.count)
    header = [field.strip().casefold() for field in next(csv.reader([first], delimiter=separator))]
    with path.open("rb") as raw:
        total = sum(chunk.count(b"\n") for chunk in iter(lambda: raw.read(1 << 20), b""))
    return header, max(total - 1, 0), lambda known: _csv_batches(path, separator, header, known)


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    with path.open("rb") as raw:
        if raw.read(2) in _UTF16:
            raise BookError(f"{path.name}: is UTF-16; save it as UTF-8")
    # what is no UTF-8 becomes U+FFFD, by which the row is known later; newline="" leaves line ends as they are
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        yield stream


def _csv_batches(path: Path, separator: str, header: list[str], known: tuple[str, ...]) -> Iterator[Batch]:
    with _text(path) as stream:
        rows = _rows(path, stream, separator)
        next(rows)
        while True:
            numbers, texts, fields, bad, ended = _gather(rows, len(header))
            if numbers or bad:
                columns = dict(zip(header, zip(*fields, strict=True), strict=True)) if fields else {}
                data = [pl.Series(LINE, numbers, dtype=pl.Int64)]
                data += [pl.Series(name, columns.get(name, ()), dtype=pl.String) for name in known]
                yield Batch(_bare(pl.DataFrame(data)), bad, texts.__getitem__)
            if ended:
                return


def _gather(
    rows: Iterator[tuple[int, str, list[str] | None]], width: int
) -> tuple[list[int], list[str], list[list[str]], list[BadLine], bool]:
    numbers: list[int] = []
    texts: list[str] = []
    fields: list[list[str]] = []
    bad: list[BadLine] = []
    for number, text, row in rows:
        if row is not None and len(row) == width:
            numbers.append(number)
            texts.append(text)
            fields.append(row)
            if len(numbers) >= BATCH_ROWS:
                return numbers, texts, fields, bad, False
        else:
            reason = "a quote is not closed" if row is None else f"{len(row)} fields instead of {width}"
            bad.append(BadLine(number, reason, text))
            if len(bad) >= BATCH_ROWS:
                return numbers, texts, fields, bad, False
    return numbers, texts, fields, bad, True


def _rows(path: Path, stream: TextIO, separator: str) -> Iterator[tuple[int, str, list[str] | None]]:
    """Every row with the number of its first line and its text; no fields when its quotes make no sense. Blank lines are no rows."""
    number = 0
    pending: deque[str] = deque()
    while text := pending.popleft() if pending else stream.readline(_LONGEST_LINE):
        number += 1
        if len(text) >= _LONGEST_LINE:
            raise BookError(f"{path.name}: line {number} is longer than {_LONGEST_LINE:,} characters")
        if '"' not in text:
            text = text.rstrip("\r\n")
            if text.strip():
                yield number, text, text.split(separator)
            continue
        taken = [text]
        fields, complete = _quoted(text, separator)
        while not complete and len(taken) < _LONGEST_ROW:
            more = pending.popleft() if pending else stream.readline(_LONGEST_LINE)
            if not more:
                break
            taken.append(more)
            if '"' in more:
                fields, complete = _quoted("".join(taken), separator)
        if fields is None:  # only the first line is lost; the next ones may be rows of their own
            pending.extendleft(reversed(taken[1:]))
            del taken[1:]
        yield number, "".join(taken).rstrip("\r\n"), fields
        number += len(taken) - 1


def _quoted(text: str, separator: str) -> tuple[list[str] | None, bool]:
    """The fields of a row with quotes, and whether the row is complete (or hopeless)."""
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
