"""The door of the server: keeps a log of calls, tidies paths, refuses what comes too fast, lets faults strike."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactivation_sandbox.faults import Fault, fail, refusal

CRM = "/api/v1"
A_SECOND, A_MINUTE = 5, 200


@dataclass(slots=True)
class Gate:
    """Wraps the application. `edit` does the operations of an `edit` fault."""

    app: ASGIApp
    now: Callable[[], datetime]
    edit: Callable[[list[dict[str, Any]]], Awaitable[object]]
    rate_limit: bool = False
    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=50_000))
    _recent: deque[float] = field(default_factory=deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = scope["path"].rstrip("/") or "/"
        if scope["path"].startswith("/_town"):
            await self.app(scope, receive, send)
            return
        arrived, at, path, query = monotonic(), self.now(), scope["path"], scope["query_string"].decode()
        status: list[int] = []

        async def note_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            await send(message)

        fault = self._fault(scope["method"], path, query)
        entry: dict[str, Any] = {
            "at": at.isoformat(),
            "method": scope["method"],
            "path": path,
            "query": query,
            "fault": fault.kind if fault else None,
            "arrived": arrived,
        }
        try:
            if fault is not None:
                await self._fail(fault, scope, receive, send if fault.kind == "cut_before" else note_status)
            elif self._too_fast(path, arrived):
                await refusal(429, None)(scope, receive, note_status)
            else:
                await self.app(scope, receive, note_status)
        finally:
            route = scope.get("route")
            self.counts[f"{scope['method']} {getattr(route, 'path', path)}"] += 1
            self.log.append(entry | {"status": status[0] if status else 0, "answered": monotonic()})

    def forget(self) -> None:
        """Drop the log and the faults."""
        self.faults.clear()
        self.counts.clear()
        self.log.clear()

    def _fault(self, method: str, path: str, query: str) -> Fault | None:
        """What the first fault that concerns this call makes of it."""
        fault = next((fault for fault in self.faults if fault.concerns(method, path, query)), None)
        if fault is None:
            return None
        struck = fault.strike()
        if fault.count <= 0:
            self.faults.remove(fault)
        return struck

    def _too_fast(self, path: str, now: float) -> bool:
        """The CRM's limit, in real time: 5 calls in any second and 200 in any minute. A refused call does not count."""
        if not self.rate_limit or not path.startswith(CRM):
            return False
        while self._recent and now - self._recent[0] >= 60:
            self._recent.popleft()
        recent = self._recent
        if len(recent) >= A_MINUTE or (len(recent) >= A_SECOND and now - recent[-A_SECOND] < 1):
            return True
        recent.append(now)
        return False

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.kind != "edit":
            await fail(fault, self.app, scope, receive, send)
        elif fault.when == "before":
            await self.edit(fault.operations)
            await self.app(scope, receive, send)
        else:
            await self.app(scope, receive, send)
            await self.edit(fault.operations)
