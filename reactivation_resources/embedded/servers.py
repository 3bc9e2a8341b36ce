"""Embedded PostgreSQL and Valkey under a home folder, shared by all processes that use the same home."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactivation_resources.embedded.connection import HOST
from reactivation_resources.embedded.lifecycle import shared_server
from reactivation_resources.embedded.postgres import DATABASES, USER, Postgres
from reactivation_resources.embedded.valkey import Valkey


@dataclass(frozen=True)
class ServerUrls:
    """Where the servers are; the URL of a server that was not asked for is empty. Both contain a password."""

    database_url: str
    redis_url: str


@contextmanager
def running_servers(
    home: Path, *, postgres: bool = True, valkey: bool = True, durable: bool = True
) -> Iterator[ServerUrls]:
    """Have the servers running under `home` while the block runs.

    The first process to ask starts them, others share them, the last to leave stops them and waits until they have
    ended. A process that is killed counts as having left. The databases `reactivation` and `dagster` exist. The servers
    listen on 127.0.0.1 only, each on a port and with a password of its own. Children that this process forks (not those
    it executes) count as users too.

    `durable=False` speeds up throw-away tests: a crash of the machine may then destroy the data.
    Raises EmbeddedServerError, naming the server, the end of its log and what to do.
    """
    home = home.resolve()
    database_url = redis_url = ""
    with ExitStack() as stack:
        if postgres:
            link = stack.enter_context(shared_server(Postgres(home / "postgres"), durable=durable))
            database_url = f"postgresql+psycopg://{USER}:{link.password}@{HOST}:{link.port}/{DATABASES[0]}"
        if valkey:
            link = stack.enter_context(shared_server(Valkey(home / "valkey"), durable=durable))
            redis_url = f"redis://:{link.password}@{HOST}:{link.port}/0"
        yield ServerUrls(database_url, redis_url)
