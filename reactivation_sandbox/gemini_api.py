"""The model's API as salons' software sees it: `generateContent` with good answers and, on demand, every kind of bad one.

What to add here: an error of the server. What to keep out: the words (`model_words.py`).
"""

import asyncio
import hashlib
import json
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox.answers import Unanswered, as_json
from reactivation_sandbox.model_words import FLAWS, answer, understand
from reactivation_sandbox.town import Town

TROUBLES = (
    "empty",
    "blocked",
    "prompt_blocked",
    "max_tokens",
    "rate_limited",
    "server_error",
    "overloaded",
    "slow",
    "cut",
    "no_json",
)
"""Ways in which there is no text: nothing, a safety block, tokens used up by thoughts, errors, a broken connection, an answer that is no JSON."""
KINDS = (*FLAWS, *TROUBLES)


@dataclass
class Temper:
    """How the model behaves.

    Attributes:
        misbehave: Share of answers that go wrong, drawn by the town's dice.
        kinds: In which ways; all of them when empty.
        latency_s: How long every answer takes.
        slow_s: How long a slow one takes.
        retry_s: The delay that a refusal for haste names.
        refuse: An HTTP status with which every question is refused; 0: none.
    """

    misbehave: float = 0.0
    kinds: list[str] = field(default_factory=list)
    latency_s: float = 0.0
    slow_s: float = 30.0
    retry_s: float = 1.0
    refuse: int = 0

    def switch(self, wanted: dict[str, Any]) -> None:
        """Set some of it. Raises ValueError for a name or a kind that does not exist."""
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(wanted) - known):
            raise ValueError(f"{unknown[0]} is none of {', '.join(sorted(known))}")
        if strange := sorted(set(wanted.get("kinds", ())) - set(KINDS)):
            raise ValueError(f"{strange[0]} is none of {', '.join(KINDS)}")
        for name, value in wanted.items():
            setattr(self, name, value)


@dataclass
class Memory:
    """What the model was asked and told. A question begun before the model forgets still counts in the old one when it is answered."""

    asked: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20_000))
    counts: Counter[str] = field(default_factory=Counter)
    times: Counter[str] = field(default_factory=Counter)
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    present: int = 0
    at_a_time: int = 0

    def told(self) -> dict[str, Any]:
        """Questions by what became of them, tokens in and out, and the most questions there were at a time."""
        return {"counts": dict(sorted(self.counts.items())), "tokens": self.tokens, "at_a_time": self.at_a_time}


