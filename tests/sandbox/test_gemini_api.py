"""The pretended model: the protocol as documented, good answers for any prompt, every kind of bad one on demand."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from reactivation_core.message_facts import BUSINESSES, TONES, MessageFacts
from reactivation_core.message_prompt import ANSWER_SCHEMA, message_prompt
from reactivation_core.message_rules import judge_template
from reactivation_sandbox.gemini_api import KINDS
from reactivation_sandbox.process import Town

FACTS = MessageFacts("Анна", "Стрижка", "Ольга", 60, 10, business_type="beauty")


@pytest.fixture
def town(model_town: Town) -> Town:
    return model_town


def body_of(facts: MessageFacts, key: str = "1:1") -> dict[str, Any]:
    prompt = message_prompt(facts, key)
    return {
        "systemInstruction": {"parts": [{"text": prompt.system}]},
        "contents": [{"role": "user", "parts": [{"text": prompt.turns[0].text}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": dict(ANSWER_SCHEMA)},
    }


def post(town: Town, body: Any, model: str = "gemini-3.5-flash-lite", key: str | None = None) -> httpx.Response:
    url = f"{town.gemini_url}/v1beta/models/{model}:generateContent"
    return town.http.post(url, json=body, headers={"x-goog-api-key": key or town.gemini_key})


def test_an_answer_has_the_documented_form(town: Town) -> None:
    answer = post(town, body_of(FACTS)).json()
    candidate = answer["candidates"][0]
    assert candidate["finishReason"] == "STOP"
    assert candidate["content"]["role"] == "model"
    assert set(json.loads(candidate["content"]["parts"][0]["text"])) == {"text"}
    usage = answer["usageMetadata"]
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["candidatesTokenCount"]


@pytest.mark.parametrize("language", ["ru", "en"])
@pytest.mark.parametrize("days", [20, 60, 200])
def test_its_good_answers_are_good(town: Town, language: str, days: int) -> None:
    for number, (business, tone) in enumerate((business, tone) for business in BUSINESSES for tone in TONES):
        facts = MessageFacts(
            "Анна" if number % 2 else "", "Стрижка", "Ольга" if number % 3 else None, days, 10 * (number % 2),
            business_type=business, tone=tone, language=language,
        )  # fmt: skip
        answer = post(town, body_of(facts, f"1:{number}")).json()
        text = json.loads(answer["candidates"][0]["content"]["parts"][0]["text"])["text"]
        assert judge_template(text, facts) == [], text


@pytest.mark.parametrize(
    ("model", "key", "code", "status"),
    [
        ("gemini-3.5-flash-lite", "wrong", 400, "INVALID_ARGUMENT"),
        ("gpt-9", None, 404, "NOT_FOUND"),
    ],
)
def test_strangers_are_refused(town: Town, model: str, key: str | None, code: int, status: str) -> None:
    answer = post(town, body_of(FACTS), model, key)
    assert (answer.status_code, answer.json()["error"]["status"]) == (code, status)
    assert town.questions() == []


@pytest.mark.parametrize("body", [{}, {"contents": []}, {"contents": "a"}, []])
def test_a_malformed_question_is_refused(town: Town, body: Any) -> None:
    assert post(town, body).status_code == 400


def test_a_refusal_for_haste_names_its_delay(town: Town) -> None:
    town.model(misbehave=1, kinds=["rate_limited"], retry_s=12)
    error = post(town, body_of(FACTS)).json()["error"]
    assert (error["code"], error["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert error["details"][0]["retryDelay"] == "12s"
    assert "retry in 12s" in error["message"]


def test_it_misbehaves_as_often_as_told_and_the_same_for_the_same_seed(town: Town) -> None:
    wanted = [kind for kind in KINDS if kind not in {"slow", "cut"}]

    def lived() -> dict[str, int]:
        town.model(forget=True, misbehave=0.3, kinds=wanted)
        for number in range(300):
            post(town, body_of(FACTS, f"1:{number}"))
        counts: dict[str, int] = town.model()["counts"]
        return counts

    first = lived()
    assert first == lived()
    assert 60 <= sum(first.values()) - first["good"] <= 120
    assert len(first) > 20


def test_what_is_answered_after_the_model_forgot_counts_no_more(town: Town) -> None:
    town.model(latency_s=0.5)
    with ThreadPoolExecutor(1) as apart:
        late = apart.submit(post, town, body_of(FACTS))
        while not town.model()["counts"] and not late.done():
            pass
        town.model(forget=True)
        assert late.result().status_code == 200
    assert town.model() == {"counts": {}, "tokens": [0, 0], "at_a_time": 0}


def test_an_unknown_kind_or_field_is_refused(town: Town) -> None:
    for wrong in ({"kinds": ["rude"]}, {"mood": 1}):
        assert town.http.post(f"{town.url}/_town/model", json=wrong).status_code == 400


def test_a_new_town_has_an_even_temper(town: Town) -> None:
    town.model(misbehave=1, kinds=["empty"])
    post(town, body_of(FACTS))
    town.reset()
    assert town.model() == {"counts": {}, "tokens": [0, 0], "at_a_time": 0}
    assert post(town, body_of(FACTS)).json()["candidates"][0]["finishReason"] == "STOP"
