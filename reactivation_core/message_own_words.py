"""The rules about what a text says of its own, once the facts that we filled in are taken out.

What to add here: a rule about words. What to keep out: their vocabulary (`message_words`) and rules about the facts (`message_rules`).

A text's own words may hold no number, no time, no person, no price and no service but the one that is due, so nothing that a model makes up
can pass for a fact. Wherever it can, a rule names what is allowed (letters, signs, emoji, a vocabulary), because what is forbidden has no end.
"""

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from reactivation_core import message_words as words
from reactivation_core.message_facts import Stage
from reactivation_core.messages import PLACEHOLDER
from reactivation_core.morphology import Parse, is_known, is_somebody, readings

_PICTURE = "[\u2190-\u21ff\u231a-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
_MODIFIER = "[\ufe0f\u20e3\U0001f3fb-\U0001f3ff]"
EMOJI: Final = re.compile(rf"{_PICTURE}{_MODIFIER}*(?:\u200d{_PICTURE}{_MODIFIER}*)*")
"""One picture as people see it, however many characters it takes."""

_WORD = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_RUSSIAN, _ENGLISH = re.compile("[а-яё'’-]+", re.IGNORECASE), re.compile("[a-z'’-]+", re.IGNORECASE)
_STRANGE_SIGNS = re.compile(r"[^\w\s.,!?:;—–\-−()«»…'’]|_|[^\S ]")
_SHOUT = re.compile(r"[!?]{2,}|\.{4,}|…{2,}")
_SENTENCE = re.compile(r"[.!?…\n]+")
_BEGINS = re.compile(r"(?:^|[.!?…:»)\n]|[^\w\s,.;—–\-−(«{}'’%])\s*$")


class Setting(NamedTuple):
    """What a text's own words may say depends on this."""

    tongue: str
    stage: Stage
    business: str
    discounted: bool
    service: str
    salon: str
    other_services: tuple[str, ...]


@dataclass(frozen=True)
class _Text:
    """A text ready to be judged: without placeholders in `bare`; `tokens` are its words with whether each begins a sentence."""

    own: str
    bare: str
    tokens: tuple[tuple[str, bool], ...]
    setting: Setting
    given: frozenset[str]  # words of the titles that may be said, in lower case

    @property
    def russian(self) -> bool:
        return self.setting.tongue == "ru"


@functools.lru_cache(maxsize=8_192)
def broken_by(own: str, setting: Setting) -> tuple[tuple[str, str], ...]:
    """The rules that a text's own words break, and the words; `own` has placeholders in place of the facts."""
    whole = re.sub(r"\{discount\}\s?%", "{discount}", own)
    given = frozenset(word.casefold() for title in (setting.service, setting.salon) for word in _WORD.findall(title))
    bare = PLACEHOLDER.sub(" ", whole)
    found = tuple(
        (match[0], bool(_BEGINS.search(whole[: match.start()])))
        for match in _WORD.finditer(whole)
        if not _inside(whole, match)
    )
    text = _Text(whole, bare, found, setting, given)
    return tuple((rule, hit.strip()) for rule, look in _LOOKS if (hit := look(text)) is not None)


def _inside(text: str, word: re.Match[str]) -> bool:
    return text[word.start() - 1 : word.start()] == "{" or text[word.end() : word.end() + 1] == "}"


Look = Callable[[_Text], str | None]


def _search(pattern: re.Pattern[str]) -> Look:
    def look(text: _Text) -> str | None:
        found = pattern.search(text.bare)
        return found[0] if found else None

    return look


def _first(text: _Text) -> Iterator[tuple[str, Parse]]:
    """Every Russian word with its likeliest reading."""
    for word, _ in text.tokens:
        for parse in readings(word)[:1]:
            yield word, parse


def _digits(text: _Text) -> str | None:
    return next((letter for letter in text.bare if letter.isnumeric()), None)


def _number_words(text: _Text) -> str | None:
    return next(
        (word for word, one in _first(text) if "NUMR" in one.grammemes or one.lemma in words.NUMBER_WORDS), None
    )


