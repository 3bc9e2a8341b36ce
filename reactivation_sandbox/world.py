"""What the servers of one process share."""

from dataclasses import dataclass, field

from reactivation_sandbox.town import Town
from reactivation_sandbox.variants import Variants


@dataclass(slots=True)
class World:
    """Where the servers look for the town, so that a fresh one can take its place, and for the variants its CRM shows."""

    town: Town
    variants: Variants = field(default_factory=Variants)
