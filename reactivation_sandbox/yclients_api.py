"""The CRM's REST calls (`/api/v1`), read from the town and answered in the envelope and the types of the real one."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox import wire
from reactivation_sandbox.answers import as_json
from reactivation_sandbox.people import Person, tastes_of
from reactivation_sandbox.salon import HORIZON_DAYS, Record, Salon, StaffMember
from reactivation_sandbox.town import Town, World

MAX_PAGE, FALLBACK_PAGE = 300, 25


class RefusedError(Exception):
    """The CRM says no."""

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True, slots=True)
class Crm:
    """The calls of one town, for one partner and one user token."""

    world: World
    partner: str
    user: str

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def routes(self) -> list[Route]:
        """Every served call; those of `book_*` and the company need only the partner's token."""
        base = "/api/v1"
        user: dict[str, Any] = {
            "/companies": self.companies,
            "/company/{company:int}/staff": self.staff,
            "/staff/{company:int}": self.staff,
            "/company/{company:int}/services": self.services,
            "/services/{company:int}": self.services,
            "/company/{company:int}/service_categories": self.categories,
            "/clients/{company:int}": self.clients,
            "/client/{company:int}/{client:int}": self.client,
            "/records/{company:int}": self.records,
            "/record/{company:int}/{record:int}": self.record,
        }
        partner: dict[str, Any] = {
            "/company/{company:int}": self.company,
            "/book_staff/{company:int}": self.book_staff,
            "/book_dates/{company:int}": self.book_dates,
            "/book_times/{company:int}/{staff:int}/{day}": self.book_times,
        }
        posts: dict[str, Any] = {
            "/book_check/{company:int}": self.book_check,
            "/book_record/{company:int}": self.book_record,
        }
        return [
            *(Route(base + path, partial(self._answer, call, True), methods=["GET"]) for path, call in user.items()),
            *(
                Route(base + path, partial(self._answer, call, False), methods=["GET"])
                for path, call in partner.items()
            ),
            *(Route(base + path, partial(self._answer, call, False), methods=["POST"]) for path, call in posts.items()),
        ]

    async def _answer(
        self, call: Callable[[Request], Awaitable[tuple[Any, Any]]], needs_user: bool, request: Request
    ) -> Response:
        """Check the tokens, make the call, put its data and meta into an envelope unless the caller did not ask for one."""
        try:
            self._check(request.headers.get("authorization", ""), needs_user=needs_user)
            data, meta = await call(request)
        except RefusedError as no:
            if no.code is not None:
                body: Any = {"errors": {"code": no.code, "message": no.message}, "meta": {"message": no.message}}
            else:
                body = {"success": False, "data": None, "meta": {"message": no.message}}
            return as_json(body, no.status)
        status = 201 if request.method == "POST" else 200
        if "v2+json" not in request.headers.get("accept", ""):
            return as_json(data, status)
        return as_json({"success": True, "data": data, "meta": meta}, status)

    def _check(self, header: str, *, needs_user: bool) -> None:
        found = re.fullmatch(r"Bearer\s+([^,\s]+)(?:\s*,\s*User\s+(\S+))?", header.strip())
        if (
            found is None
            or found[1] != self.partner
            or (needs_user and found[2] != self.user)
            or (found[2] not in (None, self.user))
        ):
            raise RefusedError(401, "Необходима авторизация")

    def _salon(self, request: Request) -> Salon:
        salon = self.town.salons.get(request.path_params["company"])
        if salon is None:
            raise RefusedError(404, "Не найдено")
        return salon

    # what the salon is

    async def companies(self, request: Request) -> tuple[Any, Any]:
        """GET /companies: the salons of the user's token."""
        salons = sorted(self.town.salons.values(), key=lambda salon: salon.company_id)
        page, size = _page(request, 20)
        return [wire.company(s, self.town.now) for s in salons[(page - 1) * size : page * size]], {"count": len(salons)}

    async def company(self, request: Request) -> tuple[Any, Any]:
        """GET /company/{id}."""
        return wire.company(self._salon(request), self.town.now), []

    async def staff(self, request: Request) -> tuple[Any, Any]:
        """GET /company/{id}/staff: everyone at once, those who left as well."""
        salon = self._salon(request)
        return [wire.staff(salon, m, salon.local(self.town.now)) for m in salon.staff.values()], {
            "total_count": len(salon.staff)
        }

    async def services(self, request: Request) -> tuple[Any, Any]:
        """GET /company/{id}/services, optionally of one master or one category."""
        salon, query = self._salon(request), request.query_params
        staff_id = int(query["staff_id"]) if query.get("staff_id") else None
        category = query.get("category_id")
        cards = [
            wire.service(salon, item, staff_id)
            for item in salon.services.values()
            if category in (None, str(item.category_id))
        ]
        return [card for card in cards if card["staff"] or staff_id is None], []

    async def categories(self, request: Request) -> tuple[Any, Any]:
        """GET /company/{id}/service_categories."""
        salon = self._salon(request)
        titles = {item.category_id: item.category for item in salon.services.values()}
        cards: list[dict[str, Any]] = [
            {"id": key, "salon_service_id": key, "title": title, "api_id": None, "weight": 1, "staff": []}
            for key, title in titles.items()
        ]
        return cards, {"total_count": len(cards)}

    # who comes and when

    async def clients(self, request: Request) -> tuple[Any, Any]:
        """GET /clients/{company}: full cards, ids ascending."""
        salon = self._salon(request)
        since = _instant(salon, request.query_params.get("changed_after"))
        people = [p for _, p in sorted(salon.people.items()) if since is None or p.changed >= since]
        page, size = _page(request, 20)
        return [wire.client(salon, p) for p in people[(page - 1) * size : page * size]], {"total_count": len(people)}

    async def client(self, request: Request) -> tuple[Any, Any]:
        """GET /client/{company}/{id}."""
        salon = self._salon(request)
        person = salon.people.get(request.path_params["client"])
        if person is None:
            raise RefusedError(404, "Клиент не найден")
        return wire.client(salon, person), []

    async def records(self, request: Request) -> tuple[Any, Any]:
        """GET /records/{company}: the journal; deleted rows only on request."""
        salon = self._salon(request)
        keep = _filter(salon, request)
        rows = [row for _, row in sorted(salon.records.items()) if keep(row)]
        page, size = _page(request, 50)
        cards = [wire.record(salon, row, self.town.now) for row in rows[(page - 1) * size : page * size]]
        return cards, {"page": page, "total_count": len(rows)}

    async def record(self, request: Request) -> tuple[Any, Any]:
        """GET /record/{company}/{id}."""
        salon = self._salon(request)
        row = salon.records.get(request.path_params["record"])
        if row is None:
            raise RefusedError(404, "Запись не найдена")
        return wire.record(salon, row, self.town.now), []

    # what is free

    async def book_staff(self, request: Request) -> tuple[Any, Any]:
        """GET /book_staff/{company}: who can be booked for these services."""
        salon = self._salon(request)
        wanted = frozenset(_services(salon, request))
        today = salon.local(self.town.now)
        cards = [
            {**wire.staff(salon, m, today), "bookable": wanted <= m.service_ids, "seances": []}
            for m in salon.staff.values()
        ]
        return [card for card in cards if not card["fired"]], []

    async def book_dates(self, request: Request) -> tuple[Any, Any]:
        """GET /book_dates/{company}: days with at least one free start, and days somebody works."""
        salon, query = self._salon(request), request.query_params
        wanted = _services(salon, request)
        members = self._members(salon, int(query.get("staff_id") or 0), wanted)
        first = salon.local(self.town.now).date()
        days = [first + timedelta(days=offset) for offset in range(HORIZON_DAYS + 1)]
        days = [
            day for day in days if query.get("date_from", "") <= day.isoformat() <= (query.get("date_to") or "9999")
        ]
        free = [
            day for day in days if any(salon.starts(m, day, salon.length(m, wanted), self.town.now) for m in members)
        ]
        working = [day for day in days if any(m.working_hours(day) for m in members)]
        return {
            "booking_days": _days(free, as_text=salon.company_id % 2 == 0),
            "booking_dates": [day.isoformat() for day in free],
            "working_days": _days(working, as_text=salon.company_id % 2 == 0),
            "working_dates": [day.isoformat() for day in working],
        }, []

    async def book_times(self, request: Request) -> tuple[Any, Any]:
        """GET /book_times/{company}/{staff}/{day}: free starts; without services they are for one hour."""
        salon = self._salon(request)
        try:
            day = date.fromisoformat(request.path_params["day"])
        except ValueError:
            raise RefusedError(400, "Неверная дата") from None
        wanted = _services(salon, request)
        seen: dict[int, int] = {}
        for member in self._members(salon, request.path_params["staff"], wanted):
            minutes = salon.length(member, wanted)
            for start in salon.starts(member, day, minutes, self.town.now):
                seen.setdefault(start, minutes)
        return [_time(salon, day, start, minutes) for start, minutes in sorted(seen.items())], []

    def _members(self, salon: Salon, staff_id: int, wanted: list[int]) -> list[StaffMember]:
        able = salon.offering(frozenset(wanted))
        return able if staff_id == 0 else [member for member in able if member.staff_id == staff_id]

    # booking

    async def book_check(self, request: Request) -> tuple[Any, Any]:
        """POST /book_check/{company}: whether these appointments could be booked now."""
        salon = self._salon(request)
        for wish in (await _body(request)).get("appointments") or []:
            self._place(salon, wish)
        return None, {"message": "Created"}

    async def book_record(self, request: Request) -> tuple[Any, Any]:
        """POST /book_record/{company}: book them. There is no idempotency key; asking twice books twice if there is room."""
        salon, body = self._salon(request), await _body(request)
        phone = re.sub(r"\D", "", str(body.get("phone", "")))
        if not 10 <= len(phone) <= 15:
            raise RefusedError(422, "Неверный номер телефона", 431)
        if not str(body.get("fullname") or "").strip():
            raise RefusedError(422, "Не указано имя", 435)
        person = next((p for _, p in sorted(salon.people.items()) if p.chat == phone), None)
        if person is not None and person.blacklisted:
            raise RefusedError(403, "Клиент в чёрном списке", 434)
        answers = []
        for wish in body.get("appointments") or []:
            member, local, wanted, minutes = self._place(salon, wish)
            person = person or self._newcomer(salon, phone, str(body["fullname"]))
            person.bookings += 1
            person.plan += 1
            row = self.town.write(
                salon, person, member.staff_id, wanted, local, minutes, online=True,
                api_id=str(body.get("api_id") or ""), comment=str(body.get("comment") or ""),
            )  # fmt: skip
            answers.append(
                {
                    "id": wish.get("id", 1),
                    "record_id": row.record_id,
                    "record_hash": f"{self.town.dice.number(row.record_id):016x}",
                }
            )
        return answers, []

    def _newcomer(self, salon: Salon, phone: str, name: str) -> Person:
        client_id = max(salon.people, default=0) + 50_000
        person = Person(
            client_id,
            name,
            f"+{phone}",
            phone,
            tastes_of(self.town.dice, salon, client_id),
            self.town.now,
            self.town.now,
        )
        salon.people[client_id] = person
        return person

    def _place(self, salon: Salon, wish: dict[str, Any]) -> tuple[StaffMember, datetime, list[int], int]:
        wanted = [int(service_id) for service_id in wish.get("services") or []]
        if not wanted or any(service_id not in salon.services for service_id in wanted):
            raise RefusedError(422, "Услуга недоступна", 438)
        members = self._members(salon, int(wish.get("staff_id") or 0), wanted)
        if not members:
            raise RefusedError(422, "Нет доступных сотрудников", 436)
        try:
            moment = datetime.fromisoformat(str(wish.get("datetime")))
        except ValueError:
            raise RefusedError(422, "Неверная дата") from None
        local = salon.local(moment) if moment.tzinfo else moment
        for member in members:
            minutes = salon.length(member, wanted)
            if salon.is_free(member, local, minutes, self.town.now):
                return member, local, wanted, minutes
        raise RefusedError(422, "Выбранное время уже занято", 433)


