"""Understands a client's reply by rules, as far as rules can be certain.

Here: what a reply may be (`Classification`), the rules (`classify`), and the fast opt-out check that the webhook uses
(`is_clear_opt_out`). Keep out: what an intent does to campaign and client; that is `reply_effects`.

The rules read the whole text: every word must be known and fit, else the intent is `unclear` and another layer may decide. So a long
or sarcastic text, or one with a word that no rule knows, is never guessed at.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from reactivation_core.reply_dates import read_date, read_hours, read_later, read_weekday
from reactivation_core.reply_phrases import Token, scan, title_lemmas
from reactivation_core.reply_words import is_clear_opt_out, normalise

__all__ = ["Classification", "Intent", "OfferedSlot", "ResponseType", "classify", "is_clear_opt_out"]

Intent = Literal[
    "confirm", "choose_slot", "other_time", "other_staff", "other_service", "pause_until", "decline_now", "opt_out",
    "already_booked", "wrong_person", "question", "complaint", "thanks", "unclear",
]  # fmt: skip
ResponseType = Literal["positive", "negative", "neutral", "booking_created", "no_response"]
TimeOfDay = Literal["morning", "afternoon", "evening"]

RESPONSE_TYPES: dict[Intent, ResponseType] = {
    "confirm": "positive",
    "choose_slot": "positive",
    "other_time": "positive",
    "other_staff": "positive",
    "other_service": "positive",
    "pause_until": "neutral",
    "decline_now": "negative",
    "opt_out": "negative",
    "already_booked": "neutral",
    "wrong_person": "neutral",
    "question": "neutral",
    "complaint": "negative",
    "thanks": "neutral",
    "unclear": "neutral",
}
# A considered reply of more words than this says something that rules would only guess.
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class OfferedSlot:
    """A start time that the message offered, in the company's own zone.

    Attributes:
        starts_local: Aware datetime in the company's zone.
        staff_name: Who would serve, as the CRM writes it; None when the message named nobody.
        service_title: For which service, as the CRM writes it; None when unknown.

    Raises:
        ValueError: If `starts_local` is naive.
    """

    starts_local: datetime
    staff_name: str | None = None
    service_title: str | None = None

    def __post_init__(self) -> None:
        """Refuse a naive time."""
        if self.starts_local.tzinfo is None:
            raise ValueError("starts_local must be an aware datetime in the company's zone")


@dataclass(frozen=True, slots=True)
class Classification:
    """What a reply means.

    Attributes:
        intent: One of the closed list; `unclear` when no rule is certain.
        response_type: positive, negative or neutral, as the intent implies.
        layer: Which layer decided: "rule", a model's name, or "none".
        slot: The offered slot that was chosen; None for `choose_slot` when several offered slots fit the words.
        pause_until: The local day until which the client asks to be left alone.
        staff: The full name of the person asked for, None when only "somebody else".
        service: The exact title of the service asked for, None when it fits no single title.
        stop: True exactly for an opt-out.
        time_of_day: The part of the day asked for with `other_time`.
        weekday: The ISO weekday asked for with `other_time`.
    """

    intent: Intent
    response_type: ResponseType
    layer: str
    slot: OfferedSlot | None = None
    pause_until: date | None = None
    staff: str | None = None
    service: str | None = None
    stop: bool = False
    time_of_day: TimeOfDay | None = None
    weekday: int | None = None


def classify(
    text: str,
    *,
    offered: Sequence[OfferedSlot] = (),
    today: date,
    staff_names: Sequence[str] = (),
    service_titles: Sequence[str] = (),
) -> Classification:
    """Classify a reply by rules alone.

    Args:
        text: The reply as received; emoji and stickers as text; a button's title counts as text.
        offered: The slots that the message offered, in the order in which it named them.
        today: The local day on which the reply came; "через неделю" and "до 15" count from it.
        staff_names: The company's active staff.
        service_titles: The company's active services.

    Never raises on any text; the work is bounded whatever its length.
    """
    if is_clear_opt_out(text):
        return _decided("opt_out")
    normalised = normalise(text)
    if not normalised or len(normalised) > _LONGEST:
        return _unclear()
    tokens = scan(normalised, staff_names=staff_names, service_titles=service_titles)
    reading = _Reading.of(_without_offered_service(tokens, offered))
    for rule in (_short_statement, _pause, _other_service, _other_staff, _slot, _plain_answer):
        if found := rule(reading, _Facts(tuple(offered), today, tuple(service_titles))):
            return found
    return _unclear()


def _decided(
    intent: Intent,
    *,
    slot: OfferedSlot | None = None,
    pause_until: date | None = None,
    staff: str | None = None,
    service: str | None = None,
    time_of_day: TimeOfDay | None = None,
    weekday: int | None = None,
) -> Classification:
    """Return a classification decided by a rule."""
    stop = intent == "opt_out"
    return Classification(
        intent, RESPONSE_TYPES[intent], "rule", slot, pause_until, staff, service, stop, time_of_day, weekday
    )


def _unclear() -> Classification:
    return Classification("unclear", "neutral", "none")


_WHEN = frozenset(
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
_SHARP = frozenset({"time", "hour", "number", "ordinal", "date", "weekday", "near_day", "staff"})
_ANSWERS = frozenset({"yes", "no", "not", "away", "ask_later"})
_SUBJECTS = _WHEN | {"staff", "service", "other_staff"}
_COURTESY = frozenset({"filler", "greeting", "thanks", "stop", "turn", "ask"})


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the reply is read against."""

    offered: tuple[OfferedSlot, ...]
    today: date
    titles: tuple[str, ...]


