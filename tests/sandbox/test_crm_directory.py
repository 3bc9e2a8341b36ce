import httpx

from reactivation_sandbox.process import Town
from tests.sandbox.paging import pages


def test_a_card_is_made_changed_and_deleted(crm: httpx.Client) -> None:
    made = crm.post("/clients/101", json={"name": "Вера", "phone": "+7 900 055-66-77", "sms_not": 1})
    card = made.json()["data"]
    assert (made.status_code, card["phone"], card["sms_not"], card["visits"]) == (201, "+79000556677", 1, 0)
    path = f"/client/101/{card['id']}"
    missing = crm.put(path, json={"name": "Вера Ивановна"})
    assert (missing.status_code, list(missing.json()["meta"]["errors"])) == (422, ["phone"])
    body = {"name": "Вера Ивановна", "phone": "79000556678", "categories": [3]}
    changed = crm.put(path, json=body).json()["data"]
    assert (changed["name"], changed["phone"]) == ("Вера Ивановна", "+79000556678")
    assert [label["id"] for label in changed["categories"]] == [3]
    assert crm.put(path, json=body | {"categories": []}).json()["data"]["categories"] == []
    assert [row["id"] for row in pages(crm, "/clients/101", phone="79000556678")] == [card["id"]]
    assert [row["id"] for row in pages(crm, "/clients/101", fullname="вера ив")] == [card["id"]]
    assert [row["id"] for row in pages(crm, "/clients/101", **{"id[]": card["id"]})] == [card["id"]]
    assert crm.delete(path).status_code == 204
    assert crm.get(path).status_code == 404
    several = crm.post("/clients/101/bulk", json=[{"name": "А", "phone": "79000556680"}]).json()["data"]
    assert [row["name"] for row in several] == ["А"]
    assert crm.get("/labels/101/clients").json()["data"][0]["title"] == "Чёрный список"
    assert crm.get("/labels/101/nothing").status_code == 404


def test_the_filter_of_payments_has_its_quirks(crm: httpx.Client) -> None:
    everyone = pages(crm, "/clients/101")
    rich = {row["id"] for row in everyone if 10_000 <= float(row["paid"]) <= 10**9}
    assert {row["id"] for row in pages(crm, "/clients/101", paid_min=10_000, paid_max=10**9)} == rich
    assert rich
    assert len(pages(crm, "/clients/101", paid_min=10_000)) == len(everyone)  # nobody fits, and the filter is dropped


def test_webhook_settings_are_replaced_whole(crm: httpx.Client) -> None:
    nothing = crm.get("/hooks_settings/101").json()["data"]
    assert nothing == dict.fromkeys(nothing, 0) | {"urls": []}
    wanted = {"urls": ["https://elsewhere.example/hook", "http://127.0.0.1:9/hook"], "active": 1, "record": 1}
    made = crm.post("/hooks_settings/101", json=wanted)
    assert made.status_code == 201
    assert crm.get("/hooks_settings/101").json()["data"] == nothing | wanted
    crm.post("/hooks_settings/101", json={"urls": ["http://127.0.0.1:9/hook"], "client": 1})
    assert crm.get("/hooks_settings/101").json()["data"] == nothing | {"urls": ["http://127.0.0.1:9/hook"], "client": 1}
    many = [f"http://127.0.0.1/{number}" for number in range(11)]
    assert crm.post("/hooks_settings/101", json={"urls": many}).status_code == 422
    assert crm.get("/hooks_settings/102").json()["data"] == nothing


def test_a_token_is_given_for_the_password(town: Town, crm: httpx.Client) -> None:
    partner = {"Authorization": f"Bearer {town.partner}"}
    granted = crm.post("/auth", json={"login": "admin", "password": "sandbox-password"}, headers=partner)
    assert (granted.status_code, granted.json()["data"]["user_token"]) == (201, town.user)
    assert crm.post("/auth", json={"login": "admin", "password": "guess"}, headers=partner).status_code == 401


def test_what_is_free_is_told_in_every_documented_call(crm: httpx.Client) -> None:
    offered = crm.get("/book_services/101", params={"staff_id": 10101}).json()["data"]
    assert offered["events"] == []
    assert {card["category_id"] for card in offered["services"]} == {card["id"] for card in offered["category"]}
    assert all(card["seance_length"] > 0 for card in offered["services"])
    service = offered["services"][0]["id"]
    nearest = crm.get("/book_staff_seances/101/10101", params={"service_ids[]": service}).json()["data"]
    times = crm.get(f"/book_times/101/10101/{nearest['seance_date']}", params={"service_ids[]": service}).json()["data"]
    assert nearest["seances"] == times
    staff = crm.get("/book_staff/101", params={"service_ids[]": service, "datetime": times[0]["datetime"]}).json()[
        "data"
    ]
    assert {int(card["id"]): card["bookable"] for card in staff}[10101] is True
    night = crm.get("/book_staff/101", params={"datetime": times[0]["datetime"][:11] + "03:00:00"}).json()["data"]
    assert not any(card["bookable"] for card in night)
    grid = crm.get(f"/timetable/seances/101/10101/{nearest['seance_date']}").json()["data"]
    free = {card["time"] for card in grid if card["is_free"]}
    assert {card["time"] for card in times} <= free
    working = crm.get("/timetable/dates/101/2026-11-02", params={"staff_id": 10101}).json()["data"]
    assert nearest["seance_date"] in working
    days = crm.get("/schedule/101/10101/2026-11-02/2026-11-15").json()["data"]
    assert {day["date"] for day in days if day["is_working"]} == {day for day in working if day <= "2026-11-15"}
    query = {"start_date": "2026-11-02", "end_date": "2026-11-08", "staff_ids[]": 10101, "include[]": "busy_intervals"}
    busy = crm.get("/company/101/staff/schedule", params=query).json()
    assert busy["meta"]["count"] == len(busy["data"]) == 7
    booked = {
        r["id"] for r in pages(crm, "/records/101", staff_id=10101, start_date="2026-11-02", end_date="2026-11-08")
    }
    assert {taken["entity_id"] for day in busy["data"] for taken in day["busy_intervals"]} == booked
    assert crm.get("/company/101/staff/10101").json()["data"]["id"] == 10101
    assert crm.get("/schedule/101/5/2026-11-02/2026-11-15").status_code == 404


def test_a_location_without_licence_or_rights_is_refused(town: Town, crm: httpx.Client) -> None:
    town.edit({"op": "company", "company_id": 101, "licensed": False})
    for answer in (crm.get("/clients/101"), crm.post("/company/101/clients/search", json={})):
        assert (answer.status_code, answer.json()["success"]) == (402, False)
    town.edit({"op": "company", "company_id": 101, "licensed": True, "open_to_us": False})
    assert (crm.get("/records/101").status_code, crm.get("/records/102").status_code) == (403, 200)
    assert [row["id"] for row in crm.get("/companies").json()["data"]] == [102]
    assert crm.get("/company/101").status_code == 200
