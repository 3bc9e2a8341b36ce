"""Russian words by dictionary: lemma, kind, case. The one place that asks pymorphy3.

What to add here: questions about single words. What to keep out: what a word means to a salon (`reply_phrases`, `message_words`).
"""

import functools
from typing import Any, Final, Literal, NamedTuple

Case = Literal["nomn", "gent", "datv", "accs", "ablt", "loct"]
"""The six cases in the dictionary's own names: nominative, genitive, dative, accusative, instrumental, prepositional."""

_REMEMBERED: Final = 20_000


class Parse(NamedTuple):
    """One reading of a word: its dictionary form and its grammemes ("NOUN", "Name", "masc", "sing", …)."""

    lemma: str
    grammemes: frozenset[str]


@functools.cache
def _dictionary() -> Any:
    """Load the Russian dictionary once, on first use (about 0.15 s)."""
    import pymorphy3

    return pymorphy3.MorphAnalyzer()


@functools.lru_cache(maxsize=_REMEMBERED)
def readings(word: str) -> tuple[Parse, ...]:
    """Return the readings of a Russian word, the likeliest first; none for a word of another alphabet."""
    plain = word.lower()
    if not plain or not all("а" <= letter <= "я" or letter in "ё-" for letter in plain):
        return ()
    return tuple(Parse(one.normal_form, frozenset(one.tag.grammemes)) for one in _dictionary().parse(plain))


@functools.lru_cache(maxsize=_REMEMBERED)
def is_known(word: str) -> bool:
    """Tell whether the dictionary has a word; a compound is known when all its parts are."""
    plain = word.lower().strip("-")
    if not plain:
        return False
    return bool(_dictionary().word_is_known(plain)) or ("-" in plain and all(map(is_known, plain.split("-"))))


@functools.lru_cache(maxsize=_REMEMBERED)
def lemmas(word: str) -> frozenset[str]:
    """Return the possible dictionary forms of a normalised word; a word of another language is its own lemma."""
    if not "а" <= word[0] <= "я":
        return frozenset({word})
    return frozenset(parse.normal_form.replace("ё", "е") for parse in _dictionary().parse(word))


@functools.lru_cache(maxsize=_REMEMBERED)
def is_first_name(word: str) -> bool:
    """Tell whether the dictionary knows a Russian word as somebody's first name in the nominative ("Анна", not "Иванова")."""
    return any({"Name", "nomn", "sing"} <= one.grammemes for one in readings(word))


def is_somebody(word: str) -> bool:
    """Tell whether a word is likeliest a person's name in any case: a first name, a patronymic or a surname that the dictionary has."""
    first = next(iter(readings(word)), None)
    return first is not None and is_known(word) and bool(first.grammemes & {"Name", "Patr", "Surn"})


@functools.lru_cache(maxsize=_REMEMBERED)
def declined(name: str, case: Case) -> str | None:
    """Return a first name in a case ("Анны"), None for one that the dictionary does not have: such a name is not guessed at."""
    for one in _dictionary().parse(name.lower()) if is_first_name(name) else ():
        if {"Name", "nomn", "sing"} <= set(one.tag.grammemes) and (form := one.inflect({case, "sing"})) is not None:
            return "-".join(part.capitalize() for part in form.word.split("-"))
    return None
