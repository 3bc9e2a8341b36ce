"""Looks at the offered slots once more just before a message goes out.

A taken slot is replaced from the spares and the text is written again; with none left, or with a CRM that does not answer, the text goes
without slots: a stale offer is worse than none. What to keep out: how the CRM is asked (open_slots).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

import polars as pl
from sqlalchemy import text

from reactivation_core.local_time import local_date
from reactivation_resources.clock import Clock
from reactivation_resources.database.engine import Database
from reactivation_resources.message_writing import rewrite_message
from reactivation_resources.offered_slots import StoredSlot, closed_up, offered, read, telling
from reactivation_resources.open_slots import SlotQuestion, ask_slots
from reactivation_resources.outbox import SlotRefresh
from reactivation_resources.yclients.door import Crm

FRESH_FOR = timedelta(minutes=10)
SILENT_FOR = timedelta(minutes=1)
"""How long a company whose CRM did not answer is not asked again: every message would wait for the same retries."""


class _Answer(NamedTuple):
    """The free starts of a staff member's day, and when the CRM told them."""

    at: datetime
    free: frozenset[datetime]


class SlotRefresher:
    """A `RefreshSlots` of the outbox, asking the CRM. Answers serve all campaigns of this dispatcher while they are fresh."""

    def __init__(self, database: Database, crm: Crm, clock: Clock) -> None:
        self._database = database
        self._crm = crm
        self._clock = clock
        self._lock = Lock()  # accounts are served by several threads
        self._heard: dict[SlotQuestion, _Answer] = {}
        self._silent: dict[int, datetime] = {}

    def __call__(self, campaign: Mapping[str, Any]) -> SlotRefresh | None:
        """The slots and the text to send instead; None when what is stored still holds."""
        now = self._clock.now()
        slots: list[dict[str, Any]] = campaign["slots"] or []
        checked_at: datetime | None = campaign["slots_checked_at"]
        if not slots or (checked_at is not None and now - checked_at <= FRESH_FOR):
            return None
        free, checked_at = self._still_free(campaign, slots, now)
        fresh = closed_up(slots, free)
        told = offered(slots)
        if set(told) <= set(map(read, free)):  # what is not told changes no word
            return SlotRefresh(telling(fresh, len(told)), campaign["message_text"], checked_at, campaign["text_parts"])
        with self._database.begin() as connection:
            words, parts, count = rewrite_message(connection, str(campaign["campaign_id"]), fresh)
        return SlotRefresh(telling(fresh, count), words, checked_at, parts)

    def _still_free(
        self, campaign: Mapping[str, Any], slots: list[dict[str, Any]], now: datetime
    ) -> tuple[list[dict[str, Any]], datetime]:
        """The slots that the CRM still offers, in their order, and when it said so; a slot without an answer is not offered."""
        company, service = campaign["company_id"], campaign["service_id"]
        zone, needed = self._salon(company, service)

        def question(slot: StoredSlot) -> SlotQuestion:
            staff, start = read(slot)
            return SlotQuestion(company, service, staff, local_date(start, zone), zone, needed)

        answers = self._answers(company, {question(slot) for slot in slots}, now)
        free = [
            slot
            for slot in slots
            if (start := read(slot).starts_at) > now
            and (answer := answers.get(question(slot))) is not None
            and start in answer.free
        ]
        return free, min((answer.at for answer in answers.values()), default=now)

    def _answers(self, company: int, questions: set[SlotQuestion], now: datetime) -> dict[SlotQuestion, _Answer]:
        """The answers to a company's questions, fresh or asked for now; without those that it does not give."""
        with self._lock:
            self._heard = {one: answer for one, answer in self._heard.items() if now - answer.at <= FRESH_FOR}
            answers = {one: self._heard[one] for one in questions & self._heard.keys()}
            silent = company in self._silent and now - self._silent[company] <= SILENT_FOR
        asked = questions - answers.keys()
        if not asked or silent:
            return answers
        found = self._crm.run(lambda crm: ask_slots(crm, asked))
        with self._lock:
            if found.failed:
                self._silent[company] = now
            else:
                told = {one: _Answer(now, _starts(found.slots, one)) for one in asked}
                self._heard |= told
                answers |= told
        return answers

    def _salon(self, company: int, service: int) -> tuple[str, int]:
        """The salon's zone, and the seconds the service takes (0 where nobody knows)."""
        query = text(
            "SELECT m.timezone, coalesce(s.duration_s, 0) FROM companies m"
            " LEFT JOIN services s ON (s.company_id, s.service_id) = (m.company_id, :service) WHERE m.company_id = :company"
        )
        with self._database.begin() as connection:
            row = connection.execute(query, {"company": company, "service": service}).one()
        return str(row[0]), int(row[1])


def _starts(slots: pl.DataFrame, question: SlotQuestion) -> frozenset[datetime]:
    """The starts among a company's open slots that answer one question."""
    of_staff = slots.filter(pl.col("staff_id") == question.staff_id)["starts_at"]
    return frozenset(start for start in of_staff if local_date(start, question.zone) == question.day)
