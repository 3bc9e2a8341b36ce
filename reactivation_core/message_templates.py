"""The texts that people wrote: reading their files, choosing one, and checking them.

What to add here: rules about the files. What to keep out: the texts themselves (`texts/ru.txt`, `texts/en.txt`) and how they are filled (`messages`).
"""

import functools
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib import resources
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

from reactivation_core.message_facts import (
    BUSINESSES,
    LANGUAGES,
    PLACEHOLDERS,
    STAGES,
    TONES,
    MessageFacts,
    SlotFact,
    Stage,
)
from reactivation_core.message_rules import Offence, judge_message
from reactivation_core.messages import PLACEHOLDER, WrittenText, render

ENOUGH: Final = 4
"""Texts under one heading, at least: neighbours shall not read the same."""

ANY_BUSINESS: Final = ""

_HEADING = re.compile(r"^==\s*(.*?)\s*==$")

Heading = tuple[Stage, str, str]
"""Stage, tone, and the kind of business or `ANY_BUSINESS`."""


class TemplateFileError(ValueError):
    """A file of texts cannot be read; the message names the line."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text with placeholders: where it stands in its file, and what it is for."""

    line: int
    heading: Heading
    text: str


@dataclass(frozen=True)
class TemplateBook:
    """All texts of one language by heading."""

    language: str
    templates: Mapping[Heading, tuple[Template, ...]]

    def of(self, stage: Stage, tone: str, business: str) -> tuple[Template, ...]:
        """The texts for a client: those of the kind of business when it has its own."""
        return self.templates.get((stage, tone, business)) or self.templates[stage, tone, ANY_BUSINESS]


def parse(source: str, language: str) -> TemplateBook:
    """Read a file of texts.

    Raises:
        TemplateFileError: If a heading is not known or stands twice, a text stands before any heading, or a stage and tone have no texts.
    """
    found: dict[Heading, list[Template]] = {}
    heading: Heading | None = None
    for number, raw in enumerate(source.splitlines(), start=1):
        line = raw.strip().removeprefix("\ufeff")
        if not line or line.startswith("#"):
            continue
        if match := _HEADING.match(line):
            heading = _heading(match[1], number)
            if heading in found:
                raise TemplateFileError(f"line {number}: the heading «{match[1]}» stands twice")
            found[heading] = []
        elif heading is None:
            raise TemplateFileError(f"line {number}: a text stands before any heading")
        else:
            found[heading].append(Template(number, heading, line))
    for stage, tone in product(STAGES, TONES):
        if not found.get((stage, tone, ANY_BUSINESS)):
            raise TemplateFileError(f"there are no texts under «== {stage}, {tone} ==»")
    return TemplateBook(language, {one: tuple(texts) for one, texts in found.items()})


def _heading(said: str, number: int) -> Heading:
    parts = [part.strip() for part in said.split(",")]
    stage = next((one for one in STAGES if parts[0] == one), None)
    business = parts[2] if len(parts) == 3 else ANY_BUSINESS
    if (
        stage is None
        or not 2 <= len(parts) <= 3
        or parts[1] not in TONES
        or business not in {*BUSINESSES, ANY_BUSINESS}
    ):
        known = f"stages {', '.join(STAGES)}; tones {', '.join(TONES)}; kinds of business {', '.join(BUSINESSES)}"
        raise TemplateFileError(f"line {number}: «{said}» must be «stage, tone» or «stage, tone, business» ({known})")
    return stage, parts[1], business


@functools.cache
def own_book(language: str) -> TemplateBook:
    """The texts that come with the product, in a language; Russian for an unknown one."""
    known = language if language in LANGUAGES else "ru"
    return parse(own_source(known), known)


def own_source(language: str) -> str:
    """The file of texts that comes with the product."""
    return (resources.files("reactivation_core") / "texts" / f"{language}.txt").read_text(encoding="utf-8")


def template_messages(
    facts: MessageFacts, client_key: str, attempt: int = 1, book: TemplateBook | None = None
) -> Iterator[WrittenText]:
    """Write messages from the texts of people, the one for this client first; texts that cannot hold the facts are passed over.

    Args:
        facts: What the message may say.
        client_key: Any stable key of the client, such as "962302:17"; its hash chooses the text, so that neighbours differ and a re-run writes
            the same.
        attempt: The number of the attempt; the next one gets the next text, so that none comes twice in a row.
        book: The texts; those of the product unless given.
    """
    texts = (book or own_book(facts.tongue)).of(facts.stage, facts.manner, facts.business)
    digest = hashlib.sha256(client_key.encode("utf-8", "surrogatepass")).digest()
    start = int.from_bytes(digest[:8], "big") + attempt - 1
    order = [(start + step) % len(texts) for step in range(len(texts))]
    order.sort(
        key=lambda number: texts[number].text == facts.previous
    )  # the last one again only when there is no other
    for number in order:
        template = texts[number]
        try:
            text = render(template.text, facts)
        except ValueError:
            continue
        template_id = "/".join(filter(None, (facts.tongue, *template.heading, str(number))))
        yield WrittenText(template_id, template.text, text, facts.stage)


