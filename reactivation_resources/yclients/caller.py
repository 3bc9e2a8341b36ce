"""How answers become cards: one, all at once, or page by page.

What to keep out: paths (client.py, booking.py) and HTTP (transport.py). A listing that moves while it is read is read again; what cannot be read
whole is an error and never a part.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.errors import ListingChangedError, MalformedError
from reactivation_resources.yclients.models import Cards, read_cards, why
from reactivation_resources.yclients.transport import Answer, Call, Parameters, Transport

PAGE = 200  # rows; more can fall back to 25
READINGS = 3  # of a listing that changes while it is read

CardT = TypeVar("CardT", bound=BaseModel)


class Caller:
    """Asks and reads. Use it on one event loop, `async with` or with `aclose()` at the end.

    Args:
        base_url: Up to and including `/api/v1`.
        partner_token, user_token: Without a user token only companies and free times can be asked for.
        limiter: Shared by everybody who calls from this address.
        partner_id: Sent as `X-Partner-Id`, which some partner tokens need.
        proxy: HTTP or SOCKS5 proxy.
        timing: `sleep` and `jitter`, see `Transport`.
    """

    def __init__(
        self,
        base_url: str,
        partner_token: str | None,
        user_token: str | None,
        limiter: RateLimiter,
        *,
        partner_id: str | None = None,
        proxy: str | None = None,
        **timing: Any,
    ) -> None:
        headers = {
            "Authorization": f"Bearer {partner_token or ''}" + (f", User {user_token}" if user_token else ""),
            "Accept": "application/vnd.yclients.v2+json",
        }
        if partner_id:
            headers["X-Partner-Id"] = partner_id
        secrets = tuple(token for token in (partner_token, user_token) if token)
        self._transport = Transport(base_url, headers, secrets, limiter, proxy=proxy, **timing)

    async def __aenter__(self) -> Self:
        """Nothing to do: connections are made by calls."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    @property
    def calls(self) -> Counter[str]:
        """The requests that left so far, by call, retries included."""
        return self._transport.calls

    async def _one(self, call: Call, model: type[CardT], query: Parameters | None = None) -> CardT:
        return card_of(call, model, (await self._transport.read(call, query)).data)

    async def _all(self, call: Call, model: type[CardT], query: Parameters | None = None) -> Cards[CardT]:
        return read_cards(model, rows_of(call, (await self._transport.read(call, query)).data))

    async def _whole(self, call: Call, model: type[CardT], query: Parameters) -> list[CardT]:
        return sound(call, await self._all(call, model, query))

    def _listing(self, call: Call, model: type[CardT], query: dict[str, str]) -> AsyncIterator[Cards[CardT]]:
        async def ask(page: int) -> Answer:
            return await self._transport.read(call, {**query, "page": str(page), "count": str(PAGE)})

        return paged(call, model, ask)


async def paged(call: Call, model: type[CardT], ask: Callable[[int], Awaitable[Answer]]) -> AsyncIterator[Cards[CardT]]:
    """All pages, each id once. A short page is no end: an empty one is, or having seen as many rows as there are.

    A row that drops out while we read moves the rest forward, and one of them would be missed: when the total changes, a page comes twice or
    rows are wanting at the end, everything is read again.
    """
    given: set[str] = set()
    for _ in range(READINGS):
        seen: set[str] = set()
        before: list[str] = []
        page, total_at_first = 1, None
        while True:
            answer = await ask(page)
            rows = rows_of(call, answer.data)
            keys = [_key(row) for row in rows]
            total = total_of(answer)
            total_at_first = total if page == 1 else total_at_first
            repeated = bool(keys) and keys == before
            if total != total_at_first or (repeated and total is not None):
                break
            fresh = [row for key, row in dict(zip(keys, rows, strict=True)).items() if key not in given]
            seen.update(keys)
            given.update(keys)
            if fresh:
                yield read_cards(model, fresh)
            if total is not None and len(seen) >= total:
                return
            if not rows or repeated:  # without a total, a page that repeats comes from one who gives everything at once
                if total is None:
                    return
                break
            before = keys
            page += 1
    raise call.error(ListingChangedError, f"the listing changed while it was read, {READINGS} times")


def card_of(call: Call, model: type[CardT], data: Any) -> CardT:
    """The one card asked for; raises MalformedError."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise call.error(MalformedError, why(error)) from None


def sound(call: Call, cards: Cards[CardT]) -> list[CardT]:
    """All cards, where one that cannot be read spoils the answer; raises MalformedError."""
    if cards.rejected:
        raise call.error(MalformedError, cards.rejected[0].reason)
    return cards.good


def rows_of(call: Call, data: Any) -> list[Any]:
    """The rows of an answer; nothing is no list, and no list is no empty one: raises MalformedError."""
    if not isinstance(data, list):
        raise call.error(MalformedError, f"expected a list, got {type(data).__name__}")
    return data


def total_of(answer: Answer) -> int | None:
    """How many rows there are on all pages, where the CRM says."""
    total = str(answer.meta.get("total_count"))
    return int(total) if total.isdecimal() else None


def _key(row: Any) -> str:
    """What makes a row one; without an id, which is not ours to reject here, it is all it says."""
    found = row.get("id") if isinstance(row, dict) else None
    return str(row if found is None else found)
