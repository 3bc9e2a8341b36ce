"""The journal in pieces that one answer holds.

Rows that move between days while a long listing is read page by page can push others from a page that is still to come onto one that has been
read, and no count need show it. What one answer holds cannot move; so a span of days that needs more is cut until every piece fits.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from typing import TypeVar

from pydantic import BaseModel

from reactivation_resources.yclients.caller import paged, rows_of, total_of
from reactivation_resources.yclients.models import Cards, read_cards
from reactivation_resources.yclients.transport import Answer, Call

FILL = 0.75  # of an answer: days differ, and a piece that overflows costs a call
FIRST_DAYS = 7  # of an open future; every further piece is twice as long
MOST_DAYS = 4_000

CardT = TypeVar("CardT", bound=BaseModel)
Ask = Callable[[date, date | None, int], Awaitable[Answer]]
"""Asks for the rows from a day to a day (None: open), and a page of them."""


async def by_days(
    call: Call, model: type[CardT], ask: Ask, start: date, end: date | None
) -> AsyncIterator[Cards[CardT]]:
    """All rows from `start` to `end`, both included, piece by piece. A row that moves meanwhile may come twice: the later one counts.

    A single day that needs several answers is read page by page, with the guards of `paged`.
    """
    waiting = [(start, end, FIRST_DAYS)]
    while waiting:
        first, last, reach = waiting.pop()
        answer = await ask(first, last, 1)
        rows, total = rows_of(call, answer.data), total_of(answer)
        if total is not None and total <= len(rows):
            if rows:
                yield read_cards(model, rows)
        elif total is None or not rows or first == last or reach > MOST_DAYS:
            async for cards in paged(call, model, lambda page, first=first, last=last: ask(first, last, page)):  # type: ignore[misc]
                yield cards
        elif last is None:
            waiting.append((first + timedelta(days=reach), None, reach * 2))
            waiting.append((first, first + timedelta(days=reach - 1), reach))
        else:
            days = (last - first).days + 1
            pieces = min(max(math.ceil(total / (FILL * len(rows))), 2), days)
            cuts = [first + timedelta(days=days * number // pieces) for number in range(pieces)]
            ends = [*(cut - timedelta(days=1) for cut in cuts[1:]), last]
            waiting += reversed([(cut, until, reach) for cut, until in zip(cuts, ends, strict=True)])
