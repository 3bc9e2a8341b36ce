"""Random edits of the salons' books: as many as asked for, the same for the same seed and the same town."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from reactivation_sandbox.dice import Dice
from reactivation_sandbox.edits import Done, Operation, perform
from reactivation_sandbox.salon import Record, Salon
from reactivation_sandbox.town import Town

T = TypeVar("T")
_TRIES = 20


def shuffle(town: Town, *, seed: int, edits: int, salons: Sequence[int] | None = None) -> list[Done]:
    """Make this many random edits in these salons (in all without a list) and say what was done.

    An unknown salon raises ValueError. Fewer are made only where a salon has nothing left to edit.
    """
    unknown = [company_id for company_id in salons or () if company_id not in town.salons]
    if unknown:
        raise ValueError(f"company_id={unknown[0]} is not in the town")
    dice = Dice(seed)
    desks = [_Desk(town, town.salons[company_id], dice) for company_id in salons or town.salons]
    done: list[Done] = []
    for number in range(edits):
        for attempt in range(_TRIES):
            desk = dice.pick(desks, "salon", number, attempt)
            operation = desk.think(number, attempt)
            if operation is not None:
                done += perform(town, [{**operation, "company_id": desk.salon.company_id}])
                desk.remember(done[-1])
                break
    return done


@dataclass(slots=True)
class _Lists:
    """What can be edited: ids of records, of those that were ahead when the shuffling began, and of clients."""

    records: list[int]
    ahead: list[int]
    clients: list[int]


class _Desk:
    """Somebody at the desk of one salon, with what they may think of next."""

    def __init__(self, town: Town, salon: Salon, dice: Dice) -> None:
        self.town, self.salon, self._dice = town, salon, dice
        ahead = [row.record_id for row in salon.records.values() if row.starts_at > town.now and not row.deleted]
        self._lists = _Lists(list(salon.records), ahead, list(salon.people))
        self._key: tuple[int, int] = (0, 0)

    def think(self, number: int, attempt: int) -> Operation | None:
        """The next edit, None when this one is not possible."""
        self._key = (number, attempt)
        luck = self._dice.unit("kind", *self._key) * sum(weight for weight, _ in _KINDS)
        for weight, kind in _KINDS:
            if luck < weight:
                return kind(self)
            luck -= weight
        return None

    def remember(self, done: Done) -> None:
        """What was made can be edited too."""
        for record_id in done.get("record_ids", ()) if done["op"] == "group_event" else ():
            self._lists.records.append(record_id)
        if done["op"] == "create_record":
            self._lists.records.append(done["record_id"])
        elif done["op"] == "new_client":
            self._lists.clients.append(done["client_id"])

    # chance

    def pick(self, among: Sequence[T], what: str) -> T | None:
        """One of these."""
        return self._dice.pick(among, what, *self._key) if among else None

    def number(self, limit: int, what: str) -> int:
        """A whole number from 0 up to, not including, the limit."""
        return self._dice.number(what, *self._key) % limit

    def row(self) -> Record | None:
        """A record that is not deleted, as likely a coming one as any."""
        record_id = self.pick((self._lists.records, self._lists.ahead)[self.number(2, "ahead")], "row")
        row = self.salon.records[record_id] if record_id else None
        return row if row is not None and not row.deleted else None

    def client_id(self, what: str = "client") -> int | None:
        """A client who is still there."""
        client_id = self.pick(self._lists.clients, what)
        return client_id if client_id in self.salon.people else None

    def staff_id(self) -> int | None:
        """Somebody who works here."""
        today = self.salon.local(self.town.now).date()
        return self.pick([key for key, member in self.salon.staff.items() if not member.left(today)], "staff")

    def service_id(self) -> int | None:
        """Something that can be booked."""
        return self.pick([key for key, item in self.salon.services.items() if item.active], "service")

    def moment(self) -> datetime:
        """A quarter of an hour of the day in the fortnight before or after, mostly after."""
        today = self.salon.local(self.town.now).replace(hour=9, minute=0, second=0, microsecond=0)
        return today + timedelta(days=self.number(21, "day") - 7, minutes=15 * self.number(44, "minute"))


def _create(desk: _Desk) -> Operation | None:
    client_id, staff_id, service_id = desk.client_id(), desk.staff_id(), desk.service_id()
    if client_id is None or staff_id is None or service_id is None:
        return None
    wish = {"client_id": client_id, "staff_id": staff_id, "service_ids": [service_id]}
    return {"op": "create_record", **wish, "starts_at": desk.moment().isoformat()}


def _move(desk: _Desk) -> Operation | None:
    row, staff_id = desk.row(), desk.staff_id()
    if row is None or staff_id is None:
        return None
    hands = {"staff_id": staff_id} if desk.number(3, "hands") == 0 else {}
    return {"op": "move_record", "record_id": row.record_id, "starts_at": desk.moment().isoformat(), **hands}


def _cancel(desk: _Desk) -> Operation | None:
    row = desk.row()
    return None if row is None else {"op": "cancel", "record_id": row.record_id}


def _attendance(desk: _Desk) -> Operation | None:
    row, attendance = desk.row(), desk.number(4, "attendance") - 1
    return None if row is None else {"op": "attendance", "record_id": row.record_id, "attendance": attendance}


def _lines(desk: _Desk) -> Operation | None:
    row, service_id = desk.row(), desk.service_id()
    if row is None or service_id is None:
        return None
    line = [service_id, 50.0 * (1 + desk.number(200, "price")), 1 + desk.number(2, "amount")]
    kept = [list(old) for old in row.lines[: desk.number(2, "kept")]]
    return {"op": "lines", "record_id": row.record_id, "lines": [*kept, line], "discount": 5 * desk.number(4, "off")}


def _pin(desk: _Desk) -> Operation | None:
    row, staff_id = desk.row(), desk.staff_id()
    if row is not None and row.client_id is not None and desk.number(2, "whose"):
        return {"op": "pin", "record_id": row.record_id}
    return {"op": "pin", "staff_id": staff_id, "starts_at": desk.moment().isoformat()} if staff_id else None


def _group(desk: _Desk) -> Operation | None:
    ids = {desk.client_id(f"client {place}") for place in range(3)} - {None}
    staff_id, service_id = desk.staff_id(), desk.service_id()
    if not ids or staff_id is None or service_id is None:
        return None
    event = {"staff_id": staff_id, "service_id": service_id, "starts_at": desk.moment().isoformat()}
    return {"op": "group_event", **event, "client_ids": sorted(key for key in ids if key)}


def _new_client(desk: _Desk) -> Operation | None:
    number = desk.number(1_000_000, "phone")
    return {"op": "new_client", "name": f"Новая {number}", "phone": f"+79005{number:06d}"}


def _change_client(desk: _Desk) -> Operation | None:
    client_id, number = desk.client_id(), desk.number(1_000_000, "phone")
    if client_id is None:
        return None
    ways: tuple[Operation, ...] = (
        {"name": f"Имя {number}"}, {"phone": f"+79006{number:06d}"}, {"mailing_refused": True}, {"blacklisted": True},
    )  # fmt: skip
    return {"op": "change_client", "client_id": client_id, **ways[desk.number(len(ways), "way")]}


def _delete_client(desk: _Desk) -> Operation | None:
    client_id = desk.client_id()
    records = ("keep", "null")[desk.number(2, "records")]
    return {"op": "delete_client", "client_id": client_id, "records": records} if client_id else None


def _merge(desk: _Desk) -> Operation | None:
    one, other = desk.client_id("one"), desk.client_id("other")
    return {"op": "merge_clients", "client_id": one, "into": other} if one and other and one != other else None


def _service(desk: _Desk) -> Operation | None:
    service_id, number = desk.service_id(), desk.number(1_000, "number")
    if service_id is None or number < 300:
        return {"op": "add_service", "title": f"Услуга {number}", "price": 100.0 + number, "minutes": 45}
    change: dict[str, Any] = {"title": f"Услуга {number}"} if number < 800 else {"active": False}
    return {"op": "change_service", "service_id": service_id, **change}


def _staff(desk: _Desk) -> Operation | None:
    staff_id, number = desk.staff_id(), desk.number(1_000, "number")
    if staff_id is None or number < 400:
        return {"op": "staff_joins", "name": f"Мастер {number}"}
    if number < 700:
        return {"op": "change_staff", "staff_id": staff_id, "name": f"Мастер {number}"}
    return {"op": "staff_leaves", "staff_id": staff_id, "how": ("fired", "hidden", "deleted")[number % 3]}


def _company(desk: _Desk) -> Operation | None:
    return {"op": "company", "title": f"Салон {desk.number(1_000, 'number')}"}


_KINDS: tuple[tuple[float, Callable[[_Desk], Operation | None]], ...] = (
    (22, _create), (20, _move), (14, _cancel), (14, _attendance), (8, _lines), (3, _pin), (3, _group),
    (4, _new_client), (6, _change_client), (1.5, _delete_client), (1.5, _merge), (1.5, _service), (1, _staff), (0.5, _company),
)  # fmt: skip
