from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages

NOW = datetime(2026, 11, 1, tzinfo=UTC)
Operation = dict[str, Any]


def op(what: str, /, **fields: Any) -> Operation:
    return {"op": what, "company_id": 101, **fields}


def records(town: Town) -> dict[int, dict[str, Any]]:
    return {row["record_id"]: row for row in town.book(101)["records"]}


def clients(town: Town) -> dict[int, dict[str, Any]]:
    return {row["client_id"]: row for row in town.book(101)["clients"]}


def one_ahead(town: Town) -> dict[str, Any]:
    """A coming booking with a client."""
    return next(
        row
        for row in town.book(101)["records"]
        if row["client_id"] and not row["deleted"] and row["starts_at"] > "2026-11-02"
    )


def later(town: Town, crm: httpx.Client) -> list[dict[str, Any]]:
    """What changed at the town's present time."""
    return pages(crm, "/records/101", with_deleted=1, changed_after=town.clock().astimezone(UTC).isoformat())


def test_the_book_says_what_the_calls_say(town: Town, crm: httpx.Client) -> None:
    book = town.book(101)
    cards = {row["id"]: row for row in pages(crm, "/records/101", with_deleted=1)}
    assert len(cards) == len(book["records"])
    for row in book["records"]:
        card = cards[row["record_id"]]
        assert row["starts_at"] == datetime.fromisoformat(card["date"] + "+03:00").astimezone(UTC).isoformat()
        assert (row["client_id"], row["deleted"]) == (card["client"] and card["client"]["id"], card["deleted"])
        assert [float(price) for _, price in row["lines"]] == [
            float(line["cost"]) * line["amount"] for line in card["services"]
        ]
    assert {row["client_id"] for row in book["clients"]} == {row["id"] for row in pages(crm, "/clients/101")}
    assert {row["active"] for row in book["staff"]} == {True, False}
    assert town.http.get("/_town/book/5").status_code == 404


def test_every_edit_of_a_record_shows_with_the_present_time(town: Town, crm: httpx.Client) -> None:
    town.set_clock(NOW + timedelta(minutes=30))
    row = one_ahead(town)
    key = row["record_id"]
    new, _, _, _ = town.edit(
        op("create_record", client_id=row["client_id"], staff_id=10101, service_ids=[101001], starts_at="2026-11-20T09:00:00"),
        op("move_record", record_id=key, starts_at="2026-11-21T10:30:00", staff_id=10102),
        op("lines", record_id=key, lines=[[101001, 1000, 2], [101003, 300.5]], discount=10),
        op("attendance", record_id=key, attendance=2),
    )  # fmt: skip
    found = records(town)
    assert found[new["record_id"]]["lines"] == [[101001, "2600.00"]]
    assert (found[key]["starts_at"], found[key]["staff_id"]) == ("2026-11-21T07:30:00+00:00", 10102)
    assert found[key]["lines"] == [[101001, "1800.00"], [101003, "270.45"]]
    assert found[key]["attendance"] == 2
    town.edit(op("cancel", record_id=new["record_id"]))
    changed = {row["id"]: row for row in later(town, crm)}
    assert set(changed) == {key, new["record_id"]}
    assert changed[new["record_id"]]["deleted"] is True
    assert changed[key]["last_change_date"] == "2026-11-01T03:30:00+0300"


def test_a_moved_booking_is_attended_at_its_new_time_only(town: Town) -> None:
    row = one_ahead(town)
    town.edit(op("move_record", record_id=row["record_id"], starts_at="2026-12-10T12:00:00"))
    town.set_clock(NOW + timedelta(days=20))
    waiting = records(town)[row["record_id"]]
    assert waiting["deleted"] or waiting["attendance"] == 0
    town.set_clock(NOW + timedelta(days=45))
    settled = records(town)[row["record_id"]]
    assert settled["deleted"] or settled["attendance"] in {1, -1}


def test_what_is_marked_by_hand_stays(town: Town, crm: httpx.Client) -> None:
    row = one_ahead(town)
    before = crm.get(f"/client/101/{row['client_id']}").json()["data"]
    town.edit(op("attendance", record_id=row["record_id"], attendance=1))
    town.set_clock(NOW + timedelta(days=30))
    assert records(town)[row["record_id"]]["attendance"] == 1
    after = crm.get(f"/client/101/{row['client_id']}").json()["data"]
    assert int(after["visits"]) > int(before["visits"])


