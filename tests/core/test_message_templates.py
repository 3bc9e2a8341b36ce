"""The texts that people wrote: their files, the choice among them, and the checks that a salon person relies on."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product

import pytest

from reactivation_core.message_facts import BUSINESSES, STAGES, TONES, MessageFacts
from reactivation_core.message_templates import (
    ENOUGH,
    TemplateFileError,
    lint,
    own_book,
    own_source,
    parse,
    template_message,
    template_messages,
)
from reactivation_core.messages import BUSINESS_WORDS, render

FACTS = MessageFacts("Анна", "Женская стрижка", None, 50, 10, business_type="beauty")


@pytest.mark.parametrize("language", ["ru", "en"])
def test_the_products_texts_have_no_flaw(language):
    assert lint(own_book(language)) == []


@pytest.mark.parametrize(
    ("language", "stage", "tone", "business"), list(product(["ru", "en"], STAGES, TONES, BUSINESSES))
)
def test_every_client_has_four_texts_to_choose_from(language, stage, tone, business):
    texts = own_book(language).of(stage, tone, business)
    assert len({one.text for one in texts}) >= ENOUGH == 4


def test_trades_whose_words_differ_have_texts_of_their_own():
    book = own_book("ru")
    for business, word in (("barbershop", "стриж"), ("dental", "визит"), ("fitness", "трен")):
        own = [one.text.lower() for heading, texts in book.templates.items() if heading[2] == business for one in texts]
        assert sum(word in text for text in own) > len(own) / 3
    assert set(BUSINESS_WORDS) == set(BUSINESSES)


def test_neighbours_get_different_texts_and_a_rerun_the_same():
    texts = [template_message(FACTS, f"962302:{client}") for client in range(400)]
    counts = Counter(text.template_id for text in texts)
    assert set(counts) == {f"ru/offer/friendly/{number}" for number in range(4)}
    assert min(counts.values()) > 60
    assert texts == [template_message(FACTS, f"962302:{client}") for client in range(400)]


def test_a_client_never_reads_the_same_twice_in_a_row():
    for client in range(50):
        key = f"1:{client}"
        texts = [template_message(FACTS, key, attempt).text_template for attempt in range(1, 9)]
        assert all(one != following for one, following in pairwise(texts))
        said = texts[0]
        assert template_message(replace(FACTS, previous=said), key).text_template != said


def test_a_text_that_cannot_hold_the_facts_is_passed_over():
    long = "[{name}, ]здравствуйте! " + "Мы очень рады. " * 20 + "Вы были у нас {days_phrase} назад. Записать вас? 😊"
    source = own_source("ru").replace("== offer, friendly ==\n", f"== offer, friendly ==\n{long}\n")
    book = parse(source, "ru")
    ids = {template_message(FACTS, f"1:{client}", book=book).template_id for client in range(60)}
    assert "ru/offer/friendly/0" not in ids
    assert len(list(template_messages(FACTS, "1:1", book=book))) == 4


def test_the_stored_template_holds_no_name():
    found = template_message(replace(FACTS, name="Евлампия"), "1:1")
    assert "{name}" in found.text_template
    assert "Евлампия" not in found.text_template
    assert "Евлампия" in found.text
    assert found.text == render(found.text_template, replace(FACTS, name="Евлампия"))


def test_unknown_tone_language_and_business_have_defaults():
    found = template_message(replace(FACTS, tone="pirate", language="xx", business_type="circus"), "1:1")
    assert found.template_id.startswith("ru/offer/friendly/")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад. Записать вас?", "emoji"),
        ("[{name}, ]здравствуйте! Вы были у нас давно. Записать вас? 😊", "days_missing"),
        ("{name}, здравствуйте! Вы были у нас {days_phrase} назад. Записать вас? 😊", "not always known"),
        ("[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад. Ваш {phone}. Записать вас? 😊", "no placeholder"),
        ("[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад[. Записать вас? 😊", "bracket"),
        ("[{name}, ]здравствуйте! Вы не были у нас {days_phrase}. Скидка 50%. Записать вас? 😊", "digits"),
        ("[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад. Стрижка бесплатно. Записать вас? 😊", "offer"),
        ("[{name}, ]здравствуйте! Вы была у нас {days_phrase} назад. Записать вас? 😊", "gender"),
        ("[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад[ {service}].  Записать вас? 😊", "reads"),
        ("[{name}, ]здравствуйте! Прошло {days_phrase}. Хорошего настроения 😊", "call_missing"),
        ("[{name}, ]сдраствуйте! Вы были у нас {days_phrase} назад. Записать вас? 😊", "unknown_word"),
        (
            "[{name}, ]здравствуйте! Вы были у нас {days_phrase} назад. "
            + "Мы очень рады вам. " * 9
            + "Записать вас? 😊",
            "exceeds",
        ),
    ],
)
def test_the_check_names_the_line_and_the_flaw(line, complaint):
    source = own_source("ru").replace("== offer, friendly ==\n", f"== offer, friendly ==\n{line}\n")
    number = source.splitlines().index(line) + 1
    found = lint(parse(source, "ru"))
    assert found
    assert all(one.startswith(f"line {number}: ") for one in found), found
    assert any(complaint in one for one in found), found


def test_too_few_texts_and_doubles_are_told():
    lines = own_source("ru").splitlines()
    start = lines.index("== offer, friendly ==")
    few = lint(parse("\n".join([*lines[: start + 1], *lines[start + 2 :]]), "ru"))
    assert few == ["«== offer, friendly ==»: 3 texts, 4 are needed"]
    double = lint(parse("\n".join([*lines[: start + 2], *lines[start + 1 :]]), "ru"))
    assert double == [f"line {start + 3}: the same text stands in line {start + 2}"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("Привет!", "line 1: a text stands before any heading"),
        ("== later, friendly ==\nПривет!", "line 1: «later, friendly» must be"),
        ("== offer, rude ==\nПривет!", "must be «stage, tone»"),
        ("== offer, friendly, circus ==\nПривет!", "must be «stage, tone»"),
        ("== offer, friendly ==\nА\n== offer, friendly ==\nБ", "line 3: the heading «offer, friendly» stands twice"),
        ("== offer, friendly ==\nА", "there are no texts under «== gentle, friendly ==»"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(source, complaint):
    with pytest.raises(TemplateFileError, match=complaint.replace("(", r"\(")):
        parse(source, "ru")
