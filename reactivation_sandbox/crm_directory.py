"""The CRM's calls about what a salon is and who its clients are: company, staff, services, categories, cards, webhook settings."""

from typing import Any

from reactivation_sandbox import wire, wire_catalogue
from reactivation_sandbox.ask import Answer, Ask, Calls, RefusedError, amount, query_key, whole
from reactivation_sandbox.crm_hooks import FLAGS, settings_of
from reactivation_sandbox.people import Person
from reactivation_sandbox.salon import Salon


def companies(ask: Ask) -> Answer:
    """GET /companies: the salons of the user's token."""
    salons = sorted((s for s in ask.town.salons.values() if s.open_to_us), key=lambda salon: salon.company_id)
    _, page = ask.paged(salons, 20)
    return Answer([wire_catalogue.company(ask.v, s, ask.town.now) for s in page], {"count": len(salons)})


def company(ask: Ask) -> Answer:
    """GET /company/{id}."""
    return Answer(wire_catalogue.company(ask.v, ask.salon, ask.town.now))


def staff(ask: Ask) -> Answer:
    """GET /company/{id}/staff: everyone at once, those who left as well."""
    salon = ask.salon
    today = salon.local(ask.town.now)
    shown = [m for m in salon.staff.values() if not (m.left_how == "vanished" and m.left(today.date()))]
    cards = [wire_catalogue.staff(ask.v, salon, m, today) for m in shown]
    return Answer(cards, {"total_count": len(cards)})


def staff_member(ask: Ask) -> Answer:
    """GET /company/{id}/staff/{staff_id}."""
    member = ask.salon.staff.get(ask.path["staff"])
    if member is None:
        raise RefusedError(404, "Сотрудник не найден")
    return Answer(wire_catalogue.staff(ask.v, ask.salon, member, ask.salon.local(ask.town.now)))


def services(ask: Ask) -> Answer:
    """GET /company/{id}/services, optionally of one master or one category."""
    salon, staff_id, category_id = ask.salon, ask.number("staff_id"), ask.query.get("category_id")
    cards = [
        wire_catalogue.service(ask.v, salon, item, staff_id)
        for item in salon.services.values()
        if item.listed and category_id in (None, str(item.category_id))
    ]
    return Answer([card for card in cards if card["staff"] or staff_id is None])


def categories(ask: Ask) -> Answer:
    """GET /company/{id}/service_categories."""
    cards = wire_catalogue.categories(ask.v, ask.salon)
    return Answer(cards, {"total_count": len(cards)})


def labels(ask: Ask) -> Answer:
    """GET /labels/{company}/{entity}: the labels of clients or of records."""
    kinds: dict[str, list[dict[str, Any]]] = {"clients": [wire.BLACKLIST], "records": [wire.FAVOURITE]}
    if ask.salon and ask.path["entity"] not in kinds:
        raise RefusedError(404, "Не найдено")
    return Answer(kinds[ask.path["entity"]])


# clients


def clients(ask: Ask) -> Answer:
    """GET /clients/{company}: full cards, ids ascending."""
    salon = ask.salon
    people = salon.listing(("clients", query_key(ask.query)), lambda: _matching(ask, salon))
    _, page = ask.paged(people, 20)
    return Answer([wire.client(ask.v, salon, p) for p in page], {"total_count": len(people)})


def _matching(ask: Ask, salon: Salon) -> list[Person]:
    after, before = ask.instant("changed_after"), ask.instant("changed_before")
    ids = {whole(text, "id") for key in ("id", "id[]") for text in ask.query.getlist(key) if text}
    name, phone = ask.query.get("fullname", "").lower(), "".join(filter(str.isdigit, ask.query.get("phone", "")))
    everyone = [person for _, person in sorted(salon.people.items())]
    found = [
        person
        for person in everyone
        if (after is None or person.changed >= after)
        and (before is None or person.changed <= before)
        and (not ids or person.client_id in ids)
        and name in person.name.lower()
        and (not phone or phone in "".join(filter(str.isdigit, person.phone)))
    ]
    return _by_money(ask, found)


def _by_money(ask: Ask, people: list[Person]) -> list[Person]:
    """The CRM's quirks: without an upper bound nobody who ever paid is found, and a bound that finds nobody is dropped."""
    if not (ask.query.get("paid_min") or ask.query.get("paid_max")):
        return people
    least, most = (amount(ask.query.get(key) or 0, key) for key in ("paid_min", "paid_max"))
    return [person for person in people if least <= person.spent <= most] or people


