"""Every form in which the CRM writes one thing becomes the same row; what cannot be read is named."""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.local_time import local_to_instant
from reactivation_resources.crm_cards import (
    client_frame,
    in_utc,
    line_frame,
    salon_facts,
    service_frame,
    staff_frame,
)
from reactivation_resources.yclients.json_text import storable
from reactivation_resources.yclients.models import (
    CategoryCard,
    ClientCard,
    CompanyCard,
    RecordCard,
    ServiceCard,
    StaffCard,
    read_cards,
)
from tests.resources.crm_books import card, client, record, service, staff

YES = [1, "1", True, "true", "True"]
NO = [0, "0", False, "false", None, ""]
MOSCOW, TORONTO = "Europe/Moscow", "America/Toronto"


def good(model: Any, *cards: dict[str, Any]) -> list[Any]:
    found = read_cards(model, cards)
    assert not found.rejected, found.rejected
    return found.good


def service_row(card: dict[str, Any]) -> dict[str, Any]:
    categories = [CategoryCard(id=4, title="Волосы")]
    return service_frame(1, good(ServiceCard, card), categories).row(0, named=True)


def staff_row(card: dict[str, Any], *services: dict[str, Any]) -> dict[str, Any]:
    return staff_frame(1, "RU", good(StaffCard, card), read_cards(ServiceCard, services).good).row(0, named=True)


def client_row(card: dict[str, Any]) -> dict[str, Any]:
    return client_frame(1, "RU", good(ClientCard, card)).row(0, named=True)


def record_rows(card: dict[str, Any], zone: str = MOSCOW) -> list[dict[str, Any]]:
    return in_utc(line_frame(1, good(RecordCard, card)), zone).to_dicts()


def test_a_service_is_read() -> None:
    assert service_row(service()) == {
        "company_id": 1, "service_id": 9, "title": "Стрижка", "category": "Волосы", "list_price": Decimal("1500.00"), "duration_s": 3600,
        "active": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "price"),
    [
        (1000, "1000"),
        ("1000.00", "1000"),
        (999.99, "999.99"),
        ("0", "0"),
        (None, "0"),
        ("", "0"),
        (33.710000000000001, "33.71"),
    ],
)
def test_a_price_is_a_number_or_its_text(wire: Any, price: str) -> None:
    assert service_row(service(price_min=wire))["list_price"] == Decimal(price)


@pytest.mark.parametrize("wire", [None, 0, "", "0"])
def test_a_service_without_length_has_none(wire: Any) -> None:
    assert service_row(service(duration=wire))["duration_s"] is None
    assert service_row(service(duration="5400"))["duration_s"] == 5400


@pytest.mark.parametrize("wire", YES)
def test_a_yes_is_a_yes_in_every_form(wire: Any) -> None:
    assert service_row(service(active=wire))["active"]
    assert client_row(client(sms_not=wire))["mailing_refused"]
    assert record_rows(record(deleted=wire))[0]["deleted"]
    for flag in ("fired", "hidden", "status", "is_deleted"):
        assert not staff_row(staff(**{flag: wire}))["active"]


@pytest.mark.parametrize("wire", NO)
def test_a_no_is_a_no_in_every_form(wire: Any) -> None:
    assert not service_row(service(active=wire))["active"]
    assert not client_row(client(sms_not=wire))["mailing_refused"]
    assert not record_rows(record(deleted=wire))[0]["deleted"]
    for flag in ("fired", "hidden", "status", "is_deleted"):
        assert staff_row(staff(**{flag: wire}))["active"]


@pytest.mark.parametrize(
    "changes", [{"position": {"id": 3, "title": "x"}}, {"position": []}, {"weight": "5"}, {"id": "5"}]
)
def test_a_staff_member_is_read_whatever_the_position(changes: dict[str, Any]) -> None:
    card = staff(**changes)
    if changes == {"position": []}:
        del card["position"]
    assert staff_row(card, service(), service(id=3, staff=[])) == {
        "company_id": 1, "staff_id": 5, "name": "Анна Смирнова", "phone_raw": "+79000000005", "phone": "+79000000005",
        "active": True, "service_ids": [9],
    }  # fmt: skip


@pytest.mark.parametrize("employee", [[], None, {}, ""])
def test_a_staff_member_may_have_no_phone(employee: Any) -> None:
    assert staff_row(staff(employee=employee))["phone_raw"] is None


def test_who_does_what_is_found_by_id_in_either_form() -> None:
    services = [
        service(id=3, staff=[{"id": "5"}]),
        service(id="4", staff=[{"id": 5}]),
        service(id=6, staff=[{"id": 55}]),
    ]
    assert staff_row(staff(), *services)["service_ids"] == [3, 4]


@pytest.mark.parametrize("broken", [{"id": None}, {"id": "x"}, {"staff": {"5": {}}}])
def test_a_service_that_cannot_be_read_spoils_no_staff_member(broken: dict[str, Any]) -> None:
    assert staff_row(staff(), service(), service(**broken))["service_ids"] == [9]


