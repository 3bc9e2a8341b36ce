"""Upserts write only what changed; snapshots follow the table's version and never lie about it."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import text

from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror
from reactivation_resources.upsert import bump, replace_record_lines, upsert

AT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 11, 2, 9, 30, 0, 5, tzinfo=UTC)


@pytest.fixture
def mirror(database: Database, tmp_path: Path) -> Mirror:
    with database.begin() as connection:
        for company_id, zone in ((1, "Europe/Moscow"), (2, "America/Toronto")):
            upsert(
                connection,
                "companies",
                pl.DataFrame(
                    {"company_id": company_id, "title": "Salon", "timezone": zone, "country": "RU", "currency": "RUB"}
                ),
            )
    return Mirror(database, Lake(str(tmp_path / "lake")))


def lines(*rows: tuple[int, int, int | None, datetime, str | None]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "company_id": 1,
                "record_id": record_id,
                "line": line,
                "client_id": client_id,
                "starts_at": starts_at,
                "price": None if price is None else Decimal(price),
                "status": "attended",
                "created_at": AT,
            }
            for record_id, line, client_id, starts_at, price in rows
        ],
        schema={
            "company_id": pl.Int64,
            "record_id": pl.Int64,
            "line": pl.Int16,
            "client_id": pl.Int64,
            "starts_at": pl.Datetime("us", "UTC"),
            "price": pl.Decimal(14, 2),
            "status": pl.String,
            "created_at": pl.Datetime("us", "UTC"),
        },
    )


def version(database: Database, name: str) -> int | None:
    with database.begin() as connection:
        return connection.execute(text("SELECT version FROM mirror_versions WHERE name = :n"), {"n": name}).scalar()


def file_of(mirror: Mirror, name: str) -> int:
    return Path(mirror.location(name)).stat().st_ino


def test_records_of_clients_come_sorted_with_minor_units_and_utc_instants(mirror: Mirror, database: Database) -> None:
    with database.begin() as connection:
        upsert(connection, "record_lines", lines((9, 0, 5, LATER, "12.34"), (8, 0, 5, AT, None), (7, 0, None, AT, "0")))
    frame = mirror.snapshot("records").collect()
    assert frame.select("client_id", "record_id", "starts_at", "price_minor", "deleted").rows() == [
        (5, 8, AT, None, False),
        (5, 9, LATER, 1234, False),
    ]
    assert frame.schema["line"] == pl.Int16


def test_an_upsert_counts_only_real_changes_and_raises_the_version_for_them_alone(database: Database) -> None:
    first = lines((1, 0, 5, AT, "10"), (2, 0, 5, AT, "20"))
    with database.begin() as connection:
        assert upsert(connection, "record_lines", first) == 2
    before = version(database, "records")
    with database.begin() as connection:
        assert upsert(connection, "record_lines", first) == 0
    assert version(database, "records") == before
    with database.begin() as connection:
        assert upsert(connection, "record_lines", lines((1, 0, 5, AT, "10.00"), (2, 0, 6, AT, "20"))) == 1
    assert version(database, "records") > before


@pytest.mark.usefixtures("mirror")
def test_text_that_looks_like_a_mark_of_the_copy_format_arrives_as_it_is(database: Database) -> None:
    names = ["\\N", "\\.", "", 'say "hi"', "two\nlines", "a,b;c", "Ёлка 💇", "{}", " '; DROP TABLE clients; --"]
    frame = pl.DataFrame({"company_id": 1, "client_id": range(len(names)), "name": names})
    with database.begin() as connection:
        assert upsert(connection, "clients", frame) == len(names)
        assert upsert(connection, "clients", frame) == 0
        stored = connection.execute(text("SELECT name FROM clients ORDER BY client_id")).scalars().all()
    assert stored == names


@pytest.mark.usefixtures("mirror")
def test_a_column_the_frame_lacks_and_a_column_for_inserts_only_stay_as_they_are(database: Database) -> None:
    with database.begin() as connection:
        upsert(connection, "clients", pl.DataFrame({"company_id": 1, "client_id": 1, "name": "A", "blacklisted": True}))
        upsert(connection, "clients", pl.DataFrame({"company_id": 1, "client_id": 1, "name": "B"}))
        upsert(connection, "record_lines", lines((1, 0, 5, AT, "10")))
        later = lines((1, 0, 5, AT, "10")).with_columns(created_at=LATER)
        assert upsert(connection, "record_lines", later, insert_only=["created_at"]) == 0
        assert connection.execute(text("SELECT name, blacklisted FROM clients")).one() == ("B", True)
        assert connection.execute(text("SELECT created_at FROM record_lines")).scalar() == AT


def test_an_unknown_column_or_a_missing_key_is_refused(database: Database) -> None:
    with database.begin() as connection:
        with pytest.raises(ValueError, match="colour"):
            upsert(connection, "clients", pl.DataFrame({"company_id": 1, "client_id": 1, "colour": "red"}))
        with pytest.raises(ValueError, match="client_id"):
            upsert(connection, "clients", pl.DataFrame({"company_id": 1, "name": "A"}))


def test_lines_that_vanished_from_a_record_are_deleted_and_other_records_are_left_alone(database: Database) -> None:
    with database.begin() as connection:
        upsert(connection, "record_lines", lines((1, 0, 5, AT, "1"), (1, 1, 5, AT, "2"), (2, 0, 5, AT, "3")))
        assert replace_record_lines(connection, lines((1, 0, 5, AT, "1"))) == 1
        assert replace_record_lines(connection, lines((1, 0, 5, AT, "1"))) == 0
        left = connection.execute(text("SELECT record_id, line FROM record_lines ORDER BY 1, 2")).all()
    assert left == [(1, 0), (2, 0)]


def test_a_snapshot_is_taken_again_only_when_the_version_moved(mirror: Mirror, database: Database) -> None:
    one = pl.DataFrame({"company_id": 1, "client_id": 5, "name": "A"})
    with database.begin() as connection:
        upsert(connection, "clients", one)
    assert mirror.snapshot("clients").collect()["name"].to_list() == ["A"]
    written = file_of(mirror, "clients")
    with database.begin() as connection:
        connection.execute(text("UPDATE clients SET name = 'B'"))  # behind the mirror's back
        upsert(connection, "clients", one.with_columns(name=pl.lit("B")))  # nothing new
    assert mirror.snapshot("clients").collect()["name"].to_list() == ["A"]
    assert file_of(mirror, "clients") == written
    with database.begin() as connection:
        bump(connection, "clients")
    assert mirror.snapshot("clients").collect()["name"].to_list() == ["B"]
    assert file_of(mirror, "clients") != written


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("companies", "UPDATE reactivation_settings SET tone = 'casual' WHERE company_id = 2"),
        ("companies", "UPDATE companies SET title = 'Another' WHERE company_id = 2"),
        ("rules", "UPDATE service_reactivation_rules SET manual_interval = 11"),
    ],
)
def test_a_snapshot_without_a_version_is_written_again_only_when_its_rows_differ(
    mirror: Mirror, database: Database, name: str, change: str
) -> None:
    with database.begin() as connection:
        rule = {"company_id": 1, "service_id": 7, "default_interval": 28, "discount_progression": [[5]]}
        upsert(connection, "service_reactivation_rules", pl.DataFrame(rule))
    before = mirror.snapshot(name).collect()
    written = file_of(mirror, name)
    with database.begin() as connection:
        bump(connection, "companies", "rules")
        connection.execute(text("UPDATE companies SET changed_after = now()"))  # not a part of any snapshot
    assert_frame_equal(mirror.snapshot(name).collect(), before)
    assert file_of(mirror, name) == written
    with database.begin() as connection:
        connection.execute(text(change))
    assert not mirror.snapshot(name).collect().equals(before)
    assert file_of(mirror, name) != written


@pytest.mark.parametrize("name", ["companies", "clients"])
def test_a_snapshot_that_another_query_made_is_taken_again(mirror: Mirror, database: Database, name: str) -> None:
    with database.begin() as connection:
        upsert(connection, "clients", pl.DataFrame({"company_id": 1, "client_id": 5, "name": "A"}))
    present = mirror.snapshot(name).collect()
    metadata = mirror.lake.metadata(name)
    mirror.lake.write(
        name, present.select("company_id"), metadata={key: f"{value}0" for key, value in metadata.items()}
    )
    assert_frame_equal(mirror.snapshot(name).collect(), present)


def test_a_company_whose_first_load_has_not_ended_is_left_out(mirror: Mirror, database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE companies SET load_started_at = now() WHERE company_id = 2"))
    assert mirror.snapshot("companies").collect()["company_id"].to_list() == [1]
    with database.begin() as connection:
        connection.execute(text("UPDATE companies SET changed_after = now() WHERE company_id = 2"))
    assert mirror.snapshot("companies").collect()["company_id"].to_list() == [1, 2]


def test_a_change_that_is_not_committed_is_in_neither_the_rows_nor_the_version(
    mirror: Mirror, database: Database
) -> None:
    with database.begin() as connection:
        upsert(connection, "record_lines", lines((1, 0, 5, AT, "1")))
    with database.begin() as writer:
        upsert(writer, "record_lines", lines((2, 0, 5, AT, "1")))
        assert mirror.snapshot("records").collect().height == 1
    assert mirror.snapshot("records").collect().height == 2


def test_a_lake_of_another_database_is_not_taken_for_the_present(mirror: Mirror, database: Database) -> None:
    with database.begin() as connection:
        upsert(connection, "record_lines", lines((1, 0, 5, AT, "1")))
    mirror.snapshot("records")
    with database.begin() as connection:  # as after a restore: the same number of changes, other rows
        connection.execute(text("DELETE FROM record_lines"))
        connection.execute(text("DELETE FROM mirror_versions"))
        upsert(connection, "record_lines", lines((3, 0, 5, AT, "1")))
    assert mirror.snapshot("records").collect()["record_id"].to_list() == [3]


def test_companies_come_with_their_settings_and_a_new_company_is_off(mirror: Mirror, database: Database) -> None:
    frame = mirror.snapshot("companies").collect()
    assert frame["enabled"].to_list() == [False, False]
    assert frame["sending_days"].to_list() == [[1, 2, 3, 4, 5]] * 2
    assert frame.select("personal_factor", "holdout_percent", "conversion_threshold").row(0) == (1.5, 10, 0.1)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE reactivation_settings SET enabled = true, sending_days = '{6}' WHERE company_id = 2")
        )
    frame = mirror.snapshot("companies").collect()
    assert frame["enabled"].to_list() == [False, True]
    assert frame["sending_days"].to_list() == [[1, 2, 3, 4, 5], [6]]


@pytest.mark.parametrize(
    ("manual", "historical", "ai", "expected"),
    [
        (21, 35, 40, (21, "manual")),
        (None, 35, 40, (35, "historical")),
        (None, None, 40, (40, "ai")),
        (None, None, None, (28, "default")),
    ],
)
def test_the_interval_of_a_rule_comes_from_the_first_source_that_has_one(
    mirror: Mirror, database: Database, manual: int | None, historical: int | None, ai: int | None, expected: tuple
) -> None:
    with database.begin() as connection:
        rule = {
            "company_id": [1],
            "service_id": [7],
            "manual_interval": [manual],
            "calculated_avg_interval": [historical],
            "ai_suggested_interval": [ai],
            "default_interval": [28],
            "discount_progression": [[5, 10]],
        }
        upsert(connection, "service_reactivation_rules", pl.DataFrame(rule, strict=False))
    frame = mirror.snapshot("rules").collect()
    assert frame.select("interval_days", "interval_source").row(0) == expected
    assert frame["discount_progression"].to_list() == [[5, 10]]


def test_staff_without_a_list_of_services_differ_from_staff_with_an_empty_one(
    mirror: Mirror, database: Database
) -> None:
    staff = pl.DataFrame(
        {"company_id": 1, "staff_id": [1, 2, 3], "name": "A", "service_ids": [None, [], [4, 5]]},
        schema_overrides={"service_ids": pl.List(pl.Int64)},
    )
    with database.begin() as connection:
        upsert(connection, "staff", staff)
        assert upsert(connection, "staff", staff) == 0
    assert mirror.snapshot("staff").collect()["service_ids"].to_list() == [None, [], [4, 5]]


@pytest.mark.parametrize("name", ["companies", "services", "staff", "clients", "records", "rules"])
def test_an_empty_table_gives_an_empty_frame_with_its_columns(database: Database, tmp_path: Path, name: str) -> None:
    frame = Mirror(database, Lake(str(tmp_path))).snapshot(name).collect()
    assert frame.height == 0
    assert frame.columns[0] == "company_id"


def test_the_same_rows_give_the_same_frame_whatever_order_they_were_written_in(
    mirror: Mirror, database: Database
) -> None:
    rows = [(number, 0, number % 3, AT, "1") for number in range(50)]
    with database.begin() as connection:
        upsert(connection, "record_lines", lines(*reversed(rows)))
    first = mirror.snapshot("records").collect()
    with database.begin() as connection:
        connection.execute(text("DELETE FROM record_lines"))
        upsert(connection, "record_lines", lines(*rows))
    assert_frame_equal(first, mirror.snapshot("records").collect())


def test_a_snapshot_nobody_has_heard_of_is_refused(mirror: Mirror) -> None:
    with pytest.raises(ValueError, match="visits"):
        mirror.snapshot("visits")