def template_message(
    facts: MessageFacts, client_key: str, attempt: int = 1, book: TemplateBook | None = None
) -> WrittenText:
    """The first of `template_messages`. Raises ValueError if no text can hold the facts."""
    for written in template_messages(facts, client_key, attempt, book):
        return written
    raise ValueError("no text can hold the facts")


# ---------------------------------------------------------------- checking a file

_ZONE = ZoneInfo("Europe/Moscow")
# The first is the longest date that Russian has.
_SLOTS = (
    SlotFact(datetime(2026, 9, 27, 20, 45, tzinfo=_ZONE)),
    SlotFact(datetime(2026, 12, 1, 11, 0, tzinfo=_ZONE)),
    SlotFact(datetime(2026, 11, 26, 18, 30, tzinfo=_ZONE)),
)
_DAYS: Final[Mapping[Stage, tuple[int, ...]]] = {
    "gentle": (1, 9, 24, 30, 43),
    "offer": (48, 66),
    "win_back": (80, 326, 365, 5000),
}
_LONGEST = {
    "ru": ("Константинопольская", "Екатерина", "Ламинирование и тонирование ресниц"),
    "en": ("Maximilianalexander", "Wilhelmina", "Balayage with toning and blow-dry"),
}
_BLEMISHES = ("  ", " ,", " .", " !", " ?", "()", "«»", "..", ":.", "—.", "!.", "?.", ",,", ", !")


def lint(book: TemplateBook) -> list[str]:
    """What is wrong with the texts of a book, a line each: where it stands, and the rule it breaks with which facts.

    Every text is filled with the longest and the fewest facts; what comes out must pass the rules of messages.
    """
    complaints = [
        f"«== {', '.join(filter(None, heading))} ==»: {len(texts)} texts, {ENOUGH} are needed"
        for heading, texts in book.templates.items()
        if len(texts) < ENOUGH
    ]
    seen: dict[str, int] = {}
    for template in (one for texts in book.templates.values() for one in texts):
        if template.text in seen:
            complaints.append(f"line {template.line}: the same text stands in line {seen[template.text]}")
        seen.setdefault(template.text, template.line)
        complaints += [
            f"line {template.line}: {complaint}"
            for complaint in _complaints(template.text, template.heading, book.language)
        ]
    return complaints


@functools.lru_cache(maxsize=1_000)  # a file is checked again after one line was changed
def _complaints(template: str, heading: Heading, language: str) -> tuple[str, ...]:
    unknown = sorted(set(PLACEHOLDER.findall(template)) - PLACEHOLDERS)
    if unknown:
        return (f"{{{unknown[0]}}} is no placeholder: {', '.join(sorted(PLACEHOLDERS))}",)
    fixed = re.sub(r"\[[^\[\]]*\]", "", template)
    if "[" in fixed or "]" in fixed:
        return ("a bracket has no partner, or stands in another",)
    optional = [name for name in PLACEHOLDER.findall(fixed) if name not in {"days_phrase", "master", "visit"}]
    if optional:
        return (f"{{{optional[0]}}} is not always known: put it and the words around it into [ ]",)
    found: list[str] = []
    for facts in _samples(heading, language):
        try:
            text = render(template, facts)
        except ValueError as error:
            found.append(str(error))
            continue
        found += [str(offence) for offence in _offences(text, facts)]
    return tuple(dict.fromkeys(found))


def _offences(text: str, facts: MessageFacts) -> Sequence[Offence | str]:
    blemishes = [f"filled in, it reads {text!r}: it holds {blemish!r}" for blemish in _BLEMISHES if blemish in text]
    return [*judge_message(text, facts), *blemishes]


def _samples(heading: Heading, language: str) -> Iterator[MessageFacts]:
    """The longest and the fewest facts, and everything between."""
    stage, tone, business = heading
    long_name, long_staff, long_title = _LONGEST[language]
    titles = ("", long_title, "Bang" if language == "en" else "Маска")
    for days, count, discount, name, staff in product(
        _DAYS[stage], (0, 1, 3), (0, 5, 100), ("", long_name), (None, long_staff, "Айгуль")
    ):
        base = MessageFacts(
            name, titles[count % 3], staff, days, discount, _SLOTS[:count], business or "beauty", tone, language
        )
        yield base
        if not business:
            yield replace(base, business_type="fitness", first_contact=False)
