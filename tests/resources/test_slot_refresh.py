"""The offered slots are looked at once more before a message goes out; no stale offer leaves the house."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from reactivation_core.local_time import local_date, to_local
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.open_slots import SlotQuestion, ask_slots
from reactivation_resources.outbox import SlotRefresh
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.slot_refresh import FRESH_FOR, SILENT_FOR, SlotRefresher
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.door import Crm
from reactivation_sandbox.process import Town, running_town
from tests.resources.sending_world import add_campaign, add_salon, campaign, execute

NOW = datetime(2026, 11, 1, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=1, clients=40, now="2026-11-01T09:00:00+00:00") as town:
        yield town


class Salon:
    """A salon of the town with one campaign: two slots offered, one spare."""

    def __init__(self, database: Database, town: Town, crm: Crm) -> None:
        self.database, self.town = database, town
        (self.company,) = (int(key) for key in town.sessions)
        self.zone = crm.run(lambda crm: crm.company(self.company)).timezone_name or "UTC"
        service = crm.run(lambda crm: crm.services(self.company)).good[0]
        self.service = service.id
        days = [NOW.date() + timedelta(days=ahead) for ahead in range(2, 6)]
        questions = [
            SlotQuestion(self.company, self.service, member.id, day, self.zone)
            for member in service.staff
            for day in days
        ]
        answer = crm.run(lambda crm: ask_slots(crm, questions))
        free = answer.slots.unique("starts_at", keep="first").sort("starts_at").to_dicts()
        by_day: dict[date, dict[str, Any]] = {}
        for slot in free:
            by_day.setdefault(local_date(slot["starts_at"], self.zone), slot)
        self.slots = [
            {"rank": rank, "spare": rank > 2, "told": rank <= 2, "staff_id": slot["staff_id"], "starts_at": slot["starts_at"].isoformat(), "length_s": slot["length_s"]}
            for rank, slot in enumerate(list(by_day.values())[:3], start=1)
        ]  # fmt: skip
        add_salon(database, self.company)
        execute(database, "UPDATE companies SET timezone = :zone", zone=self.zone)
        titles = "INSERT INTO services (company_id, service_id, title, duration_s) VALUES (:company, :service, 'Стрижка', :needed)"
        execute(database, titles, company=self.company, service=self.service, needed=self.slots[0]["length_s"])

    def plan(self, client: int = 1, **changes: Any) -> dict[str, Any]:
        values = {
            "service_id": self.service,
            "slots": self.slots,
            "message_text": "as written",
            "slots_checked_at": None,
        }
        one = add_campaign(self.database, client, self.company, **{**values, **changes})
        row: dict[str, Any] = campaign(self.database, one)._asdict()
        return row

    def take(self, *ranks: int) -> None:
        """Somebody else books these slots."""
        headers = {"Authorization": f"Bearer {self.town.partner}", "Accept": "application/vnd.yclients.v2+json"}
        for rank in ranks:
            slot = self.slots[rank - 1]
            appointment = {
                "id": 1,
                "services": [self.service],
                "staff_id": slot["staff_id"],
                "datetime": slot["starts_at"],
            }
            body = {"phone": f"7900555{rank:04}", "fullname": "Вера", "email": "", "appointments": [appointment]}
            with httpx.Client(headers=headers, trust_env=False) as client:
                client.post(f"{self.town.yclients_url}/book_record/{self.company}", json=body).raise_for_status()

    def words(self, slot: dict[str, Any]) -> str:
        """How the message tells the slot's time."""
        return f"{to_local(datetime.fromisoformat(slot['starts_at']), self.zone):%-d ноября}"


async def at_once(_: float) -> None:
    """A pause that nobody waits."""


@pytest.fixture
def crm(running: Town) -> Iterator[Crm]:
    running.reset()

    def open_client() -> YClients:
        return YClients(running.yclients_url, running.partner, running.user, RateLimiter("none", ()), sleep=at_once)

    door = Crm(open_client, base_url=running.yclients_url, configured=True)
    yield door
    door.close()


@pytest.fixture
def salon(database: Database, running: Town, crm: Crm) -> Salon:
    return Salon(database, running, crm)


def refresh(salon: Salon, crm: Crm, row: dict[str, Any], now: datetime = NOW) -> SlotRefresh | None:
    return SlotRefresher(salon.database, crm, SimulatedClock(now))(row)


def asked(town: Town) -> int:
    return sum(count for route, count in town.calls()["counts"].items() if "book_times" in route)


def test_slots_that_are_still_free_stay_and_so_does_the_text(salon: Salon, crm: Crm) -> None:
    assert refresh(salon, crm, salon.plan()) == SlotRefresh(salon.slots, "as written", NOW)


def test_a_taken_slot_is_replaced_from_the_spares_and_the_text_is_written_again(salon: Salon, crm: Crm) -> None:
    salon.take(1)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert [(slot["rank"], slot["spare"], slot["starts_at"]) for slot in found.slots] == [
        (1, False, salon.slots[1]["starts_at"]),
        (2, False, salon.slots[2]["starts_at"]),
    ]
    assert salon.words(salon.slots[0]) not in found.message_text
    assert salon.words(salon.slots[1]) in found.message_text
    assert salon.words(salon.slots[2]) in found.message_text


