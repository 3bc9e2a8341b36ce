"""Keeps one process of `reactivation up` from outliving it. Run as a script: `python -I _keeper.py SECONDS COMMAND…`.

The keeper's standard input is a pipe that its starter never writes to. When it closes, because the starter closed it or ended in whatever
way, SIGKILL included, the keeper asks the command's process group to end (SIGTERM), waits SECONDS, and kills what is left, however deep
in the family and in whatever session. It ends as the command did: same exit code, or 128 and the signal's number.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

import psutil

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_LAST_WORDS_S = 3.0


def keep(patience_s: float, argv: list[str]) -> int:
    """Run the command until it ends or the starter lets go; leave nothing behind. Returns the exit code."""
    if sys.platform == "linux":  # processes whose parent died become our children, where they can be found
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    command = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
    ended, let_go = threading.Event(), threading.Event()

    def stop() -> None:
        let_go.wait()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not ended.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(command.pid, number)
                ended.wait(patience_s)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        let_go.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: let_go.set())
    for work in (stop, watch):
        threading.Thread(target=work, daemon=True).start()
    code = command.wait()
    ended.set()
    _end_family()
    return code if code >= 0 else 128 - code


def _end_family() -> None:
    """End what the command left behind."""
    left = psutil.Process().children(recursive=True)
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for process in left:
            with contextlib.suppress(psutil.Error):
                ask(process)
        _, left = psutil.wait_procs(left, timeout=_LAST_WORDS_S)


if __name__ == "__main__":
    sys.exit(keep(float(sys.argv[1]), sys.argv[2:]))
