"""What a client decides after reading a message. Pure: a person, what is offered, and chance."""

from dataclasses import dataclass
from datetime import datetime

from reactivation_sandbox.dice import Dice
from reactivation_sandbox.people import Person, Tastes

BOOK, BOOK_QUIETLY, IGNORE = "book", "book_quietly", "ignore"

# Chances, per read message, of answers other than a booking.
_ASIDES = (
    ("decline_now", 0.045),
    ("other_time", 0.03),
    ("thanks", 0.025),
    ("pause_until", 0.02),
    ("question", 0.02),
    ("other_staff", 0.012),
    ("other_service", 0.012),
    ("unclear", 0.01),
    ("wrong_person", 0.004),
    ("complaint", 0.004),
)


@dataclass(frozen=True, slots=True)
class Situation:
    """What the client sees and where she stands: days since her last visit in rhythms, offered slots, discount, earlier messages."""

    overdue: float
    offers: tuple[datetime, ...]
    discount: int
    recent: int
    booked: bool


def liking(tastes: Tastes, offer: datetime) -> int:
    """How far an offered time is from what this person likes, in minutes; a wrong weekday counts as four hours."""
    wrong_day = offer.isoweekday() not in tastes.weekdays
    return abs(offer.hour * 60 + offer.minute - tastes.minute) + 240 * wrong_day


def decide(dice: Dice, person: Person, seen: Situation, *key: object) -> str:
    """An intent: `book`, `book_quietly` (without a word), `ignore`, or one of the phrase book."""
    luck = dice.unit("decision", *key)
    if person.stopped:
        return "complaint" if luck < 0.3 else IGNORE
    if person.is_staff:
        return "wrong_person" if luck < 0.5 else IGNORE
    if seen.booked:
        return "already_booked" if luck < 0.35 else "thanks" if luck < 0.5 else IGNORE
    will = person.tastes.lure * (1 + 0.012 * seen.discount) * 0.6**seen.recent * (1.0 if seen.overdue > 0.9 else 0.3)
    if not seen.offers:
        will *= 0.8
    elif min(liking(person.tastes, offer) for offer in seen.offers) < 90:
        will *= 1.25
    ladder = (
        (BOOK, 0.7 * will),
        (BOOK_QUIETLY, 0.3 * will),
        ("opt_out", person.tastes.stop * (1 + 2 * seen.recent)),
        *_ASIDES,
    )
    for intent, share in ladder:
        if luck < share:
            return intent
        luck -= share
    return IGNORE
