"""What the town's administrators do to their books when told to: `{"op": "move_record", "company_id": 101, "record_id": …}`.

Every operation is a function below, named in `OPERATIONS`; its keyword arguments are the operation's fields. All of them happen
at the town's present time, which is what the changed cards carry. Times are the salon's wall clock (`2026-11-05T12:00:00`)
or instants with an offset.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from reactivation_sandbox import bookkeeping, edits_catalogue
from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Line, Record, Salon
from reactivation_sandbox.town import Town

Operation = dict[str, Any]
Done = dict[str, Any]


def perform(town: Town, operations: list[Operation]) -> list[Done]:
    """Do these in order and say what was done: each operation with the ids of what it made.

    The first one that cannot be done raises ValueError that names it; those before it stay done.
    """
    done = []
    for number, operation in enumerate(operations):
        fields = dict(operation)
        name, company_id = fields.pop("op", None), fields.pop("company_id", None)
        try:
            if name not in OPERATIONS:
                raise ValueError(f"op={name!r} is none of {', '.join(OPERATIONS)}")  # noqa: TRY301
            made = OPERATIONS[name](town, town.salons[company_id], **fields)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"operation {number} ({name}): {type(error).__name__}: {error}") from error
        done.append({**operation, **made})
    return done


# records


def create_record(
    town: Town,
    salon: Salon,
    *,
    staff_id: int,
    starts_at: str,
    client_id: int | None = None,
    service_ids: list[int] | None = None,
    lines: list[list[float]] | None = None,
    minutes: int | None = None,
    attendance: int | None = None,
    online: bool = False,
    comment: str = "",
    api_id: str = "",
    activity_id: int = 0,
) -> Done:
    """A booking of `service_ids` at their price or of `lines` [service, price, amount], whether the time is free or not."""
    chosen = _lines(salon, lines or [[key, salon.services[key].price] for key in service_ids or []])
    local = _wall_clock(salon, starts_at)
    usual = salon.length(salon.staff[staff_id], [line.service_id for line in chosen])
    person = None if client_id is None else salon.people[client_id]
    row = bookkeeping.write(
        town, salon, person, staff_id, chosen, local, minutes or usual, attendance=attendance, online=online,
        comment=comment, api_id=api_id, activity_id=activity_id,
    )  # fmt: skip
    return {"record_id": row.record_id}


def move_record(
    town: Town,
    salon: Salon,
    *,
    record_id: int,
    starts_at: str | None = None,
    staff_id: int | None = None,
    minutes: int | None = None,
) -> Done:
    """Another time, other hands or another length, whether the place is free or not."""
    if staff_id is not None and staff_id not in salon.staff:
        raise ValueError(f"staff_id={staff_id} does not work here")
    local = _wall_clock(salon, starts_at) if starts_at else None
    bookkeeping.move(town, salon, salon.records[record_id], local=local, staff_id=staff_id, minutes=minutes)
    return {}


def cancel(town: Town, salon: Salon, *, record_id: int) -> Done:
    """Delete a record: from now on only those who ask for deleted rows see it."""
    row = salon.records[record_id]
    if row.deleted:
        raise ValueError(f"record_id={record_id} is deleted already")
    bookkeeping.cancel(town, salon, row)
    return {}


def attendance(town: Town, salon: Salon, *, record_id: int, attendance: int) -> Done:
    """Mark a record as waiting (0), visited (1), confirmed (2) or missed (-1)."""
    bookkeeping.attend(town, salon, salon.records[record_id], int(attendance))
    return {}


def lines(town: Town, salon: Salon, *, record_id: int, lines: list[list[float]], discount: int | None = None) -> Done:
    """Other services, prices and amounts: [[service, price, amount], …]."""
    bookkeeping.charge(town, salon, salon.records[record_id], _lines(salon, lines), discount)
    return {}


def pin(
    town: Town,
    salon: Salon,
    *,
    record_id: int | None = None,
    staff_id: int | None = None,
    starts_at: str | None = None,
    minutes: int = 30,
) -> Done:
    """Take the client off a record, or block a master's time with a new row without a client."""
    if record_id is not None:
        bookkeeping.assign(town, salon, salon.records[record_id], None)
        return {}
    if staff_id is None or starts_at is None:
        raise ValueError("a pin needs record_id, or staff_id and starts_at")
    return create_record(town, salon, staff_id=staff_id, starts_at=starts_at, minutes=minutes, comment="Перерыв")


