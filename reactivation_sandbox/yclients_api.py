"""The CRM's REST service (`/api/v1`): its routes, tokens, envelopes and refusals.

What the calls say is in `crm_directory.py`, `crm_search.py`, `crm_journal.py`, `crm_free.py` and `crm_booking.py`.
"""

import json
import re
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox import crm_booking, crm_directory, crm_free, crm_journal, crm_search
from reactivation_sandbox.answers import as_json
from reactivation_sandbox.ask import Answer, Ask, Calls, Handler, RefusedError
from reactivation_sandbox.postman import Postman
from reactivation_sandbox.world import World

BASE = "/api/v1"
USER: Calls = (*crm_directory.USER, *crm_search.CALLS, *crm_journal.CALLS, *crm_free.USER)
PARTNER: Calls = (*crm_directory.PARTNER, *crm_free.PARTNER, *crm_booking.CALLS)
PASSWORD = "sandbox-password"  # noqa: S105 (the password of everybody in the town)


@dataclass(frozen=True, slots=True)
class Crm:
    """The calls of one town, for one partner and one user token."""

    world: World
    postman: Postman
    partner: str
    user: str

    def routes(self) -> list[Route]:
        """Every served call, those that need only the partner's token among them; anything else is a 404 of the CRM."""
        served = [
            Route(BASE + path, partial(self._answer, call, needs_user), methods=[method])
            for calls, needs_user in ((USER, True), (PARTNER, False), ((("POST", "/auth", self._auth),), False))
            for method, path, call in calls
        ]
        methods = ["GET", "POST", "PUT", "DELETE"]
        return [*served, Route(BASE + "/{rest:path}", partial(self._answer, _nothing, False), methods=methods)]

    async def _answer(self, call: Handler, needs_user: bool, request: Request) -> Response:
        """Check the tokens, make the call, put its data and meta into an envelope unless the caller did not ask for one."""
        v, town = self.world.variants, self.world.town
        try:
            self._check(request, needs_user=needs_user)
            body = await _body(request) if request.method != "GET" else {}
            ask = Ask(town, v, request.path_params, request.query_params, body)
            if call is not crm_directory.company:
                _admit(ask)
            with town.changes.by_api():
                answer = call(ask)
        except RefusedError as no:
            return as_json(self._refusal(no), no.status)
        heard = BackgroundTask(self.postman.deliver_changes, town.changes.drain()) if town.changes.listening else None
        response = self._wrapped(answer, request)
        response.background = heard
        return response

    def _wrapped(self, answer: Answer, request: Request) -> Response:
        v = self.world.variants
        status = answer.status or (201 if request.method == "POST" else 200)
        if status == 204:
            return Response(status_code=204)
        bare = (
            "v2+json" not in request.headers.get("accept", "") if v.envelope == "by_accept" else v.envelope == "never"
        )
        if bare:
            return as_json(answer.data, status)
        meta = answer.meta
        if isinstance(meta, dict) and "total_count" in meta and v.total_count != "as_is":
            count = {"total_count": str(meta["total_count"])} if v.total_count == "text" else {}
            meta = {key: value for key, value in meta.items() if key != "total_count"} | count
        if v.meta == "list":
            meta = []
        elif v.meta == "object" and not meta:
            meta = {}
        return as_json({"success": True, "data": answer.data, "meta": meta}, status)

    def _refusal(self, no: RefusedError) -> dict[str, Any]:
        shape = self.world.variants.errors_422
        if no.code is not None and shape == "code":
            return {"errors": {"code": no.code, "message": no.message}, "meta": {"message": no.message}}
        bare = no.status == 404 and self.world.variants.not_found == "empty"
        meta: dict[str, Any] = {} if bare else {"message": no.message}
        if no.errors:
            meta["errors"] = no.errors
        elif no.code is not None and shape == "list":
            meta["errors"] = [{}]
        return {"success": False, "data": None, "meta": meta}

    def _check(self, request: Request, *, needs_user: bool) -> None:
        header = request.headers.get("authorization", "")
        found = re.fullmatch(r"Bearer\s+([^,\s]+)(?:\s*,\s*User\s+(\S+))?", header.strip())
        if (
            found is None
            or found[1] != self.partner
            or (needs_user and found[2] != self.user)
            or (found[2] not in (None, self.user))
        ):
            raise RefusedError(401, "Необходима авторизация")
        if self.world.variants.partner_id == "required" and not request.headers.get("x-partner-id"):
            raise RefusedError(401, "Не указан partner id")

    def _auth(self, ask: Ask) -> Answer:
        """POST /auth: the user's token for a login and the password that everybody in the town has."""
        login = str(ask.body.get("login") or "")
        if not login or ask.body.get("password") != PASSWORD:
            raise RefusedError(401, "Неверный логин или пароль")
        return Answer(
            {
                "id": 77,
                "user_token": self.user,
                "name": "Администратор",
                "phone": "79001999999",
                "login": login,
                "email": "",
                "avatar": "",
                "is_approved": True,
            }
        )


def _admit(ask: Ask) -> None:
    """A location that exists is served while its licence lasts, to those who may see it."""
    salon = ask.town.salons.get(ask.path.get("company", 0))
    if salon is not None and not salon.licensed:
        raise RefusedError(402, "Необходимо продлить лицензию для использования API")
    if salon is not None and not salon.open_to_us:
        raise RefusedError(403, "Нет прав на управление филиалом")


def _nothing(_: Ask) -> Answer:
    raise RefusedError(404, "Не найдено")


async def _body(request: Request) -> dict[str, Any]:
    """The call's body; a list is kept under `items`, none is an empty one."""
    text = await request.body()
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        raise RefusedError(400, "Неверный JSON") from None
    if isinstance(body, list):
        return {"items": body}
    if not isinstance(body, dict):
        raise RefusedError(400, "Неверный JSON")
    return body
