"""Single values of the CRM's cards: money, instants, names, phones, in the forms that the variants ask for."""

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from reactivation_sandbox.salon import Salon
from reactivation_sandbox.variants import Variants, form

ABSURD = 10**40


def price(v: Variants, amount: float, number: int, *, as_text: bool) -> float | int | str:
    """An amount as a number or as text; one that no table takes when absurd numbers are asked for."""
    if absurd(v, number):
        return ABSURD
    return money(amount, as_text=form(v.price, "text" if as_text else "number") == "text")


def money(amount: float, *, as_text: bool) -> float | int | str:
    """An amount as a number, whole where it is, or as text with two places."""
    if as_text:
        return f"{amount:.2f}"
    return amount if amount % 1 else int(amount)


def absurd(v: Variants, number: int) -> bool:
    """Whether the card with this id shows absurd numbers."""
    return v.numbers == "absurd" and number % 11 == 0


def name(v: Variants, text: str, number: int) -> str:
    """A name or a title, damaged in every third card when that is asked for."""
    if v.names == "as_is" or number % 3:
        return text
    return text[:2] + ("\x00" if v.names == "nul" else "\ud83d") + text[2:]


def phone(v: Variants, text: str) -> str:
    """A client's phone as the user may see it."""
    if v.phones == "as_is":
        return text
    return "" if v.phones == "empty" else f"{text[:2]}{'*' * max(0, len(text) - 4)}{text[-2:]}"


def custom_fields(v: Variants, by_id: str) -> object:
    """The extra fields of a card."""
    return {"list": [], "object": {}}.get(form(v.custom_fields, by_id), {"source": "2gis"})


def local(moment: datetime) -> str:
    """The CRM's form of a wall-clock time."""
    return moment.isoformat(" ", "seconds")


def stamp(salon: Salon, instant: datetime) -> str:
    """The CRM's form of an instant with an offset without a colon."""
    text = instant.astimezone(salon.zone).isoformat(timespec="seconds")
    return f"{text[:-3]}{text[-2:]}"


def start(v: Variants, salon: Salon, moment: datetime) -> str:
    """A wall-clock time with an offset: the winter one all year round, as the CRM has it, or the right one."""
    if v.datetime_offset == "right":
        return moment.replace(tzinfo=salon.zone).isoformat()
    return f"{moment.isoformat(timespec='seconds')}{winter_offset(salon.zone, moment.year)}"


@lru_cache(maxsize=4096)
def winter_offset(zone: ZoneInfo, year: int) -> str:
    """The zone's offset in the middle of that year's January, as +03:00."""
    text = datetime(year, 1, 15, 12, tzinfo=zone).strftime("%z")
    return f"{text[:3]}:{text[3:]}"
