"""Asking a model how often people come for a service, and reading its answer.

What to add here: what such an answer must hold. What to keep out: when it is asked (`reactivation_resources.rule_intervals`) and which interval
counts in the end (`intervals`).
"""

import json
from collections.abc import Mapping
from string import Template
from typing import Any, Final, NamedTuple

from reactivation_core.message_facts import BUSINESSES
from reactivation_core.message_names import service_title
from reactivation_core.message_prompt import Prompt, Turn, fenced, prompt_file

FEWEST_DAYS, MOST_DAYS = 1, 730
_LONGEST_REASON = 300

INTERVAL_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "days": {"type": "integer", "minimum": FEWEST_DAYS, "maximum": MOST_DAYS},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "reasoning": {"type": "string"},
    },
    "required": ["days", "confidence", "reasoning"],
}


class SuggestedInterval(NamedTuple):
    """Days between visits, how sure the model is (0 to 1), and why, in a sentence."""

    days: int
    confidence: float
    reasoning: str


def interval_prompt(title: str, business_type: str) -> Prompt | None:
    """Ask about a service by its title; None for a title that is not one (`message_names.service_title`)."""
    service = fenced(service_title(title))
    if not service:
        return None
    file = prompt_file("interval")
    place = file.table("businesses")[business_type if business_type in BUSINESSES else "other"]
    system = Template(file.parts["system"]).substitute(place=place)
    user = Template(file.parts["user"]).substitute(service=service)
    return Prompt(file.version, system, (Turn("user", user),), file.parts["retry"])


def read_interval(raw: str) -> SuggestedInterval:
    """The suggestion in a model's answer.

    Raises:
        ValueError: If it is not the JSON that was asked for, or a value is out of its range; the message says which.
    """
    answer = json.loads(raw)
    told: dict[str, Any] = answer if isinstance(answer, dict) else {}
    days: Any = told.get("days")
    confidence: Any = told.get("confidence")
    reasoning: Any = told.get("reasoning")
    whole = isinstance(days, int) and not isinstance(days, bool)
    share = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if not whole or not FEWEST_DAYS <= days <= MOST_DAYS:
        raise ValueError(f"days must be a whole number from {FEWEST_DAYS} to {MOST_DAYS}")
    if not share or not 0 <= confidence <= 1:
        raise ValueError("confidence must be a number from 0 to 1")
    sentence = isinstance(reasoning, str) and bool(reasoning.strip())
    if not sentence:
        raise ValueError("reasoning must be a sentence")
    return SuggestedInterval(days, float(confidence), " ".join(str(reasoning).split())[:_LONGEST_REASON])