class GeminiApi:
    """The model of a town: the same question has the same answer, unless it goes wrong, which is drawn anew each time.

    What it was asked is kept: tests look for what should not have been told.
    """

    def __init__(self, town: Callable[[], Town], key: str) -> None:
        self._town = town
        self._key = key
        self.temper = Temper()
        self.memory = Memory()

    def routes(self) -> list[Route]:
        """The model's one call, and the control of it."""
        return [
            Route("/v1beta/models/{call}", self.generate, methods=["POST"]),
            Route("/v1beta/models/{model}", self.card, methods=["GET"]),
            Route("/_town/model", self.control, methods=["GET", "POST"]),
            Route("/_town/model/questions", self.questions, methods=["GET"]),
        ]

    def forget(self) -> None:
        """Begin again with an even temper."""
        self.temper = Temper()
        self.memory = Memory()

    async def control(self, request: Request) -> Response:
        """Set the temper (fields of `Temper`; `forget` first, if true) and tell what has happened: counts by kind, tokens, most at a time."""
        if request.method == "POST":
            wanted = await request.json()
            if wanted.pop("forget", False):
                self.forget()
            try:
                self.temper.switch(wanted)
            except ValueError as error:
                return as_json({"error": str(error)}, 400)
        return as_json(self.memory.told())

    async def questions(self, _: Request) -> Response:
        """Everything that was asked, as it came."""
        return as_json(list(self.memory.asked))

    async def card(self, request: Request) -> Response:
        """What there is to know of a model."""
        model = request.path_params["model"]
        if request.headers.get("x-goog-api-key") != self._key:
            return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        if not model.startswith("gemini-"):
            return _error(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta")
        limits = {"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536}
        return as_json(
            {"name": f"models/{model}", "displayName": "Sandbox", "supportedActions": ["generateContent"], **limits}
        )

    async def generate(self, request: Request) -> Response:
        """Answer a question, well or badly."""
        model, _, verb = request.path_params["call"].partition(":")
        if verb != "generateContent" or not model.startswith("gemini-"):
            return _error(404, "NOT_FOUND", f"models/{model} is not found for API version v1beta")
        if request.headers.get("x-goog-api-key") != self._key:
            return _error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.")
        try:
            body = json.loads(await request.body())
            question = understand(
                _words(body.get("systemInstruction") or {}), _words(body["contents"][0]), _wants_days(body)
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            return _error(400, "INVALID_ARGUMENT", f"Invalid JSON payload received: {error}")
        memory, temper = self.memory, self.temper
        memory.asked.append(body)
        content = hashlib.sha256(
            json.dumps([body.get("systemInstruction"), body["contents"]], sort_keys=True).encode()
        ).hexdigest()
        number = memory.times[content]
        memory.times[content] += 1
        dice = self._town().dice
        kind = None
        if dice.chance(temper.misbehave, "model misbehaves", content, number):
            kind = dice.pick(temper.kinds or KINDS, "how", content, number)
        memory.counts[kind or "good"] += 1
        memory.present += 1
        memory.at_a_time = max(memory.at_a_time, memory.present)
        try:
            await asyncio.sleep(temper.slow_s if kind == "slow" else temper.latency_s)
        finally:
            memory.present -= 1
        if temper.refuse:
            return _error(temper.refuse, "FAILED_PRECONDITION", "User location is not supported for the API use.")
        text = answer(question, dice, content, kind if kind in FLAWS else None)
        return _trouble(kind, body, temper, memory) or _told(body, text, "STOP", memory)


def _trouble(kind: str | None, body: dict[str, Any], temper: Temper, memory: Memory) -> Response | None:
    if kind == "rate_limited":
        delay = f"{temper.retry_s:g}s"
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
        words = f"You exceeded your current quota, please check your plan. Please retry in {delay}."
        return _error(429, "RESOURCE_EXHAUSTED", words, [info])
    if kind == "server_error":
        return _error(500, "INTERNAL", "An internal error has occurred.")
    if kind == "overloaded":
        return _error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
    if kind == "cut":
        return Unanswered()
    if kind == "no_json":
        return Response(b"<html>Bad gateway</html>", media_type="text/html")
    if kind == "prompt_blocked":
        return as_json(
            {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": _usage(body, "", memory)}
        )
    if kind in {"empty", "blocked", "max_tokens"}:
        return _told(body, None, {"empty": "STOP", "blocked": "SAFETY", "max_tokens": "MAX_TOKENS"}[str(kind)], memory)
    return None


def _told(body: dict[str, Any], text: str | None, finish: str, memory: Memory) -> Response:
    content: dict[str, Any] = {"role": "model"} | ({"parts": [{"text": text}]} if text is not None else {})
    candidate = {"content": content, "finishReason": finish, "index": 0}
    usage = _usage(body, text or "", memory, thoughts=900 if finish == "MAX_TOKENS" else 0)
    return as_json(
        {
            "candidates": [candidate],
            "usageMetadata": usage,
            "modelVersion": "sandbox",
            "responseId": str(sum(memory.counts.values())),
        }
    )


def _usage(body: dict[str, Any], text: str, memory: Memory, thoughts: int = 0) -> dict[str, int]:
    asked = sum(len(_words(turn)) for turn in [body.get("systemInstruction") or {}, *body["contents"]]) // 3
    told = len(text) // 3
    memory.tokens[0] += asked
    memory.tokens[1] += told + thoughts
    usage = {"promptTokenCount": asked, "candidatesTokenCount": told, "totalTokenCount": asked + told + thoughts}
    return usage | ({"thoughtsTokenCount": thoughts} if thoughts else {})


def _words(turn: dict[str, Any]) -> str:
    return "".join(part.get("text", "") for part in turn.get("parts") or ())


def _wants_days(body: dict[str, Any]) -> bool:
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema") or {}
    return "days" in (schema.get("properties") or {})


def _error(code: int, status: str, message: str, details: list[dict[str, Any]] | None = None) -> Response:
    return as_json({"error": {"code": code, "message": message, "status": status, "details": details or []}}, code)
