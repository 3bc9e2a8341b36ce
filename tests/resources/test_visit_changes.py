"""Whoever changes the journal, and however, leaves a trace of whose it was, at a version that nobody has seen."""

from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest
from sqlalchemy import text

from reactivation_resources.database.engine import Database
from reactivation_resources.upsert import replace_record_lines, upsert

AT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
ADD = "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
Key = tuple[int, int]


def lines(*rows: tuple[int, int, int | None]) -> pl.DataFrame:
    """Lines (record, line, client) of company 1."""
    schema = {"record_id": pl.Int64, "line": pl.Int16, "client_id": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        company_id=pl.lit(1, pl.Int64), starts_at=pl.lit(AT), created_at=pl.lit(AT), status=pl.lit("attended")
    )


def execute(database: Database, *statements: str) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def version(database: Database) -> int:
    with database.begin() as connection:
        return connection.execute(text("SELECT version FROM mirror_versions WHERE name = 'records'")).scalar() or 0


def traced(database: Database, since: int) -> set[Key]:
    """Whose journal changed after the version `since`."""
    with database.begin() as connection:
        query = text("SELECT company_id, client_id FROM visit_changes WHERE version > :since")
        return {(row[0], row[1]) for row in connection.execute(query, {"since": since})}


@pytest.fixture
def start(database: Database) -> int:
    """The version after a book of two companies; client 9 has nothing but a line of a record of two clients."""
    execute(
        database,
        f"{ADD} SELECT c, r, l, k, now(), 'booked', now()"
        " FROM (VALUES (1, 1, 0, 5), (1, 1, 1, 5), (1, 2, 0, 5), (1, 3, 0, 6), (1, 4, 0, 7), (1, 4, 1, 9), (1, 5, 0, NULL), (2, 1, 0, 5)) book(c, r, l, k)",
    )
    assert traced(database, 0) == {(1, 5), (1, 6), (1, 7), (1, 9), (2, 5)}
    return version(database)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (f"{ADD} SELECT 1, 10 + n, 0, 8, now(), 'booked', now() FROM generate_series(1, 3) n", {(1, 8)}),
        ("UPDATE record_lines SET status = 'cancelled' WHERE client_id = 5", {(1, 5), (2, 5)}),
        ("UPDATE record_lines SET client_id = 8 WHERE company_id = 1 AND record_id = 3", {(1, 6), (1, 8)}),
        ("UPDATE record_lines SET client_id = NULL WHERE company_id = 1 AND record_id = 1", {(1, 5)}),
        ("UPDATE record_lines SET client_id = 8 WHERE client_id IS NULL", {(1, 8)}),
        ("UPDATE record_lines SET company_id = 3 WHERE company_id = 2", {(2, 5), (3, 5)}),
        ("DELETE FROM record_lines WHERE company_id = 1 AND record_id IN (1, 4)", {(1, 5), (1, 7), (1, 9)}),
        (
            (
                f"{ADD} SELECT 1, r, 0, 8, now(), 'booked', now() FROM (VALUES (3), (11)) found(r)"
                " ON CONFLICT (company_id, record_id, line) DO UPDATE SET client_id = excluded.client_id"
            ),
            {(1, 6), (1, 8)},
        ),
        (
            (
                "WITH gone AS (DELETE FROM record_lines WHERE record_id = 2 RETURNING 1)"
                " UPDATE record_lines SET deleted = true WHERE record_id = 3 AND EXISTS (SELECT FROM gone)"
            ),
            {(1, 5), (1, 6)},
        ),
        ("UPDATE record_lines SET status = 'cancelled' WHERE client_id IS NULL", set()),
    ],
)
def test_a_statement_is_traced_to_all_whose_journal_it_changed(
    database: Database, start: int, statement: str, expected: set[Key]
) -> None:
    execute(database, statement)
    assert traced(database, start) == expected
    assert version(database) > start


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record_lines SET status = 'cancelled' WHERE client_id = 99",
        "DELETE FROM record_lines WHERE company_id = 99",
        f"{ADD} VALUES (1, 1, 0, 8, now(), 'booked', now()) ON CONFLICT DO NOTHING",
        "INSERT INTO clients (company_id, client_id, name) SELECT 1, 1, 'A' WHERE false",
    ],
)
def test_a_statement_that_changes_no_line_leaves_no_trace(database: Database, start: int, statement: str) -> None:
    execute(database, statement)
    assert traced(database, start) == set()
    assert version(database) == start


@pytest.mark.parametrize("write", [upsert, None])
def test_a_merge_traces_what_it_really_changed(database: Database, write: Callable[..., int] | None) -> None:
    def merge(frame: pl.DataFrame) -> None:
        with database.begin() as connection:
            replace_record_lines(connection, frame) if write is None else write(connection, "record_lines", frame)

    merge(lines((1, 0, 5), (1, 1, 5), (2, 0, 6), (3, 0, 7)))
    before = version(database)
    assert traced(database, 0) == {(1, 5), (1, 6), (1, 7)}
    merge(lines((1, 0, 5), (1, 1, 5), (2, 0, 6), (3, 0, 7)))
    assert version(database) == before
    assert traced(database, before) == set()
    merge(lines((1, 0, 5), (1, 1, 5), (2, 0, 8), (3, 0, 7)))
    assert traced(database, before) == {(1, 6), (1, 8)}


def test_a_line_that_vanished_from_its_record_is_traced(database: Database) -> None:
    with database.begin() as connection:
        replace_record_lines(connection, lines((1, 0, 5), (1, 1, 6), (2, 0, 7)))
    before = version(database)
    with database.begin() as connection:
        replace_record_lines(connection, lines((1, 0, 5)))
    assert traced(database, before) == {(1, 6)}


def test_a_change_that_is_taken_back_leaves_no_trace(database: Database, start: int) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE record_lines SET status = 'no_show'"))
        connection.rollback()
    assert traced(database, start) == set()
    assert version(database) == start


def test_versions_become_visible_in_their_order(database: Database, start: int) -> None:
    """A second writer waits for the first: who has seen a version has seen all before it."""
    with database.begin() as first:
        first.execute(text("UPDATE record_lines SET status = 'no_show' WHERE client_id = 6"))
        with database.begin() as second:
            second.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(Exception, match="lock timeout"):
                second.execute(text("UPDATE record_lines SET status = 'no_show' WHERE client_id = 7"))
            second.rollback()
    assert traced(database, start) == {(1, 6)}
