"""The filters of the CRM's search of clients, each a test of one client. Add a filter to `_TESTS`; what is not there is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from reactivation_sandbox import wire
from reactivation_sandbox.ask import RefusedError, amount, whole
from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Record, Salon
from reactivation_sandbox.variants import Variants

Json = dict[str, Any]
_STATUS = {-1: 1, 0: 2, 1: 3, 2: 4}  # the search's own codes of attendance


@dataclass(frozen=True, slots=True)
class Searched:
    """A client with the rows of hers that are not deleted and those of them that she came to, in order of time."""

    person: Person
    rows: list[Record]
    made: list[Record]

    @property
    def first(self) -> datetime | None:
        """The wall-clock start of the first visit made."""
        return self.made[0].local if self.made else None

    @property
    def last(self) -> datetime | None:
        """The wall-clock start of the last visit made."""
        return self.made[-1].local if self.made else None


def searched(salon: Salon, person: Person) -> Searched:
    """The client as filters and orders see her."""
    rows = [row for row in salon.of_client.get(person.client_id, ()) if not row.deleted]
    return Searched(person, rows, sorted((r for r in rows if r.attendance == 1), key=lambda r: r.starts_at))


def bad(name: str, why: str) -> RefusedError:
    """A refusal that names what is wrong in the request."""
    return RefusedError(400, "Ошибка валидации", errors={name: [why]})


_Test = Callable[[Searched], bool]


def test_of(v: Variants, salon: Salon, item: Any) -> _Test:
    """A filter of the request as a test of one client; one that the CRM does not know is refused."""
    if not isinstance(item, dict) or not isinstance(item.get("state"), dict):
        raise bad("filters", "Фильтр должен содержать type и state")
    kind, state = str(item.get("type")), item["state"]
    if kind in _CONSENTS and v.consent_filters == "served":
        allowed = bool(state.get("value"))
        test: _Test = lambda one: one.person.mailing_refused is not allowed  # noqa: E731
    elif kind in _TESTS:
        test = _TESTS[kind](v, salon, state)
    else:
        raise bad("filters", f"Неизвестный фильтр: {kind}")
    return (lambda one: not test(one)) if state.get("invert") else test


_CONSENTS = frozenset(
    {"is_newsletter_allowed", "is_mass_notification_allowed", "is_push_notification_enabled", "is_personal_data_processing_allowed"}
)  # fmt: skip


def _values(state: Json, name: str = "value") -> list[int]:
    listed = state.get(name)
    if isinstance(listed, dict):
        listed = listed.get("value")
    if not isinstance(listed, list):
        raise bad("filters", f"{name} должно быть списком")
    return [whole(item, "filters") for item in listed]


def _between(state: Any) -> Callable[[float], bool]:
    low, high = (amount(state[key], "filters") if state.get(key) is not None else None for key in ("from", "to"))
    return lambda value: (low is None or value >= low) and (high is None or value <= high)


def _days(state: Any) -> Callable[[date], bool]:
    low, high = str(state.get("from") or ""), str(state.get("to") or "9999")
    return lambda value: low <= value.isoformat() <= high


def _by_id(_: Variants, __: Salon, state: Json) -> _Test:
    ids = set(_values(state))
    return lambda one: one.person.client_id in ids


def _quick(_: Variants, __: Salon, state: Json) -> _Test:
    text = str(state.get("value") or "").lower()
    return lambda one: text in one.person.name.lower() or text in one.person.phone


def _birthday(_: Variants, __: Salon, state: Json) -> _Test:
    low, high = str(state.get("from") or ""), str(state.get("to") or "9999")
    yearless = len(low) == len("MM-DD")

    def test(one: Searched) -> bool:
        born = wire.birth_date(one.person.client_id)
        return isinstance(born, str) and bool(born) and low <= (born[5:] if yearless else born) <= high

    return test


def _gender(_: Variants, __: Salon, state: Json) -> _Test:
    wanted = _values(state)
    return lambda one: one.person.client_id % 3 in wanted


def _importance(_: Variants, __: Salon, state: Json) -> _Test:
    wanted = _values(state)
    return lambda _: 0 in wanted


def _category(_: Variants, __: Salon, state: Json) -> _Test:
    listed = wire.BLACKLIST["id"] in _values(state)
    return lambda one: listed and one.person.blacklisted


def _sold(_: Variants, __: Salon, state: Json) -> _Test:
    fits = _between(state)
    return lambda one: fits(one.person.spent)


def _has_none(_: Variants, __: Salon, state: Json) -> _Test:
    """Cards, mobile applications and sales of goods: nobody in the town has any."""
    wanted = state.get("value", True) is not False
    return lambda _: not wanted


def _nested(v: Variants, salon: Salon, state: Json) -> _Test:
    """The filter `client`: several filters of the card at once."""
    inner = [
        test_of(v, salon, {"type": key, "state": value})
        for key, value in state.items()
        if key not in {"invert", "operation"}
    ]
    return lambda one: all(test(one) for test in inner)


def _records(v: Variants, salon: Salon, state: Json) -> _Test:
    """The filter `record`: clients with enough rows of the named staff, services, states and days."""
    staff, services, categories, statuses = (
        set(_values(state, name)) if state.get(name) else None
        for name in ("staff", "service", "service_category", "status")
    )
    created, count, sold = (state.get(name) or {} for name in ("created", "records_count", "sold_amount"))
    in_days, enough, paid = _days(created), _between(count), _between(sold)

    def counts(row: Record) -> bool:
        named = {line.service_id for line in row.lines}
        day = row.local if v.search_created == "visit" else salon.local(row.created)
        return (
            (staff is None or row.staff_id in staff)
            and (services is None or not services.isdisjoint(named))
            and (categories is None or any(salon.services[key].category_id in categories for key in named))
            and (statuses is None or _STATUS[row.attendance] in statuses)
            and in_days(day.date())
        )

    def test(one: Searched) -> bool:
        rows = [row for row in one.rows if counts(row)]
        return bool(rows) and enough(len(rows)) and (not sold or paid(sum(row.cost for row in rows)))

    return test


_TESTS: dict[str, Callable[[Variants, Salon, Json], _Test]] = {
    "id": _by_id,
    "quick_search": _quick,
    "birthday": _birthday,
    "gender": _gender,
    "importance": _importance,
    "category": _category,
    "sold_amount": _sold,
    "record": _records,
    "client": _nested,
    "sale": _has_none,
    "has_mobile_app": _has_none,
    "has_passteam_card": _has_none,
    "passteam_card_ids": _has_none,
}
