from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.message_templates import BUSINESS_WORDS, ENGLISH, OPT_OUT_LINE, RUSSIAN
from reactivation_core.messages import (
    STAGE_LIMITS,
    MessageFacts,
    SlotFact,
    clean_name,
    fallback_message,
    render,
    stage_of,
    validate_message,
)

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
DAYS = {"gentle": (1, 44), "offer": (45, 74), "win_back": (75, 365)}
ALL = [(stage, tone, "ru", text) for (stage, tone), texts in RUSSIAN.items() for text in texts] + [
    (stage, "friendly", "en", text) for stage, texts in ENGLISH.items() for text in texts
]


def test_every_stage_and_tone_has_templates():
    assert set(RUSSIAN) == set(product(DAYS, ("friendly", "professional", "casual")))
    assert all(len(set(texts)) >= 4 for texts in RUSSIAN.values())
    assert all(len(set(ENGLISH[stage])) >= 2 for stage in DAYS)
    assert len({text for *_, text in ALL}) == len(ALL)


@pytest.mark.parametrize(("stage", "tone", "language", "template"), ALL)
def test_every_template_passes_the_validator_with_any_facts(stage, tone, language, template):
    names = ("Анна", "", "Александра Константинопольская", "Qwertyuiopasdfghjklz")
    for days, count, discount, name, staff, service in product(
        DAYS[stage],
        range(4),
        (0, 100),
        names,
        (None, "Очень Длинноимённая Мастерица"),
        ("Стрижка", "Ж" * 40),
    ):
        facts = MessageFacts(name, service, staff, days, discount, SLOTS[:count], "fitness", tone, language, count != 1)
        text = render(template, facts)
        assert validate_message(text, facts) == [], text
        assert not any(flaw in text for flaw in ("  ", " ,", " .", "()", "«»", "..", ":.", "—.", "None")), text
        assert text[0].isupper()


def test_a_message_by_hand():
    text = render(RUSSIAN["offer", "friendly"][0], FACTS)
    assert text == (
        "Анна, здравствуйте! Вы были у нас 7 недель назад («Женская стрижка»), самое время обновиться. Дарим скидку 10%. "
        "Свободно в четверг, 26 ноября, в 18:30. Записать вас на процедуру? 😊\n"
        "Не хотите сообщений — ответьте «стоп»."
    )


def test_a_message_without_optional_facts_by_hand():
    bare = MessageFacts("", "", None, 22, business_type="dental", tone="casual", first_contact=False)
    assert render(RUSSIAN["gentle", "casual"][0], bare) == "Привет! Виделись 22 дня назад. Записать? 😉"


def test_an_english_message_by_hand():
    facts = replace(
        FACTS, name="Quinn", service_title="Balayage", days_inactive=80, staff_name="Stylist 2", language="en"
    )
    assert render(ENGLISH["win_back"][1], facts) == (
        "Hello Quinn! Your last visit was 3 months ago (Balayage). Time for a treat? Stylist 2 is in. You have 10% off your next "
        "visit. Free: Thursday, November 26, at 6:30 PM. Which time may we book for you? ✨\nReply STOP to opt out."
    )


@pytest.mark.parametrize(
    ("days", "stage"), [(0, "gentle"), (44, "gentle"), (45, "offer"), (74, "offer"), (75, "win_back")]
)
def test_the_stage_follows_the_days(days, stage):
    assert stage_of(days) == stage


def test_fewer_slots_are_offered_when_all_do_not_fit():
    text = render(RUSSIAN["gentle", "friendly"][0], replace(FACTS, days_inactive=30, slots=SLOTS))
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


def test_neighbours_get_different_texts_and_a_rerun_the_same():
    texts = [fallback_message(FACTS, f"962302:{client}") for client in range(400)]
    counts = Counter(text.template_id for text in texts)
    assert set(counts) == {f"ru/offer/friendly/{number}" for number in range(4)}
    assert min(counts.values()) > 60
    assert texts == [fallback_message(FACTS, f"962302:{client}") for client in range(400)]


def test_the_stored_template_holds_no_name():
    found = fallback_message(replace(FACTS, name="Евлампия"), "1:1")
    assert "{name}" in found.text_template
    assert "Евлампия" not in found.text_template
    assert "Евлампия" in found.text
    assert found.text == render(found.text_template, replace(FACTS, name="Евлампия"))