def test_a_deleted_client_vanishes_and_her_rows_stay_or_lose_her(town: Town, crm: httpx.Client) -> None:
    one, other = (row["client_id"] for row in list(clients(town).values())[4:6])
    own = {key: [r for r, row in records(town).items() if row["client_id"] == key] for key in (one, other)}
    town.set_clock(NOW + timedelta(minutes=1))
    town.edit(op("delete_client", client_id=one), op("delete_client", client_id=other, records="null"))
    assert not {one, other} & {row["id"] for row in pages(crm, "/clients/101")}
    assert crm.get(f"/client/101/{one}").status_code == 404
    found = records(town)
    assert {found[key]["client_id"] for key in own[one]} == {one}
    assert {found[key]["client_id"] for key in own[other]} == {None}
    assert crm.get(f"/record/101/{own[one][0]}").json()["data"]["client"]["id"] == one
    assert {row["id"] for row in later(town, crm)} == set(own[other])
    town.set_clock(NOW + timedelta(days=40))
    assert not {one, other} & set(clients(town))


def test_merged_clients_become_one(town: Town, crm: httpx.Client) -> None:
    one, other = list(clients(town))[7:9]
    rows = records(town)
    made = {key for key, row in rows.items() if row["client_id"] == one}
    both = {key for key, row in rows.items() if row["client_id"] in {one, other}}
    (done,) = town.edit(op("merge_clients", client_id=one, into=other))
    assert set(done["record_ids"]) == made
    assert one not in clients(town)
    assert {row["id"] for row in pages(crm, "/records/101", client_id=other, with_deleted=1)} == both
    assert {row["id"] for row in later(town, crm)} >= made
    assert pages(crm, "/records/101", client_id=one, with_deleted=1) == []


def test_pins_and_group_events(town: Town, crm: httpx.Client) -> None:
    row = one_ahead(town)
    some = list(clients(town))[:3]
    _, pinned, event = town.edit(
        op("pin", record_id=row["record_id"]),
        op("pin", staff_id=10101, starts_at="2026-11-20T08:00:00", minutes=45),
        op("group_event", staff_id=10101, service_id=101001, starts_at="2026-11-20T18:00:00", client_ids=some),
    )
    found = records(town)
    assert found[row["record_id"]]["client_id"] is None
    assert (found[pinned["record_id"]]["client_id"], found[pinned["record_id"]]["lines"]) == (None, [])
    cards = [crm.get(f"/record/101/{key}").json()["data"] for key in event["record_ids"]]
    assert {card["activity_id"] for card in cards} == {event["record_ids"][0]}
    assert [card["client"]["id"] for card in cards] == some


def test_clients_services_staff_and_the_company_change(town: Town, crm: httpx.Client) -> None:
    client = next(iter(clients(town)))
    _, new, service, master, *_ = town.edit(
        op(
            "change_client", client_id=client, name="Иная", phone="+79007001122", mailing_refused=True, blacklisted=True
        ),
        op("new_client", name="Новая", phone="+79007001133"),
        op("add_service", title="Спа", price=900, minutes=30, category="Уход"),
        op("staff_joins", name="Ева", specialization="Уход", phone="+79007001144"),
        op("change_service", service_id=101002, title="Маникюр", active=False),
        op("change_service", service_id=101004, listed=False),
        op("change_staff", staff_id=10102, name="Оля"),
        op("staff_leaves", staff_id=10101),
        op("staff_leaves", staff_id=10103, how="hidden"),
        op("staff_leaves", staff_id=10104, how="vanished"),
        op("company", title="Сирень у моря", zone="Europe/Samara", phone="+79007001155"),
    )
    assert clients(town)[client] | {"changed": ""} == {
        "client_id": client, "name": "Иная", "phone": "+79007001122", "mailing_refused": True, "blacklisted": True, "changed": "",
    }  # fmt: skip
    assert crm.get(f"/client/101/{new['client_id']}").json()["data"]["phone"] == "+79007001133"
    book = town.book(101)
    services = {row["service_id"]: (row["title"], row["active"]) for row in book["services"]}
    assert services[service["service_id"]] == ("Спа", True)
    assert services[101002] == ("Маникюр", False)
    listed = {row["id"]: row for row in crm.get("/company/101/services").json()["data"]}
    assert (listed[101002]["active"], 101004 in listed, services[101004][1]) == (0, False, False)
    wish = {"id": 1, "services": [101002], "staff_id": 0, "datetime": "2026-11-20T12:00:00"}
    assert crm.post("/book_check/101", json={"appointments": [wish]}).json()["errors"]["code"] == 436
    staff = {row["staff_id"]: (row["name"], row["active"]) for row in book["staff"]}
    assert (staff[master["staff_id"]], staff[10102]) == (("Ева", True), ("Оля", True))
    assert not any(staff[key][1] for key in (10101, 10103, 10104))
    cards = {int(row["id"]): row for row in crm.get("/company/101/staff").json()["data"]}
    assert (cards[10101]["fired"], cards[10103]["hidden"], 10104 in cards) == (1, 1, False)
    card = crm.get("/company/101").json()["data"]
    assert (card["title"], card["timezone_name"]) == ("Сирень у моря", "Europe/Samara")
    town.edit(op("staff_joins", staff_id=10101))
    assert {row["staff_id"]: row["active"] for row in town.book(101)["staff"]}[10101]


