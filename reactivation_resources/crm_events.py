"""Reads the body of a webhook of the CRM: events, callbacks of the marketplace, and what is neither.

What to add here: forms in which the CRM posts. What to keep out: what an event does (crm_hints.py). What cannot be read is kept for people to
look at, so names, phones, addresses and tokens are taken out of it first.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from reactivation_resources.log_masking import mask_text
from reactivation_resources.yclients.json_text import read_json, storable
from reactivation_resources.yclients.models import Event, Lifecycle

LONGEST_BODY = 2000
MOST_EVENTS = 5000
"""Of one body; the CRM posts one at a time, some gateways a handful."""

_PRIVATE = r"name|patronymic|phone|mail|token|birth|comment"
_PRIVATE_KEY = re.compile(_PRIVATE, re.IGNORECASE)
_PRIVATE_TEXT = re.compile(
    rf"""((?:{_PRIVATE})[\w\]\[]*["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"?|[^,&}}\s]+)""", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What is no event: why not, and its beginning without what is private."""

    reason: str
    body: str


def read_events(raw: bytes) -> Iterator[Event | Lifecycle | Unreadable]:
    """What a body says: one object, or a list of them. Every part of it comes out as one or the other."""
    try:
        found = read_json(raw)
    except (ValueError, RecursionError):
        yield Unreadable(
            "not JSON", _shortened(_PRIVATE_TEXT.sub(r"\1…", raw[: 4 * LONGEST_BODY].decode("utf-8", "replace")))
        )
        return
    parts = found if isinstance(found, list) else [found]
    yield from map(_read, parts[:MOST_EVENTS])
    if len(parts) > MOST_EVENTS:
        yield Unreadable(f"one body held {len(parts)} events: those after the first {MOST_EVENTS} were left out", "")


def _read(part: Any) -> Event | Lifecycle | Unreadable:
    if not isinstance(part, dict):
        return Unreadable("not an object", _shortened(_as_text(part)))
    try:
        return Lifecycle.model_validate(part) if "salon_id" in part else Event.model_validate(part)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(name) for name in first["loc"])
        return Unreadable(f"{field}: {first['msg']}", _shortened(_as_text(_blanked(part))))


def _blanked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "…" if _PRIVATE_KEY.search(name) else _blanked(item) for name, item in value.items()}
    return [_blanked(item) for item in value] if isinstance(value, list) else value


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shortened(text: str) -> str:
    return mask_text(str(storable(text[: 2 * LONGEST_BODY])))[:LONGEST_BODY]
