"""The one source of "now". Everything that needs the time is handed a clock; nothing reads it by itself."""

import ipaddress
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import urlsplit


class Clock(Protocol):
    """Tells the present instant, always timezone-aware and in UTC."""

    @property
    def simulated(self) -> bool:
        """Whether this clock is moved by hand."""
        ...

    def now(self) -> datetime:
        """The present instant."""
        ...


class SystemClock:
    """The machine's clock."""

    simulated = False

    def now(self) -> datetime:
        """The present instant."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands still until it is advanced; it never goes back."""

    simulated = True

    def __init__(self, start: datetime) -> None:
        self._now = _aware(start)

    def now(self) -> datetime:
        """The simulated instant."""
        return self._now

    def advance_to(self, instant: datetime) -> None:
        """Move on to `instant`; an earlier one raises ValueError."""
        instant = _aware(instant)
        if instant < self._now:
            raise ValueError(f"a simulated clock does not go back: {instant.isoformat()} < {self._now.isoformat()}")
        self._now = instant


def _aware(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"instant without a time zone: {instant.isoformat()}")
    return instant.astimezone(UTC)


def is_loopback(url: str) -> bool:
    """Whether `url` names this machine by a loopback address (`localhost`, 127.0.0.0/8, ::1)."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_outside_world(clock: Clock, urls: dict[str, str | None]) -> None:
    """Raise ValueError when a simulated clock would meet a CRM or channel that is not on this machine.

    A simulated day sends to invented clients; a real number must be out of its reach whatever the configuration says.
    """
    if not clock.simulated:
        return
    for name, url in urls.items():
        if url is not None and not is_loopback(url):
            raise ValueError(f"{name}={url} is not a loopback address: a simulated clock talks to the sandbox only")
