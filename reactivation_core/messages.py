"""The text of a message: its stage, its facts, filling a template, and judging the result.

Here: everything between a planned campaign's facts and the final text. Keep out: the model that may write a template, and the
templates that people wrote (`message_templates`).

A template, whoever wrote it, never holds the client's name: `render` fills facts into it in one pass, so a name that looks like a
placeholder stays a name. Texts that are too long are refused, never cut.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from reactivation_core.message_templates import BUSINESS_WORDS, ENGLISH, OPT_OUT_LINE, RUSSIAN
from reactivation_core.reply_phrases import is_first_name
from reactivation_core.russian import days_phrase, either, english_days_phrase, english_when, when

Stage = Literal["gentle", "offer", "win_back"]

# Characters without the opt-out line; the whole message never exceeds TOTAL_LIMIT.
STAGE_LIMITS: Mapping[Stage, int] = {"gentle": 150, "offer": 200, "win_back": 250}
TOTAL_LIMIT = 500
PLACEHOLDERS = frozenset({"name", "slots", "discount", "days_phrase", "service", "staff", "master", "visit"})

_LONGEST_NAME, _LONGEST_STAFF, _LONGEST_SERVICE = 20, 30, 40
_NO_NAMES = frozenset(
    {
        "клиент",
        "клиентка",
        "гость",
        "имя",
        "аноним",
        "неизвестно",
        "новый",
        "тест",
        "client",
        "guest",
        "unknown",
        "test",
        "null",
        "none",
    }
)


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A slot to offer: its start in the company's zone (aware), and who serves, if known.

    Raises:
        ValueError: If `starts_local` is naive.
    """

    starts_local: datetime
    staff_name: str | None = None

    def __post_init__(self) -> None:
        """Refuse a naive time."""
        if self.starts_local.tzinfo is None:
            raise ValueError("starts_local must be an aware datetime in the company's zone")


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What a message may say.

    Attributes:
        name: The client's name as the CRM has it; cleaned before use.
        service_title: The service that is due, as the CRM writes it.
        staff_name: The favourite, only when a message may assert her; else None.
        days_inactive: Days since the last visit with that service.
        discount_percent: 0 for none.
        slots: The slots to offer, best first.
        business_type: beauty, barbershop, dental, fitness or other.
        tone: friendly, professional or casual; anything else counts as friendly.
        language: "en" for English; anything else is Russian.
        first_contact: Whether this is the first message of the episode; then it says how to stop.
    """

    name: str
    service_title: str
    staff_name: str | None
    days_inactive: int
    discount_percent: int = 0
    slots: tuple[SlotFact, ...] = ()
    business_type: str = "other"
    tone: str = "friendly"
    language: str = "ru"
    first_contact: bool = True


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A message with its origin: `text_template` still holds the placeholders, `text` is final and holds the name."""

    template_id: str
    text_template: str
    text: str
    stage: Stage


def stage_of(days_inactive: int) -> Stage:
    """Return the stage: gentle below 45 days, offer from 45 to 74, win_back from 75."""
    return "gentle" if days_inactive < 45 else "offer" if days_inactive < 75 else "win_back"


def fallback_message(facts: MessageFacts, client_key: str) -> GeneratedText:
    """Write a message from the templates.

    Args:
        facts: What the message may say.
        client_key: Any stable key of the client, such as "962302:17"; its hash chooses the template, so that neighbours differ
            and a re-run writes the same.
    """
    stage = stage_of(facts.days_inactive)
    language = _language(facts)
    tone = facts.tone if facts.tone in {"friendly", "professional", "casual"} else "friendly"
    templates = ENGLISH[stage] if language == "en" else RUSSIAN[stage, tone]
    digest = hashlib.sha256(client_key.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:8], "big") % len(templates)
    template_id = f"en/{stage}/{number}" if language == "en" else f"ru/{stage}/{tone}/{number}"
    return GeneratedText(template_id, templates[number], render(templates[number], facts), stage)


def render(template: str, facts: MessageFacts) -> str:
    """Fill a template and add the line on how to stop, if it is the first contact.

    `[...]` segments whose facts are missing fall away. If the text exceeds the stage's limit, fewer slots are offered, then the
    service's title is left out, then the favourite.

    Raises:
        ValueError: If the template has an unknown placeholder, needs a fact outside `[...]` that is missing, or is too long
            with the fewest facts.
    """
    unknown = set(_PLACEHOLDER.findall(template)) - PLACEHOLDERS
    if unknown:
        raise ValueError(f"unknown placeholders in the template: {', '.join(sorted(unknown))}")
    stage = stage_of(facts.days_inactive)
    for fewer in _ever_fewer(facts):
        text = _fill(template, fact_phrases(fewer))
        whole = f"{text}\n{OPT_OUT_LINE[_language(facts)]}" if facts.first_contact else text
        if len(text) <= STAGE_LIMITS[stage] and len(whole) <= TOTAL_LIMIT:
            return whole
    raise ValueError(f"the text exceeds {STAGE_LIMITS[stage]} characters even with the fewest facts")


