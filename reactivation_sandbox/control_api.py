"""The hand on the town: `/_town`, for the demo and the tests. Moves the clock, reads the recordings, edits the books, causes faults."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox.answers import as_json
from reactivation_sandbox.book import load
from reactivation_sandbox.clock import parse_instant
from reactivation_sandbox.cloud_api import Graph
from reactivation_sandbox.edits import OPERATIONS, Done, Operation, perform
from reactivation_sandbox.faults import FOREVER, Fault, Kind
from reactivation_sandbox.gate import Gate
from reactivation_sandbox.gemini_api import GeminiApi
from reactivation_sandbox.ledger import ledger
from reactivation_sandbox.live import LiveClock
from reactivation_sandbox.mischief import BANS
from reactivation_sandbox.postman import Postman
from reactivation_sandbox.shuffle import shuffle
from reactivation_sandbox.town import Town
from reactivation_sandbox.truth import truth
from reactivation_sandbox.waha_api import Gateway
from reactivation_sandbox.world import World


def _account_update(kind: str, *, lifted: bool) -> dict[str, Any]:
    if kind == "disabled":
        return {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE" if lifted else "DISABLE"}}
    if lifted:
        return {"event": "ACCOUNT_RECONNECTED"}
    return {
        "event": "ACCOUNT_RESTRICTION",
        "restriction_info": [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING"}],
    }


LIFECYCLE = ("uninstall", "freeze", "payment")


@dataclass(slots=True)
class Control:
    """The control calls of one server. `found` makes a fresh town with some options changed; `partner` is the partner's token."""

    world: World
    postman: Postman
    partner: str
    gate: Callable[[], Gate]
    found: Callable[[dict[str, Any]], Town]
    gateway: Gateway
    graph: Graph
    clockwork: LiveClock
    model: GeminiApi
    _moving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def routes(self) -> list[Route]:
        """Every control call."""
        calls: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("GET", "clock", self.clock),
            ("POST", "clock", self.set_clock),
            ("POST", "webhooks", self.webhooks),
            ("POST", "crm_webhooks", self.crm_webhooks),
            ("POST", "lifecycle", self.lifecycle),
            ("POST", "faults", self.faults),
            ("GET", "variants", self.variants),
            ("POST", "variants", self.switch),
            ("POST", "edit", self.edits),
            ("POST", "shuffle", self.shuffle),
            ("GET", "book/{company:int}", self.book),
            ("POST", "salons", self.salons),
            ("POST", "sessions/{session}", self.session),
            ("POST", "mischief", self.mischief),
            ("GET", "mischief", self.mischief),
            ("POST", "live", self.live),
            ("POST", "ban", self.ban),
            ("POST", "number/{company:int}", self.number),
            ("POST", "templates", self.templates),
            ("POST", "write", self.write),
            ("POST", "cloud_event", self.cloud_event),
            ("POST", "reset", self.reset),
            ("GET", "messages", self.messages),
            ("GET", "calls", self.calls),
            ("GET", "journal", self.journal),
            ("GET", "truth", self.truth),
            ("GET", "answered", self.answered),
        ]
        return [Route(f"/_town/{path}", call, methods=[method]) for method, path, call in calls]

    async def clock(self, _: Request) -> Response:
        """The town's time and what the webhook has taken."""
        post = self.postman
        return as_json(
            {
                "now": self.town.now.isoformat(),
                "webhooks": {
                    "delivered": post.delivered,
                    "refused": post.refused,
                    "kept": len(post.kept),
                    "lost": post.lost,
                },
            }
        )

    async def set_clock(self, request: Request) -> Response:
        """Live on until `now`, delivering webhooks on the way; 409 when that is in the past."""
        try:
            until = parse_instant(str((await request.json())["now"]))
        except (KeyError, TypeError, ValueError) as error:
            return as_json({"error": str(error)}, 400)
        async with self._moving:
            if until < self.town.now:
                return as_json({"error": f"the clock does not go back from {self.town.now.isoformat()}"}, 409)
            await self.postman.deliver_kept()
            for event in self.town.advance(until):
                await self.postman.deliver(event)
            await self.postman.flush()
        return await self.clock(request)

    async def webhooks(self, request: Request) -> Response:
        """Deliver events to `url`, signed with `hmac_key`; a null url stops it."""
        body = await request.json()
        try:
            if "url" in body:
                self.postman.address(body.get("url"), body.get("hmac_key") or "")
            if "cloud_url" in body:
                await self.postman.address_cloud(body["cloud_url"], body["app_secret"], body["verify_token"])
        except (KeyError, ValueError) as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"url": self.postman.url, "cloud_url": self.postman.cloud_url})

    async def mischief(self, request: Request) -> Response:
        """Set fields of `Mischief`, or `quiet` (clients neither read nor answer), and show all of them."""
        dialog = self.town.dialog
        if request.method == "POST":
            wanted = await request.json()
            dialog.quiet = bool(wanted.pop("quiet", dialog.quiet))
            try:
                dialog.mischief.switch(wanted)
            except (TypeError, ValueError) as error:
                return as_json({"error": str(error)}, 400)
        return as_json({**asdict(dialog.mischief), "quiet": dialog.quiet})

    async def live(self, request: Request) -> Response:
        """Let the town's clock run by itself, `speed` times as fast as the real one; 0 stops it."""
        await self.clockwork.run(float((await request.json())["speed"]))
        return await self.clock(request)

    async def ban(self, request: Request) -> Response:
        """Ban a salon's number (`company`, `channel`, `kind` of `mischief.BANS`) and tell, or lift the ban with `lifted`."""
        body = await request.json()
        salon, channel, kind = self.town.salons.get(body["company"]), body["channel"], body["kind"]
        if salon is None or kind not in BANS.get(channel, ()):
            return as_json({"error": f"a salon, a channel and one of {BANS} are needed"}, 400)
        lifted, dialog = bool(body.get("lifted")), self.town.dialog
        if kind == "logged_out":
            dialog.set_status(salon.session, "WORKING" if lifted else "SCAN_QR_CODE")
        elif channel == "waha":
            held = self.gateway.capped if kind == "capped" else self.gateway.timelocked
            (held.discard if lifted else held.add)(salon.session)
            dialog.set_status(salon.session, "WORKING")
        else:
            status = {"disabled": "BANNED", "restricted": "RESTRICTED"}[kind]
            self.graph.card_of(salon.number_id).status = "CONNECTED" if lifted else status
            dialog.tell("account_update", salon.number_id, _account_update(kind, lifted=lifted), "cloud")
        await self._tell()
        return as_json({"company": salon.company_id, "channel": channel, "kind": kind, "lifted": lifted})

    async def number(self, request: Request) -> Response:
        """Change what Graph says of a salon's number: `quality`, `tier`, `status`."""
        salon = self.town.salons.get(request.path_params["company"])
        if salon is None:
            return as_json({"error": "no such salon"}, 404)
        card = self.graph.card_of(salon.number_id)
        for name, value in (await request.json()).items():
            setattr(card, name, value)
        return as_json(asdict(card))

    async def templates(self, request: Request) -> Response:
        """Review templates: `approve` all pending ones, or set the `status` of one (`company`, `name`, `language`) and tell."""
        body = await request.json()
        reviewed = []
        for salon in self.town.salons.values():
            for row in self.graph.shelf.rows.get(salon.business_id, ()):
                named = (body.get("company"), body.get("name")) == (salon.company_id, row["name"])
                if not (body.get("approve") and row["status"] == "PENDING") and not (body.get("status") and named):
                    continue
                row["status"] = body.get("status") or "APPROVED"
                value = {
                    "event": row["status"],
                    "message_template_id": row["id"],
                    "message_template_name": row["name"],
                    "message_template_language": row["language"],
                    "reason": body.get("reason") or "NONE",
                }
                self.town.dialog.tell("message_template_status_update", salon.number_id, value, "cloud")
                reviewed.append(row["name"])
        await self._tell()
        return as_json({"reviewed": reviewed})

    async def write(self, request: Request) -> Response:
        """Let a client write: `company`, `phone`, `text`, over `channel`; the id of the message."""
        body = await request.json()
        salon, dialog = self.town.salons.get(body["company"]), self.town.dialog
        if salon is None:
            return as_json({"error": "no such salon"}, 404)
        message_id = dialog.say(salon, str(body["phone"]).removeprefix("+"), body["text"], body.get("channel", "waha"))
        if self.clockwork.running:
            self.clockwork.deliver(dialog.drain())
        else:
            await self._tell()
        return as_json({"id": message_id})

    async def cloud_event(self, request: Request) -> Response:
        """Tell any change of the Cloud API: `company`, `field`, `value`."""
        body = await request.json()
        salon = self.town.salons.get(body["company"])
        if salon is None:
            return as_json({"error": "no such salon"}, 404)
        self.town.dialog.tell(body["field"], salon.number_id, body["value"], "cloud")
        await self._tell()
        return as_json({"told": body["field"]})

    async def _tell(self) -> None:
        """Deliver what has just been told."""
        for event in self.town.dialog.drain():
            await self.postman.deliver(event)
        await self.postman.flush_cloud()

    async def crm_webhooks(self, request: Request) -> Response:
        """Deliver the CRM's events of every salon to `url`, besides those that the salons' settings name; a null url stops it."""
        try:
            self.postman.address_crm((await request.json()).get("url"))
        except ValueError as error:
            return as_json({"error": str(error)}, 400)
        return as_json({"url": self.postman.crm_url})

    async def lifecycle(self, request: Request) -> Response:
        """A callback of the marketplace about one salon: `event` is uninstall, freeze or payment; to `url` or the CRM's webhook address."""
        body = await request.json()
        event, url = body.get("event"), body.get("url") or self.postman.crm_url
        if event not in LIFECYCLE or body.get("company_id") not in self.town.salons or url is None:
            return as_json({"error": f"a salon, a url and one of {', '.join(LIFECYCLE)} are needed"}, 400)
        callback = {
            "salon_id": body["company_id"],
            "application_id": body.get("application_id", 1),
            "event": event,
            "partner_token": body.get("partner_token", self.partner),
        }
        try:
            return as_json({"taken": await self.postman.tell(url, callback)})
        except ValueError as error:
            return as_json({"error": str(error)}, 400)

    async def faults(self, request: Request) -> Response:
        """Add a fault (fields of `Fault`; `kind` defaults to `html` for 403), or clear all with `{"clear": true}`."""
        body = await request.json()
        gate = self.gate()
        if body.pop("clear", False):
            gate.faults.clear()
        if body:
            body.setdefault("kind", "html" if body.get("status") == 403 else "status")
            if body["kind"] == "random":
                body = {"count": FOREVER, "seconds": 0.05} | body
            try:
                fault = Fault(**body)
            except TypeError as error:
                return as_json({"error": str(error)}, 400)
            if fault.kind not in get_args(Kind):
                return as_json({"error": f"kind={fault.kind} is none of {', '.join(get_args(Kind))}"}, 400)
            unknown = {operation.get("op") for operation in fault.operations} - {*OPERATIONS, "shuffle"}
            if unknown:
                return as_json({"error": f"op={unknown.pop()} is none of {', '.join(OPERATIONS)}, shuffle"}, 400)
            gate.faults.append(fault)
        return as_json({"faults": len(gate.faults)})

    async def variants(self, _: Request) -> Response:
        """Every variant of the CRM: name, meaning, present value, default, what is allowed."""
        return as_json(self.world.variants.described())

    async def switch(self, request: Request) -> Response:
        """Set variants by name; an empty body sets all back to their defaults."""
        wanted = await request.json()
        try:
            self.world.variants.switch(wanted)
        except ValueError as error:
            return as_json({"error": str(error)}, 400)
        if not wanted:
            self.world.variants.restore()
        return await self.variants(request)

    async def edit(self, operations: list[Operation]) -> list[Done]:
        """Do the operations of `edits.py`, `{"op": "shuffle", "seed": …, "edits": …}` among them, then deliver their webhooks.

        One that cannot be done raises ValueError, and the operations before it stay done.
        """
        done: list[Done] = []
        try:
            for operation in operations:
                if operation.get("op") == "shuffle":
                    fields = {key: value for key, value in operation.items() if key != "op"}
                    done += shuffle(self.town, **fields)
                else:
                    done += perform(self.town, [operation])
        finally:
            await self.postman.deliver_changes(self.town.changes.drain())
        return done

    async def edits(self, request: Request) -> Response:
        """Do a list of operations and say what was done."""
        return await self._edited(await request.json())

    async def shuffle(self, request: Request) -> Response:
        """Make `edits` random edits in `salons` (all without it), the same for the same `seed`, and say what was done."""
        return await self._edited([{"op": "shuffle", **await request.json()}])

    async def _edited(self, operations: list[Operation]) -> Response:
        try:
            return as_json({"now": self.town.now.isoformat(), "done": await self.edit(operations)})
        except (TypeError, ValueError) as error:
            return as_json({"error": str(error)}, 400)

    async def book(self, request: Request) -> Response:
        """A salon's whole truth, for comparison with a mirror."""
        salon = self.town.salons.get(request.path_params["company"])
        return as_json(ledger(self.town, salon)) if salon else as_json({"error": "no such salon"}, 404)

    async def salons(self, request: Request) -> Response:
        """Load a salon from its book."""
        try:
            salon = load(self.town, await request.json())
        except (KeyError, TypeError, ValueError) as error:
            return as_json({"error": f"{type(error).__name__}: {error}"}, 400)
        return as_json(
            {
                "company_id": salon.company_id,
                "session": salon.session,
                "clients": len(salon.people),
                "records": len(salon.records),
            },
            201,
        )

    async def session(self, request: Request) -> Response:
        """Put a session into `status` and report it to the webhook at once."""
        name = request.path_params["session"]
        if self.town.dialog.status(name) is None:
            return as_json({"error": f"no session {name}"}, 404)
        self.town.dialog.set_status(name, str((await request.json())["status"]))
        for event in self.town.dialog.drain():
            await self.postman.deliver(event)
        return as_json({"session": name, "status": self.town.dialog.status(name)})

    async def reset(self, request: Request) -> Response:
        """Begin again: same options unless the body names others (seed, now, salons, clients, history)."""
        async with self._moving:
            try:
                self.world.town = self.found(await request.json() if await request.body() else {})
            except (TypeError, ValueError) as error:
                return as_json({"error": str(error)}, 400)
        self.world.variants.restore()
        self.postman.kept.clear()
        self.postman.answered.clear()
        for held in (self.gateway.timelocked, self.gateway.capped, self.graph.cards, self.graph.shelf.rows):
            held.clear()
        self.postman.listen()
        self.model.forget()
        self.gate().forget()
        return as_json({"now": self.town.now.isoformat()})

    async def messages(self, _: Request) -> Response:
        """Every message that was accepted for a client, in order."""
        return as_json(
            [
                {
                    "id": message.message_id,
                    "at": message.at.isoformat(),
                    "session": message.session,
                    "chatId": f"{message.chat}@c.us",
                    "text": message.text,
                    "company_id": message.company_id,
                    "client_id": message.client_id,
                    "channel": message.channel,
                    "campaign": message.callback,
                    "template": message.template,
                    "lost": message.lost,
                    "arrived": message.arrived,
                    "real_at": message.real_at.isoformat() if message.real_at else None,
                }
                for message in self.town.dialog.messages
            ]
        )

    async def answered(self, _: Request) -> Response:
        """When our receiver took which inbound message: the real instant of its 200, by the message's id."""
        return as_json({one: at.isoformat() for one, at in self.postman.answered.items()})

    async def calls(self, _: Request) -> Response:
        """How often each route was called, and the last calls."""
        gate = self.gate()
        return as_json({"counts": dict(sorted(gate.counts.items())), "log": list(gate.log)})

    async def journal(self, request: Request) -> Response:
        """What happened in the town, from `after` (an instant) on."""
        try:
            after = parse_instant(request.query_params.get("after") or "1970-01-01T00:00:00Z")
        except ValueError as error:
            return as_json({"error": str(error)}, 400)
        rows = [(at.isoformat(), *rest) for at, *rest in self.town.journal if at >= after]
        return as_json(
            [dict(zip(("at", "what", "company_id", "client_id", "detail"), row, strict=True)) for row in rows]
        )

    async def truth(self, _: Request) -> Response:
        """What only the town knows."""
        return as_json(truth(self.town))
