"""What a model is asked: the prompt, built from a versioned file, and what its answer must look like.

What to add here: what the model may know. What to keep out: asking (`reactivation_resources.gemini`) and judging (`message_rules`).

The model never sees the client's name, phone, spend, visits or dates, nor the names of staff: it writes placeholders, and we fill them in
(specification: pipeline.md, daily/generated_messages). Two things of the CRM reach it, the company's and the service's title: trimmed, without
control characters, fenced as data, and not at all when they look like anything but titles.
"""

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from string import Template
from typing import Any, Final

from reactivation_core.message_facts import STAGE_LIMITS, MessageFacts
from reactivation_core.message_names import service_title, visible
from reactivation_core.message_rules import required_placeholders
from reactivation_core.messages import fact_phrases
from reactivation_core.morphology import declined

TEMPERATURE: Final = 0.7
MOST_OUTPUT_TOKENS: Final = 1_000
"""Room for a text of 250 characters and for what a model thinks before it."""

ANSWER_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"text": {"type": "string"}},
    "required": ["text"],
}

_LONGEST_TITLE: Final = 60
_LONGEST_ANSWER: Final = 2_000  # characters of a rejected text that are shown to the model again, and kept
_HEADING = re.compile(r"^== (\w+) ==$", re.MULTILINE)
_TELLING = re.compile(r"[<>{}\[\]|`\\$]|\d{5,}")


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A prompt file, read: its version ("prompt.ru/1-8f2c41d0": name, number and the content's hash, so that no change keeps its version) and its parts."""

    version: str
    parts: Mapping[str, str]

    def table(self, part: str) -> dict[str, str]:
        """A part of lines "key: value"."""
        return {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in self.parts[part].splitlines())
        }


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's words in a conversation: "user" is ours, "model" is the model's."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked of a model: standing instructions, the conversation so far, and how a bad answer is sent back."""

    version: str
    system: str
    turns: tuple[Turn, ...]
    retry: str

    def again(self, answer: str, complaints: Iterable[object]) -> "Prompt":
        """The same question with the model's answer and what is wrong with it."""
        asked = Template(self.retry).substitute(complaints="\n".join(f"- {one}" for one in complaints))
        turns = (*self.turns, Turn("model", _sendable(answer[:_LONGEST_ANSWER])), Turn("user", _sendable(asked)))
        return Prompt(self.version, self.system, turns, self.retry)


def _sendable(text: str) -> str:
    """Text without half surrogate pairs: a model's JSON can hold them, a request cannot."""
    return text.encode("utf-8", "replace").decode()


@functools.cache
def prompt_file(name: str) -> PromptFile:
    """A prompt file of `texts/` by its name: "prompt.ru", "prompt.en", "interval"."""
    source = (resources.files("reactivation_core") / "texts" / f"{name}.txt").read_text(encoding="utf-8")
    first, _, rest = source.partition("\n")
    pieces = _HEADING.split(rest)
    parts = {name: text.strip() for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    return PromptFile(f"{name}/{first.removeprefix('version:').strip()}-{digest}", parts)


def message_prompt(facts: MessageFacts, client_key: str, attempt: int = 1) -> Prompt:
    """Ask for one message.

    Args:
        facts: What the message may say; which of them are known, not their values, reaches the model.
        client_key: Any stable key of the client; its hash chooses how the text shall begin, so that neighbours differ. It is not sent.
        attempt: The number of the attempt; the next one begins in another way.
    """
    file = prompt_file(f"prompt.{facts.tongue}")
    place, visit_noun, master = file.table("businesses")[facts.business].split(" | ")
    described = file.table("placeholders")
    required = required_placeholders(facts)
    variants = file.parts["variants"].splitlines()
    digest = hashlib.sha256(client_key.encode("utf-8", "surrogatepass")).digest()
    system = Template(file.parts["system"]).substitute(
        place=place,
        visit_noun=visit_noun,
        master=master,
        tone=file.table("tones")[facts.manner],
        stage=file.table("stages")[facts.stage],
        limit=own_length(facts),
    )
    user = Template(file.parts["user"]).substitute(
        salon=fenced(facts.salon) or "—",
        service=fenced(service_title(facts.service_title)) or "—",
        placeholders="\n".join(f"- {described[_kind(name, facts)]}" for name in required),
        optional=described["service"] if fact_phrases(facts)["service"] else described["none"],
        variant=variants[(int.from_bytes(digest[8:12], "big") + attempt - 1) % len(variants)],
    )
    return Prompt(file.version, system, (Turn("user", user),), file.parts["retry"])


def _kind(name: str, facts: MessageFacts) -> str:
    """A name without known cases is asked for in the nominative only."""
    fixed = name == "staff" and declined(fact_phrases(facts)["staff"], "gent") is None
    return "staff_fixed" if fixed else name


def own_length(facts: MessageFacts) -> int:
    """How many characters are left to a text's own words, with one slot offered; in tens, so that it tells nothing of the facts."""
    phrases = fact_phrases(facts)
    one_slot = phrases["slots"].split(";")[0].split(" или ")[0].split(" or ")[0]
    said = sum(len(phrases[name]) for name in ("name", "days_phrase", "discount", "staff")) + len(one_slot)
    return max((STAGE_LIMITS[facts.stage] - said) // 10 * 10, 40)


def fenced(raw: str) -> str:
    """Text of the CRM as data: one line, no control characters, nothing that could close the fence or stand for a placeholder, 60 characters."""
    plain = _TELLING.sub(" ", "".join(visible(raw[:300])))
    return " ".join(plain.split())[:_LONGEST_TITLE].strip()


def read_answer(raw: str) -> str | None:
    """The text in a model's answer; None when it is not the JSON that was asked for."""
    try:
        answer = json.loads(raw)
    except ValueError:
        return None
    text = answer.get("text") if isinstance(answer, dict) and set(answer) == {"text"} else None
    return text.strip() if isinstance(text, str) and text.strip() else None


def content_hash(prompt: Prompt, *, model: str, client_key: str, day: str) -> str:
    """The key under which a text is remembered: the same question for the same client on the same day has the same answer."""
    content = [model, TEMPERATURE, prompt.version, prompt.system, [[turn.role, turn.text] for turn in prompt.turns]]
    return hashlib.sha256(
        json.dumps([content, client_key, day], ensure_ascii=False).encode("utf-8", "replace")
    ).hexdigest()


def estimated_tokens(prompt: Prompt) -> int:
    """About how many tokens a question and its answer take, rather too many: two characters of Russian a token, and the longest answer expected."""
    asked = len(prompt.system) + sum(len(turn.text) for turn in prompt.turns)
    return asked // 2 + 300
