"""Golden cases by hand. The same rules against plain loops: test_real_book.py."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from reactivation_core.exclusions import REASONS, Reason
from reactivation_core.inactivity import LoyaltyThresholds, detect_inactive, due_clients, evaluate_rules
from tests.core.books import Row, book, utc

AS_OF = utc(2026, 11, 20, 7)  # 10:00 in Moscow
RULE = {"service_id": 1, "interval_days": 30}
SERVICE = {"service_id": 1}


def came(client_id: int, *days_ago: int, **more: object) -> list[Row]:
    return [{"client_id": client_id, "starts_at": AS_OF - timedelta(days=days), **more} for days in days_ago]


def detect(**rows: list[Row]) -> pl.DataFrame:
    rows.setdefault("rules", [RULE])
    rows.setdefault("services", [SERVICE])
    return detect_inactive(book(**rows), AS_OF)


def one(**rows: list[Row]) -> Row:
    """The only row, of client 5 who came once, 60 days ago, unless told."""
    rows.setdefault("clients", [{"client_id": 5}])
    rows.setdefault("records", came(5, 60))
    found = detect(**rows)
    assert found.height == 1
    return found.row(0, named=True)


def test_a_client_is_due_the_day_after_the_interval():
    people = [{"client_id": 1}, {"client_id": 2}]
    found = detect(clients=people, records=came(1, 30) + came(2, 31))
    assert found.select("client_id", "days_since", "due_after").rows() == [(2, 31, 30)]


def test_the_whole_row_of_a_first_time_client():
    assert one(records=came(5, 60, price_minor=150_000)) == {
        "company_id": 1, "client_id": 5, "service_id": 1, "last_visit": date(2026, 9, 21), "days_since": 60, "days_since_any": 60,
        "due_after": 30, "decision": "eligible", "reason": "", "segment": "new", "priority": 0.68, "visits": 1, "spent_minor": 150_000,
        "loyalty": 1, "interval_days": 30, "rhythm_days": None, "gaps": 0, "service_visits": 1, "upcoming_at": None,
    }  # fmt: skip


def test_a_slow_rhythm_postpones_and_a_quick_one_does_not():
    slow = one(records=came(5, 100, 160, 220))  # (2*60 + 3*30) / 5 = 42; 1.5 * 42 = 63
    assert (slow["rhythm_days"], slow["gaps"], slow["due_after"]) == (42.0, 2, 63)
    quick = one(records=came(5, 60, 70, 80))
    assert (quick["rhythm_days"], quick["due_after"]) == (22.0, 33)
    off = one(companies=[{"personal_factor": 0.0}], records=came(5, 100, 160, 220))
    assert (off["rhythm_days"], off["due_after"]) == (42.0, 30)


def test_only_the_last_five_gaps_count_and_two_lines_of_a_day_are_one_visit():
    days = (50, 60, 70, 80, 90, 100, 300, 500)  # five gaps of 10, then two of 200
    found = one(records=came(5, *days) + came(5, 50))
    assert (found["gaps"], found["rhythm_days"], found["visits"]) == (5, 17.5, 8)


def test_days_are_the_salon_s_own():
    late = datetime(2026, 10, 20, 21, 30, tzinfo=UTC)  # half past midnight on the 21st in Moscow: thirty days ago
    records = [{"client_id": 5, "starts_at": late}]
    assert detect(clients=[{"client_id": 5}], records=records).is_empty()
    assert one(companies=[{"timezone": "UTC"}], records=records)["days_since"] == 31


def test_the_usual_service_is_chosen_over_a_stale_experiment():
    rules = [{"service_id": service, "interval_days": 30} for service in (1, 2)]
    usual = came(5, 60, 75, 90, service_id=1) + came(5, 300, service_id=2)
    assert one(rules=rules, services=[SERVICE, {"service_id": 2}], records=usual)["service_id"] == 1


@pytest.mark.parametrize(
    ("records", "prices", "service"),
    [
        (came(5, 60, service_id=1) + came(5, 70, service_id=2), (0, 0), 2),  # as often: the more overdue
        (came(5, 60, service_id=1) + came(5, 60, service_id=2), (100, 200), 2),  # then the dearer
        (came(5, 60, service_id=1) + came(5, 60, service_id=2), (200, 200), 1),  # then the lower id
    ],
)
def test_ties_between_services_are_settled_in_order(records: list[Row], prices: tuple[int, int], service: int):
    rules = [{"service_id": number, "interval_days": 30} for number in (1, 2)]
    services = [{"service_id": number, "list_price_minor": price} for number, price in zip((1, 2), prices, strict=True)]
    assert one(rules=rules, services=services, records=records)["service_id"] == service


@pytest.mark.parametrize(
    "later",
    [
        {"created_at": AS_OF + timedelta(seconds=1)},
        {"starts_at": AS_OF + timedelta(seconds=1), "status": "cancelled"},
        {"deleted": True},
        {"status": "no_show"},
        {"client_id": None},
    ],
)
def test_what_was_not_known_or_not_attended_does_not_count(later: Row):
    assert one(records=[*came(5, 60), {**came(5, 2)[0], **later}])["days_since_any"] == 60


def test_a_deleted_client_is_not_considered_and_an_unknown_one_has_no_phone():
    assert detect(clients=[{"client_id": 5, "deleted": True}], records=came(5, 60)).is_empty()
    assert one(clients=[])["reason"] == "invalid_phone"


PHONE = "+79000000005"
SENT = {
    "client_id": 5,
    "attempt_number": 1,
    "planned_at": AS_OF - timedelta(days=20),
    "sent_at": AS_OF - timedelta(days=20),
}
ME = {"client_id": 5}


@pytest.mark.parametrize(
    ("reason", "rows"),
    [
        ("opted_out", {"suppressions": [{"phone": PHONE, "at": AS_OF}]}),
        ("", {"suppressions": [{"phone": PHONE, "at": AS_OF + timedelta(seconds=1)}]}),
        ("", {"suppressions": [{"phone": PHONE, "at": AS_OF - timedelta(9), "lifted_at": AS_OF}]}),
        ("", {"suppressions": [{"company_id": 2, "phone": PHONE, "at": AS_OF}]}),
        ("paused", {"pauses": [{**ME, "at": AS_OF, "until": AS_OF + timedelta(1)}]}),
        ("", {"pauses": [{**ME, "at": AS_OF - timedelta(1), "until": AS_OF}]}),
        ("no_consent", {"companies": [{"consent_basis": None}]}),
        ("", {"companies": [{"consent_basis": None}], "clients": [{**ME, "consent": True}]}),
        ("no_consent", {"clients": [{**ME, "consent": False}]}),
        ("mailing_refused", {"clients": [{**ME, "mailing_refused": True}]}),
        ("blacklisted", {"clients": [{**ME, "blacklisted": True}]}),
        ("invalid_phone", {"clients": [{**ME, "phone": None}]}),
        ("staff_phone", {"staff": [{"staff_id": 1, "phone": PHONE, "active": False}]}),
        ("staff_phone", {"companies": [{"phone": PHONE}]}),
        ("upcoming_record", {"records": came(5, 60) + came(5, -3, status="booked", created_at=AS_OF)}),
        ("", {"records": came(5, 60) + came(5, -3, status="booked", created_at=AS_OF + timedelta(1))}),
        ("visited_recently", {"records": came(5, 60) + came(5, 13, service_id=9)}),
        ("", {"records": came(5, 60) + came(5, 14, service_id=9)}),
        ("", {"records": came(5, 365)}),
        ("gone_too_long", {"records": came(5, 366)}),
        ("contacted_recently", {"campaigns": [{**SENT, "sent_at": AS_OF - timedelta(days=6, hours=23)}]}),
        ("waiting_for_reply", {"campaigns": [{**ME, "planned_at": AS_OF, "status": "planned"}]}),
        ("waiting_for_reply", {"campaigns": [{**ME, "planned_at": AS_OF - timedelta(9), "status": "unknown"}]}),
        ("waiting_for_reply", {"campaigns": [{**ME, "planned_at": AS_OF - timedelta(6), "status": "held_out", "held_out": True}]}),
        ("", {"campaigns": [{**ME, "planned_at": AS_OF - timedelta(9), "status": "expired"}]}),
        ("retry_not_due", {"campaigns": [{**SENT, "next_attempt_at": AS_OF + timedelta(1)}]}),
        ("", {"campaigns": [{**SENT, "next_attempt_at": AS_OF}]}),
        ("attempts_exhausted", {"campaigns": [{**SENT, "attempt_number": 3}]}),
        ("attempts_exhausted", {"campaigns": [{**SENT, "completion_reason": "max_attempts", "completed_at": AS_OF}]}),
        ("", {"campaigns": [{**SENT, "completion_reason": "cancelled", "completed_at": AS_OF}]}),
        ("replied_open_dialog", {"campaigns": [{**SENT, "responded_at": AS_OF, "open_until": AS_OF + timedelta(2)}]}),
        ("", {"campaigns": [{**SENT, "responded_at": AS_OF + timedelta(1), "open_until": AS_OF + timedelta(2)}]}),
        ("company_disabled", {"companies": [{"enabled": False}]}),
        ("rule_without_service", {"services": []}),
        ("rule_without_service", {"services": [{**SERVICE, "active": False}]}),
    ],
)  # fmt: skip
def test_every_reason_has_its_edge(reason: str, rows: dict[str, list[Row]]):
    assert one(**rows)["reason"] == reason


def test_a_visit_after_the_last_attempt_opens_the_way_again():
    exhausted = {**SENT, "attempt_number": 3, "planned_at": AS_OF - timedelta(90), "sent_at": AS_OF - timedelta(90)}
    assert one(records=came(5, 91), campaigns=[exhausted])["reason"] == "attempts_exhausted"
    assert one(records=came(5, 89), campaigns=[exhausted])["reason"] == ""


def test_of_several_clients_with_one_phone_the_latest_visitor_stays_then_the_lowest_id():
    people = [{"client_id": number, "phone": PHONE} for number in (1, 2, 3)]
    found = detect(clients=people, records=came(1, 60) + came(2, 50) + came(3, 50))
    assert dict(found.select("client_id", "reason").iter_rows()) == {1: "duplicate_phone", 2: "", 3: "duplicate_phone"}


def test_the_first_reason_wins_and_all_flags_can_be_read():
    from reactivation_core.exclusions import exclusion_flags

    inputs = book(clients=[{"client_id": 5, "blacklisted": True, "phone": None}], records=came(5, 400), rules=[RULE])
    due = due_clients(inputs, AS_OF)
    flags = exclusion_flags(inputs, due, AS_OF).row(0, named=True)
    assert {name for name in REASONS if flags[name]} == {
        "blacklisted",
        "invalid_phone",
        "gone_too_long",
        "rule_without_service",
    }
    assert detect_inactive(inputs, AS_OF)["reason"].to_list() == ["blacklisted"]


def test_reasons_keep_their_order():
    assert [*Reason][:3] == ["opted_out", "paused", "no_consent"]
    assert [*Reason][-2:] == ["company_disabled", "rule_without_service"]


def test_segments_come_first_then_the_score_by_hand():
    # Gold: ten visits, 25 000 spent. Regular: two visits, 40 000. New: one visit, 90 000, most overdue.
    records = (
        came(1, *range(60, 70), price_minor=250_000)
        + came(2, 60, 70, price_minor=2_000_000)
        + came(3, 90, price_minor=9_000_000)
    )
    found = detect(clients=[{"client_id": number} for number in (1, 2, 3)], records=records)
    # Client 1: gaps of one day, rhythm (5*1 + 3*30)/8, due after 30; overdue 60/30 = 2, as client 2; client 3: 90/30 = 3.
    # Scores of 300: 8*4*3 + 30*1 + 20*3 + 10*2 = 206; 8*2*3 + 30*2 + 20*2 + 10*2 = 168; 8*1*3 + 30*3 + 20*1 + 10*3 = 164.
    assert found.select("client_id", "segment", "loyalty", "priority").rows() == [
        (1, "vip", 4, 206 / 300),
        (2, "regular", 2, 168 / 300),
        (3, "new", 1, 164 / 300),
    ]


def test_equal_scores_are_told_apart_by_client_id():
    found = detect(clients=[{"client_id": 8}, {"client_id": 7}], records=came(8, 60) + came(7, 60))
    assert found["client_id"].to_list() == [7, 8]


@pytest.mark.parametrize(
    ("visits", "spent", "level"),
    [(20, 50_000, 5), (20, 49_999, 4), (19, 50_000, 4), (10, 20_000, 4), (10, 19_999, 3), (5, 8_000, 3), (5, 7_999, 2), (2, 0, 2), (1, 90_000, 1)],
)  # fmt: skip
def test_loyalty_needs_both_visits_and_spend(visits: int, spent: int, level: int):
    row = pl.DataFrame({"visits": [visits], "spent_minor": [spent * 100]})
    assert row.select(LoyaltyThresholds().loyalty()).item() == level


def test_every_rule_can_be_explained_due_or_not():
    rules = [{"service_id": 1, "interval_days": 30}, {"service_id": 2, "interval_days": 90}]
    inputs = book(records=came(5, 60, 70, 80, service_id=1) + came(5, 60, service_id=2), rules=rules)
    wanted = [
        "service_id",
        "days_since",
        "interval_days",
        "gaps",
        "own_days",
        "rhythm_days",
        "due_after",
        "due",
        "service_visits",
    ]
    assert evaluate_rules(inputs, AS_OF).select(wanted).rows() == [
        (1, 60, 30, 2, 10.0, 22.0, 33, True, 3),
        (2, 60, 90, 0, None, None, 90, False, 1),
    ]


def test_an_empty_platform_gives_an_empty_frame_of_the_same_shape():
    empty = detect_inactive(book(companies=[]), AS_OF)
    assert empty.is_empty()
    assert empty.schema == detect(clients=[{"client_id": 5}], records=came(5, 60)).schema


def test_a_naive_instant_and_an_unknown_zone_are_refused():
    with pytest.raises(ValueError, match="as_of"):
        detect_inactive(book(), datetime.fromisoformat("2026-11-20T07:00"))
    with pytest.raises(ValueError, match="Europe/Moskva"):
        detect(companies=[{"timezone": "Europe/Moskva"}])
