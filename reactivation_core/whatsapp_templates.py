"""Templates of WhatsApp: what of our text goes into their places, our own frames, what the messenger refuses, which one to send.

What to add here: frames and rules. What to keep out: where templates are kept (`reactivation_resources.template_registry`).

Outside a day after a client's last message only a template that the messenger has approved may go out; the parts of our text become the
values of its places (specification: protocols/whatsapp.md, sections 1.1 and 1.2).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reactivation_core.message_facts import MessageFacts
from reactivation_core.messages import fact_phrases

PARTS: Final = ("slots", "discount", "name", "service", "staff", "days_phrase", "salon")
"""The parts of a text by name, the most valuable first: of two templates that fit, the one with the more valuable parts says more."""

CATEGORY: Final = "MARKETING"
"""Asking a client back is marketing; calling it anything else costs the business its templates."""

BODY_LIMIT, NAME_LIMIT, VALUE_LIMIT = 1024, 512, 120
WORDS_PER_PLACE = 3
"""Fewer words than this around each place, and the messenger refuses the template as too bare."""

STOP_BUTTON: Final = {"ru": "Не пишите мне", "en": "Stop messages"}

_PLACE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_BLANKS = re.compile(r"\s+")
_NAME = re.compile(r"[a-z0-9_]{1,512}")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it is kept: `parts` stand in its places, in order; `named` places have names instead of numbers."""

    name: str
    language: str
    body: str
    parts: tuple[str, ...]
    category: str = CATEGORY
    buttons: tuple[str, ...] = ()
    quality: str | None = None
    named: bool = False


def text_parts(facts: MessageFacts, salon: str) -> dict[str, str]:
    """What a message says, by part; what it does not say is absent. Values are on one line, as the messenger wants them."""
    phrases = {**fact_phrases(facts), "salon": salon}
    values = {name: _BLANKS.sub(" ", phrases.get(name, "")).strip()[:VALUE_LIMIT] for name in PARTS}
    return {name: value for name, value in values.items() if value}


# ---------------------------------------------------------------- our own frames

# Each frame is a greeting, the time that has passed, and the pieces that a client's facts allow; it never ends in a place.
_HELLO = {
    ("ru", True): "Здравствуйте, {name}! ",
    ("ru", False): "Здравствуйте! ",
    ("en", True): "Hello {name}! ",
    ("en", False): "Hello! ",
}
_SINCE = {
    "ru": "Вы были у нас {days_phrase} назад, и мы будем рады видеть вас снова. ",
    "en": "It has been {days_phrase} since your last visit, and we would be glad to see you again. ",
}
_DISCOUNT = {
    "ru": "Для вас действует скидка {discount}% на следующий визит. ",
    "en": "There is a discount of {discount}% on your next visit. ",
}
_SLOTS = {
    "ru": "Ближайшее свободное время: {slots}. ",
    "en": "The next free times for you are {slots}. ",
}
_ASK = {
    "ru": "Записать вас? Просто ответьте на это сообщение.",
    "en": "Shall we book you in? Just answer this message.",
}
EXAMPLES: Final[Mapping[str, Mapping[str, str]]] = {
    "ru": {
        "name": "Анна",
        "days_phrase": "почти два месяца",
        "discount": "10",
        "slots": "в пятницу, 27 ноября, в 18:30",
    },
    "en": {
        "name": "Anna",
        "days_phrase": "almost two months",
        "discount": "10",
        "slots": "Friday, 27 November at 18:30",
    },
}


def own_frames(language: str) -> list[Template]:
    """Our frames in a language: with and without name, discount and slots. Their names tell what they hold."""
    return [
        _frame(language, name=name, discount=discount, slots=slots)
        for name in (True, False)
        for discount in (True, False)
        for slots in (True, False)
    ]


def _frame(language: str, *, name: bool, discount: bool, slots: bool) -> Template:
    pieces = [
        _HELLO[language, name],
        _SINCE[language],
        _DISCOUNT[language] if discount else "",
        _SLOTS[language] if slots else "",
        _ASK[language],
    ]
    text = "".join(pieces)
    parts = tuple(re.findall(r"\{(\w+)\}", text))
    body = text
    for number, part in enumerate(parts, start=1):
        body = body.replace(f"{{{part}}}", f"{{{{{number}}}}}", 1)
    held = [word for word, there in (("name", name), ("discount", discount), ("slots", slots)) if there]
    return Template(
        "_".join(["come_back", *(held or ["plain"])]), language, body, parts, buttons=(STOP_BUTTON[language],)
    )


# ---------------------------------------------------------------- what the messenger refuses


def places(body: str) -> list[str]:
    """What stands between double braces, in order."""
    return _PLACE.findall(body)


def lint(template: Template) -> list[str]:
    """What the messenger would refuse, or hold against the business, in words; nothing when the template may be submitted."""
    body, found = template.body.strip(), places(template.body)
    complaints = []
    if not _NAME.fullmatch(template.name):
        complaints.append("the name may hold small letters, digits and underscores, 512 at most")
    if template.category != CATEGORY:
        complaints.append(f"the category is {template.category}: asking a client back is {CATEGORY}")
    if not body:
        complaints.append("the body is empty")
    if len(body) > BODY_LIMIT:
        complaints.append(f"the body has {len(body)} characters, {BODY_LIMIT} are allowed")
    if _PLACE.match(body) or re.search(r"\{\{\s*\w+\s*\}\}\W*$", body):
        complaints.append("the body begins or ends with a place")
    if re.search(r"\}\}\s*\{\{", body):
        complaints.append("two places stand side by side")
    if len(_WORD.findall(_PLACE.sub(" ", body))) < WORDS_PER_PLACE * len(found):
        complaints.append(f"{len(found)} places need {WORDS_PER_PLACE * len(found)} words around them")
    numbers = [one for one in found if one.isdigit()]
    if numbers and (len(numbers) < len(found) or numbers != [str(n + 1) for n in range(len(numbers))]):
        complaints.append("places are numbered 1, 2, 3 … in their order, or all of them have names")
    if not template.buttons:
        complaints.append("there is no quick-reply button by which a client can stop the messages")
    return complaints


def known_parts(template: Template) -> tuple[str, ...] | None:
    """Which parts stand in the template's places: of our own frames by their name, of named places by theirs; None when not known."""
    language = base_language(template.language)
    own = (
        next((one for one in own_frames(language) if one.name == template.name), None)
        if language in STOP_BUTTON
        else None
    )
    if own is not None and own.body == template.body:
        return own.parts
    found = tuple(places(template.body))
    if not found:
        return ()
    return found if template.named and set(found) <= set(PARTS) else None


# ---------------------------------------------------------------- which one to send

_BETTER = {"GREEN": 0, "YELLOW": 1, "RED": 3}


def choose(templates: Iterable[Template], parts: Mapping[str, str], language: str) -> Template | None:
    """The template that says most of `parts` in `language` (its variants included), None when none fits.

    Of two that say the same the better rated one, then the first by name.
    """
    fitting = [
        one
        for one in templates
        if base_language(one.language) == language and all(parts.get(part) for part in one.parts)
    ]
    return min(fitting, key=lambda one: (*_worth(one.parts), _BETTER.get(one.quality or "", 2), one.name), default=None)


def _worth(held: Sequence[str]) -> tuple[bool, ...]:
    return tuple(part not in held for part in PARTS)


def base_language(language: str) -> str:
    """`ru` of `ru` and `ru_RU`."""
    return language.partition("_")[0].lower()
