"""Run a server, or a command that prepares one, through the guardian script."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reactivation_resources.embedded.account import give_to_owner_of_folder

_GUARDIAN = Path(__file__).with_name("_guardian.py")
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")


def run_once(argv: Sequence[str], *, cwd: Path, account: tuple[int, int] | None, log: Path, seconds: float) -> int:
    """Run a command as the account to its end and return its exit code; its output is appended to the log."""
    job = _job(argv, cwd, account) | {"once": True, "stop": [[signal.SIGKILL, 0]]}
    return _run(job, log, seconds)


def start_guarded(
    argv: Sequence[str],
    *,
    cwd: Path,
    account: tuple[int, int] | None,
    log: Path,
    users: Path,
    guardian_fd: int,
    server_fd: int,
    stop: Sequence[tuple[int, float]],
) -> None:
    """Start a server under a guardian in the background and return at once; see the guardian for the meanings."""
    job = _job(argv, cwd, account) | {
        "once": False,
        "users": str(users),
        "guardian_fd": guardian_fd,
        "server_fd": server_fd,
        "stop": stop,
    }
    _run(job, log, 30, pass_fds=(guardian_fd, server_fd))


def _job(argv: Sequence[str], cwd: Path, account: tuple[int, int] | None) -> dict[str, Any]:
    # Not the caller's whole environment: PGDATA, PGPORT or a locale meant for other programs must not reach the server.
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return {"argv": list(argv), "cwd": str(cwd), "account": account, "env": kept | {"LC_ALL": "C", "TZ": "UTC"}}


def _run(job: dict[str, Any], log: Path, seconds: float, pass_fds: tuple[int, ...] = ()) -> int:
    log.touch(mode=0o600)
    give_to_owner_of_folder(log)
    with log.open("ab") as output:
        return subprocess.run(
            # isolated and without site-packages: starts in milliseconds and cannot be changed from outside
            [sys.executable, "-I", "-S", str(_GUARDIAN), json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            timeout=seconds,
            check=False,
        ).returncode
