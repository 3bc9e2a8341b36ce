"""Writes the messages of planned campaigns: gathers the facts, has them written, stores the texts and what they took.

What to add here: where a fact comes from, and how many are written at a time. What to keep out: when the model's text is used (`composing`) and the
words themselves (`reactivation_core.messages`).

Three hands work at a time: one reads facts, several ask the model, one stores what has come. Between them wait a few dozen messages at most, so
memory does not grow with the day, and a crash loses no more than what was under way: the answers before it are remembered and cost nothing again.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sqlalchemy import Connection, Row, text

from reactivation_core.local_time import to_local
from reactivation_core.message_facts import MessageFacts, SlotFact
from reactivation_core.message_prompt import content_hash
from reactivation_core.message_templates import TemplateBook
from reactivation_core.whatsapp_templates import text_parts
from reactivation_resources.asking import PASSING, most_micros
from reactivation_resources.campaign_log import CampaignLog
from reactivation_resources.composing import Message, Order, UnfitTextError, ask_for, finished, refilled
from reactivation_resources.database.engine import Database
from reactivation_resources.gemini.client import Gemini, GeminiAccess
from reactivation_resources.model_ledger import Budget, Entry, ModelLedger, Prices, Rejection, Remembered
from reactivation_resources.offered_slots import offered

log = logging.getLogger(__name__)

PURPOSE = "message"
FAVOURITE = "favourite_staff_id"
REMEMBERED_FOR = timedelta(days=2)
"""The day is part of a question's content, so an answer serves its day only; the day may be run late."""

_READ_AT_A_TIME = 200  # campaigns whose facts are read by one query
_STORED_AT_A_TIME = 64
_MICROS = 1_000_000

