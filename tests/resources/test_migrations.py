"""The schema goes up and down, equals the models, and makes doubles impossible."""

import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from reactivation_resources.database import engine as engine_module
from reactivation_resources.database.engine import Database, DatabaseError, migrate, pending_revision
from reactivation_resources.database.models import Base
from tests.resources.sending_world import NOON, add_campaign, add_salon, execute, phone_of, rows


@pytest.fixture
def empty_url(servers: tuple[str, str]) -> Iterator[str]:
    """The URL of a database without a schema."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    server = create_engine(servers[0], isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield make_url(servers[0]).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def tables(url: str) -> set[str]:
    database = Database(url)
    found = rows(database, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    database.close()
    return {row.table_name for row in found}


def test_the_schema_goes_up_and_down_and_up_again(empty_url: str) -> None:
    assert pending_revision(empty_url)[0] is None
    for _ in range(2):
        migrate(empty_url)
        migrate(empty_url)  # nothing to do
        current, head = pending_revision(empty_url)
        assert current == head
        assert tables(empty_url) == {*Base.metadata.tables, "reactivation_schema"}
        migrate(empty_url, "base")
        assert tables(empty_url) == {"reactivation_schema"}


def test_the_migrated_schema_is_that_of_the_models(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.begin() as connection:
        options = {"version_table": "reactivation_schema", "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []


def test_the_migrated_checks_are_those_of_the_models(database: Database, empty_url: str) -> None:
    """Alembic does not compare check constraints: a schema made from the models is compared by name and words."""
    query = "SELECT conname, pg_get_constraintdef(oid) AS words FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1"
    models = Database(empty_url)
    Base.metadata.create_all(models.engine)
    made = {row.conname: row.words for row in rows(models, query)}
    models.close()
    migrated = {row.conname: row.words for row in rows(database, query) if "reactivation_schema" not in row.conname}
    assert migrated == made


def test_two_processes_may_migrate_at_once(empty_url: str) -> None:
    script = "import sys; from reactivation_resources.database.engine import migrate; migrate(sys.argv[1])"
    both = [subprocess.Popen([sys.executable, "-c", script, empty_url]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert "reactivation_campaigns" in tables(empty_url)


def test_a_server_that_is_too_old_is_refused_with_its_version(monkeypatch: pytest.MonkeyPatch, empty_url: str) -> None:
    monkeypatch.setattr(engine_module, "MINIMUM_VERSION", 990000)
    with pytest.raises(DatabaseError, match=r"PostgreSQL 99 or newer is needed, the server is \d\d"):
        migrate(empty_url)
    assert tables(empty_url) == set()


@pytest.fixture
def salon(database: Database) -> Database:
    add_salon(database)
    return database


def test_a_client_has_one_unsent_campaign(salon: Database) -> None:
    add_campaign(salon, 1, status="claimed")
    with pytest.raises(IntegrityError, match="one_unsent"):
        add_campaign(salon, 1, episode_no=2)


def test_a_sent_campaign_makes_room_for_the_next(salon: Database) -> None:
    add_campaign(salon, 1, status="accepted")
    add_campaign(salon, 1, attempt_number=2)


def test_an_attempt_exists_once(salon: Database) -> None:
    add_campaign(salon, 1, status="accepted")
    with pytest.raises(IntegrityError, match="attempt_number"):
        add_campaign(salon, 1)


def test_a_message_id_of_the_channel_belongs_to_one_campaign(salon: Database) -> None:
    add_campaign(salon, 1, status="accepted", provider_message_id="m1")
    with pytest.raises(IntegrityError, match="provider_message_id"):
        add_campaign(salon, 2, status="accepted", provider_message_id="m1")


TWICE: dict[str, tuple[str, dict[str, Any]]] = {
    "inbox event": (
        "INSERT INTO inbox (channel, event_key, kind, occurred_at, received_at) VALUES ('waha', 'k', 'message', :at, :at)",
        {},
    ),
    "suppression in force": (
        "INSERT INTO suppressions (company_id, phone, reason, source, at) VALUES (1, :phone, 'opted_out', 'reply', :at)",
        {},
    ),
    "consent": (
        "INSERT INTO consents (company_id, client_id, granted, basis, at) VALUES (1, 1, true, 'form', :at)",
        {},
    ),
    "consent of all": ("INSERT INTO consents (company_id, granted, basis, at) VALUES (1, true, 'contract', :at)", {}),
    "planned day": ("INSERT INTO planned_days (company_id, day, planned_at) VALUES (1, '2026-11-23', :at)", {}),
    "number of a company": (
        "INSERT INTO channel_accounts (company_id, channel, session) VALUES (1, 'sms', gen_random_uuid()::text)",
        {},
    ),
    "session": ("INSERT INTO channel_accounts (company_id, channel, session) VALUES (1, 'waha', 'salon_1')", {}),
    "rejected row": (
        "INSERT INTO rejected_rows (source, reason, content, content_hash) VALUES ('s', 'r', '{}', 'h')",
        {},
    ),
    "alert": (
        "INSERT INTO alerts (kind, fold_key, message, first_at, last_at) VALUES ('a', 'fold', 'm', :at, :at)",
        {},
    ),
    "key": ("INSERT INTO api_keys (name, key_hash) VALUES ('n', 'hash')", {}),
    "contact": (
        "INSERT INTO contacts (company_id, phone, first_inbound_at, last_inbound_at) VALUES (1, :phone, :at, :at)",
        {},
    ),
}


@pytest.mark.parametrize("what", sorted(TWICE))
def test_nothing_that_must_be_once_can_be_twice(salon: Database, what: str) -> None:
    statement, values = TWICE[what]
    values = {"at": NOON, "phone": phone_of(1)} | values
    if what != "session":  # the salon has it already
        execute(salon, statement, **values)
    with pytest.raises(IntegrityError):
        execute(salon, statement, **values)


def test_a_lifted_suppression_makes_room_for_a_new_one(salon: Database) -> None:
    add = TWICE["suppression in force"][0]
    execute(salon, add, at=NOON, phone=phone_of(1))
    execute(salon, "UPDATE suppressions SET lifted_at = :at", at=NOON)
    execute(salon, add, at=NOON + timedelta(days=1), phone=phone_of(1))


def test_a_consent_may_be_given_withdrawn_and_given_again_in_the_same_words(salon: Database) -> None:
    for days, granted in enumerate((True, False, True, False)):
        execute(
            salon,
            "INSERT INTO consents (company_id, client_id, granted, basis, at) VALUES (1, 1, :granted, 'by phone', :at)",
            granted=granted,
            at=NOON + timedelta(days=days),
        )


def test_a_message_of_one_inbox_row_has_one_effect(salon: Database) -> None:
    execute(salon, TWICE["inbox event"][0], at=NOON)
    inbox = rows(salon, "SELECT inbox_id FROM inbox")[0].inbox_id
    for statement in (
        "INSERT INTO pauses (company_id, client_id, at, until, reason, inbox_id) VALUES (1, 1, :at, :at, 'complaint', :inbox)",
        "INSERT INTO client_responses VALUES (:inbox, NULL, NULL, NULL, :at, '2026-11-23', 'neutral', 'thanks', 'rule')",
        "INSERT INTO stated_preferences (inbox_id, kind, company_id, client_id, value, at) VALUES (:inbox, 'staff', 1, 1, '5', :at)",
    ):
        execute(salon, statement, at=NOON, inbox=inbox)
        with pytest.raises(IntegrityError):
            execute(salon, statement, at=NOON, inbox=inbox)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "sent"},
        {"status": "held_out"},
        {"held_out": True},
        {"status": "sending"},
        {"completion_reason": "converted"},
        {"completed_at": NOON},
        {"completion_reason": "bored", "completed_at": NOON},
        {"lane": "hot"},
        {"client_id": 99},
        {"account_id": 99_999},
    ],
)
def test_a_campaign_that_contradicts_itself_is_refused(salon: Database, changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        add_campaign(salon, changes.pop("client_id", 1), **changes)
