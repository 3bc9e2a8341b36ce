"""Chance that does not depend on order.

Every draw is a keyed hash of the seed and of what is being drawn ("gap", company, client, visit number), so a client's
fate is the same whatever happened to others, however the clock was stepped, and whether or not anyone wrote to her. That is
what lets the town say afterwards who would have come anyway.
"""

from collections.abc import Sequence
from hashlib import blake2b
from math import exp
from statistics import NormalDist
from typing import TypeVar

T = TypeVar("T")
_NORMAL = NormalDist()


class Dice:
    """Deterministic draws of one town."""

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()[:64]

    def number(self, *what: object) -> int:
        """A uniform 64-bit integer."""
        text = "|".join(map(str, what)).encode()
        return int.from_bytes(blake2b(text, digest_size=8, key=self._key).digest())

    def unit(self, *what: object) -> float:
        """A uniform number in [0, 1)."""
        return (self.number(*what) >> 11) / 2**53

    def chance(self, probability: float, *what: object) -> bool:
        """True with the given probability."""
        return self.unit(*what) < probability

    def between(self, low: float, high: float, *what: object) -> float:
        """A uniform number in [low, high)."""
        return low + (high - low) * self.unit(*what)

    def pick(self, among: Sequence[T], *what: object) -> T:
        """One of `among`, each equally likely."""
        return among[self.number(*what) % len(among)]

    def normal(self, *what: object) -> float:
        """A standard normal number."""
        return _NORMAL.inv_cdf(max(self.unit(*what), 1e-9))

    def spread(self, sigma: float, *what: object) -> float:
        """A log-normal factor around 1."""
        return exp(sigma * self.normal(*what))
