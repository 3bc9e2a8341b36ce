"""What the town's administrators do to what their salons are: services, staff and the company's own card."""

from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from reactivation_sandbox.salon import Salon, Service, StaffMember
from reactivation_sandbox.town import Town

Done = dict[str, Any]
WAYS_TO_LEAVE = ("fired", "hidden", "deleted", "vanished")


def add_service(
    town: Town, salon: Salon, *, title: str, price: float, minutes: int = 60, category: str = "", staff_ids: list[int] | None = None
) -> Done:  # fmt: skip
    """A new service, done by `staff_ids` or by everybody."""
    service_id = max(salon.services, default=salon.company_id * 1000) + 1
    known = {item.category: item.category_id for item in salon.services.values()}
    category_id = known.get(category) or max(known.values(), default=salon.company_id * 10) + 1
    salon.services[service_id] = Service(service_id, title, category_id, category, float(price), minutes, 30.0)
    for staff_id in staff_ids or list(salon.staff):
        salon.staff[staff_id].service_ids |= {service_id}
    town.changes.note(salon, "service", service_id, "create")
    return {"service_id": service_id}


def change_service(
    town: Town,
    salon: Salon,
    *,
    service_id: int,
    title: str | None = None,
    price: float | None = None,
    minutes: int | None = None,
    active: bool | None = None,
    listed: bool | None = None,
) -> Done:
    """Another title, price or length; taken out of booking (`active`) or out of the lists (`listed`), or back."""
    named = {"title": title, "price": price, "minutes": minutes, "active": active, "listed": listed}
    changes: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    if listed is False:
        changes["active"] = False
    salon.services[service_id] = replace(salon.services[service_id], **changes)
    town.changes.note(salon, "service", service_id, "delete" if listed is False else "update")
    return {}


def staff_joins(
    town: Town,
    salon: Salon,
    *,
    name: str = "",
    staff_id: int | None = None,
    specialization: str = "",
    service_ids: list[int] | None = None,
    phone: str = "",
) -> Done:
    """Somebody new, who does `service_ids` or everything, six days a week; or `staff_id` comes back."""
    if staff_id is not None:
        salon.staff[staff_id].left_on, salon.staff[staff_id].left_how = None, "fired"
        town.changes.note(salon, "staff", staff_id)
        return {}
    staff_id = max(salon.staff, default=salon.company_id * 100) + 1
    salon.staff[staff_id] = StaffMember(
        staff_id=staff_id,
        name=name,
        phone=phone,
        specialization=specialization,
        service_ids=frozenset(service_ids or salon.services),
        hours=dict.fromkeys(range(1, 7), (10 * 60, 20 * 60)),
    )
    town.changes.note(salon, "staff", staff_id, "create")
    return {"staff_id": staff_id}


def staff_leaves(town: Town, salon: Salon, *, staff_id: int, how: str = "fired") -> Done:
    """Somebody works here no longer, and the CRM shows it as `fired`, `hidden`, `deleted`, or not at all (`vanished`)."""
    if how not in WAYS_TO_LEAVE:
        raise ValueError(f"how={how} is none of {', '.join(WAYS_TO_LEAVE)}")
    member = salon.staff[staff_id]
    member.left_on, member.left_how = salon.local(town.now).date(), how
    town.changes.note(salon, "staff", staff_id, "update" if how in {"fired", "hidden"} else "delete")
    return {}


def change_staff(town: Town, salon: Salon, *, staff_id: int, name: str | None = None, phone: str | None = None) -> Done:
    """Another name or phone of somebody who works here."""
    member = salon.staff[staff_id]
    member.name = member.name if name is None else name
    member.phone = member.phone if phone is None else phone
    town.changes.note(salon, "staff", staff_id)
    return {}


def company(
    town: Town,
    salon: Salon,
    *,
    title: str | None = None,
    zone: str | None = None,
    currency: str | None = None,
    phone: str | None = None,
    licensed: bool | None = None,
    open_to_us: bool | None = None,
) -> Done:
    """The company's card; its licence (402 without) and whether the caller may see it (403 when not).

    With another zone the wall clock of every record stays, as in the CRM, and its instant moves.
    """
    salon.title = salon.title if title is None else title
    salon.currency = salon.currency if currency is None else currency
    salon.phone = salon.phone if phone is None else phone
    salon.licensed = salon.licensed if licensed is None else licensed
    salon.open_to_us = salon.open_to_us if open_to_us is None else open_to_us
    if zone is not None:
        salon.zone = ZoneInfo(zone)
        for row in salon.records.values():
            row.starts_at = salon.instant(row.local)
    town.changes.note(salon, "company", salon.company_id)
    return {}
