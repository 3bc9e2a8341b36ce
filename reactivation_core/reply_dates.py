"""Reads the times and days that clients write in words and digits: "в 6 вечера", "26 ноября", "через две недели".

Here: the words for months, weekdays, seasons and numbers, Russian and English, and their meaning relative to a given local day.
"""

import calendar
import re
from datetime import date, timedelta

from reactivation_core.reply_words import words_of

MONTHS = (
    r"(?:январ[ьяею]|феврал[ьяею]|март[аеу]?|апрел[ьяею]|ма[йяею]|июн[ьяею]|июл[ьяею]|август[аеу]?|сентябр[ьяею]|октябр[ьяею]|"
    r"ноябр[ьяею]|декабр[ьяею]|january|february|march|april|may|june|july|august|september|october|november|december|"
    r"jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)"
)
_MONTH_STEMS = {
    stem: number
    for number, stems in enumerate(
        (
            ("янв", "jan"), ("фев", "feb"), ("мар", "mar"), ("апр", "apr"), ("май", "мая", "мае", "маю", "may"), ("июн", "jun"),
            ("июл", "jul"), ("авг", "aug"), ("сен", "sep"), ("окт", "oct"), ("ноя", "nov"), ("дек", "dec"),
        ),
        start=1,
    )
    for stem in stems
}  # fmt: skip
WEEKDAYS = (
    r"(?:понедельник(?:а|у|ам)?|вторник(?:а|у|ам)?|сред(?:а|у|ы|е|ам)|четверг(?:а|у|ам)?|пятниц(?:а|у|ы|е|ам)|суббот(?:а|у|ы|е|ам)|"
    r"воскресень(?:е|я|ю|ям)|пн|вт|ср|чт|пт|сб|вс|monday|tuesday|wednesday|thursday|friday|saturday|sunday|"
    r"mon|tues?|wed|thurs?|thu|fri|sat|sun)"
)
_WEEKDAY_STEMS = {
    stem: number
    for number, stems in enumerate(
        (("по", "пн", "mo"), ("вт", "tu"), ("ср", "we"), ("че", "чт", "th"), ("пя", "пт", "fr"), ("су", "сб", "sa"), ("во", "вс", "su")),
        start=1,
    )
    for stem in stems
}  # fmt: skip
_NUMBERS = {
    "один": 1, "одну": 1, "одного": 1, "час": 1, "a": 1, "one": 1, "два": 2, "две": 2, "двух": 2, "пару": 2, "two": 2, "couple": 2,
    "a couple": 2, "a couple of": 2, "couple of": 2, "три": 3, "three": 3, "четыре": 4, "four": 4, "пять": 5, "five": 5, "шесть": 6,
    "six": 6, "семь": 7, "seven": 7, "восемь": 8, "eight": 8, "девять": 9, "nine": 9, "десять": 10, "ten": 10, "одиннадцать": 11,
    "eleven": 11, "двенадцать": 12, "twelve": 12,
}  # fmt: skip
SEASONS = {
    "зимой": 12,
    "весной": 3,
    "летом": 6,
    "осенью": 9,
    "winter": 12,
    "spring": 3,
    "summer": 6,
    "autumn": 9,
    "fall": 9,
}


def read_hours(text: str) -> list[tuple[int, int]]:
    """Return the (hour, minute) pairs that a time token may mean; "в 6" may be 6:00 and 18:00."""
    halves = {
        "перв": 12,
        "втор": 1,
        "трет": 2,
        "четв": 3,
        "пято": 4,
        "шест": 5,
        "седь": 6,
        "вось": 7,
        "девя": 8,
        "деся": 9,
    }
    if match := re.search(r"пол(?:овин[аеу])? ?([а-я]{4})", text):
        hour, minute = halves[match[1]], 30
    elif match := re.search(r"(\d{1,2})(?:[:.\-/ ](\d\d))?", text):
        hour, minute = int(match[1]), int(match[2] or 0)
    else:
        hour, minute = next((_NUMBERS[word] for word in words_of(text) if word in _NUMBERS), 12), 0
    if re.search(r"вечера|pm|дня", text):
        return [(hour + 12 if hour < 12 else hour, minute)]
    if re.search(r"утра|am", text) or hour > 11:
        return [(hour, minute)]
    return [(hour, minute), (hour + 12, minute)]


