"""Looks at the offered slots once more just before a message goes out.

A taken slot is replaced from the spares and the text is written again; with none left, or with a CRM that does not answer, the text goes
without slots: a stale offer is worse than none.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from reactivation_core.local_time import local_date
from reactivation_resources.clock import Clock
from reactivation_resources.database.engine import Database
from reactivation_resources.message_writing import rewrite_message
from reactivation_resources.outbox import SlotRefresh
from reactivation_resources.yclients import SlotQuestion, YClients

FRESH_FOR = timedelta(minutes=10)


class SlotRefresher:
    """A `RefreshSlots` of the outbox, asking the CRM."""

    def __init__(self, database: Database, crm: YClients, clock: Clock) -> None:
        self._database = database
        self._crm = crm
        self._clock = clock

    def __call__(self, campaign: Mapping[str, Any]) -> SlotRefresh | None:
        """The slots and the text to send instead; None when what is stored still holds."""
        now = self._clock.now()
        slots: list[dict[str, Any]] = campaign["slots"] or []
        checked_at: datetime | None = campaign["slots_checked_at"]
        if not slots or (checked_at is not None and now - checked_at <= FRESH_FOR):
            return None
        free = self._still_free(campaign, slots)
        wanted = len(_offered(slots))
        fresh = [slot | {"spare": rank > wanted, "rank": rank} for rank, slot in enumerate(free, start=1)]
        if _offered(fresh) == _offered(slots):  # a spare less changes no word
            return SlotRefresh(fresh, campaign["message_text"], now)
        with self._database.begin() as connection:
            return SlotRefresh(fresh, rewrite_message(connection, str(campaign["campaign_id"]), fresh), now)

    def _still_free(self, campaign: Mapping[str, Any], slots: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The slots that the CRM still offers, in their order; none of them when it does not answer."""
        zone = self._zone(campaign["company_id"])
        starts = [datetime.fromisoformat(slot["starts_at"]) for slot in slots]
        questions = [
            SlotQuestion(
                campaign["company_id"], campaign["service_id"], slot["staff_id"], local_date(start, zone), zone
            )
            for slot, start in zip(slots, starts, strict=True)
        ]
        answer = self._crm.open_slots(questions)
        if answer.failed:
            return []
        open_now = set(answer.slots.select("staff_id", "starts_at").iter_rows())
        return [slot for slot, start in zip(slots, starts, strict=True) if (slot["staff_id"], start) in open_now]

    def _zone(self, company_id: int) -> str:
        query = text("SELECT timezone FROM companies WHERE company_id = :company")
        with self._database.begin() as connection:
            return str(connection.execute(query, {"company": company_id}).scalar_one())


def _offered(slots: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [slot for slot in slots if not slot["spare"]]
