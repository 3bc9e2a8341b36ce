"""A company's first load: two years in windows, to be gone on with after any interruption, seen by nobody before it is whole."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_resources import crm_pull, crm_sync
from reactivation_resources.crm_pull import Pull, Salon, TooManyCardsError, windows_back
from reactivation_resources.crm_sync import FIRST_LOAD, sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_sandbox.process import Town, running_town
from tests.resources.crm_books import NOW, TABLES, Books, add_company, card, client, company, record, snapshot, sync
from tests.resources.crm_server import Answer, CrmServer, Request, good, running_crm
from tests.resources.sending_world import execute, rows

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TODAY = NOW.date()
FAULT: Answer = (500, {})
BEGIN_AGAIN = (
    "UPDATE companies SET changed_after = NULL, load_started_at = NULL, loaded_back_to = NULL, catalogue_at = NULL"
)


@pytest.fixture
def crm() -> Iterator[CrmServer]:
    with running_crm() as running:
        yield running


@pytest.fixture
def books(crm: CrmServer) -> Books:
    return Books(crm)


def journal(days: int = 900, step: int = 9, **changes: Any) -> list[dict[str, Any]]:
    """A booking every few days, from a month ahead back into the past; the last change of each is its own time."""
    return [
        record(id=1000 + number, date=f"{day} 16:00:00", last_change_date=f"{day}T16:00:00+0300", **changes)
        for number, day in enumerate(TODAY + 30 * DAY - DAY * back for back in range(0, days, step))
    ]


def windows(books: Books) -> list[tuple[str, str | None]]:
    """First and last day of every window asked for."""
    return [(query["start_date"], query.get("end_date")) for query in books.calls("records") if "start_date" in query]


def visible(database: Database, folder: Path) -> list[int]:
    """The companies that a daily run sees."""
    return Mirror(database, Lake(str(folder))).snapshot("companies").collect()["company_id"].to_list()


def fail_at(crm: CrmServer, books: Books, number: int) -> None:
    """Let the CRM break down at the n-th question for a window, until it is healed by `crm.answer = books.answer`."""
    crm.answer = lambda request: FAULT if len(windows(books)) >= number else books.answer(request)


def test_two_years_are_read_and_the_future_the_newest_first(database: Database, crm: CrmServer, books: Books) -> None:
    add_company(database, 1)
    horizon = TODAY - FIRST_LOAD
    everything = books.open(1)["records"] = journal()
    inside = [row for row in everything if row["date"][:10] >= str(horizon)]
    shares: list[float] = []
    report = sync(database, crm, progress=lambda _, share: shares.append(share))
    assert report.changed == {"services": 1, "staff": 1, "clients": 1, "records": len(inside), "companies": 0}
    assert (report.companies, report.rejected, report.failed, report.loading) == (1, 0, {}, {})
    asked = windows(books)
    assert asked[0] == (str(TODAY), None)
    for (start, _), (_, end) in pairwise(asked):
        assert end == str(date.fromisoformat(start) - DAY)
    assert asked[-1][0] == str(horizon)
    assert asked[1] == (str(TODAY - 31 * DAY), str(TODAY - DAY))
    assert len(asked) < 8  # where there is little to read windows are long
    last = books.calls("records")[-1]
    assert (last.get("start_date"), last["changed_after"]) == (None, "2026-11-22T09:45:00")
    assert shares == sorted(shares)
    assert shares[-1] == 1
    row = company(database)
    assert (row.changed_after, row.load_started_at, row.loaded_back_to, row.catalogue_at) == (NOW, NOW, horizon, NOW)


def test_an_interrupted_load_goes_on_where_it_was_and_reads_what_changed_meanwhile(
    database: Database, crm: CrmServer, books: Books, tmp_path: Path
) -> None:
    add_company(database, 1)
    book = books.open(1)
    book["records"] = journal()
    fail_at(crm, books, 3)
    report = sync(database, crm)
    assert set(report.failed) == {1}
    assert 0 < report.loading[1] < 0.5
    row = company(database)
    assert (row.changed_after, row.load_started_at) == (None, NOW)
    assert str(row.loaded_back_to) == windows(books)[2][0]
    assert visible(database, tmp_path) == []
    done = windows(books)
    crm.answer = books.answer
    books.asked.clear()
    # meanwhile: one booking was moved from a day not yet read to one that has been, and a client changed
    moved = book["records"][-30]
    moved |= {"date": "2026-11-25 12:00:00", "last_change_date": "2026-11-22T10:30:00+0300"}
    book["clients"] = [client(name="Юра", last_change_date="2026-11-22T10:30:00+0300")]
    assert sync(database, crm, NOW + 5 * HOUR).failed == {}
    assert not set(windows(books)) & set(done)
    assert books.calls("staff") == []
    assert [query["changed_after"] for query in books.calls("clients")] == ["2026-11-22T09:45:00"]
    assert company(database).changed_after == NOW + 5 * HOUR
    assert rows(database, "SELECT name FROM clients") == [("Юра",)]
    inside = {row["id"] for row in book["records"] if row["date"][:10] >= str(TODAY - FIRST_LOAD)}
    assert {row.record_id for row in rows(database, "SELECT record_id FROM record_lines")} == inside
    assert visible(database, tmp_path) == [1]


def test_a_load_that_breaks_down_at_every_window_is_done_in_the_end(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)["records"] = journal()
    seen: set[Any] = set()
    for attempt in range(30):
        number = len(windows(books)) + 1
        fail_at(crm, books, number)
        if not sync(database, crm, NOW + attempt * HOUR).failed:
            break
        row = company(database)
        assert row.changed_after is None
        assert (row.loaded_back_to, len(windows(books))) not in seen
        seen.add((row.loaded_back_to, len(windows(books))))
    assert company(database).changed_after is not None
    kept = snapshot(database)
    for table in TABLES:
        execute(database, f"DELETE FROM {table}")
    execute(database, BEGIN_AGAIN)
    crm.answer = books.answer
    sync(database, crm)
    assert snapshot(database) == kept


def test_another_zone_means_reading_everything_afresh(
    database: Database, crm: CrmServer, books: Books, tmp_path: Path
) -> None:
    add_company(database, 1)
    book = books.open(1)
    book["records"] = [record(), record(id=71, date="2020-01-01 10:00:00", last_change_date="2026-11-22T10:00:00+0300")]
    sync(database, crm)
    assert len(rows(database, "SELECT FROM record_lines")) == 2
    book["company"] = card(1, timezone_name="Asia/Yekaterinburg", title="Салон на Урале", country="Казахстан")
    fail_at(crm, books, len(windows(books)) + 1)
    assert set(sync(database, crm, NOW + 25 * HOUR).failed) == {1}
    row = company(database)
    assert (row.timezone, row.title, row.country) == ("Asia/Yekaterinburg", "Салон на Урале", "KZ")
    assert (row.changed_after, row.load_started_at) == (None, NOW + 25 * HOUR)
    assert (
        rows(database, "SELECT FROM record_lines WHERE record_id <> 70") == []
    )  # its instant was that of another zone
    assert visible(database, tmp_path) == []
    (alert,) = rows(database, "SELECT company_id, kind, message FROM alerts")
    assert (alert.company_id, alert.kind) == (1, "crm_company_moved")
    assert "timezone Europe/Moscow is now Asia/Yekaterinburg" in alert.message
    crm.answer = books.answer
    assert sync(database, crm, NOW + 26 * HOUR).failed == {}
    assert visible(database, tmp_path) == [1]
    found = rows(database, "SELECT starts_at FROM record_lines WHERE record_id = 70")
    assert found == [(datetime(2026, 11, 20, 11, tzinfo=UTC),)]


def test_a_company_that_somebody_else_is_loading_is_left_to_them(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    books.open(1)["records"] = journal()
    others = iter([1])

    def answer(request: Request) -> Answer:
        told = books.answer(request)
        if len(windows(books)) == 3 and next(others, None):
            assert sync(database, crm, NOW + HOUR).failed == {}  # the other one, which is faster
        return told

    crm.answer = answer
    report = sync(database, crm)
    assert report.failed == {}
    assert company(database).changed_after == NOW + HOUR
    theirs = windows(books)[3:]  # after its third window the slower one asked for no more
    assert all(end == str(date.fromisoformat(start) - DAY) for (start, _), (_, end) in pairwise(theirs))
    assert theirs[-1][0] == str(TODAY - FIRST_LOAD)


def test_more_changes_than_can_be_read_at_once_are_read_in_windows_and_nothing_is_missed(
    database: Database, crm: CrmServer, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crm_pull, "MOST_CARDS", 12)
    monkeypatch.setattr(crm_sync, "MOST_CARDS", 12)
    monkeypatch.setattr(crm_pull, "FEW", 3)
    monkeypatch.setattr(crm_pull, "MANY", 8)
    add_company(database, 1)
    book = books.open(1)
    book["records"] = journal()
    sync(database, crm)
    books.asked.clear()
    ancient = record(id=1, date="2019-05-01 10:00:00")
    book["records"] = [*journal(attendance=-1), ancient]
    for row in book["records"]:
        row["last_change_date"] = "2026-11-22T10:10:00+0300"
    report = sync(database, crm, NOW + HOUR)
    assert report.failed == {}
    assert all("changed_after" in query for query in books.calls("records"))
    assert len(windows(books)) > 10
    assert {row.status for row in rows(database, "SELECT DISTINCT status FROM record_lines WHERE record_id > 1")} == {
        "no_show"
    }
    assert len(rows(database, "SELECT FROM record_lines")) == len(book["records"])
    assert company(database).changed_after == NOW + HOUR


def test_a_listing_that_will_not_hold_still_is_read_in_windows(
    database: Database, crm: CrmServer, books: Books
) -> None:
    add_company(database, 1)
    book = books.open(1)
    sync(database, crm)
    book["records"] = [record(attendance=-1)]
    counts = iter(range(1000, 2000))

    def answer(request: Request) -> Answer:
        told = books.answer(request)
        if "/records/" in request.path and not {"start_date", "end_date"} & set(request.query):
            return good([record(id=next(counts))], {"total_count": next(counts)})
        return told

    crm.answer = answer
    assert sync(database, crm, NOW + HOUR).failed == {}
    assert rows(database, "SELECT status FROM record_lines WHERE record_id = 70") == [("no_show",)]
    assert company(database).changed_after == NOW + HOUR


@settings(max_examples=200)
@given(
    st.integers(0, 1500),
    st.lists(st.integers(0, 30_000), min_size=1, max_size=40),
    st.none() | st.integers(0, 1500),
)
def test_windows_lie_side_by_side_and_reach_the_horizon(days: int, sizes: list[int], done: int | None) -> None:
    """Whatever they hold; a window that holds too much is asked for again, smaller, until it is a day."""
    salon = Salon(1, "UTC", "RU", None, None, None, None)
    left = iter(sizes * 100)

    async def read(start: date | None, end: date | None, at_most: int | None) -> Pull:
        assert start is not None
        cards = next(left, 0)
        if at_most is not None and cards > at_most:
            assert start < (end or TODAY)
            raise TooManyCardsError
        return Pull(salon, cards=cards)

    async def collect() -> list[date]:
        back_to = None if done is None else TODAY - done * DAY
        return [start async for start, _ in windows_back(read, TODAY, back_to, TODAY - days * DAY)]

    starts = asyncio.run(collect())
    assert starts == sorted(set(starts), reverse=True)
    if done is None:
        assert starts[0] == TODAY
    if done is None or done < days:
        assert starts[-1] == TODAY - days * DAY
    else:
        assert starts == []


# ---------------------------------------------------------------- against a town


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=2, clients=40, now="2026-11-01T00:00:00+00:00") as town:
        yield town


def test_a_mirror_kept_up_equals_one_made_afresh(running: Town, database: Database) -> None:
    running.reset()
    companies = sorted(int(key) for key in running.sessions)
    for number in companies:
        add_company(database, number, zone=running.book(number)["company"]["timezone"])

    def bring_up_to_date(now: datetime) -> None:
        async def once() -> None:
            async with YClients(running.yclients_url, running.partner, running.user, RateLimiter("none", ())) as client:
                report = await sync_companies(database, client, now)
                assert (report.failed, report.rejected) == ({}, 0)

        asyncio.run(once())

    now = running.clock()
    for step in range(5):
        bring_up_to_date(now)
        running.shuffle(seed=step, edits=20)
        now += timedelta(hours=31)
        running.set_clock(now)
    bring_up_to_date(now)
    kept_up = snapshot(database)
    assert len(kept_up["record_lines"]) > 100
    for table in TABLES:
        execute(database, f"DELETE FROM {table}")
    execute(database, BEGIN_AGAIN)
    bring_up_to_date(now)
    afresh = snapshot(database)
    # what the CRM has no longer stays here, marked; afresh it is not known at all
    live = {"services": "active", "staff": "active", "clients": "deleted", "record_lines": None}
    for table, mark in live.items():
        kept = [row for row in kept_up[table] if mark != "deleted" or not row.deleted]
        if mark == "active":
            gone = {row[1] for row in kept} - {row[1] for row in afresh[table]}
            assert not any(row.active for row in kept if row[1] in gone)
            kept = [row for row in kept if row[1] not in gone]
        assert afresh[table] == kept
