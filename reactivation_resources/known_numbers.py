"""Remembers which phones are on a channel: asking costs a call, and asking often is what spammers do.

What to add here: how long an answer holds. What to keep out: asking (the channel's own file).
"""

import logging
from collections import OrderedDict
from datetime import datetime, timedelta
from threading import Lock

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from reactivation_resources.channels.base import KnownNumber
from reactivation_resources.clock import Clock
from reactivation_resources.database.engine import Database

log = logging.getLogger(__name__)

REACHABLE_FOR, UNREACHABLE_FOR = timedelta(days=30), timedelta(days=7)
_IN_MEMORY = 50_000

_RECALL = "SELECT reachable, contact_id, checked_at FROM channel_numbers WHERE channel = :channel AND phone = :phone"
_REMEMBER = """
INSERT INTO channel_numbers (channel, phone, reachable, contact_id, checked_at) VALUES (:channel, :phone, :reachable, :contact, :at)
ON CONFLICT (channel, phone) DO UPDATE SET reachable = excluded.reachable, contact_id = excluded.contact_id, checked_at = excluded.checked_at
"""


class KnownNumbers:
    """A `NumberCache` in the database, with what this process has seen in front. A database that is away makes it forget, no more."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._lock = Lock()
        self._seen: OrderedDict[tuple[str, str], tuple[KnownNumber, datetime]] = OrderedDict()

    def recall(self, channel: str, phone: str) -> KnownNumber | None:
        """See `NumberCache.recall`."""
        with self._lock:
            found = self._seen.get((channel, phone))
        if found is None:
            found = self._read(channel, phone)
        if found is None or self._clock.now() - found[1] > (REACHABLE_FOR if found[0].reachable else UNREACHABLE_FOR):
            return None
        self._note(channel, phone, *found)
        return found[0]

    def remember(self, channel: str, phone: str, known: KnownNumber) -> None:
        """See `NumberCache.remember`."""
        at = self._clock.now()
        self._note(channel, phone, known, at)
        values = {
            "channel": channel,
            "phone": phone,
            "reachable": known.reachable,
            "contact": known.contact_id,
            "at": at,
        }
        try:
            with self._database.begin() as connection:
                connection.execute(text(_REMEMBER), values)
        except SQLAlchemyError as error:
            log.warning("a number could not be remembered: %s", type(error).__name__)

    def _read(self, channel: str, phone: str) -> tuple[KnownNumber, datetime] | None:
        try:
            with self._database.begin() as connection:
                row = connection.execute(text(_RECALL), {"channel": channel, "phone": phone}).one_or_none()
        except SQLAlchemyError as error:
            log.warning("a number could not be recalled: %s", type(error).__name__)
            return None
        return None if row is None else (KnownNumber(row.reachable, row.contact_id), row.checked_at)

    def _note(self, channel: str, phone: str, known: KnownNumber, at: datetime) -> None:
        with self._lock:
            self._seen[channel, phone] = (known, at)
            self._seen.move_to_end((channel, phone))
            if len(self._seen) > _IN_MEMORY:
                self._seen.popitem(last=False)
