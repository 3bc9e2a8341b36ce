"""Child processes of one terminal: each with a log file and a keeper that ends it when this process does.

What to add here: how a child is started and stopped. What to keep out: which children there are.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_KEEPER = Path(__file__).with_name("_keeper.py")
_PATIENCE_S = 10.0
_KEEPER_NEEDS_S = 10.0  # beyond the two patiences, for what the child left behind
_TAIL_LINES = 20
_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class Child:
    """A running child. `process` is its keeper, which ends with the child's exit code."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self.process.poll()

    def log_tail(self) -> str:
        """The last lines of its log."""
        with self.log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def start(name: str, argv: Sequence[str], env: Mapping[str, str], logs: Path) -> Child:
    """Start `argv` with its output in `logs`/`name`.log; the log of the time before is kept as `name`.log.old."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{name}.log"
    if log.exists():
        log.replace(log.with_suffix(".log.old"))
    log.touch(mode=0o600)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", str(_KEEPER), str(_PATIENCE_S), *argv],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=dict(env),
            start_new_session=True,  # Ctrl-C at the terminal is for us alone
        )
    return Child(name, process, log)


def stop(children: Sequence[Child]) -> None:
    """Let the children go, all at once, and wait until they have ended; what does not end in time is killed."""
    for child in children:
        if child.process.stdin is not None:
            with contextlib.suppress(OSError):
                child.process.stdin.close()
    deadline = time.monotonic() + 2 * _PATIENCE_S + _KEEPER_NEEDS_S
    for child in children:
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:  # a keeper that does not do its work; its child notices nothing any more
            child.process.kill()
            child.process.wait()
