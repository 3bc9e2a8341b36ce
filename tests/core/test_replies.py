import string
import time
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactivation_core.replies import OfferedSlot, classify, is_clear_opt_out

TODAY = date(2026, 11, 22)
ZONE = ZoneInfo("Europe/Moscow")
ANNA, MARINA = "Анна Смирнова", "Марина Котова"
STAFF = (ANNA, MARINA, "Ольга Петрова")
TITLES = ("Женская стрижка", "Мужская стрижка", "Маникюр", "Окрашивание волос")
OFFERED = (
    OfferedSlot(datetime(2026, 11, 26, 18, 30, tzinfo=ZONE), ANNA, "Женская стрижка"),
    OfferedSlot(datetime(2026, 11, 27, 11, 0, tzinfo=ZONE), ANNA, "Женская стрижка"),
    OfferedSlot(datetime(2026, 11, 28, 14, 0, tzinfo=ZONE), MARINA, "Женская стрижка"),
)
GOLDEN = [
    tuple((line + "\t\t").split("\t")[:4])
    for line in (Path(__file__).parent / "golden" / "replies.tsv").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def read(text: str):
    return classify(text, offered=OFFERED, today=TODAY, staff_names=STAFF, service_titles=TITLES)


@pytest.mark.parametrize(("intent", "detail", "text", "_rest"), GOLDEN)
def test_each_labelled_reply_is_read_as_labelled(intent, detail, text, _rest):
    found = read(text)
    assert found.intent == intent
    if detail:
        number = str(OFFERED.index(found.slot) + 1) if found.slot else None
        assert detail == str(number or found.pause_until or found.staff or found.service or "-")


def test_the_labelled_set_is_large_enough_to_mean_something():
    cyrillic = [text for _, _, text, _ in GOLDEN if any("а" <= letter <= "я" for letter in text.lower())]
    assert len(cyrillic) >= 150
    assert len(GOLDEN) - len(cyrillic) >= 25


def test_the_deciding_layer_is_recorded():
    assert read("да").layer == "rule"
    assert read("Ой, прям бегу").layer == "none"
    assert read("стоп").stop
    assert not read("нет, спасибо").stop


def test_a_bare_yes_takes_the_slot_only_when_one_was_offered():
    assert classify("да", offered=OFFERED[:1], today=TODAY).slot == OFFERED[0]
    assert classify("да", offered=OFFERED, today=TODAY).slot is None


def test_the_same_words_without_offered_slots_ask_for_another_time():
    assert classify("не хочу утром, лучше вечером", today=TODAY).time_of_day == "evening"
    assert classify("давайте в пятницу", today=TODAY).weekday == 5
    assert classify("бороду не надо, только стрижку", today=TODAY).intent == "other_service"


@pytest.mark.parametrize(
    ("text", "today", "until"),
    [
        ("в отпуске до 15", date(2026, 11, 10), date(2026, 11, 15)),
        ("в отпуске до 15", date(2026, 11, 15), date(2026, 11, 15)),
        ("в отпуске до 31", date(2026, 2, 1), date(2026, 3, 31)),
        ("через месяц", date(2027, 1, 31), date(2027, 2, 28)),
        ("напишите в ноябре", date(2026, 11, 22), date(2026, 11, 22)),
        ("в отпуске до 29 февраля", date(2028, 2, 1), date(2028, 2, 29)),
    ],
)
def test_a_pause_ends_on_the_next_such_day(text, today, until):
    assert classify(text, today=today).pause_until == until


def test_a_pause_until_a_day_that_does_not_exist_is_left_to_others():
    assert classify("в отпуске до 30 февраля", today=TODAY).intent == "unclear"
    assert classify("через 999 месяцев", today=TODAY).intent == "unclear"


def test_a_naive_offered_slot_is_refused():
    with pytest.raises(ValueError, match="aware"):
        OfferedSlot(datetime(2026, 11, 26, 18, 30))  # noqa: DTZ001


def test_a_numbered_stylist_is_found_by_the_whole_name():
    found = classify("with Stylist 2 please", today=TODAY, staff_names=["Stylist 1", "Stylist 2"])
    assert (found.intent, found.staff) == ("other_staff", "Stylist 2")


STOPS = [text for intent, _, text, _ in GOLDEN if intent == "opt_out"]
PUNCTUATION = st.text(alphabet="!.,;:… \n\t\u200b\u200f🙏❤😀👍", max_size=6)


@given(st.sampled_from(STOPS), PUNCTUATION, PUNCTUATION, st.sampled_from([str.upper, str.lower, str.title]))
def test_an_opt_out_survives_punctuation_case_and_emoji(text, before, after, case):
    assert is_clear_opt_out(before + case(text) + after)


@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from([g[2] for g in GOLDEN]), max_size=3).map(" ".join)))
def test_any_text_is_classified_and_agrees_with_the_fast_check(text):
    found = read(text)
    assert found.stop == is_clear_opt_out(text) == (found.intent == "opt_out")
    assert found == read(text)


WORDS = ["да", "ок", "можно", "хорошо", "нет", "стоп", "спам", "давайте", "хватит", "yes", "stop", "no"]


@given(
    st.sampled_from(WORDS),
    st.text(alphabet="гжцщъэ", min_size=1, max_size=3),
    st.sampled_from(["front", "back", "both"]),
)
def test_a_word_inside_a_word_matches_nothing(word, letters, side):
    text = (letters if side != "back" else "") + word + (letters if side != "front" else "")
    assert read(text).intent == "unclear"


@pytest.mark.parametrize(
    "text",
    [
        "а" * 10_000,
        "не " * 4_000,
        "стоп" + "\u200b" * 10_000 + "да",
        "🛑" * 10_000,
        "😀" * 10_000,
        "не пишите " * 1_000,
        "18:30 " * 2_000,
        "﷽" * 10_000,
        "в " * 60,
        "с т " * 3_000,
        "\u202eпотс",
        "{name} %s \x00",
        "§1§ ¤0¤",
    ],
)
def test_hostile_text_takes_bounded_time(text):
    read("привет, Анна")
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 0.25


def test_the_fast_check_is_fast():
    text = "Здравствуйте! Не хочу утром, лучше вечером, после работы, если есть время у Анны."
    is_clear_opt_out(text)
    start = time.process_time()
    for _ in range(200):
        is_clear_opt_out(text)
    assert (time.process_time() - start) / 200 < 0.001


@settings(max_examples=30)
@given(st.text(alphabet=string.printable + "стопдаЁй🛑", max_size=10_000))
def test_the_fast_check_never_raises(text):
    is_clear_opt_out(text)


def test_received_instants_in_utc_offer_the_same_slot():
    utc = OfferedSlot(datetime(2026, 11, 26, 18, 30, tzinfo=ZONE).astimezone(UTC).astimezone(ZONE), ANNA)
    assert classify("18:30", offered=[utc], today=TODAY).slot == utc
