"""The messenger gateway's HTTP calls (WAHA, GOWS engine): sending a text, asking whether a number exists, the session's state."""

import hmac
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox.answers import Unanswered, as_json
from reactivation_sandbox.town import Town
from reactivation_sandbox.world import World

NO_NEW_CHATS = 463
_HTTP = frozenset({400, 401, 403, 404, 422, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Gateway:
    """The gateway of one town behind one API key."""

    world: World
    api_key: str
    timelocked: set[str] = field(default_factory=set)
    capped: set[str] = field(default_factory=set)

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def routes(self) -> list[Route]:
        """Every served call."""
        return [
            Route("/api/sendText", self.send_text, methods=["POST"]),
            Route("/api/contacts/check-exists", self.check_exists, methods=["GET"]),
            Route("/api/sessions", self.sessions, methods=["GET"]),
            Route("/api/sessions/{session}", self.session, methods=["GET"]),
            Route("/api/sessions/{session}/capping", self.capping, methods=["GET"]),
        ]

    def _refusal(self, request: Request, session: str | None = None) -> Response | None:
        if not hmac.compare_digest(request.headers.get("x-api-key", "").encode(), self.api_key.encode()):
            return as_json({"message": "Unauthorized", "statusCode": 401}, 401)
        if session is not None and self.town.dialog.status(session) is None:
            return as_json(
                {"message": f'Session "{session}" does not exist', "error": "Not Found", "statusCode": 404}, 404
            )
        return None

    async def send_text(self, request: Request) -> Response:
        """POST /api/sendText: 201 means accepted, not delivered."""
        body = await request.json()
        session, chat_id, text = (str(body.get(key) or "") for key in ("session", "chatId", "text"))
        refusal = self._refusal(request, session)
        if refusal is not None:
            return refusal
        status = self.town.dialog.status(session)
        if status != "WORKING":
            error = "Session status is not as expected. Try again later or restart the session"
            return as_json({"error": error, "session": session, "status": status, "expected": ["WORKING"]}, 422)
        chat = chat_id.removesuffix("@c.us")
        if not chat.isdigit() or not text:
            return as_json(
                {"statusCode": 400, "message": ["chatId and text are required"], "error": "Bad Request"}, 400
            )
        dialog, mischief, dice = self.town.dialog, self.town.dialog.mischief, self.town.dice
        place = len(dialog.messages), chat
        code = mischief.error("waha", chat, "answer")
        if code is not None:
            return _on_demand(code)
        if self.locked(session, chat):
            return _on_demand(NO_NEW_CHATS)
        if dice.chance(mischief.refuse, "refuse", *place):
            return as_json({"statusCode": 503, "message": "busy"}, 503)
        message = dialog.send(session, chat, text)
        if dice.chance(mischief.lose_answers, "lose", *place):
            message.lost = True
            return Unanswered()
        return as_json(
            {
                "id": message.message_id,
                "timestamp": int(message.at.timestamp()),
                "from": self._me(session)["id"],
                "fromMe": True,
                "source": "api",
                "to": chat_id,
                "body": text,
                "hasMedia": False,
                "media": None,
                "ack": 0,
                "ackName": "PENDING",
                "replyTo": None,
                "_data": {},
            },
            201,
        )

    async def check_exists(self, request: Request) -> Response:
        """GET /api/contacts/check-exists: whether a phone is on the messenger."""
        refusal = self._refusal(request, request.query_params.get("session") or "default")
        if refusal is not None:
            return refusal
        digits = "".join(filter(str.isdigit, request.query_params.get("phone", "")))
        exists = self.town.dialog.reachable(digits)
        return as_json({"numberExists": exists, **({"chatId": f"{digits}@c.us"} if exists else {})})

    async def sessions(self, request: Request) -> Response:
        """GET /api/sessions: all of them."""
        refusal = self._refusal(request)
        return refusal or as_json([self._session(salon.session) for salon in self.town.salons.values()])

    async def session(self, request: Request) -> Response:
        """GET /api/sessions/{session}."""
        name = request.path_params["session"]
        return self._refusal(request, name) or as_json(self._session(name))

    async def capping(self, request: Request) -> Response:
        """GET /api/sessions/{session}/capping: how many new chats the number may still start."""
        name = request.path_params["session"]
        return self._refusal(request, name) or as_json(self._capping(name))

    def locked(self, session: str, chat: str) -> bool:
        """Whether the number may not open this chat: a lock keeps the chats in which the client has written."""
        return session in self.timelocked | self.capped and (session, chat) not in self.town.dialog.heard_at

    def _me(self, session: str) -> dict[str, Any]:
        salon = self.town.dialog.salon_of(session)
        return {"id": f"{salon.phone[1:]}@c.us", "pushName": salon.title} if salon else {"id": "", "pushName": ""}

    def _session(self, name: str) -> dict[str, Any]:
        status = self.town.dialog.status(name)
        me = (
            {
                **self._me(name),
                "reachoutTimelock": {"isActive": True} if name in self.timelocked else None,
                "messageCapping": self._capping(name),
            }
            if status == "WORKING"
            else None
        )
        return {"name": name, "status": status, "config": {"webhooks": []}, "me": me, "engine": {"engine": "GOWS"}}

    def _capping(self, name: str) -> dict[str, Any]:
        used = len({message.chat for message in self.town.dialog.messages if message.session == name})
        total = -1
        if name in self.capped:
            total = used
        state = "CAPPED" if name in self.capped else "NONE"
        return {"cappingStatus": state, "totalQuota": total, "usedQuota": used, "cycleStart": None, "cycleEnd": None}


def _on_demand(code: int) -> Response:
    """An error as the gateway tells it: its own HTTP status, or WhatsApp's code in the words of a server error."""
    if code in _HTTP:
        return as_json({"statusCode": code, "message": "on demand"}, code)
    return as_json({"statusCode": 500, "exception": {"message": f"server returned error {code}"}}, 500)
