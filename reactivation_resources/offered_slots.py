"""The slots in a campaign's row: what its message offers, and what is held back as spares.

What to add here: how the JSON is written and read. What to keep out: which slots fit (`reactivation_core.slots`) and whether they are still free.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

StoredSlot = Mapping[str, Any]
_PLAIN = ("rank", "spare", "staff_id", "length_s", "score", "match_reason")


class Offer(NamedTuple):
    """A time that a message offers. `starts_at` is an instant."""

    staff_id: int
    starts_at: datetime


def stored(ranked: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `ranked_slots` as a campaign keeps it."""
    days = {"starts_at": ranked["starts_at"].isoformat(), "local_day": ranked["local_day"].isoformat()}
    return {name: ranked[name] for name in _PLAIN} | days


def read(slot: StoredSlot) -> Offer:
    """A stored slot's time and hands."""
    return Offer(slot["staff_id"], datetime.fromisoformat(slot["starts_at"]))


def to_offer(slots: Iterable[StoredSlot] | None) -> list[Offer]:
    """What a message may offer, best first; spares are nobody's business but the re-check's."""
    return [read(slot) for slot in slots or () if not slot["spare"]]


def offered(slots: Iterable[StoredSlot] | None) -> list[Offer]:
    """What the message tells, as it tells it: the earliest first. Not all of what it may offer has to fit into its words."""
    told = (read(slot) for slot in slots or () if not slot["spare"] and slot.get("told", True))
    return sorted(told, key=lambda one: (one.starts_at, one.staff_id))


def telling(slots: Iterable[StoredSlot], told: int) -> list[dict[str, Any]]:
    """The slots of a message that tells this many of the best of them."""
    return [{**slot, "told": place < told} for place, slot in enumerate(slots)]


def closed_up(slots: Iterable[StoredSlot], free: Iterable[StoredSlot]) -> list[dict[str, Any]]:
    """The slots that are still `free`, in their order: spares take the places of those that are not."""
    places = len(to_offer(slots))
    return [{**slot, "rank": rank, "spare": rank > places} for rank, slot in enumerate(free, start=1)]
