"""The people of the town and what they keep to themselves: rhythm, favourite master, hours, patience."""

from dataclasses import dataclass, field
from datetime import datetime

from reactivation_sandbox.catalogue import FEMALE_NAMES, MALE_NAMES, SURNAMES
from reactivation_sandbox.dice import Dice
from reactivation_sandbox.salon import Salon


@dataclass(slots=True)
class Tastes:
    """What nobody in the salon can see. Probabilities are per message; `minute` is the favourite starting minute of the day."""

    service_id: int
    rhythm_days: float
    staff_id: int
    loyalty: float
    minute: int
    weekdays: frozenset[int]
    noise: float
    lure: float
    stop: float
    extra_service_id: int | None = None
    writes_first: bool = False


@dataclass(slots=True)
class Person:
    """A client of one salon, her card in the CRM and where she stands."""

    client_id: int
    name: str
    phone: str
    chat: str | None
    tastes: Tastes
    since: datetime
    changed: datetime
    mailing_refused: bool = False
    blacklisted: bool = False
    on_whatsapp: bool = True
    is_staff: bool = False
    bookings: int = 0
    visits: int = 0
    misses: int = 0
    spent: float = 0.0
    last_visit: datetime | None = None
    lapsed: bool = False
    returns_at: datetime | None = None
    plan: int = 0
    stopped: bool = False
    messaged: list[datetime] = field(default_factory=list)

    def dial(self, phone: str) -> None:
        """Write a phone on the card; only a whole number is a chat."""
        digits = "".join(filter(str.isdigit, phone))
        self.phone, self.chat = phone, digits if 10 <= len(digits) <= 15 else None


def tastes_of(dice: Dice, salon: Salon, client_id: int) -> Tastes:
    """Invent the hidden tastes of a client of this salon."""
    key = (salon.company_id, client_id)
    service = salon.services[_weighted(dice, list(salon.services), *key)]
    # a new service is nobody's until somebody is hired for it
    able = salon.offering(frozenset({service.service_id})) or list(salon.staff.values())
    extras = [s for s in salon.services if s != service.service_id]
    return Tastes(
        service_id=service.service_id,
        rhythm_days=max(5.0, service.rhythm_days * dice.spread(0.22, "rhythm", *key)),
        staff_id=dice.pick(able, "favourite", *key).staff_id,
        loyalty=dice.between(0.45, 0.97, "loyalty", *key),
        minute=(11, 15, 18)[dice.number("hour", *key) % 3] * 60 + 30 * (dice.number("half", *key) % 3),
        weekdays=frozenset({1 + dice.number("weekday", i, *key) % 7 for i in range(3)}),
        noise=dice.between(0.06, 0.35, "noise", *key),
        lure=0.27 * dice.unit("lure", *key) ** 0.8,
        stop=0.004 + 0.06 * dice.unit("stop", *key) ** 4,
        extra_service_id=dice.pick(extras, "extra", *key) if extras and dice.chance(0.3, "has extra", *key) else None,
        writes_first=dice.chance(0.25, "writes first", *key),
    )


def _weighted(dice: Dice, ids: list[int], *key: object) -> int:
    """The first services of a list are the popular ones."""
    return ids[int(len(ids) * dice.unit("service", *key) ** 1.7)]


def invent(dice: Dice, salon: Salon, client_id: int, number: int, since: datetime) -> Person:
    """A person with an invented name and phone; a few cards are as untidy as real ones."""
    key = (salon.company_id, client_id)
    male = salon.business_type == "barbershop" or dice.chance(0.15, "male", *key)
    first = dice.pick(MALE_NAMES if male else FEMALE_NAMES, "name", *key)
    phone = f"+79000{number:06d}"
    fate = dice.unit("card", *key)
    if fate < 0.015:
        phone = dice.pick(["", "+7900", "8900000", "нет телефона"], "bad phone", *key)
    chat = phone[1:] if phone.startswith("+79000") and len(phone) == 12 else None
    return Person(
        client_id=client_id,
        name=_written(dice, first, male=male, key=key),
        phone=phone,
        chat=chat,
        tastes=tastes_of(dice, salon, client_id),
        since=since,
        changed=since,
        mailing_refused=dice.chance(0.04, "refuses mailing", *key),
        blacklisted=dice.chance(0.01, "blacklisted", *key),
        on_whatsapp=chat is not None and not dice.chance(0.04, "no whatsapp", *key),
    )


def _written(dice: Dice, first: str, *, male: bool, key: tuple[int, int]) -> str:
    way = dice.unit("spelling", *key)
    surname = dice.pick(SURNAMES, "surname", *key) + ("" if male else "а")
    if way < 0.55:
        return first
    if way < 0.9:
        return f"{first} {surname}"
    if way < 0.95:
        return first.lower()
    return f"{first} {dice.pick(['VIP', '(от Иры)', '!!!', '2'], 'note', *key)}"
