"""JSON answers, the Russian text left readable."""

import json
from typing import Any

from starlette.responses import Response


def as_json(body: Any, status: int = 200) -> Response:
    """A JSON response."""
    return Response(
        json.dumps(body, ensure_ascii=False), status_code=status, media_type="application/json; charset=utf-8"
    )
