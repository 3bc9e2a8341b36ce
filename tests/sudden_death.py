"""A process that ends itself where a crash would hurt: `die_at_statement(database, 7)`. What it leaves behind is the test's to look at."""

import os
import signal
from itertools import count
from typing import Any

from sqlalchemy import event

from reactivation_resources.database.engine import Database


def die_at_statement(database: Database, number: int) -> None:
    """Die before the `number`-th statement or commit from now on."""
    passed = count(1)

    def listen(*_: Any) -> None:
        if next(passed) == number:
            die()

    for name in ("before_cursor_execute", "commit"):
        event.listen(database.engine, name, listen)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
