"""Messages by the model: judged, asked for once more, remembered, paid for within a budget, and never worse than a text of people."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from reactivation_core.message_facts import MessageFacts
from reactivation_core.message_rules import judge_template
from reactivation_resources.asking import MOST_REQUESTS
from reactivation_resources.database.engine import Database
from reactivation_resources.message_writing import PURPOSE, MessageWriter, ModelTerms, WritingReport, rewrite_message
from reactivation_resources.model_ledger import ALL_COMPANIES, Budget, Entry, ModelLedger, Prices, Remembered
from reactivation_sandbox.gemini_api import KINDS
from reactivation_sandbox.model_words import FLAWS
from reactivation_sandbox.process import Town
from tests.resources.model_world import PRICES, terms_of
from tests.resources.sending_world import NOON, add_campaign, add_salon, campaign, execute, rows

SLOT = {"rank": 1, "spare": False, "staff_id": 5, "starts_at": "2026-11-26T15:30:00+00:00"}
SECOND = SLOT | {"rank": 2, "starts_at": "2026-11-27T08:00:00+00:00"}
DAY = NOON.date()


@pytest.fixture
def town(model_town: Town) -> Town:
    return model_town


@pytest.fixture
def salon(database: Database) -> Database:
    for company in (1, 2):
        add_salon(database, company, clients=60)
        execute(
            database,
            "INSERT INTO staff (company_id, staff_id, name) VALUES (:company, 5, 'Ольга Петрова')",
            company=company,
        )
        execute(
            database,
            "INSERT INTO services (company_id, service_id, title) VALUES (:company, 1, 'Женская стрижка'), (:company, 2, 'Маникюр')",
            company=company,
        )
    return database


def planned(database: Database, client: int = 1, company: int = 1, **changes: Any) -> str:
    values = {"message_text": None, "slots": [SLOT, SECOND], "days_since": 60, "discount_percent": 10, **changes}
    return str(add_campaign(database, client, company, **values))


def write(
    database: Database,
    terms: ModelTerms,
    ids: list[str],
    day: date = DAY,
    favourites: dict[tuple[int, int], int] | None = None,
) -> WritingReport:
    return MessageWriter(database, terms).write(ids, favourites or {}, day, NOON)


def forget(database: Database) -> None:
    execute(database, "UPDATE reactivation_campaigns SET message_text = NULL, text_template = NULL, writing = NULL")


def test_a_message_of_the_model_is_stored_with_what_it_took(salon: Database, town: Town) -> None:
    one = planned(salon)
    report = write(salon, terms_of(town), [one], favourites={(1, 1): 5})
    row = campaign(salon, UUID(one))
    assert (row.text_source, row.template_id, row.writing["fallback"]) == ("gemini", None, None)
    assert row.message_text.startswith(("Анна", "Здравствуйте, Анна"))
    assert "Ольг" in row.message_text
    assert "26 ноября, в 18:30" in row.message_text
    assert "{name}" in row.text_template
    assert row.message_text.endswith("ответьте «стоп».")
    took = row.writing
    assert (took["model"], took["answers"], took["requests"]) == ("gemini-3.5-flash-lite", 1, 1)
    assert took["prompt_version"].startswith("prompt.ru/2-")
    assert [took["input_tokens"], took["output_tokens"]] == town.model()["tokens"]
    assert took["cost_micros"] == PRICES.micros(took["input_tokens"], took["output_tokens"]) == report.cost_micros
    assert float(row.message_cost) == pytest.approx(took["cost_micros"] * 90 / 1e6, abs=1e-4)
    assert took["latency_ms"] > 0
    ledger = ModelLedger(salon, PURPOSE)
    assert ledger.spent(DAY) == ledger.spent(DAY, 1) == took["cost_micros"]


def test_nothing_of_the_client_or_the_staff_reaches_the_model(salon: Database, town: Town) -> None:
    execute(salon, "UPDATE clients SET name = 'Евлампия Вострецова'")
    write(
        salon,
        terms_of(town),
        [planned(salon, client) for client in range(1, 6)],
        favourites={(1, n): 5 for n in range(1, 6)},
    )
    asked = str(town.questions())
    assert len(town.questions()) == 5
    for secret in ("Евлампи", "Вострецов", "Ольг", "Петров", "+7900", "7900", "ноябр", "2026", "18:30"):
        assert secret not in asked, secret


def test_a_bad_answer_is_sent_back_once_with_the_complaint_and_kept(salon: Database, town: Town) -> None:
    town.model(misbehave=1, kinds=["price"])
    one = planned(salon)
    report = write(salon, terms_of(town), [one])
    row = campaign(salon, UUID(one))
    assert (row.text_source, row.writing["fallback"], row.writing["answers"], row.writing["requests"]) == (
        "template",
        "rejected",
        2,
        2,
    )
    first, second = town.questions()
    assert len(first["contents"]) == 1
    assert [turn["role"] for turn in second["contents"]] == ["user", "model", "user"]
    assert "price: it speaks of money" in second["contents"][2]["parts"][0]["text"]
    kept = rows(salon, "SELECT rule, found, answer FROM model_rejections ORDER BY rejection_id")
    assert {"digits", "price"} <= {one.rule for one in kept}
    assert all("990 рублей" in one.answer and "{name}" in one.answer for one in kept)
    assert report.rejections["price"] == 1
    assert ModelLedger(salon, PURPOSE).rejections(DAY)["price"] == 2


@pytest.mark.parametrize("flaw", FLAWS)
def test_every_flaw_of_the_sandbox_is_found(salon: Database, town: Town, flaw: str) -> None:
    town.model(misbehave=1, kinds=[flaw])
    one, other = planned(salon), planned(salon, 2)
    execute(salon, "UPDATE companies SET language = 'en' WHERE company_id = 2")
    english = planned(salon, 1, 2)
    write(salon, terms_of(town), [one, other, english])
    assert {campaign(salon, UUID(each)).text_source for each in (one, other, english)} == {"template"}


def test_a_second_answer_that_is_good_is_used(salon: Database, town: Town) -> None:
    town.model(misbehave=0.5, kinds=["markup"])
    ids = [planned(salon, client) for client in range(1, 41)]
    report = write(salon, terms_of(town), ids)
    told = [campaign(salon, UUID(one)) for one in ids]
    mended = [row for row in told if row.text_source == "gemini" and row.writing["answers"] == 2]
    assert len(mended) >= 3
    assert report.fallbacks["rejected"] >= 3
    assert "**" not in "".join(row.message_text for row in told)


def test_a_rerun_costs_nothing_and_writes_the_same(salon: Database, town: Town) -> None:
    town.model(misbehave=0.3)
    ids = [planned(salon, client) for client in range(1, 31)]
    town.model(kinds=list(FLAWS))
    write(salon, terms_of(town), ids)
    first = {one: campaign(salon, UUID(one)).message_text for one in ids}
    asked, spent = len(town.questions()), ModelLedger(salon, PURPOSE).spent(DAY)
    forget(salon)
    report = write(salon, terms_of(town), list(reversed(ids)))
    assert {one: campaign(salon, UUID(one)).message_text for one in ids} == first
    assert len(town.questions()) == asked
    assert ModelLedger(salon, PURPOSE).spent(DAY) == spent
    assert (report.remembered, report.requests, report.cost_micros) == (30, 0, 0)


def test_another_day_is_another_question(salon: Database, town: Town) -> None:
    one = planned(salon)
    write(salon, terms_of(town), [one])
    forget(salon)
    write(salon, terms_of(town), [one], day=DAY + timedelta(days=1))
    assert len(town.questions()) == 2


def test_what_failed_for_a_passing_reason_is_asked_again(salon: Database, town: Town) -> None:
    town.model(misbehave=1, kinds=["server_error"])
    one = planned(salon)
    report = write(salon, terms_of(town), [one])
    assert report.fallbacks == Counter({"unavailable": 1})
    assert rows(salon, "SELECT FROM model_answers") == []
    assert ModelLedger(salon, PURPOSE).spent(DAY) == 0
    town.model(misbehave=0)
    forget(salon)
    assert write(salon, terms_of(town), [one]).sources == Counter({"gemini": 1})


def test_neighbours_with_the_same_facts_read_different_texts(salon: Database, town: Town) -> None:
    ids = [planned(salon, client) for client in range(1, 31)]
    write(salon, terms_of(town), ids)
    assert len({campaign(salon, UUID(one)).text_template for one in ids}) > 5


def test_a_budget_is_not_exceeded_by_a_company_or_in_all(salon: Database, town: Town) -> None:
    price = 3_000  # one message may cost at most about this much
    terms = terms_of(town, total=12 * price, company=5 * price)
    ids = [planned(salon, client, company) for client in range(1, 41) for company in (1, 2)]
    report = write(salon, terms, ids)
    ledger = ModelLedger(salon, PURPOSE)
    assert ledger.spent(DAY) == ledger.spent(DAY, 1) + ledger.spent(DAY, 2) == report.cost_micros
    assert ledger.spent(DAY) <= 12 * price
    assert max(ledger.spent(DAY, 1), ledger.spent(DAY, 2)) <= 5 * price
    assert report.sources["gemini"] > 4
    assert report.fallbacks["budget"] == 80 - report.sources["gemini"]
    assert len(town.questions()) == report.sources["gemini"]


def test_no_budget_no_question(salon: Database, town: Town) -> None:
    report = write(salon, terms_of(town, total=0), [planned(salon)])
    assert report.fallbacks == Counter({"budget": 1})
    assert town.questions() == []


def test_a_model_that_is_gone_costs_only_its_own_texts(salon: Database, town: Town) -> None:
    ids = [planned(salon, client) for client in range(1, 41)]
    report = write(salon, terms_of(town, base_url="http://127.0.0.1:1"), ids)
    assert report.sources == Counter({"template": 40})
    assert report.fallbacks == Counter({"unavailable": 40})
    assert all(campaign(salon, UUID(one)).message_text for one in ids)


def test_other_slots_are_told_in_the_models_own_words(salon: Database, town: Town) -> None:
    one = planned(salon, slots=[SLOT])
    write(salon, terms_of(town), [one])
    first = campaign(salon, UUID(one)).message_text
    with salon.begin() as connection:
        again, _, _ = rewrite_message(connection, one, [SLOT])
        moved, _, _ = rewrite_message(connection, one, [SECOND])
        without, parts, told = rewrite_message(connection, one, [])
    assert again == first
    assert moved == first.replace("в четверг, 26 ноября, в 18:30", "в пятницу, 27 ноября, в 11:00")
    assert "ноября" not in without  # the model's text needs slots: a text of people goes
    assert ("slots" in parts, told) == (False, 0)
    assert len(town.questions()) == 1


def test_a_preview_is_the_same_text_and_writes_nothing(salon: Database, town: Town) -> None:
    facts = MessageFacts("Анна", "Женская стрижка", None, 60, 10, salon="Салон", other_services=("Маникюр",))
    writer = MessageWriter(salon, terms_of(town))
    shown = writer.preview(facts, 1, "1:1", DAY, NOON)
    one = planned(salon, slots=[])
    write(salon, terms_of(town), [one])
    assert campaign(salon, UUID(one)).message_text == shown.text
    assert len(town.questions()) == 1  # remembered
    assert shown.source == "gemini"
    assert judge_template(shown.text_template, facts) == []


def test_ten_kinds_of_trouble_in_a_third_of_the_answers_reach_no_client(salon: Database, town: Town) -> None:
    """The whole misbehaviour at once; `benchmarks/messages.py` does it with ten thousand."""
    town.model(misbehave=0.3, kinds=[kind for kind in KINDS if kind != "slow"], retry_s=0.05)
    ids = [planned(salon, client, company) for client in range(1, 61) for company in (1, 2)]
    report = write(salon, terms_of(town), ids, favourites={(1, client): 5 for client in range(1, 61, 2)})
    assert report.messages == 120
    assert report.unwritten == 0
    facts = MessageFacts("Анна", "Женская стрижка", None, 60, 10, salon="Салон", other_services=("Маникюр",))
    for one in ids:
        row = campaign(salon, UUID(one))
        named = "Ольга" if row.personalization else None
        assert row.writing.get("requests", 0) <= MOST_REQUESTS
        if row.text_source == "gemini":
            known = replace(facts, staff_name=named, slots=())
            broken = {one.rule for one in judge_template(row.text_template.replace(" {slots}", ""), known)}
            assert broken <= {"call_missing"}, row.text_template
    assert report.sources["template"] < 60
    assert sum(town.model()["counts"].values()) == report.requests


# ---------------------------------------------------------------- the ledger


def entry(content: str, cost: int = 10, reserved: int = 100, **changes: Any) -> Entry:
    values: dict[str, Any] = {
        "text": "Привет", "failure": None, "model": "m", "prompt_version": "v", "answers": 1, "requests": 1, "input_tokens": 5, "output_tokens": 6,
        "cost_micros": cost, "latency_ms": 7, **changes,
    }  # fmt: skip
    return Entry(content, 1, Remembered(**values), (), reserved)


def test_reservations_of_runs_at_a_time_never_exceed_the_budget(database: Database) -> None:
    from concurrent.futures import ThreadPoolExecutor

    budget = Budget(total=1_000, company=400)
    questions = [(company, 30) for company in (1, 2, 3, 4, 5)] * 6

    def reserve(shift: int) -> list[bool]:
        return ModelLedger(database, PURPOSE).reserve(DAY, questions[shift:] + questions[:shift], budget)

    with ThreadPoolExecutor(4) as pool:
        granted = [grant for result in pool.map(reserve, range(4)) for grant in result]
    ledger = ModelLedger(database, PURPOSE)
    assert ledger.spent(DAY) == 30 * sum(granted) <= 1_000
    assert sum(granted) == 33
    assert all(ledger.spent(DAY, company) <= 400 for company in (1, 2, 3, 4, 5))


def test_what_was_reserved_and_not_used_is_given_back(database: Database) -> None:
    ledger = ModelLedger(database, PURPOSE)
    assert ledger.reserve(DAY, [(1, 100), (1, 100)], Budget(250, 250)) == [True, True]
    assert ledger.reserve(DAY, [(1, 100)], Budget(250, 250)) == [False]
    ledger.store(DAY, NOON, [entry("a"), entry("b")])
    assert ledger.spent(DAY) == ledger.spent(DAY, 1) == 20
    assert ledger.spent(DAY, ALL_COMPANIES) == 20
    assert ledger.reserve(DAY + timedelta(days=1), [(1, 250)], Budget(250, 250)) == [True]


def test_an_answer_is_remembered_for_its_time(database: Database) -> None:
    ledger = ModelLedger(database, PURPOSE)
    ledger.store(DAY, NOON, [entry("a"), entry("b", text=None, failure="rejected")])
    found = ledger.remembered(["a", "b", "c"], NOON - timedelta(hours=1))
    assert {content: (one.text, one.failure) for content, one in found.items()} == {
        "a": ("Привет", None),
        "b": (None, "rejected"),
    }
    assert ledger.remembered(["a"], NOON) == {}
    ledger.store(DAY, NOON + timedelta(days=40), [entry("a", text="Снова")])
    assert ledger.remembered(["a"], NOON)["a"].text == "Снова"


def test_what_is_old_is_forgotten(database: Database) -> None:
    ledger = ModelLedger(database, PURPOSE)
    ledger.store(DAY, NOON, [entry("a")])
    ledger.trim(DAY + timedelta(days=90))
    assert ledger.remembered(["a"], NOON - timedelta(days=1))
    ledger.trim(DAY + timedelta(days=91))
    assert ledger.remembered(["a"], NOON - timedelta(days=1)) == {}


def test_text_that_postgresql_cannot_hold_is_kept_as_far_as_it_goes(database: Database) -> None:
    from reactivation_resources.model_ledger import Rejection

    odd = replace(entry("a"), rejections=(Rejection("answer", "\x00\ud800", "x\x00" * 3_000),))
    ModelLedger(database, PURPOSE).store(DAY, NOON, [odd])
    (kept,) = rows(database, "SELECT found, answer FROM model_rejections")
    assert (kept.found, len(kept.answer)) == ("?", 2_000)


def test_prices_are_rounded_up() -> None:
    from decimal import Decimal

    assert Prices(Decimal("0.30"), Decimal("2.50")).micros(1_000, 200) == 800
    assert Prices(Decimal("0.30"), Decimal("2.50")).micros(1, 0) == 1
    assert Prices(Decimal(0), Decimal(0)).micros(10**6, 10**6) == 0
