"""The forms in which the CRM writes one value, and the one in which we read it.

Cards are read by the million in a first load. So the usual form comes first and is read without a line of Python; only where that fails is
the value looked at again. What to add here: a form that has been seen. What to keep out: cards (models.py).
"""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, GetCoreSchemaHandler, PlainValidator, StringConstraints
from pydantic_core import CoreSchema, core_schema

LARGEST = 2**63 - 1  # of a bigint
_CENT = Decimal("0.01")
_MOST_MONEY = 10**12
_FIRST, _LAST = (
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC),
)  # sooner or later is a slip of a hand
_NO_DATE = ("0000-00-00", "1970-01-01")


class Else:
    """The second look at a value that is not of the usual form: what `read` returns, or ValueError."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """First the usual form, then ours; neither is named in an error's place."""
        second = core_schema.no_info_plain_validator_function(self._read)
        return core_schema.union_schema([(handler(source), ""), (second, "")], mode="left_to_right")


def _nothing(value: Any) -> None:
    """Nothing, by any of its names."""
    if value not in (None, "", 0, "0", [], {}):
        raise ValueError("not a number of a sensible size")


def _zero(value: Any) -> int:
    if value not in (None, "", []):
        raise ValueError("not a number of a sensible size")
    return 0


def flag(value: Any) -> bool:
    """A yes or no, which travels as 0 and 1, as their texts, as a boolean or as nothing."""
    return str(value).strip().lower() not in ("", "0", "false", "none", "[]")


def _no_text(value: Any) -> str:
    if value not in (None, False, []):
        raise ValueError("not a text")
    return ""


def text_or_none(value: Any) -> Any:
    """A text without blanks around it; an empty one is None."""
    return (value.strip() or None) if isinstance(value, str) else None if value == [] or value is False else value


def money(value: Any) -> Decimal:
    """An amount to the cent; nothing is none of it."""
    if value is None or value == "":
        return Decimal("0.00")
    try:
        amount = Decimal(value if type(value) is int else str(value)).quantize(_CENT)
        sensible = 0 <= amount < _MOST_MONEY
    except InvalidOperation:
        sensible = False
    if not sensible:
        raise ValueError("not an amount")
    return amount


def _money_or_none(value: Any) -> Decimal | None:
    return None if value in (None, "", []) else money(value)


def _local(value: Any) -> datetime:
    try:
        moment = value if type(value) is datetime else datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("not a time") from None
    if moment.tzinfo is not None or not 1970 <= moment.year < 2200:
        raise ValueError("not a local time")
    return moment


def _unread(_: Any) -> None:
    return None


def _day_or_none(value: Any) -> date | None:
    if value in (None, "", 0, [], *_NO_DATE):
        return None
    return value if type(value) is date else _local(value).date()


Id = Annotated[int, Field(gt=0, le=LARGEST)]
OptionalId = Annotated[int | None, Field(gt=0, le=LARGEST), Else(_nothing)]
Count = Annotated[int, Field(ge=0, le=LARGEST), Else(_zero)]
OptionalCount = Annotated[int | None, Field(ge=0, le=LARGEST), Else(_nothing)]
Flag = Annotated[bool, Else(flag)]
Text = Annotated[str, Else(_no_text)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
OptionalText = Annotated[str | None, BeforeValidator(text_or_none)]
Money = Annotated[Decimal, PlainValidator(money)]
OptionalMoney = Annotated[Decimal | None, PlainValidator(_money_or_none)]
LocalTime = Annotated[datetime, PlainValidator(_local)]
Instant = Annotated[AwareDatetime, Field(ge=_FIRST, lt=_LAST)]
OptionalInstant = Annotated[
    AwareDatetime | None, Field(ge=_FIRST, lt=_LAST), Else(_unread)
]  # a hint: unreadable is none
OptionalDay = Annotated[date | None, PlainValidator(_day_or_none)]
Attendance = Annotated[int, Field(ge=-1, le=2)]
