"""`reactivation send`: a dispatcher outside Dagster, once or for as long as it is left running.

What to add here: how it is started, stopped and reported. What to keep out: what it does (`reactivation_resources.dispatch`).
"""

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.table import Table

from reactivation_cli.console import fail, print_json, stderr
from reactivation_resources.database.engine import migrate
from reactivation_resources.dispatch import DispatchReport, dispatch_due, dispatch_until
from reactivation_resources.platform import open_platform
from reactivation_resources.settings import Settings

_WORDS = {
    "accepted": "taken by the channel",
    "failed": "refused for good",
    "planned": "refused for now, to be tried again",
    "unknown": "answer lost: never sent again, settled by a status event",
    "error": "accounts that could not be served",
    "expired": "past their time",
    "released": "given back by a dispatcher that is gone",
    "recovered_unknown": "left unanswered by a dispatcher that is gone",
    "no_text": "without a text",
    "no_account": "without a sending number",
}


def send(settings: Settings, *, watch: bool, shard: str | None, concurrency: int, as_json: bool) -> None:
    """Send what is due, once or until SIGINT or SIGTERM; what is under way is finished and stored. Prints what was done."""
    share = _share(shard)
    with open_platform(settings) as platform, _told_to_end() as told:
        if settings.database_url is None:
            migrate(platform.urls.database_url)
        if not platform.channels:
            fail(
                "no channel is configured: set WAHA_BASE_URL or WHATSAPP_ACCESS_TOKEN; `reactivation doctor` tells more"
            )
        outbox, owner = platform.outbox_of(share), f"{socket.gethostname()}:{os.getpid()}"
        if watch:
            stderr.print("sending what comes due; Ctrl-C ends it")
            report = dispatch_until(
                outbox, platform.channels, owner, stop=told, concurrency=concurrency, on_pass=_tell_pass
            )
        else:
            report = dispatch_due(outbox, platform.channels, owner, stop=told, concurrency=concurrency)
    if as_json:
        following = report.next_due_at
        print_json({"counts": dict(report.counts), "next_due_at": following.isoformat() if following else None})
    else:
        _print(report)


def _share(shard: str | None) -> tuple[int, int] | None:
    if shard is None:
        return None
    number, _, of = shard.partition("/")
    if not (number.isdigit() and of.isdigit() and int(number) < int(of)):
        fail(f"--shard {shard}: write the share's number, from 0, and how many there are, such as 0/4")
    return int(number), int(of)


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    told = threading.Event()

    def tell(number: int, _: FrameType | None) -> None:
        told.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell_pass(report: DispatchReport) -> None:
    done = {name: count for name, count in report.counts.items() if not name.startswith("held:")}
    if done:
        stderr.print(", ".join(f"{count} {name}" for name, count in sorted(done.items())))


def _print(report: DispatchReport) -> None:
    if not report.counts:
        stderr.print("nothing was due")
    else:
        table = Table("messages", "what became of them")
        for name, count in sorted(Counter(report.counts).items(), key=lambda one: (-one[1], one[0])):
            table.add_row(str(count), _in_words(name))
        Console().print(table)
    if report.next_due_at is not None:
        stderr.print(f"something is due again at {report.next_due_at:%Y-%m-%d %H:%M:%S} UTC")


def _in_words(name: str) -> str:
    kind, _, reason = str(name).partition(":")
    if kind == "held":
        return f"wait with their number: {reason}"
    if reason:
        return f"{kind}: {reason}"
    return _WORDS.get(kind, kind)
