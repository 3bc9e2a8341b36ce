"""JSON as it arrives, made fit to be stored: no NUL, no half of a character, no number without an end."""

import json
import math
from typing import Any

from pydantic_core import from_json


def read_json(content: bytes) -> Any:
    """The value; its texts can be stored. Raises ValueError for what is not JSON."""
    try:
        value = from_json(content)
    except ValueError:  # the fast reader takes no half of a character
        return storable(json.loads(content))
    return storable(value) if b"\\u0000" in content else value


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
