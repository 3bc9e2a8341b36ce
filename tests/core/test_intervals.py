import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.intervals import (
    SEEDS,
    active_interval,
    active_interval_source,
    default_interval,
    due_after,
    find_seed,
    rhythm_days,
    suggestion_range,
)


@pytest.mark.parametrize(
    ("title", "business", "days"),
    [
        ("Мужская стрижка", "beauty", 28),
        ("Женская стрижка", "beauty", 40),
        ("Women's hair cut", "beauty", 40),
        ("Men's hair cut", "beauty", 28),
        ("Стрижка", "beauty", 28),
        ("Стрижка", "barbershop", 21),
        ("Балаяж", "beauty", 90),
        ("Маникюр с покрытием гель-лак", "beauty", 21),
        ("Маникюр классический", "beauty", 14),
        ("Маникюр", "beauty", 21),
        ("Педикюр", "beauty", 30),
        ("Моделирование бороды", "barbershop", 21),
        ("Стрижка для мужчин", "barbershop", 28),
        ("Стрижка (жен.)", "beauty", 40),
        ("Facial", "beauty", 28),
        ("Чистка лица", "beauty", 28),
        ("Facial massage", "beauty", 14),
        ("Массаж лица", "beauty", 14),
        ("Пилинг", "beauty", 21),
        ("Шугаринг ног", "beauty", 35),
        ("Эпиляция бикини", "beauty", 28),
        ("Депиляция подмышек", "beauty", 21),
        ("Наращивание волос", "beauty", 60),
        ("Ботокс для волос", "beauty", 45),
        ("Профессиональная чистка зубов", "dental", 180),
        ("Отбеливание ZOOM", "dental", 180),
        ("Осмотр", "dental", 180),
        ("Check-up", "dental", 180),
        ("Чистка зубов", "beauty", 30),
        ("Персональная тренировка", "fitness", 7),
        ("Аренда зала", "fitness", 30),
        ("Консультация", "other", 30),
    ],
)
def test_titles_find_their_usual_interval(title: str, business: str, days: int):
    assert default_interval(title, business) == days


def test_words_match_whole():
    assert find_seed("Womens haircut").days == 40  # type: ignore[union-attr] - "men" is inside "womens"
    assert find_seed("Executive package") is None  # "cut" is inside "executive"
    assert find_seed("Удаление бородавок") is None  # a wart begins like a beard
    assert find_seed("Эпиляция и дизайн ногтей") is None  # a nail begins like a leg
    assert find_seed("Чистка лицевой маски") is None


def test_a_seed_lies_within_its_own_range():
    seed = find_seed("Balayage")
    assert seed is not None
    assert (seed.low, seed.days, seed.high) == (70, 90, 120)


@pytest.mark.parametrize(
    ("manual", "historical", "ai", "expected"),
    [
        (10, 20, 30, (10, "manual")),
        (None, 20, 30, (20, "historical")),
        (None, None, 30, (30, "ai")),
        (None, None, None, (40, "default")),
    ],
)
def test_the_best_source_of_an_interval_wins(
    manual: int | None, historical: int | None, ai: int | None, expected: tuple[int, str]
):
    rule = pl.DataFrame(
        {"manual_interval": manual, "calculated_avg_interval": historical, "ai_suggested_interval": ai, "default_interval": 40}
    )  # fmt: skip
    assert rule.select(active_interval().alias("days"), active_interval_source().alias("source")).row(0) == expected


def test_a_suggestion_stays_in_the_usual_range_of_its_title():
    assert suggestion_range("Балаяж") == (70, 120)
    assert suggestion_range("Stone ritual") == (3, 365)
    assert all(seed.low <= seed.days <= seed.high for seed in SEEDS)


def threshold(own: float | None, gaps: int, interval: int, factor: float) -> tuple[float | None, int]:
    row = pl.DataFrame(
        {"own": [own], "gaps": [gaps], "interval": [interval], "factor": [factor]}, schema_overrides={"own": pl.Float64}
    )
    rhythm = row.select(rhythm_days(pl.col("own"), pl.col("gaps"), pl.col("interval")).alias("rhythm"))["rhythm"]
    after = row.with_columns(rhythm).select(due_after(pl.col("interval"), pl.col("rhythm"), pl.col("factor"))).item()
    return rhythm.item(), after


def test_a_rhythm_is_shrunk_to_the_interval_by_hand():
    assert threshold(20.0, 2, 30, 1.5) == (26.0, 39)  # (2*20 + 3*30) / 5 = 26; 1.5 * 26 = 39
    assert threshold(10.0, 5, 30, 1.5) == (17.5, 30)  # 26.25 is below the interval


def test_binary_fractions_do_not_add_a_day():
    assert threshold(28.0, 3, 28, 1.1) == (28.0, 31)  # 30.8
    assert threshold(30.0, 3, 30, 1.1) == (30.0, 33)  # 33.00000000000000x


@given(own=st.floats(1, 400), gaps=st.integers(2, 5), interval=st.integers(1, 365))
def test_no_rhythm_makes_anyone_due_before_the_interval(own: float, gaps: int, interval: int):
    assert threshold(own, gaps, interval, 1.5)[1] >= interval
    assert threshold(own, gaps, interval, 0.0)[1] == interval
    assert threshold(None, 1, interval, 1.5) == (None, interval)
