"""Embedded PostgreSQL and Valkey: real servers, real processes, real kills."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
import psycopg2  # type: ignore[import-untyped]
import pytest
import redis
import sqlalchemy

from reactivation_resources.embedded.errors import EmbeddedServerError
from reactivation_resources.embedded.servers import ServerUrls, running_servers

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0
USER_PROGRAM = """
import json, sys
from pathlib import Path
from reactivation_resources.embedded.servers import running_servers
with running_servers(Path(sys.argv[1]), durable=False) as urls:
    print(json.dumps([urls.database_url, urls.redis_url]), flush=True)
    sys.stdin.read()
print("left", flush=True)
"""


def eventually(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)


class Seen(NamedTuple):
    """What a look at a process told: the process itself may end at any moment after it."""

    pid: int
    command: str
    user: str


def processes_of(home: Path) -> list[Seen]:
    """Guardians, servers and the servers' children under this home."""
    found = []
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                command = " ".join(process.cmdline())
                about_home = str(home) in process.cwd() or str(home) in command
                is_ours = process.name() in {"postgres", "valkey-server"} or "_guardian.py" in command
                if about_home and is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(Seen(process.pid, command, process.username()))
        except psutil.Error:
            continue
    return found


def guardians_of(home: Path) -> list[Seen]:
    return [seen for seen in processes_of(home) if "_guardian.py" in seen.command]


def assert_nothing_is_left(home: Path) -> None:
    eventually(lambda: processes_of(home) == [], f"all servers of {home} have ended")