def fact_phrases(facts: MessageFacts) -> dict[str, str]:
    """Return the wording of every fact by placeholder name; what is not known is "" or absent from the text."""
    english = _language(facts) == "en"
    starts = [(english_when if english else when)(slot.starts_local) for slot in facts.slots]
    master, visit = BUSINESS_WORDS.get(facts.business_type, BUSINESS_WORDS["other"])
    return {
        "name": clean_name(facts.name),
        "slots": either(starts, "or" if english else "или"),
        "discount": str(facts.discount_percent) if facts.discount_percent > 0 else "",
        "days_phrase": (english_days_phrase if english else days_phrase)(facts.days_inactive),
        "service": _clean_title(facts.service_title, _LONGEST_SERVICE),
        "staff": _short_name(facts.staff_name or ""),
        "master": master,
        "visit": visit,
    }


_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_SEGMENT = re.compile(r"\[([^\[\]]*)\]")


def _fill(template: str, phrases: Mapping[str, str]) -> str:
    """Drop the segments that lack a fact and fill the rest, in one pass: a filled value is never read again."""

    def keep(match: re.Match[str]) -> str:
        return match[1] if all(phrases[name] for name in _PLACEHOLDER.findall(match[1])) else ""

    def value(match: re.Match[str]) -> str:
        if not phrases[match[1]]:
            raise ValueError(f"the template needs {{{match[1]}}}, which is not known")
        return phrases[match[1]]

    text = _PLACEHOLDER.sub(value, _SEGMENT.sub(keep, template)).strip()
    return text[:1].upper() + text[1:]


def _ever_fewer(facts: MessageFacts) -> Iterator[MessageFacts]:
    """Yield the facts with ever fewer slots, then the same without the service's title, then without the favourite."""
    counts = range(len(facts.slots), 0, -1) if facts.slots else range(1)
    without_title = replace(facts, service_title="")
    for poorer in (facts, without_title, replace(without_title, staff_name=None)):
        for count in counts:
            yield replace(poorer, slots=facts.slots[:count])


def _language(facts: MessageFacts) -> str:
    return "en" if facts.language == "en" else "ru"


_ADDRESS = re.compile(r"\S*(?:[@/\\:]|www\.|\.\w)\S*|\S*\d\S*")
_NOT_A_NAME = re.compile(r"[^\w\s'’\-]|[\d_]")
_NOT_A_TITLE = re.compile(r"[^\w\s'’+&,.()%/№\-]|_")
_LINK = re.compile(r"\S*(?:://|www\.|@)\S*|\S+\.(?:ru|com|рф|net|org|me|info|su|io)(?:/\S*)?(?=\s|$)", re.IGNORECASE)


def clean_name(raw: str) -> str:
    """Return a first name fit for an address, or "" when the CRM's text holds none.

    CRM names carry surnames, phone numbers, notes and emoji ("Иванова Анна 8916... VIP"). The first word that the dictionary
    knows as a first name is taken, else the first word; never more than twenty letters, never a part of a word.
    """
    plain = "".join(_visible(raw[:300]))
    words = [word.strip("-'’") for word in _NOT_A_NAME.sub(" ", _ADDRESS.sub(" ", plain)).split()]
    words = [word for word in words if len(word) > 1 and word.casefold() not in _NO_NAMES]
    known = [word for word in words if is_first_name(word)]
    chosen = next(iter(known or words), "")
    if len(chosen) > _LONGEST_NAME:
        return ""
    return chosen if any(letter.islower() for letter in chosen[1:]) and chosen[0].isupper() else chosen.title()


def _clean_title(raw: str, longest: int) -> str:
    """Return a title without links, markup and control characters; "" when nothing fit or it is longer than `longest`."""
    plain = _NOT_A_TITLE.sub(" ", _LINK.sub(" ", "".join(_visible(raw[:300]))))
    title = re.sub(r"\s+([,.])", r"\1", " ".join(plain.split())).strip(" ,.-+&/")
    return title if len(title) <= longest else ""


def _short_name(raw: str) -> str:
    """Return a staff member's first name if the dictionary knows one in it, else the whole name."""
    title = _clean_title(raw, _LONGEST_STAFF)
    return next((word for word in title.split() if is_first_name(word)), title)