def _own_time(text: _Text) -> str | None:
    greeted = re.sub(r"(?:добр|хорош)\w+ день|(?:добр|хорош)\w+ дня|со дня", " ", text.bare, flags=re.IGNORECASE)
    if re.search(r"(?<!\w)(?:день|дня|днём|днем|дни|днях|дней|дневн\w+)(?!\w)", greeted, re.IGNORECASE):
        return "день"
    if not text.russian:
        return next((word for word, _ in text.tokens if word.casefold() in words.ENGLISH_TIMES), None)
    return next((word for word, one in _first(text) if one.lemma in words.TIME_WORDS), None)


def _person(text: _Text) -> str | None:
    if not text.russian:
        opener = re.compile(
            r"(?:^|[.!?…]\s+)([A-Z][a-z]+)(?= (?:is|has|will|would|can|was|says|remembers|waits|loves|knows)\b|'s\b)"
        )
        return next((name for name in opener.findall(text.own) if name.casefold() not in words.ENGLISH_OPENERS), None)
    return next(
        (
            word
            for word, _ in text.tokens
            if word.casefold() not in text.given and is_somebody(word) and word[0].isupper()
        ),
        None,
    )


def _proper_name(text: _Text) -> str | None:
    polite = {"вы", "вас", "вам", "вами"} if text.russian else {"i", "i'm", "i'll", "i'd"}
    for word, begins in text.tokens:
        plain = word.casefold()
        if (
            not word[0].isupper()
            or plain in text.given
            or plain in polite
            or (text.russian and plain.startswith("ваш"))
        ):
            continue
        if not begins:
            return word
        if any(one.grammemes & {"Geox", "Orgn", "Trad"} for one in readings(word)[:1]):
            return word
    return None


def _unknown_word(text: _Text) -> str | None:
    if not text.russian:
        return None
    if (
        letter := next(
            (word for word, _ in text.tokens if len(word) == 1 and word.lower() not in words.SHORT_WORDS), None
        )
    ) is not None:
        return letter
    known = words.DOMAIN_WORDS | text.given
    return next(
        (
            word
            for word, _ in text.tokens
            if word.casefold() not in known and _RUSSIAN.fullmatch(word) and not is_known(word)
        ),
        None,
    )


def _service(text: _Text) -> str | None:
    due = _lemmas(text.setting.service)
    usual = words.BUSINESS_SERVICES[text.setting.business]
    elsewhere = _elsewhere(text.setting.other_services)
    for word, _ in text.tokens:
        if usual.match(word) or word.casefold() in due or {one.lemma for one in readings(word)[:1]} & due:
            continue
        if words.SERVICE_STEMS.match(word) or {one.lemma for one in readings(word)[:1]} & elsewhere:
            return word
    return None


@functools.lru_cache(maxsize=4_096)
def _lemmas(title: str) -> frozenset[str]:
    found = _WORD.findall(title)
    return frozenset(word.casefold() for word in found) | {one.lemma for word in found for one in readings(word)[:1]}


@functools.lru_cache(maxsize=512)
def _elsewhere(titles: tuple[str, ...]) -> frozenset[str]:
    """The words by which a company's services are called, without those that any message may hold."""
    found = {word for title in titles for word in _WORD.findall(title[:200])}
    parsed = [one for word in found if is_known(word) for one in readings(word)[:1]]
    names = {one.lemma for one in parsed if one.grammemes & {"NOUN", "ADJF"} and len(one.lemma) >= 4}
    return frozenset(names) - words.NOUNS - words.TITLE_NOUNS - words.QUALITIES


def _alphabet(text: _Text) -> str | None:
    allowed = _RUSSIAN if text.russian else _ENGLISH
    return next(
        (word for word, _ in text.tokens if word.casefold() not in text.given and not allowed.fullmatch(word)), None
    )


def _signs(text: _Text) -> str | None:
    found = _STRANGE_SIGNS.search(EMOJI.sub("", text.bare)) or _SHOUT.search(text.bare)
    return f"{found[0]!r}" if found else None


def _capitals(text: _Text) -> str | None:
    return next(
        (word for word, _ in text.tokens if len(word) > 1 and word.isupper() and word.casefold() not in text.given),
        None,
    )


def _emoji(text: _Text) -> str | None:
    found = EMOJI.findall(text.bare)
    strange = [one for one in found if one[0] not in words.EMOJI]
    if strange or not 1 <= len(found) <= 2:
        return "".join(strange or found)
    return None


def _pressure(text: _Text) -> str | None:
    return _search(words.PRESSURE if text.setting.stage == "gentle" else words.HARD_PRESSURE)(text)


