"""The CRM's cards as they travel: JSON with the variations of type and shape that the real service is known for.

Which variation a card shows follows from its id, so it is the same on every read.
"""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Record, Salon, Service, StaffMember

Json = dict[str, Any]
_COUNTRIES = {"Россия": 7, "RU": 7, "Казахстан": 6, "KZ": 6, "CA": 12}
_LOCAL = "%Y-%m-%d %H:%M:%S"


def company(salon: Salon, now: datetime) -> Json:
    """GET /company/{id}: `timezone` is hours in one salon and a name in the next."""
    hours = int(_winter_offset(salon.zone, salon.local(now))[:3])
    return {
        "id": salon.company_id,
        "title": salon.title,
        "public_title": salon.title,
        "short_descr": "",
        "country_id": _COUNTRIES.get(salon.country, 1),
        "country": salon.country,
        "city_id": 2,
        "city": salon.city,
        "timezone": salon.zone.key if salon.company_id % 2 else hours,
        "timezone_name": salon.zone.key,
        "address": "",
        "zip": "",
        "phone": salon.phone,
        "phones": [salon.phone],
        "site": "",
        "currency_short_title": salon.currency,
        "active": 1,
        "schedule": "",
        "coordinate_lat": 55.75,
        "coordinate_lon": 37.61,
        "phone_confirmation": False,
        "active_staff_count": len(salon.staff),
        "business_type_id": {"beauty": 1, "barbershop": 5, "dental": 9, "fitness": 12}.get(salon.business_type, 0),
        "main_group": [] if salon.company_id % 3 else {"id": 1, "title": "Сеть"},
        "groups": [] if salon.company_id % 2 else {},
        "bookforms": [],
        "allow_delete_record": True,
        "allow_change_record": True,
        "booking_email_required": False,
    }


def staff(salon: Salon, member: StaffMember, today: datetime) -> Json:
    """GET /company/{id}/staff: `position` is an object, an empty list or absent; some numbers are strings."""
    gone = int(member.left_on is not None and today.date() >= member.left_on)
    card: Json = {
        "id": member.staff_id if member.staff_id % 4 else str(member.staff_id),
        "name": member.name,
        "company_id": salon.company_id,
        "specialization": member.specialization,
        "avatar": "",
        "fired": gone,
        "status": 0,
        "hidden": 0,
        "user_id": None,
        "rating": 4.9,
        "votes_count": 0,
        "weight": str(member.staff_id % 10) if member.staff_id % 2 else member.staff_id % 10,
        "schedule_till": None,
        "prepaid": "forbidden",
        "api_id": None,
        "employee": {"id": member.staff_id + 500_000, "phone": member.phone, "name": member.name}
        if member.phone
        else [],
    }
    if member.staff_id % 3:
        card["position"] = [] if member.staff_id % 3 == 1 else {"id": 30, "title": member.specialization}
    return card


def service(salon: Salon, item: Service, staff_id: int | None = None) -> Json:
    """GET /company/{id}/services: prices are numbers or text, masters carry their own length."""
    price = _money(item.price, as_text=item.service_id % 3 == 0)
    able = [m for m in salon.offering(frozenset({item.service_id})) if staff_id in (None, m.staff_id)]
    return {
        "id": item.service_id,
        "salon_service_id": item.service_id + 900_000,
        "title": item.title,
        "category_id": item.category_id,
        "price_min": price,
        "price_max": price,
        "discount": 0,
        "comment": "",
        "weight": 1,
        "active": 1,
        "api_id": "",
        "duration": item.minutes * 60,
        "prepaid": "forbidden",
        "is_multi": False,
        "image_group": [],
        "staff": [
            {
                "id": str(m.staff_id) if (m.staff_id + item.service_id) % 5 == 0 else m.staff_id,
                "seance_length": salon.length(m, [item.service_id]) * 60,
                "price": None,
                "name": m.name,
            }
            for m in able
        ],
    }


def client(salon: Salon, person: Person) -> Json:
    """A full client card of GET /clients/{company}. It has no date of the last visit."""
    number = person.client_id
    return {
        "id": number,
        "name": person.name,
        "surname": "",
        "patronymic": "",
        "display_name": person.name,
        "phone": person.phone,
        "email": "",
        "categories": [{"id": 3, "title": "Чёрный список", "color": "#000000"}] if person.blacklisted else [],
        "sex_id": number % 3,
        "sex": ("Неизвестно", "Мужской", "Женский")[number % 3],
        "discount": 33.710000000000001 if number % 41 == 0 else 0,
        "importance_id": 0,
        "importance": "Без класса важности",
        "card": "",
        "birth_date": ("", None, 0, "1970-01-01", "1991-04-12")[number % 5],
        "comment": "",
        "sms_check": 1,
        "sms_not": int(person.mailing_refused),
        "sms_bot": int(person.mailing_refused),
        "spent": f"{person.spent:.2f}" if number % 4 == 0 else person.spent,
        "paid": person.spent,
        "balance": 0,
        "visits": str(person.visits) if number % 6 == 0 else person.visits,
        "last_change_date": _stamp(salon, person.changed),
        "custom_fields": ([], {}, {"source": "2gis"})[number % 3],
    }


