"""How often people come: default intervals, seeds matched by title, and the personal rhythm.

A rule's interval has four possible sources; `active_interval` is the order among them. What to keep out: computing the historical
interval from visits (metrics of the mirror) and asking a model for one.
"""

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

IntervalSource = Literal["manual", "historical", "ai", "default"]

RHYTHM_GAPS = 5  # the last five gaps: habits change, older ones say little
RHYTHM_WEIGHT = 3  # the rule's interval counts as much as three gaps of the client's own
_CEILING_SLACK = 1e-9  # 1.5 * 28 must not become 43 through binary fractions
FALLBACK_DAYS = 30


@dataclass(frozen=True)
class Seed:
    """A usual interval in days (`low` to `high` in practice) for titles that contain one word of each group of `words`.

    A word ending in `*` stands for all words with that beginning (the language inflects); others match whole.
    """

    days: int
    low: int
    high: int
    words: tuple[tuple[str, ...], ...]


_MEN = ("мужск*", "men", "men's", "mens", "male")
_WOMEN = ("женск*", "women", "women's", "womens", "ladies")
_CUT = ("стриж*", "haircut", "haircuts", "cut", "cuts")
_COLOUR = ("окраш*", "окрас*", "покраск*", "colouring", "coloring", "colour", "color")

SEEDS = (
    Seed(28, 21, 35, (_CUT, _MEN)),
    Seed(40, 35, 50, (_CUT, _WOMEN)),
    Seed(50, 40, 70, (_COLOUR,)),
    Seed(21, 14, 28, (("маникюр*", "manicure"), ("гель*", "гел*", "шеллак*", "gel", "shellac"))),
    Seed(14, 10, 21, (("маникюр*", "manicure"), ("обычн*", "классическ*", "гигиенич*", "plain", "classic"))),
    Seed(30, 21, 40, (("педикюр*", "pedicure"),)),
    Seed(21, 14, 28, (("бород*", "beard"),)),
    Seed(28, 28, 28, (("чистк*", "уход*", "facial"), ("лиц*", "facial"))),
    Seed(14, 7, 21, (("массаж*", "massage"), ("лиц*", "face", "facial"))),
    Seed(21, 21, 21, (("пилинг*", "peeling", "peel"),)),
    Seed(35, 35, 35, (("эпиляц*", "шугаринг*", "epilation", "waxing"), ("ног*", "голен*", "leg", "legs"))),
    Seed(28, 28, 28, (("эпиляц*", "шугаринг*", "epilation", "waxing"), ("бикини", "bikini"))),
    Seed(21, 21, 21, (("эпиляц*", "шугаринг*", "epilation", "waxing"), ("подмыш*", "underarm", "underarms"))),
    Seed(90, 70, 120, (("балаяж*", "balayage"),)),
    Seed(60, 45, 90, (("наращив*", "extension", "extensions"), ("волос*", "hair"))),
    Seed(45, 30, 60, (("ботокс*", "botox"), ("волос*", "hair"))),
)

# Usual intervals of a whole type of business, for titles no seed fits.
BUSINESS_DEFAULTS: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "beauty": (
        (_CUT, 28),
        (_COLOUR, 45),
        (("маникюр*", "manicure"), 21),
        (("педикюр*", "pedicure"), 28),
        (("массаж*", "massage"), 14),
    ),
    "barbershop": ((_CUT, 21), (("бород*", "beard"), 14)),
    "dental": (
        (("чистк*", "гигиен*", "cleaning"), 180),
        (("отбелив*", "whitening"), 180),
        (("осмотр*", "консультац*", "checkup"), 180),
    ),
    "fitness": ((("тренировк*", "training", "workout"), 7),),
}
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?", re.UNICODE)


def default_interval(title: str, business_type: str) -> int:
    """Days between visits assumed for a service called `title` when nothing better is known; 30 when nothing fits.

    The most specific match wins: of all seeds whose word groups all occur as whole words, the one with the most groups; only then the
    defaults of the type of business. "Женская стрижка" is not a men's haircut.
    """
    seed = find_seed(title)
    if seed is not None:
        return seed.days
    words = _words(title)
    for group, days in BUSINESS_DEFAULTS.get(business_type, ()):
        if _occurs(group, words):
            return days
    return FALLBACK_DAYS


def find_seed(title: str) -> Seed | None:
    """The most specific seed whose words all occur in `title`; ties go to the longer interval, which asks less often."""
    words = _words(title)
    fitting = [seed for seed in SEEDS if all(_occurs(group, words) for group in seed.words)]
    return max(fitting, key=lambda seed: (len(seed.words), seed.days), default=None)


def active_interval(
    manual: int | None, historical: int | None, ai: int | None, default: int
) -> tuple[int, IntervalSource]:
    """The rule's interval in days and where it comes from: manual before historical before AI before default."""
    known: tuple[tuple[int | None, IntervalSource], ...] = ((manual, "manual"), (historical, "historical"), (ai, "ai"))
    for days, source in known:
        if days is not None:
            return days, source
    return default, "default"


def rhythm_days(own: pl.Expr, gaps: pl.Expr, interval: pl.Expr) -> pl.Expr:
    """A client's rhythm (Float64, days): the median `own` of the last `gaps` gaps shrunk to the rule's `interval`.

    `(gaps*own + 3*interval) / (gaps + 3)`: the interval weighs as much as three gaps. Null where `own` is null.
    """
    return (gaps * own + RHYTHM_WEIGHT * interval) / (gaps + RHYTHM_WEIGHT)


def due_after(interval: pl.Expr, rhythm: pl.Expr, personal_factor: pl.Expr) -> pl.Expr:
    """Days after which a client is due (Int64): the interval, or the stretched rhythm when that is longer. A factor of 0 ignores it."""
    stretched = (personal_factor * rhythm - _CEILING_SLACK).ceil().cast(pl.Int64)
    return pl.max_horizontal(interval, stretched)


def _words(title: str) -> list[str]:
    return _WORD.findall(title.lower().replace("ё", "е").replace("’", "'"))


def _occurs(group: tuple[str, ...], words: list[str]) -> bool:
    return any(
        word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted for wanted in group for word in words
    )
