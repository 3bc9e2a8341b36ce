"""Stops asking a model that does not answer, and tries again after a while.

What to keep out: what counts as a failure (`client`).
"""

import time
from collections.abc import Callable

FAILURES = 5  # in a row, and nobody asks for a while
REST_S = 60.0


class Breaker:
    """Counts failures in a row. Use it on one event loop: it does not lock.

    After the rest the questions under way try the model again; the first failure ends the try, the first answer ends the rest.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._rests_until = 0.0

    def is_open(self) -> bool:
        """Whether nobody may ask now."""
        return self._clock() < self._rests_until

    def succeeded(self) -> None:
        """There was an answer."""
        self._failures = 0

    def failed(self) -> None:
        """There was none."""
        self._failures += 1
        if self._failures >= FAILURES:
            self.rest(REST_S)

    def rest(self, seconds: float) -> None:
        """Nobody asks for so long: the model said so, or will not answer differently before."""
        self._rests_until = max(self._rests_until, self._clock() + seconds)
