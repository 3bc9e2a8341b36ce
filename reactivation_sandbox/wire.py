"""The CRM's cards of clients, records and visits as they travel: JSON with the variations of type and shape that the real service is known for.

Which form a value has follows from the card's id, so it is the same on every read, unless a variant says otherwise.
"""

from datetime import datetime
from typing import Any

from reactivation_sandbox import wire_values as values
from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import VISIT_IDS, Line, Record, Salon
from reactivation_sandbox.variants import Variants, form
from reactivation_sandbox.wire_catalogue import position

Json = dict[str, Any]
BLACKLIST = {"id": 3, "title": "Чёрный список", "color": "#000000"}
FAVOURITE = {"id": 67345, "title": "Любимый мастер"}


def birth_date(number: int) -> str | int | None:
    """What the card of this client says; only one in five says anything true."""
    return ("", None, 0, "1970-01-01", "1991-04-12")[number % 5]


def client(v: Variants, salon: Salon, person: Person) -> Json:
    """A full client card of GET /clients/{company}. It has no date of the last visit."""
    number = person.client_id
    name = values.name(v, person.name, number)
    absurd = values.absurd(v, number)
    return {
        "id": number,
        "name": name,
        "surname": "",
        "patronymic": "",
        "display_name": name,
        "phone": values.phone(v, person.phone),
        "email": "",
        "categories": [BLACKLIST] if person.blacklisted else [],
        "sex_id": number % 3,
        "sex": ("Неизвестно", "Мужской", "Женский")[number % 3],
        "discount": 33.710000000000001 if number % 41 == 0 else 0,
        "importance_id": 0,
        "importance": "Без класса важности",
        "card": "",
        "birth_date": birth_date(number),
        "comment": "",
        "sms_check": 1,
        "sms_not": int(person.mailing_refused),
        "sms_bot": int(person.mailing_refused),
        "spent": "1e400" if absurd else f"{person.spent:.2f}" if number % 4 == 0 else person.spent,
        "paid": person.spent,
        "balance": 0,
        "visits": values.ABSURD if absurd else str(person.visits) if number % 6 == 0 else person.visits,
        "last_change_date": values.stamp(salon, person.changed),
        "custom_fields": values.custom_fields(v, ("list", "object", "filled")[number % 3]),
    }


def found_client(v: Variants, person: Person, first: datetime | None, last: datetime | None, wanted: list[str]) -> Json:
    """A row of clients/search with the asked fields. `first` and `last` are the wall-clock starts of the visits made."""
    number = person.client_id
    full: Json = {
        "id": number,
        "name": values.name(v, person.name, number),
        "surname": "",
        "patronymic": "",
        "phone": values.phone(v, person.phone),
        "email": "",
        "discount": 33.710000000000001 if number % 41 == 0 else 0,
        "first_visit_date": _visit_date(v, first, number),
        "last_visit_date": _visit_date(v, last, number),
        "sold_amount": f"{person.spent:.2f}" if number % 4 == 1 else person.spent,
        "visits_count": str(person.visits) if number % 6 == 1 else person.visits,
        "passteam_card_id": "",
        "deposit_balance": 0,
    }
    return {key: full[key] for key in wanted}


def _visit_date(v: Variants, local: datetime | None, number: int) -> str | None:
    shape = form(v.last_visit_date, "datetime" if number % 2 else "date")
    if local is None or shape in {"null", "empty"}:
        return "" if shape == "empty" else None
    return values.local(local) if shape == "datetime" else local.date().isoformat()


