"""The mirror follows the CRM: only what changed, all or nothing, one company's trouble is its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from reactivation_resources.crm_sync import FIRST_LOAD, OVERLAP, SyncReport, _wall_time, sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients import YClients
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import execute, rows
from tests.resources.test_crm_cards import client, record, service, staff
from tests.resources.test_yclients import Answer, Crm, good, running_crm

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
HOUR = timedelta(hours=1)
TABLES = ("services", "staff", "clients", "record_lines")


class Books:
    """The books of several companies behind one CRM; `broken` maps a company to the fault it answers with."""

    def __init__(self, crm: Crm) -> None:
        self.books: dict[int, dict[str, list[Any]]] = {}
        self.broken: dict[int, Answer] = {}
        self.queries: list[tuple[int, str, dict[str, list[str]]]] = []
        crm.answer = self.answer

    def answer(self, path: str, query: dict[str, list[str]]) -> Answer:
        parts = path.removeprefix("/api/v1/").strip("/").split("/")
        company, what = (int(parts[1]), parts[2]) if parts[0] == "company" else (int(parts[1]), parts[0])
        self.queries.append((company, what, query))
        if company in self.broken:
            return self.broken[company]
        cards = self.books[company][what]
        return good(cards if query.get("page", ["1"]) == ["1"] else [], {"total_count": len(cards)})

    def open(self, *companies: int, **changes: list[Any]) -> dict[str, list[Any]]:
        for company in companies:
            self.books[company] = {
                "services": [service()], "staff": [staff()], "clients": [client()], "records": [record(company_id=company)],
            } | changes  # fmt: skip
        return self.books[companies[0]]


@pytest.fixture
def crm() -> Iterator[Crm]:
    with running_crm() as running:
        yield running


@pytest.fixture
def books(crm: Crm) -> Books:
    return Books(crm)


def add_company(database: Database, *companies: int, zone: str = "Europe/Moscow") -> None:
    for company in companies:
        execute(
            database,
            "INSERT INTO companies (company_id, title, timezone, country, currency) VALUES (:id, 'Салон', :zone, 'RU', 'RUB')",
            id=company,
            zone=zone,
        )


def company(database: Database, company_id: int = 1) -> Any:
    return rows(database, "SELECT * FROM companies WHERE company_id = :id", id=company_id)[0]


def sync(database: Database, crm: Crm, now: datetime = NOW) -> SyncReport:
    door = crm.door()
    try:
        return sync_companies(database, door, now)
    finally:
        door.close()


def snapshot(database: Database) -> dict[str, list[Any]]:
    return {table: rows(database, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}


def test_the_first_load_goes_two_years_back_and_takes_the_future_too(
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)["records"].append(record(id=71, date="2026-12-24 10:00:00", attendance=0))
    report = sync(database, crm)
    assert report.changed == {"services": 1, "staff": 1, "clients": 1, "records": 2}
    assert (report.companies, report.rejected, report.failed) == (1, 0, {})
    asked = next(query for _, what, query in books.queries if what == "records")
    assert asked["start_date"] == [(NOW - FIRST_LOAD).date().isoformat()]
    assert "end_date" not in asked
    assert "changed_after" not in asked
    assert company(database).changed_after == NOW
    assert [row.status for row in rows(database, "SELECT status FROM record_lines ORDER BY record_id")] == [
        "attended",
        "booked",
    ]


def test_later_only_what_has_changed_is_asked_for_with_an_overlap_in_local_time(
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    books.queries.clear()
    sync(database, crm, NOW + HOUR)
    asked = {what: query for _, what, query in books.queries}
    assert asked["records"]["changed_after"] == asked["clients"]["changed_after"] == ["2026-11-22T09:45:00"]
    assert asked["records"]["with_deleted"] == ["1"]
    assert "start_date" not in asked["records"]
    assert company(database).changed_after == NOW + HOUR


def test_the_same_answer_again_changes_nothing(database: Database, crm: Crm, books: Books) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    before, versions = snapshot(database), rows(database, "SELECT * FROM mirror_versions ORDER BY name")
    report = sync(database, crm, NOW + HOUR)
    assert set(report.changed.values()) == {0}
    assert snapshot(database) == before
    assert rows(database, "SELECT * FROM mirror_versions ORDER BY name") == versions


def test_phones_are_read_for_the_salons_country_and_what_is_no_phone_is_kept_raw(
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1)
    books.open(
        1,
        clients=[
            client(id=1, phone="8 (900) 000-00-01"),
            client(id=2, phone="+7900***0002"),
            client(id=3, phone=""),
        ],
        staff=[staff(employee={"phone": "89000000005"})],
    )
    sync(database, crm)
    assert rows(database, "SELECT client_id, phone, phone_raw FROM clients ORDER BY 1") == [
        (1, "+79000000001", "8 (900) 000-00-01"),
        (2, None, "+7900***0002"),
        (3, None, None),
    ]
    assert rows(database, "SELECT phone, service_ids FROM staff") == [("+79000000005", [9])]


def test_consent_that_was_recorded_here_survives_the_mirror(database: Database, crm: Crm, books: Books) -> None:
    add_company(database, 1)
    books.open(1)
    sync(database, crm)
    execute(database, "UPDATE clients SET consent = false")
    books.books[1]["clients"][0]["name"] = "Юра"
    sync(database, crm, NOW + HOUR)
    assert rows(database, "SELECT name, consent FROM clients") == [("Юра", False)]


def test_a_deleted_record_is_marked_and_one_that_changed_loses_its_old_lines(
    database: Database, crm: Crm, books: Books
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
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1)
    books.open(1, records=[record(id=70), record(id=71)])
    sync(database, crm)
    version = "SELECT version FROM mirror_versions WHERE name = 'records'"
    before = rows(database, version)
    books.books[1]["records"] = [record(id=71, client=None)]
    assert sync(database, crm, NOW + HOUR).changed["records"] == 1
    assert rows(database, "SELECT record_id FROM record_lines") == [(70,)]
    assert rows(database, version) > before


def test_cards_that_cannot_be_read_are_kept_once_with_their_reason_and_the_rest_goes_on(
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1, 2)
    bad = record(id=71, attendance=9)
    books.open(1, records=[record(), bad], clients=[client(), client(id=None), {"name": "\x00"}, {"name": "B"}])
    books.open(2, clients=[client(id=None)])
    for hours in range(2):
        report = sync(database, crm, NOW + HOUR * hours)
        assert report.rejected == 5
        assert report.failed == {}
    found = rows(
        database, "SELECT company_id, source, reason FROM rejected_rows ORDER BY company_id, source, rejected_id"
    )
    assert found == [
        (1, "yclients/1/clients", "id=None: not an integer"),
        (1, "yclients/1/clients", "id=None: not an integer"),
        (1, "yclients/1/clients", "id=None: not an integer"),
        (1, "yclients/1/records", "attendance=9: not one of -1, 0, 1, 2"),
        (2, "yclients/2/clients", "id=None: not an integer"),
    ]
    assert len(rows(database, "SELECT FROM record_lines WHERE company_id = 1")) == 1


@pytest.mark.parametrize("fault", [(429, {}), (500, {}), (200, {"success": False, "meta": {"message": "limit"}}), None])
def test_a_company_that_does_not_answer_keeps_its_watermark_and_the_others_go_on(
    database: Database, crm: Crm, books: Books, fault: Answer
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
    ("status", "noted"), [(401, "no_access"), (402, "frozen"), (403, "no_access"), (404, "active")]
)
def test_a_refusal_is_noted_on_the_company_until_it_answers_again(
    database: Database, crm: Crm, books: Books, status: int, noted: str
) -> None:
    add_company(database, 1)
    books.open(1)
    books.broken[1] = (status, {"success": False, "meta": {"message": "нет"}})
    report = sync(database, crm)
    assert set(report.failed) == {1}
    assert company(database).crm_status == noted
    assert company(database).changed_after is None
    books.broken.clear()
    assert sync(database, crm, NOW + HOUR).failed == {}
    assert company(database).crm_status == "active"


def test_a_company_that_left_is_not_asked(database: Database, crm: Crm, books: Books) -> None:
    add_company(database, 1, 2)
    execute(database, "UPDATE companies SET crm_status = 'uninstalled' WHERE company_id = 1")
    execute(database, "UPDATE companies SET crm_source = 'import' WHERE company_id = 2")
    assert sync(database, crm).companies == 0
    assert books.queries == []


@pytest.mark.parametrize("table", TABLES)
def test_rows_and_watermark_come_together_or_not_at_all(database: Database, crm: Crm, books: Books, table: str) -> None:
    add_company(database, 1, 2)
    books.open(1, 2)
    sync(database, crm)
    before = snapshot(database)
    changes = {"name": "Новое", "title": "Новое", "client": {"id": 17}}
    books.books[1] = {
        what: [card | {key: value for key, value in changes.items() if key in card} for card in cards]
        for what, cards in books.books[1].items()
    }
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
    sync(database, crm, NOW + HOUR)
    assert snapshot(database) == before
    assert company(database).changed_after == NOW
    execute(database, "DROP FUNCTION refuse CASCADE")
    assert sync(database, crm, NOW + 2 * HOUR).failed == {}
    assert rows(database, "SELECT name FROM clients WHERE company_id = 1") == [("Новое",)]
    assert company(database).changed_after == NOW + 2 * HOUR


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
    database: Database, crm: Crm, books: Books, spoilt: dict[str, list[Any]]
) -> None:
    add_company(database, 1)
    books.open(1, **spoilt)
    assert sync(database, crm).failed == {}
    assert all(len(rows(database, f"SELECT FROM {table}")) == 1 for table in TABLES)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"staff": [staff(id=2**40, name="x" * 100)], "clients": [client(categories=5)]},
        {"records": [record(date="9999-12-31 23:59:59")]},
    ],
)
def test_odd_cards_stop_no_other_company(
    database: Database, crm: Crm, books: Books, spoilt: dict[str, list[Any]]
) -> None:
    add_company(database, 1, 2)
    books.open(1, **spoilt)
    books.open(2)
    sync(database, crm)
    assert company(database, 2).changed_after == NOW


def test_a_company_with_a_zone_nobody_knows_is_named_and_stops_no_other(
    database: Database, crm: Crm, books: Books
) -> None:
    add_company(database, 1, zone="Mars/Olympus")
    add_company(database, 2)
    books.open(1, 2)
    report = sync(database, crm)
    assert "Mars/Olympus" in report.failed[1]
    assert company(database, 2).changed_after == NOW


def test_a_database_that_is_away_is_nobodys_own_failure(database: Database, crm: Crm, books: Books) -> None:
    add_company(database, 1)
    books.open(1)
    execute(
        database, "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE SQLSTATE ''57P01''; END'"
    )
    execute(database, "CREATE TRIGGER away BEFORE UPDATE ON companies FOR EACH ROW EXECUTE FUNCTION away()")
    with pytest.raises(OperationalError):
        sync(database, crm)
    assert company(database).changed_after is None


ZONES = ("America/Toronto", "Europe/London", "Europe/Moscow", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu")


@given(st.sampled_from(ZONES), st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_however_the_crm_reads_the_wall_time_nothing_changed_since_is_missed(zone: str, instant: datetime) -> None:
    asked = datetime.fromisoformat(_wall_time(instant, ZoneInfo(zone)))
    readings = {asked.replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC) for fold in (0, 1)}
    assert max(readings) <= instant
    assert min(readings) >= instant - timedelta(hours=2, seconds=1)


def test_in_the_hour_that_comes_twice_the_earlier_reading_is_asked_for() -> None:
    toronto = ZoneInfo("America/Toronto")
    assert _wall_time(datetime(2026, 11, 1, 5, 25, tzinfo=UTC), toronto) == "2026-11-01T00:25:00"  # 1:25, first pass
    assert _wall_time(datetime(2026, 11, 1, 4, 25, tzinfo=UTC), toronto) == "2026-11-01T00:25:00"
    assert _wall_time(datetime(2026, 11, 1, 7, 25, tzinfo=UTC), toronto) == "2026-11-01T02:25:00"


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=2, clients=40, now="2026-11-01T00:00:00+00:00") as town:
        yield town


def test_a_mirror_kept_up_equals_one_made_afresh(running: Town, database: Database) -> None:
    running.reset()
    companies = sorted(int(key) for key in running.sessions)
    door = YClients(running.yclients_url, running.partner, running.user, RateLimiter("none", ()))
    for number in companies:
        add_company(database, number, zone=door.company(number)["timezone_name"])
    now = running.clock()
    for _ in range(6):
        report = sync_companies(database, door, now)
        assert report.failed == {}
        assert report.rejected == 0
        now += timedelta(hours=31)
        running.set_clock(now)
    sync_companies(database, door, now)
    kept_up = snapshot(database)
    assert len(kept_up["record_lines"]) > 100
    for table in TABLES:
        execute(database, f"DELETE FROM {table}")
    execute(database, "UPDATE companies SET changed_after = NULL")
    sync_companies(database, door, now)
    door.close()
    assert snapshot(database) == kept_up


def test_the_overlap_is_longer_than_any_clock_is_wrong() -> None:
    assert timedelta(minutes=15) == OVERLAP