@dataclass(slots=True)
class _Reading:
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
    def of(cls, tokens: list[Token]) -> "_Reading":
        reading = cls(tokens)
        for clause in _clauses(tokens):
            reading._take(clause)
        return reading

    def _take(self, clause: list[Token]) -> None:
        kinds = {token.kind for token in clause}
        subjects = [token for token in clause if token.kind in _SUBJECTS]
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
        return any(token.kind == "ask" for token in self.tokens)

    def texts(self, kind: str) -> list[str]:
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


def _without_offered_service(tokens: list[Token], offered: Sequence[OfferedSlot]) -> list[Token]:
    """Drop the mention of the very service that was offered: "да, на стрижку" asks for nothing else."""
    named = [token for token in tokens if token.kind == "service"]
    refuses = any(token.kind in {"no", "not"} for token in tokens)
    titles = {slot.service_title for slot in offered if slot.service_title}
    if named and not refuses and any(_fits(title, named) for title in titles):
        return [token for token in tokens if token.kind != "service"]
    return tokens


def _fits(title: str, named: Iterable[Token]) -> bool:
    return all(token.lemmas & title_lemmas(title) for token in named)


def _short_statement(reading: _Reading, _facts: _Facts) -> Classification | None:
    """A wrong number, a booking made already, a stock question."""
    says = reading.says
    if "wrong" in says and not reading.asks and not says & {"mockery", "sarcasm", "yes", "or"}:
        return _decided("wrong_person")
    if "booked" in says and not reading.asks and not reading.refused and reading.only(_SUBJECTS | {"booked", "yes"}):
        return _decided("already_booked")
    if "question" in says and reading.only({"question", "service", "staff"}):
        return _decided("question")
    return None


def _pause(reading: _Reading, facts: _Facts) -> Classification | None:
    """Leave me until a day: "пока не надо, в отпуске до 15", "напишите в январе"."""
    if reading.asks or not reading.only(_ANSWERS | {"later", "bound_number", "next_week"}):
        return None
    bounds = reading.texts("later")
    reserved = bool(reading.says & {"away", "ask_later", "no"})
    if reserved:
        bounds += reading.texts("bound_number") + reading.texts("next_week")
    elif any(re.match(r"до|until|till|before|запиш|book|брон", text) for text in bounds + reading.texts("yes")):
        return None
    opening = re.compile(r"(?:с|со|from) ")
    ends = [text for text in bounds if not opening.match(text)]
    if not ends and "ask_later" in reading.says:
        ends = bounds
    days = [read_later(text, facts.today) for text in ends]
    until = max((day for day in days if day), default=None)
    return _decided("pause_until", pause_until=until) if until and None not in days else None


