"""What the CRM calls people and things, made fit to be said: a first name, a master's name, a service's title.

What to add here: what makes a name unfit. What to keep out: the texts around the names (`messages`).

The CRM's text is anybody's: notes, phones, advertising, orders to a machine. What does not look like a name is not said at all ("" here), and
the message does without. Nothing is cut: half a title means something else.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from reactivation_core import message_words as words
from reactivation_core.morphology import is_first_name, is_known, readings

LONGEST_NAME: Final = 20
LONGEST_SERVICE: Final = 40
_LONGEST_READ = 300  # characters of what the CRM holds; nothing longer is a name

_ADDRESS = re.compile(r"\S*(?:[@/\\:]|www\.|\.\w)\S*|\S*\d\S*")
_NOT_A_NAME = re.compile(r"[^\w\s'’\-]|[\d_]")
_CODE = re.compile(r"[{}<>\[\]|=;$%#*~`^\\]")
_NOT_A_TITLE = re.compile(r"[^\w\s'’+&,.()/№\-]|_")
_CYRILLIC = re.compile("[а-яё]", re.IGNORECASE)
_LATIN = re.compile("[a-z]", re.IGNORECASE)
_OTHER_LETTER = re.compile(r"[^\W\d_а-яёa-zÀ-ÖØ-öø-ÿ]", re.IGNORECASE)
_VOWEL = re.compile("[аеёиоуыэюяaeiouyà-öø-ÿ]", re.IGNORECASE)
_RUN = re.compile(r"(\w)\1\1")
_LONG_NUMBER = re.compile(r"\d[\d\s()\-]{4,}\d|\d{5,}")
# Latin letters that look like Cyrillic ones: typing slips in Russian titles, and tricks
_LOOKALIKES = str.maketrans("ABCEHKMOPTXYaceopxy", "АВСЕНКМОРТХУасеорху")
_SAID_OF_NOBODY = words.NO_NAMES | words.ENGLISH_PROMO | words.ENGLISH_WORDS | words.ENGLISH_TIMES
_MOST_WORDS = 4  # a longer text without a known first name is a note


@functools.lru_cache(maxsize=20_000)
def client_name(raw: str) -> str:
    """Return a first name fit for an address, or "" when the CRM's text holds none.

    CRM names carry surnames, phone numbers, notes and emoji ("Иванова Анна 8916... VIP"). The first word that the dictionary knows as a first
    name is taken. Without one, a single unknown word that can be a name is ("Айдай", "Quinn"), but no word of the language ("Мама", "Скидка"),
    no surname, nothing obscene, never more than twenty letters, never a part of a word.
    """
    plain = "".join(visible(raw[:_LONGEST_READ]))
    said = [_one_script(word.strip("-'’")) for word in _NOT_A_NAME.sub(" ", _ADDRESS.sub(" ", plain)).split()]
    own = [word for before, word in zip(["", *said], said, strict=False) if not _leads_to_another(before)]
    found = [word for word in own if len(word) > 1 and word.casefold() not in words.NO_NAMES]
    known = next(filter(None, map(_known_name, found)), "")
    if known:
        return known
    # no dictionary of ours has Latin words: all of them must look like names, or none is said
    latin = any(map(_LATIN.search, found))
    most = 2 if latin else _MOST_WORDS
    if _CODE.search(plain) or len(said) > most or (latin and not all(map(_may_be_a_name, said))):
        return ""
    return next((_named(word) for word in found if _may_be_a_name(word)), "")


@functools.lru_cache(maxsize=20_000)
def staff_name(raw: str) -> str:
    """Return how a message may call a staff member, or "": the first name if the dictionary knows one, else the first of one or two words, if it can be a name."""
    plain = "".join(visible(raw[:_LONGEST_READ]))
    if _CODE.search(plain) or re.search(r"\d", plain) or words.LINK.search(plain):
        return ""
    found = [_one_script(word.strip("-'’")) for word in _NOT_A_NAME.sub(" ", plain).split()]
    if any(word.casefold() in words.ENGLISH_PROMO for word in found):
        return ""
    known = next(filter(None, map(_known_name, found)), "")
    if known:
        return known
    possible = [word for word in found if len(word) > 1]
    fit = 0 < len(possible) <= 2 and _may_be_a_name(possible[0]) and not any(map(words.SERVICE_STEMS.match, possible))
    return _named(possible[0]) if fit else ""


@functools.lru_cache(maxsize=20_000)
def service_title(raw: str) -> str:
    """Return a service's title fit for a message, or "": what advertises, orders, promises or holds a price or a phone is not said."""
    plain = "".join(visible(raw[:_LONGEST_READ]))
    if words.LINK.search(plain) or _LONG_NUMBER.search(plain) or re.search(r"[{}<>\[\]|=;$%~`^\\₽€*]", plain):
        return ""
    title = " ".join(map(_one_script, _NOT_A_TITLE.sub(" ", plain).split()))
    title = re.sub(r"\s+([,.])", r"\1", title).strip(" ,.-+&/")
    if len(title) > LONGEST_SERVICE or not _LETTERS.search(title) or _advertises(title):
        return ""
    return _calm(title)