def test_another_zone_keeps_the_wall_clock(town: Town, crm: httpx.Client) -> None:
    before, dates = records(town), {row["id"]: row["date"] for row in pages(crm, "/records/101")}
    town.edit(op("company", zone="Asia/Yekaterinburg"))
    after = records(town)
    assert {row["id"]: row["date"] for row in pages(crm, "/records/101")} == dates
    shift = {
        datetime.fromisoformat(before[key]["starts_at"]) - datetime.fromisoformat(after[key]["starts_at"])
        for key in after
    }
    assert shift == {timedelta(hours=2)}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "nonsense", "company_id": 101},
        {"op": "cancel", "company_id": 5, "record_id": 700000001},
        {"op": "cancel", "company_id": 101, "record_id": 5},
        {"op": "cancel", "company_id": 101, "record": 700000001},
        {"op": "move_record", "company_id": 101, "record_id": 700000001, "starts_at": "soon"},
        {"op": "merge_clients", "company_id": 101, "client_id": 10100001, "into": 10100001},
        {"op": "lines", "company_id": 101, "record_id": 700000001, "lines": [[5, 100]]},
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(town: Town, operation: Operation) -> None:
    with pytest.raises(ValueError, match="operation 0"):
        town.edit(operation)


def test_shuffling_is_the_same_for_the_same_seed_and_touches_only_the_named_salons(town: Town) -> None:
    other = town.book(102)
    first = town.shuffle(5, 120, [101])
    book = town.book(101)
    assert len(first) == 120
    assert {row["company_id"] for row in first} == {101}
    assert len({row["op"] for row in first}) > 10
    town.reset()
    assert town.shuffle(5, 120, [101]) == first
    assert town.book(101) == book
    assert town.book(102) == other
    town.reset()
    assert town.shuffle(6, 120, [101]) != first
    with pytest.raises(ValueError, match="company_id=7"):
        town.shuffle(1, 1, [7])


def test_a_shuffled_town_lives_on(town: Town, crm: httpx.Client) -> None:
    for round_ in range(4):
        town.shuffle(round_, 60)
        town.set_clock(town.clock() + timedelta(days=3))
    for company in (101, 102):
        book = town.book(company)
        rows = pages(crm, f"/records/{company}", with_deleted=1)
        assert [row["id"] for row in rows] == [row["record_id"] for row in book["records"]]
        assert {row["id"] for row in pages(crm, f"/clients/{company}")} == {row["client_id"] for row in book["clients"]}


def test_somebody_new_may_like_a_service_that_nobody_does_yet(town: Town) -> None:
    services = [op("add_service", title=f"Новая услуга {number}", price=100.0, minutes=30) for number in range(12)]
    newcomers = [op("new_client", name="Новая", phone=f"+7900500{number:04d}") for number in range(40)]
    assert len(town.edit(*services, *newcomers)) == 52
