"""Dagster's own storage: PostgreSQL, in a schema beside our tables, on the servers that the rest of the platform uses.

`dagster.yaml` names this class, so that every Dagster command finds the same instance without a variable to set: the server of
`DATABASE_URL`, or the embedded one of the home, which runs as long as the process does.
"""

import atexit
from contextlib import ExitStack
from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from sqlalchemy import URL, make_url

from reactivation_resources.database.engine import DAGSTER_SCHEMA, ensure_dagster_schema
from reactivation_resources.platform import servers_for
from reactivation_resources.settings import Settings


class PlatformPostgresStorage(DagsterPostgresStorage):
    """PostgreSQL storage whose URL is the platform's."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure."""
        return {}

    @classmethod
    def from_config_value(  # type: ignore[override]
        cls, inst_data: ConfigurableClassData | None, config_value: dict[str, Any]
    ) -> "PlatformPostgresStorage":
        """Open the storage; embedded servers are kept until the process ends."""
        del config_value
        stack = ExitStack()
        atexit.register(stack.close)
        urls = stack.enter_context(servers_for(Settings.load()))
        ensure_dagster_schema(urls.database_url)
        return cls(storage_url(make_url(urls.database_url)).render_as_string(hide_password=False), inst_data=inst_data)


def storage_url(url: URL) -> URL:
    """Our database's URL as Dagster's storage needs it: its own schema, and the driver it was written for.

    With psycopg 3, which SQLAlchemy would take for a bare URL, the storage's NOTIFY fails.
    """
    options = f"-csearch_path={DAGSTER_SCHEMA}"
    return url.set(drivername="postgresql+psycopg2").update_query_dict({"options": options})
