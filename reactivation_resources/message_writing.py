"""Writes the messages of planned campaigns and stores them with what they took.

What to add here: how many are written at a time. What to keep out: facts (`message_orders`), when the model's text is used (`composing`) and the words
themselves (`reactivation_core.messages`).

Three hands work at a time: one reads orders, several ask the model, one stores what has come. Between them wait a few dozen messages at most, so
memory does not grow with the day, and a crash loses no more than what was under way: the answers before it are remembered and cost nothing again.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sqlalchemy import Connection

from reactivation_core.message_facts import MessageFacts
from reactivation_core.message_prompt import content_hash
from reactivation_core.message_templates import TemplateBook
from reactivation_core.messages import slots_told
from reactivation_core.whatsapp_templates import text_parts
from reactivation_resources.asking import PASSING, most_micros
from reactivation_resources.campaign_log import CampaignLog
from reactivation_resources.composing import Message, Order, UnfitTextError, ask_for, finished, refilled
from reactivation_resources.database.engine import Database
from reactivation_resources.gemini.client import Gemini, GeminiAccess
from reactivation_resources.message_orders import FAVOURITE, CampaignOrder, order_with, orders_of
from reactivation_resources.model_ledger import Budget, Entry, ModelLedger, Prices, Rejection, Remembered

log = logging.getLogger(__name__)

PURPOSE = "message"
REMEMBERED_FOR = timedelta(days=2)
"""The day is part of a question's content, so an answer serves its day only; the day may be run late."""

_READ_AT_A_TIME = 200  # campaigns whose facts are read by one query
_STORED_AT_A_TIME = 64
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Job:
    """A message to write: what its question is remembered by, the remembered answer, why it is not asked, the money reserved for asking."""

    wanted: CampaignOrder
    content: str = ""
    known: Remembered | None = None
    reason: str | None = None
    reserved: int = 0


@dataclass(frozen=True, slots=True)
class _Written:
    """A job with what came of it: the message, the model's answer, new or remembered, and what was rejected."""

    job: _Job
    message: Message | None
    result: Remembered | None
    rejections: tuple[Rejection, ...] = ()
    asked: bool = False


@dataclass
class WritingReport:
    """How many messages were written, by whom, why not by the model, and what the model took; `remembered` ones cost nothing
    again, `unwritten` ones fit no text at all."""

    messages: int = 0
    unwritten: int = 0
    remembered: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    rejections: Counter[str] = field(default_factory=Counter)

    def count(self, one: _Written) -> None:
        """Add what came of a draft."""
        if one.message is None:
            self.unwritten += 1
            return
        self.messages += 1
        self.sources[one.message.source] += 1
        if one.message.fallback is not None:
            self.fallbacks[one.message.fallback] += 1
        if one.result is None:
            return
        if not one.asked:
            self.remembered += 1
            return
        self.requests += one.result.requests
        self.input_tokens += one.result.input_tokens
        self.output_tokens += one.result.output_tokens
        self.cost_micros += one.result.cost_micros
        self.rejections.update({rejection.rule for rejection in one.rejections})


@dataclass(frozen=True)
class ModelTerms:
    """The model that writes: how it is asked, what it takes, what a day may cost, and units of a currency for a dollar."""

    access: GeminiAccess
    prices: Prices
    budget: Budget
    rates: Mapping[str, Decimal]


