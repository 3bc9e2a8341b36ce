"""Asks the model until an answer is accepted: once more with the complaint, and never beyond a number of requests.

What to add here: when it is asked again. What to keep out: single requests (`gemini`) and what makes an answer good (the caller's judge).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from reactivation_core.message_prompt import Prompt, estimated_tokens
from reactivation_resources.gemini.client import Gemini
from reactivation_resources.model_ledger import Prices, Rejection, Remembered

MOST_ANSWERS = 2
"""An answer that will not do is asked for once more, with the complaint."""
MOST_REQUESTS = 4
"""Requests for one question in all, whatever goes wrong."""
PASSING = frozenset({"unavailable", "rate_limited", "refused", "budget", "no_key"})
"""Reasons for no answer that may be gone at the next run: they are not remembered."""

_ASK_AGAIN = frozenset({"empty", "max_tokens"})


class Complaint(NamedTuple):
    """A broken rule, the words that break it, and both in words for the model."""

    rule: str
    found: str
    said: str


Judge = Callable[[str], tuple[str, Sequence[Complaint]]]
"""Reads a model's words: what is kept of them, and what is wrong with it (nothing: it is accepted)."""


def most_micros(prompt: Prompt, prices: Prices) -> int:
    """What a question may cost at most, about: both answers, the second question with the first answer in it."""
    return prices.micros(2 * estimated_tokens(prompt) + 600, 600)


async def ask_until_accepted(
    model: Gemini, prompt: Prompt, schema: Mapping[str, Any], judge: Judge, prices: Prices
) -> tuple[Remembered, tuple[Rejection, ...]]:
    """Ask: the accepted answer or the reason for none with what it took, and what was rejected."""
    question = prompt
    rejections: list[Rejection] = []
    accepted: str | None = None
    failure: str | None = "rejected"
    answers = requests = used_in = used_out = latency = 0
    while answers < MOST_ANSWERS and requests < MOST_REQUESTS and accepted is None:
        answer = await model.ask(question, schema, MOST_REQUESTS - requests)
        requests, latency = requests + answer.requests, latency + answer.latency_ms
        used_in, used_out = used_in + answer.input_tokens, used_out + answer.output_tokens
        if answer.text is None and answer.failure not in _ASK_AGAIN:
            failure = answer.failure
            break
        answers += 1
        if answer.text is None:
            rejections.append(Rejection("answer", str(answer.failure), ""))
            continue
        text, complaints = judge(answer.text)
        if not complaints:
            accepted, failure = text, None
        else:
            rejections += [Rejection(one.rule, one.found, text) for one in complaints]
            question = prompt.again(text, [one.said for one in complaints])
    cost = prices.micros(used_in, used_out)
    name = model.access.model
    took = Remembered(accepted, failure, name, prompt.version, answers, requests, used_in, used_out, cost, latency)
    return took, tuple(rejections)