def client(ask: Ask) -> Answer:
    """GET /client/{company}/{id}."""
    return Answer(wire.client(ask.v, ask.salon, ask.client))


def add_client(ask: Ask) -> Answer:
    """POST /clients/{company}: a new card; a name and a phone are required."""
    return Answer(_added(ask, ask.body))


def add_clients(ask: Ask) -> Answer:
    """POST /clients/{company}/bulk: several new cards."""
    return Answer([_added(ask, card) for card in ask.body.get("items") or []])


def _added(ask: Ask, card: dict[str, Any]) -> dict[str, Any]:
    name, phone = _named(card)
    person = ask.town.newcomer(ask.salon, name, phone)
    _write(person, card)
    return wire.client(ask.v, ask.salon, person)


def change_client(ask: Ask) -> Answer:
    """PUT /client/{company}/{id}: a name and a phone are required."""
    salon, person = ask.salon, ask.client
    person.name, phone = _named(ask.body)
    person.dial(phone)
    _write(person, ask.body)
    person.changed = ask.town.now
    ask.town.changes.note(salon, "client", person.client_id)
    return Answer(wire.client(ask.v, salon, person))


def remove_client(ask: Ask) -> Answer:
    """DELETE /client/{company}/{id}."""
    salon, person = ask.salon, ask.client
    salon.gone[person.client_id] = salon.people.pop(person.client_id)
    ask.town.changes.note(salon, "client", person.client_id, "delete")
    return Answer(None, status=204)


def _named(card: dict[str, Any]) -> tuple[str, str]:
    missing = {key: ["Обязательное поле"] for key in ("name", "phone") if not str(card.get(key) or "").strip()}
    if missing:
        raise RefusedError(422, "Ошибка валидации", errors=missing)
    digits = "".join(filter(str.isdigit, str(card["phone"])))
    return str(card["name"]), f"+{digits}"


def _write(person: Person, card: dict[str, Any]) -> None:
    if "sms_not" in card:
        person.mailing_refused = bool(whole(card["sms_not"], "sms_not"))
    if "categories" in card:  # the list replaces the old one
        ids = [item.get("id") if isinstance(item, dict) else item for item in card["categories"] or []]
        person.blacklisted = wire.BLACKLIST["id"] in ids


# webhook settings


def hooks(ask: Ask) -> Answer:
    """GET /hooks_settings/{company}."""
    return Answer(settings_of(ask.salon))


def set_hooks(ask: Ask) -> Answer:
    """POST /hooks_settings/{company}: replaces the whole set; what is not named is off, and other addresses are gone."""
    urls = ask.body.get("urls") or []
    if not isinstance(urls, list) or len(urls) > 10:
        raise RefusedError(422, "Ошибка валидации", errors={"urls": ["Не более 10 адресов"]})
    ask.salon.hooks = {
        "urls": [str(url) for url in urls],
        **{flag: int(whole(ask.body.get(flag) or 0, flag) != 0) for flag in FLAGS},
    }
    ask.town.changes.listening = ask.town.changes.listening or bool(urls)
    return Answer(settings_of(ask.salon))


PARTNER: Calls = (("GET", "/company/{company:int}", company),)
USER: Calls = (
    ("GET", "/companies", companies),
    ("GET", "/company/{company:int}/staff", staff),
    ("GET", "/staff/{company:int}", staff),
    ("GET", "/company/{company:int}/staff/{staff:int}", staff_member),
    ("GET", "/company/{company:int}/services", services),
    ("GET", "/services/{company:int}", services),
    ("GET", "/company/{company:int}/service_categories", categories),
    ("GET", "/service_categories/{company:int}", categories),
    ("GET", "/labels/{company:int}/{entity}", labels),
    ("GET", "/clients/{company:int}", clients),
    ("POST", "/clients/{company:int}", add_client),
    ("POST", "/clients/{company:int}/bulk", add_clients),
    ("GET", "/client/{company:int}/{client:int}", client),
    ("PUT", "/client/{company:int}/{client:int}", change_client),
    ("DELETE", "/client/{company:int}/{client:int}", remove_client),
    ("GET", "/hooks_settings/{company:int}", hooks),
    ("POST", "/hooks_settings/{company:int}", set_hooks),
)
