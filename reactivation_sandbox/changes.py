"""What has changed in the salons' books, for the CRM's webhooks. Who is told, and in what words, is in `crm_hooks.py`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reactivation_sandbox.salon import Salon


@dataclass(frozen=True, slots=True)
class Change:
    """Something in a salon's books was created, updated or deleted (`status`); `own` when a call of the CRM's API did it."""

    company_id: int
    resource: str
    resource_id: int
    status: str
    own: bool


@dataclass(slots=True)
class Changes:
    """The changes nobody has been told of yet. Nothing is kept unless somebody is `listening`."""

    listening: bool = False
    _by_api: bool = False
    _untold: list[Change] = field(default_factory=list)

    def note(self, salon: Salon, resource: str, resource_id: int, status: str = "update") -> None:
        """Say that something in a salon's books is not what it was."""
        salon.touch()
        if self.listening:
            self._untold.append(Change(salon.company_id, resource, resource_id, status, self._by_api))

    def drain(self) -> list[Change]:
        """Changes since the last call."""
        told, self._untold = self._untold, []
        return told

    @contextmanager
    def by_api(self) -> Iterator[None]:
        """Whatever changes meanwhile was done by a call of the CRM's API."""
        self._by_api = True
        try:
            yield
        finally:
            self._by_api = False
