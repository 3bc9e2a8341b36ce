"""The databases of tests: whatever a test did to its own, the next one has a fresh one."""

import pytest
from sqlalchemy import text

from reactivation_resources.database.engine import Database
from tests.databases import Databases

ALERT = "INSERT INTO alerts (kind, fold_key, message, first_at, last_at) VALUES ('k', 'f', 'm', now(), now()) RETURNING alert_id"


def ids_after(databases: Databases, *statements: str) -> tuple[str, list[int]]:
    """The database that comes after one in which the statements were run, and the ids that a row gets in both."""
    ids = []
    for done in (statements, ()):
        with databases.one() as url:
            database = Database(url)
            with database.begin() as connection:
                ids.append(int(connection.scalar(text(ALERT)) or 0))
                for statement in done:
                    connection.execute(text(statement))
            if done:
                before = url
            database.close()
    return ("same" if before == url else "new"), ids


def test_rows_and_numbers_are_gone(databases: Databases) -> None:
    assert ids_after(databases, "SELECT 1") == ("same", [1, 1])


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE more ()",
        "CREATE SCHEMA more",
        "CREATE TABLE dagster.more ()",
        "ALTER TABLE alerts ADD COLUMN more text",
        "ALTER TABLE alerts ALTER COLUMN message DROP NOT NULL",
        "ALTER TABLE alerts ALTER COLUMN times SET DEFAULT 5",
        "ALTER TABLE alerts DROP CONSTRAINT uq_alerts_fold_key",
        "CREATE INDEX more ON alerts (kind)",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "UPDATE reactivation_schema SET version_num = 'odd'",
    ],
)
def test_a_database_of_another_shape_is_not_used_again(databases: Databases, statement: str) -> None:
    assert ids_after(databases, statement) == ("new", [1, 1])


def test_who_is_still_connected_is_sent_away(databases: Databases) -> None:
    with databases.one() as url:
        left = Database(url)
        with left.begin() as connection:
            connection.execute(text(ALERT))
        hanging = left.engine.connect()
        hanging.execute(text("LOCK TABLE alerts"))
    assert ids_after(databases, "SELECT 1") == ("same", [1, 1])
    hanging.invalidate()
    left.close()
