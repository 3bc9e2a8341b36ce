"""Samples of messages for people to read: every stage, tone and kind of business in the situations that matter.

What to add here: a situation. What to keep out: printing (`reactivation_cli.messages`).
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import product
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from reactivation_core.message_facts import BUSINESSES, STAGES, TONES, MessageFacts, SlotFact, Stage

_ZONE = ZoneInfo("Europe/Moscow")
_SLOTS: Final = (
    SlotFact(datetime(2026, 11, 26, 18, 30, tzinfo=_ZONE)),
    SlotFact(datetime(2026, 12, 1, 11, 0, tzinfo=_ZONE)),
)
_DAYS: Final[dict[Stage, int]] = {"gentle": 32, "offer": 57, "win_back": 190}
_SERVICES: Final = {
    "ru": {
        "beauty": "Маникюр с покрытием",
        "barbershop": "Мужская стрижка",
        "dental": "Чистка зубов",
        "fitness": "Персональная тренировка",
        "other": "Фотосессия",
    },
    "en": {
        "beauty": "Gel manicure",
        "barbershop": "Haircut",
        "dental": "Cleaning",
        "fitness": "Personal training",
        "other": "Photo session",
    },
}
_NAMES: Final = {"ru": ("Екатерина Орлова", "Ольга Смирнова"), "en": ("Kate Miller", "Olivia Brown")}


class Situation(NamedTuple):
    """What is known of a client, and what may be offered."""

    name: bool = True
    favourite: bool = False
    slots: int = 0
    discount: int = 0


SITUATIONS: Final[dict[str, Situation]] = {
    "vip": Situation(favourite=True, slots=2, discount=20),
    "regular": Situation(favourite=True, slots=1),
    "new": Situation(slots=1, discount=20),
    "no name": Situation(name=False, slots=1),
    "no slots": Situation(favourite=True, discount=20),
    "bare": Situation(name=False),
}


class Sample(NamedTuple):
    """One cell of the matrix."""

    business: str
    stage: Stage
    tone: str
    situation: str
    facts: MessageFacts
    client_key: str


def samples(
    language: str = "ru",
    businesses: tuple[str, ...] = BUSINESSES,
    stages: tuple[Stage, ...] = STAGES,
    tones: tuple[str, ...] = TONES,
) -> Iterator[Sample]:
    """Every cell of the matrix, in its order; each has a client of its own, so neighbours read different texts."""
    name, favourite = _NAMES[language]
    for business, stage, tone, (label, one) in product(businesses, stages, tones, SITUATIONS.items()):
        facts = MessageFacts(
            name=name if one.name else "Клиент",
            service_title=_SERVICES[language][business],
            staff_name=favourite if one.favourite else None,
            days_inactive=_DAYS[stage],
            discount_percent=one.discount,
            slots=_SLOTS[: one.slots],
            business_type=business,
            tone=tone,
            language=language,
            first_contact=label in {"new", "bare"},
        )
        yield Sample(business, stage, tone, label, facts, f"{business}:{stage}:{tone}:{label}")
