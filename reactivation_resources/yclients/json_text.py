"""JSON as it arrives, made fit to be stored: no NUL, no half of a character, no number without an end."""

import json
import math
import re
from typing import Any

from pydantic_core import from_json

_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")  # escapes of NUL and of half a character, which no table takes


def read_json(content: bytes) -> Any:
    """The value; its texts can be stored. Raises ValueError for what is not JSON."""
    if _UNSTORABLE.search(content):  # a whole emoji is written as two halves, so this is no rarity: look at it closely
        return storable(json.loads(content))
    return from_json(content)


def storable(value: Any) -> Any:
    """The value with texts and numbers that a table takes."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list):
        return [storable(item) for item in value]
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    return value
