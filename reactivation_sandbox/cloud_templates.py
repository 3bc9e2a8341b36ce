"""The templates of the Cloud API's businesses: handed in, reviewed, approved, filled.

What to add here: what the messenger does with templates. What to keep out: HTTP (`cloud_api.py`).
"""

import re
from dataclasses import dataclass, field
from typing import Any

PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
AT_AN_END, TOO_BARE, TOO_LONG = 2388299, 2388293, 2388040
_WORD = re.compile(r"\w+")
_UNFIT = re.compile(r"[\n\t]| {4,}")


class Refused(ValueError):  # noqa: N818 - it names what happened
    """What the messenger refuses, with its code and, where there is one, the finer code."""

    def __init__(self, code: int, words: str, subcode: int | None = None) -> None:
        super().__init__(words)
        self.code, self.words, self.subcode = code, words, subcode


@dataclass(slots=True)
class Shelf:
    """The templates of one town by business."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def submit(self, business: str, wanted: dict[str, Any], status: str = "PENDING") -> dict[str, Any]:
        """Take a template in. Raises Refused for one that the messenger would not."""
        name, language, category = (wanted.get(key) for key in ("name", "language", "category"))
        body = next((part.get("text") for part in wanted.get("components") or () if part.get("type") == "BODY"), None)
        if not all(isinstance(one, str) and one for one in (name, language, category, body)):
            raise Refused(100, "name, language, category and a BODY component are required")
        text = str(body)
        if len(text) > 1024:
            raise Refused(100, "The body is too long", TOO_LONG)
        if PLACE.match(text) or re.search(r"\}\}\W*$", text):
            raise Refused(100, "Variables can't be at the start or end of the template", AT_AN_END)
        if len(_WORD.findall(PLACE.sub(" ", text))) < 3 * len(PLACE.findall(text)):
            raise Refused(100, "Too many variables for its length", TOO_BARE)
        if self.find(business, str(name), str(language)) is not None:
            raise Refused(100, "There is already a template with this name and language", 2388024)
        row = {
            "id": f"{len(self.rows.get(business, ())) + 1:04d}{business}",
            "name": name,
            "language": language,
            "category": category,
            "status": status,
            "components": wanted["components"],
            "parameter_format": wanted.get("parameter_format") or "POSITIONAL",
            "quality_score": {"score": "UNKNOWN"},
            "rejected_reason": "NONE",
        }
        self.rows.setdefault(business, []).append(row)
        return row

    def find(self, business: str, name: str, language: str) -> dict[str, Any] | None:
        """A template by name and language."""
        rows = self.rows.get(business, ())
        return next((row for row in rows if (row["name"], row["language"]) == (name, language)), None)

    def fill(self, business: str, call: dict[str, Any]) -> str:
        """What the client reads. Raises Refused for a template that is not there or not approved, and for values that do not fit."""
        language = (call.get("language") or {}).get("code")
        row = self.find(business, str(call.get("name")), str(language))
        if row is None:
            raise Refused(132001, "Template name does not exist in the translation")
        if row["status"] in {"PAUSED", "DISABLED"}:
            raise Refused(132015 if row["status"] == "PAUSED" else 132016, f"Template is {row['status'].lower()}")
        if row["status"] != "APPROVED":
            raise Refused(132001, "Template is not approved")
        text = next(part["text"] for part in row["components"] if part.get("type") == "BODY")
        places = PLACE.findall(text)
        parts = [one for one in call.get("components") or () if str(one.get("type")).lower() == "body"]
        values = parts[0].get("parameters", []) if parts else []
        if len(values) != len(places):
            raise Refused(132000, "Number of parameters does not match the expected number of params")
        named = row["parameter_format"] == "NAMED"
        filled = {
            str(value.get("parameter_name")) if named else str(number): value.get("text")
            for number, value in enumerate(values, start=1)
        }
        for place in places:
            if not isinstance(filled.get(place), str) or not filled[place]:
                raise Refused(132012, f"Parameter {place} is missing")
            if _UNFIT.search(filled[place]):
                raise Refused(132018, "Parameter holds new-line or tab characters, or more than 4 spaces in a row")
        return PLACE.sub(lambda match: filled[match[1]], text)