def _discount(text: _Text) -> str | None:
    """A word of a discount is fine beside the offered one; a second word or per cent sign, or any word without an offer, is not."""
    found = words.DISCOUNT.search(text.bare)
    if found is None:
        return None
    offered = text.setting.discounted and len(_DISCOUNTS.findall(text.bare)) == 1
    return (
        None
        if offered and re.fullmatch(r"скид\w*|discount|% ?off", found[0], re.IGNORECASE) and "%" not in text.bare
        else found[0]
    )


_DISCOUNTS = re.compile(r"скид\w*|discount", re.IGNORECASE)


def _familiar(text: _Text) -> str | None:
    if found := words.FLATTERY.search(text.bare):
        return found[0]
    for word, one in _first(text):
        commands = {"VERB", "sing", "impr", "excl"} <= one.grammemes or {"VERB", "sing", "2per"} <= one.grammemes
        if one.lemma in words.FAMILIAR or commands:
            return word
    return None


def _gender(text: _Text) -> str | None:
    """A past tense or a short form in the singular says man or woman, unless a thing in the same sentence is what it is said of."""
    if not text.russian:
        return None
    of_staff = " ".join(_OF_STAFF.findall(text.own))
    if said := next(filter(_gender_said, _WORD.findall(of_staff)), None):
        return str(said)
    for sentence in _SENTENCE.split(text.bare):
        found: list[str] = _WORD.findall(sentence)
        things = frozenset[str]().union(*map(_gender_of_thing, found))
        for word in found:
            gender = _gender_said(word)
            if gender and not gender & things:
                return word
    return None


_OF_STAFF = re.compile(r"(?<!у )(?<!к )(?<!с )\{staff\}\s+(\w+(?:\s+\w+)?)", re.IGNORECASE)
"""What is said of the master: the words after the name that is no "у {staff}"."""
_GENDERS: Final = frozenset({"masc", "femn"})


def _gender_of_thing(word: str) -> frozenset[str]:
    """The gender of a thing in the nominative: "визит" was, "скидка" was."""
    if word.casefold() in words.DOMAIN_WORDS:  # the dictionary takes a barber for a thing
        return frozenset()
    said = [one.grammemes for one in readings(word) if one.lemma in words.NOUNS or words.SERVICE_STEMS.match(word)]
    return frozenset[str]().union(*(one & _GENDERS for one in said if {"NOUN", "inan", "sing", "nomn"} <= one))


def _gender_said(word: str) -> frozenset[str]:
    """The gender that a word says of somebody; none for a word that is likelier a noun of every day."""
    parsed = readings(word)
    if not parsed or parsed[0].lemma in words.NOUNS:
        return frozenset()
    forms = [
        one.grammemes
        for one in parsed
        if {"VERB", "past", "sing"} <= one.grammemes
        or (one.grammemes & {"ADJS", "PRTS"} and "pres" not in one.grammemes)
    ]
    return frozenset[str]().union(*(one & _GENDERS for one in forms))


def _order(text: _Text) -> str | None:
    """What a message may ask of a client is to come, to choose, to answer: nothing else."""
    for word, _ in text.tokens:
        # "купите" may be a question too ("you will buy"): in the plural every reading counts, in the singular the likeliest
        parsed = readings(word) if word.casefold().endswith(("те", "тесь")) else readings(word)[:1]
        orders = {one.lemma for one in parsed if {"VERB", "impr"} <= one.grammemes}
        if orders and not orders & words.INVITATIONS:
            return word
    return None


def _voice(text: _Text) -> str | None:
    if not text.russian:
        return next((word for word, _ in text.tokens if word.casefold() in words.ENGLISH_ALONE), None)
    for word, one in _first(text):
        if one.lemma in words.ALONE or {"VERB", "1per", "sing"} <= one.grammemes:
            return word
    return None


_DOINGS: Final[tuple[tuple[frozenset[str], frozenset[str]], ...]] = (
    (frozenset({"past"}), words.HAPPENED),
    (frozenset({"futr", "3per"}), words.OTHERS_WILL),
    (frozenset({"pres", "3per"}), words.OTHERS_DO),
    (frozenset({"futr", "1per"}), words.WE_WILL),
    (frozenset({"pres", "1per"}), words.WE_DO),
    (frozenset({"2per"}), words.YOU_MAY),
)