def record(v: Variants, salon: Salon, row: Record, now: datetime) -> Json:
    """One row of GET /records/{company}. `datetime` carries the winter offset all year round; `date` is right."""
    member = salon.staff[row.staff_id]
    worker: Json = {
        "id": member.staff_id,
        "api_id": None,
        "name": values.name(v, member.name, member.staff_id),
        "specialization": member.specialization,
        "rating": 4.9,
    }
    position(v, worker, member.specialization, row.record_id)
    person = salon.client(row.client_id)
    length = values.ABSURD if values.absurd(v, row.record_id) else row.minutes * 60
    card: Json = {
        "id": row.record_id,
        "company_id": salon.company_id,
        "staff_id": row.staff_id,
        "services": [_line(v, salon, line, row) for line in row.lines],
        "goods_transactions": [],
        "staff": worker,
        "client": _comer(v, person, row) if person else [] if v.client_null == "list" else None,
        "comer": None,
        "clients_count": 1,
        "date": values.local(row.local),
        "datetime": values.start(v, salon, row.local),
        "create_date": values.stamp(salon, row.created),
        "comment": row.comment,
        "online": row.online,
        "visit_attendance": max(other.attendance for other in salon.together(row)),
        "attendance": row.attendance,
        "confirmed": 1,
        "seance_length": length,
        "length": length,
        "sms_before": 0,
        "sms_now": 0,
        "email_now": 0,
        "notified": 0,
        "master_request": int(row.record_id % 2),
        "api_id": row.api_id,
        "from_url": "",
        "review_requested": 0,
        "visit_id": _visit_id(v, row),
        "created_user_id": creator(row),
        "deleted": {"as_is": row.deleted, "int": int(row.deleted)}.get(v.flags, str(int(row.deleted))),
        "paid_full": int(row.attendance == 1),
        "prepaid": False,
        "prepaid_confirmed": False,
        "last_change_date": values.stamp(salon, row.changed),
        "custom_color": "",
        "custom_font_color": "",
        "record_labels": [_label(v, row.record_id)] if row.record_id % 29 == 0 else [],
        "activity_id": row.record_id if v.activity == "by_id" and row.record_id % 13 == 0 else row.activity_id,
        "custom_fields": values.custom_fields(v, "list" if row.record_id % 2 else "object"),
        "documents": [],
        "is_mobile": 0,
        "upcoming": row.starts_at > now,
    }
    if person is None and v.client_null == "missing":
        del card["client"]
    return card


def visit(v: Variants, salon: Salon, row: Record) -> Json:
    """A record as clients/visits/search shows it."""
    member = salon.staff[row.staff_id]
    return {
        "id": row.record_id,
        "date": values.local(row.local),
        "visit_id": _visit_id(v, row),
        "attendance": row.attendance,
        "services": [
            {
                "id": line.service_id,
                "title": values.name(v, salon.services[line.service_id].title, line.service_id),
                "first_cost": line.price,
                "discount_percent": row.discount,
                "cost_to_pay": row.paid(line),
                "paid_sum": row.paid(line) if row.attendance == 1 else 0,
                "payment_status": "paid_full" if row.attendance == 1 else "not_paid",
                "consumables": [],
            }
            for line in row.lines
        ],
        "staff": {"id": member.staff_id, "name": values.name(v, member.name, member.staff_id)},
        "company": {"id": salon.company_id, "title": salon.title},
        "tips": None,
        "comer": None,
    }


def creator(row: Record) -> int:
    """The user who wrote a record: nobody for an online booking."""
    return 0 if row.online else 77


def _visit_id(v: Variants, row: Record) -> int | str:
    number = row.record_id + VISIT_IDS if v.composite == "apart" else row.visit_id
    return str(number) if form(v.visit_id, "int" if number % 5 else "text") == "text" else number


def _label(v: Variants, number: int) -> Json:
    as_text = form(v.label_id, "text" if number % 2 else "int") == "text"
    return FAVOURITE | {"id": "67345"} if as_text else FAVOURITE


def _line(v: Variants, salon: Salon, line: Line, row: Record) -> Json:
    as_text = row.record_id % 7 == 0
    cost = values.price(v, row.reduced(line.price), row.record_id, as_text=as_text)
    before = values.price(v, line.price, row.record_id, as_text=as_text)
    return {
        "id": line.service_id,
        "title": values.name(v, salon.services[line.service_id].title, line.service_id),
        "cost": cost,
        "manual_cost": cost,
        "cost_per_unit": before,
        "discount": row.discount,
        "first_cost": before,
        "amount": line.amount,
    }


def _comer(v: Variants, person: Person, row: Record) -> Json:
    phone = values.phone(v, person.phone)
    card: Json = {
        "id": person.client_id,
        "name": values.name(v, person.name, person.client_id),
        "surname": "",
        "phone": phone.removeprefix("+") if row.record_id % 2 else phone,
        "email": "",
        "card": "",
        "success_visits_count": person.visits,
        "fail_visits_count": person.misses,
        "client_tags": [],
    }
    shape = form(v.custom_fields, ("missing", "list", "object", "object")[row.record_id % 4])
    if shape != "missing":
        card["custom_fields"] = values.custom_fields(v, shape)
    return card
