from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.russian import counted, days_phrase, either, english_days_phrase, english_when, plural, when

ZONE = ZoneInfo("Europe/Moscow")


@pytest.mark.parametrize(
    ("count", "phrase"),
    [
        (0, "0 дней"),
        (1, "1 день"),
        (2, "2 дня"),
        (5, "5 дней"),
        (11, "11 дней"),
        (14, "14 дней"),
        (21, "21 день"),
        (22, "22 дня"),
        (25, "25 дней"),
        (101, "101 день"),
        (111, "111 дней"),
        (112, "112 дней"),
        (124, "124 дня"),
    ],
)
def test_the_noun_agrees_with_the_count(count, phrase):
    assert counted(count, "день", "дня", "дней") == phrase


@pytest.mark.parametrize(
    ("days", "phrase", "english"),
    [
        (0, "0 дней", "0 days"),
        (1, "1 день", "1 day"),
        (2, "2 дня", "2 days"),
        (11, "11 дней", "11 days"),
        (12, "две недели", "two weeks"),
        (17, "больше двух недель", "more than two weeks"),
        (21, "три недели", "three weeks"),
        (27, "почти месяц", "almost a month"),
        (30, "месяц", "a month"),
        (45, "полтора месяца", "a month and a half"),
        (55, "почти два месяца", "almost two months"),
        (61, "два месяца", "two months"),
        (70, "больше двух месяцев", "more than two months"),
        (91, "три месяца", "three months"),
        (180, "полгода", "half a year"),
        (195, "больше полугода", "more than half a year"),
        (340, "одиннадцать месяцев", "eleven months"),
        (365, "год", "a year"),
        (400, "больше года", "more than a year"),
        (5000, "больше пяти лет", "more than five years"),
    ],
)
def test_an_absence_is_told_in_the_unit_that_people_use(days, phrase, english):
    assert days_phrase(days) == phrase
    assert english_days_phrase(days) == english


MEANT = {
    "двух недель": 14, "две недели": 14, "трёх недель": 21, "три недели": 21, "месяца": 30, "месяц": 30, "полутора месяцев": 46, "полтора месяца": 46,
    "двух месяцев": 61, "два месяца": 61, "трёх месяцев": 91, "три месяца": 91, "четырёх месяцев": 122, "четыре месяца": 122, "пяти месяцев": 152,
    "пять месяцев": 152, "полугода": 183, "полгода": 183, "семи месяцев": 213, "семь месяцев": 213, "восьми месяцев": 244, "восемь месяцев": 244,
    "девяти месяцев": 274, "девять месяцев": 274, "десяти месяцев": 304, "десять месяцев": 304, "одиннадцати месяцев": 335,
    "одиннадцать месяцев": 335, "года": 365, "год": 365, "полутора лет": 548, "полтора года": 548, "двух лет": 730, "два года": 730,
}  # fmt: skip


@given(st.integers(12, 900))
def test_the_words_are_true(days):
    """Whoever reads them back is off by little, and "almost" and "more than" are on the right side."""
    side, _, rest = days_phrase(days).partition(" ")
    words = rest if side in {"почти", "больше"} else days_phrase(days)
    meant = MEANT[words]
    assert abs(days - meant) <= 0.3 * meant
    assert {"почти": days < meant, "больше": days > meant}.get(side, abs(days - meant) <= 10)


@pytest.mark.parametrize("phrase", [days_phrase, english_days_phrase])
def test_a_negative_absence_is_refused(phrase):
    with pytest.raises(ValueError, match="days"):
        phrase(-1)


@pytest.mark.parametrize(
    ("local", "phrase", "english"),
    [
        (
            datetime(2026, 11, 26, 18, 30, tzinfo=ZONE),
            "в четверг, 26 ноября, в 18:30",
            "Thursday, November 26, at 6:30 PM",
        ),
        (datetime(2026, 12, 1, 9, 0, tzinfo=ZONE), "во вторник, 1 декабря, в 9:00", "Tuesday, December 1, at 9:00 AM"),
        (datetime(2027, 5, 12, 12, 5, tzinfo=ZONE), "в среду, 12 мая, в 12:05", "Wednesday, May 12, at 12:05 PM"),
        (datetime(2027, 1, 3, 0, 0, tzinfo=ZONE), "в воскресенье, 3 января, в 0:00", "Sunday, January 3, at 12:00 AM"),
    ],
)
def test_a_date_is_absolute(local, phrase, english):
    assert when(local) == phrase
    assert english_when(local) == english


def test_alternatives_are_joined_with_the_conjunction_before_the_last():
    assert either([]) == ""
    assert either(["а"]) == "а"
    assert either(["а", "б"]) == "а или б"
    assert either(["a", "b", "c"], "or") == "a; b or c"


@given(st.integers(0, 10**6))
def test_the_form_repeats_every_hundred(count):
    assert plural(count, "1", "2", "5") == plural(count + 100, "1", "2", "5")