_UNFIT: Final = (
    words.OFFER, words.PRICE, words.DISCOUNT, words.GUARANTEE, words.MACHINE, words.PHONE, words.BANNED, words.OWN_OPT_OUT,
    words.OBSCENE, words.HARD_PRESSURE, words.OTHER_SALON, words.BOOKED,
)  # fmt: skip
"""What neither a name nor a title holds."""

_LETTERS = re.compile(r"[^\W\d_]{2}")


def visible(raw: str) -> Iterator[str]:
    """Yield the characters that print, with every kind of blank as a space; accents that pile up, controls and invisible ones are dropped."""
    for letter in unicodedata.normalize("NFKC", raw):
        category = unicodedata.category(letter)
        if category[0] == "Z" or letter in "\r\n\t":
            yield " "
        elif category[0] not in "CM":
            yield letter


def _one_script(word: str) -> str:
    """The word with Latin lookalikes turned into Cyrillic ones, when it mixes the two."""
    return word.translate(_LOOKALIKES) if _CYRILLIC.search(word) and _LATIN.search(word) else word


def _leads_to_another(word: str) -> bool:
    """Whether the name after this word is somebody else's, as in "жена Петра" and "от Виктора"."""
    first = next(iter(readings(word)), None)
    return first is not None and (first.lemma in words.RELATIVES or "PREP" in first.grammemes)


def _known_name(word: str) -> str:
    """The word as a name if it is a first name, or the first part of a compound that is one; else ""."""
    parts = word.split("-")
    if all(map(is_first_name, parts)):
        return _named(word)
    return next((_named(part) for part in parts if len(part) > 1 and is_first_name(part)), "")


def _may_be_a_name(word: str) -> bool:
    """Whether an unknown word can be somebody's name: it can be spoken, is in one alphabet, is no word of the language and no surname."""
    if not 2 <= len(word) <= LONGEST_NAME or not _VOWEL.search(word) or _RUN.search(word) or _OTHER_LETTER.search(word):
        return False
    plain = word.casefold()
    if not _SAID_OF_NOBODY.isdisjoint([plain, *plain.split("-")]):
        return False
    if any(pattern.search(word) for pattern in _UNFIT) or words.SERVICE_STEMS.match(word):
        return False
    if _LATIN.search(word):
        return not _CYRILLIC.search(word)
    first = next(iter(readings(word)), None)
    surname = first is not None and bool(first.grammemes & {"Surn", "Patr"})
    return not is_known(word) and not surname and word.casefold() not in words.DOMAIN_WORDS


def _named(word: str) -> str:
    """A name with its capitals: as the CRM has it when that makes sense, else every part begins with one."""
    sensible = _LATIN.search(word) and word[0].isupper() and any(letter.islower() for letter in word[1:])
    return word if sensible else "-".join(part[:1].upper() + part[1:].lower() for part in word.split("-"))


def _advertises(title: str) -> bool:
    """Whether a title holds more than a service's name: an offer, a price, a promise, an order to somebody."""
    if any(pattern.search(title) for pattern in _UNFIT):
        return True
    found = re.findall(r"[^\W\d_]+", title)
    orders = any("impr" in one.grammemes for word in found for one in readings(word)[:1])
    return (
        orders or bool(_OTHER_LETTER.search(title)) or sum(word.casefold() in words.ENGLISH_PROMO for word in found) > 0
    )


def _calm(title: str) -> str:
    """A title without words that shout; short ones may be abbreviations."""
    quiet = re.sub(r"\b[А-ЯЁ]{4,}\b", lambda found: found[0].lower(), title)
    return quiet if quiet == title else quiet[:1].upper() + quiet[1:]