def read_weekday(text: str) -> int:
    """Return the ISO weekday (1 = Monday) of a weekday token."""
    word = re.search(rf"(?<![^\W_]){WEEKDAYS}(?![^\W_])", text)
    return _WEEKDAY_STEMS[word[0][:2]] if word else 0


def read_date(text: str, today: date) -> date | None:
    """Return the next day, today or later, that a date token means; None when there is no such day."""
    if "послезавтра" in text:
        return today + timedelta(days=2)
    if re.search(r"завтра|tomorrow", text):
        return today + timedelta(days=1)
    if re.search(r"сегодня|today", text):
        return today
    if weekday := read_weekday(text):
        return today + timedelta(days=(weekday - today.isoweekday()) % 7)
    month = _month_in(text)
    if match := re.search(r"(\d{1,2})[./](\d{1,2})(?:[./](\d{4}))?", text):
        if match[3]:
            return _day(int(match[3]), int(match[2]), int(match[1]))
        return _next_day(today, int(match[2]), int(match[1]))
    if match := re.search(r"\d{1,2}", text):
        return _next_day(today, month, int(match[0])) if month else _next_day_of_month(today, int(match[0]))
    return None


def read_later(text: str, today: date) -> date | None:
    """Return the day until which a "later" token asks to wait; None when it means no sensible day within a year."""
    found = _relative(text, today) or _named_period(text, today) or read_date(text, today)
    return found if found and today <= found <= today + timedelta(days=330) else None


def _relative(text: str, today: date) -> date | None:
    """Read "через две недели", "in a month"."""
    if not re.match(r"(?:через|спустя|in) (?!the |early|late|mid)", text):
        return None
    if "полгода" in text:
        return _add_months(today, 6)
    number = re.search(r"\d+", text)
    words = re.sub(r"^(?:через|спустя|in) ", "", text).rsplit(" ", 1)
    count = int(number[0]) if number else _NUMBERS.get(words[0], 1) if len(words) > 1 else 1
    if re.search(r"дн|ден|day", text):
        return today + timedelta(days=count)
    if re.search(r"недел|week", text):
        return today + timedelta(weeks=count)
    if re.search(r"месяц|month", text):
        return _add_months(today, count)
    return _add_months(today, 12 * min(count, 100)) if "год" in text else None


def _named_period(text: str, today: date) -> date | None:
    """Read "до конца месяца", "в январе", "в следующем месяце", "после нового года", "весной"."""
    if re.search(r"следующ\w+ недел|next week", text):
        return today + timedelta(days=8 - today.isoweekday())
    month = _month_in(text)
    if "конца" in text or "концу" in text or "конце" in text:
        if "недел" in text:
            return today + timedelta(days=7 - today.isoweekday())
        start = date(today.year, 12, 1) if "год" in text else _next_first(today, month) if month else today
        return start.replace(day=calendar.monthrange(start.year, start.month)[1])
    if re.search(r"нов\w+ год|new year|следующем году|следующий год|next year", text):
        return date(today.year + 1, 1, 1)
    if re.search(r"следующ\w+ месяц|next month", text):
        return _add_months(today.replace(day=1), 1)
    for word, first_month in SEASONS.items():
        if word in text:
            return _next_first(today, first_month)
    return _next_first(today, month) if month and not re.search(r"\d", text) else None


def _month_in(text: str) -> int:
    match = re.search(rf"(?<![^\W_]){MONTHS}(?![^\W_])", text)
    return _MONTH_STEMS[match[0][:3]] if match else 0


def _day(year: int, month: int, day: int) -> date | None:
    return date(year, month, day) if 1 <= day <= calendar.monthrange(year, month)[1] else None


def _next_day(today: date, month: int, day: int) -> date | None:
    """Return the next such day of the year, today or later."""
    this_year = _day(today.year, month, day)
    return this_year if this_year and this_year >= today else _day(today.year + 1, month, day)


def _next_day_of_month(today: date, day: int) -> date | None:
    """Return the next such day of a month, today or later."""
    for ahead in range(3):
        month = _add_months(today.replace(day=1), ahead)
        found = _day(month.year, month.month, day)
        if found and found >= today:
            return found
    return None


def _next_first(today: date, month: int) -> date:
    """Return the first day of the next such month; today when that month is running."""
    return today if month == today.month else date(today.year + (month < today.month), month, 1)


def _add_months(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))
