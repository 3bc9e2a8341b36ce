"""The limit holds over every window, in every process, with Redis or without."""

import multiprocessing
import time
import uuid

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_resources import rate_limit
from reactivation_resources.rate_limit import Limits, RateLimiter

AWAY = "redis://127.0.0.1:1/0"


def busiest(times: list[float], seconds: float) -> int:
    """The most calls that fall into any window of this length."""
    return max(sum(1 for other in times if start <= other < start + seconds) for start in times)


class Hands:
    """A clock moved by whoever sleeps on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(rate_limit.time, "monotonic", lambda: self.now)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


LIMITS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from([0.25, 1.0, 4.0, 60.0])),
    min_size=1,
    max_size=3,
    unique_by=lambda x: x[1],
).map(tuple)


@settings(max_examples=80, deadline=None)
@given(LIMITS, st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.9, 5.0]), min_size=1, max_size=40))
def test_no_window_ever_holds_more_calls_than_allowed(limits: Limits, idle: list[float]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        hands = Hands(patch)
        limiter, times = RateLimiter("alone", limits, sleep=hands.sleep), []
        for pause in idle:
            hands.now += pause
            limiter.acquire()
            times.append(hands.now)
    for calls, seconds in limits:
        assert busiest(times, seconds - 1e-6) <= calls


def test_a_place_is_given_as_soon_as_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    hands = Hands(monkeypatch)
    limiter = RateLimiter("alone", ((2, 1), (3, 10)), sleep=hands.sleep)
    times = []
    for _ in range(5):
        limiter.acquire()
        times.append(hands.now - 1_000)
    assert times == pytest.approx([0, 0, 1, 10, 10])


def test_without_limits_nobody_waits() -> None:
    def never(_: float) -> None:
        raise AssertionError("slept")

    limiter = RateLimiter("free", (), AWAY, sleep=never)
    for _ in range(1000):
        limiter.acquire()


def test_two_limiters_of_one_name_share_their_places(redis_url: str) -> None:
    name, waits = uuid.uuid4().hex, []

    class StopError(Exception):
        pass

    def stop(seconds: float) -> None:
        waits.append(seconds)
        raise StopError

    one, two = (RateLimiter(name, ((4, 60),), redis_url, sleep=stop) for _ in range(2))
    for limiter in (one, two, one, two):
        limiter.acquire()
    for limiter in (one, two):
        with pytest.raises(StopError):
            limiter.acquire()
    assert all(55 < seconds <= 60 for seconds in waits)
    RateLimiter(uuid.uuid4().hex, ((4, 60),), redis_url, sleep=stop).acquire()  # another name is another limit


def _call(name: str, url: str, times: "multiprocessing.Queue[float]") -> None:
    limiter = RateLimiter(name, ((3, 0.2), (1000, 60)), url)  # the long window keeps the log
    for _ in range(6):
        limiter.acquire()
        times.put(time.monotonic())


def test_processes_share_one_exact_limit(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    times: multiprocessing.Queue[float] = context.Queue()
    name = uuid.uuid4().hex
    callers = [context.Process(target=_call, args=(name, redis_url, times)) for _ in range(2)]
    for caller in callers:
        caller.start()
    found = sorted(times.get(timeout=60) for _ in range(12))
    for caller in callers:
        caller.join()
    with redis.Redis.from_url(redis_url) as client:
        taken = sorted(score for _, score in client.zrange(f"reactivation:rate:{name}", 0, -1, withscores=True))
    assert found[-1] - found[0] > 0.5  # twelve calls, three in a fifth of a second
    assert len(taken) == 12
    assert busiest(taken, 200_000) <= 3


def test_nothing_is_left_in_redis_for_longer_than_the_longest_window(redis_url: str) -> None:
    name = uuid.uuid4().hex
    RateLimiter(name, ((5, 1), (200, 60)), redis_url).acquire()
    with redis.Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(f"reactivation:rate:{name}") <= 60_000


def test_with_redis_away_the_limit_holds_within_the_process_and_nobody_waits_for_redis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = time.perf_counter()
    hands = Hands(monkeypatch)
    limiter = RateLimiter("away", ((2, 1),), AWAY, sleep=hands.sleep)
    for _ in range(10):
        limiter.acquire()
    assert hands.now == pytest.approx(1_004)
    assert time.perf_counter() - started < 2


def test_calls_made_before_redis_went_away_still_count(redis_url: str) -> None:
    class StopError(Exception):
        pass

    def stop(_: float) -> None:
        raise StopError

    limiter = RateLimiter(uuid.uuid4().hex, ((3, 60),), redis_url, sleep=stop)
    for _ in range(3):
        limiter.acquire()

    def gone() -> int:
        raise redis.ConnectionError

    limiter._shared = gone
    with pytest.raises(StopError):
        limiter.acquire()
