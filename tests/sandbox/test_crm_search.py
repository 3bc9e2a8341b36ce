from itertools import pairwise
from typing import Any

import httpx
import pytest

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages, search

PATH = "/company/101/clients/search"
ALL_FIELDS = [
    "id", "name", "surname", "patronymic", "phone", "email", "discount", "first_visit_date", "last_visit_date", "sold_amount",
    "visits_count", "passteam_card_id", "deposit_balance",
]  # fmt: skip


def ids(rows: list[dict[str, Any]]) -> set[int]:
    return {row["id"] for row in rows}


def made(town: Town) -> dict[int, list[dict[str, Any]]]:
    """The visits made by each client, oldest first."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in sorted(town.book(101)["records"], key=lambda row: row["starts_at"]):
        if row["client_id"] and row["attendance"] == 1 and not row["deleted"]:
            found.setdefault(row["client_id"], []).append(row)
    return found


def test_only_asked_fields_come_in_pages_of_at_most_200(crm: httpx.Client) -> None:
    body = crm.post(PATH, json={}).json()
    assert body["meta"] == {"total_count": 60}
    assert [set(row) for row in body["data"]] == [{"id"}] * 25
    assert len(crm.post(PATH, json={"page_size": 200}).json()["data"]) == 60
    assert len(crm.post(PATH, json={"page_size": 201}).json()["data"]) == 25
    assert crm.post(PATH, json={"page": 9}).json() == {"success": True, "data": [], "meta": {"total_count": 60}}
    assert [list(row) for row in search(crm, fields=ALL_FIELDS)] == [ALL_FIELDS] * 60


def test_dates_and_counts_are_those_of_visits_made_in_every_documented_form(town: Town, crm: httpx.Client) -> None:
    rows = search(crm, fields=ALL_FIELDS)
    visits = made(town)
    for row in rows:
        own = visits.get(row["id"], [])
        assert int(row["visits_count"]) == len({visit["visit_id"] for visit in own})
        assert abs(float(row["sold_amount"]) - sum(float(p) for visit in own for _, p in visit["lines"])) < 0.01
        assert (row["last_visit_date"] is None) == (not own)
    assert {type(row["visits_count"]) for row in rows} == {int, str}
    assert {type(row["sold_amount"]) for row in rows} == {float, str}
    assert {len(row["last_visit_date"]) for row in rows if row["last_visit_date"]} == {10, 19}


def test_results_are_ordered_as_asked(crm: httpx.Client) -> None:
    assert [row["id"] for row in search(crm)] == sorted(row["id"] for row in search(crm))
    last = [
        row["last_visit_date"] or ""
        for row in search(crm, fields=["last_visit_date"], order_by="last_visit_date", order_by_direction="asc")
    ]
    assert [text[:10] for text in last] == sorted(text[:10] for text in last)
    spent = [
        float(row["sold_amount"])
        for row in search(crm, fields=["sold_amount"], order_by="sold_amount", order_by_direction="DESC")
    ]
    assert spent == sorted(spent, reverse=True)


def test_filters_of_the_card_find_the_clients_they_name(town: Town, crm: httpx.Client) -> None:
    everyone = pages(crm, "/clients/101")
    some = [row["id"] for row in everyone[:7]]
    assert ids(search(crm, {"type": "id", "state": {"value": some}})) == set(some)
    assert ids(search(crm, {"type": "id", "state": {"value": some, "invert": True}})) == ids(everyone) - set(some)
    name = everyone[3]["name"][:4].lower()
    assert ids(search(crm, {"type": "quick_search", "state": {"value": name}})) >= {everyone[3]["id"]}
    men = search(crm, {"type": "gender", "state": {"value": [1]}})
    assert ids(men) == {row["id"] for row in everyone if row["sex_id"] == 1}
    paying = search(crm, {"type": "sold_amount", "state": {"from": 5000, "to": 20000}}, fields=["sold_amount"])
    assert paying
    assert all(5000 <= float(row["sold_amount"]) <= 20000 for row in paying)
    town.edit({"op": "change_client", "company_id": 101, "client_id": some[0], "blacklisted": True})
    assert some[0] in ids(search(crm, {"type": "category", "state": {"value": [3]}}))
    born = search(crm, {"type": "birthday", "state": {"from": "04-01", "to": "04-30"}})
    assert ids(born) == {row["id"] for row in everyone if row["birth_date"] == "1991-04-12"}
    either = [{"type": "id", "state": {"value": some[:2]}}, {"type": "id", "state": {"value": some[5:]}}]
    assert ids(search(crm, *either)) == set()
    assert ids(search(crm, *either, operation="OR")) == {*some[:2], *some[5:]}
    both = {"id": {"value": some}, "gender": {"value": [1]}}
    assert ids(search(crm, {"type": "client", "state": both})) == set(some) & ids(men)
    assert search(crm, {"type": "has_mobile_app", "state": {"value": True}}) == []


def test_the_vendors_own_query_for_reactivation_is_understood(town: Town, crm: httpx.Client) -> None:
    town.variants(search_created="visit")
    cutoff, after = "2026-09-15", "2026-09-16"
    came = {
        "type": "record",
        "state": {"status": {"value": [3]}, "created": {"to": cutoff}, "records_count": {"from": 2}},
    }
    not_since = {"type": "record", "state": {"status": {"value": [3]}, "created": {"from": after}, "invert": True}}
    town.variants(consent_filters="served")
    agrees = {"type": "is_mass_notification_allowed", "state": {"value": True}}
    found = ids(search(crm, came, not_since, agrees))
    refusing = {row["client_id"] for row in town.book(101)["clients"] if row["mailing_refused"]}
    expected = {
        client_id
        for client_id, rows in made(town).items()
        if len(rows) >= 2 and rows[-1]["starts_at"][:10] <= cutoff and client_id not in refusing
    }
    assert found == expected
    assert found


def test_the_record_filter_counts_rows_of_the_named_staff_services_and_days(town: Town, crm: httpx.Client) -> None:
    book = town.book(101)
    some = next(row for row in book["records"] if row["lines"])
    staff_id, service_id = some["staff_id"], some["lines"][0][0]
    state = {"staff": {"value": [staff_id]}, "service": {"value": [service_id]}, "records_count": {"from": 2}}
    counts: dict[int, int] = {}
    for row in book["records"]:
        if row["client_id"] and not row["deleted"] and row["staff_id"] == staff_id:
            counts[row["client_id"]] = counts.get(row["client_id"], 0) + (service_id in [s for s, _ in row["lines"]])
    expected = {client_id for client_id, count in counts.items() if count >= 2}
    assert ids(search(crm, {"type": "record", "state": state})) == expected
    category = next(s["category_id"] for s in crm.get("/company/101/services").json()["data"] if s["id"] == service_id)
    of_category = {"type": "record", "state": {"service_category": {"value": [category]}}}
    assert expected <= ids(search(crm, of_category))
    spending = {"type": "record", "state": {"status": {"value": [3]}, "sold_amount": {"from": 30_000}}}
    assert ids(search(crm, spending)) == {
        client_id
        for client_id, rows in made(town).items()
        if sum(float(price) for row in rows for _, price in row["lines"]) >= 30_000
    }


@pytest.mark.parametrize(
    "body",
    [
        {"filters": [{"type": "is_newsletter_allowed", "state": {"value": True}}]},
        {"filters": [{"type": "age", "state": {"from": 3}}]},
        {"filters": [{"type": "id", "state": {"value": 5}}]},
        {"filters": [{"type": "id"}]},
        {"fields": ["id", "last_change_date"]},
        {"order_by": "last_change_date"},
        {"operation": "XOR"},
        {"page_size": "many"},
    ],
)
def test_what_the_search_does_not_know_is_refused(crm: httpx.Client, body: dict[str, Any]) -> None:
    answer = crm.post(PATH, json=body)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert list(answer.json()["meta"]["errors"]) == [next(iter(body))]


def test_a_search_needs_a_location_and_a_number(crm: httpx.Client) -> None:
    assert crm.post("/company/999/clients/search", json={}).status_code == 404
    nothing = crm.post("/company/abc/clients/search", json={})
    assert (nothing.status_code, nothing.json()["success"]) == (404, False)


def visit_pages(crm: httpx.Client, **body: Any) -> list[list[dict[str, Any]]]:
    found = []
    while True:
        answer = crm.post("/company/101/clients/visits/search", json=body).json()
        found.append(answer["data"]["records"])
        following = answer["meta"]["dateCursor"]["next"]
        if following is None:
            return found
        body |= {key: following[key] for key in ("from", "to")}


def test_visits_come_newest_first_by_pages_that_never_split_a_day(town: Town, crm: httpx.Client) -> None:
    client = next(row for row in pages(crm, "/clients/101") if row["phone"])["id"]
    start = {"op": "create_record", "company_id": 101, "client_id": client, "attendance": 1, "staff_id": 10101}
    town.edit(
        *(
            {**start, "service_ids": [101001], "starts_at": f"2026-0{month}-{day:02d}T{hour}:00:00"}
            for month in (3, 4)
            for day in range(1, 12)
            for hour in (11, 13, 15)
        )
    )
    (found,) = (visit_pages(crm, client_id=client),)
    assert len(found) > 2
    assert all(len(page) >= 25 for page in found[:-1])
    days = [{row["date"][:10] for row in page} for page in found]
    assert not any(a & b for a, b in pairwise(days))
    everything = [row for page in found for row in page]
    assert [row["date"] for row in everything] == sorted((row["date"] for row in everything), reverse=True)
    own = [row for row in town.book(101)["records"] if row["client_id"] == client and not row["deleted"]]
    assert {row["id"] for row in everything} == {row["record_id"] for row in own}
    march = [
        row for page in visit_pages(crm, client_id=client, **{"from": "2026-03-01", "to": "2026-03-31"}) for row in page
    ]
    assert len(march) == 33
    assert visit_pages(crm, client_id=client, attendance=-1) == [[r for r in everything if r["attendance"] == -1]]


def test_visits_are_found_by_phone_too_and_need_someone(town: Town, crm: httpx.Client) -> None:
    card = town.book(101)["clients"][20]
    by_id = visit_pages(crm, client_id=card["client_id"])
    assert visit_pages(crm, client_phone=card["phone"]) == by_id
    assert visit_pages(crm, client_phone="+79009999999") == [[]]
    assert crm.post("/company/101/clients/visits/search", json={}).status_code == 400
