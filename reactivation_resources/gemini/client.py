"""Asks Gemini for structured answers by `google-genai`: one question, at most so many requests, an answer or the reason for none.

What to add here: how the model is asked and what its refusals mean. What to keep out: prompts (`reactivation_core.message_prompt`), judging
answers, and money (`reactivation_resources.model_ledger`).

Facts of the protocol: specification, protocols/ai-admin.md section 5. The library does not honour the delay that a 429 names, so retries are ours.
"""

import json
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import httpx

from reactivation_core.message_prompt import MOST_OUTPUT_TOKENS, TEMPERATURE, Prompt, estimated_tokens
from reactivation_resources.gemini.breaker import Breaker
from reactivation_resources.gemini.quota import ModelQuota

log = logging.getLogger(__name__)

Failure = Literal["unavailable", "rate_limited", "refused", "blocked", "empty", "max_tokens"]

TIMEOUT_S = 10.0
LONGEST_DELAY_S = 30.0
"""A server that asks for a longer pause than this is not waited for: the message is written from a template."""
_REFUSED_REST_S = 600.0  # a wrong key, an unknown model or a closed country will be so for the next question too
_BACKOFF_S, _BACKOFF_MOST_S = 0.5, 4.0
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_API_VERSION = "v1beta"  # the one whose structured output and instructions are documented for every model
_MAX_ANSWER_BYTES = 1_000_000
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)s$")
_IN_WORDS = re.compile(r"retry in (\d+(?:\.\d+)?)s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came of a question.

    Attributes:
        text: The model's words; None when there are none.
        failure: Why there are none.
        requests: How many requests it took.
        input_tokens, output_tokens: As the model counted them over all requests, thoughts included.
        latency_ms: From the first request to the answer, waiting for the quota not counted.
    """

    text: str | None
    failure: Failure | None
    requests: int
    input_tokens: int = 0
    output_tokens: int = 0
    latency_ms: int = 0


@dataclass(frozen=True, slots=True)
class GeminiAccess:
    """Where and how Gemini is asked."""

    api_key: str
    model: str
    base_url: str
    proxy: str | None = None
    timeout_s: float = TIMEOUT_S
    concurrency: int = 32
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


class Gemini:
    """A model to be asked, on one event loop: `async with Gemini(access, redis_url) as model`."""

    def __init__(
        self,
        access: GeminiAccess,
        redis_url: str | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.access = access
        self._sleep, self._clock = sleep, clock
        self._dice = random.Random()  # noqa: S311 - spreads retries
        self._quota = ModelQuota(
            access.requests_per_minute, access.tokens_per_minute, redis_url, sleep=sleep, clock=clock
        )
        self._breaker = Breaker(clock)
        self._places = anyio.Semaphore(access.concurrency)
        self._pause_until = 0.0
        self._http = httpx.AsyncClient(
            proxy=access.proxy,
            trust_env=False,
            timeout=access.timeout_s,
            limits=httpx.Limits(max_connections=access.concurrency, max_keepalive_connections=access.concurrency),
        )
        self._client = _library_client(access, self._http)

    async def __aenter__(self) -> Self:
        """Nothing is asked yet."""
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        """Close the connections."""
        with anyio.CancelScope(shield=True):
            await self._http.aclose()
            await self._quota.aclose()

    async def ask(self, prompt: Prompt, schema: Mapping[str, Any], most_requests: int) -> ModelAnswer:
        """Ask once, with retries when the model is busy or out of reach: at most `most_requests` requests in all."""
        asked, used_in, used_out = 0, 0, 0
        began: float | None = None
        failure: Failure = "unavailable"
        text: str | None = None
        async with self._places:
            while asked < most_requests and text is None:
                await self._wait_for_pause()
                estimate = estimated_tokens(prompt)
                taken = await self._quota.take(estimate) if not self._breaker.is_open() else 0
                if self._breaker.is_open():  # perhaps only since we waited
                    break
                began = began if began is not None else self._clock()
                asked += 1
                try:
                    with anyio.fail_after(self.access.timeout_s):
                        response = await self._generate(prompt, schema)
                except Exception as error:
                    failure, delay = self._failed(error, asked)
                    if delay is None:
                        break
                    if asked < most_requests:
                        await self._sleep(delay)
                    continue
                self._breaker.succeeded()
                asked_tokens, answered_tokens = _usage(response)
                used_in, used_out = used_in + asked_tokens, used_out + answered_tokens
                await self._quota.correct(taken, estimate - asked_tokens - answered_tokens)
                text, failed = _text(response)
                if failed is not None:
                    failure = failed
                    break
        latency = round((self._clock() - began) * 1000) if began is not None else 0
        return ModelAnswer(text, None if text is not None else failure, asked, used_in, used_out, latency)

    async def check(self) -> str | None:
        """What stands in the way of asking, in words; None when the model is there. Nothing is written and nothing paid."""
        from google.genai.errors import APIError

        try:
            with anyio.fail_after(self.access.timeout_s):
                await self._client.models.get(model=self.access.model)
        except APIError as error:
            return f"HTTP {error.code} {error.status or ''}: {error.message or ''}".strip()[:300]
        except (TimeoutError, httpx.HTTPError, OSError, ValueError) as error:
            return f"does not answer ({type(error).__name__})"
        return None

    async def _generate(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        from google.genai import types

        return await self._client.models.generate_content(
            model=self.access.model,
            contents=[types.Content(role=turn.role, parts=[types.Part(text=turn.text)]) for turn in prompt.turns],
            config=types.GenerateContentConfig(
                system_instruction=prompt.system,
                temperature=TEMPERATURE,
                max_output_tokens=MOST_OUTPUT_TOKENS,
                response_mime_type="application/json",
                response_json_schema=dict(schema),
            ),
        )

    def _failed(self, error: Exception, asked: int) -> tuple[Failure, float | None]:
        """What a failed request means, and how long to wait before the next; None: there is no next."""
        from google.genai.errors import APIError

        if not isinstance(error, APIError):
            if not isinstance(error, (TimeoutError, httpx.HTTPError, OSError, ValueError)):
                raise error
            self._breaker.failed()  # no answer, or one that is no answer
            return "unavailable", self._backoff(asked)
        if error.code not in _RETRIED:
            if not self._breaker.is_open():
                log.error(
                    "the model refuses: HTTP %s %s; texts come from templates for a while", error.code, error.status
                )
            self._breaker.rest(_REFUSED_REST_S)
            return "refused", None
        if error.code != 429:
            self._breaker.failed()
            return "unavailable", self._backoff(asked)
        delay = _server_delay(error)
        if delay is not None and delay > LONGEST_DELAY_S:
            self._breaker.rest(delay)
            return "rate_limited", None
        wait = delay if delay is not None else self._backoff(asked)
        self._pause_until = max(
            self._pause_until, self._clock() + wait
        )  # all questions share the key that was told to wait
        return "rate_limited", wait

    def _backoff(self, asked: int) -> float:
        return float(min(_BACKOFF_S * 2 ** (asked - 1), _BACKOFF_MOST_S) * (0.75 + 0.5 * self._dice.random()))

    async def _wait_for_pause(self) -> None:
        while (left := self._pause_until - self._clock()) > 0:
            await self._sleep(left)


def _library_client(access: GeminiAccess, http: httpx.AsyncClient) -> Any:
    from google import genai
    from google.genai import types

    options = types.HttpOptions(
        api_version=_API_VERSION,
        base_url=access.base_url,
        httpx_async_client=http,
        timeout=round(access.timeout_s * 1000),
    )
    return genai.Client(api_key=access.api_key, vertexai=False, http_options=options).aio


def _text(response: Any) -> tuple[str | None, Failure | None]:
    """The words of the first candidate without its thoughts, or why there are none."""
    candidate = next(iter(response.candidates or ()), None)
    if candidate is None:
        return None, "blocked" if getattr(response.prompt_feedback, "block_reason", None) else "empty"
    parts = (candidate.content.parts if candidate.content else None) or ()
    text = "".join(part.text for part in parts if part.text and not part.thought)
    if text:
        return text[:_MAX_ANSWER_BYTES], None
    reason = getattr(candidate.finish_reason, "name", "") or ""
    if reason == "MAX_TOKENS":
        return None, "max_tokens"
    return None, "empty" if reason in {"", "STOP", "FINISH_REASON_UNSPECIFIED"} else "blocked"


def _usage(response: Any) -> tuple[int, int]:
    """Tokens of the question and of the answer with its thoughts."""
    usage = response.usage_metadata
    if usage is None:
        return 0, 0
    answered = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return usage.prompt_token_count or 0, answered


def _server_delay(error: Any) -> float | None:
    """The seconds a 429 asks to wait: in its details, its headers or its words."""
    body = error.details if isinstance(error.details, dict) else {}
    inner = body.get("error") if isinstance(body.get("error"), dict) else body
    for detail in inner.get("details") or () if isinstance(inner, dict) else ():
        if isinstance(detail, dict) and (match := _DURATION.match(str(detail.get("retryDelay", "")))):
            return float(match[1])
    after = (
        error.response.headers.get("Retry-After", "") if getattr(error.response, "headers", None) is not None else ""
    )
    if after.isdigit():
        return float(after)
    match = _IN_WORDS.search(json.dumps(body, default=str))
    return float(match[1]) if match else None
