"""Open slots, asked of the CRM: single questions for a re-check, and as few as will do for a whole day's plan.

What to add here: how answers are read and what is done when none comes. What to keep out: which questions are worth asking
(`reactivation_core.slot_demand`) and how a request travels (yclients). A company with a failed question is left out whole and named: half an
answer would look like a salon with few free times.
"""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import accumulate
from typing import Any, Protocol, TypeVar

import anyio
import polars as pl

from reactivation_core.local_time import local_to_instant
from reactivation_core.slot_demand import SlotDemand
from reactivation_core.slot_round import MEMBER, QUESTION, QUESTIONS_SCHEMA, SLOTS_SCHEMA, Known
from reactivation_resources.yclients.errors import CrmError
from reactivation_resources.yclients.models import BookDates, BookTime

WAVE = 10
"""Companies whose questions travel together."""
BUDGET_SPENT = "slot budget spent"


_Slot = tuple[int, int, int, datetime, int]
QuestionT = TypeVar("QuestionT")


class FreeTimes(Protocol):
    """What is needed of the CRM's client."""

    async def book_times(self, company_id: int, staff_id: int, day: date, service_ids: Iterable[int]) -> list[BookTime]:
        """Free starts of a local day."""
        ...

    async def book_dates(
        self,
        company_id: int,
        service_ids: Iterable[int],
        staff_id: int | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> BookDates:
        """Days with a free start."""
        ...


@dataclass(frozen=True)
class SlotQuestion:
    """The free times of one staff member on one local day for one service; a start with fewer than `needed_s` seconds does not count."""

    company_id: int
    service_id: int
    staff_id: int
    day: date
    zone: str
    needed_s: int = 0


@dataclass(frozen=True)
class SlotAnswer:
    """Open slots (company_id, service_id, staff_id, starts_at, length_s), and the companies without an answer with the reason."""

    slots: pl.DataFrame
    failed: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DaySlots(SlotAnswer):
    """What a day's clients need to know of their salons' free times.

    Attributes:
        calls: Questions put to the CRM; one that was tried again counts once.
        saved: How many more the full fetch of the answered companies would have been.
        rounds: How often answers were waited for.
    """

    calls: int = 0
    saved: int = 0
    rounds: int = 0


async def ask_slots(crm: FreeTimes, questions: Iterable[SlotQuestion]) -> SlotAnswer:
    """Ask every distinct question once."""
    slots: list[_Slot] = []

    async def put(question: SlotQuestion) -> None:
        slots.extend(await _open_slots(crm, question))

    by_company: dict[int, list[SlotQuestion]] = {}
    for question in dict.fromkeys(questions):
        by_company.setdefault(question.company_id, []).append(question)
    errors = await _per_company(put, by_company)
    return SlotAnswer(_slots_frame(slots, errors), {company: str(error) for company, error in errors.items()})


async def find_slots(
    crm: FreeTimes, demand_of: Callable[[Sequence[int]], SlotDemand], companies: Sequence[int], budget: int
) -> DaySlots:
    """Ask what the planned clients of `companies` need to know, with at most `budget` questions.

    `companies` come in the order in which they are served; `demand_of` tells the demand of some of them. A company that the budget does not
    reach is left out whole, with the reason `BUDGET_SPENT`. When none of many companies gets an answer the CRM is away, and nobody else
    is asked.
    """
    served: list[DaySlots] = []
    waiting, reason, silent = list(companies), "", 0
    while waiting and not reason:
        left = budget - sum(done.calls for done in served)
        demand, wave = _wave(demand_of, waiting, left)
        done, errors = await _serve(crm, demand, wave, left)
        served.append(done)
        del waiting[: len(wave)]
        passing = [error for error in errors.values() if not error.permanent]
        silent = silent + len(wave) if len(passing) == len(wave) else 0
        if BUDGET_SPENT in done.failed.values():
            reason = BUDGET_SPENT
        elif silent >= WAVE:
            reason = f"not asked: the CRM answered for none of {silent} companies before"
    return DaySlots(
        pl.concat([_slots_frame([], {}), *(done.slots for done in served)]),
        {company: why for done in served for company, why in done.failed.items()} | dict.fromkeys(waiting, reason),
        calls=sum(done.calls for done in served),
        saved=sum(done.saved for done in served),
        rounds=sum(done.rounds for done in served),
    )


def _wave(
    demand_of: Callable[[Sequence[int]], SlotDemand], waiting: Sequence[int], left: int
) -> tuple[SlotDemand, list[int]]:
    """The next companies and their demand: as many as the calls `left` serve at the worst, so that nobody is cut off by one behind him."""
    wave = list(waiting[:WAVE])
    demand = demand_of(wave)
    most = dict(demand.questions.group_by("company_id").len().iter_rows())
    needed = accumulate(most.get(company, 0) + 1 for company in wave)
    fitting = wave[: max(1, sum(calls <= left for calls in needed))]
    return (demand, wave) if fitting == wave else (demand_of(fitting), fitting)


async def _serve(
    crm: FreeTimes, demand: SlotDemand, companies: Sequence[int], budget: int
) -> tuple[DaySlots, dict[int, CrmError]]:
    """Ask round by round until nothing is worth asking or the budget is spent: what was found, and the errors by company."""
    known, errors, rounds = Known.nothing(), dict[int, CrmError](), 0
    cut: Sequence[int] = ()
    while True:
        wanted = demand.next_questions(known)
        wanted = wanted.filter(~pl.col("company_id").is_in(list(errors)))
        if known.asked.height + wanted.height > budget:
            cut = companies
        if wanted.is_empty() or cut:
            break
        known, failed = await _ask_round(crm, demand, wanted, known)
        errors |= failed
        rounds += 1
    served = pl.col("company_id").is_in(
        [company for company in companies if company not in errors and company not in cut]
    )
    answer = DaySlots(
        known.slots.filter(served),
        dict.fromkeys(cut, BUDGET_SPENT) | {company: str(error) for company, error in errors.items()},
        calls=known.asked.height,
        saved=demand.questions.filter(served).height - known.asked.filter(served).height,
        rounds=rounds,
    )
    return answer, errors


async def _ask_round(
    crm: FreeTimes, demand: SlotDemand, wanted: pl.DataFrame, known: Known
) -> tuple[Known, dict[int, CrmError]]:
    """Put the questions of a round: what is known then, and the errors by company."""
    slots: list[_Slot] = []
    bookable: list[tuple[int, int, int, date]] = []
    week = demand.questions["day"].unique().sort().to_list()

    async def put(question: tuple[int, int, int, date | None]) -> None:
        company, service, staff, day = question
        if day is None:
            found = await crm.book_dates(company, [service], staff, week[0], week[-1])
            bookable.extend((company, service, staff, day) for day in found.booking_dates)
        else:
            zone, needed = demand.zones[company], demand.lengths.get((company, service), 0)
            slots.extend(await _open_slots(crm, SlotQuestion(company, service, staff, day, zone, needed)))

    by_company: dict[int, list[tuple[int, int, int, date | None]]] = {}
    for row in wanted.select(QUESTION).iter_rows():
        by_company.setdefault(row[0], []).append(row)
    errors = await _per_company(put, by_company)
    closed = (
        demand.questions.join(wanted.filter(pl.col("day").is_null()), on=MEMBER, how="semi")
        .join(pl.DataFrame(bookable, QUESTIONS_SCHEMA, orient="row"), on=QUESTION, how="anti")
        .join(known.answered, on=QUESTION, how="anti")
    )
    found = Known(
        asked=pl.concat([known.asked, wanted.select(QUESTION)]),
        closed=pl.concat([known.closed, closed]),
        slots=pl.concat([known.slots, _slots_frame(slots, errors)]),
    )
    return found, errors


async def _open_slots(crm: FreeTimes, question: SlotQuestion) -> list[_Slot]:
    """The answer's starts as instants: the wall clock and the salon's zone are trusted, offsets have been seen wrong."""
    company, service, staff, day = question.company_id, question.service_id, question.staff_id, question.day
    return [
        (
            company,
            service,
            staff,
            local_to_instant(datetime.combine(day, start.time), question.zone).astimezone(UTC),
            start.length_s,
        )
        for start in await crm.book_times(company, staff, day, [service])
        if start.length_s >= question.needed_s
    ]


async def _per_company(
    put: Callable[[QuestionT], Coroutine[Any, Any, None]], questions: Mapping[int, Sequence[QuestionT]]
) -> dict[int, CrmError]:
    """Put all questions at once. The first one that fails calls back the others of its company; returns the errors by company."""
    errors: dict[int, CrmError] = {}

    async def serve(company: int) -> None:
        try:
            async with anyio.create_task_group() as group:
                for question in questions[company]:
                    group.start_soon(put, question)
        except* CrmError as failed:
            (errors[company], *_) = (error for error in failed.exceptions if isinstance(error, CrmError))

    async with anyio.create_task_group() as group:
        for company in questions:
            group.start_soon(serve, company)
    return errors


def _slots_frame(slots: Iterable[_Slot], without: Iterable[int]) -> pl.DataFrame:
    """The slots of companies that are not `without` an answer, each once."""
    left_out = set(without)
    rows = {row[:4]: row for row in slots if row[0] not in left_out}
    return pl.DataFrame(list(rows.values()), SLOTS_SCHEMA, orient="row").sort(
        "company_id", "service_id", "staff_id", "starts_at"
    )
