"""Frames come out of PostgreSQL as they went in: null is not empty, an instant keeps its microseconds."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from reactivation_resources.database.engine import Database, FrameSchema

INSTANT = pl.Datetime("us", "UTC")


def one(database: Database, sql: str, kind: Any, **parameters: Any) -> list[Any]:
    return database.frame(f"SELECT {sql}", {"value": kind}, **parameters)["value"].to_list()


@pytest.mark.parametrize(
    ("sql", "kind", "expected"),
    [
        ("NULL::text", pl.String, None),
        ("''", pl.String, ""),
        ("'\\N'", pl.String, "\\N"),
        ("'\\.'", pl.String, "\\."),
        ("'NULL'", pl.String, "NULL"),
        ("' a '", pl.String, " a "),
        ("E'one\\ntwo\\r\\nthree'", pl.String, "one\ntwo\r\nthree"),
        ("'say \"yes\", she said'", pl.String, 'say "yes", she said'),
        ("'Анна 💇'", pl.String, "Анна 💇"),
        ("true", pl.Boolean, True),
        ("false", pl.Boolean, False),
        ("NULL::boolean", pl.Boolean, None),
        ("'1|2|3'", pl.List(pl.Int64), [1, 2, 3]),
        ("''", pl.List(pl.Int64), []),
        ("NULL::text", pl.List(pl.Int64), None),
        ("DATE '2026-02-28'", pl.Date, date(2026, 2, 28)),
        ("NULL::date", pl.Date, None),
        ("timestamptz '2026-11-22 10:00+03'", INSTANT, datetime(2026, 11, 22, 7, tzinfo=UTC)),
        ("timestamptz '2026-11-22 10:00:00.5+03'", INSTANT, datetime(2026, 11, 22, 7, 0, 0, 500_000, tzinfo=UTC)),
        ("timestamptz '2026-11-22 10:00:00.000001Z'", INSTANT, datetime(2026, 11, 22, 10, 0, 0, 1, tzinfo=UTC)),
        ("timestamptz '1899-01-01 00:00Z'", INSTANT, datetime(1899, 1, 1, tzinfo=UTC)),
        ("NULL::timestamptz", INSTANT, None),
        ("9223372036854775807", pl.Int64, 2**63 - 1),
        ("NULL::bigint", pl.Int64, None),
        ("0.1::float8 + 0.2::float8", pl.Float64, 0.30000000000000004),
    ],
)
def test_a_value_comes_out_as_it_is(database: Database, sql: str, kind: Any, expected: Any) -> None:
    assert one(database, sql, kind) == [expected]


def test_no_rows_still_have_their_columns(database: Database) -> None:
    schema: FrameSchema = {"a": pl.Int64, "b": pl.List(pl.Int16), "c": INSTANT, "d": pl.Date, "e": pl.Boolean}
    frame = database.frame("SELECT 1, '', now(), current_date, true WHERE false", schema)
    assert_frame_equal(frame, pl.DataFrame(schema=schema))


def test_parameters_are_values_and_never_sql(database: Database) -> None:
    hostile = "'; DROP TABLE companies; --%s %(x)s"
    assert one(database, "%(value)s::text", pl.String, value=hostile) == [hostile]
    assert one(database, "count(*) FROM companies", pl.Int64) == [0]


ROWS = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=20),
        st.none() | st.booleans(),
        st.none() | st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
        st.none() | st.dates(date(1, 1, 1), date(9999, 12, 31)),
        st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
    ),
    max_size=8,
)
SCHEMA: FrameSchema = {
    "position": pl.Int64, "words": pl.String, "flag": pl.Boolean, "list": pl.List(pl.Int64), "day": pl.Date, "at": INSTANT,
    "number": pl.Float64,
}  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS)
def test_whatever_goes_in_comes_out(database: Database, rows: list[tuple[Any, ...]]) -> None:
    with database.begin() as connection:
        connection.execute(
            text(
                "CREATE TABLE IF NOT EXISTS round_trip (position bigint, words text, flag boolean, list bigint[], day date,"
                " at timestamptz, number float8)"
            )
        )
        connection.execute(text("TRUNCATE round_trip"))
        numbered = [dict(zip(SCHEMA, (n, *row), strict=True)) for n, row in enumerate(rows)]
        if numbered:
            connection.execute(
                text("INSERT INTO round_trip VALUES (:position, :words, :flag, :list, :day, :at, :number)"), numbered
            )
    frame = database.frame(
        "SELECT position, words, flag, array_to_string(list, '|'), day, at, number FROM round_trip ORDER BY position",
        SCHEMA,
    )
    assert frame.schema == SCHEMA
    assert frame.rows() == [(n, *row) for n, row in enumerate(rows)]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.none() | st.sampled_from(["", " ", "\n", "\\N", '"', ",", "a"]), min_size=1, max_size=6))
def test_a_single_column_of_texts_loses_no_row(database: Database, texts: list[str | None]) -> None:
    rows = one(
        database, "t FROM unnest(%(texts)s::text[]) WITH ORDINALITY AS u(t, n) ORDER BY n", pl.String, texts=texts
    )
    assert rows == texts


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def half_done() -> None:
        with database.begin() as connection:
            connection.execute(text("INSERT INTO mirror_versions VALUES ('half', 1)"))
            connection.execute(text("SELECT nonsense"))

    with pytest.raises(ProgrammingError):
        half_done()
    assert one(database, "count(*) FROM mirror_versions", pl.Int64) == [0]


def test_a_restarted_server_is_met_with_a_new_connection(database: Database) -> None:
    with database.begin() as connection:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    other = Database(database.url)
    with other.begin() as connection:
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    other.close()
    assert one(database, "1", pl.Int64) == [1]


def test_every_session_thinks_in_utc(database: Database) -> None:
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert one(database, "%(at)s::timestamptz::text", pl.String, at=moment) == ["2026-07-01 12:00:00+00"]
    assert one(database, "now()", INSTANT)[0] - datetime.now(UTC) < timedelta(minutes=5)