def test_a_taken_spare_leaves_the_offer_as_it_is(salon: Salon, crm: Crm) -> None:
    salon.take(3)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert found.slots == salon.slots[:2]
    assert found.message_text == "as written"


def test_what_the_text_does_not_tell_may_be_taken(salon: Salon, crm: Crm) -> None:
    salon.slots[1]["told"] = False  # it did not fit
    salon.take(2)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert found.message_text == "as written"
    assert [(slot["spare"], slot["told"], slot["starts_at"]) for slot in found.slots] == [
        (False, True, salon.slots[0]["starts_at"]),
        (False, False, salon.slots[2]["starts_at"]),
    ]


def test_with_fewer_slots_left_fewer_are_offered(salon: Salon, crm: Crm) -> None:
    salon.take(1, 2)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert [slot["starts_at"] for slot in found.slots] == [salon.slots[2]["starts_at"]]
    assert not found.slots[0]["spare"]


def test_with_none_left_the_text_goes_without(salon: Salon, crm: Crm) -> None:
    salon.take(1, 2, 3)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert found.slots == []
    assert "ноября" not in found.message_text
    assert found.message_text != "as written"


@pytest.mark.parametrize(
    "fault", [{"status": 500, "count": 99}, {"status": 402}, {"kind": "success_false", "count": 99}]
)
def test_with_a_silent_crm_the_text_goes_without(salon: Salon, crm: Crm, running: Town, fault: dict[str, Any]) -> None:
    running.fail("/api/v1/book_times", **fault)
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert (found.slots, found.checked_at) == ([], NOW)
    assert "ноября" not in found.message_text


def test_a_slot_that_has_passed_is_no_longer_offered(salon: Salon, crm: Crm, running: Town) -> None:
    later = datetime.fromisoformat(salon.slots[0]["starts_at"]) + MINUTE
    running.set_clock(later)
    found = refresh(salon, crm, salon.plan(), later)
    assert found is not None
    assert salon.slots[0]["starts_at"] not in [slot["starts_at"] for slot in found.slots]


def test_a_fresh_look_is_not_repeated(salon: Salon, crm: Crm, running: Town) -> None:
    before = asked(running)
    assert refresh(salon, crm, salon.plan(slots_checked_at=NOW - FRESH_FOR)) is None
    assert asked(running) == before


def test_an_older_look_is(salon: Salon, crm: Crm, running: Town) -> None:
    before = asked(running)
    assert refresh(salon, crm, salon.plan(slots_checked_at=NOW - FRESH_FOR - MINUTE)) is not None
    assert asked(running) == before + 3


@pytest.mark.parametrize("slots", [None, []])
def test_where_nothing_was_offered_nobody_is_asked(salon: Salon, crm: Crm, running: Town, slots: Any) -> None:
    before = asked(running)
    assert refresh(salon, crm, salon.plan(slots=slots)) is None
    assert asked(running) == before


def test_a_slot_that_became_too_short_for_the_service_is_not_offered(salon: Salon, crm: Crm) -> None:
    execute(salon.database, "UPDATE services SET duration_s = duration_s + 1")
    found = refresh(salon, crm, salon.plan())
    assert found is not None
    assert found.slots == []


def test_two_clients_with_the_same_slots_ask_once(salon: Salon, crm: Crm, running: Town) -> None:
    refresher = SlotRefresher(salon.database, crm, clock := SimulatedClock(NOW))
    before = asked(running)
    first = refresher(salon.plan(1))
    clock.advance_to(NOW + FRESH_FOR)
    salon.take(1)
    second = refresher(salon.plan(2))
    assert asked(running) == before + 3
    assert first == second == SlotRefresh(salon.slots, "as written", NOW)  # the answer keeps its age
    clock.advance_to(NOW + FRESH_FOR + MINUTE)
    third = refresher(salon.plan(3))
    assert asked(running) == before + 6
    assert third is not None
    assert (len(third.slots), third.checked_at) == (2, NOW + FRESH_FOR + MINUTE)


def test_one_question_serves_all_slots_of_a_day(salon: Salon, crm: Crm, running: Town) -> None:
    same_day = [salon.slots[0] | {"rank": rank, "spare": rank > 2} for rank in (1, 2, 3)]
    before = asked(running)
    refresh(salon, crm, salon.plan(slots=same_day))
    assert asked(running) == before + 1


def test_a_silent_crm_is_left_in_peace_for_a_while(salon: Salon, crm: Crm, running: Town) -> None:
    refresher = SlotRefresher(salon.database, crm, clock := SimulatedClock(NOW))
    running.fail("/api/v1/book_times", status=500, count=99)
    assert refresher(salon.plan(1)) is not None
    running.heal()
    before = asked(running)
    found = refresher(salon.plan(2))
    assert found is not None
    assert (found.slots, asked(running)) == ([], before)
    clock.advance_to(NOW + SILENT_FOR + MINUTE)
    found = refresher(salon.plan(3))
    assert found is not None
    assert len(found.slots) == 3