def _other_service(reading: _Reading, facts: _Facts) -> Classification | None:
    """Another service than the one offered: "бороду не надо, только стрижку"."""
    wanted = [token for token in reading.wanted if token.kind == "service"]
    if not wanted or not reading.only(_SUBJECTS | {"yes", "no", "not"}):
        return None
    refused = [token for token in reading.refused if token.kind == "service"]
    titles = [
        title
        for title in dict.fromkeys(facts.titles)
        if _fits(title, wanted) and not any(token.lemmas & title_lemmas(title) for token in refused)
    ]
    exact = [title for title in titles if len(title_lemmas(title)) <= len(wanted)] or titles
    named = [token.text for token in wanted if token.text in titles]
    return _decided("other_service", service=named[0] if named else exact[0] if len(exact) == 1 else None)


def _other_staff(reading: _Reading, facts: _Facts) -> Classification | None:
    """Somebody else than the one offered: "к Марине можно?", "не к Анне"."""
    if not reading.only(_WHEN | {"staff", "other_staff", "yes", "no", "not"}):
        return None
    wanted = {token.text for token in reading.wanted if token.kind == "staff"}
    # "Я не Анна" is about the client's own name; "не к Анне" is about the staff.
    to_somebody = bool({"к", "ко", "to", "with"} & set(reading.texts("filler")))
    refused = to_somebody and any(token.kind == "staff" for token in reading.refused)
    if wanted & {slot.staff_name for slot in facts.offered}:
        return None
    if wanted or refused or any(token.kind == "other_staff" for token in reading.wanted):
        return _decided("other_staff", staff=next(iter(wanted)) if len(wanted) == 1 else None)
    return None


def _slot(reading: _Reading, facts: _Facts) -> Classification | None:
    """One of the offered slots, or another time."""
    wanted, refused = reading.wanted, reading.refused
    if not (wanted or refused) or not reading.only(_WHEN | {"staff", "yes", "no", "not"}):
        return None
    fitting = set(range(len(facts.offered)))
    for token in wanted:
        fitting &= _matches(token, facts)
    for token in refused:
        fitting -= _matches(token, facts)
    kinds = {token.kind for token in wanted}
    contrasted = bool(refused or reading.declines or reading.texts("turn"))
    if fitting and (kinds & _SHARP or (kinds and len(fitting) == 1 and not contrasted)):
        return _decided("choose_slot", slot=facts.offered[min(fitting)] if len(fitting) == 1 else None)
    # Two days or two hours in one reply leave open which is meant.
    vague = [token for token in wanted if token.kind in {"number", "ordinal"} or _is_no_hour(token)]
    named = [token.kind for token in wanted]
    if vague or "staff" in kinds or len(named) > len(kinds):
        return None
    parts = [part for token in wanted if (part := _part_of_day(token))]
    weekdays = [read_weekday(token.text) for token in wanted if token.kind == "weekday"]
    return _decided(
        "other_time", time_of_day=parts[-1] if parts else None, weekday=weekdays[0] if len(weekdays) == 1 else None
    )


def _plain_answer(reading: _Reading, facts: _Facts) -> Classification | None:
    """Yes, no or thanks, and nothing else."""
    if reading.asks:
        return None
    if reading.only({"yes"}) and reading.agrees and not reading.declines:
        return _decided("confirm", slot=facts.offered[0] if len(facts.offered) == 1 else None)
    if reading.only({"no", "away", "ask_later", "mockery"}) and reading.declines:
        return _decided("decline_now")
    return _decided("thanks") if not reading.says and reading.texts("thanks") else None


