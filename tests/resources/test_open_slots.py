"""Free times are asked for as seldom as will do, and nobody is the worse for it."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pytest
from hypothesis import given, settings

from reactivation_core.local_time import to_local
from reactivation_resources.open_slots import BUDGET_SPENT, WAVE, DaySlots, SlotQuestion, ask_slots, find_slots
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.errors import CrmError, LicenceError, UnavailableError
from reactivation_resources.yclients.models import BookDates, BookTime
from reactivation_sandbox.process import Town, running_town
from tests.core.salon_week import ANNA, CUT, LENGTH_S, OLGA, SalonWeek, Taste, salon_weeks

DAY = date(2026, 11, 26)
ALWAYS = dict.fromkeys(range(1, 8), (10, 12, 14, 16, 18))


class Answers:
    """A CRM that knows a week. `away` fails a company's questions; answers come back in any order."""

    def __init__(self, week: SalonWeek) -> None:
        self.week = week
        self.asked: list[tuple[int, int, int, date | None]] = []
        self.away: dict[int, CrmError] = {}

    async def book_times(self, company_id: int, staff_id: int, day: date, service_ids: Iterable[int]) -> list[BookTime]:
        (service,) = service_ids
        await self._answer(company_id, service, staff_id, day)
        return [
            BookTime(time=time(hour), seance_length=LENGTH_S)
            for hour in self.week.hours(company_id, service, staff_id, day)
        ]

    async def book_dates(
        self,
        company_id: int,
        service_ids: Iterable[int],
        staff_id: int | None = None,
        date_from: date | None = None,
        date_to: date | None = None,
    ) -> BookDates:
        (service,) = service_ids
        assert staff_id
        assert date_from
        assert date_to
        await self._answer(company_id, service, staff_id, None)
        days = [day for day in self.week.days(company_id, service, staff_id) if date_from <= day <= date_to]
        return BookDates(booking_dates=days)

    async def _answer(self, company: int, service: int, staff: int, day: date | None) -> None:
        self.asked.append((company, service, staff, day))
        for _ in range((staff + (day.toordinal() if day else 0)) % 3):
            await asyncio.sleep(0)
        if company in self.away:
            raise self.away[company]


def find(week: SalonWeek, crm: Answers | None = None, budget: int = 100_000) -> DaySlots:
    companies = list(dict.fromkeys(company for company, _, _ in week.clients))
    return asyncio.run(find_slots(crm or Answers(week), week.demand, companies, budget))


def offers(frame: pl.DataFrame) -> dict[tuple[int, int], list[tuple[int, datetime, int]]]:
    """What each client is offered, spares apart: (staff, start, score), best first."""
    return {
        (company, client): rows.select("staff_id", "starts_at", "score").rows()
        for (company, client), rows in frame.filter(~pl.col("spare")).group_by(
            "company_id", "client_id", maintain_order=True
        )
    }


def chain(companies: int, members: int = 2) -> SalonWeek:
    """Companies 1, 2, ... of a client each, alike."""
    staff = range(ANNA, ANNA + members)
    return SalonWeek(
        [(company, CUT, Taste()) for company in range(1, companies + 1)],
        {(company, CUT, one): ALWAYS for company in range(1, companies + 1) for one in staff},
        zones=dict.fromkeys(range(1, companies + 1), "Europe/Moscow"),
    )


def kept_wishes(week: SalonWeek, client: int, found: list[tuple[int, datetime, int]]) -> int:
    """How many wishes that filter all of a client's offers fulfil."""
    company, _, taste = week.clients[client - 1]
    zone = week.demand().zones[company]
    local = [to_local(start, zone) for _, start, _ in found]
    periods = {"morning": range(12), "afternoon": range(12, 17), "evening": range(17, 24)}
    timely = taste.sure <= 0.6 or taste.period is None or all(one.hour in periods[taste.period] for one in local)
    liked = taste.weekdays_sure <= 0.5 or not taste.weekdays or all(one.isoweekday() in taste.weekdays for one in local)
    return 2 if timely and liked else 1 if timely else 0


# ---------------------------------------------------------------- against the full fetch


