"""A dispatcher that kills itself at a checkpoint: `python -m tests.resources.crash_dispatcher DATABASE WAHA NOW CHECKPOINT`."""

import os
import sys
from datetime import datetime

from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.outbox import Outbox
from tests.sudden_death import die


def main(database_url: str, waha_url: str, now: str, fatal: str) -> None:
    """Dispatch once at `now`; die by SIGKILL at the checkpoint `fatal`."""

    def checkpoint(name: str) -> None:
        if name == fatal:
            die()

    outbox = Outbox(Database(database_url), SimulatedClock(datetime.fromisoformat(now)), checkpoint=checkpoint)
    dispatch_due(outbox, {"waha": Waha(waha_url)}, f"process-{os.getpid()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
