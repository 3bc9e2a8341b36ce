"""The offered slots, and which of them a word of a reply may mean.

Here: `OfferedSlot`, the parts of a day, and the matching of times, dates, weekdays, ordinals and names against what was offered.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from reactivation_core.reply_dates import read_date, read_hours, read_weekday
from reactivation_core.reply_phrases import Token

TimeOfDay = Literal["morning", "afternoon", "evening"]


@dataclass(frozen=True, slots=True)
class OfferedSlot:
    """A start time that the message offered, in the company's own zone.

    Attributes:
        starts_local: Aware datetime in the company's zone.
        staff_name: Who would serve, as the CRM writes it; None when the message named nobody.
        service_title: For which service, as the CRM writes it; None when unknown.

    Raises:
        ValueError: If `starts_local` is naive.
    """

    starts_local: datetime
    staff_name: str | None = None
    service_title: str | None = None

    def __post_init__(self) -> None:
        """Refuse a naive time."""
        if self.starts_local.tzinfo is None:
            raise ValueError("starts_local must be an aware datetime in the company's zone")


def matches(token: Token, offered: Sequence[OfferedSlot], today: date) -> set[int]:
    """Return the numbers of the offered slots that a token may mean."""
    match token.kind:
        case "staff":
            return {i for i, slot in enumerate(offered) if slot.staff_name == token.text}
        case "ordinal":
            return {number} if (number := _ordinal(token.text, len(offered))) is not None else set()
        case "weekday":
            return _on_weekday(token.text, offered, today)
        case "part":
            return {i for i, slot in enumerate(offered) if day_part(slot.starts_local) == part_of_day(token)}
        case "bound_time" | "bound_number":
            return _within(token.text, offered)
        case "next_week":
            monday = today + timedelta(days=8 - today.isoweekday())
            return {i for i, slot in enumerate(offered) if 0 <= (slot.starts_local.date() - monday).days < 7}
    days = {read_date(token.text, today)} if token.kind in {"date", "near_day"} or _bare(token) else set()
    hours = set(read_hours(token.text)) if token.kind in {"time", "hour", "number", "date"} else set()
    found = {
        i
        for i, slot in enumerate(offered)
        if slot.starts_local.date() in days or (slot.starts_local.hour, slot.starts_local.minute) in hours
    }
    if token.kind == "number" and 1 <= int(token.text) <= len(offered):
        found.add(int(token.text) - 1)
    return found


def _bare(token: Token) -> bool:
    """Whether a number may be a day of the month: "26", "на 26"."""
    return token.kind == "number" or bool(token.kind == "hour" and re.fullmatch(r"(?:на |at )?\d{1,2}", token.text))


def may_be_a_day(token: Token) -> bool:
    """Whether "до 5" could as well mean a day of the month: then it is no clear wish for a time."""
    number = re.search(r"\d+", token.text)
    return token.kind == "bound_number" and not (number and 16 <= int(number[0]) <= 21)


def _on_weekday(text: str, offered: Sequence[OfferedSlot], today: date) -> set[int]:
    weekday = read_weekday(text)
    this_week_ends = today + timedelta(days=7 - today.isoweekday())
    return {
        i
        for i, slot in enumerate(offered)
        if slot.starts_local.isoweekday() == weekday
        and ("следующ" not in text or slot.starts_local.date() > this_week_ends)
    }


def _within(text: str, offered: Sequence[OfferedSlot]) -> set[int]:
    """Return the slots before or after the bound of "после 18:00", "до обеда"."""
    before = bool(re.match(r"до|по|until|till|before", text)) and not text.startswith("после")
    if match := re.search(r"(\d{1,2})(?:[:.](\d\d))?", text):
        bound = (int(match[1]), int(match[2] or 0))
    else:
        bound = (18, 0) if re.search("работы|work", text) else (13, 0)
    return {
        i for i, slot in enumerate(offered) if ((slot.starts_local.hour, slot.starts_local.minute) < bound) == before
    }


def _ordinal(text: str, count: int) -> int | None:
    """Return the index of "первое", "вариант 2", "the last one"; None when there is no such one."""
    if re.search(r"послед|last", text):
        return count - 1 if count else None
    digit = re.search(r"\d", text)
    stems = (("перв", "first"), ("втор", "second"), ("трет", "third"))
    named = [index for index, words in enumerate(stems) if any(word in text for word in words)]
    index = int(digit[0]) - 1 if digit else named[0] if named else count
    return index if 0 <= index < count else None


def day_part(local: datetime) -> TimeOfDay:
    """Return the part of the day of a local time: morning before 12:00, evening from 17:00."""
    return "morning" if local.hour < 12 else "afternoon" if local.hour < 17 else "evening"


def part_of_day(token: Token) -> TimeOfDay | None:
    """Return the part of the day that a token asks for, if it asks for one."""
    text = token.text
    if token.kind not in {"part", "bound_time", "bound_number", "hour", "time"}:
        return None
    if re.search(r"вечер|evening|tonight|работы|work", text):
        return "evening"
    if re.search(r"утр|morning|до обеда", text):
        return "morning"
    if re.search(r"дн[ея]|afternoon|обед", text):
        return "afternoon"
    hours = [hour for hour, _ in read_hours(text) if 8 <= hour <= 22]
    if token.kind.startswith("bound"):
        return "evening" if text.startswith(("после", "after")) and hours and hours[0] >= 16 else None
    return ("morning" if hours[0] < 12 else "afternoon" if hours[0] < 17 else "evening") if hours else None
