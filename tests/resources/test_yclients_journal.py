"""The journal is read in pieces that one answer holds: what does not move is never missed, whatever moves meanwhile."""

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from reactivation_resources.yclients.journal import by_days
from reactivation_resources.yclients.transport import Answer, Call

FIRST = date(2026, 3, 1)
DAYS = 60
CALL = Call("records", "records/1", 1)


class Row(BaseModel):
    id: int


class Journal:
    """Rows by day behind answers of at most `page` rows; before every answer but the first the next of `moves` happens."""

    def __init__(self, days: Sequence[int], page: int, moves: Sequence[tuple[int, int]] = ()) -> None:
        self.days = dict(enumerate(days))
        self.page = page
        self.moves = list(moves)
        self.calls = 0

    async def ask(self, first: date, last: date | None, page: int) -> Answer:
        if self.calls and self.moves:
            row, day = self.moves.pop()
            self.days[row % len(self.days)] = day
        self.calls += 1
        until = (last - FIRST).days if last else 10_000
        found = [row for row, day in sorted(self.days.items()) if (first - FIRST).days <= day <= until]
        rows = found[(page - 1) * self.page : page * self.page]
        return Answer([{"id": row} for row in rows], {"page": page, "total_count": len(found)})


async def read(journal: Journal, end: date | None) -> list[int]:
    pieces = by_days(CALL, Row, journal.ask, FIRST, end)
    return [card.id async for cards in pieces for card in cards.good]


days = st.lists(st.integers(0, DAYS - 1), min_size=1, max_size=150)
ends = st.sampled_from([None, FIRST + timedelta(days=DAYS - 1)])


@settings(max_examples=50, deadline=None)
@given(days, st.integers(3, 40), ends)
def test_every_row_of_the_span_is_read(days: list[int], page: int, end: date | None) -> None:
    found = asyncio.run(read(Journal(days, page), end))
    assert set(found) == set(range(len(days)))


@settings(max_examples=50, deadline=None)
@given(
    days.map(lambda found: [day % 40 for day in found]),
    st.lists(st.tuples(st.integers(0, 149), st.integers(0, DAYS - 1)), min_size=1, max_size=60),
    ends,
)
def test_rows_that_stand_still_are_read_while_others_move(
    days: list[int], moves: list[tuple[int, int]], end: date | None
) -> None:
    page = 1 + max(days.count(day) for day in set(days)) + len(moves)  # a single day fits whatever moves there
    moved = {row % len(days) for row, _ in moves}
    found = asyncio.run(read(Journal(days, page, moves), end))
    assert set(range(len(days))) - moved <= set(found)


def test_a_span_costs_few_more_calls_than_its_pages() -> None:
    days = [number % DAYS for number in range(3_000)]  # 50 a day
    journal = Journal(days, 200)
    found = asyncio.run(read(journal, FIRST + timedelta(days=DAYS - 1)))
    assert len(found) == 3_000
    assert journal.calls == 21  # 15 pages' worth in 20 pieces of three days, and the call that told how many


def test_an_open_future_is_cut_by_ever_longer_pieces() -> None:
    days = [number // 30 for number in range(900)]  # 30 a day for 30 days
    journal = Journal(days, 200)
    assert sorted(asyncio.run(read(journal, None))) == list(range(900))
    assert journal.calls < 20
