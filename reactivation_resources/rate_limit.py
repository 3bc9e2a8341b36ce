"""One rate limit for all processes: the CRM counts calls per address, not per salon and not per process."""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable

Limits = tuple[tuple[int, float], ...]
"""Calls and seconds: 5 a second and 200 a minute are `((5, 1), (200, 60))`."""

# A log of the last calls; a call may be made when every window still has a place. Exact over any window, unlike a bucket, which lets
# twice its size through around a refill. Redis' own clock is used, so that processes on several machines agree.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local wait, longest = 0, 0
for i = 1, #ARGV - 1, 2 do
  local calls, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  longest = math.max(longest, window)
  local oldest = redis.call('ZRANGE', KEYS[1], -calls, -calls, 'WITHSCORES')
  if oldest[2] then wait = math.max(wait, tonumber(oldest[2]) + window - now) end
end
if wait > 0 then return wait end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - longest))
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[#ARGV])
redis.call('PEXPIRE', KEYS[1], math.ceil(longest / 1000))
return 0
"""


class RateLimiter:
    """Blocks until a call may be made. Shared through Redis; within this process alone where Redis is unreachable.

    Without limits it never blocks.
    """

    def __init__(
        self, name: str, limits: Limits, redis_url: str | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._key, self._limits, self._redis_url, self._sleep = f"reactivation:rate:{name}", limits, redis_url, sleep
        self._lock = threading.Lock()
        self._calls: deque[float] = deque(maxlen=max((calls for calls, _ in limits), default=0))
        self._shared: Callable[[], int] | None = None

    def acquire(self) -> None:
        """Wait for the next free place and take it."""
        while self._limits and (wait := self._take()) > 0:
            self._sleep(wait)

    def _take(self) -> float:
        """Take a place and return 0, or return the seconds until one may be free."""
        if self._redis_url is not None:
            import redis

            try:
                wait = self._take_shared() / 1e6
            except redis.RedisError:
                pass  # the limit still holds within this process
            else:
                if wait <= 0:
                    with self._lock:
                        self._calls.append(time.monotonic())  # in case Redis is away for the next one
                return wait
        with self._lock:
            now = time.monotonic()
            wait = max(
                (self._calls[-calls] + seconds - now for calls, seconds in self._limits if len(self._calls) >= calls),
                default=0.0,
            )
            if wait <= 0:
                self._calls.append(now)
            return max(wait, 0.0)

    def _take_shared(self) -> int:
        if self._shared is None:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # No retries: a call must not wait longer for its place than for its answer.
            client = redis.Redis.from_url(
                self._redis_url or "", socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0)
            )
            script = client.register_script(_TAKE)
            windows = [value for calls, seconds in self._limits for value in (calls, round(seconds * 1_000_000))]
            self._shared = lambda: int(script(keys=[self._key], args=[*windows, uuid.uuid4().hex]))
        return self._shared()
