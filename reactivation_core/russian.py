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

# Below four weeks people count days, below ten weeks weeks, then months.
_WEEKS_FROM, _MONTHS_FROM = 28, 70
_DAYS_IN_MONTH = 30.44


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
    """Return how long ago as people say it, in a form that fits before "назад": "15 дней", "5 недель", "3 месяца".

    Raises:
        ValueError: If `days` is negative.
    """
    if days < 0:
        raise ValueError("days must not be negative")
    if days < _WEEKS_FROM:
        return counted(days, "день", "дня", "дней")
    if days < _MONTHS_FROM:
        return counted(days // 7, "неделя", "недели", "недель")
    return counted(round(days / _DAYS_IN_MONTH), "месяц", "месяца", "месяцев")


def english_days_phrase(days: int) -> str:
    """Return how long ago in English: "15 days", "5 weeks", "3 months".

    Raises:
        ValueError: If `days` is negative.
    """
    if days < 0:
        raise ValueError("days must not be negative")
    if days < _WEEKS_FROM:
        count, noun = days, "day"
    elif days < _MONTHS_FROM:
        count, noun = days // 7, "week"
    else:
        count, noun = round(days / _DAYS_IN_MONTH), "month"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def when(local: datetime) -> str:
    """Return a local time as an absolute date: "в четверг, 26 ноября, в 18:30", "во вторник, 1 декабря, в 9:00"."""
    preposition = "во" if local.isoweekday() == 2 else "в"
    weekday = _WEEKDAYS[local.weekday()]
    return f"{preposition} {weekday}, {local.day} {_MONTHS[local.month - 1]}, в {local.hour}:{local.minute:02d}"


def english_when(local: datetime) -> str:
    """Return a local time as an absolute date in English: "Thursday, November 26, at 6:30 PM"."""
    hour = local.hour % 12 or 12
    half = "AM" if local.hour < 12 else "PM"
    day = f"{_ENGLISH_WEEKDAYS[local.weekday()]}, {_ENGLISH_MONTHS[local.month - 1]} {local.day}"
    return f"{day}, at {hour}:{local.minute:02d} {half}"


def either(parts: list[str], conjunction: str = "или") -> str:
    """Join alternatives: "а", "а или б", "а; б или в" (semicolons, since a date holds commas)."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{'; '.join(parts[:-1])} {conjunction} {parts[-1]}"