_FACTS = """
SELECT c.campaign_id::text, c.company_id, c.client_id, c.days_since, c.discount_percent, c.attempt_number, c.slots, c.personalization,
       c.text_template, k.name, s.title, m.title AS salon, m.business_type, m.language, m.timezone, m.currency, g.tone, g.include_slots_in_message,
       (SELECT p.text_template FROM reactivation_campaigns p WHERE (p.company_id, p.client_id) = (c.company_id, c.client_id)
          AND p.campaign_id <> c.campaign_id AND p.sent_at IS NOT NULL ORDER BY p.sent_at DESC LIMIT 1) AS previous
FROM reactivation_campaigns c
JOIN clients k USING (company_id, client_id) JOIN companies m USING (company_id) JOIN reactivation_settings g USING (company_id)
LEFT JOIN services s USING (company_id, service_id)
WHERE c.campaign_id = ANY(CAST(:campaigns AS uuid[])) ORDER BY c.company_id, c.client_id
"""
_STAFF = "SELECT company_id, staff_id, name FROM staff WHERE active AND company_id = ANY(CAST(:companies AS bigint[]))"
_SERVICES = """
SELECT company_id, array_agg(DISTINCT title ORDER BY title) AS titles FROM services
WHERE active AND company_id = ANY(CAST(:companies AS bigint[])) GROUP BY company_id
"""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A campaign to write: its order, what its question is remembered by, and what is kept beside the text."""

    campaign_id: str
    company_id: int
    order: Order
    salon: str
    currency: str
    favourite: int | None
    content: str = ""


@dataclass(frozen=True, slots=True)
class _Written:
    """A draft with what came of it: an answer of the model, new or remembered, or the reason for a text of people."""

    draft: _Draft
    message: Message | None
    result: Remembered | None = None
    rejections: tuple[Rejection, ...] = ()
    reserved: int = 0
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
        report = WritingReport()
        self.ledger.trim(day)
        anyio.run(partial(self._write, campaigns, favourites, day, now, report))
        return report

    def preview(
        self, facts: MessageFacts, company: int, client_key: str, day: date, now: datetime, attempt: int = 1
    ) -> Message:
        """What would be written, by the same code; nothing but the model's answer and its cost is stored.

        Raises:
            UnfitTextError: If no text fits the facts.
        """
        draft = _Draft("", company, Order(facts, client_key, attempt), facts.salon, "", None)
        (draft,) = self._hashed([draft], day)

        async def ask() -> Message:
            async with self._model() as model:
                (one,) = [await self._answered(model, *job) for job in self._jobs([draft], day, now)]
            await anyio.to_thread.run_sync(self._store_answers, [one], day, now)
            if one.message is None:
                raise UnfitTextError("no text fits this client's facts")
            return one.message

        return anyio.run(ask)

    # ------------------------------------------------------------ the three hands

    async def _write(
        self,
        campaigns: Sequence[str],
        favourites: Mapping[tuple[int, int], int],
        day: date,
        now: datetime,
        report: WritingReport,
    ) -> None:
        hands = self._terms.access.concurrency if self._terms is not None else 1
        to_ask, asking = anyio.create_memory_object_stream[_Job](hands)
        to_store, storing = anyio.create_memory_object_stream[_Written](_STORED_AT_A_TIME)
        try:
            async with self._model() as model, anyio.create_task_group() as group:
                group.start_soon(self._store, storing, day, now, report)
                async with to_store, anyio.create_task_group() as askers, asking:
                    for _ in range(hands):
                        askers.start_soon(self._ask, model, asking.clone(), to_store)
                    await self._read(to_ask, campaigns, favourites, day, now)
        except BaseExceptionGroup as errors:
            raise _first(errors) from None

    async def _read(
        self,
        to_ask: MemoryObjectSendStream["_Job"],
        campaigns: Sequence[str],
        favourites: Mapping[tuple[int, int], int],
        day: date,
        now: datetime,
    ) -> None:
        async with to_ask:
            for start in range(0, len(campaigns), _READ_AT_A_TIME):
                chunk = campaigns[start : start + _READ_AT_A_TIME]
                for job in await anyio.to_thread.run_sync(self._read_chunk, chunk, favourites, day, now):
                    await to_ask.send(job)

    async def _ask(
        self,
        model: Gemini | None,
        asking: MemoryObjectReceiveStream["_Job"],
        to_store: MemoryObjectSendStream[_Written],
    ) -> None:
        async with asking:
            async for job in asking:
                await to_store.send(await self._answered(model, *job))

    async def _store(
        self, storing: MemoryObjectReceiveStream[_Written], day: date, now: datetime, report: WritingReport
    ) -> None:
        async with storing:
            async for first in storing:
                batch = [first]
                while len(batch) < _STORED_AT_A_TIME:
                    try:
                        batch.append(storing.receive_nowait())
                    except (anyio.WouldBlock, anyio.EndOfStream):
                        break
                await anyio.to_thread.run_sync(self._store_batch, batch, day, now)
                for one in batch:
                    report.count(one)

    # ------------------------------------------------------------ what they do

    def _read_chunk(
        self, campaigns: Sequence[str], favourites: Mapping[tuple[int, int], int], day: date, now: datetime
    ) -> list["_Job"]:
        with self._database.begin() as connection:
            drafts = list(_drafts(connection, campaigns, favourites))
        return self._jobs(self._hashed(drafts, day), day, now)

    def _hashed(self, drafts: Iterable[_Draft], day: date) -> list[_Draft]:
        if self._terms is None:
            return list(drafts)
        model, on = self._terms.access.model, day.isoformat()

        def content(order: Order) -> str:
            return content_hash(order.prompt, model=model, client_key=order.client_key, day=on)

        return [replace(one, content=content(one.order)) for one in drafts]

    def _jobs(self, drafts: Sequence[_Draft], day: date, now: datetime) -> list["_Job"]:
        """Each draft with its remembered answer, or the money reserved for asking, or the reason why it is not asked."""
        if self._terms is None:
            return [(draft, None, "no_key", 0) for draft in drafts]
        prices, budget = self._terms.prices, self._terms.budget
        known = self.ledger.remembered([draft.content for draft in drafts], now - REMEMBERED_FOR)
        unknown = [draft for draft in drafts if draft.content not in known]
        needed = [(draft.company_id, most_micros(draft.order.prompt, prices)) for draft in unknown]
        granted = self.ledger.reserve(day, needed, budget)
        reserved = {
            draft.content: micros if grant else None
            for draft, (_, micros), grant in zip(unknown, needed, granted, strict=True)
        }
        jobs: list[_Job] = []
        for draft in drafts:
            micros = reserved.get(draft.content, 0)
            jobs.append((draft, known.get(draft.content), None if micros is not None else "budget", micros or 0))
        return jobs

    async def _answered(
        self, model: Gemini | None, draft: _Draft, known: Remembered | None, reason: str | None, reserved: int
    ) -> _Written:
        result, rejections = known, tuple[Rejection, ...]()
        asks = model is not None and self._terms is not None and known is None and reason is None
        if model is not None and self._terms is not None and asks:
            result, rejections = await ask_for(draft.order, model, self._terms.prices)
        try:
            message = finished(draft.order, result, reason, self._books.get(draft.order.facts.tongue))
        except UnfitTextError as error:
            log.warning("campaign %s has no text: %s", draft.campaign_id, error)
            message = None
        return _Written(draft, message, result, rejections, reserved, asked=asks)

    def _store_batch(self, batch: Sequence[_Written], day: date, now: datetime) -> None:
        self._store_answers(batch, day, now)
        self._log.write_texts([self._row(one, one.message) for one in batch if one.message is not None])

    def _store_answers(self, batch: Sequence[_Written], day: date, now: datetime) -> None:
        entries = [
            Entry(
                one.draft.content,
                one.draft.company_id,
                one.result,
                one.rejections,
                one.reserved,
                keep=one.result.failure not in PASSING,
            )
            for one in batch
            if one.asked and one.result is not None
        ]
        self.ledger.store(day, now, entries)

    def _row(self, one: _Written, message: Message) -> dict[str, Any]:
        draft, facts = one.draft, one.draft.order.facts
        took = asdict(one.result) if one.result is not None else {}
        took = {name: value for name, value in took.items() if name not in {"text", "failure"}}
        rate = self._terms.rates.get(draft.currency, Decimal(0)) if self._terms is not None else Decimal(0)
        cost = (one.result.cost_micros if one.result is not None else 0) * rate / _MICROS
        return {
            "campaign_id": draft.campaign_id,
            "stage": message.stage,
            "tone": facts.manner,
            "text_source": message.source,
            "template_id": message.template_id,
            "text_template": message.text_template,
            "message_text": message.text,
            "text_parts": json.dumps(text_parts(facts, draft.salon)),
            "message_cost": round(cost, 4),
            "writing": json.dumps({**took, "fallback": message.fallback}),
            "personalization": json.dumps({FAVOURITE: draft.favourite} if draft.favourite is not None else {}),
        }

    def _model(self) -> "_OpenModel":
        return _OpenModel(self._terms.access if self._terms is not None else None, self._redis_url)


_Job = tuple[_Draft, Remembered | None, str | None, int]
"""A draft, its remembered answer, why it is not asked, and the money reserved for asking."""


@dataclass
class _OpenModel:
    """The model while it is needed; None where there is no key."""

    access: GeminiAccess | None
    redis_url: str | None
    opened: Gemini | None = None

    async def __aenter__(self) -> Gemini | None:
        self.opened = Gemini(self.access, self.redis_url) if self.access is not None else None
        return self.opened

    async def __aexit__(self, *error: object) -> None:
        if self.opened is not None:
            await self.opened.__aexit__()


def rewrite_message(
    connection: Connection, campaign_id: str, slots: Sequence[Mapping[str, Any]]
) -> tuple[str, dict[str, str]]:
    """The text of a campaign with other slots offered, in the words it was first written in where they fit, and the text's parts."""
    row = connection.execute(text(_FACTS), {"campaigns": [campaign_id]}).one()
    facts = _facts(row, row.personalization.get(FAVOURITE), slots, *_of_company(connection, [row.company_id]))
    return refilled(Order(facts, _key(row), row.attempt_number), row.text_template or ""), text_parts(facts, row.salon)


