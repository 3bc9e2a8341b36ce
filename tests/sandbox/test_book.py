import copy
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest

from reactivation_sandbox.book import load
from reactivation_sandbox.process import Town as RunningTown
from reactivation_sandbox.town import Town

NOW = datetime(2018, 7, 30, 12, tzinfo=UTC)


def row(
    record_id: int, client_id: int, starts_at: str, service_id: int, status: str, price: str = ""
) -> dict[str, Any]:
    return {
        "record_id": record_id, "client_id": client_id, "starts_at": starts_at, "staff_id": 13, "service_id": service_id,
        "price": price, "status": status,
    }  # fmt: skip


BOOK: dict[str, Any] = {
    "company": {
        "company_id": 7001, "title": "Hair salon", "business_type": "beauty", "timezone": "America/Toronto", "country": "CA",
        "currency": "CAD", "phone": "+14165550000", "language": "en", "exported_at": "2018-07-29T21:00:00-04:00",
    },
    "services": [
        {"service_id": 129, "title": "Women's hair cut", "category": "STYLE", "list_price": "0.0"},
        {"service_id": 108, "title": "Color full color", "category": "COLOR", "list_price": "75.0"},
    ],
    "staff": [{"staff_id": 13, "name": "Stylist 3"}],
    "clients": [{"client_id": n, "name": "Kim", "phone": f"+1416555{n}"} for n in (1001, 1002, 1003)],
    "records": [
        row(1, 1001, "2018-05-02 10:20", 129, "completed", "82.0"),
        row(2, 1002, "2018-05-02 11:20", 129, "completed", "102.0"),
        row(3, 1002, "2018-05-02 12:05", 108, "completed", "75.0"),
        row(4, 1001, "2018-06-06 10:00", 129, "completed", "102.0"),
        row(5, 1003, "2018-06-08 00:00", 129, "cancelled"),
        row(6, 1003, "2018-06-13 17:30", 129, "no_show"),
        row(7, 1002, "2018-08-01 11:00", 129, "booked"),
    ],
}  # fmt: skip


def loaded() -> tuple[Town, Any]:
    town = Town(seed=2, now=NOW, salons=0, clients=0)
    return town, load(town, copy.deepcopy(BOOK))


def test_hours_lengths_and_prices_are_inferred_from_the_bookings() -> None:
    _, salon = loaded()
    # Wednesdays from 10:20 (so 10) to 17:30 plus 45 minutes (so 19); the only Friday row is cancelled.
    assert salon.staff[13].hours == {3: (600, 1140)}
    # Two cuts were followed, after 60 and 45 minutes: 52.5, in quarters 45 (a tie goes to the even multiple of 15, 60).
    assert salon.services[129].minutes in {45, 60}
    assert salon.services[108].minutes == 60
    assert salon.services[129].price == 102.0
    assert salon.people[1001].tastes.rhythm_days == 35
    assert (salon.people[1001].visits, salon.people[1002].visits, salon.people[1003].misses) == (2, 1, 1)
    assert salon.records[2].visit_id == salon.records[3].visit_id


def test_bookings_of_the_book_take_their_place_and_are_attended_in_time() -> None:
    town, salon = loaded()
    starts = salon.starts(salon.staff[13], date(2018, 8, 1), 60, town.now)
    assert starts
    assert all(start + 60 <= 11 * 60 or start >= 11 * 60 + salon.services[129].minutes for start in starts)
    assert salon.records[7].created == datetime(2018, 7, 30, 1, tzinfo=UTC)
    list(town.advance(NOW + timedelta(days=4)))
    assert salon.records[7].deleted or salon.records[7].attendance in {1, -1}


def test_people_of_the_book_answer_in_its_language() -> None:
    town, salon = loaded()
    for number in range(25):
        town.dialog.send(salon.session, "14165551001", f"Hi! {number} Wednesday 10:00 am or Aug 8 at 2:30 pm?")
    list(town.advance(NOW + timedelta(days=5)))
    words = " ".join(reply for message in town.dialog.messages for reply in message.replies)
    assert words
    assert words.isascii() or "👍" in words or "🙏" in words


@pytest.mark.parametrize(
    ("field", "value"), [("status", "maybe"), ("staff_id", 99), ("service_id", 5), ("client_id", 77)]
)
def test_a_book_that_does_not_hold_together_is_refused_whole(field: str, value: object) -> None:
    town = Town(seed=2, now=NOW, salons=0, clients=0)
    book = copy.deepcopy(BOOK)
    book["records"][3][field] = value
    with pytest.raises(ValueError, match="record_id=4"):
        load(town, book)
    assert town.salons == {}


def test_a_loaded_salon_is_served_with_winter_offsets_in_summer(town: RunningTown, crm: httpx.Client) -> None:
    town.reset(now="2018-07-30T12:00:00+00:00", salons=0, clients=0)
    assert town.load_salon(BOOK)["session"] == "company_7001"
    rows = crm.get("/records/7001", params={"with_deleted": 1}).json()["data"]
    assert len(rows) == 7
    assert (rows[0]["date"], rows[0]["datetime"]) == ("2018-05-02 10:20:00", "2018-05-02T10:20:00-05:00")
    assert crm.get("/company/7001").json()["data"]["timezone_name"] == "America/Toronto"
    with pytest.raises(ValueError, match="in the town already"):
        town.load_salon(BOOK)
