"""A CRM that answers what the test says, over HTTP, and a client that asks it."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients

T = TypeVar("T")
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]] | None
"""(status, body) or (status, body, headers); None hangs up, and so does a body cut short by a Content-Length of its own."""

PARTNER, USER = "partner-token-7f3a", "user-token-9c1e"
HTML = (403, b"<!DOCTYPE html><html>Just a moment...</html>", {"Content-Type": "text/html; charset=UTF-8"})
BUSY = (200, {"success": False, "data": None, "meta": {"message": "Превышен лимит запросов"}})


def good(data: Any, meta: Any = ()) -> tuple[int, Any]:
    return 200, {"success": True, "data": data, "meta": list(meta) if meta == () else meta}


@dataclass
class Request:
    """What was asked, when it came in."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any
    at: float


@dataclass
class CrmServer:
    """The CRM. `answer` is called for each request, by many threads."""

    address: str
    url: str = ""
    """Where its clients ask; its address unless a test says otherwise."""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Answer] = lambda _: good([])
    waits: list[float] = field(default_factory=list)
    """Seconds its clients would have slept before they asked again."""
    busiest: int = 0
    """The most requests that were answered at one time."""

    def forget(self) -> None:
        """Begin again: empty answers, nothing asked."""
        self.url = self.address
        self.requests, self.waits, self.busiest = [], [], 0
        self.answer = lambda _: good([])

    def always(self, *answers: Answer) -> None:
        """Give these answers one after the other, the last one for ever."""
        left = list(answers)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def client(self, limiter: RateLimiter | None = None, **options: Any) -> YClients:
        """A client that waits for nothing."""

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        timing: dict[str, Any] = {"sleep": sleep, "jitter": lambda: 1.0}
        return YClients(self.url, PARTNER, USER, limiter or RateLimiter("none", ()), **timing | options)

    def ask(self, work: Callable[[YClients], Awaitable[T]], **options: Any) -> T:
        """What the work returns or raises."""

        async def main() -> T:
            async with self.client(**options) as client:
                return await work(client)

        return asyncio.run(main())

    def read(self, work: Callable[[YClients], AsyncIterator[T]], **options: Any) -> list[T]:
        """All pages of a listing."""

        async def main(client: YClients) -> list[T]:
            return [page async for page in work(client)]

        return self.ask(main, **options)


@contextmanager
def running_crm() -> Iterator[CrmServer]:
    """A CRM on a free port."""
    under_way = 0
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            nonlocal under_way
            at = time.monotonic()
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                self.command, parts.path, parse_qs(parts.query), dict(self.headers), json.loads(raw or b"null"), at
            )
            with counting:
                crm.requests.append(request)
                under_way += 1
                crm.busiest = max(crm.busiest, under_way)
            try:
                answer = crm.answer(request)
            finally:
                with counting:
                    under_way -= 1
            if answer is None:
                self.close_connection = True
            else:
                self.reply(*answer)

        do_POST = do_GET  # noqa: N815

        def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            length = str(len(raw)) if status != 204 else "0"
            own = {"Content-Type": "application/json", "Content-Length": length} | (headers or {})
            self.close_connection = own["Content-Length"] != length
            self.send_response_only(status)
            for name, value in own.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: object) -> None:
            """Whoever asked has gone away: that is their business."""

    server = Server(("127.0.0.1", 0), Handler)
    crm = CrmServer(f"http://127.0.0.1:{server.server_address[1]}/api/v1")
    crm.forget()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield crm
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