def _matches(token: Token, facts: _Facts) -> set[int]:
    """Return the numbers of the offered slots that a token may mean."""
    offered = facts.offered
    match token.kind:
        case "staff":
            return {i for i, slot in enumerate(offered) if slot.staff_name == token.text}
        case "ordinal":
            return {number} if (number := _ordinal(token.text, len(offered))) is not None else set()
        case "weekday":
            return _on_weekday(token.text, facts)
        case "part":
            return {i for i, slot in enumerate(offered) if day_part(slot.starts_local) == _part_of_day(token)}
        case "bound_time" | "bound_number":
            return _within(token.text, offered)
        case "next_week":
            monday = facts.today + timedelta(days=8 - facts.today.isoweekday())
            return {i for i, slot in enumerate(offered) if 0 <= (slot.starts_local.date() - monday).days < 7}
    days = {read_date(token.text, facts.today)} if token.kind in {"date", "near_day"} or _bare(token) else set()
    hours = set(read_hours(token.text)) if token.kind in {"time", "hour", "number", "date"} else set()
    found = {
        i
        for i, slot in enumerate(offered)
        if slot.starts_local.date() in days or (slot.starts_local.hour, slot.starts_local.minute) in hours
    }
    if token.kind == "number" and 1 <= int(token.text) <= len(offered):
        found.add(int(token.text) - 1)
    return found


def _bare(token: Token) -> bool:
    """Whether a number may be a day of the month: "26", "на 26"."""
    return token.kind == "number" or bool(token.kind == "hour" and re.fullmatch(r"(?:на |at )?\d{1,2}", token.text))


def _is_no_hour(token: Token) -> bool:
    """Whether "до 5" could as well be a day: then it is no clear wish for a time."""
    number = re.search(r"\d+", token.text)
    return token.kind == "bound_number" and not (number and 16 <= int(number[0]) <= 21)


def _on_weekday(text: str, facts: _Facts) -> set[int]:
    weekday = read_weekday(text)
    this_week_ends = facts.today + timedelta(days=7 - facts.today.isoweekday())
    return {
        i
        for i, slot in enumerate(facts.offered)
        if slot.starts_local.isoweekday() == weekday
        and ("следующ" not in text or slot.starts_local.date() > this_week_ends)
    }


def _within(text: str, offered: Sequence[OfferedSlot]) -> set[int]:
    """Return the slots before or after the bound of "после 18:00", "до обеда"."""
    before = bool(re.match(r"до|по|until|till|before", text)) and not text.startswith("после")
    if match := re.search(r"(\d{1,2})(?:[:.](\d\d))?", text):
        bound = (int(match[1]), int(match[2] or 0))
    else:
        bound = (18, 0) if re.search("работы|work", text) else (13, 0)
    return {
        i for i, slot in enumerate(offered) if ((slot.starts_local.hour, slot.starts_local.minute) < bound) == before
    }


def _ordinal(text: str, count: int) -> int | None:
    """Return the index of "первое", "вариант 2", "the last one"; None when there is no such one."""
    if re.search(r"послед|last", text):
        return count - 1 if count else None
    digit = re.search(r"\d", text)
    stems = (("перв", "first"), ("втор", "second"), ("трет", "third"))
    named = [index for index, words in enumerate(stems) if any(word in text for word in words)]
    index = int(digit[0]) - 1 if digit else named[0] if named else count
    return index if 0 <= index < count else None


def day_part(local: datetime) -> TimeOfDay:
    """Return the part of the day of a local time: morning before 12:00, evening from 17:00."""
    return "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"


def _part_of_day(token: Token) -> TimeOfDay | None:
    """Return the part of the day that a token asks for, if it asks for one."""
    text = token.text
    if token.kind not in {"part", "bound_time", "bound_number", "hour", "time"}:
        return None
    if re.search(r"вечер|evening|tonight|работы|work", text):
        return "evening"
    if re.search(r"утр|morning|до обеда", text):
        return "morning"
    if re.search(r"дн[ея]|afternoon|обед", text):
        return "afternoon"
    hours = [hour for hour, _ in read_hours(text) if 8 <= hour <= 22]
    if token.kind.startswith("bound"):
        return "evening" if text.startswith(("после", "after")) and hours and hours[0] >= 16 else None
    return ("morning" if hours[0] < 12 else "afternoon" if hours[0] < 17 else "evening") if hours else None
