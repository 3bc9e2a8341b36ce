"""The door to the model: answers, refusals, delays that it names, a model that is gone, limits that all processes share."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
import redis as redis_library

from reactivation_core.message_facts import MessageFacts
from reactivation_core.message_prompt import ANSWER_SCHEMA, message_prompt
from reactivation_resources.gemini.breaker import FAILURES, REST_S, Breaker
from reactivation_resources.gemini.client import Gemini, GeminiAccess, ModelAnswer
from reactivation_resources.gemini.quota import _KEY, WINDOW_S, ModelQuota
from reactivation_sandbox.process import Town
from tests.resources.model_world import access_to

AWAY = "redis://127.0.0.1:1/0"
PROMPT = message_prompt(MessageFacts("Анна", "Стрижка", None, 60, salon="Салон"), "1:1")


@pytest.fixture
def town(model_town: Town) -> Town:
    return model_town


class Time:
    """A clock that a wait moves on at once; what was waited for is kept."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await anyio.lowlevel.checkpoint()


def ask(access: GeminiAccess, times: int = 1, most: int = 4, time: Time | None = None) -> list[ModelAnswer]:
    """Ask one after the other; without a clock of its own the door waits as it does in life."""
    asked: list[ModelAnswer] = []
    clockwork: dict[str, Any] = {"sleep": time.sleep, "clock": time} if time is not None else {}

    async def go() -> None:
        async with Gemini(access, **clockwork) as model:
            asked.extend([await model.ask(PROMPT, ANSWER_SCHEMA, most) for _ in range(times)])

    anyio.run(go)
    return asked


def test_an_answer_has_its_words_its_tokens_and_its_time(town: Town) -> None:
    (answer,) = ask(access_to(town))
    assert answer.failure is None
    assert '{"text": "' in str(answer.text)
    assert answer.requests == 1
    assert [answer.input_tokens, answer.output_tokens] == town.model()["tokens"]
    assert answer.input_tokens > 100
    assert answer.latency_ms > 0


def test_the_question_is_asked_as_the_protocol_wants_it(town: Town) -> None:
    ask(access_to(town))
    (body,) = town.questions()
    assert body["contents"][0] == {"role": "user", "parts": [{"text": PROMPT.turns[0].text}]}
    assert body["systemInstruction"]["parts"][0]["text"] == PROMPT.system
    config = body["generationConfig"]
    assert (config["temperature"], config["maxOutputTokens"], config["responseMimeType"]) == (
        0.7,
        1000,
        "application/json",
    )
    assert config["responseJsonSchema"] == ANSWER_SCHEMA
    assert town.calls()["log"][-1]["path"].endswith("/v1beta/models/gemini-3.5-flash-lite:generateContent")


@pytest.mark.parametrize(
    ("kind", "failure", "requests"),
    [
        ("empty", "empty", 1),
        ("blocked", "blocked", 1),
        ("prompt_blocked", "blocked", 1),
        ("max_tokens", "max_tokens", 1),
        ("server_error", "unavailable", 3),
        ("overloaded", "unavailable", 3),
        ("cut", "unavailable", 3),
        ("no_json", "unavailable", 3),
        ("rate_limited", "rate_limited", 3),
    ],
)
def test_a_model_without_words_says_why(town: Town, kind: str, failure: str, requests: int) -> None:
    town.model(misbehave=1, kinds=[kind])
    (answer,) = ask(access_to(town), most=3, time=Time())
    assert (answer.text, answer.failure, answer.requests) == (None, failure, requests)
    assert town.model()["counts"] == {kind: requests}


def test_thoughts_that_use_up_the_tokens_are_paid_for(town: Town) -> None:
    town.model(misbehave=1, kinds=["max_tokens"])
    (answer,) = ask(access_to(town))
    assert answer.output_tokens == 900


def test_a_slow_model_is_not_waited_for(town: Town) -> None:
    town.model(misbehave=1, kinds=["slow"], slow_s=1.5)
    (answer,) = ask(access_to(town, timeout_s=0.2), most=2)
    assert (answer.failure, answer.requests) == ("unavailable", 2)
    assert 350 < answer.latency_ms < 10_000


