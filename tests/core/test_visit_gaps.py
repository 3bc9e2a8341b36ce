"""Gaps and intervals: cases by hand, and against a second, naive computation with plain loops."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, pstdev, quantiles
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.contracts import SERVICE_INTERVALS, VISIT_GAPS, ContractError, empty_frame, validate
from reactivation_core.inactivity import InactivityInputs
from reactivation_core.visit_gaps import service_intervals, visit_gaps
from tests.core.books import Row, book, real_rows, utc
from tests.core.test_real_book import instants, small_books

AS_OF = utc(2026, 1, 1)
ANY = None


def found(inputs: InactivityInputs, as_of: datetime) -> pl.DataFrame:
    gaps = visit_gaps(companies=inputs.companies, clients=inputs.clients, records=inputs.records, as_of=as_of)
    return validate(VISIT_GAPS, gaps)


def gaps_of(*records: Row, as_of: datetime = AS_OF, timezone: str = "Europe/Moscow") -> list[tuple[Any, ...]]:
    inputs = book(
        companies=[{"timezone": timezone}], clients=[{"client_id": 5}], records=[{"client_id": 5, **row} for row in records]
    )  # fmt: skip
    return found(inputs, as_of).select("service_id", "visit_day", "gap_days").rows()


def visit(*day: int, **more: Any) -> Row:
    return {"starts_at": utc(*day), **more}


def lengths(*days: int, clients: int = 1, service: int = 1) -> pl.DataFrame:
    """Gaps of those lengths for each of some clients, in a row."""
    rows = [(1, client, service, date(2025, 1, 1) + timedelta(days=sum(days[: place + 1])), gap)
            for client in range(clients) for place, gap in enumerate(days)]  # fmt: skip
    return validate(VISIT_GAPS, pl.DataFrame(rows, schema=empty_frame(VISIT_GAPS).schema, orient="row"))


# ------------------------------------------------------------------------------------------------ gaps by hand


def test_gaps_lie_between_consecutive_visits_for_each_service_and_for_any():
    assert gaps_of(
        visit(2025, 3, 1, service_id=1), visit(2025, 3, 11, service_id=2), visit(2025, 4, 10, service_id=1)
    ) == [(ANY, date(2025, 3, 11), 10), (ANY, date(2025, 4, 10), 30), (1, date(2025, 4, 10), 40)]  # fmt: skip


def test_several_lines_of_a_local_day_are_one_visit():
    assert gaps_of(
        visit(2025, 3, 1, 8, service_id=1), visit(2025, 3, 1, 12, service_id=1), visit(2025, 3, 1, 12, service_id=2),
        visit(2025, 3, 8, service_id=2),
    ) == [(ANY, date(2025, 3, 8), 7), (2, date(2025, 3, 8), 7)]  # fmt: skip


def test_a_day_is_the_salons_own():
    evening, next_evening = visit(2025, 3, 1, 23, 30), visit(2025, 3, 2, 20)
    assert gaps_of(evening, next_evening, timezone="Europe/Moscow") == []  # 02:30 and 23:00 of one day there
    assert [row[2] for row in gaps_of(evening, next_evening, timezone="Europe/London")] == [1, 1]


def test_a_line_without_a_service_is_a_visit_for_any():
    assert gaps_of(visit(2025, 3, 1, service_id=None), visit(2025, 3, 15, service_id=1)) == [
        (ANY, date(2025, 3, 15), 14)
    ]


@pytest.mark.parametrize(
    "left_out",
    [
        {"status": "cancelled"},
        {"status": "no_show"},
        {"status": "booked"},
        {"deleted": True},
        {"created_at": AS_OF + timedelta(seconds=1)},
        {"client_id": None},
    ],
)
def test_only_attended_visits_known_at_the_time_count(left_out: Row):
    rows = gaps_of(visit(2025, 3, 1), visit(2025, 3, 11, **left_out), visit(2025, 3, 21))
    assert [row[2] for row in rows] == [20, 20]


def test_visits_count_for_two_years_by_the_salons_days():
    # 2026-01-01 less 730 days is 2024-01-02
    assert [row[2] for row in gaps_of(visit(2024, 1, 2), visit(2026, 1, 1, 11))] == [730, 730]
    assert gaps_of(visit(2024, 1, 1), visit(2026, 1, 1, 11)) == []
    assert gaps_of(visit(2025, 1, 1), visit(2026, 1, 1, 12, 1)) == []  # after the instant


def test_deleted_clients_and_strange_companies_leave_no_gaps():
    records = [{"client_id": 5, **visit(2025, 3, day)} for day in (1, 9)]
    assert found(book(clients=[{"client_id": 5, "deleted": True}], records=records), AS_OF).is_empty()
    assert found(book(records=[{**row, "company_id": 2} for row in records]), AS_OF).is_empty()
    assert found(book(records=records), AS_OF).height == 2  # a client without a card is a client


def test_an_empty_journal_gives_empty_frames():
    gaps = found(book(), AS_OF)
    assert gaps.is_empty()
    assert validate(SERVICE_INTERVALS, service_intervals(gaps)).is_empty()


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match=r"as_of: .* has no time zone"):
        found(book(), datetime(2026, 1, 1))  # noqa: DTZ001


# ------------------------------------------------------------------------------------------------ intervals by hand


def test_the_interval_is_the_median_and_not_the_mean():
    row = service_intervals(lengths(10, 20, 30, 700)).row(0, named=True)
    assert (row["median_days"], row["mean_days"]) == (25.0, 190.0)
    assert (row["lower_quartile"], row["upper_quartile"]) == (17.5, 197.5)  # 10 + .75*10; 30 + .25*670
    assert row["std_days"] == pstdev([10, 20, 30, 700])
    assert (row["clients"], row["gaps"]) == (1, 4)


@pytest.mark.parametrize(("clients", "days"), [(24, None), (25, 26)])
def test_history_speaks_from_fifty_gaps_on_and_a_half_counts_up(clients: int, days: int | None):
    row = service_intervals(lengths(25, 26, clients=clients)).row(0, named=True)
    assert (row["gaps"], row["median_days"], row["historical_days"]) == (2 * clients, 25.5, days)


def test_regulars_are_counted_among_clients_with_two_gaps():
    steady, wild, once = lengths(30, 32), lengths(10, 60), lengths(30)
    three = pl.concat(
        frame.with_columns(client_id=pl.lit(client, pl.Int64)) for client, frame in enumerate((steady, wild, once))
    )
    row = service_intervals(three).row(0, named=True)
    assert (row["clients"], row["regular_share"]) == (3, 0.5)
    assert service_intervals(lengths(30, clients=9))["regular_share"].to_list() == [None]


def test_regular_means_above_seven_tenths():
    # mean 10, deviation 3: regularity is 0.7 and not above it
    assert service_intervals(lengths(7, 13))["regular_share"].to_list() == [0.0]
    assert service_intervals(lengths(8, 12))["regular_share"].to_list() == [1.0]


def test_a_service_and_any_service_are_told_apart():
    both = pl.concat([lengths(30).with_columns(service_id=pl.lit(None, pl.Int64)), lengths(40)])
    assert service_intervals(both).select("service_id", "median_days").rows() == [(None, 30.0), (1, 40.0)]


@pytest.mark.parametrize("broken", [lambda rows: rows[::-1], lambda rows: pl.concat([rows, rows])])
def test_gaps_that_repeat_or_are_out_of_order_break_their_contract(broken: Any):
    rows = lengths(10, 20, clients=2)
    with pytest.raises(ContractError, match=r"visit_gaps: .* ascend and never repeat"):
        validate(VISIT_GAPS, broken(rows))


# ------------------------------------------------------------------------------------------------ plain loops


def naive_gaps(inputs: InactivityInputs, as_of: datetime) -> list[Row]:
    zones = {row["company_id"]: ZoneInfo(row["timezone"]) for row in inputs.companies.lazy().collect().to_dicts()}
    gone = {
        (row["company_id"], row["client_id"]) for row in inputs.clients.lazy().collect().to_dicts() if row["deleted"]
    }
    days: dict[tuple[int, int, int | None], set[date]] = defaultdict(set)
    for row in inputs.records.lazy().collect().to_dicts():
        client = (row["company_id"], row["client_id"])
        if row["company_id"] not in zones or row["client_id"] is None or client in gone:
            continue
        if row["deleted"] or row["status"] != "attended" or max(row["created_at"], row["starts_at"]) > as_of:
            continue
        zone = zones[row["company_id"]]
        day = row["starts_at"].astimezone(zone).date()
        if (as_of.astimezone(zone).date() - day).days <= 730:
            days[*client, None].add(day)
            if row["service_id"] is not None:
                days[*client, row["service_id"]].add(day)
    return [
        {"company_id": key[0], "client_id": key[1], "service_id": key[2], "visit_day": after, "gap_days": (after - before).days}
        for key in sorted(days, key=lambda key: (key[0], key[1], -1 if key[2] is None else key[2]))
        for before, after in pairwise(sorted(days[key]))
    ]  # fmt: skip


def naive_intervals(gaps: list[Row]) -> list[Row]:
    grouped: dict[tuple[int, int | None], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in gaps:
        grouped[row["company_id"], row["service_id"]][row["client_id"]].append(row["gap_days"])
    rows = []
    for (company, service), clients in sorted(grouped.items(), key=lambda item: (item[0][0], item[0][1] or -1)):
        every = sorted(gap for own in clients.values() for gap in own)
        quarter, middle, three = quantiles(every, n=4, method="inclusive") if len(every) > 1 else every * 3
        several = [own for own in clients.values() if len(own) >= 2]
        regular = [1 - min(pstdev(own) / mean(own), 1) > 0.7 for own in several]
        rows.append({
            "company_id": company, "service_id": service, "clients": len(clients), "gaps": len(every), "lower_quartile": quarter,
            "median_days": middle, "upper_quartile": three, "mean_days": float(mean(every)), "std_days": pstdev(every),
            "regular_share": sum(regular) / len(regular) if regular else None,
            "historical_days": int(Fraction(median(every)) + Fraction(1, 2)) if len(every) >= 50 else None,
        })  # fmt: skip
    return rows


def assert_same(inputs: InactivityInputs, as_of: datetime) -> pl.DataFrame:
    gaps = found(inputs, as_of)
    expected = naive_gaps(inputs, as_of)
    assert gaps.to_dicts() == expected
    intervals = validate(SERVICE_INTERVALS, service_intervals(gaps))
    assert len(intervals) == len(naive_intervals(expected))
    for ours, theirs in zip(intervals.to_dicts(), naive_intervals(expected), strict=True):
        assert ours == pytest.approx(theirs, nan_ok=False)
    return intervals


@pytest.mark.parametrize(
    "day", [date(2018, 4, 1), date(2018, 8, 1), date(2018, 12, 1), date(2020, 5, 1), date(2021, 1, 1)]
)
def test_the_real_book_gives_the_same_rows_as_plain_loops(real_book: Path, day: date):
    inputs = book(**real_rows(real_book))
    intervals = assert_same(inputs, datetime(day.year, day.month, day.day, tzinfo=UTC))
    if day == date(2018, 8, 1):
        learned = intervals.drop_nulls("historical_days").select("service_id", "historical_days").rows()
        assert learned == [(None, 31), (124, 10), (128, 35), (129, 48)]


@settings(max_examples=120, deadline=None)
@given(inputs=small_books, as_of=instants, later=st.integers(0, 700))
def test_random_books_of_several_companies_and_zones_give_the_same_rows_as_plain_loops(
    inputs: InactivityInputs, as_of: datetime, later: int
):
    assert_same(inputs, as_of + timedelta(days=later))


@settings(max_examples=25, deadline=None)
@given(inputs=small_books, as_of=instants, far=st.integers(2**40, 2**61))
def test_client_ids_too_wide_for_packing_change_nothing_but_the_ids(
    inputs: InactivityInputs, as_of: datetime, far: int
):
    moved = pl.when(pl.col("client_id") > 3).then(pl.col("client_id") + far).otherwise("client_id").alias("client_id")
    frames = {name: getattr(inputs, name) for name in InactivityInputs.__dataclass_fields__}
    wide = InactivityInputs(**frames | {name: frames[name].with_columns(moved) for name in ("clients", "records")})
    assert found(wide, as_of).equals(found(inputs, as_of).with_columns(moved))


@settings(max_examples=20, deadline=None)
@given(inputs=small_books, as_of=instants, seed=st.integers(0, 99))
def test_the_order_of_the_input_rows_never_shows(inputs: InactivityInputs, as_of: datetime, seed: int):
    shuffled = InactivityInputs(
        **{
            name: getattr(inputs, name).sample(fraction=1, shuffle=True, seed=seed).lazy()
            for name in InactivityInputs.__dataclass_fields__
        }
    )
    gaps = found(inputs, as_of)
    assert found(shuffled, as_of).equals(gaps)
    mixed = gaps.sample(fraction=1, shuffle=True, seed=seed)
    assert service_intervals(mixed).equals(service_intervals(gaps))
