from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages


def test_calls_without_the_right_tokens_are_refused(town: Town, crm: httpx.Client) -> None:
    for header in ("", "Bearer wrong", f"Bearer {town.partner}", f"Bearer {town.partner}, User wrong"):
        answer = crm.get("/clients/101", headers={"Authorization": header})
        assert (answer.status_code, answer.json()["success"]) == (401, False)
    assert crm.get("/company/101/", headers={"Authorization": f"Bearer {town.partner}"}).status_code == 200
    assert (
        crm.get("/clients/101", headers={"Authorization": f"Bearer {town.partner},User {town.user}"}).status_code == 200
    )
    assert crm.get("/clients/999").status_code == 404


def test_without_the_versioned_accept_header_data_comes_bare(crm: httpx.Client) -> None:
    assert isinstance(crm.get("/company/101/services/", headers={"Accept": "*/*"}).json(), list)
    assert set(crm.get("/company/101/services/").json()) == {"success", "data", "meta"}


def test_clients_are_paged_by_id_and_filtered_by_change(town: Town, crm: httpx.Client) -> None:
    cards = pages(crm, "/clients/101")
    assert [c["id"] for c in cards] == sorted({c["id"] for c in cards})
    assert len(cards) == 60
    assert len(crm.get("/clients/101", params={"count": 301}).json()["data"]) == 25
    assert crm.get("/clients/101", params={"page": 9, "count": 200}).json() == {
        "success": True,
        "data": [],
        "meta": {"total_count": 60},
    }
    assert {type(c["custom_fields"]) for c in cards} == {list, dict}
    assert {type(c["visits"]) for c in cards} == {str, int}
    town.set_clock(town.clock() + timedelta(days=5))
    changed = pages(crm, "/clients/101", changed_after="2026-11-01T03:00:00")
    assert 0 < len(changed) < 60
    assert all(c["last_change_date"] >= "2026-11-01T03:00:00" for c in changed)


def test_records_obey_their_filters(crm: httpx.Client) -> None:
    everything = pages(crm, "/records/101", with_deleted=1)
    shown = pages(crm, "/records/101")
    assert {r["id"] for r in shown} == {r["id"] for r in everything if not r["deleted"]}
    assert any(r["deleted"] for r in everything)
    some = next(r["client"]["id"] for r in shown if r["client"])
    assert {r["client"]["id"] for r in pages(crm, "/records/101", client_id=some)} == {some}
    october = pages(crm, "/records/101", start_date="2026-10-01", end_date="2026-10-31")
    assert {r["id"] for r in october} == {r["id"] for r in shown if r["date"].startswith("2026-10")}
    made = pages(crm, "/records/101", c_start_date="2026-10-05", c_end_date="2026-10-05")
    assert made
    assert all(r["create_date"].startswith("2026-10-05") for r in made)
    changed = pages(crm, "/records/101", changed_after="2026-10-20T00:00:00", changed_before="2026-10-25T00:00:00")
    assert changed
    assert all("2026-10-20" <= r["last_change_date"][:10] <= "2026-10-25" for r in changed)


def test_the_known_variations_of_shape_occur(crm: httpx.Client) -> None:
    rows = pages(crm, "/records/101", with_deleted=1)
    assert {type(r["visit_id"]) for r in rows} == {str, int}
    assert {type(r["custom_fields"]) for r in rows} == {list, dict}
    assert {type(line["cost"]) for r in rows for line in r["services"]} >= {str, int}
    assert {type(r["staff"].get("position")) for r in rows} == {list, dict, type(None)}
    assert any(r["client"] is None for r in rows)
    assert {r["attendance"] for r in rows} >= {-1, 0, 1}
    services = crm.get("/company/101/services/").json()["data"]
    assert {type(s["price_min"]) for s in services} == {str, int}
    assert {type(m["id"]) for s in services for m in s["staff"]} == {str, int}
    staff = crm.get("/company/101/staff/").json()["data"]
    assert {m["fired"] for m in staff} == {0, 1}
    assert any(m.get("position") == [] for m in staff)
    days = [crm.get(f"/book_dates/{c}").json()["data"]["booking_days"]["11"][0] for c in (101, 102)]
    assert {type(day) for day in days} == {int, str}


