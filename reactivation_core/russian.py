"""Russian (and English) wording of counts, dates and times for messages to clients.

Here: plurals, "три недели", "в четверг, 26 ноября, в 18:30". Everything is computed from the value alone: no locale, no clock.
"""

from datetime import datetime

_MONTHS = (
    "января", "февраля", "марта", "апреля", "мая", "июня", "июля", "августа", "сентября", "октября", "ноября", "декабря",
)  # fmt: skip
_WEEKDAYS = ("понедельник", "вторник", "среду", "четверг", "пятницу", "субботу", "воскресенье")
_ENGLISH_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_ENGLISH_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

# Landmarks of time as people tell it: days, the words that fit before "назад" and after "уже", their genitive after "больше".
_AGO: tuple[tuple[float, str, str], ...] = (
    (14, "две недели", "двух недель"),
    (21, "три недели", "трёх недель"),
    (30.4, "месяц", "месяца"),
    (45.7, "полтора месяца", "полутора месяцев"),
    (60.9, "два месяца", "двух месяцев"),
    (91.3, "три месяца", "трёх месяцев"),
    (121.8, "четыре месяца", "четырёх месяцев"),
    (152.2, "пять месяцев", "пяти месяцев"),
    (182.6, "полгода", "полугода"),
    (213.1, "семь месяцев", "семи месяцев"),
    (243.5, "восемь месяцев", "восьми месяцев"),
    (273.9, "девять месяцев", "девяти месяцев"),
    (304.4, "десять месяцев", "десяти месяцев"),
    (334.8, "одиннадцать месяцев", "одиннадцати месяцев"),
    (365.2, "год", "года"),
    (547.9, "полтора года", "полутора лет"),
    (730.5, "два года", "двух лет"),
    (1095.7, "три года", "трёх лет"),
    (1461.0, "четыре года", "четырёх лет"),
    (1826.2, "пять лет", "пяти лет"),
)
_ENGLISH_AGO = (
    "two weeks", "three weeks", "a month", "a month and a half", "two months", "three months", "four months", "five months",
    "half a year", "seven months", "eight months", "nine months", "ten months", "eleven months", "a year", "a year and a half",
    "two years", "three years", "four years", "five years",
)  # fmt: skip
_COUNTED_BELOW = 12  # fewer days are counted
_EXACT_WITHIN, _EXACT_DAYS = (
    0.05,
    (2, 9),
)  # of a landmark, in days at least and most: further off it is "almost" or "more than"


def plural(count: int, one: str, few: str, many: str) -> str:
    """Return the form of a Russian noun that goes with a count: 1 день, 2 дня, 5 дней, 11 дней, 21 день."""
    tail = abs(count) % 100
    if 11 <= tail <= 14:
        return many
    return one if tail % 10 == 1 else few if 2 <= tail % 10 <= 4 else many


def counted(count: int, one: str, few: str, many: str) -> str:
    """Return the count with its noun: "22 дня"."""
    return f"{count} {plural(count, one, few, many)}"


def days_phrase(days: int) -> str:
    """Return how long ago as people say it: "9 дней", "три недели", "почти два месяца", "больше полугода".

    The words fit before "назад" and after "прошло" and "уже": none of them ends differently in the two places.

    Raises:
        ValueError: If `days` is negative.
    """
    if _is_counted(days):
        return counted(days, "день", "дня", "дней")
    number, side = _landmark(days)
    _, words, after_more = _AGO[number]
    return f"больше {after_more}" if side > 0 else f"почти {words}" if side < 0 else words


def english_days_phrase(days: int) -> str:
    """Return how long ago in English, fit before "ago" and after "it has been": "9 days", "almost two months", "more than a year".

    Raises:
        ValueError: If `days` is negative.
    """
    if _is_counted(days):
        return "1 day" if days == 1 else f"{days} days"
    number, side = _landmark(days)
    words = _ENGLISH_AGO[number]
    return f"more than {words}" if side > 0 else f"almost {words}" if side < 0 else words


def _is_counted(days: int) -> bool:
    if days < 0:
        raise ValueError("days must not be negative")
    return days < _COUNTED_BELOW


def _landmark(days: int) -> tuple[int, int]:
    """Return which landmark is the nearest, and whether the days are at it (0), short of it (-1) or past it (1)."""
    number = min(range(len(_AGO)), key=lambda one: abs(_AGO[one][0] - days))
    beyond = days - _AGO[number][0]
    least, most = _EXACT_DAYS
    exact = abs(beyond) <= min(max(least, _EXACT_WITHIN * _AGO[number][0]), most)
    return number, 0 if exact else 1 if beyond > 0 else -1


def when(local: datetime) -> str:
    """Return a local time as an absolute date: "в четверг, 26 ноября, в 18:30", "во вторник, 1 декабря, в 9:00"."""
    preposition = "во" if local.isoweekday() == 2 else "в"
    weekday = _WEEKDAYS[local.weekday()]
    return f"{preposition} {weekday}, {local.day} {_MONTHS[local.month - 1]}, в {local.hour}:{local.minute:02d}"


def english_when(local: datetime) -> str:
    """Return a local time as an absolute date in English: "Thursday, November 26, at 6:30 PM"."""
    day = f"{_ENGLISH_WEEKDAYS[local.weekday()]}, {_ENGLISH_MONTHS[local.month - 1]} {local.day}"
    return f"{day}, at {english_time(local)}"


def english_time(local: datetime) -> str:
    """Return a time of day in English: "6:30 PM"."""
    half = "AM" if local.hour < 12 else "PM"
    return f"{local.hour % 12 or 12}:{local.minute:02d} {half}"


def either(parts: list[str], conjunction: str = "или") -> str:
    """Join alternatives: "а", "а или б", "а; б или в" (semicolons, since a date holds commas)."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{'; '.join(parts[:-1])} {conjunction} {parts[-1]}"
