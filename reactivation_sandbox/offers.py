"""Reading a salon's message the way a client does: which days and hours it offers, and whose hands."""

import re
from datetime import date, datetime, time, timedelta

_MONTHS = {
    "янв": 1, "фев": 2, "мар": 3, "апр": 4, "мая": 5, "май": 5, "июн": 6, "июл": 7, "авг": 8, "сен": 9, "окт": 10, "ноя": 11, "дек": 12,
    "jan": 1, "feb": 2, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12,
}  # fmt: skip
_MONTHS["mar"] = 3
# By the first two letters, which differ in both languages.
_WEEKDAYS = {
    "по": 1, "вт": 2, "ср": 3, "че": 4, "пя": 5, "су": 6, "во": 7, "пн": 1, "чт": 4, "пт": 5, "сб": 6, "вс": 7,
    "mo": 1, "tu": 2, "we": 3, "th": 4, "fr": 5, "sa": 6, "su": 7,
}  # fmt: skip
_NEAR = {"сегодня": 0, "завтра": 1, "послезавтра": 2, "today": 0, "tomorrow": 1}
_MONTH = "янв|фев|мар|апр|ма[йя]|июн|июл|авг|сен|окт|ноя|дек|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_TOKEN = re.compile(
    rf"""(?<!\w)(?:
    (?P<hour>[01]?\d|2[0-3]):(?P<minute>[0-5]\d)(?:\s*(?P<half>[ap])\.?m\b)?
  | (?P<day>[0-3]?\d)(?:st|nd|rd|th)?\s+(?P<month>{_MONTH})\w*
  | (?P<month_first>{_MONTH})\w*\s+(?P<day_after>[0-3]?\d)\b
  | (?P<dotted_day>[0-3]?\d)\.(?P<dotted_month>0[1-9]|1[0-2])(?!\d)
  | (?P<near>{"|".join(_NEAR)})\b
  | (?P<weekday>понедельник|вторник|сред[ауы]|четверг|пятниц[ауы]|суббот[ауы]|воскресень[ея]|пн|вт|ср|чт|пт|сб|вс
      |(?:mon|tues|wednes|thurs|fri|satur|sun)day|mon|tue|wed|thu|fri|sat|sun)\b
    )""",
    re.VERBOSE | re.IGNORECASE,
)


def offered(text: str, today: date) -> list[datetime]:
    """The wall-clock times that a message offers, in its order. A time named without any day belongs to tomorrow."""
    day = today + timedelta(days=1)
    settled = False
    found: list[datetime] = []
    for token in _TOKEN.finditer(text.lower()):
        if token["hour"]:
            hour = (
                int(token["hour"]) % 12 + (12 if token["half"] == "p" else 0) if token["half"] else int(token["hour"])
            )
            slot = datetime.combine(day, time(hour, int(token["minute"])))
            if slot not in found:
                found.append(slot)
            settled = False
        elif token["weekday"]:
            weekday = _WEEKDAYS[token["weekday"][:2]]
            if not settled or day.isoweekday() != weekday:
                day = today + timedelta(days=(weekday - today.isoweekday() - 1) % 7 + 1)
            settled = True
        else:
            day, settled = _date(token, today) or day, True
    return found


def _date(token: re.Match[str], today: date) -> date | None:
    if token["near"]:
        return today + timedelta(days=_NEAR[token["near"]])
    number = token["day"] or token["day_after"] or token["dotted_day"]
    name = token["month"] or token["month_first"]
    month = _MONTHS[name] if name else int(token["dotted_month"])
    for year in (today.year, today.year + 1):
        try:
            day = date(year, month, int(number))
        except ValueError:
            return None
        if day >= today - timedelta(days=30):
            return day
    return None


def discount(text: str) -> int:
    """The percentage that a message promises, 0 when it promises none."""
    found = re.search(r"(\d{1,2})\s?%", text)
    return int(found[1]) if found else 0


def mentions(text: str, name: str) -> bool:
    """Whether a message names this person, in any case form of the name."""
    stem = name.split(maxsplit=1)[0].lower()
    return re.search(rf"\b{re.escape(stem[:-1] if len(stem) > 3 else stem)}\w{{0,3}}\b", text.lower()) is not None
