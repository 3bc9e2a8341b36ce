"""The door of the server: keeps a log of calls, tidies paths, injects the faults asked for."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any, Literal

from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Kind = Literal["status", "html", "success_false", "timeout", "lose_response"]


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next `count` calls under a path, after `skip` that go well.

    `status` answers with that code; `html` with a page instead of JSON; `success_false` with code 200 and an envelope that says no;
    `timeout` says nothing for `seconds` and hangs up; `lose_response` does what was asked and hangs up in the middle of the answer.
    """

    path_prefix: str
    kind: Kind = "status"
    status: int = 500
    count: int = 1
    retry_after: float | None = None
    seconds: float = 30.0
    skip: int = 0


@dataclass(slots=True)
class Gate:
    """Wraps the application."""

    app: ASGIApp
    now: Callable[[], datetime]
    rate_limit: bool = False
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20_000))
    _recent: deque[float] = field(default_factory=deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = scope["path"].rstrip("/") or "/"
        path = scope["path"]
        status: list[int] = []

        async def note_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        at = self.now()
        fault = None if path.startswith("/_town") else self._fault(path)
        if fault is not None:
            await self._fail(fault, scope, receive, note_status)
        elif self._too_fast(path):
            await _refusal(429, None)(scope, receive, note_status)
        else:
            await self.app(scope, receive, note_status)
        if not path.startswith("/_town"):
            route = scope.get("route")
            self.counts[f"{scope['method']} {getattr(route, 'path', path)}"] += 1
            self.log.append(
                {
                    "at": at.isoformat(),
                    "method": scope["method"],
                    "path": path,
                    "query": scope["query_string"].decode(),
                    "status": status[0] if status else 0,
                    "fault": fault.kind if fault else None,
                }
            )

    def forget(self) -> None:
        """Drop the log and the faults."""
        self.faults.clear()
        self.counts.clear()
        self.log.clear()

    def _fault(self, path: str) -> Fault | None:
        fault = next((fault for fault in self.faults if path.startswith(fault.path_prefix)), None)
        if fault is None:
            return None
        if fault.skip > 0:
            fault.skip -= 1
            return None
        fault.count -= 1
        if fault.count <= 0:
            self.faults.remove(fault)
        return fault

    def _too_fast(self, path: str) -> bool:
        """The CRM's limit, in real time: 5 calls a second and 200 a minute."""
        if not self.rate_limit or not path.startswith("/api/v1"):
            return False
        now = monotonic()
        while self._recent and now - self._recent[0] > 60:
            self._recent.popleft()
        if len(self._recent) >= 200 or (len(self._recent) >= 5 and now - self._recent[-5] < 1):
            return True
        self._recent.append(now)
        return False

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind == "timeout":
            await asyncio.sleep(fault.seconds)
            await _hang_up(send, 500)
        elif fault.kind == "lose_response":
            await self._lose(scope, receive, send)
        elif fault.kind == "html":
            page = HTMLResponse("<!DOCTYPE html><html><title>Just a moment...</title></html>", status_code=fault.status)
            await page(scope, receive, send)
        elif fault.kind == "success_false":
            no = JSONResponse({"success": False, "data": None, "meta": {"message": "Превышен лимит запросов"}})
            await no(scope, receive, send)
        else:
            await _refusal(fault.status, fault.retry_after)(scope, receive, send)

    async def _lose(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def swallow(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]

        await self.app(scope, receive, swallow)
        await _hang_up(send, status)


def _refusal(status: int, retry_after: float | None) -> Response:
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