def _drafts(
    connection: Connection, campaigns: Sequence[str], favourites: Mapping[tuple[int, int], int]
) -> Iterator[_Draft]:
    rows = connection.execute(text(_FACTS), {"campaigns": list(campaigns)}).all()
    staff, services = _of_company(connection, sorted({row.company_id for row in rows}))
    for row in rows:
        favourite = favourites.get((row.company_id, row.client_id))
        facts = _facts(row, favourite, row.slots or [], staff, services)
        order = Order(facts, _key(row), row.attempt_number)
        yield _Draft(row.campaign_id, row.company_id, order, row.salon, row.currency, favourite)


Staff = dict[tuple[int, int], str]
Services = dict[int, tuple[str, ...]]


def _of_company(connection: Connection, companies: Sequence[int]) -> tuple[Staff, Services]:
    """The working staff and the services of companies: read once, not once a client."""
    wanted = {"companies": list(companies)}
    staff = {(row.company_id, row.staff_id): row.name for row in connection.execute(text(_STAFF), wanted)}
    services = {row.company_id: tuple(row.titles) for row in connection.execute(text(_SERVICES), wanted)}
    return staff, services


def _facts(
    row: Row[Any], favourite: int | None, slots: Iterable[Mapping[str, Any]], staff: Staff, services: Services
) -> MessageFacts:
    times = tuple(
        SlotFact(to_local(slot.starts_at, row.timezone), staff.get((row.company_id, slot.staff_id)))
        for slot in offered(slots)
        if row.include_slots_in_message
    )
    return MessageFacts(
        name=row.name,
        service_title=row.title or "",
        staff_name=staff.get((row.company_id, favourite)) if favourite is not None else None,
        days_inactive=row.days_since,
        discount_percent=row.discount_percent,
        slots=times,
        business_type=row.business_type,
        tone=row.tone,
        language=row.language,
        first_contact=row.attempt_number == 1,
        salon=row.salon,
        other_services=tuple(title for title in services.get(row.company_id, ()) if title != row.title),
        previous=row.previous or "",
    )


def _key(row: Row[Any]) -> str:
    return f"{row.company_id}:{row.client_id}"


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: a task group wraps it once for each group around it."""
    inner = errors.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
