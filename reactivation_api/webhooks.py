"""Where channels deliver what clients wrote and what became of our messages.

What to add here: an endpoint per channel. What to keep out: what an event means (`reactivation_resources.channels`) and what it does
(`reactivation_resources.inbox`).
"""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from reactivation_api.access import ThePlatform
from reactivation_api.envelope import Success, documented
from reactivation_resources.inbox import StoredReport
from reactivation_resources.platform import Platform

MAX_BODY = 1024 * 1024

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_signature = APIKeyHeader(
    name="X-Webhook-Hmac",
    scheme_name="WahaSignature",
    description="HMAC-SHA512 of the raw body in hex, keyed with `WAHA_WEBHOOK_KEY`.",
    auto_error=False,
)
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}


class Received(BaseModel):
    """What a call brought: events stored now, events known already, clients who asked to stop."""

    new: int
    duplicates: int
    opt_outs: int


@router.post(
    "/whatsapp/waha",
    summary="Events of WAHA",
    responses=documented(401, 404, 413, 503),
    openapi_extra=_BODY,
    dependencies=[Security(_signature)],
)
async def waha(platform: ThePlatform, request: Request) -> Success[Received]:
    """Stores every event once and answers when it is in force. A signed body that cannot be read is stored as malformed."""
    raw = await _body(request)
    report = await run_in_threadpool(_receive, platform, "waha", request.headers, raw)
    return Success(data=Received(new=report.new, duplicates=report.duplicates, opt_outs=report.opt_outs))


async def _body(request: Request) -> bytes:
    """The raw bytes. Counted as they come: a stranger may send them, and no length need be declared."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"The body is larger than {MAX_BODY} bytes.")
    return bytes(body)


def _receive(platform: Platform, name: str, headers: Mapping[str, str], raw: bytes) -> StoredReport:
    channel = platform.channels.get(name)
    if channel is None:
        raise HTTPException(404, f"The channel {name} is not configured.")
    if not channel.verify(headers, raw):
        raise HTTPException(401, "The signature does not match the body.")
    return platform.inbox.store(name, channel.parse_events(_payload(raw)), platform.clock.now())


def _payload(raw: bytes) -> Any:
    """The JSON of a body; of anything else its text, which no channel takes for an event."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")
