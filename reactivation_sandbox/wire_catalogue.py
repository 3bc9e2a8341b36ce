"""The CRM's cards of what a salon is: the company, its staff, services and categories, as they travel.

Which form a value has follows from the card's id, so it is the same on every read, unless a variant says otherwise.
"""

from datetime import datetime
from typing import Any

from reactivation_sandbox import wire_values as values
from reactivation_sandbox.salon import Salon, Service, StaffMember
from reactivation_sandbox.variants import Variants, form

Json = dict[str, Any]
_COUNTRIES = {"Россия": 7, "RU": 7, "Казахстан": 6, "KZ": 6, "CA": 12}


def company(v: Variants, salon: Salon, now: datetime) -> Json:
    """GET /company/{id}: `timezone` is hours in one salon and a name in the next."""
    hours = int(values.winter_offset(salon.zone, salon.local(now).year)[:3])
    title = values.name(v, salon.title, salon.company_id)
    return {
        "id": salon.company_id,
        "title": title,
        "public_title": title,
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


def position(v: Variants, card: Json, specialization: str, number: int) -> None:
    """Give a card its `position`: absent, an empty list or an object."""
    shape = form(v.position, ("missing", "list", "object")[number % 3])
    if shape != "missing":
        card["position"] = [] if shape == "list" else {"id": 30, "title": specialization}


def staff(v: Variants, salon: Salon, member: StaffMember, today: datetime) -> Json:
    """GET /company/{id}/staff: `position` is an object, an empty list or absent; some numbers are strings."""
    gone = member.left(today.date())
    card: Json = {
        "id": member.staff_id if member.staff_id % 4 else str(member.staff_id),
        "name": values.name(v, member.name, member.staff_id),
        "company_id": salon.company_id,
        "specialization": member.specialization,
        "avatar": "",
        "fired": int(gone and member.left_how == "fired"),
        "status": int(gone and member.left_how == "deleted"),
        "hidden": int(gone and member.left_how == "hidden"),
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
    position(v, card, member.specialization, member.staff_id)
    return card


def service(v: Variants, salon: Salon, item: Service, staff_id: int | None = None) -> Json:
    """GET /company/{id}/services: prices are numbers or text, masters carry their own length."""
    price = values.price(v, item.price, item.service_id, as_text=item.service_id % 3 == 0)
    able = [m for m in salon.offering(frozenset({item.service_id})) if staff_id in (None, m.staff_id)]
    return {
        "id": item.service_id,
        "salon_service_id": item.service_id + 900_000,
        "title": values.name(v, item.title, item.service_id),
        "category_id": item.category_id,
        "price_min": price,
        "price_max": price,
        "discount": 0,
        "comment": "",
        "weight": 1,
        "active": int(item.active),
        "api_id": "",
        "duration": values.ABSURD if values.absurd(v, item.service_id) else item.minutes * 60,
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


def categories(v: Variants, salon: Salon) -> list[Json]:
    """GET /company/{id}/service_categories."""
    titles = {item.category_id: item.category for item in salon.services.values() if item.listed}
    return [
        {
            "id": key,
            "salon_service_id": key,
            "title": values.name(v, title, key),
            "api_id": None,
            "weight": 1,
            "staff": [],
        }
        for key, title in titles.items()
    ]


def bookable_service(v: Variants, salon: Salon, item: Service, staff_id: int | None) -> Json:
    """A service of GET /book_services: like its card, with the length with one master."""
    card = service(v, salon, item, staff_id)
    lengths = [member["seance_length"] for member in card.pop("staff")]
    return {**card, "seance_length": lengths[0] if staff_id and lengths else None, "is_composite": False, "image": ""}
