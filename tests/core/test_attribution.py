"""Which booking belongs to which campaign, and the facts of every campaign."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.attribution import BOOKINGS, CONVERSIONS, attribute_bookings, conversions

SENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = SENT + timedelta(days=60)
INSTANT = pl.Datetime("us", "UTC")

CAMPAIGNS = {
    "campaign_id": pl.String,
    "company_id": pl.Int64,
    "client_id": pl.Int64,
    "episode_no": pl.Int32,
    "attempt_number": pl.Int16,
    "held_out": pl.Boolean,
    "service_id": pl.Int64,
    "staff_id": pl.Int64,
    "timezone": pl.String,
    "send_after": INSTANT,
    "sent_at": INSTANT,
    "delivered_at": INSTANT,
    "read_at": INSTANT,
    "stage": pl.String,
    "tone": pl.String,
    "source": pl.String,
    "discount_percent": pl.Int16,
    "cost_minor": pl.Int64,
}
RECORDS = {
    "company_id": pl.Int64,
    "client_id": pl.Int64,
    "record_id": pl.Int64,
    "line": pl.Int16,
    "starts_at": INSTANT,
    "price_minor": pl.Int64,
    "status": pl.String,
    "deleted": pl.Boolean,
    "created_at": INSTANT,
}
RESPONSES = {"campaign_id": pl.String, "received_at": INSTANT, "intent": pl.String}


def campaigns(*changes: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "campaign_id": "a",
        "company_id": 1,
        "client_id": 7,
        "episode_no": 1,
        "attempt_number": 1,
        "held_out": False,
        "service_id": 3,
        "staff_id": 5,
        "timezone": "Europe/Moscow",
        "send_after": SENT,
        "sent_at": SENT,
        "delivered_at": None,
        "read_at": None,
        "stage": "gentle",
        "tone": "friendly",
        "source": "template",
        "discount_percent": 10,
        "cost_minor": 0,
    }
    return pl.DataFrame([usual | change for change in changes], schema=CAMPAIGNS)


def records(*changes: dict[str, Any]) -> pl.DataFrame:
    usual = {
        "company_id": 1,
        "client_id": 7,
        "record_id": 100,
        "line": 1,
        "starts_at": SENT + timedelta(days=3),
        "price_minor": 150_000,
        "status": "attended",
        "deleted": False,
        "created_at": SENT + timedelta(hours=1),
    }
    return pl.DataFrame([usual | change for change in changes], schema=RECORDS)


def responses(*rows: tuple[str, datetime, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RESPONSES, orient="row")


def booked(left: pl.DataFrame, right: pl.DataFrame, as_of: datetime = LATER) -> dict[str, int]:
    frame = attribute_bookings(left, right, as_of)
    assert frame.schema == BOOKINGS
    return dict(frame.select("campaign_id", "booked_record_id").iter_rows())


def fact(left: pl.DataFrame, right: pl.DataFrame, replies: pl.DataFrame | None = None, **at: Any) -> dict[str, Any]:
    frame = conversions(left, right, responses() if replies is None else replies, at.pop("as_of", LATER), **at)
    assert frame.schema == CONVERSIONS
    return frame.row(0, named=True)


@pytest.mark.parametrize(
    ("after", "credited"),
    [
        (timedelta(microseconds=-1), False),
        (timedelta(0), True),
        (timedelta(days=7), True),
        (timedelta(days=7, microseconds=1), False),
    ],
)
def test_a_record_counts_from_the_send_to_exactly_seven_days_later(after: timedelta, credited: bool) -> None:
    found = booked(campaigns({}), records({"created_at": SENT + after, "starts_at": SENT + timedelta(days=20)}))
    assert found == ({"a": 100} if credited else {})


def test_a_booking_made_before_the_message_is_not_its_work_even_if_the_visit_comes_after() -> None:
    assert booked(campaigns({}), records({"created_at": SENT - timedelta(days=2)})) == {}


@pytest.mark.parametrize("change", [{"deleted": True}, {"status": "cancelled"}, {"client_id": None}, {"company_id": 2}])
def test_deleted_cancelled_and_foreign_records_are_no_booking(change: dict[str, Any]) -> None:
    assert booked(campaigns({}), records(change)) == {}


def test_when_the_first_booking_is_cancelled_the_next_one_counts() -> None:
    again = {"record_id": 101, "created_at": SENT + timedelta(days=1)}
    assert booked(campaigns({}), records({"status": "cancelled"}, again)) == {"a": 101}


def test_a_campaign_keeps_the_record_created_first_and_only_its_revenue() -> None:
    found = attribute_bookings(
        campaigns({}), records({"created_at": SENT + timedelta(days=2)}, {"record_id": 99, "price_minor": 1}), LATER
    )
    assert found.row(0, named=True)["booked_record_id"] == 99
    assert found["revenue_minor"].to_list() == [1]


def test_of_two_attempts_the_last_one_before_the_booking_gets_it() -> None:
    both = campaigns({}, {"campaign_id": "b", "attempt_number": 2, "sent_at": SENT + timedelta(days=5)})
    assert booked(both, records({"created_at": SENT + timedelta(days=6)})) == {"b": 100}
    assert booked(both, records({"created_at": SENT + timedelta(days=4)})) == {"a": 100}


def test_two_bookings_go_to_the_two_attempts_before_them() -> None:
    both = campaigns({}, {"campaign_id": "b", "attempt_number": 2, "sent_at": SENT + timedelta(days=5)})
    two = records({"created_at": SENT + timedelta(days=4)}, {"record_id": 101, "created_at": SENT + timedelta(days=6)})
    assert booked(both, two) == {"a": 100, "b": 101}


def test_within_one_attempt_the_earliest_campaign_gets_the_booking() -> None:
    both = campaigns({"campaign_id": "z"}, {"campaign_id": "b", "sent_at": SENT + timedelta(minutes=5)})
    assert booked(both, records({})) == {"z": 100}


def test_a_held_out_campaign_counts_from_the_moment_it_would_have_been_sent() -> None:
    held_out = campaigns({"held_out": True, "sent_at": None, "send_after": SENT + timedelta(days=1)})
    assert booked(held_out, records({})) == {}
    assert booked(held_out, records({"created_at": SENT + timedelta(days=8)})) == {"a": 100}


def test_a_campaign_that_was_never_sent_gets_nothing() -> None:
    assert booked(campaigns({"sent_at": None}), records({})) == {}
    assert conversions(campaigns({"sent_at": None}), records({}), responses(), LATER).is_empty()


def test_only_what_was_known_then_counts() -> None:
    made = SENT + timedelta(hours=1)
    assert booked(campaigns({}), records({}), made - timedelta(microseconds=1)) == {}
    early = attribute_bookings(campaigns({}), records({}), made).row(0, named=True)
    assert (early["attended"], early["revenue_minor"]) == (False, 0)
    assert attribute_bookings(campaigns({}), records({}), SENT - timedelta(seconds=1)).is_empty()


def test_revenue_is_every_line_of_an_attended_record() -> None:
    lines = records({}, {"line": 2, "price_minor": 20_050}, {"line": 3, "price_minor": None})
    assert attribute_bookings(campaigns({}), lines, LATER)["revenue_minor"].to_list() == [170_050]
    missed = attribute_bookings(campaigns({}), records({"status": "no_show"}), LATER).row(0, named=True)
    assert (missed["attended"], missed["revenue_minor"]) == (False, 0)


def test_a_booking_at_the_very_moment_of_the_send_counts_with_zero_minutes() -> None:
    row = fact(campaigns({}), records({"created_at": SENT}))
    assert (row["booked"], row["booking_minutes"]) == (True, 0.0)


def test_seven_days_are_seven_times_24_hours_across_the_clock_change() -> None:
    # New York skips an hour on 8 March 2026: seven calendar days later the wall clock shows an hour more.
    new_york = campaigns({"timezone": "America/New_York"})
    row = fact(new_york, records({"created_at": SENT + timedelta(days=7)}))
    assert (row["booked"], row["booking_minutes"]) == (True, 7 * 24 * 60.0)


@pytest.mark.parametrize(
    ("zone", "sent_at", "local"),
    [
        ("Europe/Moscow", datetime(2026, 3, 1, 21, 30, tzinfo=UTC), (date(2026, 3, 2), 0, 1)),
        ("America/Toronto", datetime(2026, 3, 8, 6, 59, tzinfo=UTC), (date(2026, 3, 8), 1, 7)),
        ("America/Toronto", datetime(2026, 3, 8, 7, 0, tzinfo=UTC), (date(2026, 3, 8), 3, 7)),
        ("Asia/Kamchatka", datetime(2026, 3, 1, 12, 0, tzinfo=UTC), (date(2026, 3, 2), 0, 1)),
    ],
)
def test_day_hour_and_weekday_are_the_companys_own(zone: str, sent_at: datetime, local: tuple[date, int, int]) -> None:
    row = fact(campaigns({"timezone": zone, "sent_at": sent_at}), records({}))
    assert (row["day"], row["hour"], row["weekday"]) == local


def test_companies_of_different_zones_keep_their_own_hours_in_one_frame() -> None:
    both = campaigns({}, {"campaign_id": "b", "company_id": 2, "timezone": "America/Toronto"})
    assert conversions(both, records({}), responses(), LATER)["hour"].to_list() == [12, 4]


def test_the_discount_is_a_share_of_the_revenue_with_a_half_rounded_up() -> None:
    assert fact(campaigns({"discount_percent": 10}), records({"price_minor": 105}))["discount_minor"] == 11
    assert fact(campaigns({"discount_percent": 10}), records({"price_minor": 104}))["discount_minor"] == 10
    assert fact(campaigns({"discount_percent": None}), records({}))["discount_minor"] == 0
    assert fact(campaigns({}), records({"status": "booked"}))["discount_minor"] == 0


def test_every_message_sent_costs_its_price_and_the_platform_share() -> None:
    assert fact(campaigns({"cost_minor": 37}), records({}))["cost_minor"] == 537
    assert fact(campaigns({"cost_minor": None}), records({}), platform_share_minor=10)["cost_minor"] == 10


def test_a_held_out_campaign_costs_nothing_and_gives_no_discount() -> None:
    row = fact(campaigns({"held_out": True, "sent_at": None, "cost_minor": 37}), records({}))
    assert (row["booked"], row["revenue_minor"], row["discount_minor"], row["cost_minor"]) == (True, 150_000, 0, 0)
    assert (row["delivered"], row["sent_at"]) == (False, SENT)


def test_the_first_reply_gives_the_time_and_any_opt_out_is_remembered() -> None:
    replies = responses(
        ("a", SENT + timedelta(minutes=90), "opt_out"),
        ("a", SENT + timedelta(minutes=30), "question"),
        ("a", SENT - timedelta(minutes=5), "thanks"),
        ("other", SENT, "opt_out"),
    )
    row = fact(campaigns({}), records({}), replies)
    assert (row["replied"], row["reply_minutes"], row["opted_out"]) == (True, 30.0, True)
    before = fact(campaigns({}), records({}), replies, as_of=SENT + timedelta(minutes=60))
    assert (before["replied"], before["opted_out"]) == (True, False)


def test_a_read_message_was_delivered_and_an_answered_one_was_read() -> None:
    read = fact(campaigns({"read_at": SENT + timedelta(minutes=1)}), records({}))
    assert (read["delivered"], read["read"], read["replied"]) == (True, True, False)
    answered = fact(campaigns({}), records({}), responses(("a", SENT, "confirm")))
    assert (answered["delivered"], answered["read"], answered["reply_minutes"]) == (True, True, 0.0)
    silent = fact(campaigns({}), records({}))
    assert (silent["delivered"], silent["reply_minutes"], silent["opted_out"]) == (False, None, False)


def test_a_row_settles_fourteen_days_after_the_send() -> None:
    day = timedelta(days=14)
    assert fact(campaigns({}), records({}), as_of=SENT + day)["settled"]
    assert not fact(campaigns({}), records({}), as_of=SENT + day - timedelta(microseconds=1))["settled"]


def test_empty_frames_give_the_empty_frame_with_all_columns() -> None:
    nothing = conversions(campaigns(), records(), responses(), LATER)
    assert nothing.schema == CONVERSIONS
    assert nothing.is_empty()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"as_of: .* has no time zone"):
        attribute_bookings(campaigns({}), records({}), LATER.replace(tzinfo=None))
    with pytest.raises(ValueError, match="window_days"):
        attribute_bookings(campaigns({}), records({}), LATER, -1)
    with pytest.raises(ValueError, match="campaigns lacks the column timezone"):
        conversions(campaigns({}).drop("timezone"), records({}), responses(), LATER)


hours = st.integers(0, 24 * 30)
sends = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 3), hours, st.booleans()), max_size=12)
bookings = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 3), hours, st.sampled_from(["attended", "booked", "cancelled"])),
    max_size=12,
)


@given(sends, bookings)
def test_attribution_follows_the_rule_whatever_the_order_of_the_rows(
    sent: list[tuple[int, int, int, bool]], made: list[tuple[int, int, int, str]]
) -> None:
    # Attempts are numbered by their time, as the planner does; equal times keep their place in the list.
    numbered = sorted(enumerate(sent), key=lambda item: item[1][2])
    log = [
        {"campaign_id": f"c{place:02}", "company_id": company, "client_id": client, "attempt_number": number}
        | {"held_out": held_out, "send_after": SENT + timedelta(hours=hour), "sent_at": SENT + timedelta(hours=hour)}
        for number, (place, (company, client, hour, held_out)) in enumerate(numbered, start=1)
    ]
    book = [
        {"company_id": company, "client_id": client, "record_id": place, "status": status}
        | {"created_at": SENT + timedelta(hours=hour)}
        for place, (company, client, hour, status) in enumerate(made)
    ]
    expected: dict[str, tuple[datetime, int]] = {}
    for record in book:
        claims = [
            campaign
            for campaign in log
            if (campaign["company_id"], campaign["client_id"]) == (record["company_id"], record["client_id"])
            and timedelta(0) <= record["created_at"] - campaign["send_after"] <= timedelta(days=7)
        ]
        if record["status"] == "cancelled" or not claims:
            continue
        winner = max(claims, key=lambda campaign: campaign["attempt_number"])["campaign_id"]
        candidate = (record["created_at"], record["record_id"])
        expected[winner] = min(expected.get(winner, candidate), candidate)
    forward = attribute_bookings(campaigns(*log), records(*book), LATER)
    assert dict(forward.select("campaign_id", "booked_record_id").iter_rows()) == {k: v[1] for k, v in expected.items()}
    assert forward.equals(attribute_bookings(campaigns(*log[::-1]), records(*book[::-1]), LATER))
