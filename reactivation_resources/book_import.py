"""Import of a salon's book: a folder of files becomes rows of the mirror, in one transaction.

What is good is taken, what is bad goes to the rejects with its line and reason, and a second run changes nothing. An import that fails or
is killed leaves nothing behind. What to keep out: reading files (book_files.py), the meaning of columns (book_columns.py).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, text

from reactivation_core.intervals import default_interval
from reactivation_core.phones import normalise_phones
from reactivation_resources.book_columns import REASON, TABLES, names, to_utc, typed
from reactivation_resources.book_company import BookCompany, read_company, write_company
from reactivation_resources.book_files import LINE, BadLine, Batch, BookError, TableFile, open_table
from reactivation_resources.database.engine import Database, copy_frame
from reactivation_resources.rejects import Rejects, collecting_rejects
from reactivation_resources.upsert import VERSION_OF, bump, staging

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the rows read so far, and about how many there are."""

_TARGETS = {
    "services": "services", "staff": "staff", "clients": "clients", "rules": "service_reactivation_rules", "visits": "record_lines",
}  # fmt: skip
_PARENTS = {
    "client_id": ("visits", "SELECT client_id FROM clients WHERE company_id = %(id)s"),
    "staff_id": ("visits", "SELECT staff_id FROM staff WHERE company_id = %(id)s"),
    "service_id": ("visits rules", "SELECT service_id FROM services WHERE company_id = %(id)s"),
}
"""Columns that must name a row that is there, the tables that have them, and where to look."""


@dataclass(frozen=True)
class ImportReport:
    """What an import did. Counts of taken rows by table; `rejected` by file; `changed` rows by database table (0: all was there)."""

    company_id: int
    clients: int = 0
    services: int = 0
    staff: int = 0
    records: int = 0
    rules: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    rejects_path: Path | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def import_book(
    database: Database,
    directory: Path,
    *,
    rejects_path: Path | None = None,
    progress: Progress = lambda _file, _rows, _total: None,
) -> ImportReport:
    """Import the book in `directory` and say what happened.

    All bad lines go to a CSV file at `rejects_path` (written only if there are any), the first 10,000 of each file to the database. Raises
    BookError, and writes nothing, when `company.json` is wrong, a file is missing or is no table, or a required column is missing.
    """
    started = time.monotonic()
    company = read_company(directory)
    files = _open_all(directory)
    with collecting_rejects(rejects_path) as rejects, database.begin() as connection:
        # two imports of one salon take turns
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('import', :id))"), {"id": company.company_id}
        )
        changed = {"companies": write_company(connection, company)}
        taken = {}
        for table, file in files.items():
            taken[table], changed[_TARGETS[table]] = _take(connection, company, table, file, rejects, progress)
        rejects.store(connection, company.company_id, [file.path.name for file in files.values()])
        bump(connection, *(VERSION_OF[table] for table, rows in changed.items() if rows and table in VERSION_OF))
    return ImportReport(
        company_id=company.company_id,
        clients=taken["clients"],
        services=taken["services"],
        staff=taken["staff"],
        records=taken["visits"],
        rules=taken.get("rules", 0),
        rejected=dict(rejects.counts),
        changed=changed,
        rejects_path=rejects_path if rejects.counts else None,
        notes=tuple(_notes(files)),
        seconds=time.monotonic() - started,
    )


def _open_all(directory: Path) -> dict[str, TableFile]:
    files = {}
    for table, columns in TABLES.items():
        file = open_table(directory, table, names(columns, required=True), names(columns, required=False))
        if file is not None:
            files[table] = file
        elif table != "rules":
            raise BookError(f"{directory}: {table}.csv or {table}.parquet is missing")
    return files


def _notes(files: dict[str, TableFile]) -> Iterator[str]:
    for file in files.values():
        if file.ignored:
            yield f"{file.path.name}: columns not used: {', '.join(file.ignored)}"
    if "rules" not in files:
        yield "no rules file: no rules were made, and without a rule no client of the salon is due"


def _take(
    connection: Connection, company: BookCompany, table: str, file: TableFile, rejects: Rejects, progress: Progress
) -> tuple[int, int]:
    """Import one file; returns how many of its rows were taken and how many rows of the database changed."""
    key = TABLES[table][0].name
    orphans = [_orphan(connection, company, column) for column, (tables, _) in _PARENTS.items() if table in tables]
    titles = _titles(connection, company) if table == "rules" else {}
    seen = pl.Series(key, [], dtype=pl.Int64)
    read = 0
    nothing = typed(pl.DataFrame(schema={LINE: pl.Int64} | dict.fromkeys(file.columns, pl.String)), TABLES[table])
    with staging(connection, _TARGETS[table], _shaped(table, nothing, company, titles).columns) as stage:
        for batch in _batches(file):
            rows = typed(batch.frame, TABLES[table])
            rows = rows.with_columns(pl.coalesce(REASON, *orphans, *_no_clock(table, batch)).alias(REASON))
            rows = rows.with_columns(pl.coalesce(REASON, _repeated(key, seen)).alias(REASON))
            rejects.add(file.path.name, _bad_lines(rows, batch))
            rows = rows.filter(pl.col(REASON).is_null())
            seen = pl.concat([seen, rows[key]])
            stage.add(_shaped(table, rows, company, titles))
            read += batch.frame.height + len(batch.bad)
            progress(file.path.name, read, max(file.total, read))
        # a booking counts as known since the first export that had it
        changed = stage.merge(insert_only=() if "created_at" in file.columns else ("created_at",))
    progress(file.path.name, read, read)
    return seen.len(), changed


