"""Our frames are fit to be submitted, the messenger's rules are known, and the template that says most is sent."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactivation_core.messages import MessageFacts
from reactivation_core.replies import is_clear_opt_out
from reactivation_core.whatsapp_templates import (
    BODY_LIMIT,
    PARTS,
    STOP_BUTTON,
    VALUE_LIMIT,
    Template,
    choose,
    known_parts,
    lint,
    own_frames,
    places,
    text_parts,
)

FRAMES = [*own_frames("ru"), *own_frames("en")]
GOOD = Template("come_back", "ru", "Здравствуйте, {{1}}! Вы были у нас давно, ждём вас снова.", (), buttons=("Стоп",))


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: f"{frame.language}-{frame.name}")
def test_our_frames_pass_the_messengers_rules_whatever_stands_in_them(frame: Template) -> None:
    assert lint(frame) == []
    assert len(frame.parts) == len(places(frame.body))
    assert len(frame.body) + len(frame.parts) * VALUE_LIMIT <= BODY_LIMIT
    assert known_parts(frame) == frame.parts


def test_the_frames_of_a_language_differ_and_cover_every_combination() -> None:
    for language in ("ru", "en"):
        frames = own_frames(language)
        assert len({frame.name for frame in frames}) == len({frame.parts for frame in frames}) == 8


def test_pressing_the_button_is_a_clear_opt_out() -> None:
    assert all(is_clear_opt_out(words) for words in STOP_BUTTON.values())


RULES = {
    "begins or ends": "{{1}}, здравствуйте, вы были у нас давно, ждём вас снова",
    "side by side": "Здравствуйте, {{1}} {{2}} мы вас очень давно не видели и ждём снова!",
    "words around": "Вы, {{1}}, и {{2}} ждём!",
    "numbered": "Здравствуйте, {{2}}! Вы были у нас давно, ждём вас снова.",
    "characters": "Здравствуйте! " + "слово " * 200,
    "empty": " ",
}


@pytest.mark.parametrize("rule", list(RULES))
def test_each_rule_of_the_messenger_is_told_by_name(rule: str) -> None:
    complaints = lint(replace(GOOD, body=RULES[rule]))
    assert len(complaints) == 1
    assert rule in complaints[0]


def test_a_template_that_ends_in_a_place_is_refused_with_a_full_stop_too() -> None:
    assert lint(replace(GOOD, body="Здравствуйте! Вы были у нас давно, ждём вас {{1}}."))


def test_category_name_and_button_are_looked_at() -> None:
    assert lint(GOOD) == []
    assert "MARKETING" in lint(replace(GOOD, category="UTILITY"))[0]
    assert "name" in lint(replace(GOOD, name="Come Back"))[0]
    assert "button" in lint(replace(GOOD, buttons=()))[0]


def test_the_parts_of_a_text_are_on_one_line_and_what_is_not_said_is_absent() -> None:
    facts = MessageFacts("Анна\nМария", "Стрижка    и\tукладка", None, 58, discount_percent=0)
    parts = text_parts(facts, "Салон   «Весна»")
    assert parts["days_phrase"] == "два месяца"
    assert parts["salon"] == "Салон «Весна»"
    assert set(parts) <= set(PARTS)
    assert not {"discount", "slots", "staff"} & set(parts)
    assert all("\n" not in value and "\t" not in value and "  " not in value for value in parts.values())


def test_the_template_that_says_most_is_sent() -> None:
    parts = {"name": "Анна", "days_phrase": "почти два месяца", "slots": "завтра в 10:00", "discount": "10"}
    assert chosen(parts) == "come_back_name_discount_slots"
    assert chosen({key: parts[key] for key in ("days_phrase", "slots", "discount")}) == "come_back_discount_slots"
    assert chosen({key: parts[key] for key in ("days_phrase", "name")}) == "come_back_name"
    assert chosen({"days_phrase": "год"}) == "come_back_plain"
    assert choose(own_frames("ru"), parts, "en") is None
    assert choose(own_frames("ru"), {"name": "Анна"}, "ru") is None


def test_of_two_that_say_the_same_the_better_rated_one_is_sent() -> None:
    (frame,) = [one for one in own_frames("ru") if one.name == "come_back_plain"]
    rated = [
        replace(frame, name=name, quality=quality) for name, quality in (("a", "RED"), ("b", None), ("c", "GREEN"))
    ]
    found = choose(rated, {"days_phrase": "год"}, "ru")
    assert found is not None
    assert found.name == "c"


def test_a_variant_of_the_language_will_do() -> None:
    frames = [replace(frame, language="ru_RU") for frame in own_frames("ru")]
    assert choose(frames, {"days_phrase": "год"}, "ru") is not None


def chosen(parts: dict[str, str]) -> str:
    found = choose(own_frames("ru"), parts, "ru")
    assert found is not None
    return found.name


@given(
    st.lists(st.sets(st.sampled_from(PARTS), max_size=4).map(tuple), max_size=6),
    st.dictionaries(st.sampled_from(PARTS), st.text(max_size=3), max_size=7),
)
def test_no_template_is_sent_with_an_empty_place(held: list[tuple[str, ...]], parts: dict[str, str]) -> None:
    templates = [Template(f"t{number}", "ru", "", one) for number, one in enumerate(held)]
    found = choose(templates, parts, "ru")
    if found is not None:
        assert all(parts[part] for part in found.parts)
    else:
        assert all(any(not parts.get(part) for part in one.parts) for one in templates)


def test_places_with_names_of_ours_are_known_and_others_are_not() -> None:
    body = "Здравствуйте, {{name}}! Вы были у нас {{days_phrase}} назад, ждём вас."
    assert known_parts(replace(GOOD, body=body, named=True)) == ("name", "days_phrase")
    assert known_parts(replace(GOOD, body=body.replace("name", "phone"), named=True)) is None
    assert known_parts(GOOD) is None  # numbered, and not ours
    assert known_parts(replace(GOOD, body="Здравствуйте! Ждём вас снова в любое время.")) == ()
