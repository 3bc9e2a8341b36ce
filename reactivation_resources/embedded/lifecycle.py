"""Start one server for the first process that asks, share it with the others, see it stopped after the last one.

A server has a folder with its data, its log and four locks, all dropped by the kernel when their holders end:
`starting.lock` (one process starts or leaves at a time), `users.lock` (shared by every process that uses the server),
`guardian.lock` (held by the guardian) and `server.lock` (held by the guardian, the server and all its children, so once
it is free nothing of an earlier server is left, whatever its pid file says).
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from reactivation_resources.embedded import locks
from reactivation_resources.embedded.account import server_account
from reactivation_resources.embedded.connection import (
    Connection,
    free_port,
    load_connection,
    new_password,
    save_connection,
)
from reactivation_resources.embedded.errors import EmbeddedServerError
from reactivation_resources.embedded.jobs import start_guarded

_START_SECONDS = 90.0  # includes the recovery after a crash
_STOP_SECONDS = 60.0
_ATTEMPTS = 8
_PORT_TAKEN = "ddress already in use"
_LOG_TAIL = 2_000


class Server(Protocol):
    """What differs between the servers."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def folder(self) -> Path:
        """Holds the locks, `log`, `connection.json` and the server's own folder `data`."""

    @property
    def stop_steps(self) -> Sequence[tuple[int, float]]:
        """Signals that stop it and the seconds to wait after each, the gentle one first."""

    def prepare(self, connection: Connection) -> list[str]:
        """Make `data` fit to start with this connection and return the command line; nothing of the server runs."""

    def answers(self, connection: Connection) -> bool:
        """Whether the server can be used now."""


@contextmanager
def shared_server(server: Server, *, durable: bool) -> Iterator[Connection]:
    """Use the server: start it if nobody has, yield where it is, and wait for its stop if nobody else is left.

    Raises EmbeddedServerError when it does not start, answer or stop in time, or when a durable server is wanted where
    a throw-away one runs.
    """
    folder = server.folder
    _make(folder)
    with locks.exclusive(folder / "starting.lock", _START_SECONDS):
        user = locks.wait_lock(folder / "users.lock", locks.SHARED, _STOP_SECONDS)
        try:
            connection = _join_or_start(server, durable=durable)
        except BaseException:
            os.close(user)
            raise
    try:
        yield connection
    finally:
        os.close(user)  # never unlocked by hand: a forked child that still uses the server holds the same lock
        if folder.exists():  # else somebody removed the home; the guardian sees to the rest
            with locks.exclusive(folder / "starting.lock", _START_SECONDS):
                if not _others_use(folder / "users.lock"):
                    os.close(_wait_until_stopped(server))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(0o755 if os.geteuid() == 0 else 0o700)  # as root, the server's account must get through
    except OSError as error:
        raise EmbeddedServerError(
            f"cannot make the folder {folder} ({error.strerror}): set REACTIVATION_HOME to a folder of your own"
        ) from error


def _join_or_start(server: Server, *, durable: bool) -> Connection:
    connection = load_connection(server.folder)
    for _ in range(_ATTEMPTS):
        joining = connection is not None and not locks.is_free(server.folder / "guardian.lock")
        if connection is None:
            connection = Connection(free_port(), new_password(), durable)
        if not joining:
            connection = replace(connection, durable=durable)
            _launch(server, connection)
        elif durable and not connection.durable:
            raise EmbeddedServerError(
                f"{server.name} in {server.folder} runs for throw-away tests, without safe writes: wait until it ends"
            )
        if _comes_up(server, connection):
            return connection
        if _PORT_TAKEN in _log_tail(server):
            connection = replace(connection, port=free_port())
        elif not joining:
            raise _failure(server, "ended while starting")
    raise _failure(server, f"did not start in {_ATTEMPTS} attempts")


def _launch(server: Server, connection: Connection) -> None:
    folder = server.folder
    server_fd = _wait_until_stopped(server)
    guardian_fd = locks.wait_lock(folder / "guardian.lock", locks.EXCLUSIVE, _STOP_SECONDS)
    log = folder / "log"
    try:
        if log.exists():
            log.replace(folder / "log.old")
        save_connection(folder, connection)
        argv = server.prepare(connection)
        start_guarded(
            argv,
            cwd=folder / "data",
            account=server_account(folder / "data"),
            log=log,
            users=folder / "users.lock",
            guardian_fd=guardian_fd,
            server_fd=server_fd,
            stop=server.stop_steps,
        )
    finally:
        os.close(guardian_fd)  # from here on the guardian's copies hold the locks
        os.close(server_fd)


def _comes_up(server: Server, connection: Connection) -> bool:
    deadline = time.monotonic() + _START_SECONDS
    while not server.answers(connection):
        if locks.is_free(server.folder / "guardian.lock"):
            return False
        if time.monotonic() > deadline:
            raise _failure(server, f"did not answer within {_START_SECONDS:.0f} s")
        time.sleep(locks.POLL_SECONDS)
    return True


def _others_use(users: Path) -> bool:
    if locks.is_free(users):
        return False
    shared = locks.try_lock(users, locks.SHARED)
    if shared is None:  # the guardian holds it alone: it is stopping the server already
        return False
    os.close(shared)
    return True


def _wait_until_stopped(server: Server) -> int:
    """Wait until no process of the server is left and return the descriptor of `server.lock`, held."""
    folder = server.folder
    deadline = time.monotonic() + _STOP_SECONDS
    orphans_told = False
    while (descriptor := locks.try_lock(folder / "server.lock", locks.EXCLUSIVE)) is None:
        if not orphans_told and locks.is_free(folder / "guardian.lock"):
            orphans_told = True
            _tell_orphans(folder / "data", server.stop_steps[0][0])
        if time.monotonic() > deadline:
            raise _failure(server, f"did not stop within {_STOP_SECONDS:.0f} s")
        time.sleep(locks.POLL_SECONDS)
    return descriptor


def _tell_orphans(data: Path, signal_number: int) -> None:
    """Ask servers that outlived a killed guardian to stop, for systems whose kernel does not do it (it is Linux's)."""
    import psutil

    for process in psutil.process_iter():
        try:
            if process.cwd() == str(data):
                process.send_signal(signal_number)
        except psutil.Error:
            continue


def _log_tail(server: Server) -> str:
    log = server.folder / "log"
    return log.read_bytes()[-_LOG_TAIL:].decode(errors="replace").strip() if log.exists() else ""


def _failure(server: Server, what: str) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"the embedded {server.name} {what}. The end of its log, {server.folder / 'log'}:\n{_log_tail(server)}\n"
        f"Remove the cause and try again, or use a server of your own (DATABASE_URL, REDIS_URL)."
    )
