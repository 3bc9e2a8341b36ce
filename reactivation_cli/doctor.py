"""`reactivation doctor`: looks at everything the platform needs and says what to do about what is missing.

What to add here: the order of the checks and what holds for all of them. What to keep out: the checks (doctor_machine.py: configuration,
servers, Dagster; doctor_world.py: salons, CRM, channels, and what waits). No check changes anything but files of its own.
"""

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from reactivation_cli import doctor_machine as machine
from reactivation_cli import doctor_world as world
from reactivation_cli.finding import Finding, Status, failure, warning
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.log_masking import mask_text
from reactivation_resources.platform import Platform, servers_for
from reactivation_resources.settings import Settings

__all__ = ["Finding", "diagnose", "print_findings", "worst"]

_PATIENCE_S = 30.0
_DAGSTER_PATIENCE_S = 120.0
_SEVERITY: dict[Status, int] = {"ok": 0, "warning": 1, "failure": 2}
_COLOURS = {"ok": "green", "warning": "yellow", "failure": "red"}

Check = Callable[[], Iterable[Finding]]


def diagnose(settings: Settings) -> list[Finding]:
    """All findings, in the order in which things depend on each other. One check that fails or hangs never stops the others."""
    findings = [
        *_isolated("configuration", lambda: machine.configuration(settings)),
        *_isolated("home", lambda: machine.home(settings)),
        *_isolated("lake", lambda: machine.lake(settings)),
    ]
    with ExitStack() as stack:
        try:
            urls = stack.enter_context(servers_for(settings))
        except Exception as error:
            advice = "Do what the message says, or set DATABASE_URL and REDIS_URL to servers of your own."
            findings += [failure("servers", _own_words(error), advice), _not_checked("the servers")]
            return [_clean(finding, settings, None) for finding in findings]
        platform = Platform(settings, SystemClock(), urls)
        stack.callback(platform.close)
        findings += _connected(platform)
        return [_clean(finding, settings, urls) for finding in findings]


def _connected(platform: Platform) -> list[Finding]:
    findings = [
        *_isolated("redis", lambda: machine.redis_server(platform)),
        *_isolated("postgresql", lambda: machine.postgres_server(platform)),
    ]
    if _failed(findings):
        return [*findings, _not_checked("PostgreSQL")]
    findings += _isolated("clock", lambda: machine.clock(platform))
    findings += _isolated("schema", lambda: machine.schema(platform))
    if _failed(findings):
        return [*findings, _not_checked("an up-to-date schema")]
    for name, check in world.CHECKS.items():
        findings += _isolated(name, lambda check=check: check(platform))  # type: ignore[misc]
    accounts: dict[str, Check] = {}

    def list_accounts() -> Iterable[Finding]:
        accounts.update(world.account_checks(platform))
        return ()

    findings += _isolated("accounts", list_accounts)
    for name, account in accounts.items():
        findings += _isolated(name, account)
    findings += _isolated("dagster", lambda: machine.dagster(platform, _DAGSTER_PATIENCE_S), _DAGSTER_PATIENCE_S + 5)
    return findings


def worst(findings: Iterable[Finding]) -> Status:
    """The gravest status there is; `ok` for none."""
    return max((finding.status for finding in findings), key=_SEVERITY.__getitem__, default="ok")


def print_findings(findings: Iterable[Finding], console: Console | None = None) -> None:
    """Print them for a person, each with its advice, and a summary."""
    listed = list(findings)
    screen = console or Console(highlight=False)
    for finding in listed:
        colour = _COLOURS[finding.status]
        screen.print(
            f"[{colour}]{finding.status:<8}[/{colour}] [bold]{escape(finding.name)}[/bold]: {escape(finding.words)}"
        )
        if finding.advice:
            screen.print(Padding(escape(finding.advice), (0, 0, 0, 9)), style="dim")
    counts = {status: sum(finding.status == status for finding in listed) for status in _SEVERITY}
    screen.print(f"\n{counts['failure']} failures, {counts['warning']} warnings, {counts['ok']} fine")


def _isolated(name: str, check: Check, patience_s: float = _PATIENCE_S) -> list[Finding]:
    """The check's findings, or one that says how it failed. A thread, because nothing else ends a wait in foreign code."""
    results: list[Finding] = []

    def run() -> None:
        try:
            results.extend(check())
        except Exception as error:
            words = f"the check itself failed: {_own_words(error)}"
            results.append(failure(name, words, "Look at the findings above first; then report this as a bug."))

    thread = threading.Thread(target=run, daemon=True, name=f"doctor-{name}")
    thread.start()
    thread.join(patience_s)
    if thread.is_alive():
        return [
            failure(name, f"no answer within {patience_s:.0f} s", "Look whether what it asks hangs or is unreachable.")
        ]
    return results


def _failed(findings: list[Finding]) -> bool:
    return findings[-1].status == "failure"


def _not_checked(need: str) -> Finding:
    return warning("not checked", f"everything that needs {need}", "Remove the failure above and run this again.")


def _own_words(error: Exception) -> str:
    """An error in one line. A database error's later lines quote the statement and its values."""
    cause = getattr(error, "orig", None) or error if isinstance(error, SQLAlchemyError) else error
    lines = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__


def _clean(finding: Finding, settings: Settings, urls: ServerUrls | None) -> Finding:
    """The finding without any secret or phone, whoever put it there."""
    secrets = {value.get_secret_value() for value in settings.__dict__.values() if hasattr(value, "get_secret_value")}
    for url in [*secrets, *((urls.database_url, urls.redis_url) if urls else ())]:
        if "://" in url:
            secrets |= {url, make_url(url).password or ""}
    words, advice = finding.words, finding.advice
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        words, advice = words.replace(secret, "***"), advice.replace(secret, "***")
    return Finding(finding.name, finding.status, mask_text(words), mask_text(advice))
