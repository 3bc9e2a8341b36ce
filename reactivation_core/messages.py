"""The text of a message: wording its facts and filling a template with them.

What to add here: how a fact is worded, how a template is filled. What to keep out: the templates (`message_templates`), what may be said
(`message_rules`), what the CRM's names become (`message_names`), and the model that may write a template (`message_prompt`).

A template, whoever wrote it, never holds the client's name: `render` fills facts into it in one pass, so a name that looks like a
placeholder stays a name. Texts that are too long are refused, never cut.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from reactivation_core.message_facts import PLACEHOLDERS, STAGE_LIMITS, TOTAL_LIMIT, MessageFacts, Stage
from reactivation_core.message_names import client_name, service_title, staff_name
from reactivation_core.morphology import Case, declined, readings
from reactivation_core.russian import days_phrase, either, english_days_phrase, english_time, english_when, when

BUSINESS_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "beauty": ("мастер", "на процедуру"),
    "barbershop": ("барбер", "на стрижку"),
    "dental": ("врач", "на визит"),
    "fitness": ("тренер", "на тренировку"),
    "other": ("специалист", "на визит"),
}
"""What each kind of business calls the person who serves, and the thing to be booked (accusative)."""

OPT_OUT_LINE: Final[Mapping[str, str]] = {
    "ru": "Не хотите сообщений — ответьте «стоп».",
    "en": "Reply STOP to opt out.",
}

PLACEHOLDER: Final = re.compile(r"\{(\w*)\}")
_SENTENCE_BEGINS = re.compile(r"(?:^|[.!?…]\s|[^\w\s,.;:—–\-−(«»)'’%{}]\s)$")
_SEGMENT = re.compile(r"\[([^\[\]]*)\]")

# The case that a preposition asks of the name after it; prepositions that may ask for two ("с Анной", "с понедельника") stand for persons here.
_PREPOSITIONS: Final[Mapping[str, Case]] = {
    "у": "gent", "от": "gent", "для": "gent", "без": "gent", "к": "datv", "ко": "datv", "с": "ablt", "со": "ablt", "о": "loct", "об": "loct",
    "при": "loct", "про": "accs", "благодаря": "datv",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A message with its origin: `text_template` still holds the placeholders, `text` is final and holds the name."""

    template_id: str
    text_template: str
    text: str
    stage: Stage


def render(template: str, facts: MessageFacts) -> str:
    """Fill a template and add the line on how to stop, if it is the first contact.

    `[...]` segments whose facts are missing, or that need a case which the favourite's name does not have, fall away. If the text exceeds the stage's limit, fewer slots are offered, then the service's title
    is left out, then the favourite. The favourite's name takes the case that the word before it asks for.

    Raises:
        ValueError: If the template has an unknown placeholder, needs a fact outside `[...]` that is missing, needs a case of a name that has
            none, or is too long with the fewest facts.
    """
    unknown = set(PLACEHOLDER.findall(template)) - PLACEHOLDERS
    if unknown:
        raise ValueError(f"unknown placeholders in the template: {', '.join(sorted(unknown))}")
    limit = STAGE_LIMITS[facts.stage]
    for fewer in _ever_fewer(facts, template):
        text = _fill(template, fact_phrases(fewer))
        whole = f"{text}\n{OPT_OUT_LINE[facts.tongue]}" if facts.first_contact else text
        if len(text) <= limit and len(whole) <= TOTAL_LIMIT:
            return whole
    raise ValueError(f"the text exceeds {limit} characters even with the fewest facts")


def fact_phrases(facts: MessageFacts) -> dict[str, str]:
    """Return the wording of every fact by placeholder name; what is not known is "" or absent from the text."""
    english = facts.tongue == "en"
    master, visit = BUSINESS_WORDS[facts.business]
    return {
        "name": client_name(facts.name),
        "slots": _slots_phrase(facts),
        "discount": str(facts.discount_percent) if facts.discount_percent > 0 else "",
        "days_phrase": (english_days_phrase if english else days_phrase)(facts.days_inactive),
        "service": service_title(facts.service_title),
        "staff": staff_name(facts.staff_name or ""),
        "master": master,
        "visit": visit,
    }


