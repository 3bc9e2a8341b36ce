"""Brings the mirror up to date with the CRM: all companies, a few at a time, each one's trouble its own.

A company is read without holding anything open in the database; then rows and watermark are stored in one transaction (crm_merge.py). A crash
repeats work and never loses it. Two synchronisations at once do no harm: a company that the other has read meanwhile is left alone, and what was
read of it in vain is dropped. What to add here: in which order what is asked. What to keep out: asking it (crm_pull.py).
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

import anyio
from anyio.to_thread import run_sync
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from reactivation_resources.crm_merge import known_clients, mirrored_companies, read_salon, store
from reactivation_resources.crm_pull import (
    MOST_CARDS,
    Pull,
    Salon,
    TooManyCardsError,
    compare_clients,
    read_catalogue,
    read_clients,
    read_records,
    wall_time,
    windows_back,
)
from reactivation_resources.database.engine import Database
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import (
    AuthError,
    CrmError,
    ForbiddenError,
    LicenceError,
    ListingChangedError,
)

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=15)
FIRST_LOAD = timedelta(days=730)
CATALOGUE_EVERY = timedelta(days=1)
AT_ONCE = 8
"""Companies that are read at the same time."""

ATTEMPTS = 3
LOADED = 0.99
"""The share that the journal of two years is of a first load; what has changed meanwhile is the rest."""

_STATUS_OF_REFUSAL: dict[type[CrmError], str] = {
    AuthError: "no_access", ForbiddenError: "no_access", LicenceError: "frozen",
}  # fmt: skip

Progress = Callable[[int, float], None]
"""Told a company and the share of it that is done: 1 when it is up to date, less while it is loaded for the first time."""


@dataclass
class SyncReport:
    """What a synchronisation did.

    Attributes:
        changed: Rows that are new or different, by table (`records` are lines of the journal).
        rejected: Cards that could not be read and were kept with their reason.
        companies: How many companies were to be mirrored.
        failed: Companies that could not be read, or not be believed, and why.
        loading: Companies whose first load has not ended, with the share of two years that is there.
        calls: Requests to the CRM by name.
    """

    changed: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    companies: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    loading: dict[int, float] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)


async def sync_companies(
    database: Database,
    crm: YClients,
    now: datetime,
    *,
    companies: Collection[int] | None = None,
    progress: Progress = lambda _company, _share: None,
) -> SyncReport:
    """Mirror the companies of the CRM (only `companies`, if given) that are neither uninstalled nor suspended, as of `now`.

    The oldest mirror comes first, so that nobody starves when the run is ended. Raises OperationalError when the database is away, which is no
    company's own failure.
    """
    due = await run_sync(mirrored_companies, database, companies)
    report = SyncReport(companies=len(due))
    sync = _Sync(database, crm, now, report, progress)
    before = Counter(crm.calls)
    left = iter(due)

    async def work() -> None:
        for company_id in left:
            await sync.company(company_id)

    try:
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(work)
    except ExceptionGroup as failures:  # what is a company's own has been caught
        raise failures.exceptions[0] from None
    report.calls = Counter(crm.calls) - before
    return report


class OutrunError(RuntimeError):
    """Another synchronisation has stored the company meanwhile."""


@dataclass(frozen=True)
class _Sync:
    """One synchronisation under way."""

    database: Database
    crm: YClients
    now: datetime
    report: SyncReport
    progress: Progress

    async def company(self, company_id: int) -> None:
        """Bring one company up to date; whatever is wrong with it is noted in the report."""
        report = self.report
        try:
            await self._bring_up_to_date(company_id)
        except CrmError as error:
            report.failed[company_id] = str(error)
            await run_sync(_note_refusal, self.database, company_id, error)
        except OperationalError:  # the database is away: that is nobody's own failure
            raise
        except Exception as error:  # whatever one company's data holds, the others go on
            # A database's words may quote a client's name or phone: only those of our own checks are passed on.
            words = f": {error}" if type(error) is ValueError else ""
            report.failed[company_id] = f"{type(error).__name__}{words}"
        if company_id in report.failed:
            log.warning("company %s: %s", company_id, report.failed[company_id])

    async def _bring_up_to_date(self, company_id: int) -> None:
        """Read what is due and store it, unless somebody else has stored what is as fresh."""
        catalogue_due = False
        for _ in range(ATTEMPTS):
            salon = await run_sync(read_salon, self.database, company_id)
            if salon is None or (salon.changed_after is not None and salon.changed_after > self.now):
                return
            # once it has been asked for it is due until we have read it: who was faster may have read it before that
            catalogue_due |= salon.catalogue_at is None or self.now - salon.catalogue_at >= CATALOGUE_EVERY
            try:
                await self._read_and_store(salon, catalogue_due=catalogue_due)
            except OutrunError:
                if salon.changed_after is None:  # somebody else is loading it: once is enough
                    return
            else:
                self.report.loading.pop(company_id, None)
                self.progress(company_id, 1.0)
                return

    async def _read_and_store(self, salon: Salon, *, catalogue_due: bool) -> None:
        pull = Pull(salon)
        new = salon.load_started_at is None and salon.changed_after is None
        if catalogue_due or new:
            await read_catalogue(self.crm, pull)
        if new or pull.salon_as_told() != salon:  # in another zone every instant is another
            pull = await self._begin(pull)
        if pull.salon.changed_after is None:
            pull.salon = await self._load(pull.salon)
        await self._follow(pull)

    async def _begin(self, pull: Pull) -> Pull:
        """Begin the first load, or begin it again: the catalogue and all clients. Half a company is seen by nobody."""
        pull.salon = pull.salon_as_told()
        await read_clients(self.crm, pull, None)
        beginning: dict[str, Any] = {"changed_after": None, "load_started_at": self.now, "loaded_back_to": None}
        await self._store(pull, afresh=True, **beginning)
        return Pull(replace(pull.salon, catalogue_at=self.now, **beginning))

    async def _load(self, salon: Salon) -> Salon:
        """Read two years of the journal, the newest first, each window stored by itself; or go on where it was left."""
        begun = salon.load_started_at or self.now
        newest, horizon = (moment.astimezone(salon.zone).date() for moment in (begun, begun - FIRST_LOAD))

        async def read(start: date | None, end: date | None, at_most: int | None) -> Pull:
            pull = Pull(salon)
            await read_records(self.crm, pull, start_date=start, end_date=end, at_most=at_most)
            return pull

        async for start, pull in windows_back(read, newest, salon.loaded_back_to, horizon):
            await self._store(pull, loaded_back_to=start)
            salon = replace(salon, loaded_back_to=start)
            share = (newest - start).days / max((newest - horizon).days, 1)
            self.report.loading[salon.company_id] = share
            log.info("company %s: %d %% of two years are there", salon.company_id, 100 * share)
            self.progress(salon.company_id, share * LOADED)
        return salon

    async def _follow(self, pull: Pull) -> None:
        """Read what has changed since the watermark, or since the first load began, and move the watermark."""
        salon = pull.salon
        since = wall_time((salon.changed_after or salon.load_started_at or self.now) - OVERLAP, salon.zone)
        try:
            await read_records(self.crm, pull, changed_after=since, at_most=MOST_CARDS)
        except (TooManyCardsError, ListingChangedError):
            await self._follow_in_windows(pull, since)
        # after the records: whoever is booked is there
        await read_clients(self.crm, pull, since)
        known, unreadable = await run_sync(known_clients, self.database, salon.company_id)
        await compare_clients(self.crm, pull, known, unreadable, whole=pull.facts is not None)
        await self._store(pull, changed_after=self.now)

    async def _follow_in_windows(self, pull: Pull, since: datetime) -> None:
        """Read what has changed window by window: more than can be read in one go. The watermark stays until all of it is there."""
        salon = pull.salon
        pull.drop_records()

        async def read(start: date | None, end: date | None, at_most: int | None) -> Pull:
            window = Pull(salon)
            await read_records(self.crm, window, changed_after=since, start_date=start, end_date=end, at_most=at_most)
            return window

        today, horizon = (moment.astimezone(salon.zone).date() for moment in (self.now, self.now - FIRST_LOAD))
        async for _, window in windows_back(read, today, None, horizon):
            await self._store(window)
        await read_records(self.crm, pull, changed_after=since, end_date=horizon - timedelta(days=1))

    async def _store(self, pull: Pull, *, afresh: bool = False, **progress: Any) -> None:
        """Store what was read and count it. Raises OutrunError when it was in vain."""
        stored = await run_sync(partial(store, self.database, pull, self.now, afresh=afresh, **progress))
        if stored is None:
            raise OutrunError
        self.report.changed.update(stored.changed)
        self.report.rejected += stored.rejected
        if stored.doubts:
            self.report.failed[pull.salon.company_id] = "; ".join(stored.doubts)


def _note_refusal(database: Database, company_id: int, error: CrmError) -> None:
    """A refusal that will not pass by itself is written on the company; its watermark stays where it is."""
    status = _STATUS_OF_REFUSAL.get(type(error))
    if status is None:
        return
    with database.begin() as connection:
        connection.execute(
            text(
                "UPDATE companies SET crm_status = :status WHERE company_id = :company"
                " AND crm_status IN ('active', 'frozen', 'no_access')"
            ),
            {"status": status, "company": company_id},
        )
