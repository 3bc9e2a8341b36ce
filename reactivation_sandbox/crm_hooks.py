"""The CRM's webhooks: who wants to hear of which change, and in what words.

Delivery is in `postman.py`. Settings belong to a salon and are replaced whole by the API.
"""

from typing import Any

from reactivation_sandbox import wire, wire_catalogue
from reactivation_sandbox.changes import Change
from reactivation_sandbox.salon import Salon
from reactivation_sandbox.town import Town
from reactivation_sandbox.variants import Variants

Json = dict[str, Any]
FLAGS = (
    "active", "salon", "service_category", "service", "master", "good", "client", "record", "goods_operations_sale",
    "goods_operations_receipt", "goods_operations_consumable", "goods_operations_stolen", "goods_operations_move", "finances_operation",
)  # fmt: skip
_FLAG_OF = {"company": "salon", "staff": "master"}
_FEW = frozenset({"id", "company_id", "name", "title", "date", "last_change_date"})


def settings_of(salon: Salon) -> Json:
    """The webhook settings of a location, all off until somebody has set them."""
    return {"urls": [], **dict.fromkeys(FLAGS, 0), **salon.hooks}


def addresses(salon: Salon, change: Change) -> list[str]:
    """Where the location's settings send this change."""
    settings = settings_of(salon)
    wanted = settings["active"] and settings[_FLAG_OF.get(change.resource, change.resource)]
    return list(dict.fromkeys(settings["urls"])) if wanted else []


def event(v: Variants, town: Town, change: Change) -> Json:
    """A change as the CRM reports it: `data` is the card as it is now, a part of it, or nothing."""
    salon = town.salons[change.company_id]
    data: Json | list[Any] = [] if v.webhook_data == "empty" else _card(v, town, salon, change)
    if isinstance(data, dict) and v.webhook_data == "partial":
        data = {key: value for key, value in data.items() if key in _FEW}
    return {
        "company_id": change.company_id,
        "resource": change.resource,
        "resource_id": change.resource_id,
        "status": change.status,
        "data": data,
    }


def _card(v: Variants, town: Town, salon: Salon, change: Change) -> Json | list[Any]:
    key, now = change.resource_id, town.now
    if change.resource == "company":
        return wire_catalogue.company(v, salon, now)
    if change.resource == "staff":
        return wire_catalogue.staff(v, salon, salon.staff[key], salon.local(now))
    if change.resource == "service":
        return wire_catalogue.service(v, salon, salon.services[key])
    if change.resource == "record":
        return wire.record(v, salon, salon.records[key], now)
    person = salon.client(key)
    return wire.client(v, salon, person) if person else []