def test_unknown_tone_language_and_business_have_defaults():
    found = fallback_message(replace(FACTS, tone="pirate", language="xx", business_type="circus"), "1:1")
    assert found.template_id.startswith("ru/offer/friendly/")
    assert set(BUSINESS_WORDS) == {"beauty", "barbershop", "dental", "fitness", "other"}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Анна", "Анна"),
        ("анна", "Анна"),
        ("АННА ИВАНОВА", "Анна"),
        ("Иванова Анна", "Анна"),
        ("Анна 8916 000-00-00 VIP", "Анна"),
        ("Мария-Луиза", "Мария-Луиза"),
        ("O'Brien", "O'Brien"),
        ("Kim", "Kim"),
        ("Анна😊", "Анна"),
        ("Ан\u200bна\n\r\x00", "Анна"),
        ("Клиент", ""),
        ("", ""),
        ("   ", ""),
        ("12345", ""),
        ("http://evil.example/x", ""),
        ("www.evil.ru", ""),
        ("anna@mail.ru", ""),
        ("Ы" * 300, ""),
        ("{slots}", "Slots"),
        ("%s%n", ""),
    ],
)
def test_a_name_from_the_crm_becomes_a_first_name_or_nothing(raw, name):
    assert clean_name(raw) == name


@given(
    st.text(max_size=400),
    st.text(max_size=100),
    st.text(max_size=60),
    st.integers(0, 4000),
    st.sampled_from(["ru", "en"]),
)
def test_no_name_or_title_can_break_a_message(name, service, staff, days, language):
    facts = MessageFacts(name, service, staff, days, 10, SLOTS, language=language)
    text = fallback_message(facts, name).text
    body = text.split("\n")[0]
    assert len(body) <= STAGE_LIMITS[stage_of(days)]
    assert text == f"{body}\n{OPT_OUT_LINE[language]}"
    assert not set(body) & set("{}[]*<>\x00\u202e")
    assert "://" not in body
    assert validate_message(text, facts) == []


def complaint_about(text, **changes):
    return " ".join(validate_message(text, replace(FACTS, **({"first_contact": False} | changes))))


GOOD = "Анна, здравствуйте! Вы были у нас 7 недель назад. Скидка 10%. Есть время в четверг, 26 ноября, в 18:30. Записать вас? 😊"


def test_a_good_text_has_no_complaints():
    assert complaint_about(GOOD) == ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (GOOD.replace("Анна", "{name}"), "placeholder"),
        (GOOD.replace("7 недель", "9 недель"), "number"),
        (GOOD.replace("18:30", "18:00"), "number"),
        (GOOD.replace("10%", "20%"), "discount"),
        ("Anna, hello! Анна, 10% в четверг, 26 ноября, в 18:30. Please come back soon and book? 😊", "alphabet"),
        (GOOD.replace("Записать", "Очень " * 20 + "ждём, записать"), "longer than 200"),
        (GOOD.replace(" 😊", ""), "emoji"),
        (GOOD.replace("😊", "😊😊😊"), "emoji"),
        (GOOD.replace("Есть", "Хотим вернуть вас. Есть"), "must not be said"),
        (GOOD.replace("Есть", "Это реактивация. Есть"), "must not be said"),
        (GOOD.replace("Есть", "Извините за беспокойство. Есть"), "must not be said"),
        (GOOD.replace("Есть", "Сайт salon.ru Есть"), "link"),
        (GOOD.replace("Есть", "https://t.me/x Есть"), "link"),
        (GOOD.replace("Скидка", "*Скидка*"), "markup"),
        ("Конечно, вот сообщение: " + GOOD, "preamble"),
        ('"' + GOOD + '"', "preamble"),
        (GOOD.replace("Анна", "Ольга"), "by name"),
        (GOOD.replace("Есть время в четверг, 26 ноября, в 18:30. ", ""), "slots"),
        (GOOD.replace("Записать вас?", "Хорошего дня!"), "call to book"),
    ],
)
def test_each_flaw_is_named(text, complaint):
    assert complaint in complaint_about(text)


def test_a_discount_that_was_not_given_may_not_be_mentioned():
    assert "discount" in complaint_about(GOOD.replace("10%", "большая"), discount_percent=0)


def test_the_first_contact_says_how_to_stop():
    assert "how to stop" in complaint_about(GOOD, first_contact=True)
    assert complaint_about(f"{GOOD}\n{OPT_OUT_LINE['ru']}", first_contact=True) == ""


def test_a_gentle_text_does_not_press():
    text = GOOD.replace("7 недель", "4 недели").replace("Скидка 10%", "Скучаем, 10%")
    assert "presses" in complaint_about(text, days_inactive=28)


def test_a_naive_slot_is_refused():
    with pytest.raises(ValueError, match="aware"):
        SlotFact(datetime(2026, 11, 26) + timedelta(hours=18))  # noqa: DTZ001
