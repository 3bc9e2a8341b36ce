"""`reactivation up` as its operator meets it: a real process with real children, ended in every way there is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from reactivation_cli import children
from reactivation_resources.embedded.connection import free_port

REPO = Path(__file__).parents[2]
UP = "import sys; from reactivation_cli.up import up; from reactivation_resources.settings import Settings; sys.exit(up(Settings.load()))"
# A child with a grandchild in a session of its own that ignores the polite signal.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"], start_new_session=True)
print("up", flush=True)
time.sleep(600)
"""


def eventually(condition: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return found


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Up:
    """`up` in another directory, and all that comes from it."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.home = folder / "home"
        self.ui, self.api = free_port(), free_port()
        self.output = folder / "output.txt"
        ports = {"REACTIVATION_UI_PORT": str(self.ui), "REACTIVATION_API_PORT": str(self.api)}
        env = {**os.environ, "REACTIVATION_HOME": str(self.home), "PYTHONPATH": str(REPO), **ports, **variables}
        env.pop("DAGSTER_HOME", None)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", UP], cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True
            )

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            return "Ctrl-C" in self.output.read_text()

        eventually(ready, "everything answers", 120)

    def family(self) -> list[psutil.Process]:
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def ask(self, query: str) -> Any:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ui}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]


def command_of(process: psutil.Process) -> list[str]:
    """Its command, nothing when it has ended since it was found."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[Up]:
    up = Up(folder, **variables)
    try:
        yield up
    finally:
        up.process.kill()
        up.process.wait()


@pytest.mark.slow
def test_all_of_it_answers_and_ends_when_it_is_told_to(tmp_path: Path, database_url: str, redis_url: str) -> None:
    with started(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url) as up:
        up.wait_until_ready()
        words = up.output.read_text()
        assert f"http://127.0.0.1:{up.ui}" in words
        assert f"http://127.0.0.1:{up.api}/api/reactivation" in words
        assert "reactivation import" in words  # nobody has been imported yet
        assets = {node["assetKey"]["path"][-1] for node in up.ask("{ assetNodes { assetKey { path } } }")["assetNodes"]}
        assert {"inactive_clients", "campaign_plan", "sent_campaigns", "conversion_metrics", "visits"} <= assets
        family = up.family()
        assert len(family) == 8  # four children, each with its keeper
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(60) == 0, up.output.read_text()
        assert psutil.wait_procs(family, timeout=0)[1] == []
        assert not is_open(up.ui)
        assert not is_open(up.api)
        assert "stopped" in up.output.read_text()
    password = database_url.split("@", maxsplit=1)[0].rsplit(":", 1)[-1]
    logs = {log.name: log.read_text() for log in (up.home / "logs").iterdir()}
    assert set(logs) == {"code.log", "ui.log", "daemon.log", "api.log"}
    assert not any(password in text for text in logs.values())


@pytest.mark.slow
def test_nothing_outlives_a_killed_up_not_even_embedded_servers(tmp_path: Path) -> None:
    with started(tmp_path, DATABASE_URL="", REDIS_URL="") as up:
        up.wait_until_ready()
        family = up.family()
        servers = [json.loads((up.home / name / "connection.json").read_text()) for name in ("postgres", "valkey")]
        assert all(is_open(server["port"]) for server in servers)
        up.process.kill()
        up.process.wait()
        assert psutil.wait_procs(family, timeout=60)[1] == []
        assert not is_open(up.ui)
        assert not is_open(up.api)
        eventually(lambda: not any(is_open(server["port"]) for server in servers), "the servers have ended")


@pytest.mark.slow
def test_a_child_that_dies_is_reported_with_its_last_words_and_ends_everything(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    with started(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url) as up:

        def the_ui() -> list[psutil.Process]:
            assert up.process.poll() is None, up.output.read_text()
            return [one for one in up.family() if command_of(one)[1:3] == ["-m", "dagster_webserver"]]

        [ui] = eventually(the_ui, "the UI is starting")
        family = up.family()
        ui.kill()
        assert up.process.wait(60) == 1
        assert psutil.wait_procs(family, timeout=0)[1] == []
        words = " ".join(up.output.read_text().split())
        assert f"the process `ui` has ended with exit code {128 + signal.SIGKILL}" in words
        assert "ui.log" in words


def test_a_chosen_port_that_is_taken_is_named_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started(tmp_path, REACTIVATION_UI_PORT=port) as up:
            assert up.process.wait(60) == 1
            assert f"port {port} is taken: set REACTIVATION_UI_PORT to a free one" in up.output.read_text()
            assert not (up.home / "postgres").exists()  # found out before anything is started


def test_a_database_that_does_not_answer_is_an_error_without_its_password(tmp_path: Path, redis_url: str) -> None:
    nowhere = {"DATABASE_URL": "postgresql://somebody:s3cret@127.0.0.1:1/nothing", "REDIS_URL": redis_url}
    with started(tmp_path, **nowhere) as up:
        assert up.process.wait(60) == 1
        words = up.output.read_text()
        assert "error: PostgreSQL cannot be used" in words
        assert "DATABASE_URL" in words
        assert "s3cret" not in words
        assert "Traceback" not in words


def test_a_channel_without_its_webhook_key_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with started(tmp_path, WAHA_BASE_URL="http://127.0.0.1:1") as up:
        assert up.process.wait(60) == 1
        assert "WAHA_WEBHOOK_KEY" in up.output.read_text()
        assert not (up.home / "postgres").exists()


def test_a_child_and_what_it_left_in_other_sessions_end_even_when_they_ignore_the_polite_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_PATIENCE_S", 0.3)
    child = children.start("stubborn", [sys.executable, "-c", STUBBORN], os.environ, tmp_path)
    eventually(lambda: child.log_tail() == "up", "the child is up")
    family = psutil.Process(child.process.pid).children(recursive=True)
    assert len(family) == 2
    children.stop([child])
    assert child.exit_code == 128 + signal.SIGKILL
    assert psutil.wait_procs(family, timeout=0)[1] == []


def test_a_child_s_exit_code_is_told_and_the_log_of_the_time_before_is_kept(tmp_path: Path) -> None:
    for words, code in (("first", 3), ("second", 0)):
        child = children.start("one", [sys.executable, "-c", f"print('{words}'); exit({code})"], os.environ, tmp_path)
        assert child.process.wait(30) == code
        assert child.exit_code == code
    assert child.log_tail() == "second"
    assert (tmp_path / "one.log.old").read_text() == "first\n"
    children.stop([child])
