from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages, search

Card = dict[str, Any]


def first_record(crm: httpx.Client) -> Card:
    row: Card = pages(crm, "/records/101")[0]
    return row


def test_every_variant_is_described_and_can_be_set_back(town: Town) -> None:
    rows = town.http.get("/_town/variants").json()
    assert all(row["meaning"] and row["value"] == row["default"] for row in rows)
    defaults = town.variants()
    assert town.variants(meta="object", webhook_dropped=0.25) == defaults | {"meta": "object", "webhook_dropped": 0.25}
    town.http.post("/_town/variants", json={}).raise_for_status()
    assert town.variants() == defaults
    for bad in ({"nonsense": 1}, {"meta": "nonsense"}, {"webhook_copies": 9}, {"meta": "list", "price": 5}):
        with pytest.raises(ValueError, match="refused variants"):
            town.variants(**bad)
    assert town.variants() == defaults
    town.variants(meta="object")
    town.reset()
    assert town.variants() == defaults


def test_a_variant_changes_nothing_but_the_answers(town: Town, crm: httpx.Client) -> None:
    rows, book = pages(crm, "/records/101"), town.book(101)
    for row in town.http.get("/_town/variants").json():
        if isinstance(row["default"], str):
            for value in row["values"]:
                town.variants(**{row["name"]: value})
                crm.get("/records/101").read()
            town.variants(**{row["name"]: row["default"]})
    assert pages(crm, "/records/101") == rows
    assert town.book(101) == book


def test_envelope_and_meta(town: Town, crm: httpx.Client) -> None:
    town.variants(envelope="never")
    assert isinstance(crm.get("/records/101").json(), list)
    town.variants(envelope="always", meta="object")
    assert crm.get("/company/101", headers={"Accept": "*/*"}).json()["meta"] == {}
    town.variants(meta="list")
    assert crm.get("/records/101").json()["meta"] == []
    town.variants(meta="as_is", total_count="text")
    assert crm.get("/records/101").json()["meta"]["total_count"].isdigit()
    town.variants(total_count="missing")
    assert crm.get("/records/101").json()["meta"] == {"page": 1}


def test_sizes_and_order_of_pages(town: Town, crm: httpx.Client) -> None:
    everything = pages(crm, "/records/101")
    for size, expected in (("fallback", 25), ("short", 80)):
        town.variants(page_size=size)
        assert len(crm.get("/records/101", params={"count": 100}).json()["data"]) == expected
        assert pages(crm, "/records/101", count=100) == everything
    assert len(crm.post("/company/101/clients/search", json={"page_size": 50}).json()["data"]) == 40
    town.variants(page_size="as_is", order="changed_desc")
    stamps = [row["last_change_date"] for row in pages(crm, "/records/101")]
    assert stamps == sorted(stamps, reverse=True)
    town.variants(order="changed_asc")
    rows = pages(crm, "/records/101")
    assert [row["last_change_date"] for row in rows] == stamps[::-1]
    assert {row["id"] for row in rows} == {row["id"] for row in everything}


@pytest.mark.parametrize(
    ("variant", "values", "path", "kinds"),
    [
        ("custom_fields", ["list", "object"], "custom_fields", [list, dict]),
        ("visit_id", ["int", "text"], "visit_id", [int, str]),
        ("price", ["number", "text"], "services.0.cost", [int, str]),
        ("position", ["list", "object"], "staff.position", [list, dict]),
        ("flags", ["as_is", "int", "text"], "deleted", [bool, int, str]),
    ],
)
def test_forms_of_a_records_values(
    town: Town, crm: httpx.Client, variant: str, values: list[str], path: str, kinds: list[type]
) -> None:
    for value, kind in zip(values, kinds, strict=True):
        town.variants(**{variant: value})
        for row in pages(crm, "/records/101"):
            found: Any = row
            for step in path.split("."):
                found = found[int(step)] if step.isdigit() and found else found[step] if found else kind()
            assert type(found) is kind
    if variant == "position":
        town.variants(position="missing")
        assert not any("position" in row["staff"] for row in pages(crm, "/records/101"))


def test_records_without_clients_labels_and_activities(town: Town, crm: httpx.Client) -> None:
    pins = {row["id"] for row in pages(crm, "/records/101") if row["client"] is None}
    town.variants(client_null="missing", label_id="text", activity="by_id", composite="apart")
    rows = pages(crm, "/records/101")
    assert {row["id"] for row in rows if "client" not in row} == pins
    assert {type(label["id"]) for row in rows for label in row["record_labels"]} == {str}
    assert {row["id"] for row in rows if row["activity_id"]} == {row["id"] for row in rows if row["id"] % 13 == 0}
    assert len({str(row["visit_id"]) for row in rows}) == len(rows)
    town.variants(client_null="list", label_id="int", composite="shared")
    rows = pages(crm, "/records/101")
    assert {row["id"] for row in rows if row["client"] == []} == pins
    assert {type(label["id"]) for row in rows for label in row["record_labels"]} == {int}


