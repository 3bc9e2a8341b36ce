"""Every form in which the CRM writes one thing is read as that thing; what cannot be read is named."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_resources.crm_cards import client_row, record_rows, service_row, staff_row

MOSCOW = ZoneInfo("Europe/Moscow")
TORONTO = ZoneInfo("America/Toronto")
YES = [1, "1", True, "true", "True"]
NO = [0, "0", False, "false", None, ""]


def service(**changes: Any) -> dict[str, Any]:
    return {
        "id": 9, "salon_service_id": 900, "title": " Стрижка ", "category_id": 4, "price_min": 1500, "price_max": 2000,
        "active": 1, "duration": 3600, "image_group": [], "staff": [{"id": 5, "seance_length": 3600, "price": None}],
    } | changes  # fmt: skip


def staff(**changes: Any) -> dict[str, Any]:
    return {
        "id": 5, "name": "Анна Смирнова", "specialization": "мастер", "position": [], "fired": 0, "status": 0, "hidden": 0,
        "employee": {"id": 7, "phone": "+79000000005"},
    } | changes  # fmt: skip


def client(**changes: Any) -> dict[str, Any]:
    return {
        "id": 16, "name": "Юрий", "surname": "", "phone": "+79000000016", "email": "", "categories": [], "card": "", "birth_date": "",
        "sms_check": 1, "sms_not": 0, "sms_bot": 0, "spent": 0, "visits": 3, "custom_fields": [],
    } | changes  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": 70, "company_id": 1, "staff_id": 5, "client": {"id": 16, "name": "Юрий", "phone": "79000000016"}, "comer": None,
        "services": [{"id": 9, "title": "Стрижка", "cost": 1500, "first_cost": 1500, "discount": 0, "amount": 1}],
        "staff": {"id": 5, "name": "Анна", "position": []}, "date": "2026-11-20 16:00:00", "datetime": "2026-11-20T16:00:00+03:00",
        "create_date": "2026-11-15T20:35:11+0300", "visit_attendance": 1, "attendance": 1, "confirmed": 1, "visit_id": 8262996,
        "deleted": False, "custom_fields": {}, "record_labels": [], "documents": [], "activity_id": 0,
    } | changes  # fmt: skip


def test_a_service_is_read() -> None:
    assert service_row(1, service()) == {
        "company_id": 1, "service_id": 9, "title": "Стрижка", "category": "4", "list_price": Decimal("1500.00"), "duration_s": 3600,
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
    assert service_row(1, service(price_min=wire))["list_price"] == Decimal(price)


@pytest.mark.parametrize("wire", [None, 0, "", "0"])
def test_a_service_without_length_has_none(wire: Any) -> None:
    assert service_row(1, service(duration=wire))["duration_s"] is None
    assert service_row(1, service(duration="5400"))["duration_s"] == 5400


@pytest.mark.parametrize("wire", YES)
def test_a_yes_is_a_yes_in_every_form(wire: Any) -> None:
    assert service_row(1, service(active=wire))["active"]
    assert client_row(1, client(sms_not=wire))["mailing_refused"]
    assert record_rows(1, record(deleted=wire), MOSCOW)[0]["deleted"]
    for flag in ("fired", "hidden", "status", "is_deleted"):
        assert not staff_row(1, staff(**{flag: wire}), [])["active"]


@pytest.mark.parametrize("wire", NO)
def test_a_no_is_a_no_in_every_form(wire: Any) -> None:
    assert not service_row(1, service(active=wire))["active"]
    assert not client_row(1, client(sms_not=wire))["mailing_refused"]
    assert not record_rows(1, record(deleted=wire), MOSCOW)[0]["deleted"]
    for flag in ("fired", "hidden", "status", "is_deleted"):
        assert staff_row(1, staff(**{flag: wire}), [])["active"]


@pytest.mark.parametrize(
    "changes", [{"position": {"id": 3, "title": "x"}}, {"position": []}, {"weight": "5"}, {"id": "5"}]
)
def test_a_staff_member_is_read_whatever_the_position(changes: dict[str, Any]) -> None:
    card = staff(**changes)
    if changes == {"position": []}:
        del card["position"]
    assert staff_row(1, card, [service(), service(id=3, staff=[])]) == {
        "company_id": 1, "staff_id": 5, "name": "Анна Смирнова", "phone_raw": "+79000000005", "active": True, "service_ids": [9],
    }  # fmt: skip


@pytest.mark.parametrize("employee", [[], None, {}, ""])
def test_a_staff_member_may_have_no_phone(employee: Any) -> None:
    assert staff_row(1, staff(employee=employee), [])["phone_raw"] is None


def test_who_does_what_is_found_by_id_in_either_form() -> None:
    services = [
        service(id=3, staff=[{"id": "5"}]),
        service(id="4", staff=[{"id": 5}]),
        service(id=6, staff=[{"id": 55}]),
    ]
    assert staff_row(1, staff(), services)["service_ids"] == [3, 4]


@pytest.mark.parametrize("broken", [{"id": None}, {"id": "x"}, {"staff": {"5": {}}}])
def test_a_service_that_cannot_be_read_spoils_no_staff_member(broken: dict[str, Any]) -> None:
    assert staff_row(1, staff(), [service(), service(**broken)])["service_ids"] == [9]


@pytest.mark.parametrize("custom_fields", [{}, [], {"source": "2gis"}])
@pytest.mark.parametrize("birth_date", ["", None, 0, "1970-01-01", "0000-00-00"])
def test_a_client_is_read(custom_fields: Any, birth_date: Any) -> None:
    assert client_row(1, client(custom_fields=custom_fields, birth_date=birth_date)) == {
        "company_id": 1, "client_id": 16, "name": "Юрий", "phone_raw": "+79000000016", "mailing_refused": False, "blacklisted": False,
    }  # fmt: skip


@pytest.mark.parametrize("phone", ["", None, 0])
def test_a_client_may_have_no_phone(phone: Any) -> None:
    assert client_row(1, client(phone=phone))["phone_raw"] is None


def test_a_masked_phone_is_kept_as_it_came() -> None:
    assert client_row(1, client(phone="+7900***0016"))["phone_raw"] == "+7900***0016"


@pytest.mark.parametrize("title", ["Чёрный список", "черный СПИСОК ", "Blacklist"])
def test_the_blacklist_is_a_category(title: str) -> None:
    assert client_row(1, client(categories=[{"id": 1, "title": "VIP"}, {"id": 3, "title": title}]))["blacklisted"]
    assert not client_row(1, client(categories=[{"id": 1, "title": "VIP"}]))["blacklisted"]


def test_a_record_is_read() -> None:
    assert record_rows(1, record(), MOSCOW) == [
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
    assert record_rows(1, varied, MOSCOW) == record_rows(1, record(), MOSCOW)


@pytest.mark.parametrize(
    ("attendance", "status"),
    [(1, "attended"), (2, "confirmed"), (0, "booked"), (-1, "no_show"), ("1", "attended"), ("-1", "no_show")],
)
def test_attendance_gives_the_status(attendance: Any, status: str) -> None:
    assert record_rows(1, record(attendance=attendance), MOSCOW)[0]["status"] == status


def test_a_booking_the_salon_has_not_confirmed_is_a_booking() -> None:
    """Whether it will take place nobody knows; its client is not written to as if there were none."""
    assert record_rows(1, record(attendance=0, confirmed=0), MOSCOW)[0]["status"] == "booked"
    assert record_rows(1, record(attendance=1, confirmed=0), MOSCOW)[0]["status"] == "attended"


@pytest.mark.parametrize("nobody", [None, [], {}])
def test_a_record_without_a_client_is_a_note_of_the_salons_own(nobody: Any) -> None:
    assert record_rows(1, record(client=nobody), MOSCOW) == []


def test_the_wall_clock_counts_where_the_offset_is_wrong() -> None:
    summer = record(date="2026-07-01 16:00:00", datetime="2026-07-01T16:00:00-05:00")
    assert record_rows(1, summer, TORONTO)[0]["starts_at"] == datetime(2026, 7, 1, 20, tzinfo=UTC)


@pytest.mark.parametrize("written", ["2026-11-15T20:35:11+0300", "2026-11-15T20:35:11+03:00", "2026-11-15T17:35:11Z"])
def test_an_offset_is_read_with_and_without_a_colon(written: str) -> None:
    assert record_rows(1, record(create_date=written), MOSCOW)[0]["created_at"] == datetime(
        2026, 11, 15, 17, 35, 11, tzinfo=UTC
    )


def test_every_service_of_a_record_is_a_line() -> None:
    lines = record_rows(
        1,
        record(
            services=[
                {"id": 9, "cost": "1500.50"},
                {"id": "10", "cost": 0, "amount": 2},
                {"id": 11, "cost": 100.1, "amount": 3},
            ]
        ),
        MOSCOW,
    )
    assert [(row["line"], row["service_id"], row["price"]) for row in lines] == [
        (0, 9, Decimal("1500.50")),
        (1, 10, Decimal(0)),
        (2, 11, Decimal("300.30")),
    ]


@pytest.mark.parametrize("services", [[], None])
def test_a_record_without_services_is_one_line_without_a_service(services: Any) -> None:
    (line,) = record_rows(1, record(services=services), MOSCOW)
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
        ({"create_date": None}, "create_date=None"),
        ({"create_date": "2026-11-15T20:35:11"}, "without a zone"),
        ({"services": [{"id": 9, "cost": "dear"}]}, "cost='dear'"),
        ({"services": [{"id": 9, "cost": -1}]}, "cost=-1"),
        ({"services": [{"id": 9, "cost": "NaN"}]}, "cost='NaN'"),
        ({"services": [{"id": 9, "cost": 10, "amount": "x"}]}, "amount='x'"),
        ({"services": [{"id": 9, "cost": 10**9, "amount": 10**9}]}, "cost times amount"),
        ({"date": "0001-01-01 00:00:00"}, "0001-01-01"),
        ({"services": [{"id": None, "cost": 1}]}, "id=None"),
        ({"client": {"id": "x"}}, "id='x'"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_by_field_and_value(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        record_rows(1, record(**changes), MOSCOW)


@pytest.mark.parametrize("title", [None, "", "  ", 5])
def test_a_service_or_person_without_a_name_is_refused(title: Any) -> None:
    with pytest.raises(ValueError, match="title="):
        service_row(1, service(title=title))
    with pytest.raises(ValueError, match="name="):
        staff_row(1, staff(name=title), [])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
READERS = {
    "service": (service, lambda card: service_row(1, card)),
    "staff": (staff, lambda card: staff_row(1, card, [])),
    "client": (client, lambda card: client_row(1, card)),
    "record": (record, lambda card: record_rows(1, card, MOSCOW)),
}


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(sorted(READERS)), st.data())
def test_whatever_stands_in_a_field_the_card_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    make, read = READERS[kind]
    field = data.draw(st.sampled_from(sorted(make())))
    card = make(**{field: data.draw(ANYTHING)})
    with suppress(ValueError, AttributeError, TypeError):  # what the synchronisation takes as a refusal
        read(card)
