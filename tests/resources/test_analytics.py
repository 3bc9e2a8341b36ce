"""The DuckDB queries give the same rows as their twins in the core, from any lake."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from reactivation_core import metrics
from reactivation_core.attribution import CONVERSIONS
from reactivation_resources.analytics import Analytics
from reactivation_resources.lake import Lake

TWINS: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "overview": metrics.overview,
    "by_attempt": metrics.by_attempt,
    "by_service": metrics.by_service,
    "revenue": metrics.revenue,
    "lift": metrics.lift_counts,
    "conversion_metrics": metrics.conversion_metrics,
}
FIRST, LAST = date(2026, 3, 2), date(2026, 3, 6)


def random_facts(seed: int, rows: int) -> pl.DataFrame:
    chance = random.Random(seed)

    def row(number: int) -> dict[str, Any]:
        day = FIRST + timedelta(days=chance.randrange(-1, 6))
        replied, booked, held_out = chance.random() < 0.4, chance.random() < 0.3, chance.random() < 0.3
        attended = booked and chance.random() < 0.7
        return {
            "campaign_id": f"c{number}",
            "company_id": chance.randrange(1, 4),
            "client_id": chance.randrange(1, 9),
            "service_id": chance.randrange(1, 4),
            "staff_id": None,
            "episode_no": chance.randrange(1, 3),
            "attempt_number": chance.randrange(1, 4),
            "held_out": held_out,
            "day": day,
            "sent_at": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
            "hour": chance.randrange(9, 12),
            "weekday": day.isoweekday(),
            "stage": chance.choice(["gentle", "offer", None]),
            "tone": chance.choice(["friendly", "casual"]),
            "source": chance.choice(["template", "gemini", None]),
            "discount_percent": 10,
            "delivered": chance.random() < 0.9,
            "read": chance.random() < 0.6,
            "replied": replied,
            "reply_minutes": chance.randrange(10**11) / 6e7 if replied else None,
            "opted_out": chance.random() < 0.1,
            "booked": booked,
            "booked_record_id": number if booked else None,
            "booking_minutes": chance.randrange(10**11) / 6e7 if booked else None,
            "attended": attended,
            "revenue_minor": chance.randrange(10**10) if attended else 0,
            "discount_minor": chance.randrange(1000) if attended else 0,
            "cost_minor": 0 if held_out else 500,
            "settled": chance.random() < 0.5,
        }

    return pl.DataFrame([row(number) for number in range(rows)], schema=CONVERSIONS)


def write(facts: pl.DataFrame, root: str) -> None:
    for (day,), part in facts.partition_by("day", as_dict=True).items():
        Lake(root).write("conversions", part, day)


def test_every_query_has_a_twin_in_the_core() -> None:
    assert Analytics("nowhere").names() == sorted(TWINS)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 120), st.none() | st.integers(1, 4))
def test_both_engines_give_the_same_rows(seed: int, rows: int, company_id: int | None) -> None:
    facts = random_facts(seed, rows)
    wanted = facts.filter(pl.col("day").is_between(FIRST, LAST))
    if company_id is not None:
        wanted = wanted.filter(pl.col("company_id") == company_id)
    with TemporaryDirectory() as root:
        write(facts, root)
        for name, twin in TWINS.items():
            found = Analytics(root).query(name, company_id, FIRST, LAST)
            assert_frame_equal(found, twin(wanted), check_exact=True)


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_lake_without_facts_gives_what_no_facts_give(name: str, tmp_path: Path) -> None:
    expected = TWINS[name](pl.DataFrame(schema=CONVERSIONS))
    for root in (str(tmp_path), tmp_path.as_uri()):
        assert_frame_equal(Analytics(root).query(name, None, FIRST, LAST), expected)


def test_a_url_gives_the_same_as_a_folder_whatever_the_folder_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "the lake's [1] фо"
    write(random_facts(1, 50), str(folder))
    expected = Analytics(str(folder)).query("revenue", None, FIRST, LAST)
    assert expected["sent"].sum() > 0
    plain = tmp_path / "plain"
    write(random_facts(1, 50), str(plain))
    assert_frame_equal(Analytics(f"{plain.as_uri()}/").query("revenue", None, FIRST, LAST), expected)


def test_both_ends_of_the_period_belong_to_it(tmp_path: Path) -> None:
    day = pl.DataFrame({"day": [FIRST, LAST, LAST + timedelta(days=1)]})
    facts = random_facts(2, 3).with_columns(day["day"], held_out=False)
    write(facts, str(tmp_path))
    assert Analytics(str(tmp_path)).query("overview", None, FIRST, LAST)["sent"].item() == 2
    assert Analytics(str(tmp_path)).query("overview", None, LAST, FIRST)["sent"].item() == 0


@pytest.mark.parametrize("name", ["nothing", "../analytics/overview", ""])
def test_an_unknown_metric_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown metric .*: one of by_attempt, "):
        Analytics(str(tmp_path)).query(name, None, FIRST, LAST)
