"""A town whose clock runs by itself: for tests of load and of crashes, where real processes meet in real time.

What to add here: how the town's time follows the machine's. What to keep out: what happens in the town.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from reactivation_sandbox.changes import Change
from reactivation_sandbox.dialog import Event
from reactivation_sandbox.postman import Postman
from reactivation_sandbox.town import Town

STEP_S, AGAIN_S, AT_ONCE = 0.02, 0.5, 8


@dataclass(slots=True)
class LiveClock:
    """Moves a town on, `speed` seconds in a real one, and delivers what happens, several calls at once."""

    town: Callable[[], Town]
    postman: Postman
    _task: "asyncio.Task[None] | None" = None
    _letters: "set[asyncio.Task[None]]" = field(default_factory=set)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def running(self) -> bool:
        """Whether time runs by itself now."""
        return self._task is not None

    def deliver(self, events: Iterable[Event | Change]) -> None:
        """Deliver events beside what else happens."""
        for event in events:
            self._send(self._deliver(event))

    async def run(self, speed: float) -> None:
        """Let time run from now on; a speed of 0 stops it, with everything delivered that has happened."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if speed > 0:
            self._task = asyncio.create_task(self._live(speed))
        else:
            await asyncio.gather(*self._letters)
            await self.postman.flush()

    async def _live(self, speed: float) -> None:
        began, start, again = monotonic(), self.town().now, monotonic() + AGAIN_S
        while True:
            self.deliver(self.town().advance(start + timedelta(seconds=(monotonic() - began) * speed)))
            if monotonic() >= again:
                again = monotonic() + AGAIN_S
                self._send(self.postman.deliver_kept())
                self._send(self.postman.flush_cloud())
            await asyncio.sleep(STEP_S)

    def _send(self, delivery: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(delivery)
        self._letters.add(task)
        task.add_done_callback(self._letters.discard)

    async def _deliver(self, event: Event | Change) -> None:
        async with self._places:
            await self.postman.deliver(event)
