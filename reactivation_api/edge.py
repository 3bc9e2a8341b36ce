"""What happens to every request before and after its endpoint: a request id, a line in the access log, no unanswered error.

What to add here: what holds for all requests. What to keep out: who may do what, and anything that reads a body.
"""

import logging
import re
import time
import uuid
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactivation_api.envelope import failure

log = logging.getLogger(__name__)
access_log = logging.getLogger("reactivation_api.access")

REQUEST_ID = "X-Request-Id"
_PLAIN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CLIENT_LEFT = 499
_SECRET_PART = re.compile(r"(/yclients/?).+", re.IGNORECASE)  # of the CRM's webhook: its address is all that guards it


class Edge:
    """The outermost layer. A caller's own `X-Request-Id` is kept when it is plain."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _PLAIN_ID.fullmatch(given) else str(uuid.uuid4())
        began = time.perf_counter()
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = status or _CLIENT_LEFT
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise
            await failure(500, details={"request_id": request_id})(scope, receive, send_named)
        finally:
            # Without the query string; quoted, so that a path cannot begin a line of its own.
            path, took = quote(scope["path"], safe="/+"), 1000 * (time.perf_counter() - began)
            path = _SECRET_PART.sub(r"\1***", path)
            access_log.info("%s %s -> %d in %.0f ms, request %s", scope["method"], path, status, took, request_id)
