"""Changing a salon's journal by hand, as an administrator does: what a row's change means for its place, its fate and its client.

The CRM's writing calls and the town's edits both come here, so that a row changed by either lives on in the same way.
"""

from datetime import datetime

from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Line, Record, Salon
from reactivation_sandbox.town import Town


def write(
    town: Town,
    salon: Salon,
    person: Person | None,
    staff_id: int,
    lines: tuple[Line, ...],
    local: datetime,
    minutes: int,
    *,
    attendance: int | None = None,
    online: bool = False,
    api_id: str = "",
    comment: str = "",
    activity_id: int = 0,
) -> Record:
    """A new row. One that is already over, or whose attendance is named, stays as it was written; any other is lived through."""
    if person is not None and salon.instant(local) > town.now:
        person.bookings += 1
        person.plan += 1
    row = town.write(
        salon, person, staff_id, [], local, minutes, online=online, api_id=api_id, comment=comment, lines=lines
    )
    row.activity_id = activity_id
    if attendance is not None or row.ends_at <= town.now:
        attend(town, salon, row, attendance or 0)
    return row


def move(
    town: Town,
    salon: Salon,
    row: Record,
    *,
    local: datetime | None = None,
    staff_id: int | None = None,
    minutes: int | None = None,
) -> None:
    """Another time, other hands, another length."""
    if not row.deleted:
        salon.unseat(row)
    row.local = local or row.local
    row.starts_at = salon.instant(row.local)
    row.staff_id = staff_id or row.staff_id
    row.minutes = minutes or row.minutes
    if not row.deleted:
        salon.seat(row)
    changed(town, salon, row)


def attend(town: Town, salon: Salon, row: Record, attendance: int) -> None:
    """Mark a row as waiting (0), visited (1), confirmed (2) or missed (-1)."""
    row.attendance = attendance
    changed(town, salon, row)


def charge(town: Town, salon: Salon, row: Record, lines: tuple[Line, ...], discount: int | None = None) -> None:
    """Other services, prices or amounts."""
    row.lines, row.discount = lines, row.discount if discount is None else discount
    changed(town, salon, row)


def cancel(town: Town, salon: Salon, row: Record) -> None:
    """Delete a row: it is shown only to those who ask for deleted ones. Its client may come back later."""
    row.fate += 1
    salon.cancel(row, town.now)
    town.changes.note(salon, "record", row.record_id, "delete")
    person = salon.people.get(row.client_id or 0)
    if person is not None:
        recount(town, salon, person)
        if salon.upcoming(person.client_id, town.now) is None:
            town.plan_return(salon, person, town.now)


def assign(town: Town, salon: Salon, row: Record, client_id: int | None) -> None:
    """Give a row to another client, or to nobody."""
    before = salon.people.get(row.client_id or 0)
    if row.client_id is not None:
        salon.of_client[row.client_id].remove(row)
    row.client_id = client_id
    if client_id is not None:
        salon.of_client.setdefault(client_id, []).append(row)
    if before is not None:
        recount(town, salon, before)
    changed(town, salon, row)


def changed(town: Town, salon: Salon, row: Record) -> None:
    """The row is not what it was: it carries the town's time, its client is counted again, its future planned again."""
    row.changed = town.now
    row.fate += 1
    town.changes.note(salon, "record", row.record_id)
    person = salon.people.get(row.client_id or 0)
    if person is None or row.deleted:
        return
    recount(town, salon, person)
    if row.ends_at > town.now and row.attendance in {0, 2}:
        town.follow(salon, person, row)


def recount(town: Town, salon: Salon, person: Person) -> None:
    """Count a client's visits, misses and money from her rows; the card changes when they did."""
    before = (person.visits, person.misses, person.spent, person.last_visit)
    rows = [row for row in salon.of_client.get(person.client_id, ()) if not row.deleted]
    made = [row for row in rows if row.attendance == 1]
    person.visits = len({row.visit_id for row in made})
    person.misses = len({row.visit_id for row in rows if row.attendance == -1})
    person.spent = round(sum(row.cost for row in made), 2)
    person.last_visit = max((row.starts_at for row in made), default=None)
    if before != (person.visits, person.misses, person.spent, person.last_visit):
        person.changed = town.now
        town.changes.note(salon, "client", person.client_id)
