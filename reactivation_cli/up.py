"""`reactivation up`: servers, Dagster's code location, UI and daemon, and the HTTP API, in one terminal until Ctrl-C.

One code server loads the code location for the UI and the daemon alike, which saves a process and its start for each. It, the UI, the
daemon and the API are child processes; the servers belong to the platform. Any of them ending ends all.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from reactivation_api.server import refuse_unsigned_webhooks
from reactivation_cli import children
from reactivation_cli.children import Child
from reactivation_cli.console import stderr
from reactivation_cli.launcher import dagster_environment, prepare_home
from reactivation_resources.clock import SystemClock
from reactivation_resources.database.engine import DatabaseError
from reactivation_resources.embedded.connection import HOST, free_port
from reactivation_resources.embedded.errors import EmbeddedServerError
from reactivation_resources.platform import Platform, servers_for
from reactivation_resources.settings import Settings, SettingsError

_ROOT = Path(__file__).resolve().parents[1]
_LOCATION = "reactivation"
_READY_WITHIN_S = 240.0
_POLL_S = 0.2
_PORTS_TRIED = 50
_HEALTH = """{
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
  workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError { __typename ... on PythonError { message } } } } }
}"""


class UpError(RuntimeError):
    """Something did not start or has ended; the message says what and what to do."""


def up(settings: Settings) -> int:
    """Start everything, say where it is, and keep it running until SIGINT, SIGTERM or SIGHUP. Returns the exit status."""
    with _told_to_end() as told:
        try:
            _run(settings, told)
        except (UpError, SettingsError, EmbeddedServerError, DatabaseError) as error:
            stderr.print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
            return 1
    stderr.print("stopped")
    return 0


def _run(settings: Settings, told: threading.Event) -> None:
    refuse_unsigned_webhooks(settings)
    ui_port = _port(settings, "reactivation_ui_port")
    api_port = _port(settings, "reactivation_api_port", besides=ui_port)
    with ExitStack() as stack:
        stderr.print("starting the servers…")
        platform = Platform(settings, SystemClock(), stack.enter_context(servers_for(settings)))
        stack.callback(platform.close)
        try:
            dagster_home = prepare_home(platform)
        except OperationalError as error:
            words = str(error.orig).partition("\n")[0]
            raise UpError(f"PostgreSQL cannot be used: {words}. Start it, or correct or unset DATABASE_URL") from None
        if told.is_set():
            return
        stderr.print("starting Dagster and the HTTP API…")
        running = _start(platform, dagster_home, ui_port, api_port, stack)
        if not _wait_until_ready(running, ui_port, api_port, told):
            return
        _announce(platform, ui_port, api_port)
        while not told.wait(_POLL_S):
            _refuse_dead(running)
        stderr.print("stopping…")


def _start(platform: Platform, dagster_home: Path, ui_port: int, api_port: int, stack: ExitStack) -> list[Child]:
    """Start the children; leaving `stack` stops them, the code server last because runs live in it."""
    env = {**os.environ, **dagster_environment(platform), "PYTHONUNBUFFERED": "1"}
    # Found from any current directory, installed or not. The current directory itself stays ours: a `.env` is read from there.
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    logs = platform.settings.home / "logs"
    code_port = free_port()
    workspace = dagster_home / "workspace.yaml"
    server = {"host": HOST, "port": code_port, "location_name": _LOCATION}
    workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))  # JSON is YAML
    python = [sys.executable, "-m"]
    code = [
        *python,
        "dagster",
        "api",
        "grpc",
        "-m",
        "reactivation_assets.definitions",
        "-h",
        HOST,
        "-p",
        str(code_port),
    ]
    commands = {
        "code": [*code, "--location-name", _LOCATION, "--log-level", "warning"],
        "ui": [*python, "dagster_webserver", "-w", str(workspace), "-h", HOST, "-p", str(ui_port)],
        "daemon": [*python, "dagster._daemon", "run", "-w", str(workspace)],
        "api": [*python, "reactivation_cli.api_process", HOST, str(api_port)],
    }
    running: list[Child] = []
    stack.callback(lambda: children.stop(running[:1]))
    stack.callback(lambda: children.stop(running[1:]))
    for name, argv in commands.items():
        running.append(children.start(name, argv, env, logs))
    return running


def _wait_until_ready(running: list[Child], ui_port: int, api_port: int, told: threading.Event) -> bool:
    """Wait until all answer and the code location is loaded. False when told to end meanwhile; UpError when it cannot be."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while waiting := _not_ready(ui_port, api_port):
        _refuse_dead(running)
        if time.monotonic() > deadline:
            raise UpError(f"{waiting} did not become ready within {_READY_WITHIN_S:.0f} s: see {running[0].log.parent}")
        if told.wait(_POLL_S):
            return False
    return True


def _not_ready(ui_port: int, api_port: int) -> str:
    """What does not answer yet, or "". Raises UpError for a code location that cannot be loaded."""
    if _get(f"http://{HOST}:{api_port}/healthz") is None:
        return "the HTTP API"
    answer = _get(f"http://{HOST}:{ui_port}/graphql", {"query": _HEALTH})
    if answer is None:
        return "the Dagster UI"
    entries = answer["data"]["workspaceOrError"].get("locationEntries", [])
    if not any((entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for entry in entries):
        return "the code location"
    daemons = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    if not all(status["healthy"] for status in daemons if status["required"]):
        return "the Dagster daemon"
    return ""


def _get(url: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON answer of a service on this machine; None while it does not answer well."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - our own URL
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def _refuse_dead(running: list[Child]) -> None:
    for child in running:
        if child.exit_code is not None:
            raise UpError(
                f"the process `{child.name}` has ended with exit code {child.exit_code}; everything is stopped. "
                f"The end of its log, {child.log}:\n{child.log_tail()}"
            )


def _port(settings: Settings, field: str, besides: int | None = None) -> int:
    """The configured port; a default one that is taken gives way to the next free one, a chosen one does not."""
    wanted: int = getattr(settings, field)
    for port in range(wanted, min(wanted + _PORTS_TRIED, 65_536)):
        if port != besides and _is_free(port):
            return port
        if field in settings.model_fields_set:
            break
    raise UpError(f"port {wanted} is taken: set {field.upper()} to a free one")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _announce(platform: Platform, ui_port: int, api_port: int) -> None:
    screen = Console(highlight=False)
    screen.print(f"Dagster UI  http://{HOST}:{ui_port}", soft_wrap=True)
    screen.print(f"HTTP API    http://{HOST}:{api_port}/api/reactivation", soft_wrap=True)
    screen.print(f"logs        {platform.settings.home / 'logs'}", soft_wrap=True)
    if _get(f"http://{HOST}:{api_port}/readyz") is None:  # it works without Redis, only less
        screen.print("[yellow]not everything answers:[/yellow] `reactivation doctor` says what, and what to do")
    with platform.database.begin() as connection:
        companies = connection.execute(text("SELECT count(*) FROM companies")).scalar_one()
    if not companies:
        screen.print(
            "No salon yet. In another terminal, from this directory: `reactivation import FOLDER` loads one from files"
            " (`reactivation import --template FOLDER` writes an example), `reactivation demo` shows a pretend one.",
            markup=False,
        )
    screen.print("Ctrl-C stops all of it.")
    sys.stdout.flush()


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C, SIGTERM or a closed terminal, instead of what they usually do."""
    told = threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: told.set()) for number in numbers}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