def test_the_delay_that_the_model_names_is_kept(town: Town) -> None:
    town.model(misbehave=1, kinds=["rate_limited"], retry_s=7)
    time = Time()
    (answer,) = ask(access_to(town), most=3, time=time)
    assert answer.failure == "rate_limited"
    assert time.waits == [7, 7]


def test_a_delay_too_long_stops_all_questions_until_it_is_over(town: Town) -> None:
    town.model(misbehave=1, kinds=["rate_limited"], retry_s=3600)
    time = Time()
    first, second = ask(access_to(town), times=2, time=time)
    assert (first.failure, first.requests, second.requests) == ("rate_limited", 1, 0)
    assert time.waits == []


@pytest.mark.parametrize("wrong", [{"api_key": "another"}, {"model": "gemma-2"}])
def test_a_refusal_is_not_repeated(town: Town, wrong: dict[str, str]) -> None:
    first, second = ask(access_to(town, **wrong), times=2, time=Time())
    assert (first.failure, first.requests, second.failure, second.requests) == ("refused", 1, "unavailable", 0)


def test_a_closed_country_is_a_refusal(town: Town) -> None:
    town.model(refuse=400)
    assert ask(access_to(town))[0].failure == "refused"


def test_a_model_that_is_gone_is_left_alone_and_tried_again_later(town: Town) -> None:
    town.model(misbehave=1, kinds=["overloaded"])
    time = Time()

    async def go() -> None:
        async with Gemini(access_to(town), sleep=time.sleep, clock=time) as model:
            told = [await model.ask(PROMPT, ANSWER_SCHEMA, 2) for _ in range(6)]
            assert sum(one.requests for one in told) == FAILURES
            town.model(misbehave=0)
            assert (await model.ask(PROMPT, ANSWER_SCHEMA, 2)).requests == 0
            time.now += REST_S
            assert (await model.ask(PROMPT, ANSWER_SCHEMA, 2)).text is not None

    anyio.run(go)


def test_a_model_out_of_reach_is_a_failure_and_nothing_worse(town: Town) -> None:
    (answer,) = ask(access_to(town, base_url="http://127.0.0.1:1"), most=2, time=Time())
    assert (answer.failure, answer.requests) == ("unavailable", 2)
    (answer,) = ask(access_to(town, proxy="socks5://127.0.0.1:1"), most=1)
    assert answer.failure == "unavailable"


def through(proxy: Callable[[anyio.abc.ByteStream], Awaitable[None]], town: Town, scheme: str) -> ModelAnswer:
    """Ask once by way of a proxy of our own."""

    async def go() -> ModelAnswer:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, proxy)
            async with Gemini(access_to(town, proxy=f"{scheme}://127.0.0.1:{port}")) as model:
                answer = await model.ask(PROMPT, ANSWER_SCHEMA, 1)
            group.cancel_scope.cancel()
        return answer

    return anyio.run(go)


def test_questions_go_through_the_proxy(town: Town) -> None:
    seen: list[bytes] = []

    async def proxy(client: anyio.abc.ByteStream) -> None:
        async with client:
            seen.append(await client.receive())
            await client.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")

    assert through(proxy, town, "http").failure == "unavailable"
    assert seen[0].startswith(b"POST http://127.0.0.1")


