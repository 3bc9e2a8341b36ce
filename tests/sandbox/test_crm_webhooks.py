import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.conftest import Receiver
from tests.sandbox.paging import pages

MADE = {"op": "create_record", "company_id": 101, "client_id": 10100005, "staff_id": 10101, "service_ids": [101001]}


def events(receiver: Receiver) -> list[Any]:
    return [json.loads(body) for _, body in receiver.got]


def kinds(receiver: Receiver) -> list[tuple[str, str, int]]:
    return [(event["resource"], event["status"], event["resource_id"]) for event in events(receiver)]


@pytest.fixture
def hearing(town: Town, receiver: Receiver) -> Town:
    """The town, telling the receiver of every change."""
    town.set_crm_webhook(receiver.url)
    return town


def test_nothing_is_told_when_nobody_listens(town: Town, receiver: Receiver) -> None:
    town.edit({**MADE, "starts_at": "2026-11-20T12:00:00"})
    town.set_clock(town.clock() + timedelta(days=1))
    assert receiver.got == []


def test_every_edit_is_told_with_the_card_as_the_api_gives_it(
    hearing: Town, crm: httpx.Client, receiver: Receiver
) -> None:
    (made,) = hearing.edit({**MADE, "starts_at": "2026-11-20T12:00:00"})
    key = made["record_id"]
    (event,) = events(receiver)
    assert event == {
        "company_id": 101, "resource": "record", "resource_id": key, "status": "create", "data": crm.get(f"/record/101/{key}").json()["data"],
    }  # fmt: skip
    headers = receiver.got[0][0]
    assert (headers["user-agent"], headers["content-type"]) == ("GuzzleHttp/7", "application/json")
    receiver.got.clear()
    hearing.edit(
        {"op": "cancel", "company_id": 101, "record_id": key},
        {"op": "change_client", "company_id": 101, "client_id": 10100006, "name": "Вера"},
        {"op": "add_service", "company_id": 101, "title": "Спа", "price": 5},
        {"op": "change_staff", "company_id": 101, "staff_id": 10101, "name": "Ева"},
        {"op": "company", "company_id": 102, "title": "Мята"},
        {"op": "delete_client", "company_id": 101, "client_id": 10100007},
    )
    assert kinds(receiver) == [
        ("record", "delete", key),
        ("client", "update", 10100006),
        ("service", "create", 101008),
        ("staff", "update", 10101),
        ("company", "update", 102),
        ("client", "delete", 10100007),
    ]
    assert [event["data"].get("title") for event in events(receiver)][4] == "Мята"


def test_living_is_told_too(hearing: Town, crm: httpx.Client, receiver: Receiver) -> None:
    hearing.set_clock(hearing.clock() + timedelta(days=2))
    told = {(resource, key) for resource, _, key in kinds(receiver)}
    changed = [
        ("record", row["id"])
        for company in (101, 102)
        for row in pages(crm, f"/records/{company}", with_deleted=1, changed_after="2026-11-01T05:00:00")
    ]
    assert changed
    assert set(changed) <= told


def test_settings_of_a_location_choose_addresses_and_resources(
    town: Town, crm: httpx.Client, receiver: Receiver
) -> None:
    elsewhere = "http://10.1.2.3:9/hook"  # kept, and never called: the town talks to this machine only
    settings = {"urls": [elsewhere, receiver.url], "active": 1, "client": 1, "master": 1}
    crm.post("/hooks_settings/101", json=settings).raise_for_status()
    edit = [
        {**MADE, "starts_at": "2026-11-20T12:00:00"},
        {"op": "change_client", "company_id": 101, "client_id": 10100006, "name": "Вера"},
        {"op": "change_client", "company_id": 102, "client_id": 10200006, "name": "Вера"},
        {"op": "change_staff", "company_id": 101, "staff_id": 10101, "name": "Ева"},
    ]
    town.edit(*edit)
    assert kinds(receiver) == [("client", "update", 10100006), ("staff", "update", 10101)]
    crm.post("/hooks_settings/101", json=settings | {"active": 0}).raise_for_status()
    town.edit(*edit)
    assert len(receiver.got) == 2


