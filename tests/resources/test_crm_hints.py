"""Hints of the CRM: stored without what is private, once as long as they wait, and done with only after a reading that began later."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from reactivation_resources import crm_hints
from reactivation_resources.crm_events import MOST_EVENTS
from reactivation_resources.crm_hints import MOST_WAITING, StoredHints, forget_hints, store_hints, waiting_hints
from reactivation_resources.database.engine import Database

NOW = datetime(2026, 10, 14, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
SALONS = """
INSERT INTO companies (company_id, title, timezone, country, currency, crm_source, changed_after) VALUES
  (1, 'Первый', 'Europe/Moscow', 'RU', 'RUB', 'yclients', '2026-10-14'), (2, 'Второй', 'Europe/Moscow', 'RU', 'RUB', 'yclients', '2026-10-14'),
  (3, 'Из книги', 'Europe/Moscow', 'RU', 'RUB', 'import', NULL), (4, 'Новый', 'Europe/Moscow', 'RU', 'RUB', 'yclients', NULL)
"""
STATUSES = ("active", "frozen", "no_access", "suspended", "uninstalled")


@pytest.fixture
def salons(database: Database) -> Database:
    """A database with two mirrored salons (1, 2), an imported one (3) and one that has not been mirrored yet (4)."""
    change(database, SALONS)
    return database


def change(database: Database, statement: str, **values: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), values)


def rows(database: Database, query: str, **values: Any) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(text(query), values))


def event(
    company: int = 1, resource: str = "record", resource_id: int = 5, status: str = "update", **data: Any
) -> dict[str, Any]:
    return {"company_id": company, "resource": resource, "resource_id": resource_id, "status": status, "data": data}


def callback(event: str, company: int = 1) -> dict[str, Any]:
    return {"salon_id": company, "application_id": 77, "event": event, "partner_token": "a-token"}


def store(database: Database, *said: Any, at: datetime = NOW) -> StoredHints:
    return store_hints(database, json.dumps(list(said)).encode(), at)


def status_of(database: Database, company: int = 1) -> str:
    return str(rows(database, "SELECT crm_status FROM companies WHERE company_id = :company", company=company)[0][0])


# ------------------------------------------------------------------------------------------------ storing


def test_a_hint_is_the_same_while_resource_id_status_and_data_are(salons: Database) -> None:
    first = event(attendance=1, paid=0)
    assert store(salons, first) == StoredHints(new=1)
    assert store(salons, {**first, "data": {"paid": 0, "attendance": 1}}) == StoredHints(duplicates=1)
    others = [
        event(2, attendance=1, paid=0), event(resource="client", attendance=1, paid=0), event(resource_id=6, attendance=1, paid=0),
        event(status="delete", attendance=1, paid=0), event(attendance=1, paid=1),
    ]  # fmt: skip
    assert store(salons, *others, first) == StoredHints(new=5, duplicates=1)


def test_of_companies_unknown_here_the_latest_event_is_kept_and_nothing_waits(salons: Database) -> None:
    assert store(salons, event(3), event(555), event(555, resource_id=6)) == StoredHints(new=2, duplicates=1)
    kept = rows(salons, "SELECT company_id, message_id, error, processed_at FROM inbox ORDER BY company_id")
    assert [tuple(row) for row in kept] == [
        (3, "record:5", "unknown company", NOW),
        (555, "record:6", "unknown company", NOW),
    ]
    assert waiting_hints(salons, NOW) == []


def test_whoever_knows_the_address_cannot_fill_the_disk(salons: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm_hints, "_PLACES", 50)
    monkeypatch.setattr(crm_hints, "MOST_WAITING", 20)

    def flood(number: int) -> list[Any]:
        return [
            event(company=1_000_000 + number), event(resource=f"made up {number}"), event(1, resource_id=number + 1), number,
            callback("freeze", 2_000_000 + number), {"salon_id": number, "junk": "x" * 3000},
        ]  # fmt: skip

    for start in range(0, 2400, 400):
        store(salons, *(item for number in range(start, start + 400) for item in flood(number)))
    stored = dict(rows(salons, "SELECT split_part(event_key, ':', 1), count(*) FROM inbox GROUP BY 1"))
    assert stored == {"1": 20, "idle": 100, "malformed": 50, "unread": 50}


def test_a_full_company_leaves_room_for_the_others_and_takes_hints_again_once_it_is_read(salons: Database) -> None:
    assert store(salons, *(event(resource_id=number) for number in range(1, MOST_WAITING + 6))) == StoredHints(
        MOST_WAITING, 5
    )
    assert store(salons, event(resource_id=9_999), event(2)) == StoredHints(new=1, duplicates=1)
    change(salons, "UPDATE inbox SET processed_at = :now WHERE company_id = 1", now=NOW)
    assert store(salons, event(resource_id=9_999)) == StoredHints(new=1)


def test_of_one_body_the_first_thousands_are_read_and_the_rest_is_told(salons: Database) -> None:
    stored = store(salons, *(event(555) for _ in range(MOST_EVENTS + 5)))
    assert stored.new == 2
    [row] = rows(salons, "SELECT error FROM inbox WHERE kind = 'malformed'")
    assert row.error == f"one body held {MOST_EVENTS + 5} events: those after the first {MOST_EVENTS} were left out"


@pytest.mark.parametrize(
    "resource", ["good", "finances_operation", "goods_operations_sale", "schedule", "something new"]
)
def test_what_is_not_mirrored_is_kept_but_asks_for_nothing(salons: Database, resource: str) -> None:
    store(salons, event(resource=resource))
    [row] = rows(salons, "SELECT error, processed_at FROM inbox")
    assert (row.error, row.processed_at) == ("nothing of it is mirrored", NOW)


TEXTS = st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES | st.sampled_from([1, "1", "record", "update", "freeze"])
        for name in ("company_id", "resource", "resource_id", "status", "data", "salon_id", "application_id", "event")
    },
)


@given(st.one_of(VALUES, NEARLY, st.lists(NEARLY, max_size=4)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_whatever_a_body_holds_every_part_of_it_is_accounted_for(salons: Database, body: Any) -> None:
    stored = store_hints(salons, json.dumps(body).encode(), NOW)
    assert stored.new + stored.duplicates == (len(body) if isinstance(body, list) else 1)


# ------------------------------------------------------------------------------------------------ callbacks of the marketplace

MOVES = {
    "uninstall": dict.fromkeys(STATUSES, "uninstalled"),
    "freeze": dict.fromkeys(STATUSES, "suspended") | {"uninstalled": "uninstalled"},
    "payment": {name: name for name in STATUSES} | {"suspended": "active"},
}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("told", MOVES)
def test_a_callback_moves_the_company_once_tells_people_once_and_raises_the_version(
    salons: Database, told: str, before: str
) -> None:
    change(salons, "UPDATE companies SET crm_status = :before", before=before)
    expected = MOVES[told][before]
    for _ in range(3):
        store(salons, callback(told))
    assert status_of(salons) == expected
    assert status_of(salons, 2) == before
    alerts = rows(salons, "SELECT kind, company_id, times FROM alerts")
    versions = rows(salons, "SELECT 1 FROM mirror_versions WHERE name = 'companies'")
    if expected == before:
        assert alerts == versions == []
    else:
        assert [tuple(row) for row in alerts] == [(f"crm_{expected}", 1, 1)]
        assert len(versions) == 1


def test_a_callback_for_a_salon_of_nobody_or_of_a_book_changes_nothing(salons: Database) -> None:
    store(salons, callback("uninstall", 3), callback("uninstall", 555))
    assert status_of(salons, 3) == "active"
    assert {row.error for row in rows(salons, "SELECT error FROM inbox")} == {"unknown company"}
    assert rows(salons, "SELECT 1 FROM alerts") == []


def test_a_stopped_company_hints_at_nothing_until_it_has_paid_and_then_is_read_whole(salons: Database) -> None:
    store(salons, event(), event(2), callback("freeze"))
    assert waiting_hints(salons, NOW) == [2]
    store(salons, event(resource_id=6))
    assert rows(salons, "SELECT error FROM inbox WHERE message_id = 'record:6'")[0].error == "not mirrored: suspended"
    assert store(salons, callback("payment"), callback("payment")) == StoredHints(1, 1)
    assert sorted(waiting_hints(salons, NOW)) == [1, 2]
    assert len(rows(salons, "SELECT 1 FROM inbox WHERE message_id = 'company:1' AND processed_at IS NULL")) == 1


# ------------------------------------------------------------------------------------------------ what waits


def test_companies_with_hints_are_told_once_the_longest_waiting_first(salons: Database) -> None:
    assert waiting_hints(salons, NOW) == []
    store(salons, event(2))
    store(salons, event(1), event(2, resource_id=6))
    assert waiting_hints(salons, NOW) == [2, 1]


def test_a_company_that_was_never_mirrored_waits_for_its_first_load(salons: Database) -> None:
    store(salons, event(4))
    assert waiting_hints(salons, NOW) == []
    change(salons, "UPDATE companies SET changed_after = :now WHERE company_id = 4", now=NOW)
    assert waiting_hints(salons, NOW) == [4]


def test_hints_that_were_done_with_a_week_ago_are_removed_and_nothing_else(salons: Database) -> None:
    store(salons, event(resource_id=1), event(resource_id=2), event(resource_id=3), "malformed")
    done = "UPDATE inbox SET processed_at = :at, event_key = 'taken:' || inbox_id WHERE message_id = :which"
    change(salons, done, at=NOW - timedelta(days=7, seconds=1), which="record:1")
    change(salons, done, at=NOW - timedelta(days=6), which="record:2")
    assert forget_hints(salons, NOW) == 1
    left = {row.message_id for row in rows(salons, "SELECT message_id FROM inbox")}
    assert left == {"record:2", "record:3", None}