def test_contacts_may_be_hidden(town: Town, crm: httpx.Client) -> None:
    seen = {row["id"]: row["phone"] for row in pages(crm, "/clients/101")}
    town.variants(phones="masked")
    for row in pages(crm, "/clients/101"):
        assert len(row["phone"]) == len(seen[row["id"]])
        assert len(seen[row["id"]]) < 12 or row["phone"] == f"+7********{seen[row['id']][-2:]}"
    assert all("*" in row["phone"] for row in search(crm, fields=["phone"]) if len(row["phone"]) > 4)
    town.variants(phones="empty")
    assert {row["phone"] for row in pages(crm, "/clients/101")} == {""}
    assert {row["client"]["phone"] for row in pages(crm, "/records/101") if row["client"]} == {""}


def test_dates_of_visits_and_offsets_of_summer(town: Town, crm: httpx.Client) -> None:
    asked: dict[str, Any] = {"fields": ["last_visit_date"], "order_by": "last_visit_date", "order_by_direction": "DESC"}
    for value, length in (("date", {10}), ("datetime", {19}), ("empty", {0})):
        town.variants(last_visit_date=value)
        assert {len(row["last_visit_date"]) for row in search(crm, **asked)[:20]} == length
    town.variants(last_visit_date="null")
    assert {row["last_visit_date"] for row in search(crm, **asked)} == {None}
    town.edit({"op": "company", "company_id": 101, "zone": "Europe/Berlin"})
    summer = {"start_date": "2026-07-01", "end_date": "2026-07-31"}
    assert {row["datetime"][-6:] for row in pages(crm, "/records/101", **summer)} == {"+01:00"}
    town.variants(datetime_offset="right")
    assert {row["datetime"][-6:] for row in pages(crm, "/records/101", **summer)} == {"+02:00"}


def test_what_no_table_takes(town: Town, crm: httpx.Client) -> None:
    town.variants(names="nul", numbers="absurd")
    cards = pages(crm, "/clients/101")
    assert [row["id"] for row in cards if "\x00" in row["name"]] == [row["id"] for row in cards if row["id"] % 3 == 0]
    rows = pages(crm, "/records/101")
    absurd = [row for row in rows if row["id"] % 11 == 0]
    assert absurd
    assert all(row["length"] > 2**63 for row in absurd)
    assert all(line["cost"] > 2**63 for row in absurd for line in row["services"])
    assert all(row["length"] < 86_400 for row in rows if row["id"] % 11)
    town.variants(names="surrogate")
    answer = crm.get("/company/101/staff")
    assert rb"\ud83d" in answer.content
    assert any("\ud83d" in row["name"] for row in answer.json()["data"])


def test_free_times_and_days(town: Town, crm: httpx.Client) -> None:
    days = crm.get("/book_dates/101").json()["data"]
    path = f"/book_times/101/0/{days['booking_dates'][3]}"
    for value, missing in (
        ("seance_only", {"sum_length"}),
        ("no_length", {"sum_length", "seance_length"}),
        ("no_time", {"time"}),
    ):
        town.variants(book_times=value)
        assert set(crm.get(path).json()["data"][0]) == {"time", "seance_length", "sum_length", "datetime"} - missing
    town.variants(book_times="unix", booking_days="text")
    assert type(crm.get(path).json()["data"][0]["datetime"]) is int
    assert {
        type(day) for month in crm.get("/book_dates/101").json()["data"]["booking_days"].values() for day in month
    } == {str}
    town.variants(booking_days="empty")
    assert crm.get("/book_dates/101").json()["data"] == days | {"booking_days": [], "working_days": []}


def test_refusals_and_written_records(town: Town, crm: httpx.Client) -> None:
    body = {"phone": "12", "fullname": "Вера"}
    for value, expected in (("text", {"message"}), ("list", {"message", "errors"})):
        town.variants(errors_422=value)
        answer = crm.post("/book_record/101", json=body)
        assert (answer.status_code, answer.json()["success"], set(answer.json()["meta"])) == (422, False, expected)
    assert answer.json()["meta"]["errors"] == [{}]
    wish = {"staff_id": 10101, "services": [{"id": 101001}], "datetime": "2026-11-20T07:00:00"}
    town.variants(record_created="array", delete_record="forbidden")
    (card,) = crm.post("/records/101", json=wish).json()["data"]
    refused = crm.delete(f"/record/101/{card['id']}")
    assert (refused.status_code, refused.json()["success"]) == (403, False)
    town.variants(not_found="empty")
    assert crm.get("/record/101/5").json() == {"success": False, "data": None, "meta": {}}
    town.variants(partner_id="required")
    assert crm.get("/clients/101").status_code == 401
    assert crm.get("/clients/101", headers={"X-Partner-Id": "1"}).status_code == 200
