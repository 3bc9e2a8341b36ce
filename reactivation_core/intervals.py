"""How often people are expected: default intervals, seeds matched by title, the sources of a rule's interval, the personal rhythm.

A rule's interval has four possible sources; `INTERVAL_SOURCES` is the order among them, the only place that has it. What to keep out:
how often people really came (visit_gaps.py) and asking a model for an interval.
"""

import re
from dataclasses import dataclass
from typing import Literal

import polars as pl

IntervalSource = Literal["manual", "historical", "ai", "default"]
INTERVAL_SOURCES: dict[IntervalSource, str] = {
    "manual": "manual_interval",
    "historical": "calculated_avg_interval",
    "ai": "ai_suggested_interval",
    "default": "default_interval",
}
"""The sources of a rule's interval, the best first, each with the rule's column that holds it (days or null)."""

RHYTHM_GAPS = 5  # the last five gaps: habits change, older ones say little
RHYTHM_WEIGHT = 3  # the rule's interval counts as much as three gaps of the client's own
_CEILING_SLACK = 1e-9  # 1.5 * 28 must not become 43 through binary fractions
FALLBACK_DAYS = 30
SANE_SUGGESTION = (3, 365)  # days, for titles no seed fits


@dataclass(frozen=True)
class Seed:
    """A usual interval in days (`low` to `high` in practice) for titles that contain one word of each group of `words`.

    A word ending in `*` stands for all words with that beginning (the language inflects); others match whole.
    """

    days: int
    low: int
    high: int
    words: tuple[tuple[str, ...], ...]


_MEN = ("мужск*", "мужчин*", "муж", "men", "men's", "mens", "male")
_WOMEN = ("женск*", "женщин*", "жен", "women", "women's", "womens", "ladies")
_CUT = ("стриж*", "haircut", "haircuts", "cut", "cuts")
_COLOUR = ("окраш*", "окрас*", "покраск*", "colouring", "coloring", "colour", "color")
_BEARD = ("борода", "бороды", "бороде", "бороду", "бородой", "бород", "beard")  # "бородавка" is a wart
_FACE = ("лица", "лицо", "лицу", "лицом", "face", "facial")
_LEG = ("нога", "ноги", "ног", "ногам", "голен*", "leg", "legs")  # "ноготь" is a nail
_EPILATION = ("эпиляц*", "депиляц*", "шугаринг*", "epilation", "depilation", "sugaring", "waxing")
_MANICURE = ("маникюр*", "manicure")

SEEDS = (
    Seed(28, 21, 35, (_CUT, _MEN)),
    Seed(40, 35, 50, (_CUT, _WOMEN)),
    Seed(50, 40, 70, (_COLOUR,)),
    Seed(21, 14, 28, (_MANICURE, ("гел*", "шеллак*", "gel", "shellac"))),
    Seed(14, 10, 21, (_MANICURE, ("обычн*", "классическ*", "гигиенич*", "plain", "classic"))),
    Seed(30, 21, 40, (("педикюр*", "pedicure"),)),
    Seed(21, 14, 28, (_BEARD,)),
    Seed(28, 28, 28, (("facial",),)),
    Seed(28, 28, 28, (("чистк*", "уход*"), _FACE)),
    Seed(14, 7, 21, (("массаж*", "massage"), _FACE)),
    Seed(21, 21, 21, (("пилинг*", "peeling", "peel"),)),
    Seed(35, 35, 35, (_EPILATION, _LEG)),
    Seed(28, 28, 28, (_EPILATION, ("бикини", "bikini"))),
    Seed(21, 21, 21, (_EPILATION, ("подмыш*", "underarm", "underarms"))),
    Seed(90, 70, 120, (("балаяж*", "balayage"),)),
    Seed(60, 45, 90, (("наращив*", "extension", "extensions"), ("волос*", "hair"))),
    Seed(45, 30, 60, (("ботокс*", "botox"), ("волос*", "hair"))),
)

# Usual intervals of a whole type of business, for titles no seed fits.
BUSINESS_DEFAULTS: dict[str, tuple[tuple[tuple[str, ...], int], ...]] = {
    "beauty": (
        (_CUT, 28),
        (_COLOUR, 45),
        (_MANICURE, 21),
        (("педикюр*", "pedicure"), 28),
        (("массаж*", "massage"), 14),
    ),
    "barbershop": ((_CUT, 21), (_BEARD, 14)),
    "dental": (
        (("чистк*", "гигиен*", "cleaning"), 180),
        (("отбелив*", "whitening"), 180),
        (("осмотр*", "консультац*", "checkup", "check"), 180),
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


@dataclass(frozen=True)
class Suggestion:
    """An interval that somebody thinks right for a service: days, how sure (0 to 1), and why."""

    company_id: int
    service_id: int
    days: int
    confidence: float
    reasoning: str


def suggestion_range(title: str) -> tuple[int, int]:
    """The least and the most days a suggested interval for a service called `title` may have: its seed's usual range, if one fits."""
    seed = find_seed(title)
    return SANE_SUGGESTION if seed is None else (seed.low, seed.high)


def active_interval() -> pl.Expr:
    """A rule's interval (days) from the columns of `INTERVAL_SOURCES`: the first that is not null."""
    return pl.coalesce(*INTERVAL_SOURCES.values())


def active_interval_source() -> pl.Expr:
    """Which source `active_interval` comes from."""
    return pl.coalesce(
        *(pl.when(pl.col(name).is_not_null()).then(pl.lit(source)) for source, name in INTERVAL_SOURCES.items())
    )


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
