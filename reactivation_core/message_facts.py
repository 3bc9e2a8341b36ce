"""What a message may say: the facts of a planned campaign, and the stage that follows from them.

What to add here: a fact. What to keep out: its wording (`messages`) and where it comes from (`reactivation_resources.message_orders`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

Stage = Literal["gentle", "offer", "win_back"]
STAGES: Final[tuple[Stage, ...]] = ("gentle", "offer", "win_back")
TONES: Final = ("friendly", "professional", "casual")
BUSINESSES: Final = ("beauty", "barbershop", "dental", "fitness", "other")
LANGUAGES: Final = ("ru", "en")

STAGE_LIMITS: Final[Mapping[Stage, int]] = {"gentle": 150, "offer": 200, "win_back": 250}
"""Characters of a text without the line on how to stop."""

TOTAL_LIMIT: Final = 500
"""Characters of a whole message."""

PLACEHOLDERS: Final = frozenset({"name", "slots", "discount", "days_phrase", "service", "staff", "master", "visit"})


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A slot to offer: its start in the company's zone (aware), and who serves, if known.

    Raises:
        ValueError: If `starts_local` is naive.
    """

    starts_local: datetime
    staff_name: str | None = None

    def __post_init__(self) -> None:
        """Refuse a naive time."""
        if self.starts_local.tzinfo is None:
            raise ValueError("starts_local must be an aware datetime in the company's zone")


@dataclass(frozen=True, slots=True)
class MessageFacts:
    """What a message may say.

    Attributes:
        name: The client's name as the CRM has it; cleaned before use.
        service_title: The service that is due, as the CRM writes it.
        staff_name: The favourite, only when a message may assert her; else None.
        days_inactive: Days since the last visit with that service.
        discount_percent: 0 for none.
        slots: The slots to offer, best first.
        business_type: beauty, barbershop, dental, fitness or other.
        tone: friendly, professional or casual; anything else counts as friendly.
        language: "en" for English; anything else is Russian.
        first_contact: Whether this is the first message of the episode; then it says how to stop.
        salon: What the company calls itself in the CRM.
        other_services: Titles of the company's other services: a message may not offer them.
        previous: The template of the client's last message: it is not said twice in a row.
    """

    name: str
    service_title: str
    staff_name: str | None
    days_inactive: int
    discount_percent: int = 0
    slots: tuple[SlotFact, ...] = ()
    business_type: str = "other"
    tone: str = "friendly"
    language: str = "ru"
    first_contact: bool = True
    salon: str = ""
    other_services: tuple[str, ...] = ()
    previous: str = ""

    @property
    def stage(self) -> Stage:
        """The stage by days inactive."""
        return stage_of(self.days_inactive)

    @property
    def tongue(self) -> str:
        """The language that is written: "en" or "ru"."""
        return "en" if self.language == "en" else "ru"

    @property
    def manner(self) -> str:
        """The tone that is taken."""
        return self.tone if self.tone in TONES else "friendly"

    @property
    def business(self) -> str:
        """The kind of business whose words are used."""
        return self.business_type if self.business_type in BUSINESSES else "other"


def stage_of(days_inactive: int) -> Stage:
    """Return the stage: gentle below 45 days, offer from 45 to 74, win_back from 75 (specification: pipeline.md)."""
    return "gentle" if days_inactive < 45 else "offer" if days_inactive < 75 else "win_back"