@settings(max_examples=60)
@given(salon_weeks())
def test_nobody_is_the_worse_for_what_was_not_asked(week: SalonWeek) -> None:
    crm = Answers(week)
    found = find(week, crm)
    frugal, full = offers(week.demand().rank(found.slots)), offers(week.full_fetch())
    open_slots = week.slots(row for row in week.demand().questions.iter_rows())
    truly_open = set(open_slots.select("company_id", "service_id", "staff_id", "starts_at").iter_rows())
    taken = Counter((company, *slot[:2]) for (company, _), mine in frugal.items() for slot in mine)
    for (company, client), theirs in full.items():
        service, taste = week.clients[client - 1][1:]
        ours = frugal[company, client]
        assert {(company, service, staff, start) for staff, start, _ in ours} <= truly_open
        assert len(ours) >= len(theirs) or kept_wishes(week, client, ours) > kept_wishes(week, client, theirs)
        if taste.staff is not None and theirs[0][0] == taste.staff and taken[company, *theirs[0][:2]] < 2:
            assert ours[0][0] == taste.staff
    assert max(Counter(crm.asked).values()) == 1
    assert found.calls == len(crm.asked)
    companies = {company for company, _, _ in week.clients}
    asked, everything = Counter(row[0] for row in crm.asked), Counter(week.demand().questions["company_id"])
    assert all(asked[company] <= everything[company] + 1 for company in companies)
    assert found.saved == everything.total() - asked.total()


@settings(max_examples=60)
@given(salon_weeks(clients=1))
def test_one_client_is_offered_what_the_full_fetch_offers(week: SalonWeek) -> None:
    found = find(week)
    frugal, full = offers(week.demand().rank(found.slots)), offers(week.full_fetch())
    assert frugal.keys() == full.keys()
    for client, theirs in full.items():
        ours, favourite = frugal[client], week.clients[0][2].staff
        assert [score for _, _, score in ours] == [score for _, _, score in theirs]
        if theirs[0][0] == favourite:
            assert ours[0] == theirs[0]


# ---------------------------------------------------------------- the budget


def test_what_the_budget_does_not_reach_gets_no_slots_and_says_so() -> None:
    week, crm = chain(3 * WAVE), Answers(chain(3 * WAVE))
    alone = find(chain(1)).calls
    found = find(week, crm, budget=alone * WAVE + alone)
    assert len(crm.asked) == found.calls <= alone * WAVE + alone
    reached = [company for company in range(1, 3 * WAVE + 1) if company not in found.failed]
    assert reached == list(range(1, WAVE + 2))  # in their order
    assert set(found.failed.values()) == {BUDGET_SPENT}
    assert set(found.slots["company_id"]) == set(reached)


def test_a_company_that_is_cut_off_half_way_has_no_slots_at_all() -> None:
    found = find(chain(2), budget=find(chain(1)).calls + 3)
    assert found.failed == {2: BUDGET_SPENT}
    assert set(found.slots["company_id"]) == {1}


@pytest.mark.parametrize("budget", [0, 1])
def test_without_a_budget_nobody_is_served(budget: int) -> None:
    found = find(chain(2), budget=budget)
    assert found.failed == {1: BUDGET_SPENT, 2: BUDGET_SPENT}
    assert (found.slots.height, found.saved) == (0, 0)
    assert found.calls <= budget


# ---------------------------------------------------------------- outages


def licence(company: int) -> CrmError:
    return LicenceError("the licence has expired", call="book_times", company_id=company, status=402)


def test_a_company_without_an_answer_is_left_out_whole_and_the_others_are_not() -> None:
    week = chain(3)
    crm = Answers(week)
    crm.away[2] = licence(2)
    found = find(week, crm)
    assert found.failed == {2: str(crm.away[2])}
    assert set(found.slots["company_id"]) == {1, 3}
    one = find(chain(1))
    assert found.saved == 2 * one.saved


def test_when_the_crm_is_away_not_every_company_waits_for_it() -> None:
    week = chain(3 * WAVE)
    crm = Answers(week)
    crm.away = {company: UnavailableError("HTTP 503", call="book_times") for company, _, _ in week.clients}
    found = find(week, crm)
    assert {row[0] for row in crm.asked} == set(range(1, WAVE + 1))
    assert set(found.failed) == set(range(1, 3 * WAVE + 1))
    assert found.failed[WAVE + 1] == f"not asked: the CRM answered for none of {WAVE} companies before"


def test_licences_that_have_run_out_say_nothing_about_the_next_company() -> None:
    week = chain(WAVE + 1)
    crm = Answers(week)
    crm.away = {company: licence(company) for company in range(1, WAVE + 1)}
    assert set(find(week, crm).failed) == set(range(1, WAVE + 1))


# ---------------------------------------------------------------- single questions