def test_free_times_vanish_when_booked_and_nobody_gets_a_taken_one(town: Town, crm: httpx.Client) -> None:
    service = crm.get("/company/101/services/").json()["data"][0]
    staff_id = int(service["staff"][0]["id"])
    day = crm.get("/book_dates/101", params={"staff_id": staff_id, "service_ids[]": service["id"]}).json()["data"][
        "booking_dates"
    ][2]
    path = f"/book_times/101/{staff_id}/{day}"
    times = crm.get(path, params={"service_ids[]": service["id"]}).json()["data"]
    assert all(t["sum_length"] >= service["duration"] for t in times)
    wish = {"id": 1, "services": [service["id"]], "staff_id": staff_id, "datetime": times[0]["datetime"]}
    body = {"phone": "79000999001", "fullname": "Тест", "api_id": "ours-1", "appointments": [wish]}
    assert crm.post("/book_check/101", json={"appointments": [wish]}).status_code == 201
    booked = crm.post("/book_record/101", json=body)
    assert booked.status_code == 201
    record_id = booked.json()["data"][0]["record_id"]
    assert crm.post("/book_record/101", json=body).json()["errors"]["code"] == 433
    left = crm.get(path, params={"service_ids[]": service["id"]}).json()["data"]
    assert times[0]["datetime"] not in [t["datetime"] for t in left]
    mine = next(r for r in pages(crm, "/records/101", start_date=day, end_date=day) if r["id"] == record_id)
    assert (mine["api_id"], mine["online"], mine["client"]["phone"].lstrip("+")) == ("ours-1", True, "79000999001")
    town.set_clock(datetime.fromisoformat(times[0]["datetime"]).astimezone(UTC) + timedelta(hours=9))
    later = crm.get(f"/record/101/{record_id}").json()["data"]
    assert later["deleted"] or later["attendance"] in {1, -1}


def test_masters_without_the_service_and_mistyped_parameters(crm: httpx.Client) -> None:
    services = crm.get("/company/101/services/").json()["data"]
    staff = crm.get("/company/101/staff/").json()["data"]
    hair = next(s for s in services if s["title"] == "Окрашивание корней")
    nails = next(int(m["id"]) for m in staff if m["specialization"] == "Ногти")
    day = crm.get("/book_dates/101", params={"staff_id": nails}).json()["data"]["booking_dates"][0]
    assert crm.get(f"/book_times/101/{nails}/{day}", params={"service_ids[]": hair["id"]}).json()["data"] == []
    careless = crm.get(f"/book_times/101/{nails}/{day}", params={"service_id": hair["id"]}).json()["data"]
    assert careless
    assert careless[0]["sum_length"] < hair["duration"]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"phone": "12"}, 431), ({"fullname": " "}, 435), ({"services": [1]}, 438), ({"staff_id": 1}, 436), ({"datetime": "2020-01-01T10:00:00"}, 433)],
)  # fmt: skip
def test_bad_bookings_are_refused_with_their_code(crm: httpx.Client, change: dict[str, Any], code: int) -> None:
    service = crm.get("/company/101/services/").json()["data"][0]
    wish = {"id": 1, "services": [service["id"]], "staff_id": 0, "datetime": "2026-11-05T12:00:00"}
    body = {"phone": "79000999002", "fullname": "Тест", "appointments": [wish]}
    for key, value in change.items():
        (wish if key in wish else body)[key] = value
    answer = crm.post("/book_record/101", json=body)
    assert (answer.status_code, answer.json()["errors"]["code"]) == (422, code)


def test_faults_strike_as_often_as_asked(town: Town, crm: httpx.Client) -> None:
    town.fail("/api/v1/book_times", status=429, count=2, retry_after=2)
    first = [crm.get("/book_times/101/0/2026-11-05") for _ in range(3)]
    assert [a.status_code for a in first] == [429, 429, 200]
    assert first[0].headers["retry-after"] == "2"
    town.fail("/api/v1/records", status=403)
    page = crm.get("/records/101")
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (403, "text/html")
    town.fail("/api/v1/records", kind="success_false")
    assert crm.get("/records/101").json()["success"] is False
    town.fail("/api/v1/records", kind="timeout", seconds=5)
    with pytest.raises(httpx.TimeoutException):
        crm.get("/records/101", timeout=0.2)
    town.fail("/api/v1/records", status=500, count=9)
    town.heal()
    assert crm.get("/records/101").status_code == 200
    with pytest.raises(ValueError, match="kind=nonsense"):
        town.fail("/api/v1/records", kind="nonsense")
    counts = town.calls()["counts"]
    assert counts["GET /api/v1/book_times/{company:int}/{staff:int}/{day}"] == 1
    assert counts["GET /api/v1/book_times/101/0/2026-11-05"] == 2
