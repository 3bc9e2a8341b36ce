"""Understands a client's reply by rules, as far as rules can be certain.

Here: what a reply may be (`Classification`), the rules (`classify`), and the fast opt-out check that the webhook uses
(`is_clear_opt_out`). Keep out: what an intent does to campaign and client; that is `reply_effects`.

The rules read the whole text: every word must be known and fit, else the intent is `unclear` and another layer may decide. So a long
or sarcastic text, or one with a word that no rule knows, is never guessed at.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from reactivation_core.reply_dates import read_later, read_weekday
from reactivation_core.reply_phrases import Token, scan, title_lemmas
from reactivation_core.reply_reading import SHARP, SUBJECTS, WHEN, Reading
from reactivation_core.reply_slots import OfferedSlot, TimeOfDay, matches, may_be_a_day, part_of_day
from reactivation_core.reply_words import is_clear_opt_out, normalise

__all__ = ["Classification", "Intent", "OfferedSlot", "ResponseType", "TimeOfDay", "classify", "is_clear_opt_out"]

Intent = Literal[
    "confirm", "choose_slot", "other_time", "other_staff", "other_service", "pause_until", "decline_now", "opt_out",
    "already_booked", "wrong_person", "question", "complaint", "thanks", "unclear",
]  # fmt: skip
ResponseType = Literal["positive", "negative", "neutral", "booking_created", "no_response"]

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
    reading = Reading.of(_without_offered_service(tokens, offered))
    for rule in (_short_statement, _pause, _other_service, _other_staff, _slot, _plain_answer):
        if found := rule(reading, _Facts(tuple(offered), today, tuple(service_titles))):
            return found
    return _unclear()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the reply is read against."""

    offered: tuple[OfferedSlot, ...]
    today: date
    titles: tuple[str, ...]


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


_ANSWERS = frozenset({"yes", "no", "not", "away", "ask_later"})


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


def _short_statement(reading: Reading, _facts: _Facts) -> Classification | None:
    """A wrong number, a booking made already, a stock question."""
    says = reading.says
    if "wrong" in says and not reading.asks and not says & {"mockery", "sarcasm", "yes", "or"}:
        return _decided("wrong_person")
    if "booked" in says and not reading.asks and not reading.refused and reading.only(SUBJECTS | {"booked", "yes"}):
        return _decided("already_booked")
    if "question" in says and reading.only({"question", "service", "staff"}):
        return _decided("question")
    return None


def _pause(reading: Reading, facts: _Facts) -> Classification | None:
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


def _other_service(reading: Reading, facts: _Facts) -> Classification | None:
    """Another service than the one offered: "бороду не надо, только стрижку"."""
    wanted = [token for token in reading.wanted if token.kind == "service"]
    if not wanted or not reading.only(SUBJECTS | {"yes", "no", "not"}):
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


def _other_staff(reading: Reading, facts: _Facts) -> Classification | None:
    """Somebody else than the one offered: "к Марине можно?", "не к Анне"."""
    if not reading.only(WHEN | {"staff", "other_staff", "yes", "no", "not"}):
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


def _slot(reading: Reading, facts: _Facts) -> Classification | None:
    """One of the offered slots, or another time."""
    wanted, refused = reading.wanted, reading.refused
    if not (wanted or refused) or not reading.only(WHEN | {"staff", "yes", "no", "not"}):
        return None
    fitting = set(range(len(facts.offered)))
    for token in wanted:
        fitting &= matches(token, facts.offered, facts.today)
    for token in refused:
        fitting -= matches(token, facts.offered, facts.today)
    kinds = {token.kind for token in wanted}
    if not kinds & SHARP and any(may_be_a_day(token) for token in wanted):
        return None
    contrasted = bool(refused or reading.declines or reading.texts("turn"))
    if fitting and (kinds & SHARP or (kinds and len(fitting) == 1 and not contrasted)):
        return _decided("choose_slot", slot=facts.offered[min(fitting)] if len(fitting) == 1 else None)
    # Two days or two hours in one reply leave open which is meant.
    vague = [token for token in wanted if token.kind in {"number", "ordinal"}]
    named = [token.kind for token in wanted]
    if vague or "staff" in kinds | {token.kind for token in refused} or len(named) > len(kinds):
        return None
    parts = [part for token in wanted if (part := part_of_day(token))]
    weekdays = [read_weekday(token.text) for token in wanted if token.kind == "weekday"]
    return _decided(
        "other_time", time_of_day=parts[-1] if parts else None, weekday=weekdays[0] if len(weekdays) == 1 else None
    )


def _plain_answer(reading: Reading, facts: _Facts) -> Classification | None:
    """Yes, no or thanks, and nothing else."""
    if reading.asks:
        return None
    if reading.only({"yes"}) and reading.agrees and not reading.declines:
        return _decided("confirm", slot=facts.offered[0] if len(facts.offered) == 1 else None)
    if reading.only({"no", "away", "ask_later", "mockery"}) and reading.declines:
        return _decided("decline_now")
    return _decided("thanks") if not reading.says and reading.texts("thanks") else None
