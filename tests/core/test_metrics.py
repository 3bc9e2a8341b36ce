"""Sums over the facts, the statistics of two arms, and the report made of them."""

from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.attribution import CONVERSIONS
from reactivation_core.metrics import (
    METRIC_KEYS,
    breakdown,
    by_attempt,
    by_service,
    campaign_report,
    conversion_metrics,
    lift_counts,
    measured_lift,
    overview,
    revenue,
    revenue_and_roi,
)
from reactivation_core.statistics import (
    Arm,
    Interval,
    detectable_difference,
    episodes_needed,
    fisher,
    lift,
    newcombe,
    pooled_z,
    rate,
    roi,
    wilson,
)

SENT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
USUAL: dict[str, Any] = {
    "campaign_id": "a",
    "company_id": 1,
    "client_id": 7,
    "service_id": 3,
    "staff_id": None,
    "episode_no": 1,
    "attempt_number": 1,
    "held_out": False,
    "day": date(2026, 3, 2),
    "sent_at": SENT,
    "hour": 12,
    "weekday": 1,
    "stage": "gentle",
    "tone": "friendly",
    "source": "template",
    "discount_percent": 0,
    "delivered": True,
    "read": False,
    "replied": False,
    "reply_minutes": None,
    "opted_out": False,
    "booked": False,
    "booked_record_id": None,
    "booking_minutes": None,
    "attended": False,
    "revenue_minor": 0,
    "discount_minor": 0,
    "cost_minor": 500,
    "settled": True,
}
NO_REPLIES = pl.DataFrame(schema={"campaign_id": pl.String, "intent": pl.String})


def facts(*changes: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([USUAL | change for change in changes], schema=CONVERSIONS)


def near(low: float, high: float) -> Interval:
    return Interval(pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))  # type: ignore[arg-type]


def test_wilson_intervals_match_values_worked_by_hand() -> None:
    assert wilson(15, 100) == near(0.0931, 0.2328)
    assert wilson(0, 10) == near(0.0, 0.2775)
    assert wilson(10, 10) == near(0.7225, 1.0)


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    assert rate(0, 0).value is None
    with pytest.raises(ValueError, match="3 successes out of 2"):
        wilson(3, 2)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((6, 7, 2, 7), 0.0582, 0.8062),
        ((5, 56, 0, 29), -0.0381, 0.1926),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 10), 0.6075, 1.0),
    ],
)
def test_differences_of_rates_match_the_table_of_newcombe_1998(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    assert newcombe(*counts) == near(low, high)


def test_p_values_match_worked_examples() -> None:
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)  # Fisher's tea: 1 + 16 + 16 + 1 of 70 cups
    assert fisher(8, 10, 1, 6) == pytest.approx(400 / 11440)
    assert pooled_z(60, 300, 10, 100) == pytest.approx(0.02265, abs=5e-6)  # z = 0.1 / 0.043875
    assert pooled_z(0, 30, 0, 10) == 1.0


def test_small_counts_are_tested_exactly_and_large_ones_by_the_normal_curve() -> None:
    assert lift(Arm(10, 8), Arm(6, 1)).test == "fisher"
    assert lift(Arm(300, 60), Arm(100, 10)).test == "z"


def test_sample_sizes_match_the_textbook() -> None:
    # 15 % against 20 % in two equal arms: 906 in each.
    assert episodes_needed(0.05, 0.15, 0.5) == 1811
    assert detectable_difference(906, 906, 0.15) == pytest.approx(0.05, abs=5e-5)


def test_lift_is_worth_the_bookings_and_the_revenue_beyond_the_held_out() -> None:
    found = lift(Arm(900, 180, 2_000_000, 9_000_000_000), Arm(100, 10, 100_001, 300_000_000))
    assert found.difference == pytest.approx(0.1)
    assert found.bookings == pytest.approx(90)
    assert found.revenue_minor == 2_000_000 - 900_009
    assert found.interval == newcombe(180, 900, 10, 100)
    # Variances 9e9 and 3e8 less the squared means, over n - 1: error of the mean 118.2 + 141.4 under the root.
    mean_t, mean_c = 2_000_000 / 900, 100_001 / 100
    error = ((9e9 - 900 * mean_t**2) / 899 / 900 + (3e8 - 100 * mean_c**2) / 99 / 100) ** 0.5
    assert found.revenue_interval is not None
    assert found.revenue_interval[1] - 1_099_991 == pytest.approx(1.959964 * error * 900, abs=1)
    assert "about 90 bookings more" in found.words