def _page(request: Request, default: int) -> tuple[int, int]:
    size = int(request.query_params.get("count") or default)
    return max(1, int(request.query_params.get("page") or 1)), size if 1 <= size <= MAX_PAGE else FALLBACK_PAGE


def _instant(salon: Salon, text: str | None) -> datetime | None:
    """A filter's moment: the salon's wall clock unless it names an offset."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(400, "Неверная дата") from None
    return moment.astimezone(UTC) if moment.tzinfo else salon.instant(moment)


def _filter(salon: Salon, request: Request) -> Callable[[Record], bool]:
    query = request.query_params
    deleted = query.get("with_deleted") in {"1", "true"}
    client_id, staff_id = (int(query[key]) if query.get(key) else None for key in ("client_id", "staff_id"))
    after, before = _instant(salon, query.get("changed_after")), _instant(salon, query.get("changed_before"))
    first, last = query.get("start_date") or "", query.get("end_date") or "9999"
    made_first, made_last = query.get("c_start_date") or "", query.get("c_end_date") or "9999"

    def keep(row: Record) -> bool:
        return (
            (deleted or not row.deleted)
            and (client_id is None or row.client_id == client_id)
            and (staff_id is None or row.staff_id == staff_id)
            and (after is None or row.changed >= after)
            and (before is None or row.changed <= before)
            and first <= row.local.date().isoformat() <= last
            and (
                not (made_first or made_last != "9999")
                or made_first <= salon.local(row.created).date().isoformat() <= made_last
            )
        )

    return keep


def _services(salon: Salon, request: Request) -> list[int]:
    """Only the bracket form is understood; a mistyped parameter is silently ignored."""
    wanted = [int(text) for text in request.query_params.getlist("service_ids[]") if text.isdigit()]
    if any(service_id not in salon.services for service_id in wanted):
        raise RefusedError(422, "Услуга недоступна", 438)
    return wanted


def _days(days: list[date], *, as_text: bool) -> dict[str, list[Any]] | list[Any]:
    found: dict[str, list[Any]] = {}
    for day in days:
        found.setdefault(str(day.month), []).append(str(day.day) if as_text else day.day)
    return found or []


def _time(salon: Salon, day: date, start: int, minutes: int) -> dict[str, Any]:
    local = datetime(day.year, day.month, day.day, start // 60, start % 60, tzinfo=salon.zone)
    return {
        "time": f"{start // 60}:{start % 60:02d}",
        "seance_length": minutes * 60,
        "sum_length": minutes * 60,
        "datetime": local.isoformat(),
    }


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise RefusedError(400, "Неверный JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "Неверный JSON")
    return body
