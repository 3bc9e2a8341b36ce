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
        (21, "21 день", "21 days"),
        (22, "22 дня", "22 days"),
        (27, "27 дней", "27 days"),
        (28, "4 недели", "4 weeks"),
        (35, "5 недель", "5 weeks"),
        (69, "9 недель", "9 weeks"),
        (70, "2 месяца", "2 months"),
        (92, "3 месяца", "3 months"),
        (365, "12 месяцев", "12 months"),
    ],
)
def test_an_absence_is_told_in_the_unit_that_people_use(days, phrase, english):
    assert days_phrase(days) == phrase
    assert english_days_phrase(days) == english


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
