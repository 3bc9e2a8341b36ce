"""A template becomes a text: facts worded, filled once, in the right case, never cut."""

from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.message_facts import STAGE_LIMITS, MessageFacts, SlotFact, stage_of
from reactivation_core.message_rules import judge_message
from reactivation_core.message_templates import own_book, template_message
from reactivation_core.messages import OPT_OUT_LINE, case_before, render

ZONE = ZoneInfo("Europe/Moscow")
# The first is the longest date that Russian has.
SLOTS = (
    SlotFact(datetime(2026, 9, 27, 20, 45, tzinfo=ZONE)),
    SlotFact(datetime(2026, 11, 26, 18, 30, tzinfo=ZONE), "Анна Смирнова"),
    SlotFact(datetime(2026, 12, 1, 11, 0, tzinfo=ZONE)),
)
FACTS = MessageFacts(
    "Анна", "Женская стрижка", None, 50, 10, SLOTS[1:2], "beauty", "friendly", "ru", first_contact=True
)


def text_of(stage, tone, number, language="ru", business=""):
    return own_book(language).templates[stage, tone, business][number].text


def test_a_message_by_hand():
    assert render(text_of("offer", "friendly", 0), FACTS) == (
        "Анна, здравствуйте! Вы были у нас больше полутора месяцев назад («Женская стрижка»). Дарим скидку 10%. "
        "Свободно в четверг, 26 ноября, в 18:30. Записать вас на процедуру? 😊\n"
        "Не хотите сообщений — ответьте «стоп»."
    )


def test_a_message_without_optional_facts_by_hand():
    bare = MessageFacts("", "", None, 22, business_type="dental", tone="casual", first_contact=False)
    assert render(text_of("gentle", "casual", 0), bare) == "Привет! Виделись три недели назад. Записать? 😉"


def test_an_english_message_by_hand():
    facts = replace(FACTS, name="Quinn", service_title="Balayage", days_inactive=80, staff_name="Stella", language="en")
    assert render(text_of("win_back", "friendly", 1, "en"), facts) == (
        "Hello Quinn! Your last visit was almost three months ago (Balayage). Time to treat yourself? Stella is in. You have 10% off your "
        "next visit. Free: Thursday, November 26, at 6:30 PM. Which time may we book for you? ✨\nReply STOP to opt out."
    )


def test_two_slots_of_a_day_name_the_day_once():
    same = (SLOTS[1], replace(SLOTS[1], starts_local=datetime(2026, 11, 26, 19, 0, tzinfo=ZONE)), SLOTS[2])
    facts = replace(FACTS, slots=same, days_inactive=200)
    text = render(
        "Здравствуйте, {name}! Вы были у нас {days_phrase} назад. Есть время {slots}. Скидка {discount}%. Записать вас? 😊",
        facts,
    )
    assert "в четверг, 26 ноября, в 18:30; в 19:00 или во вторник, 1 декабря, в 11:00" in text
    assert judge_message(text, facts) == []
    english = render("Hi {name}! {days_phrase}. {slots} {discount}% 😊", replace(facts, language="en", slots=same[:2]))
    assert "Thursday, November 26, at 6:30 PM or at 7:00 PM" in english


def test_a_fact_that_begins_a_sentence_has_a_capital():
    text = render(
        "Здравствуйте, {name}! {days_phrase} назад вы были у нас. Записать вас? 😊", replace(FACTS, days_inactive=61)
    )
    assert "! Два месяца назад" in text


@pytest.mark.parametrize(
    ("days", "stage"), [(0, "gentle"), (44, "gentle"), (45, "offer"), (74, "offer"), (75, "win_back")]
)
def test_the_stage_follows_the_days(days, stage):
    assert stage_of(days) == stage


def test_fewer_slots_are_offered_when_all_do_not_fit():
    text = render(text_of("gentle", "friendly", 0), replace(FACTS, days_inactive=30, slots=SLOTS))
    assert "27 сентября" in text
    assert "1 декабря" not in text


def test_a_text_that_cannot_fit_is_refused_and_not_cut():
    with pytest.raises(ValueError, match="exceeds 200"):
        render("{name}, " + "очень " * 40 + "ждём {slots}. Запишем? 😊", FACTS)


def test_a_template_that_needs_a_missing_fact_is_refused():
    with pytest.raises(ValueError, match="slots"):
        render("{name}, есть время {slots}. Записать? 😊", replace(FACTS, slots=()))
    with pytest.raises(ValueError, match="phone"):
        render("{name}, ваш телефон {phone}?", FACTS)
    with pytest.raises(ValueError, match="placeholder"):
        render("{}, записать?", FACTS)


@pytest.mark.parametrize(
    ("before", "case"),
    [
        ("Есть время у ", "gent"),
        ("Можно к ", "datv"),
        ("Приходите к мастеру ", "datv"),
        ("Запишем с ", "ablt"),
        ("Ваш мастер ", "nomn"),
        ("Вас ждёт ", "nomn"),
        ("Запишем вас со стилистом ", "ablt"),
        ("", "nomn"),
        ("Ваш мастер — ", "nomn"),
    ],
)
def test_a_name_takes_the_case_of_the_word_before_it(before, case):
    assert case_before(before) == case


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Ольга Петрова", "к Ольге"),
        ("Илья", "к Илье"),
        ("Рустам", "к Рустаму"),
        ("Айгуль", "к Айгуль"),
        ("Никита", "к Никите"),
    ],
)
def test_staff_are_declined(name, said):
    text = render("[{name}, ]здравствуйте! Можно к {staff}. Записать? 😊", replace(FACTS, staff_name=name))
    assert f"Можно {said}." in text


def test_a_name_without_known_cases_is_not_declined_by_guess():
    foreign = replace(FACTS, staff_name="Kate")
    with pytest.raises(ValueError, match="case"):
        render("Можно к {staff}. Записать? 😊", foreign)
    assert render(
        "Здравствуйте![ Можно к {staff}.][ Принимает {staff}.] Записать? 😊", replace(foreign, first_contact=False)
    ) == ("Здравствуйте! Принимает Kate. Записать? 😊")


def test_a_filled_name_is_never_read_as_a_placeholder():
    odd = replace(FACTS, name="Анна", salon="{slots}", service_title="{name}")
    assert "{" not in render(text_of("offer", "friendly", 0), odd)


@given(
    st.text(max_size=400),
    st.text(max_size=100),
    st.text(max_size=60),
    st.integers(0, 4000),
    st.sampled_from(["ru", "en"]),
    st.sampled_from(["friendly", "professional", "casual"]),
    st.integers(1, 5),
)
def test_no_name_or_title_can_break_a_message(name, service, staff, days, language, tone, attempt):
    facts = MessageFacts(name, service, staff, days, 10, SLOTS, tone=tone, language=language, salon=staff)
    text = template_message(facts, name, attempt).text
    body = text.split("\n")[0]
    assert len(body) <= STAGE_LIMITS[stage_of(days)]
    assert text == f"{body}\n{OPT_OUT_LINE[language]}"
    assert not set(body) & set("{}[]*<>\x00\u202e")
    assert "://" not in body
    assert judge_message(text, facts) == []


def test_a_naive_slot_is_refused():
    with pytest.raises(ValueError, match="aware"):
        SlotFact(datetime(2026, 11, 26) + timedelta(hours=18))  # noqa: DTZ001
