"""Keeps one embedded server alive while anybody uses it, then stops it. Run as a script: `python -I -S _guardian.py JOB`.

Every process that uses the server holds a shared lock on one file. The guardian is the server's parent; once it can
take that lock exclusively nobody is left, because the kernel drops the locks of a process however it ended, and the
guardian stops the server and ends. If the guardian itself is killed, the kernel sends the server its stop signal.

JOB is JSON: `argv`, `cwd`, `env` and `account` ([uid, gid] to become, or null) of the command; `once` (run it to its end
and pass on its exit code); and for a server `users` (the lock file), `guardian_fd` (a lock the guardian alone holds),
`server_fd` (a lock that the server and its children hold too) and `stop` ([[signal, seconds to wait], ...]).
Only the standard library is used: this process lives as long as the server does and must stay small.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

_POLL_SECONDS = 0.1
_STABLE_SECONDS = 2.0  # a server that lived this long did start; when it dies later it is started again
_RESTART_SECONDS = 30.0  # ... for at most this long: orphaned backends of a killed PostgreSQL need a moment to end

# linux/prctl.h, linux/securebits.h, linux/capability.h
_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3 = 0x20080522


def start(job: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the job's command as its account, to be stopped by the kernel when this process dies."""
    guardian = os.getpid()

    def before_exec() -> None:
        if job["account"]:
            uid, gid = job["account"]
            _become(uid, gid, needs=(job["argv"][0], job["cwd"]))
        if sys.platform == "linux":  # after the change of user, which would clear it
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, job["stop"][0][0])
            if os.getppid() != guardian:
                os._exit(1)

    return subprocess.Popen(
        job["argv"],
        cwd=job["cwd"],
        env=job["env"],
        stdin=subprocess.DEVNULL,
        pass_fds=[] if job["once"] else [job["server_fd"]],
        preexec_fn=before_exec,  # noqa: PLW1509 - safe: this process has one thread
        start_new_session=True,
    )


def _become(uid: int, gid: int, needs: Sequence[str]) -> None:
    """Turn root into an ordinary account for good, keeping one capability if it could not reach its files otherwise.

    A checkout under `/root` is closed to everybody else. Opening it by chmod would change what is not ours, so the
    server gets the right to walk through closed folders instead (CAP_DAC_READ_SEARCH), and only in that case.
    """
    os.setgroups([])
    os.setegid(gid)
    os.seteuid(uid)
    reachable = _can_reach(needs)
    os.seteuid(0)
    if not reachable:
        # Without this bit access(2), by which PostgreSQL looks for its own binary, would ignore the kept capability.
        ctypes.CDLL(None).prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if not reachable and not any(
        _keep(capability) and _can_reach(needs) for capability in (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE)
    ):
        os.write(2, f"user {uid} cannot reach {' and '.join(needs)}: move the installation\n".encode())
        os._exit(1)


def _can_reach(paths: Sequence[str]) -> bool:
    return all(os.access(path, os.X_OK, effective_ids=True) for path in paths)


def _keep(capability: int) -> bool:
    """Make this the one capability that outlives exec of an ordinary program."""
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable: low words, then high words
    libc.capget(header, sets)
    sets[0] = sets[2] = 1 << capability
    sets[3] = sets[5] = 0
    raised: int = libc.capset(header, sets) or libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    return raised == 0


def _nobody_uses(users_fd: int) -> bool:
    try:
        fcntl.flock(users_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _stop(server: subprocess.Popen[bytes], steps: Sequence[tuple[int, float]]) -> None:
    for signal_number, seconds in steps:
        server.send_signal(signal_number)
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        return
    server.kill()
    server.wait()


def guard(job: dict[str, Any]) -> None:
    """Run the server until nobody uses it, SIGTERM comes, or it cannot be kept alive."""
    asked_to_end = False

    def ask_to_end(*_: object) -> None:
        nonlocal asked_to_end
        asked_to_end = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_end)
    users_fd = os.open(job["users"], os.O_RDWR)
    server, born, give_up_at = start(job), time.monotonic(), 0.0
    while not asked_to_end and not _nobody_uses(users_fd):
        if server.poll() is not None:
            now = time.monotonic()
            if now - born > _STABLE_SECONDS:
                give_up_at = now + _RESTART_SECONDS
            if now > give_up_at:
                break
            server, born = start(job), now
        time.sleep(_POLL_SECONDS)
    _stop(server, job["stop"])
    for descriptor in (job["server_fd"], job["guardian_fd"]):
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # said aloud: a stray fork may still hold a copy of the descriptor


def main() -> None:
    """Run one job; a server's guardian goes to the background at once, in a session of its own."""
    job = json.loads(sys.argv[1])
    if job["once"]:
        sys.exit(start(job).wait())
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.chdir("/")
    guard(job)


if __name__ == "__main__":
    main()