def test_questions_go_through_a_socks_proxy(town: Town) -> None:
    asked_for: list[bytes] = []

    async def relay(source: anyio.abc.ByteStream, target: anyio.abc.ByteStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                await target.send(await source.receive())

    async def proxy(client: anyio.abc.ByteStream) -> None:
        async with client:
            await client.receive()  # version and methods
            await client.send(b"\x05\x00")
            request = await client.receive()
            asked_for.append(request[:4])
            await client.send(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
            host, port = town.gemini_url.removeprefix("http://").split(":")
            async with await anyio.connect_tcp(host, int(port)) as upstream, anyio.create_task_group() as both:
                both.start_soon(relay, upstream, client)
                await relay(client, upstream)
                both.cancel_scope.cancel()

    assert through(proxy, town, "socks5").text is not None
    assert asked_for == [b"\x05\x01\x00\x01"]


def test_no_more_questions_at_a_time_than_allowed(town: Town) -> None:
    town.model(latency_s=0.05)

    async def go() -> None:
        async with Gemini(access_to(town, concurrency=4)) as model, anyio.create_task_group() as group:
            for _ in range(24):
                group.start_soon(model.ask, PROMPT, ANSWER_SCHEMA, 1)

    anyio.run(go)
    told = town.model()
    assert (told["counts"], told["at_a_time"]) == ({"good": 24}, 4)


def test_the_key_is_in_no_address_and_no_error(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    ask(access_to(town, api_key="secret-key-of-ours"))
    assert "secret-key-of-ours" not in caplog.text
    assert all("secret-key" not in str(call) for call in town.calls()["log"])


# ---------------------------------------------------------------- the breaker


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    time = Time()
    breaker = Breaker(time)
    for _ in range(FAILURES - 1):
        breaker.failed()
    breaker.succeeded()
    for _ in range(FAILURES - 1):
        breaker.failed()
    assert not breaker.is_open()
    breaker.failed()
    assert breaker.is_open()
    time.now += REST_S
    assert not breaker.is_open()
    breaker.failed()  # the try failed: closed again at once
    assert breaker.is_open()


# ---------------------------------------------------------------- the quota


@pytest.fixture
def own_redis(redis_url: str) -> Iterator[str]:
    """Redis without buckets of an earlier test."""
    client = redis_library.Redis.from_url(redis_url)
    client.delete(_KEY)
    yield redis_url
    client.delete(_KEY)
    client.close()


def taking(quota: Callable[[Time], ModelQuota], tokens: list[int]) -> list[float]:
    """When each of the requests was let go, in seconds from the first."""
    time = Time()
    at: list[float] = []

    async def go() -> None:
        limit = quota(time)
        for one in tokens:
            await limit.take(one)
            at.append(time.now - 1_000.0)
        await limit.aclose()

    anyio.run(go)
    return at


def most_in_a_minute(at: list[float], weights: list[int]) -> int:
    return max(sum(w for t, w in zip(at, weights, strict=True) if start <= t < start + WINDOW_S) for start in at)


@pytest.mark.parametrize(("requests", "tokens"), [(5, 0), (0, 1_000), (4, 900), (100, 350)])
def test_alone_a_process_keeps_within_the_minute(requests: int, tokens: int) -> None:
    weights = [100, 250, 300, 50, 100, 100, 200, 300, 100, 50, 10, 340]
    at = taking(lambda time: ModelQuota(requests, tokens, None, sleep=time.sleep, clock=time), weights)
    assert most_in_a_minute(at, [1] * len(at)) <= (requests or 99)
    assert most_in_a_minute(at, weights) <= (tokens or 10_000)
    assert at[-1] > 0


def test_without_limits_nobody_waits() -> None:
    assert taking(lambda time: ModelQuota(0, 0, None, sleep=time.sleep, clock=time), [10**9] * 3) == [0, 0, 0]


def test_a_question_larger_than_the_limit_goes_alone() -> None:
    at = taking(lambda time: ModelQuota(0, 100, None, sleep=time.sleep, clock=time), [500, 500])
    assert at[0] == 0
    assert at[1] >= WINDOW_S


def test_what_was_taken_is_shared_and_what_was_not_used_is_given_back(own_redis: str) -> None:
    waits: list[float] = []

    class EnoughError(Exception):
        pass

    async def no_sleep(seconds: float) -> None:
        waits.append(seconds)
        raise EnoughError

    async def go() -> None:
        one, other = (ModelQuota(10, 1_000, own_redis, sleep=no_sleep) for _ in range(2))
        taken = await one.take(900)
        with pytest.raises(EnoughError):
            await other.take(200)
        await one.correct(taken, 700)
        await other.take(200)
        await other.take(500)
        with pytest.raises(EnoughError):
            await one.take(200)
        await one.aclose()
        await other.aclose()

    anyio.run(go)
    assert all(0 < wait <= WINDOW_S + 1 for wait in waits)
    assert len(waits) == 2


def test_while_redis_is_away_each_process_keeps_the_limit_itself(caplog: pytest.LogCaptureFixture) -> None:
    at = taking(lambda time: ModelQuota(3, 0, AWAY, sleep=time.sleep, clock=time), [1] * 7)
    assert most_in_a_minute(at, [1] * 7) <= 3
    assert caplog.text.count("not shared") == 1