def _batches(file: TableFile) -> Iterator[Batch]:
    try:
        yield from file.batches()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise BookError(f"{file.path.name}: cannot be read to its end: {str(error)[:200]}") from error


def _bad_lines(rows: pl.DataFrame, batch: Batch) -> list[BadLine]:
    wrong = rows.select(LINE, REASON).with_row_index().filter(pl.col(REASON).is_not_null())
    found = [BadLine(line, reason, batch.content(index)) for index, line, reason in wrong.iter_rows()]
    return sorted([*batch.bad, *found], key=lambda bad: bad.line)


# ---------------------------------------------------------------- what may be wrong with a row


def _orphan(connection: Connection, company: BookCompany, column: str) -> pl.Expr:
    """The reason against a row that names a client, a staff member or a service nobody knows."""
    ids = copy_frame(connection, _PARENTS[column][1], {column: pl.Int64}, id=company.company_id)[column]
    unknown = pl.col(column).is_not_null() & ~pl.col(column).is_in(ids.implode())
    return pl.when(unknown).then(pl.lit(f"{column}: no such {column.removesuffix('_id')}"))


def _no_clock(table: str, batch: Batch) -> list[pl.Expr]:
    """The reason against a visit that has a day and no time; a cancelled one needs none."""
    if table != "visits":
        return []
    clock = pl.lit(batch.frame["starts_at"].str.contains(":", literal=True))
    return [pl.when(~clock & (pl.col("status") != "cancelled")).then(pl.lit("starts_at: no time of day"))]


def _repeated(key: str, seen: pl.Series) -> pl.Expr:
    """The reason against a row whose key a good row above it has; the first stays."""
    good = pl.col(REASON).is_null()
    again = pl.col(key).is_in(seen.implode()) | ~pl.struct(key, good.alias("good")).is_first_distinct()
    return pl.when(good & again).then(pl.lit(f"{key}: used by an earlier line"))


# ---------------------------------------------------------------- rows of the book as rows of the database


def _titles(connection: Connection, company: BookCompany) -> dict[int, str]:
    query = "SELECT service_id, title FROM services WHERE company_id = %(id)s"
    return dict(
        copy_frame(connection, query, {"service_id": pl.Int64, "title": pl.String}, id=company.company_id).rows()
    )


def _shaped(table: str, rows: pl.DataFrame, company: BookCompany, titles: dict[int, str]) -> pl.DataFrame:
    """The columns of the database. What the file has no column for stays out: the database keeps what it has."""
    rows = rows.drop(LINE, REASON)
    if table == "services" and "duration_minutes" in rows.columns:
        rows = rows.with_columns(duration_s=pl.col("duration_minutes") * 60).drop("duration_minutes")
    if table in {"clients", "staff"} and "phone" in rows.columns:
        country = pl.Series([company.country]).new_from_index(0, rows.height)
        phone = normalise_phones(rows["phone"], country)
        rows = rows.rename({"phone": "phone_raw"}).with_columns(phone.alias("phone"))
        rows = rows if table == "clients" else rows.drop("phone_raw")
    if table == "rules":
        usual = [default_interval(titles[service], company.business_type) for service in rows["service_id"]]
        rows = rows.rename({"reactivation_interval_days": "manual_interval"})
        rows = rows.with_columns(pl.Series("default_interval", usual, dtype=pl.Int64))
    if table == "visits":
        rows = _instants(rows, company).with_columns(line=pl.lit(0, dtype=pl.Int16))
    return rows.with_columns(company_id=pl.lit(company.company_id, dtype=pl.Int64))


def _instants(rows: pl.DataFrame, company: BookCompany) -> pl.DataFrame:
    """Wall times as instants. A row that does not say when it was made was known by its start and by the export at the latest."""
    starts_at = to_utc(rows["starts_at"], company.timezone)
    known = pl.min_horizontal(starts_at, pl.lit(company.exported_at, dtype=starts_at.dtype))
    if "created_at" in rows.columns:
        known = pl.coalesce(to_utc(rows["created_at"], company.timezone), known)
    return rows.with_columns(starts_at, known.alias("created_at"))