def slot_phrases(facts: MessageFacts) -> list[str]:
    """The wording of each slot, by time: "в четверг, 26 ноября, в 18:30"; one on the day of the slot before it is told by its hour, "в 19:00"."""
    english = facts.tongue == "en"
    told: list[str] = []
    day = None
    for local in sorted(slot.starts_local for slot in facts.slots):
        if local.date() == day:
            told.append(f"at {english_time(local)}" if english else f"в {local.hour}:{local.minute:02d}")
        else:
            told.append(english_when(local) if english else when(local))
        day = local.date()
    return told


def slot_offers(facts: MessageFacts) -> list[str]:
    """How a text may tell its slots: all of them, or ever fewer of the best."""
    return [_slots_phrase(replace(facts, slots=facts.slots[:count])) for count in range(len(facts.slots), 0, -1)]


def _slots_phrase(facts: MessageFacts) -> str:
    return either(slot_phrases(facts), "or" if facts.tongue == "en" else "или")


def slots_told(text: str, facts: MessageFacts) -> int:
    """How many of the best slots a final text tells."""
    plain = text.casefold()
    offers = slot_offers(facts)
    return next((len(offers) - place for place, said in enumerate(offers) if said.casefold() in plain), 0)


def case_before(words: str) -> Case:
    """The case that a name takes after `words`: of the preposition, or of the noun for a person right before it; else the nominative.

    "у {staff}" and "к мастеру {staff}" ask for "Анны" and "Анне"; "ваш мастер {staff}" and "Вас ждёт {staff}" for "Анна".
    """
    last = re.search(r"([^\W\d_]+)\s+$", words)
    if last is None:
        return "nomn"
    word = last[1].lower()
    if word in _PREPOSITIONS:
        return _PREPOSITIONS[word]
    first = next(iter(readings(word)), None)
    if first is None or not {"NOUN", "anim"} <= first.grammemes:
        return "nomn"
    cases: tuple[Case, ...] = ("nomn", "datv", "ablt", "loct", "gent", "accs")
    return next((case for case in cases if case in first.grammemes), "nomn")


def _fill(template: str, phrases: Mapping[str, str]) -> str:
    """Drop the segments that lack a fact and fill the rest, in one pass: a filled value is never read again."""

    def keep(match: re.Match[str]) -> str:
        segment = match[1]
        fits = all(phrases[name] for name in PLACEHOLDER.findall(segment)) and _has_case(phrases["staff"], segment)
        return segment if fits else ""

    kept = _SEGMENT.sub(keep, template)

    def value(match: re.Match[str]) -> str:
        if not phrases[match[1]]:
            raise ValueError(f"the template needs {{{match[1]}}}, which is not known")
        before = kept[: match.start()]
        said = _in_case(phrases["staff"], before) if match[1] == "staff" else phrases[match[1]]
        return said[:1].upper() + said[1:] if _SENTENCE_BEGINS.search(before) else said

    text = PLACEHOLDER.sub(value, kept).strip()
    return text[:1].upper() + text[1:]


def _has_case(name: str, segment: str) -> bool:
    """Whether a segment can say the staff member's name: it asks for no case, or the name has it."""
    before, staff, _ = segment.partition("{staff}")
    case = case_before(before) if staff else "nomn"
    return case == "nomn" or declined(name, case) is not None


def _in_case(name: str, before: str) -> str:
    case = case_before(before)
    if case == "nomn":
        return name
    inflected = declined(name, case)
    if inflected is None:
        raise ValueError("the template needs a case of the staff member's name, which has no known cases")
    return inflected


def _ever_fewer(facts: MessageFacts, template: str) -> Iterator[MessageFacts]:
    """Yield the facts with ever fewer slots, then without the service's title, then without the favourite; never without what the template needs."""
    needed = set(PLACEHOLDER.findall(_SEGMENT.sub("", template)))
    counts = range(len(facts.slots), 0, -1) if facts.slots else range(1)
    poorer = [facts]
    if "service" not in needed:
        poorer.append(replace(poorer[-1], service_title=""))
    if "staff" not in needed:
        poorer.append(replace(poorer[-1], staff_name=None))
    for one in poorer:
        for count in counts:
            yield replace(one, slots=facts.slots[:count])
