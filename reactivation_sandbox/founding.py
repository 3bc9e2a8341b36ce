"""Founding a salon of the town from its blueprint: services, masters with their weeks, opening hours."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from reactivation_sandbox.catalogue import BLUEPRINTS, STAFF_NAMES, Blueprint
from reactivation_sandbox.dice import Dice
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
