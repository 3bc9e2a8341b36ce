"""A salon's book goes in whole or not at all; every line is taken or rejected with its reason; twice is the same as once."""

# ruff: noqa: DTZ001 - wall times have no zone
import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from reactivation_core.local_time import local_to_instant
from reactivation_resources import book_files
from reactivation_resources.book_columns import to_utc
from reactivation_resources.book_files import BookError, open_table
from reactivation_resources.book_import import ImportReport, import_book
from reactivation_resources.book_template import write_template
from reactivation_resources.database.engine import Database

HEADER = "record_id,client_id,starts_at,staff_id,service_id,price,status\n"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    write_template(tmp_path / "book")
    return tmp_path / "book"


def rows(database: Database, query: str) -> list[Any]:
    with database.begin() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def counts(database: Database) -> dict[str, int]:
    tables = (
        "companies",
        "services",
        "staff",
        "clients",
        "record_lines",
        "service_reactivation_rules",
        "rejected_rows",
    )
    return {table: rows(database, f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def rejects(report: ImportReport) -> list[tuple[str, int, str]]:
    assert report.rejects_path is not None
    with report.rejects_path.open(encoding="utf-8", newline="") as file:
        return [(row["file"], int(row["line"]), row["reason"]) for row in csv.DictReader(file)]


def visits(book: Path, content: str | bytes) -> None:
    path = book / "visits.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def company(book: Path, **fields: object) -> None:
    path = book / "company.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_real_book_comes_in_whole_and_a_second_run_changes_nothing(database: Database, real_book: Path) -> None:
    report = import_book(database, real_book)
    assert (report.clients, report.records, report.services, report.staff, report.rules) == (821, 2147, 33, 7, 10)
    assert (report.rejected, report.rejects_path, report.notes) == ({}, None, ())
    versions = rows(database, "SELECT name, version FROM mirror_versions ORDER BY 1")
    again = import_book(database, real_book)
    assert set(again.changed.values()) == {0}
    assert rows(database, "SELECT name, version FROM mirror_versions ORDER BY 1") == versions
    assert rows(database, "SELECT status, count(*) FROM record_lines GROUP BY 1 ORDER BY 1") == _statuses(real_book)
    # 15:50 in Toronto in March is 19:50 UTC; an evening booking after the export was known when the export was made
    assert rows(database, "SELECT starts_at, created_at FROM record_lines WHERE record_id = 50001") == [
        (datetime(2018, 3, 14, 19, 50, tzinfo=UTC), datetime(2018, 3, 14, 19, 50, tzinfo=UTC))
    ]
    exported = datetime(2018, 7, 30, 1, tzinfo=UTC)
    assert rows(database, "SELECT DISTINCT created_at FROM record_lines WHERE status = 'booked'") == [(exported,)]


def _statuses(real_book: Path) -> list[tuple[str, int]]:
    with (real_book / "visits.csv").open() as file:
        found = [row["status"].replace("completed", "attended") for row in csv.DictReader(file)]
    return sorted((status, found.count(status)) for status in set(found))


def test_the_template_is_imported_without_rejects(database: Database, book: Path) -> None:
    report = import_book(database, book)
    assert (report.clients, report.records, report.services, report.staff, report.rules) == (3, 7, 3, 2, 2)
    assert (report.rejected, report.notes) == ({}, ())
    assert rows(database, "SELECT phone, consent FROM clients ORDER BY client_id") == [
        ("+79000000101", True),
        ("+79000000102", None),
        (None, None),
    ]
    assert rows(database, "SELECT duration_s, list_price::text FROM services WHERE service_id = 2") == [
        (9000, "6500.50")
    ]
    assert rows(database, "SELECT service_ids FROM staff ORDER BY staff_id") == [([1, 2],), ([3],)]
    assert rows(database, "SELECT manual_interval, default_interval, discount_progression FROM service_reactivation_rules WHERE service_id = 3") == [(21, 21, [5, 10, 15])]  # fmt: skip
    with pytest.raises(FileExistsError):
        write_template(book)


def test_what_the_salon_set_survives_a_later_import(database: Database, book: Path) -> None:
    import_book(database, book)
    assert rows(database, "SELECT enabled FROM reactivation_settings") == [(False,)]
    assert rows(database, "SELECT channel, session, phone FROM channel_accounts") == [
        ("waha", "company_1001", "+79000000000")
    ]
    assert rows(database, "SELECT client_id, granted, basis FROM consents") == [
        (None, True, "agreement signed at the desk")
    ]
    rows(database, "UPDATE reactivation_settings SET tone = 'casual' RETURNING 1")
    rows(database, "UPDATE clients SET blacklisted = true WHERE client_id = 101 RETURNING 1")
    company(book, enabled=True, title="New name")
    (book / "clients.csv").write_text("client_id,name,phone\n101,Olga,+79000000101\n102,I,\n")
    report = import_book(database, book)
    assert report.changed["companies"] == 1
    assert rows(database, "SELECT enabled, tone FROM reactivation_settings") == [(False, "casual")]
    assert len(rows(database, "SELECT 1 FROM channel_accounts")) == len(rows(database, "SELECT 1 FROM consents")) == 1
    # the file has no column of blacklists, so the database keeps its own; a client who left the file stays
    assert rows(database, "SELECT client_id, name, blacklisted FROM clients ORDER BY 1") == [
        (101, "Olga", True),
        (102, "I", False),
        (103, "Светлана", False),
    ]


def test_a_booking_counts_as_known_since_the_first_export_that_had_it(database: Database, book: Path) -> None:
    visits(book, HEADER + "1,102,2027-01-20 17:30,12,3,,booked\n")
    import_book(database, book)
    company(book, exported_at="2026-12-01T21:00:00+03:00")
    visits(book, HEADER + "1,102,2027-01-20 17:30,12,3,,booked\n2,102,2027-02-20 17:30,12,3,,booked\n")
    assert import_book(database, book).changed["record_lines"] == 1
    assert rows(database, "SELECT created_at FROM record_lines ORDER BY record_id") == [
        (datetime(2026, 11, 1, 18, tzinfo=UTC),),
        (datetime(2026, 12, 1, 18, tzinfo=UTC),),
    ]


BAD = [
    ("1,101,2026-02-30 10:00,11,1,5,completed", "starts_at: not a local date and time"),
    ("1,101,yesterday,11,1,5,completed", "starts_at: not a local date and time"),
    ("1,101,2026-02-03T10:00:00Z,11,1,5,completed", "starts_at: not a local date and time"),
    ("1,101,0026-02-03 10:00,11,1,5,completed", "starts_at: not a local date and time"),
    ("1,101,2026-02-03,11,1,5,completed", "starts_at: no time of day"),
    ("1,101,,11,1,5,completed", "starts_at: empty"),
    ("1,101,2026-02-03 10:00,11,1,5,came", "status: not one of"),
    ("1,101,2026-02-03 10:00,11,1,5,", "status: empty"),
    ("1,999,2026-02-03 10:00,11,1,5,completed", "client_id: no such client"),
    ("1,101,2026-02-03 10:00,99,1,5,completed", "staff_id: no such staff"),
    ("1,101,2026-02-03 10:00,11,99,5,completed", "service_id: no such service"),
    ("x1,101,2026-02-03 10:00,11,1,5,completed", "record_id: not a whole number"),
    (",101,2026-02-03 10:00,11,1,5,completed", "record_id: empty"),
    ("0,101,2026-02-03 10:00,11,1,5,completed", "record_id: not a whole number"),
    ("99999999999999999999,101,2026-02-03 10:00,11,1,5,completed", "record_id: not a whole number"),
    ("1,1.5,2026-02-03 10:00,11,1,5,completed", "client_id: not a whole number"),
    ("1,101,2026-02-03 10:00,11,1,-5,completed", "price: not an amount"),
    ("1,101,2026-02-03 10:00,11,1,5.001,completed", "price: not an amount"),
    ("1,101,2026-02-03 10:00,11,1,NaN,completed", "price: not an amount"),
    ("1,101,2026-02-03 10:00,11,1,12345678900000000,completed", "price: not an amount"),
    ("1,101,2026-02-03 10:00,11,1,5", "6 fields instead of 7"),
    ("1,101,2026-02-03 10:00,11,1,5,completed,x", "8 fields instead of 7"),
    (",,,,,,", "record_id: empty"),
    ('1,"101,2026-02-03 10:00,11,1,5,completed', "a quote is not closed"),
    ('1,"101"x,2026-02-03 10:00,11,1,5,completed', "a quote is not closed"),
    ("1,101,2026-02-03 10:00,11,1,5,complet\x00ed", "contains a NUL character"),
    (b"1,101,2026-02-03 10:00,11,1,5,\xf1\xee", "not valid UTF-8"),
    ("5001,101,2026-02-03 10:00,11,1,5,completed", "record_id: used by an earlier line"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_rejected_with_its_number_and_reason_and_its_neighbours_are_kept(
    database: Database, book: Path, line: str | bytes, reason: str
) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    good = b"%d,101,2026-02-03 10:00,11,1,5,completed\n"
    visits(book, HEADER.encode() + good % 5001 + raw + b"\n" + good % 5002)
    report = import_book(database, book, rejects_path=book / "out" / "rejects.csv")
    assert rows(database, "SELECT record_id FROM record_lines ORDER BY 1") == [(5001,), (5002,)]
    ((file, number, found),) = rejects(report)
    assert (file, number) == ("visits.csv", 3)
    assert found.startswith(reason)
    assert report.rejected == {"visits.csv": 1}
    assert rows(database, "SELECT company_id, source, line, reason FROM rejected_rows") == [
        (1001, "import/1001/visits.csv", 3, found)
    ]


def test_rejected_rows_say_what_the_last_import_found(database: Database, book: Path) -> None:
    visits(book, HEADER + "x,101,2026-02-03 10:00,11,1,5,completed\ny,101,2026-02-03 10:00,11,1,5,completed\n")
    path = book / "rejects.csv"
    for _ in range(2):
        assert import_book(database, book, rejects_path=path).rejected == {"visits.csv": 2}
        assert counts(database)["rejected_rows"] == 2
    assert path.stat().st_mode & 0o077 == 0
    visits(book, HEADER + "1,101,2026-02-03 10:00,11,1,5,completed\ny,101,2026-02-03 10:00,11,1,5,completed\n")
    import_book(database, book)
    assert rows(database, "SELECT line FROM rejected_rows") == [(3,)]


def test_a_rejected_line_cannot_become_a_formula(database: Database, book: Path) -> None:
    visits(book, HEADER + "=cmd|' /C calc'!A0,101,2026-02-03 10:00,11,1,5,completed\n")
    report = import_book(database, book, rejects_path=book / "rejects.csv")
    with (book / "rejects.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["content"].startswith("'=cmd")
    assert len(rejects(report)) == 1


@pytest.mark.parametrize(
    "dress",
    [
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: text.replace("\n", "\r\n").encode(), id="CRLF"),
        pytest.param(lambda text: text.replace("\n", "\r").encode(), id="CR"),
        pytest.param(lambda text: text.replace(",", ";").encode(), id="semicolons"),
        pytest.param(lambda text: text.replace(",", "\t").encode(), id="tabs"),
        pytest.param(lambda text: text.rstrip("\n").encode(), id="no newline at the end"),
        pytest.param(lambda text: text.replace("\n", "\n\n  \n").encode(), id="blank lines"),
        pytest.param(lambda text: text.upper().encode(), id="capital letters"),
        pytest.param(
            lambda text: "\n".join(",".join(f'"{f}"' for f in row.split(",")) for row in text.split()).encode(),
            id="everything quoted",
        ),
    ],
)
def test_a_book_may_be_dressed_in_any_common_way(database: Database, book: Path, dress: Callable[[str], bytes]) -> None:
    visits(book, dress(HEADER + "1,101,2026-02-03T10:00,11,1,5.50,completed\n2,102,2026-02-04T10:00,12,3,,no_show\n"))
    report = import_book(database, book)
    assert report.rejected == {}
    assert rows(database, "SELECT record_id, client_id, price::text, status FROM record_lines ORDER BY 1") == [
        (1, 101, "5.50", "attended"),
        (2, 102, None, "no_show"),
    ]


def test_other_ways_to_write_times_and_prices_are_understood_in_one_file(database: Database, book: Path) -> None:
    lines = (
        "1;101;03.02.2026 10:00;11;1;1500,5;completed", "2;101;2026-02-03 10:00:30;11;1;1500;completed", "3.0;;2026-02-03;;;;cancelled",
        "4;101;2026-02-03T10:00:00.000001;11;1;0,50;completed",
    )  # fmt: skip
    visits(book, HEADER.replace(",", ";") + "\n".join(lines))
    assert import_book(database, book).rejected == {}
    at = datetime(2026, 2, 3, 7, tzinfo=UTC)
    assert rows(database, "SELECT record_id, client_id, starts_at, price::text FROM record_lines ORDER BY 1") == [
        (1, 101, at, "1500.50"),
        (2, 101, at + timedelta(seconds=30), "1500.00"),
        (3, None, datetime(2026, 2, 2, 21, tzinfo=UTC), None),
        (4, 101, at + timedelta(microseconds=1), "0.50"),
    ]


def test_line_numbers_are_those_of_the_file_also_after_text_with_line_ends(database: Database, book: Path) -> None:
    content = 'client_id,name,phone\n101,"Anna\nMaria ""A"" \r\nLeni",+79000000101\nx,"B\nC",\n102,Ok,\n103,"lost,\n104,Ok,\ny,D,'
    (book / "clients.csv").write_bytes(content.encode())
    visits(book, HEADER)
    report = import_book(database, book, rejects_path=book / "rejects.csv")
    assert rejects(report) == [
        ("clients.csv", 5, "client_id: not a whole number above 0"),
        ("clients.csv", 8, "a quote is not closed"),
        ("clients.csv", 10, "client_id: not a whole number above 0"),
    ]
    assert rows(database, "SELECT client_id, name FROM clients ORDER BY 1") == [
        (101, 'Anna\nMaria "A" \r\nLeni'),
        (102, "Ok"),
        (104, "Ok"),
    ]


def test_a_client_whose_phone_is_no_phone_is_kept_without_one(database: Database, book: Path) -> None:
    (book / "clients.csv").write_text("client_id,name,phone\n101,A,none\n102,B,8 900 000-01-02\n103,C,7900***0103\n")
    assert import_book(database, book).rejected == {}
    assert rows(database, "SELECT phone_raw, phone FROM clients ORDER BY client_id") == [
        ("none", None),
        ("8 900 000-01-02", "+79000000102"),
        ("7900***0103", None),
    ]


def test_a_book_in_parquet_is_the_same_as_one_in_csv(database: Database, book: Path) -> None:
    import_book(database, book)
    before = rows(database, "SELECT * FROM record_lines ORDER BY record_id")
    staff = pl.read_csv(book / "staff.csv").with_columns(
        pl.col("service_ids").cast(pl.String).str.split("|").cast(pl.List(pl.Int64))
    )
    staff.write_parquet(book / "staff.parquet")
    table = pl.read_csv(book / "visits.csv").with_columns(
        pl.col("starts_at").str.to_datetime("%Y-%m-%d %H:%M"), pl.col("client_id").cast(pl.Float64)
    )
    table.write_parquet(book / "visits.parquet")
    for name in ("staff", "visits"):
        (book / f"{name}.csv").unlink()
    report = import_book(database, book)
    assert (report.rejected, set(report.changed.values())) == ({}, {0})
    assert rows(database, "SELECT * FROM record_lines ORDER BY record_id") == before
    table.with_columns(status=pl.lit("?")).write_parquet(book / "visits.parquet")
    assert import_book(database, book).rejected == {"visits.parquet": 7}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("company_id", "seven"), ("company_id", 0), ("company_id", True), ("title", ""), ("business_type", "casino"),
        ("timezone", "Europe/Atlantis"), ("country", "Russia"), ("country", "XX"), ("currency", "₽"), ("phone", "call me"),
        ("exported_at", "2026-11-01T21:00:00"), ("exported_at", "soon"), ("enabled", "yes"), ("language", "russian"),
        ("consent_basis", 5), ("consent_bases", "agreement"), ("timezone", None),
    ],
)  # fmt: skip
def test_a_wrong_field_of_the_company_is_named_with_its_value_and_nothing_is_written(
    database: Database, book: Path, field: str, value: object
) -> None:
    company(book, **{field: value})
    with pytest.raises(BookError) as error:
        import_book(database, book)
    assert f"company.json: {field}" in str(error.value)
    assert repr(value) in str(error.value)
    assert set(counts(database).values()) == {0}
    assert "Traceback" not in str(error.value)


def test_a_book_that_is_no_book_is_refused_by_file_and_column_and_nothing_is_written(
    database: Database, book: Path
) -> None:
    def refused(name: str, content: bytes | None, message: str) -> None:
        path = book / name
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BookError, match=message):
            import_book(database, book)
        path.unlink(missing_ok=True)
        if kept is not None:
            path.write_bytes(kept)

    refused("company.json", b"{", "company.json: is not JSON")
    refused("company.json", b"[]", "company.json: is not a JSON object")
    refused("company.json", None, "company.json: is missing")
    refused("visits.csv", None, "visits.csv or visits.parquet is missing")
    refused("visits.csv", b"", "visits.csv: the first line")
    refused("visits.csv", HEADER.replace("status", "state").encode(), "visits.csv: column status is missing")
    refused("clients.csv", b"client_id,name,phone,name\n", "clients.csv: column name appears twice")
    refused("clients.csv", "client_id,name,phone\n".encode("utf-16"), "clients.csv: is UTF-16")
    refused("clients.csv", b"x" * 3_000_000, "clients.csv: is no table")
    refused("staff.parquet", b"PAR1", "both staff.csv and staff.parquet")
    (book / "staff.csv").unlink()
    refused("staff.parquet", b"PAR1 or not", "staff.parquet: is not a Parquet file")
    assert set(counts(database).values()) == {0}


def test_a_salon_mirrored_from_its_crm_is_not_overwritten_by_a_book(database: Database, book: Path) -> None:
    rows(
        database,
        "INSERT INTO companies (company_id, title, timezone, country, currency) VALUES (1001, 'T', 'UTC', 'RU', 'RUB') RETURNING 1",
    )
    with pytest.raises(BookError, match="mirrored from yclients"):
        import_book(database, book)
    assert rows(database, "SELECT title FROM companies") == [("T",)]


def test_missing_rules_and_unused_columns_are_said(database: Database, book: Path) -> None:
    (book / "rules.csv").unlink()
    (book / "clients.csv").write_text("client_id,name,phone,email\n101,A,,a@example.org\n102,B,,\n103,C,,\n")
    report = import_book(database, book)
    assert report.rules == 0
    assert report.notes[0] == "clients.csv: columns not used: email"
    assert report.notes[1].startswith("no rules file")


def test_progress_ends_at_the_number_of_rows_of_each_file(
    database: Database, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_files, "BATCH_CHARACTERS", 100)
    seen: list[tuple[str, int, int | None]] = []
    import_book(database, book, progress=lambda *step: seen.append(step))
    assert len([step for step in seen if step[0] == "visits.csv"]) > 2
    assert {file: (done, total) for file, done, total in seen}["visits.csv"] == (7, 7)
    assert all(total is None or done <= total for _, done, total in seen)


# ---------------------------------------------------------------- rules that hold for any file

_FIELD = st.one_of(
    st.sampled_from(
        [
            "1",
            "2",
            "101",
            "2026-02-03 10:00",
            "5.5",
            "completed",
            "",
            " ",
            '"',
            '""',
            '"a\nb"',
            '"a\r\n\nb"',
            "\r",
            "\0",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
_GOOD = st.builds("{},101,2026-02-03 10:00,11,1,5,completed".format, st.integers(1, 40))
_LINE = st.one_of(_GOOD, st.lists(_FIELD, min_size=5, max_size=8).map(",".join)).map(str.encode) | st.binary(
    max_size=12
)
_FILE = st.builds(lambda end, lines: end.join(lines), st.sampled_from([b"\n", b"\r\n"]), st.lists(_LINE, max_size=12))
_BLOCK = st.integers(1, 400)


@settings(max_examples=200, deadline=None)
@given(content=_FILE, block=_BLOCK)
def test_every_line_of_a_file_comes_out_once_under_its_number(content: bytes, block: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_files, "BATCH_CHARACTERS", block)
        path = Path(folder) / "visits.csv"
        path.write_bytes(HEADER.encode() + content)
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            physical = {number: line.rstrip("\r\n") for number, line in enumerate(file, 1)}
        covered = {1: physical[1]}
        for number, text_of_row in _rows_of(Path(folder)):
            for offset, line in enumerate(re.split("\r\n|\r|\n", text_of_row)):
                assert number + offset not in covered
                covered[number + offset] = line
        assert {number: line for number, line in covered.items() if line.strip()} == {
            number: line for number, line in physical.items() if line.strip()
        }


def _rows_of(folder: Path) -> list[tuple[int, str]]:
    table = open_table(folder, "visits", HEADER.strip().split(","), ())
    assert table is not None
    found = []
    for batch in table.batches():
        found += [(line, batch.content(index)) for index, line in enumerate(batch.frame["_line"])]
        found += [(bad.line, bad.content) for bad in batch.bad]
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=_FILE, block=_BLOCK)
def test_every_row_is_either_taken_or_rejected(database: Database, content: bytes, block: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(book_files, "BATCH_CHARACTERS", block)
        book = Path(folder) / "book"
        write_template(book)
        visits(book, HEADER.encode() + content)
        with database.begin() as connection:
            connection.execute(text("TRUNCATE record_lines, rejected_rows"))
        report = import_book(database, book, rejects_path=book / "rejects.csv")
        bad = [line for _, line, _ in rejects(report)] if report.rejected else []
        assert report.rejected.get("visits.csv", 0) == len(bad) == len(set(bad))
        assert report.records == counts(database)["record_lines"] == len(_rows_of(book)) - len(bad)
        assert counts(database)["rejected_rows"] == len(bad)


@settings(max_examples=100, deadline=None)
@given(
    zone=st.sampled_from(
        [
            "America/Toronto",
            "Europe/Moscow",
            "Australia/Lord_Howe",
            "Asia/Kolkata",
            "Pacific/Apia",
            "Africa/Casablanca",
            "UTC",
        ]
    ),
    times=st.lists(st.datetimes(datetime(1991, 1, 1), datetime(2050, 1, 1)), min_size=1, max_size=20),
)
def test_wall_times_of_a_column_are_the_instants_of_the_single_conversion(zone: str, times: list[datetime]) -> None:
    found = to_utc(pl.Series("at", [*times, None], dtype=pl.Datetime("us")), zone).to_list()
    assert found == [*(local_to_instant(time, zone) for time in times), None]


def test_a_skipped_hour_moves_forward_and_a_repeated_hour_means_its_first_pass() -> None:
    wall = [datetime(2026, 3, 8, 2, 30), datetime(2026, 11, 1, 1, 30), datetime(2026, 3, 8, 3, 0)]
    found = to_utc(pl.Series("at", wall), "America/Toronto").to_list()
    expected = [datetime(2026, 3, 8, 7, 30), datetime(2026, 11, 1, 5, 30), datetime(2026, 3, 8, 7, 0)]
    assert found == [instant.replace(tzinfo=UTC) for instant in expected]
    assert found[0].astimezone(ZoneInfo("America/Toronto")).hour == 3


_KILLED = """
import sys
from pathlib import Path
from reactivation_resources.book_import import import_book
from reactivation_resources.database.engine import Database
def progress(file, rows, total):
    print(file, rows, flush=True)
    if file == "visits.csv":
        sys.stdin.read()
import_book(Database(sys.argv[1]), Path(sys.argv[2]), rejects_path=Path(sys.argv[3]), progress=progress)
"""


@pytest.mark.slow
def test_a_killed_import_leaves_nothing_and_the_next_one_succeeds(database: Database, book: Path) -> None:
    path = book / "out" / "rejects.csv"
    visits(book, (book / "visits.csv").read_text() + "x,101,2026-02-03 10:00,11,1,5,completed,\n")
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, database.url, str(book), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert any(line.startswith("visits.csv") for line in process.stdout)  # it stands in the midst of the visits
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert set(counts(database).values()) == {0}
    assert not path.exists()
    assert import_book(database, book, rejects_path=path).records == 7
    assert path.exists()


def test_a_failure_on_the_way_leaves_neither_rows_nor_a_file_of_rejects(database: Database, book: Path) -> None:
    visits(book, (book / "visits.csv").read_text() + "x,101,2026-02-03 10:00,11,1,5,completed,\n")

    def fail(file: str, _rows: int, _total: int | None) -> None:
        if file == "visits.csv":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_book(database, book, rejects_path=book / "out" / "rejects.csv", progress=fail)
    assert set(counts(database).values()) == {0}
    assert list((book / "out").iterdir()) == []