def ask(crm: Answers, *questions: SlotQuestion):
    return asyncio.run(ask_slots(crm, questions))


def question(company: int = 1, staff: int = ANNA, day: date = DAY, needed_s: int = 0) -> SlotQuestion:
    zone = "Europe/Moscow" if company == 1 else "America/Toronto"
    return SlotQuestion(company, CUT, staff, day, zone, needed_s)


def test_starts_are_instants_by_the_wall_clock_and_the_salons_zone() -> None:
    week = SalonWeek([], {(1, CUT, ANNA): {3: (9, 18)}, (2, CUT, ANNA): {3: (9,)}})
    assert ask(Answers(week), question(), question(2)).slots.rows() == [
        (1, CUT, ANNA, datetime(2026, 11, 26, 6, tzinfo=UTC), LENGTH_S),
        (1, CUT, ANNA, datetime(2026, 11, 26, 15, tzinfo=UTC), LENGTH_S),
        (2, CUT, ANNA, datetime(2026, 11, 26, 14, tzinfo=UTC), LENGTH_S),
    ]


def test_on_the_day_of_the_change_of_clocks_the_wall_clock_counts() -> None:
    class Autumn(Answers):
        async def book_times(self, *_: object) -> list[BookTime]:
            return [BookTime(time="1:30", seance_length=900), BookTime(time="10:00", seance_length=900)]

    asked = question(2, day=date(2026, 11, 1))
    starts = ask(Autumn(SalonWeek([], {})), asked).slots["starts_at"].to_list()
    assert starts == [datetime(2026, 11, 1, 5, 30, tzinfo=UTC), datetime(2026, 11, 1, 15, tzinfo=UTC)]


def test_a_start_with_too_little_time_does_not_count() -> None:
    week = SalonWeek([], {(1, CUT, ANNA): {3: (9,)}})
    assert ask(Answers(week), question(needed_s=LENGTH_S)).slots.height == 1
    assert ask(Answers(week), question(needed_s=LENGTH_S + 1)).slots.is_empty()


def test_each_question_is_asked_once() -> None:
    crm = Answers(SalonWeek([], {}))
    ask(crm, *[question(staff=number % 3) for number in range(12)])
    assert len(crm.asked) == 3


def test_no_free_time_is_an_answer() -> None:
    answer = ask(Answers(SalonWeek([], {})), question())
    assert (answer.slots.height, answer.failed) == (0, {})
    assert answer.slots.schema["starts_at"] == pl.Datetime("us", "UTC")
    assert ask(Answers(SalonWeek([], {}))).slots.is_empty()


def test_one_failed_question_leaves_its_company_out() -> None:
    crm = Answers(SalonWeek([], {(1, CUT, ANNA): {3: (9,)}, (2, CUT, ANNA): {3: (9,)}}))
    crm.away[2] = licence(2)
    answer = ask(crm, question(1), question(2), question(2, OLGA))
    assert set(answer.failed) == {2}
    assert set(answer.slots["company_id"]) == {1}


# ---------------------------------------------------------------- in the town


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=5, salons=1, clients=40, now="2026-11-01T00:00:00+00:00") as town:
        yield town


async def _in_town(town: Town, waits: list[float]) -> list[int]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    (company,) = (int(key) for key in town.sessions)
    async with YClients(town.yclients_url, town.partner, town.user, RateLimiter("none", ()), sleep=sleep) as crm:
        zone = (await crm.company(company)).timezone_name or "UTC"
        service = (await crm.services(company)).good[0]
        staff = [link.id for link in service.staff]
        days = [date(2026, 11, 2) + timedelta(days=ahead) for ahead in range(7)]
        questions = [SlotQuestion(company, service.id, one, day, zone) for one in staff for day in days]
        town.fail("/api/v1/book_times", status=429, retry_after=3)
        town.fail("/api/v1/book_times", status=403)
        answer = await ask_slots(crm, questions)
        assert answer.failed == {}
        found = set(answer.slots.select("staff_id", "starts_at").iter_rows())
        for one in staff:
            bookable = await crm.book_dates(company, [service.id], one, days[0], days[-1])
            assert set(bookable.booking_dates) == {to_local(at, zone).date() for who, at in found if who == one}
        return [crm.calls["book_times"] - len(questions), len(found)]


def test_the_town_answers_and_what_passes_is_asked_again(running: Town) -> None:
    waits: list[float] = []
    again, found = asyncio.run(_in_town(running, waits))
    assert again == len(waits) == 2
    assert found > 0
