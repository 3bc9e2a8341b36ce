"""What goes wrong between the messenger and the salons, on demand and by dice: lost answers, errors, bans, events late, twice or missing.

What to add here: a way to go wrong that either channel has. What to keep out: faults of single HTTP calls (`faults.py`).
"""

from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from reactivation_sandbox.dice import Dice

CHANNELS = ("waha", "cloud")
WAYS = ("answer", "status")
BANS = {"waha": ("logged_out", "capped", "timelock"), "cloud": ("disabled", "restricted")}


@dataclass(slots=True)
class PlannedError:
    """An error for the next `count` messages on a channel, to a phone (digits) or to anybody: as the answer, or as a failed status later."""

    channel: str
    code: int
    phone: str | None = None
    count: int = 1
    way: str = "answer"

    def __post_init__(self) -> None:
        """Refuse what no channel does."""
        if self.channel not in CHANNELS or self.way not in WAYS:
            raise ValueError(
                f"channel={self.channel}, way={self.way}: {', '.join(CHANNELS)} and {', '.join(WAYS)} are known"
            )


@dataclass(slots=True)
class Mischief:
    """The shares are of 1, drawn per message or event with the town's dice.

    Attributes:
        lose_answers: Messages taken whose answer is cut off.
        refuse: Messages refused with a server error before anything is done.
        duplicate: Events told twice.
        late: Events told only after up to `late_s` more seconds of the town's time, hence out of order.
        skip_delivered: Read messages without a `delivered`.
        batch: Events of the Cloud API in one call, at most.
        errors: Errors that wait for their message.
    """

    lose_answers: float = 0.0
    refuse: float = 0.0
    duplicate: float = 0.03
    late: float = 0.0
    late_s: float = 600.0
    skip_delivered: float = 0.02
    batch: int = 20
    errors: list[PlannedError] = field(default_factory=list)

    def switch(self, wanted: dict[str, Any]) -> None:
        """Set some of it. Raises ValueError for a name or value that does not exist."""
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(wanted) - known):
            raise ValueError(f"{unknown[0]} is none of {', '.join(sorted(known))}")
        for name, value in wanted.items():
            if name == "errors":
                self.errors = [PlannedError(**one) for one in value]
            elif name in {"batch", "late_s"}:
                if value < 1:
                    raise ValueError(f"{name}={value} is less than 1")
                setattr(self, name, type(getattr(self, name))(value))
            elif not 0 <= value <= 1:
                raise ValueError(f"{name}={value} is no share of 1")
            else:
                setattr(self, name, float(value))

    def error(self, channel: str, phone: str, way: str) -> int | None:
        """The code of the error that waits for a message to this phone, if one does; it is used up by that."""
        for one in self.errors:
            if one.count > 0 and one.channel == channel and one.way == way and one.phone in (None, phone):
                one.count -= 1
                return one.code
        return None

    def delay(self, dice: Dice, *key: object) -> timedelta:
        """How much later than usual an event is told."""
        if not dice.chance(self.late, "late", *key):
            return timedelta(0)
        return timedelta(seconds=dice.between(0, self.late_s, "how late", *key))
