"""File locks that the kernel releases when their holder ends, however it ends (flock; the file itself stays)."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reactivation_resources.embedded.errors import EmbeddedServerError

EXCLUSIVE = fcntl.LOCK_EX
SHARED = fcntl.LOCK_SH
POLL_SECONDS = 0.02


def try_lock(path: Path, kind: int) -> int | None:
    """Take the lock if it is free and return its descriptor (closing it gives the lock back), else None."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{path} belongs to another user: run as that user or set REACTIVATION_HOME to a folder of your own"
        ) from error
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def wait_lock(path: Path, kind: int, seconds: float) -> int:
    """Take the lock, waiting at most `seconds`; raise EmbeddedServerError when it stays taken."""
    deadline = time.monotonic() + seconds
    while (descriptor := try_lock(path, kind)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"{path} stayed locked for {seconds:.0f} s: another process is still starting or stopping the server; "
                f"`fuser {path}` names it"
            )
        time.sleep(POLL_SECONDS)
    return descriptor


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock, neither shared nor exclusive, at this moment."""
    descriptor = try_lock(path, EXCLUSIVE)
    if descriptor is None:
        return False
    os.close(descriptor)
    return True


@contextmanager
def exclusive(path: Path, seconds: float) -> Iterator[None]:
    """Hold the lock alone, waiting for it at most `seconds`."""
    descriptor = wait_lock(path, EXCLUSIVE, seconds)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # not by closing alone: a child forked meanwhile has a copy
        os.close(descriptor)