class MessageWriter:
    """Writes the campaigns of a day.

    Args:
        terms: None: all texts come from people.
        redis_url: Where the model's rate limit is shared.
        books: Texts of people by language, where they are not the product's own.
    """

    def __init__(
        self,
        database: Database,
        terms: ModelTerms | None = None,
        redis_url: str | None = None,
        books: Mapping[str, TemplateBook] | None = None,
    ) -> None:
        self._database = database
        self._log = CampaignLog(database)
        self.ledger = ModelLedger(database, PURPOSE)
        self._terms = terms
        self._redis_url = redis_url
        self._books = books or {}

    def write(
        self, campaigns: Sequence[str], favourites: Mapping[tuple[int, int], int], day: date, now: datetime
    ) -> WritingReport:
        """Write the texts of `campaigns` and store them.

        `favourites` holds, by company and client, the staff member a message may name as the client's own. A campaign that no text fits is left
        without one, which is reported: it is not sent.
        """
        self.ledger.trim(day)

        def read(chunk: Sequence[str]) -> list[_Job]:
            with self._database.begin() as connection:
                wanted = list(orders_of(connection, chunk, favourites))
            return self._jobs(wanted, day, now)

        def store(batch: Sequence[_Written]) -> None:
            self._store_answers(batch, day, now)
            self._log.write_texts([self._row(one, one.message) for one in batch if one.message is not None])

        chunks = [campaigns[start : start + _READ_AT_A_TIME] for start in range(0, len(campaigns), _READ_AT_A_TIME)]
        return anyio.run(self._work, chunks, read, store)

    def preview(
        self, facts: MessageFacts, company: int, client_key: str, day: date, now: datetime, attempt: int = 1
    ) -> Message:
        """What would be written, by the same code; nothing but the model's answer and its cost is stored.

        Raises:
            UnfitTextError: If no text fits the facts.
        """
        wanted = CampaignOrder("preview", company, Order(facts, client_key, attempt), "", None)
        written: list[_Written] = []

        def store(batch: Sequence[_Written]) -> None:
            self._store_answers(batch, day, now)
            written.extend(batch)

        anyio.run(self._work, [["preview"]], lambda _: self._jobs([wanted], day, now), store)
        if written[0].message is None:
            raise UnfitTextError("no text fits this client's facts")
        return written[0].message

    # ------------------------------------------------------------ the three hands

    async def _work(self, chunks: Sequence[Sequence[str]], read: "_Read", store: "_Store") -> WritingReport:
        report = WritingReport()
        hands = self._terms.access.concurrency if self._terms is not None else 1
        to_ask, asking = anyio.create_memory_object_stream[_Job](hands)
        to_store, storing = anyio.create_memory_object_stream[_Written](_STORED_AT_A_TIME)
        try:
            async with self._model() as model, anyio.create_task_group() as group:
                group.start_soon(_storing, storing, store, report)
                async with to_store, anyio.create_task_group() as askers, asking:
                    for _ in range(hands):
                        askers.start_soon(self._asking, model, asking.clone(), to_store)
                    async with to_ask:
                        for chunk in chunks:
                            for job in await anyio.to_thread.run_sync(read, chunk):
                                await to_ask.send(job)
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        return report

    def _model(self) -> AbstractAsyncContextManager[Gemini | None]:
        return Gemini(self._terms.access, self._redis_url) if self._terms is not None else nullcontext()

    async def _asking(
        self,
        model: Gemini | None,
        asking: MemoryObjectReceiveStream[_Job],
        to_store: MemoryObjectSendStream[_Written],
    ) -> None:
        async with asking:
            async for job in asking:
                await to_store.send(await self._written(model, job))

    async def _written(self, model: Gemini | None, job: _Job) -> _Written:
        order, result, rejections = job.wanted.order, job.known, tuple[Rejection, ...]()
        asked = False
        if model is not None and self._terms is not None and result is None and job.reason is None:
            result, rejections = await ask_for(order, model, self._terms.prices)
            asked = True
        message = None
        try:
            message = finished(order, result, job.reason, self._books.get(order.facts.tongue))
        except UnfitTextError as error:
            log.warning("campaign %s has no text: %s", job.wanted.campaign_id, error)
        return _Written(job, message, result, rejections, asked)

    # ------------------------------------------------------------ before and after

    def _jobs(self, wanted: Sequence[CampaignOrder], day: date, now: datetime) -> list[_Job]:
        """Each order with its remembered answer, or the money reserved for asking, or the reason why it is not asked."""
        if self._terms is None:
            return [_Job(one, reason="no_key") for one in wanted]
        model, prices = self._terms.access.model, self._terms.prices
        prompts = [one.order.prompt for one in wanted]
        contents = [
            content_hash(prompt, model=model, client_key=one.order.client_key, day=day.isoformat())
            for one, prompt in zip(wanted, prompts, strict=True)
        ]
        known = self.ledger.remembered(contents, now - REMEMBERED_FOR)
        unknown = [
            (one.company_id, most_micros(prompt, prices))
            for one, prompt, content in zip(wanted, prompts, contents, strict=True)
            if content not in known
        ]
        granted = iter(zip(unknown, self.ledger.reserve(day, unknown, self._terms.budget), strict=True))
        jobs = []
        for one, content in zip(wanted, contents, strict=True):
            if content in known:
                jobs.append(_Job(one, content, known[content]))
                continue
            (_, micros), grant = next(granted)
            jobs.append(_Job(one, content, reserved=micros) if grant else _Job(one, content, reason="budget"))
        return jobs

    def _store_answers(self, batch: Sequence[_Written], day: date, now: datetime) -> None:
        entries = [
            Entry(
                one.job.content,
                one.job.wanted.company_id,
                one.result,
                one.rejections,
                one.job.reserved,
                keep=one.result.failure not in PASSING,
            )
            for one in batch
            if one.asked and one.result is not None
        ]
        self.ledger.store(day, now, entries)

    def _row(self, one: _Written, message: Message) -> dict[str, Any]:
        wanted, facts = one.job.wanted, one.job.wanted.order.facts
        told = slots_told(message.text, facts)
        took = asdict(one.result) if one.result is not None else {}
        took = {name: value for name, value in took.items() if name not in {"text", "failure"}}
        rate = self._terms.rates.get(wanted.currency, Decimal(0)) if self._terms is not None else Decimal(0)
        cost = (one.result.cost_micros if one.result is not None else 0) * rate / _MICROS
        return {
            "campaign_id": wanted.campaign_id,
            "stage": message.stage,
            "tone": facts.manner,
            "text_source": message.source,
            "template_id": message.template_id,
            "text_template": message.text_template,
            "message_text": message.text,
            "told": told,
            "text_parts": json.dumps(_parts(facts, told)),
            "message_cost": round(cost, 4),
            "writing": json.dumps({**took, "fallback": message.fallback}),
            "personalization": json.dumps({FAVOURITE: wanted.favourite} if wanted.favourite is not None else {}),
        }


_Read = Callable[[Sequence[str]], list[_Job]]
_Store = Callable[[Sequence[_Written]], None]


async def _storing(storing: MemoryObjectReceiveStream[_Written], store: _Store, report: WritingReport) -> None:
    """Store what has come, as much as there is at a time."""
    async with storing:
        async for first in storing:
            batch = [first]
            while len(batch) < _STORED_AT_A_TIME:
                try:
                    batch.append(storing.receive_nowait())
                except (anyio.WouldBlock, anyio.EndOfStream):
                    break
            await anyio.to_thread.run_sync(store, batch)
            for one in batch:
                report.count(one)


def rewrite_message(
    connection: Connection, campaign_id: str, slots: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, str], int]:
    """The text of a campaign with other slots, in the words it was first written in where they fit; its parts; how many of the best slots it tells."""
    order, text_template = order_with(connection, campaign_id, slots)
    text = refilled(order, text_template)
    told = slots_told(text, order.facts)
    return text, _parts(order.facts, told), told


def _parts(facts: MessageFacts, told: int) -> dict[str, str]:
    return text_parts(replace(facts, slots=facts.slots[:told]), facts.salon)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: a task group wraps it once for each group around it."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