def _visible(raw: str) -> Iterator[str]:
    """Yield the characters that print, with every kind of blank as a space."""
    for letter in unicodedata.normalize("NFKC", raw):
        category = unicodedata.category(letter)
        if category[0] == "Z" or letter in "\r\n\t":
            yield " "
        elif category[0] not in "CM":
            yield letter


_EMOJI = re.compile("[\u2190-\u21ff\u231a-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff]")
_NUMBER = re.compile(r"\d+")
_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
_LETTER = re.compile(r"[^\W\d_]")
_BANNED = re.compile(
    r"реактивац|вернуть вас|вернуть тебя|верн[её]м вас|извин|прости(?:те)?\b|прощени|сожале|sorry|apolog|reactivat",
    re.IGNORECASE,
)
_PRESSURE = re.compile(
    r"скуча|соскуч|жд[её]м|не хватает|последний шанс|только сегодня|успейте|miss you|last chance|hurry", re.IGNORECASE
)
_MARKUP = re.compile(r"\*|__|~~|`|<[a-z/]|^#|^[-•] |\]\(", re.IGNORECASE | re.MULTILINE)
_PREAMBLE = re.compile(
    r"^(?:конечно|вот (?:ваше |текст|сообщение|вариант)|сообщение:|текст:|вариант \d|here is|here's|sure[,!]|[\"«'])",
    re.IGNORECASE,
)
_CALL = re.compile(r"запи[сш]|оформ|подтверд|\bbook", re.IGNORECASE)
_DISCOUNT = re.compile(r"скидк|discount|% off|%", re.IGNORECASE)


def validate_message(text: str, facts: MessageFacts) -> list[str]:
    """Return what is wrong with a final text; an empty list when it may be sent.

    Judges: placeholders left, numbers that are not among the facts, alphabet, length by stage, one or two emoji, words that must
    not be said, links, markup, preamble, the name, the discount, at least one offered slot, a call to book at the end, and the
    line on how to stop at the first contact.
    """
    language = _language(facts)
    stage = stage_of(facts.days_inactive)
    hint = OPT_OUT_LINE[language]
    body = text.removesuffix(hint).rstrip()
    phrases = fact_phrases(facts)
    own = body
    for given in sorted((phrases["name"], phrases["service"], phrases["staff"]), key=len, reverse=True):
        own = re.sub(rf"(?<!\w){re.escape(given)}(?!\w)", " ", own) if given else own
    complaints = [
        (bool(re.search(r"[{}\[\]]", body)), "a placeholder or a bracket is left"),
        (not _numbers(own) <= _numbers(" ".join(phrases.values())), "it holds a number that is not among the facts"),
        (not _in_language(own, language), "it is in the wrong alphabet"),
        (len(body) > STAGE_LIMITS[stage], f"it is longer than {STAGE_LIMITS[stage]} characters"),
        (len(text) > TOTAL_LIMIT, f"with the line on how to stop it is longer than {TOTAL_LIMIT} characters"),
        (not 1 <= len(_EMOJI.findall(own)) <= 2, "it must hold one or two emoji"),
        (bool(_BANNED.search(own)), "it says what must not be said"),
        (stage == "gentle" and bool(_PRESSURE.search(own)), "it presses a client who was here lately"),
        (bool(_LINK.search(own)), "it holds a link or an address"),
        (bool(_MARKUP.search(own)), "it holds markup"),
        (bool(_PREAMBLE.search(own.lstrip())), "it begins with a preamble or a quotation mark"),
        (bool(phrases["name"]) and phrases["name"] not in body, "it does not address the client by name"),
        (not _tells_discount(body, own, facts), "it tells another discount than the offered one"),
        (bool(facts.slots) and not _tells_slot(body, facts), "it offers none of the slots"),
        (not _CALL.search(body[-60:]), "it does not end with a call to book"),
        (facts.first_contact and hint not in text, "it does not say how to stop messages"),
    ]
    return [complaint for wrong, complaint in complaints if wrong]


def _numbers(text: str) -> set[str]:
    return set(_NUMBER.findall(text))


def _in_language(text: str, language: str) -> bool:
    letters = _LETTER.findall(text)
    cyrillic = len(_CYRILLIC.findall(text))
    return cyrillic == 0 if language == "en" else cyrillic > 0.8 * len(letters)


def _tells_discount(body: str, own: str, facts: MessageFacts) -> bool:
    """Whether the offered discount is told; without one, whether no word apart from names and titles speaks of any."""
    if facts.discount_percent <= 0:
        return not _DISCOUNT.search(own)
    return re.search(rf"(?<!\d){facts.discount_percent} ?%", body) is not None


def _tells_slot(text: str, facts: MessageFacts) -> bool:
    tell = english_when if _language(facts) == "en" else when
    return any(tell(slot.starts_local) in text for slot in facts.slots)
