"""The town's time: it stands still until it is moved, and what is due happens in order."""

from collections.abc import Callable
from datetime import UTC, datetime
from heapq import heappop, heappush
from itertools import count


def parse_instant(text: str) -> datetime:
    """Read an ISO 8601 instant; one without a zone raises ValueError."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"instant without a time zone: {text}")
    return instant.astimezone(UTC)


class Agenda:
    """What will happen and when. Ties happen in the order in which they were planned."""

    def __init__(self, now: datetime) -> None:
        self.now = now.astimezone(UTC)
        self._order = count()
        self._due: list[tuple[datetime, int, Callable[..., None], tuple[object, ...]]] = []

    def plan(self, when: datetime, happening: Callable[..., None], *args: object) -> None:
        """Let `happening(*args)` take place at `when`, or at once if that has passed."""
        heappush(self._due, (max(when, self.now), next(self._order), happening, args))

    def step(self, until: datetime) -> bool:
        """Let the next thing due by `until` happen; False when there is none, and the clock then stands at `until`."""
        if not self._due or self._due[0][0] > until:
            self.now = max(self.now, until)
            return False
        self.now, _, happening, args = heappop(self._due)
        happening(*args)
        return True
