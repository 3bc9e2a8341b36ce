"""JSON answers, the Russian text left readable."""

import json
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Unanswered(Response):
    """The beginning of an answer whose rest never comes: the server closes the connection, and the caller knows nothing."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's form
        """Promise a body and never send it."""
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})


def as_json(body: Any, status: int = 200) -> Response:
    """A JSON response. Half a surrogate pair, which UTF-8 cannot carry, travels as an escape."""
    try:
        content = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        content = json.dumps(body).encode()
    return Response(content, status_code=status, media_type="application/json; charset=utf-8")
