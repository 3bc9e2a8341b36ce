"""Asks the model for the intervals of services whose history is short.

What to add here: how many are asked at a time. What to keep out: the question (`reactivation_core.interval_prompt`), which services lack an
interval and which suggestion a rule takes (`rule_intervals`).

A question holds a service's title and the kind of business, nothing of a company or its clients, so companies with the same service share an
answer. It is remembered for thirty days.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import anyio
import polars as pl

from reactivation_core.interval_prompt import INTERVAL_SCHEMA, SuggestedInterval, interval_prompt, read_interval
from reactivation_core.intervals import Suggestion
from reactivation_core.message_prompt import Prompt, content_hash
from reactivation_resources.asking import PASSING, Complaint, ask_until_accepted, most_micros
from reactivation_resources.calendar import Calendar
from reactivation_resources.database.engine import Database
from reactivation_resources.gemini.client import Gemini
from reactivation_resources.message_writing import ModelTerms
from reactivation_resources.model_ledger import Entry, ModelLedger

PURPOSE = "interval"
REMEMBERED_FOR = timedelta(days=30)


class _Question(NamedTuple):
    """A question, what it is remembered by, and the company on whose account it is asked."""

    prompt: Prompt
    content: str
    company_id: int


class IntervalSuggestions:
    """A `Suggest` of `rule_intervals`, asking the model."""

    def __init__(self, database: Database, calendar: Calendar, terms: ModelTerms, redis_url: str | None) -> None:
        self._ledger = ModelLedger(database, PURPOSE)
        self._calendar, self._terms, self._redis_url = calendar, terms, redis_url

    def __call__(self, lacking: pl.DataFrame) -> Iterable[Suggestion]:
        """A suggestion for every service (columns of `needs_suggestion`) about which the model has something to say."""
        now = self._calendar.now()
        questions: dict[tuple[str, str], _Question] = {}
        rows = list(lacking.select("company_id", "service_id", "title", "business_type").iter_rows())
        for company, _, title, business in rows:
            prompt = interval_prompt(title, business)
            if prompt is not None and (title, business) not in questions:
                content = content_hash(prompt, model=self._terms.access.model, client_key="", day="")
                questions[title, business] = _Question(prompt, content, company)
        answers = self._answers(list(questions.values()), now)
        for company, service, title, business in rows:
            question = questions.get((title, business))
            found = answers.get(question.content) if question is not None else None
            if found is not None:
                yield Suggestion(company, service, *found)

    def _answers(self, questions: Sequence[_Question], now: datetime) -> dict[str, SuggestedInterval]:
        """The suggestions by the content of their questions, remembered or asked for now."""
        known = self._ledger.remembered([one.content for one in questions], now - REMEMBERED_FOR)
        day = self._calendar.today()
        unknown = [one for one in {one.content: one for one in questions}.values() if one.content not in known]
        costs = [(one.company_id, most_micros(one.prompt, self._terms.prices)) for one in unknown]
        granted = self._ledger.reserve(day, costs, self._terms.budget)
        asked = [(one, micros) for one, (_, micros), grant in zip(unknown, costs, granted, strict=True) if grant]
        if asked:
            entries: list[Entry] = []
            try:
                anyio.run(self._ask_all, asked, entries.append)
            finally:
                self._ledger.store(day, now, entries)
            known |= {entry.content_hash: entry.result for entry in entries}
        return {content: read_interval(result.text) for content, result in known.items() if result.text is not None}

    async def _ask_all(self, asked: Sequence[tuple[_Question, int]], told: Callable[[Entry], None]) -> None:
        async with Gemini(self._terms.access, self._redis_url) as model, anyio.create_task_group() as group:
            for question, reserved in asked:
                group.start_soon(self._ask, model, question, reserved, told)

    async def _ask(self, model: Gemini, question: _Question, reserved: int, told: Callable[[Entry], None]) -> None:
        result, rejections = await ask_until_accepted(
            model, question.prompt, INTERVAL_SCHEMA, _judge, self._terms.prices
        )
        keep = result.failure not in PASSING
        told(Entry(question.content, question.company_id, result, rejections, reserved, keep))


def _judge(raw: str) -> tuple[str, list[Complaint]]:
    try:
        read_interval(raw)
    except ValueError as error:
        return raw, [Complaint("answer", str(error), str(error))]
    return raw, []
