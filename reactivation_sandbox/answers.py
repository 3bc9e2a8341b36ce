"""JSON answers, the Russian text left readable."""

import json
from typing import Any

from starlette.responses import Response


def as_json(body: Any, status: int = 200) -> Response:
    """A JSON response. Half a surrogate pair, which UTF-8 cannot carry, travels as an escape."""
    try:
        content = json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        content = json.dumps(body).encode()
    return Response(content, status_code=status, media_type="application/json; charset=utf-8")
