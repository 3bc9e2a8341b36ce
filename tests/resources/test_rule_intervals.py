"""Rules learn their historical interval from fifty gaps on, and only what nobody set by hand may be suggested."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import event, text

from reactivation_resources.database.engine import Database
from reactivation_resources.platform import Platform
from reactivation_resources.rule_intervals import (
    Suggestion,
    learn_intervals,
    month_start,
    needs_suggestion,
    present_month,
)
from tests.resources.learning_world import (
    COLOUR,
    CUT,
    RITUAL,
    open_salon,
    platform_at,
    rule_columns,
    rules_version,
    set_rule,
)


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    with platform_at(database_url, redis_url, tmp_path) as opened:
        yield opened


def historical(platform: Platform, company: int = 1) -> dict[int, int | None]:
    return rule_columns(platform.database, "calculated_avg_interval", company)


def suggested(platform: Platform, company: int = 1) -> dict[int, int | None]:
    return rule_columns(platform.database, "ai_suggested_interval", company)


def test_a_rule_learns_from_fifty_gaps_on(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 49})
    learned = learn_intervals(platform)
    assert historical(platform) == {CUT: 40, COLOUR: None, RITUAL: None}
    assert (learned.rules, learned.historical, learned.manual, learned.changed) == (3, 1, 0, 1)


def test_the_interval_counts_for_the_snapshot_until_a_manual_one_is_set(platform: Platform) -> None:
    def active() -> tuple[int, str]:
        rules = platform.mirror.snapshot("rules").filter(service_id=CUT)
        return rules.select("interval_days", "interval_source").collect().row(0)

    open_salon(platform.database, 1, {CUT: 50})
    assert active() == (28, "default")
    learn_intervals(platform)
    assert active() == (40, "historical")
    set_rule(platform.database, 1, CUT, manual_interval=35)
    assert active() == (35, "manual")


def test_learning_twice_changes_nothing_and_raises_no_version(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    before = rules_version(platform.database)
    assert learn_intervals(platform).changed == 1
    learned = rules_version(platform.database)
    assert learned > before
    assert learn_intervals(platform).changed == 0
    assert rules_version(platform.database) == learned


def test_a_history_that_has_become_short_is_forgotten(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 60})
    open_salon(platform.database, 2, {CUT: 50})
    learn_intervals(platform)
    with platform.database.begin() as connection:
        connection.execute(text("DELETE FROM record_lines WHERE service_id = 1"))
    assert learn_intervals(platform).changed == 2
    assert historical(platform) == {CUT: None, COLOUR: 40, RITUAL: None}
    assert historical(platform, 2) == {CUT: None, COLOUR: None, RITUAL: None}  # without a single gap left


def test_manual_intervals_stay_and_what_lies_below_them_is_kept_fresh(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    set_rule(platform.database, 1, CUT, manual_interval=33)
    set_rule(platform.database, 1, COLOUR, manual_interval=44)
    learned = learn_intervals(platform)
    assert rule_columns(platform.database, "manual_interval") == {CUT: 33, COLOUR: 44, RITUAL: None}
    assert historical(platform) == {CUT: 40, COLOUR: None, RITUAL: None}
    assert learned.manual == 2


def test_only_the_companies_named_learn(platform: Platform) -> None:
    for company in (1, 2):
        open_salon(platform.database, company, {CUT: 50})
    learn_intervals(platform, [2, 999])
    assert historical(platform)[CUT] is None
    assert historical(platform, 2)[CUT] == 40


def test_a_salon_whose_first_load_has_not_ended_learns_when_it_has(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE companies SET load_started_at = now()"))
    assert learn_intervals(platform, [1]).rules == 0
    assert historical(platform)[CUT] is None
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE companies SET changed_after = now()"))
    learn_intervals(platform, [1])
    assert historical(platform)[CUT] == 40


def test_what_came_after_the_month_began_is_left_for_the_next(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50}, last=datetime(2026, 10, 31, 20, 59, tzinfo=UTC))  # 23:59 in Moscow
    open_salon(platform.database, 2, {CUT: 50}, last=datetime(2026, 10, 31, 21, 1, tzinfo=UTC))
    learn_intervals(platform)
    assert historical(platform)[CUT] == 40
    assert historical(platform, 2)[CUT] is None  # the last of the fifty belongs to November


def test_all_rules_are_written_by_one_statement(platform: Platform) -> None:
    for company in range(1, 9):
        open_salon(platform.database, company, {CUT: 50, COLOUR: 50}, every=30 + company)
    statements: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        statements.append(statement)

    event.listen(platform.database.engine, "before_cursor_execute", note)
    assert learn_intervals(platform).changed == 16
    assert sum("UPDATE service_reactivation_rules" in statement for statement in statements) == 1
    assert {company: historical(platform, company)[CUT] for company in range(1, 9)} == {n: 30 + n for n in range(1, 9)}


# ------------------------------------------------------------------------------------------------ suggestions


def test_services_without_history_or_a_manual_interval_are_listed(platform: Platform) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    set_rule(platform.database, 1, RITUAL, ai_suggested_interval=55)
    lacking = learn_intervals(platform).needs_suggestion
    assert lacking.drop("title").rows() == [(1, COLOUR, "beauty", 50, None), (1, RITUAL, "beauty", 30, 55)]
    set_rule(platform.database, 1, COLOUR, manual_interval=60)
    set_rule(platform.database, 1, RITUAL, active=False)
    assert needs_suggestion(platform.database, [1]).is_empty()
    assert needs_suggestion(platform.database, []).is_empty()


def test_without_anybody_to_suggest_nothing_is_suggested(platform: Platform) -> None:
    open_salon(platform.database, 1, {})
    assert learn_intervals(platform).suggested == ()
    assert set(suggested(platform).values()) == {None}


@pytest.mark.parametrize(("days", "colour", "ritual"), [(1, 40, 3), (55, 55, 55), (4000, 70, 365)])
def test_a_suggestion_is_drawn_into_the_range_that_is_sane_for_its_title(
    platform: Platform, days: int, colour: int, ritual: int
) -> None:
    open_salon(platform.database, 1, {CUT: 50})

    def suggest(lacking: pl.DataFrame) -> list[Suggestion]:
        return [Suggestion(row["company_id"], row["service_id"], days, 0.8, row["title"]) for row in lacking.to_dicts()]

    learned = learn_intervals(platform, suggest=suggest)
    assert suggested(platform) == {CUT: None, COLOUR: colour, RITUAL: ritual}
    assert [(one.service_id, one.days, one.reasoning) for one in learned.suggested] == [
        (COLOUR, colour, "Окрашивание"), (RITUAL, ritual, "Stone ritual")
    ]  # fmt: skip
    assert learned.changed == 3
    version = rules_version(platform.database)
    assert learn_intervals(platform, suggest=suggest).changed == 0
    assert rules_version(platform.database) == version


def test_a_suggestion_nobody_asked_for_is_not_taken(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    for company in (1, 2):
        open_salon(platform.database, company, {CUT: 50})
    strange = [Suggestion(1, CUT, 20, 1, ""), Suggestion(2, COLOUR, 60, 1, ""), Suggestion(1, 99, 60, 1, "")]
    assert learn_intervals(platform, [1], lambda _: strange).suggested == ()
    assert suggested(platform)[CUT] is None
    assert suggested(platform, 2)[COLOUR] is None
    assert caplog.text.count("which nobody asked for") == 3


def test_a_suggestion_that_comes_after_a_manual_interval_does_not_enter(platform: Platform) -> None:
    open_salon(platform.database, 1, {})

    def suggest(_: pl.DataFrame) -> Iterator[Suggestion]:
        set_rule(platform.database, 1, COLOUR, manual_interval=66)  # the salon decides while the answer is on its way
        yield Suggestion(1, COLOUR, 60, 0.9, "")

    learn_intervals(platform, suggest=suggest)
    assert suggested(platform)[COLOUR] is None


def test_history_is_learned_even_when_suggesting_fails(platform: Platform, caplog: pytest.LogCaptureFixture) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    set_rule(platform.database, 1, RITUAL, ai_suggested_interval=55)

    def suggest(_: pl.DataFrame) -> list[Suggestion]:
        raise TimeoutError("token=secret")

    learned = learn_intervals(platform, suggest=suggest)
    assert learned.suggested == ()
    assert historical(platform)[CUT] == 40
    assert suggested(platform)[RITUAL] == 55
    assert "no intervals are suggested: TimeoutError" in caplog.text
    assert "secret" not in caplog.text


# ------------------------------------------------------------------------------------------------ months


def test_a_month_begins_at_midnight_of_the_platforms_zone(platform: Platform) -> None:
    assert present_month(platform.calendar) == date(2026, 11, 1)
    assert month_start(platform.calendar, date(2026, 11, 1)) == datetime(2026, 10, 31, 21, tzinfo=UTC)


def test_a_month_that_has_not_begun_is_refused(database_url: str, redis_url: str, tmp_path: Path) -> None:
    midnight = datetime(2026, 11, 30, 21, tzinfo=UTC)
    with platform_at(database_url, redis_url, tmp_path, midnight - timedelta(seconds=1)) as evening:
        assert present_month(evening.calendar) == date(2026, 11, 1)
        with pytest.raises(ValueError, match=r"the month 2026-12 has not begun: it does at 2026-11-30T21:00:00\+00:00"):
            month_start(evening.calendar, date(2026, 12, 1))
    with platform_at(database_url, redis_url, tmp_path, midnight) as night:
        assert month_start(night.calendar, present_month(night.calendar)) == midnight


def test_a_salon_without_clients_learns_nothing(platform: Platform, database: Database) -> None:
    assert learn_intervals(platform).rules == 0
    open_salon(database, 1, {})
    assert learn_intervals(platform, []).rules == 0
    assert learn_intervals(platform, [1]).historical == 0
