"""One rate limit for all processes: the CRM counts calls per address, not per salon and not per process.

A place is taken before a request leaves and counts until a window's length after its answer came. The server saw the request between the two,
so whatever the network does to it, the server never sees more calls within a window than there are places.
"""

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio

from reactivation_resources.shared_scripts import SharedScripts

log = logging.getLogger(__name__)

Limits = tuple[tuple[int, float], ...]
"""Calls and seconds: 5 a second and 200 a minute are `((5, 1), (200, 60))`."""

PUBLISHED_LIMITS: Limits = ((5, 1), (200, 60))  # of the CRM, per address
LEASE_S = 40.0  # longest life of a request; the place of a process that died is free a window later

# Places by when their answer came; those without one carry the end of their lease. Redis' own clock is used, so that processes on several
# machines agree. A place under way can be free no earlier than a window from now. Exact over any window, unlike a bucket.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local place, lease, wait, longest = ARGV[1], tonumber(ARGV[2]), 0, 0
for i = 3, #ARGV, 2 do
  local calls, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  longest = math.max(longest, window)
  local last = redis.call('ZRANGE', KEYS[1], -calls, -calls, 'WITHSCORES')
  if last[2] then wait = math.max(wait, math.min(tonumber(last[2]), now) + window - now) end
end
if wait > 0 then return wait end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - longest))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), place)
redis.call('PEXPIRE', KEYS[1], math.ceil((lease + longest) / 1000))
return 0
"""
_ANSWERED = """
local time = redis.call('TIME')
return redis.call('ZADD', KEYS[1], 'XX', string.format('%.0f', time[1] * 1000000 + time[2]), ARGV[1])
"""


class RateLimiter:
    """Gives places to requests, in order of asking. Shared through Redis; within this process alone while Redis is away.

    Use it on one event loop. Without limits nobody waits.

    Args:
        name: Who shares the limit.
        limits: All of them hold.
        redis_url: None: within this process only.
        lease_s: The longest a place may be held, in seconds.
        sleep, clock: For tests.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        redis_url: str | None = None,
        *,
        lease_s: float = LEASE_S,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._lease_s = lease_s
        self._sleep = sleep
        self._clock = clock
        self._turn = anyio.Lock()
        self._own: dict[str, float] = {}  # places of this process by when their answer came
        self._shared: _SharedPlaces | None = None
        if redis_url and limits:
            self._shared = _SharedPlaces(f"reactivation:rate:{name}", limits, lease_s, redis_url, clock)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it over the block, which must end with the answer. Raises TimeoutError at the end of the lease."""
        if not self._limits:
            with anyio.fail_after(self._lease_s):
                yield
            return
        async with self._turn:
            place, asked_at = await self._take()
        try:
            with anyio.fail_after(asked_at + self._lease_s - anyio.current_time()):
                yield
        finally:
            self._own[place] = self._clock()
            if self._shared is not None:
                with anyio.CancelScope(shield=True):
                    await self._shared.answered(place)

    async def aclose(self) -> None:
        """Close the connection to Redis."""
        if self._shared is not None:
            await self._shared.aclose()

    async def _take(self) -> tuple[str, float]:
        """Take a place; when it was asked for, by the loop's clock, its lease had not begun yet."""
        place = uuid.uuid4().hex
        while True:
            asked_at = anyio.current_time()
            wait = self._own_wait()
            if wait <= 0 and self._shared is not None:
                wait = await self._shared.take(place)
            if wait <= 0:
                self._own[place] = float("inf")
                return place, asked_at
            await self._sleep(wait)

    def _own_wait(self) -> float:
        """Seconds until this process has a place of its own: with Redis at hand it always has, without it this is the limit."""
        now = self._clock()
        longest = max(seconds for _, seconds in self._limits)
        self._own = {place: at for place, at in self._own.items() if at + longest > now}
        last = sorted(self._own.values())
        return max(
            (min(last[-calls], now) + seconds - now for calls, seconds in self._limits if len(last) >= calls),
            default=0.0,
        )


class _SharedPlaces:
    """The places in Redis. While Redis is away everybody may go on."""

    def __init__(self, key: str, limits: Limits, lease_s: float, redis_url: str, clock: Callable[[], float]) -> None:
        self._scripts = SharedScripts(redis_url, key, "the rate limit", log, clock)
        self._windows = [_micros(lease_s), *(value for calls, seconds in limits for value in (calls, _micros(seconds)))]

    async def take(self, place: str) -> float:
        """Take the place and return 0, or return the seconds until one may be free."""
        return int(await self._scripts.ask(_TAKE, place, *self._windows) or 0) / 1e6

    async def answered(self, place: str) -> None:
        """Note that the answer came. Unnoted, the place is free when its lease has ended."""
        await self._scripts.ask(_ANSWERED, place)

    async def aclose(self) -> None:
        await self._scripts.aclose()


def _micros(seconds: float) -> int:
    return round(seconds * 1_000_000)