def test_own_writes_are_silent_unless_the_variant_says_otherwise(
    hearing: Town, crm: httpx.Client, receiver: Receiver
) -> None:
    card = {"name": "Вера", "phone": "79000556677"}
    crm.post("/clients/101", json=card).raise_for_status()
    assert receiver.got == []
    hearing.variants(self_sending="yes")
    made = crm.post("/clients/101", json=card | {"phone": "79000556678"}).json()["data"]
    receiver.wait(1)  # the event follows the answer
    assert kinds(receiver) == [("client", "create", made["id"])]


def test_copies_arrays_parts_losses_and_disorder(hearing: Town, receiver: Receiver) -> None:
    def told(number: int, **variants: Any) -> list[Any]:
        receiver.got.clear()
        hearing.variants(**variants)
        hearing.edit(
            *({"op": "change_client", "company_id": 101, "client_id": 10100001 + n, "name": "А"} for n in range(number))
        )
        return events(receiver)

    copied = told(20, webhook_copies=4)
    assert 20 < len(copied) <= 80
    assert len({event["resource_id"] for event in copied}) == 20
    assert len({json.dumps(event) for event in copied}) == 20
    (array,) = told(5, webhook_copies=1, webhook_body="array")
    assert [event["resource_id"] for event in array] == [10100001 + n for n in range(5)]
    partial = told(1, webhook_body="object", webhook_data="partial")[0]["data"]
    assert set(partial) == {"id", "name", "last_change_date"}
    assert told(1, webhook_data="empty")[0]["data"] == []
    mixed = [event["resource_id"] for event in told(12, webhook_data="full", webhook_order="shuffled")]
    assert mixed != sorted(mixed)
    assert sorted(mixed) == [10100001 + n for n in range(12)]
    assert 0 < len(told(40, webhook_order="as_is", webhook_dropped=0.5)) < 40
    assert told(40, webhook_dropped=1) == []


def test_a_receiver_that_fails_is_asked_three_times_and_then_not_again(hearing: Town, receiver: Receiver) -> None:
    receiver.status = 503
    hearing.edit({"op": "change_client", "company_id": 101, "client_id": 10100001, "name": "А"})
    assert len(receiver.got) == 3
    receiver.status = 400
    hearing.edit({"op": "change_client", "company_id": 101, "client_id": 10100002, "name": "А"})
    assert len(receiver.got) == 4
    receiver.status = 200
    hearing.set_clock(hearing.clock() + timedelta(minutes=1))
    assert len(receiver.got) == 4
    counts = hearing.http.get("/_town/clock").json()["webhooks"]
    assert (counts["lost"], counts["refused"], counts["kept"]) == (1, 1, 0)


def test_the_marketplace_calls_back(town: Town, receiver: Receiver) -> None:
    assert town.lifecycle(101, "uninstall", url=receiver.url, application_id=55)
    town.set_crm_webhook(receiver.url)
    assert town.lifecycle(102, "payment")
    assert events(receiver) == [
        {"salon_id": 101, "application_id": 55, "event": "uninstall", "partner_token": town.partner},
        {"salon_id": 102, "application_id": 1, "event": "payment", "partner_token": town.partner},
    ]
    for company, event, url in (
        (5, "freeze", receiver.url),
        (101, "melt", receiver.url),
        (101, "freeze", "http://10.1.2.3/"),
    ):
        with pytest.raises(ValueError, match="refused lifecycle"):
            town.lifecycle(company, event, url=url)
    with pytest.raises(ValueError, match="loopback"):
        town.set_crm_webhook("https://elsewhere.example/")


def test_a_fresh_town_still_talks_to_the_same_address(hearing: Town, receiver: Receiver) -> None:
    hearing.reset()
    hearing.edit({"op": "change_client", "company_id": 101, "client_id": 10100001, "name": "А"})
    assert len(receiver.got) == 1