def group_event(
    town: Town,
    salon: Salon,
    *,
    staff_id: int,
    service_id: int,
    starts_at: str,
    client_ids: list[int],
    minutes: int | None = None,
) -> Done:
    """An event of several clients at once: a row each, all with one activity_id."""
    made: list[int] = []
    for client_id in client_ids:
        done = create_record(
            town, salon, staff_id=staff_id, starts_at=starts_at, client_id=client_id, service_ids=[service_id], minutes=minutes
        )  # fmt: skip
        made.append(done["record_id"])
        salon.records[made[-1]].activity_id = made[0]
    return {"record_ids": made}


def _lines(salon: Salon, wanted: list[list[float]]) -> tuple[Line, ...]:
    chosen = tuple(Line(int(service), float(price), int(rest[0]) if rest else 1) for service, price, *rest in wanted)
    unknown = [line.service_id for line in chosen if line.service_id not in salon.services]
    if unknown:
        raise ValueError(f"service_id={unknown[0]} is not offered here")
    return chosen


def _wall_clock(salon: Salon, text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return salon.local(moment) if moment.tzinfo else moment


# clients


def new_client(town: Town, salon: Salon, *, name: str, phone: str = "") -> Done:
    """Somebody the salon did not know."""
    return {"client_id": town.newcomer(salon, name, phone).client_id}


def change_client(
    town: Town,
    salon: Salon,
    *,
    client_id: int,
    name: str | None = None,
    phone: str | None = None,
    mailing_refused: bool | None = None,
    blacklisted: bool | None = None,
) -> Done:
    """Another name or phone, no more mailings, the black list."""
    person = salon.people[client_id]
    person.name = person.name if name is None else name
    if phone is not None:
        person.dial(phone)
    person.mailing_refused = person.mailing_refused if mailing_refused is None else mailing_refused
    person.blacklisted = person.blacklisted if blacklisted is None else blacklisted
    _stamp(town, salon, person)
    return {}


def delete_client(town: Town, salon: Salon, *, client_id: int, records: str = "keep") -> Done:
    """A client vanishes from all lists; her records keep her id (`keep`) or lose their client (`null`)."""
    if records not in {"keep", "null"}:
        raise ValueError(f"records={records} is neither keep nor null")
    person = salon.people[client_id]
    if records == "null":
        for row in _rows(salon, client_id):
            bookkeeping.assign(town, salon, row, None)
    salon.gone[client_id] = salon.people.pop(client_id)
    _stamp(town, salon, person, "delete")
    return {}


def merge_clients(town: Town, salon: Salon, *, client_id: int, into: int) -> Done:
    """`client_id` vanishes, and her records become those of `into`."""
    if into == client_id or into not in salon.people:
        raise ValueError(f"into={into} is no other client")
    rows = _rows(salon, client_id)
    for row in rows:
        bookkeeping.assign(town, salon, row, into)
    salon.gone[client_id] = salon.people.pop(client_id)
    _stamp(town, salon, salon.gone[client_id], "delete")
    _stamp(town, salon, salon.people[into])
    return {"record_ids": [row.record_id for row in rows]}


def _rows(salon: Salon, client_id: int) -> list[Record]:
    return list(salon.of_client.get(client_id, ()))


def _stamp(town: Town, salon: Salon, person: Person, status: str = "update") -> None:
    person.changed = town.now
    town.changes.note(salon, "client", person.client_id, status)


OPERATIONS: dict[str, Callable[..., Done]] = {
    "create_record": create_record,
    "move_record": move_record,
    "cancel": cancel,
    "attendance": attendance,
    "lines": lines,
    "pin": pin,
    "group_event": group_event,
    "new_client": new_client,
    "change_client": change_client,
    "delete_client": delete_client,
    "merge_clients": merge_clients,
    "add_service": edits_catalogue.add_service,
    "change_service": edits_catalogue.change_service,
    "staff_joins": edits_catalogue.staff_joins,
    "staff_leaves": edits_catalogue.staff_leaves,
    "change_staff": edits_catalogue.change_staff,
    "company": edits_catalogue.company,
}
