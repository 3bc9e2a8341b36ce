"""WhatsApp's Cloud API (Graph): sending, templates, the number's card. Answers like Graph, errors included.

What to add here: calls of Graph. What to keep out: its webhooks (`postman.py`) and what clients do (`dialog.py`).
"""

import asyncio
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox.answers import Unanswered, as_json
from reactivation_sandbox.cloud_templates import Refused, Shelf
from reactivation_sandbox.salon import Salon
from reactivation_sandbox.town import Town
from reactivation_sandbox.world import World

TIERS = {"TIER_250": 250, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000, "TIER_UNLIMITED": 10**9}
FULL = 80007
"""There is no documented code for a business that has reached its limit of clients; this is Graph's for a business's limits."""
_DAY = timedelta(hours=24)
_CALLBACK = 512
_OWN_STATUS = {
    4: 400,
    80007: 400,
    130429: 429,
    131056: 429,
    190: 401,
    0: 401,
    10: 403,
    131000: 500,
    131016: 503,
    133004: 503,
    1: 500,
    2: 503,
}


@dataclass(slots=True)
class Card:
    """What Graph says of a number beside its name."""

    status: str = "CONNECTED"
    quality: str = "GREEN"
    tier: str = "TIER_2K"


@dataclass(slots=True)
class Graph:
    """Graph of one town behind one access token."""

    world: World
    token: str
    shelf: Shelf = field(default_factory=Shelf)
    cards: dict[str, Card] = field(default_factory=dict)
    _written: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def routes(self) -> list[Route]:
        """Every served call, whatever the version."""
        calls: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("POST", "/{version}/{number:str}/messages", self.messages),
            ("POST", "/{version}/{number:str}/marketing_messages", self.messages),
            ("GET", "/{version}/{business:str}/message_templates", self.templates),
            ("POST", "/{version}/{business:str}/message_templates", self.submit),
            ("GET", "/{version}/{number:str}", self.card),
        ]
        return [Route("/graph" + path, call, methods=[method]) for method, path, call in calls]

    def card_of(self, number: str) -> Card:
        """The card of a number, to be read and changed."""
        return self.cards.setdefault(number, Card())

    # ------------------------------------------------------------ sending

    async def messages(self, request: Request) -> Response:
        """POST messages and marketing_messages: 200 means accepted, not delivered."""
        try:
            self._admit(request)
            salon = self._salon(request.path_params["number"])
            body = await self._json(request)
            chat, text, template = self._letter(salon, body, marketing=request.url.path.endswith("marketing_messages"))
        except Refused as refused:
            return _refusal(refused)
        dialog, mischief, dice = self.town.dialog, self.town.dialog.mischief, self.town.dice
        code = mischief.error("cloud", chat, "answer")
        if code is not None:
            return _refusal(Refused(code, "on demand"))
        place = len(dialog.messages), chat
        if dice.chance(mischief.refuse, "refuse", *place):
            return _refusal(Refused(131056, "Too many messages to this user for now"))
        callback = body.get("biz_opaque_callback_data")
        message = dialog.send(salon.number_id, chat, text, channel="cloud", callback=callback, template=template)
        if dice.chance(mischief.lose_answers, "lose", *place):
            message.lost = True
            await asyncio.sleep(0)
            return Unanswered()
        return as_json(
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": body["to"], "wa_id": chat}],
                "messages": [{"id": message.message_id, "message_status": "accepted"}],
            }
        )

    def _letter(self, salon: Salon, body: dict[str, Any], *, marketing: bool) -> tuple[str, str, str | None]:
        """The chat, what the client reads, and the template's name. Raises Refused."""
        chat = str(body.get("to") or "").removeprefix("+")
        if body.get("messaging_product") != "whatsapp" or not chat.isdigit():
            raise Refused(100, "messaging_product and to are required")
        callback = body.get("biz_opaque_callback_data")
        if callback is not None and (not isinstance(callback, str) or len(callback) > _CALLBACK):
            raise Refused(100, "biz_opaque_callback_data is too long")
        self._refuse_bans(salon)
        if chat == salon.phone[1:]:
            raise Refused(131021, "Recipient cannot be sender")
        heard = self.town.dialog.heard_at.get((salon.number_id, chat))
        open_ = heard is not None and self.town.now - heard < _DAY
        if body.get("type") == "template":
            text = self.shelf.fill(salon.business_id, body.get("template") or {})
            name = str(body["template"]["name"])
        elif marketing or body.get("type") != "text":
            raise Refused(100, "only templates are sent here" if marketing else "type is not supported")
        else:
            words = (body.get("text") or {}).get("body")
            if not isinstance(words, str) or not words:
                raise Refused(131008, "text.body is required")
            if not open_:
                raise Refused(131047, "More than 24 hours have passed since the recipient last replied")
            text, name = words, None
        if not open_:
            self._count(salon, chat)
        return chat, text, name

    def _refuse_bans(self, salon: Salon) -> None:
        status = self.card_of(salon.number_id).status
        if status in {"BANNED", "DELETED"}:
            raise Refused(131031, "Business Account locked")
        if status == "RESTRICTED":
            raise Refused(368, "Temporarily blocked for policies violations")

    def _count(self, salon: Salon, chat: str) -> None:
        """Different clients of a business in a moving day, outside their windows."""
        written = self._written.setdefault(salon.business_id, {})
        for one in [one for one, at in written.items() if self.town.now - at >= _DAY]:
            del written[one]
        if chat not in written and len(written) >= TIERS[self.card_of(salon.number_id).tier]:
            raise Refused(FULL, "Business has reached its messaging limit")
        written[chat] = self.town.now

    # ------------------------------------------------------------ the rest

    async def card(self, request: Request) -> Response:
        """GET the number's card."""
        try:
            self._admit(request)
            salon = self._salon(request.path_params["number"])
        except Refused as refused:
            return _refusal(refused)
        card = self.card_of(salon.number_id)
        return as_json(
            {
                "id": salon.number_id,
                "display_phone_number": salon.phone,
                "verified_name": salon.title,
                "quality_rating": card.quality,
                "status": card.status,
                "throughput": {"level": "STANDARD"},
                "health_status": {"can_send_message": "AVAILABLE" if card.status == "CONNECTED" else "BLOCKED"},
                "whatsapp_business_manager_messaging_limit": card.tier,
                "name_status": "APPROVED",
            }
        )

    async def templates(self, request: Request) -> Response:
        """GET a business's templates, a page at a time."""
        try:
            self._admit(request)
        except Refused as refused:
            return _refusal(refused)
        rows = self.shelf.rows.get(request.path_params["business"], [])
        first = int(request.query_params.get("after") or 0)
        limit = int(request.query_params.get("limit") or 25)
        page = rows[first : first + limit]
        paging: dict[str, Any] = {"cursors": {"before": str(first), "after": str(first + len(page))}}
        if first + len(page) < len(rows):
            paging["next"] = f"{request.url}&after={first + len(page)}"
        return as_json({"data": page, "paging": paging})

    async def submit(self, request: Request) -> Response:
        """POST a template for review."""
        try:
            self._admit(request)
            row = self.shelf.submit(request.path_params["business"], await self._json(request))
        except Refused as refused:
            return _refusal(refused)
        return as_json({"id": row["id"], "status": row["status"], "category": row["category"]})

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Refused(190, "Invalid OAuth access token")

    def _salon(self, number: str) -> Salon:
        salon = self.town.dialog.salon_of(number)
        if salon is None or number != salon.number_id:
            raise Refused(100, f"Object with ID '{number}' does not exist", 33)
        return salon

    @staticmethod
    async def _json(request: Request) -> dict[str, Any]:
        try:
            body = json.loads(await request.body())
        except ValueError:
            raise Refused(100, "The body is not JSON") from None
        if not isinstance(body, dict):
            raise Refused(100, "The body is no object")
        return body


def _refusal(refused: Refused) -> Response:
    """Graph's own form of an error."""
    error: dict[str, Any] = {
        "message": f"(#{refused.code}) {refused.words}",
        "type": "OAuthException",
        "code": refused.code,
        "fbtrace_id": "A_pretend_trace",
    }
    if refused.subcode is not None:
        error["error_subcode"] = refused.subcode
        error["error_user_msg"] = refused.words
    return as_json({"error": error}, _OWN_STATUS.get(refused.code, 400))
