"""Scripts on one key of Redis, by which processes share a limit. While Redis is away there is no answer, and it is asked again soon.

What to keep out: the scripts, and what a process does without an answer (`rate_limit`, `gemini.quota`).
"""

import logging
from collections.abc import Callable
from typing import Any

REDIS_REST_S = 1.0  # after it failed, before it is asked again


class SharedScripts:
    """Runs scripts on `key`; `log` hears when `what`, in words, is not shared and when it is again. Use it on one event loop."""

    def __init__(self, redis_url: str, key: str, what: str, log: logging.Logger, clock: Callable[[], float]) -> None:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # A single retry, for a connection that Redis closed meanwhile: a call must not wait longer for its place than for its answer.
        self._redis: Any = Redis.from_url(
            redis_url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
        )
        self._key, self._what, self._log, self._clock = key, what, log, clock
        self._scripts: dict[str, Any] = {}
        self._ask_again_at: float | None = None

    async def ask(self, script: str, *arguments: object) -> Any | None:
        """The script's answer; None while Redis is away."""
        from redis.exceptions import RedisError

        if self._ask_again_at is not None and self._clock() < self._ask_again_at:
            return None
        if script not in self._scripts:
            self._scripts[script] = self._redis.register_script(script)
        try:
            answer = await self._scripts[script](keys=[self._key], args=arguments)
        except RedisError as error:
            if self._ask_again_at is None:
                self._log.warning("%s is not shared while Redis is away (%s)", self._what, type(error).__name__)
            self._ask_again_at = self._clock() + REDIS_REST_S
            return None
        if self._ask_again_at is not None:
            self._log.info("%s is shared again", self._what)
            self._ask_again_at = None
        return answer

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()
