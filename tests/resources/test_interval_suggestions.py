"""The model suggests intervals where history is short: one question a service, bounded, remembered for a month, never in history's way."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from reactivation_core.intervals import find_seed
from reactivation_resources.interval_suggestions import IntervalSuggestions
from reactivation_resources.platform import Platform
from reactivation_resources.rule_intervals import learn_intervals
from reactivation_sandbox.process import Town
from tests.resources.learning_world import COLOUR, CUT, RITUAL, open_salon, platform_at, rule_columns
from tests.resources.model_world import terms_of


@pytest.fixture
def town(model_town: Town) -> Town:
    return model_town


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    with platform_at(database_url, redis_url, tmp_path) as opened:
        yield opened


def ask(platform: Platform, town: Town, total: int = 10**9) -> IntervalSuggestions:
    return IntervalSuggestions(platform.database, platform.calendar, terms_of(town, total), None)


def suggested(platform: Platform, company: int = 1) -> dict[int, int | None]:
    return rule_columns(platform.database, "ai_suggested_interval", company)


def test_services_without_history_get_an_interval_with_its_reason(platform: Platform, town: Town) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    learned = learn_intervals(platform, suggest=ask(platform, town))
    found = suggested(platform)
    assert found[CUT] is None  # history knows
    assert all(found[service] is not None for service in (COLOUR, RITUAL))
    colour = find_seed("Окрашивание")
    assert colour is not None
    assert colour.low <= found[COLOUR] <= colour.high  # type: ignore[operator]
    assert all(one.reasoning and 0 <= one.confidence <= 1 for one in learned.suggested)
    asked = str(town.questions())
    assert len(town.questions()) == 2
    assert "Окрашивание" in asked
    for secret in ("Salon", "+79", "Europe"):
        assert secret not in asked


def test_an_answer_serves_all_companies_for_thirty_days(platform: Platform, town: Town) -> None:
    for company in (1, 2, 3):
        open_salon(platform.database, company, {})
    learn_intervals(platform, suggest=ask(platform, town))
    first = len(town.questions())
    assert suggested(platform, 1) == suggested(platform, 2) == suggested(platform, 3)
    learn_intervals(platform, suggest=ask(platform, town))
    assert len(town.questions()) == first == len(set(suggested(platform)))
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE model_answers SET at = at - :age"), {"age": timedelta(days=30)})
    learn_intervals(platform, suggest=ask(platform, town))
    assert len(town.questions()) == 2 * first


@pytest.mark.parametrize("kind", ["numbers", "not_json"])
def test_an_answer_that_will_not_do_is_asked_for_once_more_and_then_given_up(
    platform: Platform, town: Town, kind: str
) -> None:
    town.model(misbehave=1, kinds=[kind])
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 50})
    learn_intervals(platform, suggest=ask(platform, town))
    assert set(suggested(platform).values()) == {None}
    first, second = town.questions()
    assert len(second["contents"]) == 3
    assert len(first["contents"]) == 1
    with platform.database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM model_rejections")).scalar_one() == 2


def test_a_title_that_is_none_is_not_asked_about(platform: Platform, town: Town) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 50})
    with platform.database.begin() as connection:
        connection.execute(text("UPDATE services SET title = 'Скидка 50% на всё'"))
    learn_intervals(platform, suggest=ask(platform, town))
    assert town.questions() == []


def test_without_money_nothing_is_asked_and_history_is_learned(platform: Platform, town: Town) -> None:
    open_salon(platform.database, 1, {CUT: 50})
    assert learn_intervals(platform, suggest=ask(platform, town, total=0)).historical == 1
    assert town.questions() == []


def test_a_model_that_is_gone_is_asked_again_next_time(platform: Platform, town: Town) -> None:
    open_salon(platform.database, 1, {CUT: 50, COLOUR: 50})
    town.model(misbehave=1, kinds=["cut"])
    learn_intervals(platform, suggest=ask(platform, town))
    assert suggested(platform)[RITUAL] is None
    town.model(misbehave=0)
    learn_intervals(platform, suggest=ask(platform, town))
    assert suggested(platform)[RITUAL] is not None


def test_the_platform_suggests_only_with_a_key(platform: Platform, town: Town) -> None:
    assert platform.interval_suggestions is None
    keyed = platform.settings.model_copy(
        update={"gemini_api_key": SecretStr(town.gemini_key), "gemini_base_url": town.gemini_url}
    )
    opened = Platform(keyed, platform.clock, platform.urls)
    assert opened.interval_suggestions is not None
    assert opened.model_terms is not None
    assert opened.model_terms.access.model == "gemini-3.5-flash-lite"
    opened.close()