def test_an_empty_arm_is_not_enough_data() -> None:
    for arms in [(Arm(0, 0), Arm(0, 0)), (Arm(5, 1), Arm(0, 0)), (Arm(0, 0), Arm(5, 1))]:
        found = lift(*arms)
        assert (found.difference, found.p_value, found.revenue_minor, found.detectable) == (None, None, None, None)
        assert found.more_episodes > 0
        assert found.words.startswith("Not enough data: ")


def test_a_difference_that_may_be_chance_is_called_so() -> None:
    words = lift(Arm(90, 12), Arm(10, 1)).words
    assert words.startswith("Not enough data to tell an effect from chance: +3.3 points")
    assert "more episodes are needed to show a lift of 5 points" in words
    assert lift(Arm(9000, 450), Arm(1000, 90)).words.startswith("Messages lower the booking rate by -4.0 points")


counts = st.integers(0, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, counts)
def test_every_interval_holds_its_estimate_and_stays_in_range(one: tuple[int, int], two: tuple[int, int]) -> None:
    found = lift(Arm(one[1], one[0]), Arm(two[1], two[0]))
    for measured in (found.treated, found.control):
        assert 0 <= measured.interval.low <= (measured.value or measured.interval.low)
        assert (measured.value or 0) <= measured.interval.high <= 1
    if found.interval is not None:
        assert found.difference is not None
        assert -1 - 1e-9 <= found.interval.low <= found.difference <= found.interval.high <= 1 + 1e-9
        assert found.p_value is not None
        assert 0 <= found.p_value <= 1
        swapped = lift(Arm(two[1], two[0]), Arm(one[1], one[0]))
        assert swapped.p_value == pytest.approx(found.p_value)


def test_roi_is_gain_over_cost_and_unknown_without_cost() -> None:
    assert roi(12_500_000, 2_500_000) == Decimal("4.0000")
    assert roi(0, 500) == Decimal("-1.0000")
    assert roi(1, 3) == Decimal("-0.6667")
    assert roi(500, 0) is None


def test_the_overview_counts_messages_sent_and_zero_minutes_are_a_time() -> None:
    row = overview(
        facts(
            {"replied": True, "read": True, "reply_minutes": 0.0, "booked": True, "booking_minutes": 0.0},
            {"replied": True, "reply_minutes": 90.0, "opted_out": True, "settled": False},
            {"replied": True, "reply_minutes": 30.0, "delivered": False},
            {"held_out": True, "booked": True, "booking_minutes": 600.0},
        )
    ).row(0, named=True)
    assert row == {
        "sent": 3,
        "delivered": 2,
        "read": 1,
        "replied": 3,
        "booked": 1,
        "attended": 0,
        "opted_out": 1,
        "unsettled": 1,
        "reply_minutes_average": 40.0,
        "reply_minutes_median": 30.0,
        "booking_minutes_average": 0.0,
        "booking_minutes_median": 0.0,
    }


def test_of_no_message_the_counts_are_zero_and_the_times_unknown() -> None:
    row = overview(facts()).row(0, named=True)
    assert set(row.values()) == {0, None}
    for metric in (by_attempt, by_service, revenue, lift_counts, conversion_metrics):
        assert metric(facts()).is_empty()


def test_breakdowns_leave_the_held_out_aside_and_keep_messages_without_a_key() -> None:
    frame = facts(
        {"booked": True},
        {"attempt_number": 2, "replied": True, "source": None},
        {"attempt_number": 2, "service_id": 4, "attended": True},
        {"held_out": True, "booked": True},
    )
    assert by_attempt(frame).rows() == [(1, 1, 0, 1, 0, 0), (2, 2, 1, 0, 1, 0)]
    assert by_service(frame).rows() == [(1, 3, 2, 1, 1, 0, 0), (1, 4, 1, 0, 0, 1, 0)]
    assert breakdown(frame, "source").rows() == [(None, 1, 1, 0, 0, 0), ("template", 2, 0, 1, 1, 0)]


def test_cells_hold_counts_sums_and_the_held_out_apart() -> None:
    frame = conversion_metrics(
        facts(
            {"replied": True, "reply_minutes": 0.5, "revenue_minor": 100},
            {"replied": True, "reply_minutes": 1.5, "revenue_minor": 50, "discount_minor": 5},
            {"held_out": True, "stage": None, "cost_minor": 0},
        )
    )
    assert tuple(frame.columns[: len(METRIC_KEYS)]) == METRIC_KEYS
    assert frame.select("stage", "held_out", "campaigns", "revenue_minor", "discount_minor", "cost_minor").rows() == [
        (None, True, 1, 0, 0, 0),
        ("gentle", False, 2, 150, 5, 1000),
    ]
    assert frame["reply_minutes_sum"].to_list() == [0.0, 2.0]


