"""Founding a salon of the town from its blueprint: services, masters with their weeks, opening hours, and who will be its clients."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from reactivation_sandbox.catalogue import BLUEPRINTS, STAFF_NAMES, Blueprint
from reactivation_sandbox.dice import Dice
from reactivation_sandbox.people import Person, invent
from reactivation_sandbox.salon import Salon, Service, StaffMember


def found(dice: Dice, index: int, clients: int, today: date) -> Salon:
    """Found salon number `index`, with masters enough for this many clients; one of them left two months before `today`."""
    plan = BLUEPRINTS[index % len(BLUEPRINTS)]
    company_id = 101 + index
    round_number = index // len(BLUEPRINTS)
    salon = Salon(
        company_id=company_id,
        title=plan.title if round_number == 0 else f"{plan.title} {round_number + 1}",
        business_type=plan.business_type,
        zone=ZoneInfo(plan.zone),
        country=plan.country,
        city=plan.city,
        currency=plan.currency,
        phone=f"+79001{index:06d}",
        grid=plan.grid,
    )
    categories = list(dict.fromkeys(category for category, *_ in plan.services))
    for number, (category, title, price, minutes, rhythm) in enumerate(plan.services, 1):
        salon.services[company_id * 1000 + number] = Service(
            service_id=company_id * 1000 + number,
            title=title,
            category_id=company_id * 10 + categories.index(category),
            category=category,
            price=float(price),
            minutes=minutes,
            rhythm_days=float(rhythm),
        )
    for number in range(max(5, min(40, clients // 55))):
        member = _hire(dice, salon, plan, categories, number, index)
        salon.staff[member.staff_id] = member
    list(salon.staff.values())[-1].left_on = today - timedelta(days=60)
    return salon


def _hire(dice: Dice, salon: Salon, plan: Blueprint, categories: list[str], number: int, index: int) -> StaffMember:
    key = (salon.company_id, number)
    trade = categories[number % len(categories)]
    works = frozenset(s.service_id for s in salon.services.values() if s.category == trade)
    if len(categories) == 1 and number % 3 == 2:
        works -= {max(works)}
    names = STAFF_NAMES.get(plan.business_type, STAFF_NAMES["beauty"])
    late = 60 * (dice.number("late", *key) % 2)
    days_off = {1 + dice.number("day off", *key) % 7, 1 + (dice.number("day off", *key) + 1) % 7}
    on_rota = dice.chance(0.4, "rota", *key)
    week = range(1, 8) if on_rota else [day for day in range(1, 8) if day not in days_off]
    return StaffMember(
        staff_id=salon.company_id * 100 + number + 1,
        name=names[(index * 5 + number) % len(names)],
        phone=f"+79002{index:03d}{number:03d}",
        specialization=trade,
        service_ids=works,
        hours=dict.fromkeys(week, (plan.opens * 60 + late, plan.closes * 60 - 60 + late)),
        pace=1.25 if dice.chance(0.2, "pace", *key) else 1.0,
        rota=dice.number("rota offset", *key) % 4 if on_rota else None,
    )


def populate(
    dice: Dice, salon: Salon, index: int, clients: int, phones: Iterator[int], *, since: datetime, until: datetime
) -> Iterator[Person]:
    """Invent the clients who come between these instants, and one for every 25 of them who comes in the two months after."""
    for number in range(1, clients + clients // 25 + 1):
        client_id = salon.company_id * 100_000 + number
        key = (salon.company_id, client_id)
        if number > clients:
            first = until + timedelta(days=dice.between(0, 60, "since", *key))
        else:
            share = dice.unit("since", *key)
            late = (until - since) * ((share - 0.6) / 0.4)
            first = since + (timedelta(days=100 * share) if share < 0.6 else late)
        person = invent(dice, salon, client_id, next(phones), salon.by_day(first))
        _untidy(person, number, salon, index)
        yield person


def _untidy(person: Person, number: int, salon: Salon, index: int) -> None:
    """Shared phones, masters among the clients, people who go to two salons."""
    staff = list(salon.staff.values())
    if number in {11, 12}:
        person.phone, person.is_staff, person.on_whatsapp = staff[number - 11].phone, True, True
    elif number % 90 == 17:
        person.phone = f"+79000{int(person.phone[6:] or 0) - 1:06d}" if person.chat else person.phone
    elif index > 0 and number % 97 == 5:
        person.phone = f"+79000{number:06d}"
    person.chat = person.phone[1:] if len(person.phone) == 12 else None
