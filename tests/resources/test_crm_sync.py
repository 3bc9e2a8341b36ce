"""The mirror follows the CRM: only what changed, all or nothing, one company's trouble is its own."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from reactivation_core.inactivity import InactivityInputs, detect_inactive
from reactivation_resources import crm_sync
from reactivation_resources.crm_merge import companies_behind
from reactivation_resources.crm_pull import Pull, wall_time
from reactivation_resources.crm_sync import OVERLAP
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror
from tests.core.books import frame
from tests.resources.crm_books import (
    NOW,
    TABLES,
    Books,
    add_company,
    client,
    company,
    record,
    service,
    snapshot,
    staff,
    sync,
)
from tests.resources.crm_server import BUSY, HTML, Answer, CrmServer, Request, running_crm
from tests.resources.sending_world import execute, rows

HOUR = timedelta(hours=1)
VERSIONS = "SELECT * FROM mirror_versions ORDER BY name"


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with running_crm() as running:
        yield running


@pytest.fixture
def books(crm: CrmServer) -> Books:
    return Books(crm)


# ---------------------------------------------------------------- what is asked for


def test_later_only_what_has_changed_is_asked_for_with_an_overlap_in_local_time(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    books.asked.clear()
    report = sync(database, crm, NOW + HOUR)
    asked = {kind: query for _, kind, query in books.asked}
    assert set(asked) == {"records", "clients", "clients/search"}
    assert asked["records"]["changed_after"] == asked["clients"]["changed_after"] == "2026-11-22T09:45:00"
    assert asked["records"]["with_deleted"] == "1"
    assert "start_date" not in asked["records"]
    assert company(database).changed_after == NOW + HOUR
    assert report.calls == {"records": 1, "clients": 1, "search": 1}


def test_only_the_companies_asked_for_are_read(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1, 2, 3)
    books.open(1, 2, 3)
    report = sync(database, crm, companies={2, 7})
    assert (report.companies, {number for number, _, _ in books.asked}) == (1, {2})
    assert sync(database, crm, companies=[]).companies == 0


def test_the_oldest_mirror_comes_first(
    database: Database, crm: CrmServer, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crm_sync, "AT_ONCE", 1)
    add_company(database, 1, 2, 3)
    books.open(1, 2, 3)
    for hours, number in enumerate((2, 3, 1)):
        sync(database, crm, NOW + HOUR * hours, companies=[number])
    books.asked.clear()
    sync(database, crm, NOW + 4 * HOUR)
    assert list(dict.fromkeys(number for number, _, _ in books.asked)) == [2, 3, 1]


def test_several_companies_are_read_at_the_same_time(database: Database, crm: CrmServer, books: Books) -> None:
    numbers = range(1, 21)
    add_company(database, *numbers)
    books.open(*numbers)
    seen: list[tuple[int, float]] = []
    together = threading.Barrier(crm_sync.AT_ONCE, timeout=60)

    def answer(request: Request) -> Answer:
        if request.path in {f"/api/v1/company/{number}/" for number in range(1, crm_sync.AT_ONCE + 1)}:
            together.wait()
        return books.answer(request)

    crm.answer = answer
    report = sync(database, crm, progress=lambda number, share: seen.append((number, share)))
    assert not together.broken
    assert report.changed == {"services": 20, "staff": 20, "clients": 20, "records": 20, "companies": 0}
    assert sorted(number for number, share in seen if share == 1) == list(numbers)


@pytest.mark.parametrize("status", ["uninstalled", "suspended"])
def test_a_company_that_left_or_was_frozen_by_the_marketplace_is_not_asked(
    database: Database, crm: CrmServer, books: Books, status: str
) -> None:
    add_company(database, 1, 2)
    execute(database, "UPDATE companies SET crm_status = :status WHERE company_id = 1", status=status)
    execute(database, "UPDATE companies SET crm_source = 'import' WHERE company_id = 2")
    assert sync(database, crm).companies == 0
    assert books.asked == []


# ---------------------------------------------------------------- what comes of it


def test_the_same_answer_again_changes_nothing_and_raises_no_version(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)["records"].append(record(id=71, client=None))
    sync(database, crm)
    before, versions, traces = (
        snapshot(database),
        rows(database, VERSIONS),
        rows(database, "SELECT * FROM visit_changes"),
    )
    report = sync(database, crm, NOW + HOUR)
    assert set(report.changed.values()) == {0}
    assert snapshot(database) == before
    assert rows(database, VERSIONS) == versions
    assert rows(database, "SELECT * FROM visit_changes") == traces


def test_phones_are_read_for_the_salons_country_and_what_is_no_phone_is_kept_raw(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(
        1,
        clients=[client(id=1, phone="8 (900) 000-00-01"), client(id=2, phone="+7900***0002"), client(id=3, phone="")],
        staff=[staff(employee={"phone": "89000000005"})],
    )
    sync(database, crm)
    assert rows(database, "SELECT client_id, phone, phone_raw FROM clients ORDER BY 1") == [
        (1, "+79000000001", "8 (900) 000-00-01"),
        (2, None, "+7900***0002"),
        (3, None, None),
    ]
    assert rows(database, "SELECT phone, service_ids FROM staff") == [("+79000000005", [9])]


def test_a_number_that_is_shown_in_part_later_stays_known_as_long_as_it_fits(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1, clients=[client(id=number, phone=f"+7900000000{number}") for number in range(1, 6)])
    sync(database, crm)
    shown = ["+7900***0001", "+7900***0009", "8 (900) ***-**-03", "", "+79000000055"]
    books.books[1]["clients"] = [client(id=number, phone=phone) for number, phone in enumerate(shown, 1)]
    books.books[1]["staff"] = [staff(employee={"phone": "+7900*****05"})]
    execute(database, "UPDATE companies SET catalogue_at = NULL")
    sync(database, crm, NOW + HOUR)
    assert rows(database, "SELECT client_id, phone, phone_raw FROM clients ORDER BY 1") == [
        (1, "+79000000001", "+7900***0001"),
        (2, None, "+7900***0009"),
        (3, "+79000000003", "8 (900) ***-**-03"),
        (4, None, None),
        (5, "+79000000055", "+79000000055"),
    ]
    assert rows(database, "SELECT phone FROM staff") == [("+79000000005",)]


def test_consent_that_was_recorded_here_survives_the_mirror(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    execute(database, "UPDATE clients SET consent = false")
    books.books[1]["clients"][0]["name"] = "Юра"
    sync(database, crm, NOW + HOUR)
    assert rows(database, "SELECT name, consent FROM clients") == [("Юра", False)]


def test_a_deleted_record_is_marked_and_one_that_changed_loses_its_old_lines(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    two = [{"id": 9, "cost": 1}, {"id": 10, "cost": 2}]
    books.open(1, records=[record(id=70), record(id=71, services=two), record(id=72, services=two)])
    sync(database, crm)
    books.books[1]["records"] = [record(id=70, deleted=True), record(id=71, services=two[1:])]
    sync(database, crm, NOW + HOUR)
    assert rows(database, "SELECT record_id, line, service_id, deleted FROM record_lines ORDER BY 1, 2") == [
        (70, 0, 9, True),
        (71, 0, 10, False),
        (72, 0, 9, False),
        (72, 1, 10, False),
    ]


def test_a_booking_that_became_a_break_of_the_salons_own_is_nobodys_booking_any_more(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1, records=[record(id=70), record(id=71)])
    sync(database, crm)
    before = rows(database, VERSIONS)
    books.books[1]["records"] = [record(id=71, client=None)]
    assert sync(database, crm, NOW + HOUR).changed["records"] == 1
    assert rows(database, "SELECT record_id FROM record_lines") == [(70,)]
    assert rows(database, VERSIONS) > before


def test_records_of_a_merged_client_move_to_the_one_that_is_left(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1, clients=[client(id=16), client(id=17)], records=[record(client={"id": 17})])
    sync(database, crm)
    books.books[1] |= {"clients": [client(id=16)], "records": [record(client={"id": 16})]}
    sync(database, crm, NOW + HOUR)
    assert rows(database, "SELECT client_id, deleted FROM clients ORDER BY 1") == [(16, False), (17, True)]
    assert rows(database, "SELECT client_id FROM record_lines") == [(16,)]


def test_a_group_event_with_a_client_is_a_visit_like_any(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    books.open(1, records=[record(id=70, activity_id=5), record(id=71, activity_id=5, client=None)])
    sync(database, crm)
    assert rows(database, "SELECT record_id, status FROM record_lines") == [(70, "attended")]


def test_a_visit_of_several_records_is_one_visit_to_the_detection(
    database: Database, crm: CrmServer, books: Books, tmp_path: Path
) -> None:
    add_company(database, 1)
    day = "2026-09-01"
    books.open(
        1,
        services=[service(), service(id=10), service(id=11)],
        records=[
            record(id=70, visit_id=5, date=f"{day} 10:00:00", services=[{"id": 9}, {"id": 11}]),
            record(id=71, visit_id="5", date=f"{day} 11:00:00", services=[{"id": 10}], staff_id=6),
            record(id=72, visit_id=5, date=f"{day} 12:00:00"),
        ],
    )
    sync(database, crm)
    execute(
        database,
        "INSERT INTO service_reactivation_rules (company_id, service_id, manual_interval) VALUES (1, 9, 30), (1, 10, 30)",
    )
    mirror = Mirror(database, Lake(str(tmp_path)))
    known = {name: mirror.snapshot(name) for name in ("companies", "services", "staff", "clients", "records", "rules")}
    nothing = {name: frame(name, []) for name in ("campaigns", "suppressions", "pauses")}
    found = detect_inactive(InactivityInputs(**known, **nothing), NOW)
    assert found.select("client_id", "visits", "service_visits", "days_since").rows() == [(16, 1, 1, 82)]


# ---------------------------------------------------------------- cards that cannot be read


def test_cards_that_cannot_be_read_are_kept_once_with_their_reason_and_the_rest_goes_on(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1, 2)
    bad = record(id=71, attendance=9)
    books.open(1, records=[record(), bad], clients=[client(), client(id=None), {"name": "\x00"}, {"name": "B"}])
    books.open(2, clients=[client(id=None)])
    for hours in range(2):
        report = sync(database, crm, NOW + HOUR * hours)
        assert report.failed == {}
        assert report.rejected >= 5
    found = rows(database, "SELECT company_id, source, split_part(reason, ':', 1) FROM rejected_rows ORDER BY 1, 2")
    assert found == [
        *[(1, "yclients/1/clients", "id=None")] * 3,
        (1, "yclients/1/records", "attendance=9"),
        (2, "yclients/2/clients", "id=None"),
    ]
    assert len(rows(database, "SELECT FROM record_lines WHERE company_id = 1")) == 1


def test_a_card_that_was_mended_is_rejected_no_longer(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    books.open(
        1,
        records=[record(id=70, attendance=9), record(id=71, attendance=9)],
        clients=[client(), client(id=17, phone={})],
        service_categories=[{"id": 4, "title": None}],
    )
    sync(database, crm)
    assert len(rows(database, "SELECT FROM rejected_rows")) == 4
    books.books[1] |= {"records": [record(id=70), record(id=71, attendance=8)], "clients": [client()]}
    books.books[1]["service_categories"] = [{"id": 4, "title": "Волосы"}]
    sync(database, crm, NOW + 25 * HOUR)
    assert rows(database, "SELECT category FROM services") == [("Волосы",)]
    assert rows(database, "SELECT split_part(reason, ':', 1) FROM rejected_rows") == [("attendance=8",)]


@pytest.mark.parametrize(
    "spoilt",
    [
        {"services": [service(), service()]},
        {"clients": [client(id=16), client(id="16", name="Второй")]},
        {"staff": [staff(name="Анна\x00"), staff(id="5")]},
        {"records": [record(), record(id="70")]},
    ],
)
def test_a_card_that_comes_twice_counts_once(
    database: Database, crm: CrmServer, books: Books, spoilt: dict[str, list[Any]]
) -> None:
    add_company(database, 1)
    books.open(1, search=[16], **spoilt)
    assert sync(database, crm).failed == {}
    assert all(len(rows(database, f"SELECT FROM {table}")) == 1 for table in TABLES)


def test_of_a_row_that_comes_twice_the_last_counts_with_all_its_lines_and_no_other() -> None:
    """As it does when it is moved from one window to the next while they are read."""
    from reactivation_resources.crm_cards import line_frame
    from reactivation_resources.crm_pull import Salon
    from reactivation_resources.yclients.models import RecordCard, read_cards

    pull = Pull(Salon(1, "Europe/Moscow", "RU", None, None, None, None))
    pages = [
        [record(id=70, services=[{"id": 9}, {"id": 10}]), record(id=71), record(id=72, client=None)],
        [record(id=70, services=[{"id": 11}]), record(id=71, client=None), record(id=72)],
    ]
    for page in pages:
        pull.add("record_lines", line_frame(1, read_cards(RecordCard, page).good))
    lines, nobodys = pull.lines()
    assert lines.select("record_id", "line", "service_id").rows() == [(70, 0, 11), (72, 0, 9)]
    assert nobodys.rows() == [(1, 71)]


# ---------------------------------------------------------------- one company's trouble


@pytest.mark.parametrize("fault", [(429, {}), (500, {}), HTML, BUSY, (200, b"half a {"), None], ids=str)
def test_a_company_that_does_not_answer_keeps_its_watermark_and_the_others_go_on(
    database: Database, crm: CrmServer, books: Books, fault: Answer
) -> None:
    add_company(database, 1, 2, 3)
    books.open(1, 2, 3)
    sync(database, crm)
    books.broken[2] = fault
    books.books[3]["clients"][0]["name"] = "Юра"
    report = sync(database, crm, NOW + HOUR)
    assert set(report.failed) == {2}
    assert [company(database, number).changed_after for number in (1, 2, 3)] == [NOW + HOUR, NOW, NOW + HOUR]
    assert company(database, 2).crm_status == "active"
    assert rows(database, "SELECT name FROM clients WHERE company_id = 3") == [("Юра",)]


@pytest.mark.parametrize(
    ("status", "noted"), [(401, "no_access"), (402, "frozen"), (403, "no_access"), (404, "active"), (422, "active")]
)
def test_a_refusal_is_noted_on_the_company_until_it_answers_again(
    database: Database, crm: CrmServer, books: Books, status: int, noted: str
) -> None:
    add_company(database, 1)
    books.open(1)
    books.broken[1] = (status, {"success": False, "meta": {"message": "нет"}})
    assert set(sync(database, crm).failed) == {1}
    assert company(database).crm_status == noted
    assert company(database).changed_after is None
    books.broken.clear()
    assert sync(database, crm, NOW + HOUR).failed == {}
    assert company(database).crm_status == "active"


def test_a_company_that_leaves_while_it_is_read_stays_gone(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1, 2)
    books.open(1, 2)
    sync(database, crm)

    def leave(request: Request) -> Answer:
        execute(database, "UPDATE companies SET crm_status = 'uninstalled'")
        return books.answer(request) if "/1" in request.path else (401, {"success": False, "meta": {"message": "нет"}})

    crm.answer = leave
    sync(database, crm, NOW + HOUR)
    assert [company(database, number).crm_status for number in (1, 2)] == ["uninstalled", "uninstalled"]


@pytest.mark.parametrize("table", TABLES)
def test_rows_and_watermark_come_together_or_not_at_all(
    database: Database, crm: CrmServer, books: Books, table: str
) -> None:
    add_company(database, 1, 2)
    books.open(1, 2)
    sync(database, crm)
    before = snapshot(database)
    changes = {"name": "Новое", "title": "Новое", "client": {"id": 17}}
    for kind in ("services", "staff", "clients", "records"):
        books.books[1][kind] = [
            card | {key: value for key, value in changes.items() if key in card} for card in books.books[1][kind]
        ]
    execute(
        database, "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''full''; END'"
    )
    execute(
        database,
        f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )
    execute(
        database,
        "CREATE TRIGGER refuse2 BEFORE UPDATE ON companies FOR EACH ROW WHEN (NEW.company_id = 1) EXECUTE FUNCTION refuse()",
    )
    execute(database, "ALTER TABLE companies DISABLE TRIGGER refuse2")
    execute(database, "UPDATE companies SET catalogue_at = NULL")
    execute(database, "ALTER TABLE companies ENABLE TRIGGER refuse2")
    report = sync(database, crm, NOW + HOUR)
    assert report.failed[1] == "ProgrammingError"  # the database's own words may hold a name
    assert snapshot(database) == before
    assert company(database).changed_after == NOW
    execute(database, "DROP FUNCTION refuse CASCADE")
    assert sync(database, crm, NOW + 2 * HOUR).failed == {}
    assert rows(database, "SELECT name FROM clients WHERE company_id = 1") == [("Новое",)]
    assert company(database).changed_after == NOW + 2 * HOUR


@pytest.mark.parametrize(
    "spoilt",
    [
        {"staff": [staff(id=2**40, name="x" * 100)], "clients": [client(categories=5)]},
        {"records": [record(date="9999-12-31 23:59:59")]},
        {"services": {"not": "a list"}},
        {"company": []},
    ],
)
def test_odd_cards_stop_no_other_company(
    database: Database, crm: CrmServer, books: Books, spoilt: dict[str, list[Any]]
) -> None:
    add_company(database, 1, 2)
    books.open(1, **spoilt)
    books.open(2)
    sync(database, crm)
    assert company(database, 2).changed_after == NOW


def test_a_company_with_a_zone_nobody_knows_is_named_and_stops_no_other(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1, 2)
    books.open(1, 2)["company"] = {"id": 1, "title": "Салон", "timezone_name": "Mars/Olympus"}
    report = sync(database, crm)
    assert "Mars/Olympus" in report.failed[1]
    assert company(database, 2).changed_after == NOW


def test_a_database_that_is_away_is_nobodys_own_failure(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1, 2, 3)
    books.open(1, 2, 3)
    execute(
        database, "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE SQLSTATE ''57P01''; END'"
    )
    execute(database, "CREATE TRIGGER away BEFORE UPDATE ON companies FOR EACH ROW EXECUTE FUNCTION away()")
    with pytest.raises(OperationalError):
        sync(database, crm)
    assert company(database).changed_after is None


def test_companies_whose_mirror_has_grown_old_are_named(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1, 2, 3)
    books.open(1, 2, 3)
    sync(database, crm)
    books.broken = {1: (500, {}), 2: (402, {"success": False, "meta": {"message": "продлить"}})}
    sync(database, crm, NOW + 30 * HOUR)
    assert companies_behind(database, NOW + 6 * HOUR) == {1: NOW}  # of an expired licence we know already


# ---------------------------------------------------------------- two at once


def test_what_was_read_while_somebody_else_was_faster_is_dropped_and_read_again(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    books.asked.clear()
    stale = {"clients": [client(name="Старое имя")], "records": [record(attendance=0)]}
    fresh = {"clients": [client(name="Новое имя")], "records": [record(attendance=1)]}
    books.books[1] |= stale
    others = iter([NOW + HOUR])

    def answer(request: Request) -> Answer:
        told = books.answer(request)
        if "search" in request.path and (at := next(others, None)):
            books.books[1] |= fresh
            inner = sync(database, crm, at)  # another process, begun later and done earlier
            assert inner.failed == {}
        return told

    crm.answer = answer
    report = sync(database, crm, NOW + HOUR - timedelta(minutes=1))
    assert report.failed == {}
    assert report.changed == {}
    assert rows(database, "SELECT name FROM clients") == [("Новое имя",)]
    assert rows(database, "SELECT status FROM record_lines") == [("attended",)]
    assert company(database).changed_after == NOW + HOUR
    assert len(books.calls("records")) == 2  # what is fresher than our own beginning is not read again


def test_what_is_older_than_our_beginning_is_read_again_after_it_was_faster(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    execute(database, "UPDATE companies SET catalogue_at = NULL")  # as a hint asks for
    books.asked.clear()
    others = iter([NOW + HOUR])

    def answer(request: Request) -> Answer:
        told = books.answer(request)
        if "search" in request.path and (at := next(others, None)):
            sync(database, crm, at)
        return told

    crm.answer = answer
    assert sync(database, crm, NOW + 2 * HOUR).failed == {}
    assert company(database).changed_after == NOW + 2 * HOUR
    assert len(books.calls("staff")) == 3  # what was asked for is read by the one who was asked, whoever was faster


def test_a_company_that_is_fresher_than_this_synchronisation_is_left_alone(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm, NOW + HOUR)
    books.asked.clear()
    assert sync(database, crm).failed == {}
    assert books.asked == []
    assert company(database).changed_after == NOW + HOUR


# ---------------------------------------------------------------- wall time

ZONES = ("America/Toronto", "Europe/London", "Europe/Moscow", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu")


@given(st.sampled_from(ZONES), st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_however_the_crm_reads_the_wall_time_nothing_changed_since_is_missed(zone: str, instant: datetime) -> None:
    asked = wall_time(instant, ZoneInfo(zone))
    readings = {asked.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)}
    assert max(readings) <= instant
    assert min(readings) >= instant - timedelta(hours=2, seconds=1)


def test_in_the_hour_that_comes_twice_the_earlier_reading_is_asked_for() -> None:
    toronto = ZoneInfo("America/Toronto")
    for hour, asked in ((5, "00:25"), (4, "00:25"), (7, "02:25")):  # 5:25 is 1:25 at the first pass
        instant = datetime(2026, 11, 1, hour, 25, tzinfo=UTC)
        assert wall_time(instant, toronto) == datetime.fromisoformat(f"2026-11-01T{asked}:00")


def test_the_overlap_is_longer_than_any_clock_is_wrong() -> None:
    assert timedelta(minutes=15) == OVERLAP
