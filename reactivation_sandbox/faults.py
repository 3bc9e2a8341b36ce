"""What can go wrong with a call, and how each of it looks from outside. When a fault strikes is in `gate.py`."""

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactivation_sandbox.answers import as_json
from reactivation_sandbox.dice import Dice

Kind = Literal[
    "status", "html", "success_false", "timeout", "latency", "cut_before", "cut_middle", "lose_response", "shrink", "edit", "random",
]  # fmt: skip
FOREVER = 10**9


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `count` calls under a path (of a `method`, with `query` in their query), after `skip` that go well.

    - `status`: that code, with a Retry-After where one is named. `html`: a page instead of JSON. `success_false`: code 200
      and an envelope that says no.
    - `timeout`: silence for `seconds`, then the connection ends. `latency`: the right answer after `seconds`.
    - `cut_before`: the connection ends without a byte, and nothing was done. `cut_middle`: what was asked is done, and the
      connection ends in the middle of the answer. `lose_response`: the same, after the answer's headers.
    - `shrink`: the answer's last `rows` are missing, its total_count is not.
    - `edit`: the `operations` (those of `edits.py`, and shuffle) are done right before or after the answer (`when`).
    - `random`: each call goes wrong with probability `share`, in one of several ways; the same for the same `seed`.
    """

    path_prefix: str
    kind: Kind = "status"
    status: int = 500
    count: int = 1
    retry_after: float | None = None
    seconds: float = 30.0
    skip: int = 0
    method: str = ""
    query: str = ""
    rows: int = 1
    when: Literal["before", "after"] = "before"
    operations: list[dict[str, Any]] = field(default_factory=list)
    share: float = 0.0
    seed: int = 0
    _drawn: int = 0

    def concerns(self, method: str, path: str, query: str) -> bool:
        """Whether this is one of the calls that may go wrong."""
        return path.startswith(self.path_prefix) and self.method in ("", method) and self.query in query

    def strike(self) -> "Fault | None":
        """What goes wrong with this call, None when it goes well."""
        if self.skip > 0:
            self.skip -= 1
            return None
        self.count -= 1
        if self.kind != "random":
            return self
        self._drawn += 1
        dice = Dice(self.seed)
        if not dice.chance(self.share, "strikes", self._drawn):
            return None
        return replace(self, **dice.pick(_MIX, "kind", self._drawn))


_MIX: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429, "retry_after": None},
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500, "retry_after": None},
    {"kind": "status", "status": 502, "retry_after": None},
    {"kind": "status", "status": 503},
    {"kind": "html", "status": 403},
    {"kind": "success_false"},
    {"kind": "cut_before"},
    {"kind": "cut_middle"},
    {"kind": "latency"},
)


async def fail(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a call wrongly. `edit` is not for this function: it is no answer."""
    if fault.kind == "status":
        await refusal(fault.status, fault.retry_after)(scope, receive, send)
    elif fault.kind == "html":
        page = HTMLResponse("<!DOCTYPE html><html><title>Just a moment...</title></html>", status_code=fault.status)
        await page(scope, receive, send)
    elif fault.kind == "success_false":
        no = JSONResponse({"success": False, "data": None, "meta": {"message": "Превышен лимит запросов"}})
        await no(scope, receive, send)
    elif fault.kind == "timeout":
        await asyncio.sleep(fault.seconds)
        await _hang_up(send, 500)
    elif fault.kind == "latency":
        await asyncio.sleep(fault.seconds)
        await app(scope, receive, send)
    elif fault.kind == "cut_before":
        await _cut(send, receive)
    else:
        await _spoil(fault, app, scope, receive, send)


async def _spoil(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Do what was asked, and answer with a part of the answer."""
    status, headers, body = 500, [], b""

    async def keep(message: Message) -> None:
        nonlocal status, headers, body
        if message["type"] == "http.response.start":
            status, headers = message["status"], message["headers"]
        else:
            body += message.get("body", b"")

    await app(scope, receive, keep)
    if fault.kind == "shrink":
        await _shrunk(status, body, fault.rows)(scope, receive, send)
    elif fault.kind == "cut_middle":
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
    else:
        await _hang_up(send, status)


def _shrunk(status: int, body: bytes, rows: int) -> Response:
    answer = json.loads(body)
    listing = answer["data"] if isinstance(answer, dict) and "data" in answer else answer
    if isinstance(listing, dict):
        listing = listing.get("records", [])
    if isinstance(listing, list):
        del listing[max(0, len(listing) - rows) :]
    return as_json(answer, status)


def refusal(status: int, retry_after: float | None) -> Response:
    """An envelope that says no, with a code that says the same."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    body = {
        "success": False,
        "data": None,
        "meta": {"message": "Превышен лимит запросов" if status == 429 else "Ошибка"},
    }
    return JSONResponse(body, status_code=status, headers=headers)


async def _hang_up(send: Send, status: int) -> None:
    """Promise a body and never send it: the server then closes the connection, and the caller has no answer."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"1000")]})


async def _cut(send: Send, receive: Receive) -> None:
    """End the connection without a word. ASGI has no message for this, so the server's own transport is asked."""
    cycle = getattr(send, "__self__", None)
    transport = getattr(cycle, "transport", None)
    if transport is None:
        raise RuntimeError("cut_before needs the connection of uvicorn, which is not what serves this call")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
