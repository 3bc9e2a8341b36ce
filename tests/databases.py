"""Databases for tests: each test has one of its own that is migrated and empty.

A new one is a thousand files on the disk. One that was used is emptied and used again, unless the test changed its shape.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.engine import make_url

_SHAPE = """
WITH
space AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'),
relation AS (SELECT oid, oid::regclass AS title, relkind FROM pg_class WHERE relnamespace IN (SELECT oid FROM space))
SELECT md5(string_agg(part, ' ' ORDER BY part)) FROM (
    SELECT nspname::text FROM space
    UNION ALL
    SELECT concat_ws(' ', title, relkind, attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid))
    FROM relation
    LEFT JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = relation.oid AND adnum = attnum
    UNION ALL
    SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN relation ON relation.oid = indrelid
    UNION ALL
    SELECT concat_ws(' ', title, conname, pg_get_constraintdef(pg_constraint.oid)) FROM pg_constraint JOIN relation ON relation.oid = conrelid
    UNION ALL
    SELECT concat_ws(' ', pg_get_triggerdef(pg_trigger.oid), tgenabled) FROM pg_trigger JOIN relation ON relation.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL
    SELECT pg_get_functiondef(oid) FROM pg_proc WHERE prokind IN ('f', 'p') AND pronamespace IN (SELECT oid FROM space)
    UNION ALL
    SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase WHERE datname = current_database()
) AS parts (part)
"""
_LEAVE = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_EMPTY = """
DO $$
DECLARE
    one regclass;
    used text[] := '{}';
    holds boolean;
BEGIN
    FOR one IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'reactivation_schema' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', one) INTO holds;
        IF holds THEN used := used || one::text; END IF;
    END LOOP;
    IF used <> '{}' THEN EXECUTE 'TRUNCATE ' || array_to_string(used, ', ') || ' CASCADE'; END IF;
    PERFORM setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
    FROM pg_sequences WHERE last_value IS NOT NULL AND schemaname = 'public';
END $$
"""


def on_server(url: str, *statements: str) -> None:
    """Run statements that no transaction may hold."""
    with _connected(url) as connection:
        for statement in statements:
            connection.execute(text(statement))


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    with create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool).connect() as connection:
        yield connection


class Databases:
    """Copies of a migrated database on a server."""

    def __init__(self, server_url: str, template: str) -> None:
        self._server_url = server_url
        self._template = template
        with _connected(self._url(template)) as connection:
            self._shape = _shape(connection)
        self._spare: str | None = None

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database that is migrated and empty, and nobody else's."""
        name, self._spare = self._spare or self._copied(), None
        try:
            yield self._url(name)
        finally:
            if self._spare is None and self._emptied(name):
                self._spare = name
            else:
                self._dropped(name)

    def close(self) -> None:
        """Drop what is left over."""
        if self._spare is not None:
            self._dropped(self._spare)

    def _url(self, name: str) -> str:
        return make_url(self._server_url).set(database=name).render_as_string(hide_password=False)

    def _copied(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        on_server(self._server_url, f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return name

    def _dropped(self, name: str) -> None:
        on_server(self._server_url, f"DROP DATABASE {name} WITH (FORCE)")

    def _emptied(self, name: str) -> bool:
        with _connected(self._url(name)) as connection:
            connection.execute(text(_LEAVE))
            if _shape(connection) != self._shape:
                return False
            connection.execute(text(_EMPTY))
            return True


def _shape(connection: Connection) -> tuple[Any, Any]:
    """What makes two databases the same but for their rows; a test may leave no database there, or one that was migrated down."""
    version = connection.scalar(text("SELECT to_regclass('public.reactivation_schema')")) and connection.scalar(
        text("SELECT string_agg(version_num, ' ') FROM public.reactivation_schema")
    )
    return connection.scalar(text(_SHAPE)), version
