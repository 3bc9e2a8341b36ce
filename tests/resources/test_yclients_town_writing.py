"""What the client writes into the town's CRM: done once, found again when the answer is lost."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import RefusedError, UnavailableError
from reactivation_resources.yclients.models import Appointment
from reactivation_sandbox.process import Town, running_town
from tests.resources.crm_town import Asking


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=6, salons=1, clients=30, now="2026-11-01T06:00:00+00:00") as town:
        yield town


@pytest.fixture
def town(running: Town) -> Iterator[Town]:
    before = running.variants()
    yield running
    running.heal()
    running.variants(**before)


@pytest.fixture
def asking(town: Town) -> Asking:
    return Asking(town)


@pytest.fixture
def free(asking: Asking) -> Appointment:
    """A wish that can be fulfilled."""

    async def work(client: YClients) -> Appointment:
        services = await client.services(asking.company)
        service = next(card for card in services.good if card.staff)
        staff = service.staff[0].id
        days = (await client.book_dates(asking.company, [service.id], staff)).booking_dates
        times = await client.book_times(asking.company, staff, days[3], [service.id])
        return Appointment(services=[service.id], staff_id=staff, starts_at=datetime.combine(days[3], times[0].time))

    return asking.ask(work)


@pytest.mark.parametrize("kind", ["lose_response", "cut_middle"])
def test_a_booking_whose_answer_was_lost_is_found_and_not_made_twice(
    town: Town, asking: Asking, free: Appointment, kind: str
) -> None:
    town.fail("/api/v1/book_record", kind=kind, count=1)
    api_id = f"ours-{kind}"
    with pytest.raises(UnavailableError):
        asking.ask(
            lambda client: client.book_record(
                asking.company, [free], phone="+79000009999", fullname="Новая", api_id=api_id
            )
        )
    day = free.starts_at.date()
    found = asking.ask(lambda client: client.find_by_api_id(asking.company, api_id, day))
    assert [(card.starts_local, card.staff_id) for card in found] == [(free.starts_at, free.staff_id)]


@pytest.mark.parametrize("kind", ["cut_before", "status"])
def test_a_booking_that_never_arrived_is_not_found(town: Town, asking: Asking, free: Appointment, kind: str) -> None:
    town.fail("/api/v1/book_record", kind=kind, count=1)
    with pytest.raises(UnavailableError):
        asking.ask(
            lambda client: client.book_record(
                asking.company, [free], phone="+79000009999", fullname="Новая", api_id="ours-0"
            )
        )
    day = free.starts_at.date()
    assert asking.ask(lambda client: client.find_by_api_id(asking.company, "ours-0", day)) == []


@pytest.mark.parametrize("form", ["object", "array"])
def test_a_record_written_at_the_desk_is_read_back(town: Town, asking: Asking, free: Appointment, form: str) -> None:
    town.variants(record_created=form)
    record = asking.ask(
        lambda client: client.create_record(
            asking.company,
            staff_id=free.staff_id,
            service_ids=free.services,
            phone="+79000009998",
            name="Новая",
            starts_at=free.starts_at,
            seance_length_s=3600,
            api_id=f"desk-{form}",
        )
    )
    assert (record.starts_local, record.staff_id, record.api_id) == (free.starts_at, free.staff_id, f"desk-{form}")
    assert asking.ask(lambda client: client.record(asking.company, record.id)) == record


@pytest.mark.parametrize(("form", "code"), [("code", 433), ("text", None), ("list", None)])
def test_a_slot_that_was_taken_is_refused_in_every_form(
    town: Town, asking: Asking, free: Appointment, form: str, code: int | None
) -> None:
    town.variants(errors_422=form)
    night = free.model_copy(update={"starts_at": free.starts_at.replace(hour=3)})
    asking.ask(lambda client: client.book_check(asking.company, [free]))
    with pytest.raises(RefusedError) as error:
        asking.ask(lambda client: client.book_check(asking.company, [night]))
    assert (error.value.status, error.value.code) == (422, code)


def test_an_address_for_webhooks_is_added_to_those_of_others(asking: Asking) -> None:
    theirs, ours = "http://127.0.0.1:9/theirs", "http://127.0.0.1:9/ours"
    asking.ask(lambda client: client.add_hook_url(asking.company, theirs, ["good"]))
    asking.ask(lambda client: client.add_hook_url(asking.company, ours))
    settings = asking.ask(lambda client: client.hooks_settings(asking.company))
    assert settings.urls == (theirs, ours)
    assert (settings.active, settings.record, settings.model_dump(mode="json")["good"]) == (True, True, 1)