def record(salon: Salon, row: Record, now: datetime) -> Json:
    """One row of GET /records/{company}. `datetime` carries the winter offset all year round; `date` is right."""
    member = salon.staff[row.staff_id]
    person = salon.people.get(row.client_id) if row.client_id is not None else None
    together = [r for r in salon.of_client.get(row.client_id or 0, ()) if r.visit_id == row.visit_id]
    worker: Json = {
        "id": member.staff_id,
        "api_id": None,
        "name": member.name,
        "specialization": member.specialization,
        "rating": 4.9,
    }
    if row.record_id % 3:
        worker["position"] = [] if row.record_id % 3 == 1 else {"id": 30, "title": member.specialization}
    return {
        "id": row.record_id,
        "company_id": salon.company_id,
        "staff_id": row.staff_id,
        "services": [_line(salon, service_id, price, row) for service_id, price in row.lines],
        "goods_transactions": [],
        "staff": worker,
        "client": _comer(person, row) if person else None,
        "comer": None,
        "clients_count": 1,
        "date": row.local.strftime(_LOCAL),
        "datetime": f"{row.local:%Y-%m-%dT%H:%M:%S}{_winter_offset(salon.zone, row.local)}",
        "create_date": _stamp(salon, row.created),
        "comment": row.comment,
        "online": row.online,
        "visit_attendance": max((r.attendance for r in together), default=row.attendance),
        "attendance": row.attendance,
        "confirmed": 1,
        "seance_length": row.minutes * 60,
        "length": row.minutes * 60,
        "sms_before": 0,
        "sms_now": 0,
        "email_now": 0,
        "notified": 0,
        "master_request": int(row.record_id % 2),
        "api_id": row.api_id,
        "from_url": "",
        "review_requested": 0,
        "visit_id": str(row.visit_id) if row.visit_id % 5 == 0 else row.visit_id,
        "created_user_id": 0 if row.online else 77,
        "deleted": row.deleted,
        "paid_full": int(row.attendance == 1),
        "prepaid": False,
        "prepaid_confirmed": False,
        "last_change_date": _stamp(salon, row.changed),
        "custom_color": "",
        "custom_font_color": "",
        "record_labels": [{"id": "67345" if row.record_id % 2 else 67345, "title": "Любимый мастер"}]
        if row.record_id % 29 == 0
        else [],
        "activity_id": 0,
        "custom_fields": [] if row.record_id % 2 else {},
        "documents": [],
        "is_mobile": 0,
        "upcoming": row.starts_at > now,
    }


def _line(salon: Salon, service_id: int, price: float, row: Record) -> Json:
    as_text = row.record_id % 7 == 0
    cost = _money(row.reduced(price), as_text=as_text)
    return {
        "id": service_id,
        "title": salon.services[service_id].title,
        "cost": cost,
        "manual_cost": cost,
        "cost_per_unit": _money(price, as_text=as_text),
        "discount": row.discount,
        "first_cost": _money(price, as_text=as_text),
        "amount": 1,
    }


def _money(amount: float, *, as_text: bool) -> float | int | str:
    if as_text:
        return f"{amount:.2f}"
    return amount if amount % 1 else int(amount)


def _comer(person: Person, row: Record) -> Json:
    phone = person.phone.removeprefix("+") if row.record_id % 2 else person.phone
    card: Json = {
        "id": person.client_id,
        "name": person.name,
        "surname": "",
        "phone": phone,
        "email": "",
        "card": "",
        "success_visits_count": person.visits,
        "fail_visits_count": person.misses,
        "client_tags": [],
    }
    if row.record_id % 4:
        card["custom_fields"] = [] if row.record_id % 4 == 1 else {}
    return card


def _stamp(salon: Salon, instant: datetime) -> str:
    """The CRM's other form of an instant: an offset without a colon."""
    return instant.astimezone(salon.zone).strftime("%Y-%m-%dT%H:%M:%S%z")


def _winter_offset(zone: ZoneInfo, local: datetime) -> str:
    winter = local.replace(month=1, day=15, tzinfo=zone)
    text = winter.strftime("%z")
    return f"{text[:3]}:{text[3:]}"
