from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages

BASE = {"op": "create_record", "company_id": 101, "staff_id": 10101, "service_ids": [101001]}


def by_id(town: Town, record_id: int) -> dict[str, Any]:
    return next(row for row in town.book(101)["records"] if row["record_id"] == record_id)


def free_day(crm: httpx.Client) -> str:
    """A wall-clock noon with nothing booked for master 10101 that day."""
    dates: list[str] = crm.get("/book_dates/101", params={"staff_id": 10101}).json()["data"]["booking_dates"]
    busy = {row["date"][:10] for row in pages(crm, "/records/101", staff_id=10101)}
    return f"{next(day for day in dates[20:] if day not in busy)}T12:00:00"


def test_listings_obey_every_filter_of_staff_user_and_creation(crm: httpx.Client) -> None:
    rows = pages(crm, "/records/101")
    staff = rows[0]["staff_id"]
    assert {r["id"] for r in pages(crm, "/records/101", staff_id=staff)} == {
        r["id"] for r in rows if r["staff_id"] == staff
    }
    assert {r["id"] for r in pages(crm, "/records/101", created_user_id=0)} == {r["id"] for r in rows if r["online"]}
    for bad in ({"start_date": "yesterday"}, {"staff_id": "x"}, {"changed_after": "never"}):
        assert crm.get("/records/101", params=bad).status_code == 400
    assert len(pages(crm, "/records/101", client_phone="79000000001")) == len(rows)  # ignored, as undocumented


def test_a_booking_of_the_administrator_is_written_moved_attended_and_deleted(town: Town, crm: httpx.Client) -> None:
    noon = free_day(crm)
    wish = {
        "staff_id": 10101, "datetime": noon, "seance_length": 3600, "save_if_busy": False, "send_sms": False, "api_id": "mine",
        "services": [{"id": 101001, "first_cost": 2000, "discount": 25, "cost": 1500, "amount": 2}],
        "client": {"phone": "+7 900 055-66-77", "name": "Вера"},
    }  # fmt: skip
    made = crm.post("/records/101", json=wish)
    assert made.status_code == 201
    card = made.json()["data"]
    assert (card["date"], card["api_id"], card["length"]) == (noon.replace("T", " "), "mine", 3600)
    assert (card["client"]["name"], card["client"]["phone"].lstrip("+")) == ("Вера", "79000556677")
    assert by_id(town, card["id"])["lines"] == [[101001, "3000.00"]]
    assert crm.post("/records/101", json=wish).status_code == 409
    busy = crm.post("/records/101", json=wish | {"save_if_busy": True}).json()["data"]
    assert busy["client"]["id"] == card["client"]["id"]
    assert crm.delete(f"/record/101/{busy['id']}").status_code == 204
    path = f"/record/101/{card['id']}"
    later = noon.replace("T12", "T14")
    moved = crm.put(path, json={"datetime": later, "staff_id": 10103, "attendance": 2, "comment": "перенос"})
    assert (moved.status_code, moved.json()["data"]["staff_id"], moved.json()["data"]["attendance"]) == (200, 10103, 2)
    assert crm.get(path).json()["data"]["date"] == later.replace("T", " ")
    other = crm.post("/records/101", json=wish | {"datetime": later}).json()["data"]
    assert crm.put(f"/record/101/{other['id']}", json={"staff_id": 10103}).status_code == 409
    visit = crm.get(f"/visits/{card['visit_id']}").json()["data"]
    assert [row["id"] for row in visit["records"]] == [card["id"]]
    crm.put(f"/visits/{card['visit_id']}/{card['id']}", json={"attendance": 1})
    assert by_id(town, card["id"])["attendance"] == 1
    assert crm.get(f"/visit/details/101/{card['id']}/{card['visit_id']}").json()["data"]["paid"] == 3000
    assert crm.delete(path).status_code == 204
    assert crm.delete(path).status_code == 404
    assert crm.get(path).json()["data"]["deleted"] is True
    assert card["id"] not in {row["id"] for row in pages(crm, "/records/101")}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"staff_id": 5}, 422),
        ({"services": [{"id": 5}]}, 422),
        ({"client": {"id": 5}}, 422),
        ({"datetime": "soon"}, 422),
        ({"attendance": 7}, 422),
        ({"services": [{"id": 101001, "cost": "dear"}]}, 400),
    ],
)
def test_a_booking_that_names_nothing_known_is_refused(crm: httpx.Client, change: dict[str, Any], status: int) -> None:
    wish = {"staff_id": 10101, "services": [{"id": 101001}], "datetime": "2026-11-20T12:00:00"}
    answer = crm.post("/records/101", json=wish | change)
    assert (answer.status_code, answer.json()["success"]) == (status, False)


def test_a_row_without_a_client_can_be_written(crm: httpx.Client) -> None:
    wish = {"staff_id": 10101, "services": [], "datetime": "2026-11-20T07:00:00", "seance_length": 1800}
    card = crm.post("/records/101", json=wish).json()["data"]
    assert (card["client"], card["services"], card["visit_attendance"]) == (None, [], 0)
    assert crm.get("/visits/5").status_code == 404


def test_pages_of_a_query_stay_the_same_list_until_the_salon_changes(town: Town, crm: httpx.Client) -> None:
    first = crm.get("/records/101", params={"count": 20}).json()
    again = crm.get("/records/101", params={"count": 20}).json()
    assert again == first
    (made,) = town.edit({**BASE, "client_id": 10100005, "starts_at": "2026-11-20T07:00:00"})
    after = crm.get("/records/101", params={"count": 20}).json()
    assert after["meta"]["total_count"] == first["meta"]["total_count"] + 1
    assert pages(crm, "/records/101")[-1]["id"] == made["record_id"]
    clients = crm.get("/clients/101").json()["meta"]["total_count"]
    crm.post("/clients/101", json={"name": "Вера", "phone": "79000556677"}).raise_for_status()
    assert crm.get("/clients/101").json()["meta"]["total_count"] == clients + 1


def test_bookings_of_clients_are_moved_and_cancelled_by_their_hash(town: Town, crm: httpx.Client) -> None:
    noon = free_day(crm)
    wish = {"id": 1, "services": [101001], "staff_id": 10101, "datetime": noon}
    body = {"phone": "79000556677", "fullname": "Вера", "appointments": [wish]}
    booked = crm.post("/book_record/101", json=body).json()["data"][0]
    later = noon.replace("T12", "T15")
    moved = crm.put(f"/book_record/101/{booked['record_id']}", json={"datetime": later})
    assert (moved.status_code, moved.json()["data"]["date"]) == (200, later.replace("T", " "))
    night = crm.put(f"/book_record/101/{booked['record_id']}", json={"datetime": noon.replace("T12", "T03")})
    assert (night.status_code, night.json()["errors"]["code"]) == (422, 433)
    path = f"/user/records/{booked['record_id']}"
    assert crm.delete(f"{path}/wrong").status_code == 404
    assert crm.delete(f"{path}/{booked['record_hash']}").status_code == 204
    assert by_id(town, booked["record_id"])["deleted"]
    overlapping = {**body, "appointments": [wish, wish | {"id": 2}]}
    assert crm.post("/book_record/101", json=overlapping).json()["errors"]["code"] == 437
    assert crm.post("/book_record/101", json=body | {"code": "1234"}).json()["errors"]["code"] == 432
