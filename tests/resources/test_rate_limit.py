"""The server never sees more calls within a window than there are places, whoever calls and whatever happens on the way."""

import asyncio
import json
import logging
import math
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from selectors import DefaultSelector
from typing import Any

import anyio
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from reactivation_resources.rate_limit import Limits, RateLimiter
from reactivation_resources.shared_scripts import REDIS_REST_S
from tests.resources.crm_server import Answer, Request, good, running_crm

AWAY = "redis://127.0.0.1:1/0"
PROCESS = Path(__file__).with_name("rate_limit_process.py")


def busiest(times: list[float], seconds: float) -> int:
    """The most calls that fall into any window of this length, its end not counted."""
    return max(sum(1 for other in times if start <= other < start + seconds) for start in times)


class _LeapingSelector(DefaultSelector):
    """Instead of waiting for a time it is that time: for loops on which nothing comes from outside.

    Like a real clock it never stands still: a wait too short to change a float would otherwise be waited for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> Any:
        self.now = math.nextafter(self.now + (timeout or 0.0), math.inf)
        return super().select(0 if timeout is not None else None)


def leap(work: Callable[[], Awaitable[None]]) -> None:
    """Run the work on a loop whose clock leaps from one thing due to the next."""

    def new_loop() -> asyncio.AbstractEventLoop:
        selector = _LeapingSelector()
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now  # type: ignore[method-assign]
        return loop

    async def main() -> None:
        await work()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


LIMITS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0.25, 1.0, 4.0, 60.0])),
    min_size=1,
    max_size=3,
    unique_by=lambda limit: limit[1],
).map(tuple)
DELAY = st.sampled_from([0.0, 0.01, 0.2, 0.3, 1.0, 7.0])


@settings(max_examples=80, deadline=None)
@given(LIMITS, st.lists(st.tuples(DELAY, DELAY, DELAY), min_size=1, max_size=30), st.integers(1, 8))
def test_the_server_never_sees_more_in_a_window_however_long_the_ways_there_and_back(
    limits: Limits, calls: list[tuple[float, float, float]], callers: int
) -> None:
    seen: list[float] = []
    left = list(calls)

    async def work() -> None:
        limiter = RateLimiter("alone", limits, clock=anyio.current_time)

        async def caller() -> None:
            while left:
                idle, there, back = left.pop()
                await anyio.sleep(idle)
                async with limiter.place():
                    await anyio.sleep(there)
                    seen.append(anyio.current_time())
                    await anyio.sleep(back)

        async with anyio.create_task_group() as group:
            for _ in range(callers):
                group.start_soon(caller)

    leap(work)
    assert len(seen) == len(calls)
    for places, seconds in limits:
        assert busiest(seen, seconds - 1e-6) <= places


def test_a_place_is_given_as_soon_as_it_is_free_and_in_order_of_asking() -> None:
    given_at: list[tuple[int, float]] = []

    async def work() -> None:
        limiter = RateLimiter("alone", ((2, 1), (3, 10)), clock=anyio.current_time)
        began = anyio.current_time()

        async def caller(number: int) -> None:
            async with limiter.place():
                given_at.append((number, anyio.current_time() - began))

        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(caller, number)

    leap(work)
    assert [number for number, _ in given_at] == [0, 1, 2, 3, 4]
    assert [at for _, at in given_at] == pytest.approx([0, 0, 1, 10, 10])


def test_a_place_counts_from_when_the_answer_came() -> None:
    async def work() -> None:
        limiter = RateLimiter("alone", ((1, 1),), clock=anyio.current_time)
        async with limiter.place():
            await anyio.sleep(5)
        answered = anyio.current_time()
        async with limiter.place():
            assert anyio.current_time() - answered == pytest.approx(1)

    leap(work)


def test_nobody_holds_a_place_beyond_its_lease() -> None:
    async def work() -> None:
        for limits in ((), ((1, 1),)):
            limiter = RateLimiter("alone", limits, lease_s=30, clock=anyio.current_time)
            began = anyio.current_time()
            with pytest.raises(TimeoutError):
                async with limiter.place():
                    await anyio.sleep(1000)
            assert anyio.current_time() - began == pytest.approx(30)

    leap(work)


def test_a_caller_who_gives_up_holds_nothing_and_stops_nobody() -> None:
    async def work() -> None:
        limiter = RateLimiter("alone", ((1, 1),), clock=anyio.current_time)
        async with limiter.place():
            with anyio.move_on_after(0.5):  # waits for a place
                async with limiter.place():
                    raise AssertionError("there was none")
        with anyio.move_on_after(3):  # has one
            async with limiter.place():
                await anyio.sleep(100)
        left = anyio.current_time()
        async with limiter.place():
            assert anyio.current_time() - left == pytest.approx(1)

    leap(work)


class StopError(Exception):
    """There was no place."""


def refusing(name: str, limits: Limits, url: str, **options: Any) -> RateLimiter:
    """A limiter that raises StopError with the seconds it would have to wait."""

    async def stop(seconds: float) -> None:
        raise StopError(seconds)

    return RateLimiter(name, limits, url, sleep=stop, **options)


async def take(limiter: RateLimiter, places: int = 1) -> None:
    for _ in range(places):
        async with limiter.place():
            pass


def test_without_limits_nobody_waits() -> None:
    asyncio.run(take(refusing("free", (), AWAY), 1000))


def test_two_limiters_of_one_name_share_their_places(redis_url: str) -> None:
    async def work() -> None:
        name = uuid.uuid4().hex
        one, two = (refusing(name, ((4, 60),), redis_url) for _ in range(2))
        for limiter in (one, two, one, two):
            await take(limiter)
        for limiter in (one, two):
            with pytest.raises(StopError) as refused:
                await take(limiter)
            assert 55 < refused.value.args[0] <= 60
        other = refusing(uuid.uuid4().hex, ((4, 60),), redis_url)
        await take(other)
        for limiter in (one, two, other):
            await limiter.aclose()

    asyncio.run(work())


def test_a_place_under_way_counts_for_the_others_too(redis_url: str) -> None:
    async def work() -> None:
        name = uuid.uuid4().hex
        one, two = (refusing(name, ((1, 0.001),), redis_url) for _ in range(2))
        async with one.place():
            for _ in range(20):
                with pytest.raises(StopError):
                    await take(two)
        await one.aclose()
        await two.aclose()

    asyncio.run(work())


def test_nothing_is_left_in_redis_for_longer_than_it_counts(redis_url: str) -> None:
    name = uuid.uuid4().hex

    async def work() -> None:
        limiter = RateLimiter(name, ((5, 1), (200, 60)), redis_url, lease_s=30)
        await take(limiter, 3)
        await limiter.aclose()

    asyncio.run(work())
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(f"reactivation:rate:{name}") <= 90_000
        assert client.zcard(f"reactivation:rate:{name}") == 3


def test_with_redis_away_the_limit_holds_within_the_process_and_nobody_waits_for_redis(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work() -> None:
        limiter = refusing("away", ((7, 60),), AWAY)
        await take(limiter, 7)
        with pytest.raises(StopError):
            await take(limiter)
        await limiter.aclose()

    began = time.perf_counter()
    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    assert time.perf_counter() - began < 30  # far less than the window, whatever else the machine does
    assert [record.message for record in caplog.records if record.name.endswith("rate_limit")] == [
        "the rate limit is not shared while Redis is away (ConnectionError)"
    ]


class Wire:
    """A way to Redis that can be cut."""

    def __init__(self, redis_url: str) -> None:
        target = Redis.from_url(redis_url).connection_pool.connection_kwargs
        self._target = target.get("host", "127.0.0.1"), target.get("port", 6379)
        self._database = target.get("db") or 0
        self._login = redis_url.split("://", 1)[1].rpartition("@")[0]  # an embedded server has a password
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.port = 0

    @property
    def url(self) -> str:
        login = f"{self._login}@" if self._login else ""
        return f"redis://{login}127.0.0.1:{self.port}/{self._database}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._target)
        self._writers += [writer, back]
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        writer.close()


@asynccontextmanager
async def wired(redis_url: str) -> AsyncIterator[Wire]:
    wire = Wire(redis_url)
    await wire.mend()
    yield wire
    await wire.cut()


def test_when_redis_comes_back_the_limit_is_shared_again(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        name, ahead = uuid.uuid4().hex, 0.0
        async with wired(redis_url) as wire:
            one = refusing(name, ((4, 60),), wire.url, clock=lambda: time.monotonic() + ahead)
            two = refusing(name, ((4, 60),), redis_url)
            await take(one)
            await wire.cut()
            await take(one)  # known to this process only
            await wire.mend()
            await take(one)  # too soon to ask again
            ahead = REDIS_REST_S + 0.1
            await take(one)  # shared
            with pytest.raises(StopError):
                await take(one)  # its own four
            await take(two, 2)
            with pytest.raises(StopError):
                await take(two)  # two and two
            await one.aclose()
            await two.aclose()

    with caplog.at_level(logging.INFO):
        asyncio.run(work())
    assert [record.message for record in caplog.records if record.name.endswith("rate_limit")] == [
        "the rate limit is not shared while Redis is away (ConnectionError)",
        "the rate limit is shared again",
    ]


def test_a_connection_that_redis_closed_meanwhile_is_no_outage(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        async with wired(redis_url) as wire:
            limiter = refusing(uuid.uuid4().hex, ((4, 60),), wire.url)
            await take(limiter)
            await wire.cut()
            await wire.mend()
            await take(limiter)
            await limiter.aclose()

    asyncio.run(work())
    assert not [record for record in caplog.records if record.name.endswith("rate_limit")]


@contextmanager
def process(work: str, name: str, redis_url: str, limits: Limits, last: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(PROCESS), work, name, redis_url, json.dumps(limits), last]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROCESS.parents[2]
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        for pipe in (started.stdin, started.stdout):
            if pipe is not None:
                pipe.close()


def said_ready(started: "subprocess.Popen[str]") -> None:
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"


@pytest.mark.slow
def test_a_process_that_dies_blocks_only_until_its_leases_end(redis_url: str) -> None:
    name, limits, lease_s = uuid.uuid4().hex, ((3, 0.2),), 3.0

    async def work() -> float:
        limiter = RateLimiter(name, limits, redis_url)
        began = time.monotonic()
        await take(limiter, 3)
        await limiter.aclose()
        return time.monotonic() - began

    with process("hold", name, redis_url, limits, str(lease_s)) as holder:
        said_ready(holder)
        holder.kill()
        holder.wait()
        assert 0.5 < asyncio.run(work()) < lease_s + 20  # the lease, and what a busy machine adds


@pytest.mark.slow
def test_four_processes_together_keep_within_what_the_server_counts(redis_url: str) -> None:
    """Twelve seconds of calls by the clock of the server; the minute's limit is shown with a shorter one of the same shape."""
    limits: Limits = ((5, 1), (20, 6))
    enough, latency = threading.Event(), threading.Event()
    began: list[float] = []

    def answer(request: Request) -> Answer:
        began.append(request.at)
        if request.at - began[0] > 12:
            enough.set()
        latency.wait(0.03)
        return good([])

    with running_crm() as crm:
        crm.answer = answer
        name = uuid.uuid4().hex
        with ExitStack() as stack:
            callers = [stack.enter_context(process("call", name, redis_url, limits, crm.url)) for _ in range(4)]
            for caller in callers:
                said_ready(caller)
            assert enough.wait(60)
            for caller in callers:
                assert caller.stdin is not None
                caller.stdin.close()
            assert [caller.wait(30) for caller in callers] == [0] * 4
        arrivals = [request.at for request in crm.requests]
    assert busiest(arrivals, 1) <= 5
    assert busiest(arrivals, 6) <= 20
    assert len(arrivals) > 30