class User:
    """Another process that uses the servers of a home until it is told to leave or is killed."""

    def __init__(self, home: Path, command: tuple[str, ...] = ()) -> None:
        self.process = subprocess.Popen(
            [*command, sys.executable, "-c", USER_PROGRAM, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def urls(self) -> ServerUrls:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the user process ended before it had servers"
        return ServerUrls(*json.loads(line))

    def leave(self) -> str:
        return self.process.communicate("", timeout=60)[0]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def using(home: Path, command: tuple[str, ...] = ()) -> Iterator[User]:
    user = User(home, command)
    try:
        yield user
    finally:
        user.kill()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert_nothing_is_left(tmp_path)


def query(urls: ServerUrls, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(urls.database_url.replace("+psycopg", ""), connect_timeout=5) as session:
        cursor = session.execute(statement)
        return cursor.fetchall() if cursor.description else []


def server_process(urls: ServerUrls) -> psutil.Process:
    """The PostgreSQL postmaster behind the URL."""
    [(folder,)] = query(urls, "SHOW data_directory")
    return psutil.Process(int((Path(str(folder)) / "postmaster.pid").read_text().split()[0]))


def test_data_survive_a_restart(home: Path) -> None:
    with running_servers(home) as urls:
        query(urls, "CREATE TABLE visit AS SELECT 7 AS id")
        with redis.Redis.from_url(urls.redis_url) as client:
            client.set("dialog", "context")
    assert_nothing_is_left(home)
    with running_servers(home) as urls:
        assert query(urls, "SELECT id FROM visit") == [(7,)]
        with redis.Redis.from_url(urls.redis_url) as client:
            assert client.get("dialog") == b"context"


def test_the_cluster_is_durable_utf8_utc_and_has_both_databases(home: Path) -> None:
    with running_servers(home, valkey=False) as urls:
        names = ("fsync", "full_page_writes", "TimeZone", "server_encoding", "max_connections", "listen_addresses")
        shown = [query(urls, f"SHOW {name}")[0][0] for name in names]
        databases = query(urls, "SELECT datname::text, datcollate::text FROM pg_database WHERE NOT datistemplate")
        assert urls.redis_url == ""
    assert shown == ["on", "on", "UTC", "UTF8", "200", "127.0.0.1"]
    assert sorted(databases) == [("dagster", "C"), ("postgres", "C"), ("reactivation", "C")]


def test_every_client_library_connects_and_a_wrong_password_does_not(home: Path) -> None:
    with running_servers(home, durable=False) as urls:
        for driver in ("psycopg", "psycopg2"):
            url = sqlalchemy.make_url(urls.database_url).set(drivername=f"postgresql+{driver}", database="dagster")
            engine = sqlalchemy.create_engine(url)
            with engine.connect() as connection:
                assert connection.scalar(sqlalchemy.text("SELECT 1")) == 1
            engine.dispose()
        parts = sqlalchemy.make_url(urls.database_url)
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=parts.host, port=parts.port, user=parts.username, password="guess", dbname="dagster")
        port = sqlalchemy.make_url(urls.redis_url).port or 0
        once = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        stranger = redis.Redis(host="127.0.0.1", port=port, retry=once)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_secrets_and_logs_are_readable_by_their_owner_only(home: Path) -> None:
    with running_servers(home, durable=False) as urls:
        password = sqlalchemy.make_url(urls.database_url).password
        commands = [seen.command for seen in processes_of(home)]
        modes = {path.stat().st_mode & 0o077 for path in home.glob("*/*") if path.is_file() or path.name == "data"}
    assert modes == {0}
    assert not any(str(password) in command for command in commands)


def test_values_of_a_failed_statement_stay_out_of_the_log(home: Path) -> None:
    with running_servers(home, valkey=False, durable=False) as urls:
        query(urls, "CREATE TABLE person (phone text PRIMARY KEY)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            query(urls, "INSERT INTO person VALUES ('+79000000001'), ('+79000000001')")
        log = (home / "postgres" / "log").read_text()
    assert "duplicate key" in log
    assert "+7900" not in log


def test_two_homes_run_side_by_side(home: Path) -> None:
    with running_servers(home / "a", durable=False) as one, running_servers(home / "b", durable=False) as two:
        query(one, "CREATE TABLE only_here ()")
        assert query(two, "SELECT to_regclass('only_here')") == [(None,)]
        assert one.redis_url != two.redis_url


def test_processes_that_start_together_share_one_pair_of_servers(home: Path) -> None:
    users = [User(home) for _ in range(4)]
    try:
        assert len({user.urls() for user in users}) == 1
        assert len(guardians_of(home)) == 2
        assert [user.leave() for user in users] == ["left\n"] * 4
        assert_nothing_is_left(home)
    finally:
        for user in users:
            user.kill()


def test_the_survivor_keeps_the_servers_when_their_starter_is_killed(home: Path) -> None:
    with using(home) as starter, using(home) as survivor:
        urls = starter.urls()
        assert survivor.urls() == urls
        before = {seen.pid for seen in guardians_of(home)}
        starter.kill()
        time_of_check = time.monotonic() + 1.0  # ten looks of the guardian at the lock
        eventually(lambda: time.monotonic() > time_of_check, "the guardian had time to look")
        assert query(urls, "SELECT 1") == [(1,)]
        assert {seen.pid for seen in guardians_of(home)} == before
        assert survivor.leave() == "left\n"
        assert_nothing_is_left(home)


def test_a_killed_user_leaves_no_server_and_the_next_start_works(home: Path) -> None:
    with using(home) as user:
        query(user.urls(), "CREATE TABLE kept AS SELECT 1 AS id")
        user.kill()
        assert_nothing_is_left(home)
    with running_servers(home, durable=False) as urls:
        assert query(urls, "SELECT id FROM kept") == [(1,)]


def test_a_user_killed_in_the_middle_of_the_first_start_leaves_no_trace_that_hurts(home: Path) -> None:
    with using(home) as user:
        eventually(lambda: any((home / "postgres").glob("data.new-*")), "initdb has begun")
        user.kill()
    assert_nothing_is_left(home)
    with running_servers(home, durable=False) as urls:
        assert query(urls, "SELECT 1") == [(1,)]
        assert list((home / "postgres").glob("data.new-*")) == []


def test_servers_end_with_a_killed_guardian_and_start_again_while_a_user_is_still_there(home: Path) -> None:
    with running_servers(home, durable=False) as urls:
        query(urls, "CREATE TABLE kept AS SELECT 1 AS id")
        for guardian in guardians_of(home):
            os.kill(guardian.pid, signal.SIGKILL)
        with running_servers(home, durable=False) as again:
            assert again == urls
            assert query(urls, "SELECT id FROM kept") == [(1,)]
        assert query(urls, "SELECT id FROM kept") == [(1,)]


def test_a_killed_postgres_comes_back_at_the_same_address_with_what_was_committed(home: Path) -> None:
    with running_servers(home, valkey=False) as urls:
        query(urls, "CREATE TABLE kept AS SELECT 1 AS id")
        postmaster, seen = server_process(urls), time.monotonic()  # not its birth, told by a clock that may be set
        eventually(lambda: time.monotonic() - seen > 2.5, "the server counts as started")
        postmaster.kill()

        def answers() -> bool:
            try:
                return query(urls, "SELECT id FROM kept") == [(1,)]
            except psycopg.OperationalError:
                return False

        eventually(answers, "PostgreSQL is back")
        assert server_process(urls).pid != postmaster.pid


def test_a_stale_pid_file_that_names_a_living_program_does_not_block_the_start(home: Path) -> None:
    with running_servers(home, valkey=False, durable=False):
        pid_file = home / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        owner = pid_file.stat().st_uid
    bystander = subprocess.Popen(["sleep", "300"], user=owner if IS_ROOT else None)
    try:
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
        with running_servers(home, valkey=False, durable=False) as urls:
            assert query(urls, "SELECT 1") == [(1,)]
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_home_may_be_deep_and_have_spaces_and_cyrillic_letters(home: Path) -> None:
    deep = home / "Салон «У дома» №1" / ("очень длинный путь " * 5) / ("x" * 150)
    with running_servers(deep, durable=False) as urls:
        query(urls, "CREATE TABLE kept AS SELECT 'Ёлка' AS title")
        with redis.Redis.from_url(urls.redis_url) as client:
            client.set("имя", "Ёлка")
    with running_servers(deep, durable=False) as urls:
        assert query(urls, "SELECT title FROM kept") == [("Ёлка",)]


def test_a_port_that_somebody_took_is_replaced(home: Path) -> None:
    with running_servers(home, durable=False) as urls:
        ports = [sqlalchemy.make_url(url).port for url in (urls.database_url, urls.redis_url)]
    thieves = [socket.create_server(("127.0.0.1", port)) for port in ports if port]
    try:
        with running_servers(home, durable=False) as moved:
            assert query(moved, "SELECT 1") == [(1,)]
            assert moved.database_url != urls.database_url
            assert moved.redis_url != urls.redis_url
    finally:
        for thief in thieves:
            thief.close()


def test_a_home_removed_under_the_servers_leaves_no_process(home: Path) -> None:
    with running_servers(home, durable=False):
        shutil.rmtree(home)
    assert_nothing_is_left(home)


def test_output_of_the_starter_is_closed_when_it_leaves_though_servers_run_on(home: Path) -> None:
    with using(home) as starter, using(home) as other:
        starter.urls()
        other.urls()
        assert starter.leave() == "left\n"  # read to the end of the pipe: nobody else holds it
        assert len(guardians_of(home)) == 2
        other.leave()


def test_a_second_server_can_be_added_by_a_later_user(home: Path) -> None:
    with running_servers(home, valkey=False, durable=False) as first:
        with running_servers(home, durable=False) as second:
            assert second.database_url == first.database_url
            with redis.Redis.from_url(second.redis_url) as client:
                assert client.ping()
        assert query(first, "SELECT 1") == [(1,)]


def test_safe_writes_are_not_promised_on_a_throw_away_server(home: Path) -> None:
    with (
        running_servers(home, valkey=False, durable=False),
        pytest.raises(EmbeddedServerError, match="throw-away"),
        running_servers(home, valkey=False),
    ):
        pass


def test_an_unusable_data_folder_is_an_error_that_shows_the_log(home: Path) -> None:
    with running_servers(home, valkey=False, durable=False):
        pass
    (home / "postgres" / "data" / "PG_VERSION").write_text("9.6\n")
    with (
        pytest.raises(EmbeddedServerError, match=r"(?s)embedded PostgreSQL .*initialized by PostgreSQL version 9\.6"),
        running_servers(home, valkey=False, durable=False),
    ):
        pass


def test_an_impossible_home_is_an_error_that_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="REACTIVATION_HOME"), running_servers(tmp_path / "file" / "home"):
        pass


@pytest.mark.skipif(not IS_ROOT, reason="needs root: shows that root's closed folders are no obstacle")
def test_root_may_keep_the_home_in_a_folder_closed_to_everybody_else(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(parents=True, mode=0o700)
    with running_servers(closed / "inside", durable=False) as urls:
        assert server_process(urls).uids().real != 0
        with redis.Redis.from_url(urls.redis_url) as client:
            assert client.ping()
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="the other tests run as an ordinary user already")
def test_an_ordinary_user_runs_the_servers_as_itself() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        shutil.chown(folder, "nobody")
        with using(folder / "home", command_to_become_nobody()) as user:
            urls = user.urls()
            assert server_process(urls).username() == "nobody"
            assert {seen.user for seen in processes_of(folder)} == {"nobody"}
            assert user.leave() == "left\n"
        assert_nothing_is_left(folder)
        with running_servers(folder / "home", durable=False) as urls:  # root takes part without spoiling the owner
            assert server_process(urls).username() == "nobody"
        with using(folder / "home", command_to_become_nobody()) as user:
            assert query(user.urls(), "SELECT 1") == [(1,)]
            user.process.send_signal(signal.SIGTERM)
        assert_nothing_is_left(folder)
    finally:
        shutil.rmtree(folder)


def command_to_become_nobody() -> tuple[str, ...]:
    """A prefix that runs a command as `nobody`, able to read this Python even where root's home is closed."""
    command = ("setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups")
    reading = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup")
    twice = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    for prefix in (command, command + reading):
        probe = [*prefix, sys.executable, "-c", twice]
        if shutil.which("setpriv") and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
            return prefix
    pytest.skip("an ordinary user cannot reach this Python installation")