def _claim(text: _Text) -> str | None:
    """What somebody does, did or will do is known to us in few cases only; the rest would be made up: news, promises, feelings."""
    if found := words.NEWS.search(text.bare):
        return found[0]
    if not text.russian:
        return None
    said: list[str] = _WORD.findall(words.WILL_BE.sub(" ", text.bare))
    return next((word for word in said for one in readings(word)[:1] if _is_made_up(one)), None)


def _is_made_up(one: Parse) -> bool:
    """Whether a verb in this person and tense says more than a message can know."""
    if "VERB" not in one.grammemes:
        return False
    promises = one.lemma == "быть" and "futr" in one.grammemes
    return promises or any(form <= one.grammemes and one.lemma not in usual for form, usual in _DOINGS)


def _negation(text: _Text) -> str | None:
    """What is not so is not ours to say, but that the client was away."""
    if not text.russian:
        found = words.ENGLISH_NEGATIONS.search(words.ENGLISH_DENIED.sub(" ", text.bare.replace("’", "'")))
        return found[0] if found else None
    if found := words.NEGATIONS.search(text.bare):
        return found[0]
    denied = re.findall(r"(?<!\w)не[\s-]+(?!так ли)(\w*)", text.bare, re.IGNORECASE)
    return next((f"не {word}" for word in denied if word.casefold() not in words.DENIED), None)


_KINDS: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("NOUN", words.NOUNS),
    ("ADJF", words.QUALITIES),
    ("ADJS", words.QUALITIES),
    ("ADVB", words.ADVERBS),
    ("INTJ", words.INTERJECTIONS),
    ("PRED", words.STATES),
    *((kind, words.VERBS) for kind in ("VERB", "INFN", "PRTF", "GRND")),
)


def _off_topic(text: _Text) -> str | None:
    """A word that such a message has no use for: it is in no reading a word of its vocabulary."""
    if not text.russian:
        if found := words.ENGLISH_MISUSED.search(text.bare):
            return found[0]
        known = words.ENGLISH_WORDS | text.given
        return next((word for word, _ in text.tokens if word.casefold().replace("’", "'") not in known), None)
    usual = words.BUSINESS_SERVICES[text.setting.business]
    due = _lemmas(text.setting.service)
    for word, _ in text.tokens:
        plain = word.casefold()
        if plain in text.given or plain in words.DOMAIN_WORDS or usual.match(word):
            continue
        if not any(_is_usual(one, due) for one in readings(word)) and plain not in words.COMPARATIVES:
            return word
    return None


def _is_usual(one: Parse, due: frozenset[str]) -> bool:
    if one.grammemes & {"Name", "Surn", "Patr", "Abbr"} or "COMP" in one.grammemes or "Anum" in one.grammemes:
        return False
    if one.grammemes & words.FREE_KINDS or one.lemma in due:
        return True
    return any(kind in one.grammemes and one.lemma in usual for kind, usual in _KINDS)


_LOOKS: Final[tuple[tuple[str, Look], ...]] = (
    ("digits", _digits),
    ("number_words", _number_words),
    ("own_time", _own_time),
    ("person", _person),
    ("proper_name", _proper_name),
    ("unknown_word", _unknown_word),
    ("service", _service),
    ("alphabet", _alphabet),
    ("signs", _signs),
    ("capitals", _capitals),
    ("emoji", _emoji),
    ("banned", _search(words.BANNED)),
    ("pressure", _pressure),
    ("price", _search(words.PRICE)),
    ("offer", _search(words.OFFER)),
    ("discount", _discount),
    ("guarantee", _search(words.GUARANTEE)),
    ("medical", _search(words.MEDICAL)),
    ("machine", _search(words.MACHINE)),
    ("other_salon", _search(words.OTHER_SALON)),
    ("opt_out", _search(words.OWN_OPT_OUT)),
    ("booked", _search(words.BOOKED)),
    ("contact", lambda text: _search(words.LINK)(text) or _search(words.PHONE)(text)),
    ("preamble", _search(words.PREAMBLE)),
    ("trailer", _search(words.TRAILER)),
    ("familiar", _familiar),
    ("gender", _gender),
    ("voice", _voice),
    ("order", _order),
    ("claim", _claim),
    ("negation", _negation),
    ("off_topic", _off_topic),
    ("unkind", _search(words.UNKIND)),
    ("obscene", _search(words.OBSCENE)),
)