@pytest.mark.parametrize("custom_fields", [{}, [], {"source": "2gis"}])
@pytest.mark.parametrize("birth_date", ["", None, 0, "1970-01-01", "0000-00-00"])
def test_a_client_is_read(custom_fields: Any, birth_date: Any) -> None:
    assert client_row(client(custom_fields=custom_fields, birth_date=birth_date)) == {
        "company_id": 1, "client_id": 16, "name": "Юрий", "phone_raw": "+79000000016", "phone": "+79000000016",
        "mailing_refused": False, "blacklisted": False, "deleted": False,
    }  # fmt: skip


@pytest.mark.parametrize("phone", ["", None, 0])
def test_a_client_may_have_no_phone(phone: Any) -> None:
    assert client_row(client(phone=phone))["phone"] is None


def test_a_masked_phone_is_kept_as_it_came_and_is_no_number() -> None:
    row = client_row(client(phone="+7900***0016"))
    assert (row["phone_raw"], row["phone"]) == ("+7900***0016", None)


@pytest.mark.parametrize("title", ["Чёрный список", "черный СПИСОК ", "Blacklist"])
def test_the_blacklist_is_a_category(title: str) -> None:
    assert client_row(client(categories=[{"id": 1, "title": "VIP"}, {"id": 3, "title": title}]))["blacklisted"]
    assert not client_row(client(categories=[{"id": 1, "title": "VIP"}]))["blacklisted"]


def test_a_record_is_read() -> None:
    assert record_rows(record()) == [
        {
            "company_id": 1, "record_id": 70, "line": 0, "client_id": 16, "starts_at": datetime(2026, 11, 20, 13, tzinfo=UTC),
            "staff_id": 5, "service_id": 9, "price": Decimal("1500.00"), "status": "attended", "deleted": False,
            "created_at": datetime(2026, 11, 15, 17, 35, 11, tzinfo=UTC),
        }
    ]  # fmt: skip


@pytest.mark.parametrize("custom_fields", [{}, [], {"a": 1}])
@pytest.mark.parametrize("visit_id", [8262996, "8262996"])
@pytest.mark.parametrize("label", ["67345", 67345])
@pytest.mark.parametrize("staff_card", [None, {"id": 5}, {"id": 5, "position": {"id": 1, "title": "x"}}])
def test_what_varies_beside_the_point_changes_nothing(
    custom_fields: Any, visit_id: Any, label: Any, staff_card: Any
) -> None:
    varied = record(custom_fields=custom_fields, visit_id=visit_id, record_labels=[{"id": label}], staff=staff_card)
    assert record_rows(varied) == record_rows(record())


@pytest.mark.parametrize(
    ("attendance", "status"),
    [(1, "attended"), (2, "confirmed"), (0, "booked"), (-1, "no_show"), ("1", "attended"), ("-1", "no_show")],
)
def test_attendance_gives_the_status(attendance: Any, status: str) -> None:
    assert record_rows(record(attendance=attendance))[0]["status"] == status


def test_a_booking_the_salon_has_not_confirmed_is_a_booking() -> None:
    """Whether it will take place nobody knows; its client is not written to as if there were none."""
    assert record_rows(record(attendance=0, confirmed=0))[0]["status"] == "booked"
    assert record_rows(record(attendance=1, confirmed=0))[0]["status"] == "attended"


@pytest.mark.parametrize("nobody", [None, [], {}])
@pytest.mark.parametrize("services", [[], [{"id": 9}, {"id": 10}]])
def test_a_record_without_a_client_is_one_line_of_nobodys(nobody: Any, services: Any) -> None:
    (line,) = record_rows(record(client=nobody, services=services))
    assert (line["record_id"], line["client_id"]) == (70, None)


def test_the_wall_clock_counts_where_the_offset_is_wrong() -> None:
    summer = record(date="2026-07-01 16:00:00", datetime="2026-07-01T16:00:00-05:00")
    assert record_rows(summer, TORONTO)[0]["starts_at"] == datetime(2026, 7, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "date", "instant"),
    [
        ("America/Toronto", "2026-03-08 01:59:59", "2026-03-08T06:59:59"),
        ("America/Toronto", "2026-03-08 02:30:00", "2026-03-08T07:30:00"),  # no clock shows it: moved on to 3:30
        ("America/Toronto", "2026-03-08 03:00:00", "2026-03-08T07:00:00"),
        ("America/Toronto", "2026-11-01 01:30:00", "2026-11-01T05:30:00"),  # shown twice: the first time
        ("America/Toronto", "2026-11-01 02:00:00", "2026-11-01T07:00:00"),
        ("Europe/Berlin", "2026-03-29 02:30:00", "2026-03-29T01:30:00"),
        ("Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00"),
        ("Europe/Berlin", "2026-10-25 03:00:00", "2026-10-25T02:00:00"),
        ("Asia/Kolkata", "2026-03-29 02:30:00", "2026-03-28T21:00:00"),
        ("Asia/Kolkata", "2026-10-25 02:30:00", "2026-10-24T21:00:00"),
    ],
)
def test_a_visit_starts_when_the_salons_clock_shows_it(zone: str, date: str, instant: str) -> None:
    offset = "2026-01-01T00:00:00+00:00"  # what the CRM's own offset says is not asked
    assert record_rows(record(date=date, datetime=offset), zone)[0]["starts_at"].isoformat() == f"{instant}+00:00"


