"""Remembers which phones are on a channel: asking costs a call, and asking often is what spammers do.

What to add here: how long an answer holds. What to keep out: asking (the channel's own file).
"""

import logging
from collections import OrderedDict
from collections.abc import Collection
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

_RECALL = """
SELECT phone, reachable, contact_id, checked_at FROM channel_numbers WHERE channel = :channel AND phone = ANY(:phones)
"""
_REMEMBER = """
INSERT INTO channel_numbers (channel, phone, reachable, contact_id, checked_at)
SELECT * FROM unnest(CAST(:channels AS text[]), CAST(:phones AS text[]), CAST(:reachable AS boolean[]), CAST(:contacts AS text[]),
                     CAST(:instants AS timestamptz[])) AS n(channel, phone, reachable, contact_id, checked_at)
ON CONFLICT (channel, phone) DO UPDATE SET reachable = excluded.reachable, contact_id = excluded.contact_id, checked_at = excluded.checked_at
"""


class KnownNumbers:
    """A `NumberCache` in the database, with what this process has seen in front. A database that is away makes it forget, no more."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._lock = Lock()
        self._seen: OrderedDict[tuple[str, str], tuple[KnownNumber, datetime]] = OrderedDict()
        self._learnt: dict[tuple[str, str], tuple[KnownNumber, datetime]] = {}

    def load(self, channel: str, phones: Collection[str]) -> None:
        """See `NumberCache.load`."""
        with self._lock:
            wanted = [phone for phone in phones if (channel, phone) not in self._seen]
        if not wanted:
            return
        try:
            with self._database.begin() as connection:
                rows = connection.execute(text(_RECALL), {"channel": channel, "phones": wanted}).all()
        except SQLAlchemyError as error:
            log.warning("numbers could not be recalled: %s", type(error).__name__)
            return
        with self._lock:
            for row in rows:
                self._note((channel, row.phone), (KnownNumber(row.reachable, row.contact_id), row.checked_at))

    def recall(self, channel: str, phone: str) -> KnownNumber | None:
        """See `NumberCache.recall`."""
        with self._lock:
            found = self._seen.get((channel, phone))
        if found is None or self._clock.now() - found[1] > (REACHABLE_FOR if found[0].reachable else UNREACHABLE_FOR):
            return None
        return found[0]

    def remember(self, channel: str, phone: str, known: KnownNumber) -> None:
        """See `NumberCache.remember`."""
        with self._lock:
            self._note((channel, phone), (known, self._clock.now()))
            self._learnt[channel, phone] = self._seen[channel, phone]

    def store(self) -> None:
        """See `NumberCache.store`."""
        with self._lock:
            learnt, self._learnt = self._learnt, {}
        if not learnt:
            return
        rows = sorted((*key, *known, at) for key, (known, at) in learnt.items())
        names = ("channels", "phones", "reachable", "contacts", "instants")
        try:
            with self._database.begin() as connection:
                connection.execute(text("SET LOCAL synchronous_commit = off"))  # a crash may forget it
                connection.execute(text(_REMEMBER), dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        except SQLAlchemyError as error:
            log.warning("numbers could not be remembered: %s", type(error).__name__)

    def _note(self, key: tuple[str, str], found: tuple[KnownNumber, datetime]) -> None:
        self._seen[key] = found
        self._seen.move_to_end(key)
        if len(self._seen) > _IN_MEMORY:
            self._seen.popitem(last=False)
