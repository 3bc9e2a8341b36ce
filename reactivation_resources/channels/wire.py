"""HTTP calls to a channel: one request, one answer, nothing in between.

What to add here: what holds for the calls of all channels. What to keep out: what an answer means.

The calls go to httpx's transport: no redirects, no cookies, no environment, no retries, none of which a send may have, and half the time
of its client.
"""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import httpx

from reactivation_resources.channels.base import Rejected

NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)
"""The connection could not be made or the request was refused by our own side: nothing left this machine."""


class Wire:
    """The way to one server.

    Args:
        base_url: What every path is appended to.
        headers: What every request carries.
        timeout_s: Longest wait for a connection, and for each piece of an answer, in seconds.
        kept_s: How long a connection is kept for the next call, in seconds. A server may close a kept connection just as we write to it,
            and then nobody knows whether the message left: keep it shorter than the server does, or not at all.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], *, timeout_s: float, kept_s: float = 0.0) -> None:
        self._base = base_url.rstrip("/")
        self._headers = [
            ("Host", httpx.URL(self._base).netloc.decode()),
            ("Accept", "application/json"),
            *headers.items(),
        ]
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        self._limits = httpx.Limits(max_keepalive_connections=1 if kept_s else 0, keepalive_expiry=kept_s)
        self._trust = ssl.create_default_context() if self._base.startswith("https:") else False
        self._idle: list[httpx.HTTPTransport] = []

    def get(self, path: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """GET `path`. Raises httpx.HTTPError."""
        return self._call("GET", f"{path}?{urlencode(query)}" if query else path, None)

    def post(self, path: str, body: Any) -> httpx.Response:
        """POST `body` as JSON. Raises httpx.HTTPError; of those in `NOT_SENT` nothing has left."""
        return self._call("POST", path, json.dumps(body, ensure_ascii=False).encode())

    def close(self) -> None:
        """Close open connections."""
        while self._idle:
            self._idle.pop().close()

    def _call(self, method: str, path: str, content: bytes | None) -> httpx.Response:
        headers = self._headers
        if content is not None:
            headers = [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        request = httpx.Request(
            method, self._base + path, headers=headers, content=content, extensions=self._extensions
        )
        with self._transport() as transport:
            response = transport.handle_request(request)
            response.request = request
            try:
                response.read()
            finally:
                response.close()
        return response

    @contextmanager
    def _transport(self) -> Iterator[httpx.HTTPTransport]:
        """A transport that nobody else uses meanwhile: calls that share one spoil each other's connections now and then, and every such
        answer would be lost."""
        try:
            transport = self._idle.pop()
        except IndexError:
            transport = httpx.HTTPTransport(verify=self._trust, limits=self._limits, trust_env=False)
        try:
            yield transport
        finally:
            self._idle.append(transport)


def outage(error: httpx.HTTPError, whose: str) -> Rejected:
    """A server that certainly was not reached: the message waits, and no try is counted."""
    return Rejected("unreachable", f"{whose} does not answer: {type(error).__name__}", retryable=True, of_account=True)


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; of anything else an empty one."""
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
