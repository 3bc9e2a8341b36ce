"""A client that asks a town, its pauses only noted."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_sandbox.process import Town

T = TypeVar("T")


@dataclass
class Asking:
    """Asks the town; a client whose pauses are only noted."""

    town: Town
    waits: list[float] = field(default_factory=list)

    @property
    def company(self) -> int:
        return int(next(iter(self.town.sessions)))

    def ask(self, work: Callable[[YClients], Awaitable[T]], **options: Any) -> T:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async def main() -> T:
            town, limiter = self.town, RateLimiter("none", ())
            async with YClients(
                town.yclients_url, town.partner, town.user, limiter, sleep=sleep, jitter=lambda: 1.0, **options
            ) as client:
                return await work(client)

        return asyncio.run(main())
