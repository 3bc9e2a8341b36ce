"""A call of the CRM as its handlers see it: who is asked about, the query, the body; and what they may answer.

Handlers are plain functions `(Ask) -> Answer` that raise RefusedError. Tokens, envelopes and HTTP are in `yclients_api.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple, TypeVar

from starlette.datastructures import QueryParams

from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Record, Salon
from reactivation_sandbox.town import Town
from reactivation_sandbox.variants import Variants

T = TypeVar("T")
MAX_PAGE, FALLBACK_PAGE = 300, 25
TRUE = frozenset({"1", "true"})


class RefusedError(Exception):
    """The CRM says no. `code` is one of the booking codes 431 to 438, `errors` names fields."""

    def __init__(
        self, status: int, message: str, code: int | None = None, errors: dict[str, list[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.errors = status, message, code, errors


class Answer(NamedTuple):
    """Data and meta of an answer. Without a status it is 201 for POST and 200 otherwise."""

    data: Any
    meta: Any = []  # noqa: RUF012 (nothing writes into it)
    status: int | None = None


Handler = Callable[["Ask"], Answer]
Calls = Sequence[tuple[str, str, Handler]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One call. `path` are the values in the path; `salon` raises RefusedError when the town has no such company."""

    town: Town
    v: Variants
    path: dict[str, Any]
    query: QueryParams
    body: dict[str, Any]

    @property
    def salon(self) -> Salon:
        """The salon in the path."""
        salon = self.town.salons.get(self.path["company"])
        if salon is None:
            raise RefusedError(404, "Не найдено")
        return salon

    @property
    def record(self) -> Record:
        """The record in the path."""
        row = self.salon.records.get(self.path["record"])
        if row is None:
            raise RefusedError(404, "Запись не найдена")
        return row

    @property
    def client(self) -> Person:
        """The client in the path."""
        person = self.salon.people.get(self.path["client"])
        if person is None:
            raise RefusedError(404, "Клиент не найден")
        return person

    def number(self, name: str) -> int | None:
        """A whole number of the query, None when absent or empty; anything else is refused."""
        text = self.query.get(name) or ""
        return whole(text, name) if text else None

    def instant(self, name: str) -> datetime | None:
        """A moment of the query: the salon's wall clock unless it names an offset."""
        text = self.query.get(name)
        return instant(self.salon, text) if text else None

    def day(self, name: str) -> date | None:
        """A calendar day of the query."""
        text = self.query.get(name)
        return day(text) if text else None

    def flag(self, name: str) -> bool:
        """Whether the query says yes to this."""
        return self.query.get(name) in TRUE

    def paged(self, rows: Sequence[T], size: int) -> tuple[int, Sequence[T]]:
        """The asked page's number and its rows, when `count` or the caller's `size` is asked for."""
        wanted = self.number("count") or size
        number = max(1, self.number("page") or 1)
        return number, cut(self.v, rows, number, wanted if 1 <= wanted <= MAX_PAGE else FALLBACK_PAGE)


def cut(v: Variants, rows: Sequence[T], number: int, size: int) -> Sequence[T]:
    """Page `number` of rows, `size` a page or as few as the variant has it."""
    size = {"fallback": min(size, FALLBACK_PAGE), "short": max(1, size * 4 // 5)}.get(v.page_size, size)
    return rows[(number - 1) * size : number * size]


def query_key(query: QueryParams) -> tuple[tuple[str, str], ...]:
    """What a query asks for, whichever page of it."""
    return tuple(sorted((key, value) for key, value in query.multi_items() if key not in {"page", "count"}))


def whole(value: Any, name: str) -> int:
    """A whole number sent as a number or as text; anything else is refused."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise RefusedError(400, "Ошибка валидации", errors={name: ["Должно быть целым числом"]}) from None


def amount(value: Any, name: str) -> float:
    """An amount of money sent as a number or as text; anything else is refused."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise RefusedError(400, "Ошибка валидации", errors={name: ["Должно быть числом"]}) from None


def instant(salon: Salon, text: str) -> datetime:
    """A moment: the salon's wall clock unless it names an offset; anything else is refused."""
    moment = _moment(text, 400)
    return moment.astimezone(UTC) if moment.tzinfo else salon.instant(moment)


def wall_clock(salon: Salon, text: Any) -> datetime:
    """The salon's wall clock at a moment that a booking names; anything else is refused."""
    moment = _moment(str(text), 422)
    return (salon.local(moment) if moment.tzinfo else moment).replace(second=0, microsecond=0)


def _moment(text: str, status: int) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(status, "Неверная дата") from None


def day(text: str) -> date:
    """A calendar day; anything else is refused."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, "Неверная дата") from None


def by_phone(salon: Salon, digits: str) -> Person | None:
    """The client with the lowest id among those who have this phone."""
    return next((p for _, p in sorted(salon.people.items()) if p.chat == digits), None)
