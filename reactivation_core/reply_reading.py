"""A reply split by the scope of its negations.

Here: the kinds of tokens that the rules speak of, and which of them a reply wants, refuses, agrees to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reactivation_core.reply_phrases import Token

WHEN = frozenset(
    {
        "time",
        "hour",
        "number",
        "ordinal",
        "date",
        "weekday",
        "near_day",
        "part",
        "bound_time",
        "bound_number",
        "next_week",
    }
)
SHARP = frozenset({"time", "hour", "number", "ordinal", "date", "weekday", "near_day", "staff"})
SUBJECTS = WHEN | {"staff", "service", "other_staff"}
_COURTESY = frozenset({"filler", "greeting", "thanks", "stop", "turn", "ask"})


@dataclass(slots=True)
class Reading:
    """A reply split by the scope of its negations.

    `wanted` and `refused` are the tokens about time, people and services outside and inside a negation; `declines` says that a
    clause refuses without naming anything; `muddled` that yes and no stand where rules cannot tell them apart.
    """

    tokens: list[Token]
    wanted: list[Token] = field(default_factory=list)
    refused: list[Token] = field(default_factory=list)
    agrees: bool = False
    declines: bool = False
    muddled: bool = False

    @classmethod
    def of(cls, tokens: list[Token]) -> "Reading":
        """Read the clauses of a reply, in order."""
        reading = cls(tokens)
        for clause in _clauses(tokens):
            reading._take(clause)
        return reading

    def _take(self, clause: list[Token]) -> None:
        kinds = {token.kind for token in clause}
        subjects = [token for token in clause if token.kind in SUBJECTS]
        refuses = "no" in kinds or "not" in kinds
        self.muddled |= refuses and "yes" in kinds
        self.agrees |= "yes" in kinds and not refuses
        if not refuses:
            self.wanted += subjects
        elif subjects:
            self.refused += subjects
        else:
            self.muddled |= "no" not in kinds or bool(self.wanted)
            self.declines = True

    @property
    def says(self) -> set[str]:
        """The kinds that carry meaning, courtesy left out."""
        return {token.kind for token in self.tokens} - _COURTESY

    @property
    def asks(self) -> bool:
        """Whether the reply holds a question mark."""
        return any(token.kind == "ask" for token in self.tokens)

    def texts(self, kind: str) -> list[str]:
        """Return the texts of the tokens of one kind, in order."""
        return [token.text for token in self.tokens if token.kind == kind]

    def only(self, kinds: Iterable[str]) -> bool:
        """Whether nothing of another kind is said and yes and no are told apart."""
        return not self.muddled and self.says.issubset(kinds)


def _clauses(tokens: Sequence[Token]) -> list[list[Token]]:
    """Split at punctuation and at turns ("но", "лучше"); "без" opens a clause; a leading "нет" is a clause of its own."""
    clauses: list[list[Token]] = [[]]
    for token in tokens:
        if token.kind in {"stop", "ask", "turn"}:
            clauses.append([])
        elif token.text == "без":
            clauses.append([token])
        else:
            clauses[-1].append(token)
            if token.text in {"нет", "no"} and all(other.kind in {"no", "filler", "greeting"} for other in clauses[-1]):
                clauses.append([])
    return [clause for clause in clauses if clause]