@given(
    st.sampled_from(["America/Toronto", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Casablanca"]),
    st.lists(st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)), min_size=1, max_size=5),  # noqa: DTZ001
)
def test_many_starts_at_once_are_the_instants_of_each(zone: str, starts: list[datetime]) -> None:
    cards = [record(id=number, date=f"{start:%Y-%m-%d %H:%M:%S}") for number, start in enumerate(starts, 1)]
    found = in_utc(line_frame(1, good(RecordCard, *cards)), zone)["starts_at"].to_list()
    assert found == [local_to_instant(start.replace(microsecond=0), zone) for start in starts]


@pytest.mark.parametrize("written", ["2026-11-15T20:35:11+0300", "2026-11-15T20:35:11+03:00", "2026-11-15T17:35:11Z"])
def test_an_offset_is_read_with_and_without_a_colon(written: str) -> None:
    assert record_rows(record(create_date=written))[0]["created_at"] == datetime(2026, 11, 15, 17, 35, 11, tzinfo=UTC)


def test_every_service_of_a_record_is_a_line() -> None:
    lines = record_rows(
        record(
            services=[
                {"id": 9, "cost": "1500.50"},
                {"id": "10", "cost": 0, "amount": 2},
                {"id": 11, "cost": 100.1, "amount": 3},
            ]
        )
    )
    assert [(row["line"], row["service_id"], row["price"]) for row in lines] == [
        (0, 9, Decimal("1500.50")),
        (1, 10, Decimal(0)),
        (2, 11, Decimal("300.30")),
    ]


@pytest.mark.parametrize("services", [[], None])
def test_a_record_without_services_is_one_line_without_a_service(services: Any) -> None:
    (line,) = record_rows(record(services=services))
    assert (line["line"], line["service_id"], line["price"]) == (0, None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": None}, "id=None"),
        ({"id": "abc"}, "id='abc'"),
        ({"id": 2**63}, "id=9223372036854775808"),
        ({"attendance": None}, "attendance=None"),
        ({"attendance": 7}, "attendance=7"),
        ({"date": None}, "date=None"),
        ({"date": "0000-00-00 00:00:00"}, "0000-00-00"),
        ({"date": "0001-01-01 00:00:00"}, "0001-01-01"),
        ({"create_date": None}, "create_date=None"),
        ({"create_date": "2026-11-15T20:35:11"}, "create_date='2026-11-15T20:35:11'"),
        ({"services": [{"id": 9, "cost": "dear"}]}, "services="),
        ({"services": [{"id": 9, "cost": -1}]}, "services="),
        ({"services": [{"id": 9, "cost": 10**9, "amount": 10**9}]}, "services="),
        ({"client": {"id": "x"}}, "client="),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_field_and_value(changes: dict[str, Any], words: str) -> None:
    found = read_cards(RecordCard, [record(**changes), record()])
    assert len(found.good) == 1
    assert words in found.rejected[0].reason


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "service": (service, ServiceCard, lambda cards: service_frame(1, cards, [])),
    "staff": (staff, StaffCard, lambda cards: staff_frame(1, "RU", cards, [])),
    "client": (client, ClientCard, lambda cards: client_frame(1, "RU", cards)),
    "record": (record, RecordCard, lambda cards: in_utc(line_frame(1, cards), TORONTO)),
}


@settings(max_examples=500)
@given(st.sampled_from(sorted(KINDS)), st.data())
def test_whatever_stands_in_a_field_the_card_becomes_a_row_or_is_refused(kind: str, data: st.DataObject) -> None:
    make, model, frame = KINDS[kind]
    field = data.draw(st.sampled_from(sorted(make())))
    found = read_cards(model, [storable(make(**{field: data.draw(ANYTHING)}))])  # as it comes off the wire
    rows = frame(found.good)
    assert (rows.height > 0) != (len(found.rejected) > 0)
    assert not any("\x00" in text for row in rows.iter_rows() for text in row if isinstance(text, str))


def test_a_salon_is_read_by_its_names_of_country_and_currency() -> None:
    facts = salon_facts(good(CompanyCard, card(7))[0])
    assert (facts.timezone, facts.country, facts.currency) == ("Europe/Moscow", "RU", "RUB")
    facts = salon_facts(good(CompanyCard, card(7, country="CA", currency_short_title="CAD"))[0])
    assert (facts.country, facts.currency) == ("CA", "CAD")


@pytest.mark.parametrize("unknown", ["", None, "Атлантида", "XX", "ZZZ", "usd"])
def test_names_that_nobody_knows_say_nothing(unknown: Any) -> None:
    facts = salon_facts(
        good(CompanyCard, card(7, country=unknown, currency_short_title=unknown, timezone_name=None))[0]
    )
    assert (facts.timezone, facts.country) == (None, None)
    assert facts.currency in (None, "ZZZ")


def test_a_zone_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(ValueError, match=re.escape("'Mars/Olympus'")):
        salon_facts(good(CompanyCard, card(7, timezone_name="Mars/Olympus"))[0])
