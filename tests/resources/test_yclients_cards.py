"""Cards: every form the CRM is known to write a thing in is read, and what cannot be read is kept with its reason."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from reactivation_resources.yclients.json_text import read_json, storable
from reactivation_resources.yclients.models import (
    BookDates,
    BookTime,
    CategoryCard,
    ClientCard,
    CompanyCard,
    Event,
    FoundClient,
    HistoryVisit,
    HooksSettings,
    Lifecycle,
    RecordCard,
    RecordLineCard,
    ServiceCard,
    StaffCard,
    StaffLink,
    read_cards,
)

RECORD: dict[str, Any] = {
    "id": 11,
    "company_id": 7,
    "staff_id": 5,
    "services": [{"id": 8, "title": "Стрижка", "cost": 1000, "amount": 1}],
    "client": {"id": 3, "name": "Анна", "phone": "+79000000001"},
    "date": "2026-07-16 16:00:00",
    "datetime": "2026-07-16T16:00:00+09:00",
    "create_date": "2026-07-01T12:00:00+0900",
    "attendance": 1,
    "deleted": False,
    "visit_id": 21,
    "activity_id": 0,
    "length": 3600,
    "seance_length": 3600,
    "api_id": "",
    "last_change_date": "2026-07-16T20:35:11+0900",
    "custom_fields": {},
    "record_labels": [{"id": 67345}],
}
SERVICE: dict[str, Any] = {
    "id": 8,
    "title": "Стрижка",
    "category_id": 2,
    "price_min": 1000,
    "duration": 3600,
    "active": 1,
    "staff": [{"id": 5, "seance_length": 1800, "price": None}],
}
CLIENT: dict[str, Any] = {
    "id": 3,
    "name": "Анна",
    "phone": "+79000000001",
    "sms_not": 0,
    "categories": [{"id": 1, "title": "VIP", "color": "#fff"}],
    "visits": 4,
    "spent": 1000,
    "last_change_date": "2026-07-16T20:35:11+0900",
    "custom_fields": [],
}
STAFF: dict[str, Any] = {"id": 5, "name": "Мастер", "fired": 0, "hidden": 0, "status": 0}
COMPANY: dict[str, Any] = {
    "id": 7,
    "title": "Салон",
    "timezone": 3,
    "timezone_name": "Europe/Moscow",
    "country": "Россия",
    "currency_short_title": "₽",
    "phone": "",
}


def one(model: type[BaseModel], card: dict[str, Any], **changes: Any) -> Any:
    cards = read_cards(model, [card | changes])
    assert cards.rejected == []
    return cards.good[0]


def reason(model: type[BaseModel], card: dict[str, Any], **changes: Any) -> str:
    cards = read_cards(model, [card | changes])
    assert cards.good == []
    return cards.rejected[0].reason


def without(card: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in card.items() if name != field}


def test_a_record_is_read() -> None:
    assert one(RecordCard, RECORD) == RecordCard(
        id=11,
        staff_id=5,
        client_id=3,
        lines=(RecordLineCard(8, Decimal(1000)),),
        starts_local=datetime.fromisoformat("2026-07-16T16:00:00"),
        created_at=datetime(2026, 7, 1, 3, tzinfo=UTC),
        attendance=1,
        deleted=False,
        visit_id=21,
        activity_id=0,
        length_s=3600,
        api_id="",
        last_change_date=datetime(2026, 7, 16, 11, 35, 11, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"custom_fields": []},
        {"custom_fields": {"source": "2gis"}},
        {"visit_id": "21"},
        {"record_labels": [{"id": "67345"}]},
        {"id": "11", "staff_id": "5", "attendance": "1", "length": "3600", "activity_id": ""},
        {"services": [{"id": "8", "cost": "1000.00", "amount": "1"}]},
        {"services": [{"id": 8, "cost": 500, "amount": 2}]},
        {"services": [{"id": 8, "cost": 1000.0, "discount": 33.710000000000001}]},
        {"staff": None},
        {"staff": {"id": 5, "position": []}},
        {"staff": {"id": 5, "position": {"id": 30, "title": "Мастер"}}},
        {"deleted": 0},
        {"deleted": "0"},
        {"deleted": ""},
        {"deleted": None},
        {"api_id": None},
        {"client": {"id": 3, "phone": ""}},
        {"client": {"id": "3", "phone": "+7900***0001"}},
        {"datetime": "2026-07-16T16:00:00+08:00"},
        {"create_date": "2026-07-01T12:00:00+09:00"},
        {"activity_id": 0, "goods_transactions": [], "documents": []},
    ],
)
def test_every_form_of_a_record_is_the_same_record(changes: dict[str, Any]) -> None:
    assert one(RecordCard, RECORD, **changes) == one(RecordCard, RECORD)


def test_the_wall_clock_is_read_where_the_offset_is_that_of_the_winter() -> None:
    """A salon of Toronto in summer, its `datetime` an hour off."""
    record = one(RecordCard, RECORD, date="2026-07-16 16:00:00", datetime="2026-07-16T16:00:00-05:00")
    assert record.starts_local == datetime.fromisoformat("2026-07-16T16:00:00")
    assert record.starts_local.tzinfo is None


@pytest.mark.parametrize(
    ("field", "value", "read", "expected"),
    [
        ("client", None, "client_id", None),
        ("client", [], "client_id", None),
        ("staff_id", 0, "staff_id", None),
        ("staff_id", None, "staff_id", None),
        ("services", [], "lines", ()),
        ("services", None, "lines", ()),
        ("deleted", 1, "deleted", True),
        ("deleted", True, "deleted", True),
        ("deleted", "1", "deleted", True),
        ("visit_id", "", "visit_id", None),
        ("visit_id", 0, "visit_id", None),
        ("activity_id", 77, "activity_id", 77),
        ("attendance", -1, "attendance", -1),
        ("attendance", "2", "attendance", 2),
        ("last_change_date", "", "last_change_date", None),
        ("last_change_date", "yesterday", "last_change_date", None),
        ("last_change_date", "2026-07-16 20:35:11", "last_change_date", None),
        ("api_id", 4711, "api_id", "4711"),
    ],
)
def test_nothing_and_other_things_are_read_as_what_they_are(field: str, value: Any, read: str, expected: Any) -> None:
    assert getattr(one(RecordCard, RECORD, **{field: value}), read) == expected


def test_what_is_absent_is_nothing() -> None:
    few = {name: RECORD[name] for name in ("id", "date", "create_date", "attendance")}
    record = one(RecordCard, few | {"seance_length": 1800})
    assert (record.client_id, record.staff_id, record.lines, record.deleted, record.length_s) == (
        None,
        None,
        (),
        False,
        1800,
    )


@pytest.mark.parametrize(
    ("model", "card", "changes", "said"),
    [
        (RecordCard, RECORD, {"id": None}, "id=None: input should be a valid integer"),
        (RecordCard, RECORD, {"id": 0}, "id=0: input should be greater than 0"),
        (RecordCard, RECORD, {"id": 2**63}, "id=9223372036854775808: input should be less than or equal to"),
        (RecordCard, RECORD, {"id": "9" * 30}, "id='9"),
        (RecordCard, RECORD, {"id": 1.5}, "id=1.5: "),
        (RecordCard, RECORD, {"id": float("nan")}, "id=nan: "),
        (RecordCard, RECORD, {"staff_id": 2**70}, "staff_id=1180591620717411303424: "),
        (RecordCard, RECORD, {"staff_id": "Анна"}, "staff_id='Анна': "),
        (RecordCard, RECORD, {"visit_id": -1}, "visit_id=-1: "),
        (RecordCard, RECORD, {"attendance": 9}, "attendance=9: "),
        (RecordCard, RECORD, {"attendance": None}, "attendance=None: "),
        (RecordCard, RECORD, {"client": {"name": "Анна"}}, "client={'name': 'Анна'}: a client without an id"),
        (RecordCard, RECORD, {"client": {"id": None}}, "client={'id': None}: a client without an id"),
        (RecordCard, RECORD, {"date": ""}, "date='': not a time"),
        (RecordCard, RECORD, {"date": "2026-07-16T16:00:00+09:00"}, "date='2026-07-16T16:00:00+09:00': not a local time"),
        (RecordCard, RECORD, {"date": "0001-01-01 00:00:00"}, "date='0001-01-01 00:00:00': not a local time"),
        (RecordCard, RECORD, {"date": "9999-12-31 23:59:59"}, "date='9999-12-31 23:59:59': not a local time"),
        (RecordCard, RECORD, {"date": 1700000000}, "date=1700000000: not a time"),
        (RecordCard, RECORD, {"create_date": "2026-07-01T12:00:00"}, "create_date='2026-07-01T12:00:00': "),
        (RecordCard, RECORD, {"create_date": None}, "create_date=None: "),
        (RecordCard, RECORD, {"services": [{"cost": 5}]}, "services=[{'cost': 5}]: a service without an id"),
        (RecordCard, RECORD, {"services": [{"id": 2**63}]}, "services=[{'id': 9223372036854775808}]: an id that"),
        (RecordCard, RECORD, {"services": [{"id": 8, "cost": "dear"}]}, "services=[{'id': 8, 'cost': 'dear'}]: not an amount"),
        (RecordCard, RECORD, {"services": [{"id": 8, "cost": -5}]}, "services=[{'id': 8, 'cost': -5}]: not an amount"),
        (RecordCard, RECORD, {"services": [{"id": 8, "cost": 1e300}]}, "services=[{'id': 8, 'cost': 1e+300}]: not an amount"),
        (RecordCard, RECORD, {"services": [{"id": 8, "cost": "NaN"}]}, "services=[{'id': 8, 'cost': 'NaN'}]: not an amount"),
        (RecordCard, RECORD, {"services": [{"id": 8, "cost": 9, "amount": 10**12}]}, "services="),
        (RecordCard, RECORD, {"services": {"1": {"id": 8}}}, "services={'1': {'id': 8}}: a service without an id"),
        (ServiceCard, SERVICE, {"title": "  "}, "title='  ': string should have at least 1 character"),
        (ServiceCard, SERVICE, {"price_min": {}}, "price_min={}: "),
        (ServiceCard, SERVICE, {"staff": [{"name": "Анна"}]}, "staff.0.id=None: missing"),
        (StaffCard, STAFF, {"name": ""}, "name='': "),
        (ClientCard, CLIENT, {"name": {"first": "Анна"}}, "name={'first': 'Анна'}: "),
        (CategoryCard, {"id": 1}, {}, "title=None: missing"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_read_is_kept_with_the_field_and_the_value(
    model: type[BaseModel], card: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    assert reason(model, card, **changes).startswith(said)


def test_one_bad_card_spoils_no_other() -> None:
    cards = read_cards(ClientCard, [CLIENT, {"id": "x"}, "text", None, [], CLIENT | {"id": 4}])
    assert [card.id for card in cards.good] == [3, 4]
    assert [rejected.card for rejected in cards.rejected] == [{"id": "x"}, "text", None, []]
    assert cards.rejected[1].reason == "card='text': input should be a valid dictionary or instance of ClientCard"


def test_a_long_value_is_cut_in_the_reason_and_kept_whole_in_the_card() -> None:
    [rejected] = read_cards(ClientCard, [{"id": "x" * 500}]).rejected
    assert len(rejected.reason) < 200
    assert rejected.card == {"id": "x" * 500}


def test_a_service_is_read_in_all_its_forms() -> None:
    expected = ServiceCard(
        id=8,
        title="Стрижка",
        category_id=2,
        price_min=Decimal(1000),
        duration_s=3600,
        active=True,
        staff=[StaffLink(id=5, seance_length_s=1800)],
    )
    assert one(ServiceCard, SERVICE) == expected
    assert one(ServiceCard, SERVICE, price_min="1000.00", duration="3600", active="1", image_group=[]) == expected
    assert one(ServiceCard, SERVICE, price_min=1000.0, active=True, title=" Стрижка ") == expected
    bare = one(
        ServiceCard, {"id": 8, "title": "Стрижка", "price_min": None, "duration": 0, "category_id": 0, "staff": None}
    )
    assert (bare.price_min, bare.duration_s, bare.category_id, bare.staff, bare.active) == (0, None, None, [], True)
    assert not one(ServiceCard, SERVICE, active=0).active


@pytest.mark.parametrize(
    ("position", "title"),
    [([], None), ({"id": 1, "title": "Мастер"}, "Мастер"), ({"id": 1, "title": ""}, None), (None, None)],
)
def test_a_position_is_an_object_an_empty_list_or_absent(position: Any, title: str | None) -> None:
    assert one(StaffCard, STAFF, position=position).position_title == title
    assert one(StaffCard, STAFF).position_title is None


@pytest.mark.parametrize(
    ("employee", "phone"),
    [([], None), (None, None), ({"phone": "+79000000002"}, "+79000000002"), ({"phone": ""}, None)],
)
def test_the_phone_of_a_staff_member_is_their_employees(employee: Any, phone: str | None) -> None:
    assert one(StaffCard, STAFF, employee=employee).phone == phone


@pytest.mark.parametrize("gone", [{"fired": 1}, {"fired": "1"}, {"hidden": True}, {"status": 1}, {"is_deleted": True}])
def test_who_is_fired_hidden_or_deleted_does_not_work_there(gone: dict[str, Any]) -> None:
    assert one(StaffCard, STAFF, specialization=None).works
    assert not one(StaffCard, STAFF, **gone).works


def test_a_company_is_read_in_all_its_forms() -> None:
    company = one(CompanyCard, COMPANY)
    assert (company.timezone_name, company.currency, company.phone) == ("Europe/Moscow", "₽", None)
    assert one(CompanyCard, without(COMPANY, "timezone_name")).timezone_name is None
    assert one(CompanyCard, without(COMPANY, "timezone_name"), timezone="Asia/Omsk").timezone_name == "Asia/Omsk"
    assert one(CompanyCard, COMPANY, main_group=[], groups={}, zip=101000, business_type_id="5").business_type_id == 5


@pytest.mark.parametrize(
    ("changes", "read", "expected"),
    [
        ({"phone": ""}, "phone", None),
        ({"phone": "+7900***0001"}, "phone", "+7900***0001"),
        ({"phone": 79000000001}, "phone", "79000000001"),
        ({"name": None}, "name", ""),
        ({"sms_not": "1"}, "mailing_refused", True),
        ({"sms_not": True}, "mailing_refused", True),
        ({"sms_not": ""}, "mailing_refused", False),
        ({"categories": []}, "categories", []),
        ({"categories": None}, "categories", []),
        ({"categories": [{"id": 3, "title": "Чёрный список"}, {"id": 4}]}, "categories", ["Чёрный список", ""]),
        ({"visits": "4"}, "visits", 4),
        ({"spent": "1250.50"}, "spent", Decimal("1250.50")),
        ({"spent": None}, "spent", 0),
        ({"last_change_date": None}, "last_change_date", None),
    ],
)
def test_a_client_is_read_in_all_its_forms(changes: dict[str, Any], read: str, expected: Any) -> None:
    assert getattr(one(ClientCard, CLIENT, **changes), read) == expected


@pytest.mark.parametrize(
    ("value", "day"),
    [
        (None, None),
        ("", None),
        ("0000-00-00", None),
        ("2026-10-05", date(2026, 10, 5)),
        ("2026-10-05 18:30:00", date(2026, 10, 5)),
    ],
)
def test_a_found_client_has_a_last_visit_or_none(value: Any, day: date | None) -> None:
    found = one(FoundClient, {"id": 3, "last_visit_date": value, "visits_count": "5", "sold_amount": "1250.50"})
    assert (found.last_visit_date, found.visits_count, found.sold_amount) == (day, 5, Decimal("1250.50"))
    bare = one(FoundClient, {"id": 3})
    assert (bare.last_visit_date, bare.visits_count, bare.sold_amount, bare.phone) == (None, None, None, None)


def test_a_visit_of_the_history_may_lack_its_staff() -> None:
    visit = {"id": 1, "date": "2026-04-01 12:00:00", "attendance": 1, "staff": [], "services": [], "visit_id": "9"}
    read = one(HistoryVisit, visit)
    assert (read.staff_id, read.lines, read.visit_id) == (None, (), 9)


@pytest.mark.parametrize(
    ("days", "expected"), [([], {}), ({"9": ["4", "5"]}, {9: [4, 5]}), ({"9": [4, 5]}, {9: [4, 5]}), (None, {})]
)
def test_booking_days_are_an_empty_list_or_months_of_days(days: Any, expected: dict[int, list[int]]) -> None:
    found = one(BookDates, {"booking_days": days, "booking_dates": ["2026-09-04"], "working_dates": []})
    assert (found.booking_days, found.booking_dates) == (expected, [date(2026, 9, 4)])


def test_days_without_the_list_of_dates_are_no_answer() -> None:
    assert reason(BookDates, {"booking_days": []}) == "booking_dates=None: missing"


def test_a_slot_has_the_length_of_all_services() -> None:
    slot = {"time": "9:05", "seance_length": "3600", "sum_length": 5400, "datetime": 1700000000}
    assert (one(BookTime, slot).time, one(BookTime, slot).length_s) == (time(9, 5), 5400)
    assert one(BookTime, slot, sum_length=None).length_s == 3600
    assert one(BookTime, {"time": "20:00"}).length_s == 0
    for wrong in ("later", "25:00", "10", None):
        assert reason(BookTime, slot, time=wrong).startswith(f"time={wrong!r}: ")


def test_hooks_keep_flags_nobody_here_knows() -> None:
    answer = {
        "urls": ["https://other.example/hook"],
        "active": "1",
        "record": 0,
        "goods_operations_sale": 1,
        "self_sending": 0,
    }
    settings = HooksSettings.model_validate(answer)
    assert settings.model_dump(mode="json") == {
        "urls": ["https://other.example/hook"],
        "active": 1,
        "salon": 0,
        "service_category": 0,
        "service": 0,
        "master": 0,
        "client": 0,
        "record": 0,
        "goods_operations_sale": 1,
        "self_sending": 0,
    }
    assert HooksSettings.model_validate({"urls": None, "active": 0}).urls == ()


def test_an_event_may_have_no_data() -> None:
    event = {"company_id": "7", "resource": "record", "resource_id": 11, "status": "update", "data": []}
    assert one(Event, event).data == {}
    assert one(Event, event, data={"id": 11}).data == {"id": 11}
    assert reason(Event, event, status="vanish").startswith("status='vanish': ")
    freeze = {"salon_id": 7, "application_id": "9", "event": "freeze", "partner_token": "secret"}
    assert "secret" not in repr(one(Lifecycle, freeze))


def test_texts_that_no_table_takes_are_mended() -> None:
    raw = b'{"a\\u0000": "x\\u0000y", "b": ["\\ud83d"], "c": "\\ud83d\\ude00", "d": NaN, "e": 1e999}'
    assert read_json(raw) == {"a": "xy", "b": ["?"], "c": "😀", "d": "nan", "e": "inf"}
    assert read_json(b'["\\ud83d\\ude00", "x\\u0000"]') == ["😀", "x"]
    assert read_json(b'"\xed\xa0\x80"') == "?"
    for broken in (b"", b"{", b"\xff\xfe"):
        with pytest.raises(ValueError):  # noqa: PT011
            read_json(broken)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3), max_leaves=12))  # fmt: skip
def test_whatever_comes_becomes_a_card_or_a_reason_that_can_be_stored(value: Any) -> None:
    import json

    for model in (RecordCard, ClientCard, ServiceCard, StaffCard, CompanyCard, Event, HistoryVisit):
        cards = read_cards(
            model, [value, {"id": value}, {"id": 1, "services": value, "categories": value, "staff": value}]
        )
        for rejected in cards.rejected:
            stored = json.dumps(rejected.card, allow_nan=False)
            assert "\\u0000" not in stored
            rejected.reason.encode()
            assert rejected.card == storable(rejected.card)
