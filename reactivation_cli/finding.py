"""What a check-up finds."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `words`: what was found, without secrets and phones; `advice`: what to do, empty when all is well."""

    name: str
    status: Status
    words: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return asdict(self)


def ok(name: str, words: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", words)


def warning(name: str, words: str, advice: str) -> Finding:
    """It works, but not as it could."""
    return Finding(name, "warning", words, advice)


def failure(name: str, words: str, advice: str) -> Finding:
    """Something cannot work like this."""
    return Finding(name, "failure", words, advice)
