"""One limit of requests and tokens a minute for the whole installation: the model counts them per key, not per process.

What is taken counts for a minute from its second on, in buckets of a second each, so no minute holds more than is allowed. Tokens are taken by
estimate before the request and corrected by what the model counted. Shared through Redis; within this process alone while Redis is away.
"""

import logging
import time
from collections.abc import Awaitable, Callable

import anyio

from reactivation_resources.shared_scripts import SharedScripts

log = logging.getLogger(__name__)

WINDOW_S = 60
_KEY = "reactivation:gemini:quota"

# A hash of the requests and tokens of each of the last seconds, by Redis' own clock. Answers microseconds to wait, or 0 and the second in which
# they were taken.
_TAKE = """
local time = redis.call('TIME')
local now, micros = tonumber(time[1]), tonumber(time[2])
local most_requests, most_tokens, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local held, requests, used, oldest = redis.call('HGETALL', KEYS[1]), 0, 0, now
for i = 1, #held, 2 do
  local kind, second = string.sub(held[i], 1, 1), tonumber(string.sub(held[i], 2))
  if second <= now - tonumber(ARGV[4]) - 1 then
    redis.call('HDEL', KEYS[1], held[i])
  else
    if kind == 'r' then requests = requests + tonumber(held[i + 1]) else used = used + tonumber(held[i + 1]) end
    oldest = math.min(oldest, second)
  end
end
if requests > 0 and ((most_requests > 0 and requests + 1 > most_requests) or (most_tokens > 0 and used + tokens > most_tokens)) then
  return {(oldest + tonumber(ARGV[4]) + 1 - now) * 1000000 - micros, 0}
end
redis.call('HINCRBY', KEYS[1], 'r' .. now, 1)
redis.call('HINCRBY', KEYS[1], 't' .. now, tokens)
redis.call('EXPIRE', KEYS[1], 2 * tonumber(ARGV[4]))
return {0, now}
"""
_CORRECT = """
if redis.call('HEXISTS', KEYS[1], 't' .. ARGV[1]) == 1 then redis.call('HINCRBY', KEYS[1], 't' .. ARGV[1], ARGV[2]) end
return {0, 0}
"""


class ModelQuota:
    """Lets requests go while the minute has room for them, in order of asking. Use it on one event loop.

    Args:
        requests: Requests a minute; 0: no limit.
        tokens: Tokens a minute, of questions and answers together; 0: no limit.
        redis_url: None: within this process only.
        sleep, clock: For tests.
    """

    def __init__(
        self,
        requests: int,
        tokens: int,
        redis_url: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests, self._tokens = requests, tokens
        self._sleep, self._clock = sleep, clock
        self._turn = anyio.Lock()
        self._own: dict[int, tuple[int, int]] = {}  # requests and tokens of this process by second
        limited = bool(requests or tokens)
        self._shared = (
            SharedScripts(redis_url, _KEY, "the model's rate limit", log, clock) if redis_url and limited else None
        )

    async def take(self, tokens: int) -> int:
        """Wait until a request of about `tokens` fits; returns what `correct` wants to know of it."""
        if not self._requests and not self._tokens:
            return 0
        async with self._turn:
            while True:
                wait, taken = await self._take(tokens)
                if wait <= 0:
                    return taken
                await self._sleep(wait)

    async def correct(self, taken: int, surplus: int) -> None:
        """Give back `surplus` tokens that a request did not use (a negative number: it used more)."""
        if taken and surplus and self._shared is not None:
            with anyio.CancelScope(shield=True):
                await self._shared.ask(_CORRECT, taken, -surplus)
        second = int(self._clock())
        requests, used = self._own.get(second, (0, 0))
        self._own[second] = (requests, used - surplus)

    async def aclose(self) -> None:
        """Close the connection to Redis."""
        if self._shared is not None:
            await self._shared.aclose()

    async def _take(self, tokens: int) -> tuple[float, int]:
        answer = None
        if self._shared is not None:
            answer = await self._shared.ask(_TAKE, self._requests, self._tokens, tokens, WINDOW_S)
        if answer is not None and answer[0] > 0:
            return answer[0] / 1_000_000, 0
        now = int(self._clock())
        self._own = {second: held for second, held in self._own.items() if second > now - WINDOW_S - 1}
        if answer is None and (wait := self._own_wait(tokens)) > 0:
            return wait, 0
        requests, used = self._own.get(now, (0, 0))
        self._own[now] = (requests + 1, used + tokens)
        return 0.0, answer[1] if answer is not None else 0

    def _own_wait(self, tokens: int) -> float:
        requests = sum(held[0] for held in self._own.values())
        used = sum(held[1] for held in self._own.values())
        over = (self._requests and requests + 1 > self._requests) or (self._tokens and used + tokens > self._tokens)
        return min(self._own) + WINDOW_S + 1 - self._clock() if requests and over else 0.0
