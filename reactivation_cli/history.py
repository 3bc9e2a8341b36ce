"""`reactivation rebuild-history`: the lake's visit history from nothing."""

import time

from reactivation_cli.console import print_json, progress_bar, stderr
from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings


def rebuild_history(settings: Settings, *, as_json: bool) -> None:
    """Write the history anew with a progress bar, and say what was written."""
    with open_platform(settings) as platform, progress_bar(quiet=as_json) as bar:
        migrate(platform.urls.database_url)
        task = bar.add_task("lines of the journal", total=None)
        started = time.monotonic()
        made = platform.mirror.history.rebuild(lambda done, total: bar.update(task, completed=done, total=total))
        seconds = time.monotonic() - started
        location = platform.mirror.history.location
    report = {"rows": made.rows, "clients": made.clients, "segments": len(made.segments), "seconds": round(seconds, 1)}
    if as_json:
        print_json(report | {"location": location})
        return
    words = f"{made.rows:,} lines of {made.clients:,} clients in {len(made.segments):,} segments, {seconds:.1f} s"
    stderr.print(f"{words}: {location}", highlight=False)