def test_an_episode_counts_once_however_many_messages_it_took() -> None:
    frame = facts(
        {"revenue_minor": 300},
        {"attempt_number": 2, "booked": True, "attended": True, "revenue_minor": 400},
        {"client_id": 8, "held_out": True, "cost_minor": 0},
        {"client_id": 8, "held_out": True, "attempt_number": 2, "booked": True, "cost_minor": 0},
    )
    assert lift_counts(frame).rows() == [
        (1, False, 1, 1, 1, 700, 490_000, 1000, 0),
        (1, True, 1, 1, 0, 0, 0, 0, 0),
    ]


def test_attempts_the_held_out_never_went_through_are_not_compared() -> None:
    frame = facts(
        {},
        {"attempt_number": 2, "booked": True},
        {"client_id": 8, "held_out": True, "cost_minor": 0},
        {"company_id": 2, "attempt_number": 3, "booked": True},
    )
    counted = lift_counts(frame).select("company_id", "held_out", "episodes", "booked").rows()
    assert counted == [(1, False, 1, 0), (1, True, 1, 0), (2, False, 1, 1)]


def test_roi_counts_the_cost_of_all_sends_and_the_discounts() -> None:
    # 10 messages at 500, one booking of 20,000 with 1,000 off: cost 6,000, ROI 14,000 / 6,000.
    sold = {"booked": True, "attended": True, "revenue_minor": 20_000, "discount_minor": 1000}
    frame = facts(*({"client_id": client} for client in range(9)), {"client_id": 9} | sold)
    money = revenue_and_roi(revenue(frame), lift_counts(frame))
    assert (money.cost_minor, money.message_cost_minor, money.average_booking_minor) == (6000, 5000, 20_000)
    assert money.roi == Decimal("2.3333")
    assert (money.incremental_revenue_minor, money.incremental_roi) == (None, None)
    held_out = facts(
        *({"client_id": 20 + n, "held_out": True, "cost_minor": 0} for n in range(4)), sold | {"client_id": 30}
    )
    held_out = held_out.with_columns(
        held_out=True, cost_minor=0, discount_minor=0, revenue_minor=pl.col("revenue_minor") // 4
    )
    both = pl.concat([frame, held_out.cast(dict(CONVERSIONS))])
    # Held out: 5,000 from five episodes, so 10,000 would have come from ten anyway.
    money = revenue_and_roi(revenue(both), lift_counts(both))
    assert (money.roi, money.incremental_revenue_minor, money.incremental_roi) == (
        Decimal("2.3333"),
        10_000,
        Decimal("0.6667"),
    )


def test_the_report_says_every_rate_with_its_interval() -> None:
    frame = facts(
        {"campaign_id": "a", "replied": True, "read": True, "reply_minutes": 12.0, "booked": True, "attended": True},
        {"campaign_id": "b", "client_id": 8, "attempt_number": 2, "source": "gemini"},
        {"campaign_id": "c", "client_id": 9, "held_out": True, "cost_minor": 0},
    )
    replies = pl.DataFrame(
        {"campaign_id": ["a", "a", "zz"], "intent": ["confirm", "thanks", "spam"]}, schema=NO_REPLIES.schema
    )
    report = campaign_report(frame, replies, "RUB")
    assert report.funnel == {"sent": 2, "delivered": 2, "read": 1, "replied": 1, "booked": 1, "attended": 1}
    assert report.conversion == rate(1, 2)
    assert report.attendance == rate(1, 1)
    assert (report.reply.average_minutes, report.booking.average_minutes) == (12.0, None)
    assert [(row.key, row.sent, row.conversion.value) for row in report.by_attempt] == [(1, 1, 1.0), (2, 1, 0.0)]
    assert [row.key for row in report.by_source] == ["gemini", "template"]
    assert report.intents == {"confirm": 1, "thanks": 1}
    assert report.lift == measured_lift(lift_counts(frame))
    with pytest.raises(FrozenInstanceError):
        report.currency = "USD"  # type: ignore[misc]


def test_the_report_of_a_salon_that_sent_nothing_is_whole() -> None:
    report = campaign_report(facts(), NO_REPLIES, "RUB")
    assert (report.conversion.value, report.revenue.roi, report.by_service) == (None, None, ())
    assert report.lift.words.startswith("Not enough data: 0 messaged and 0 held-out episodes.")
