"""Where channels deliver what clients wrote and what became of our messages, and where the CRM tells that something has changed.

What to add here: an endpoint per channel. What to keep out: what an event means (`reactivation_resources.channels`, `.crm_events`) and what
it does (`.inbox`, `.crm_hints`).
"""

import hmac
import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Security
from fastapi.security import APIKeyHeader
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse

from reactivation_api.access import ThePlatform
from reactivation_api.envelope import Success, documented, documented_beside_text
from reactivation_resources.channels.whatsapp_cloud import WhatsAppCloud
from reactivation_resources.crm_hints import store_hints
from reactivation_resources.inbox import StoredReport
from reactivation_resources.platform import Platform

MAX_BODY = 1024 * 1024
MAX_BATCH = 3 * 1024 * 1024
"""The Cloud API puts many events into one call."""
CLOUD = "whatsapp_cloud"
_LONGEST_CHALLENGE = 200

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_signature = APIKeyHeader(
    name="X-Webhook-Hmac",
    scheme_name="WahaSignature",
    description="HMAC-SHA512 of the raw body in hex, keyed with `WAHA_WEBHOOK_KEY`.",
    auto_error=False,
)
_hub_signature = APIKeyHeader(
    name="X-Hub-Signature-256",
    scheme_name="MetaSignature",
    description="`sha256=` and the HMAC-SHA256 of the raw body in hex, keyed with `WHATSAPP_APP_SECRET`.",
    auto_error=False,
)
_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}}


class Received(BaseModel):
    """What a call brought: events stored now, events known already, clients who asked to stop."""

    new: int
    duplicates: int
    opt_outs: int


class Hinted(BaseModel):
    """What a call brought: events stored now, and events that wait already or add nothing to what does."""

    new: int
    duplicates: int


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


@router.get(
    "/whatsapp/cloud",
    summary="The first request of WhatsApp's Cloud API",
    response_class=PlainTextResponse,
    responses=documented_beside_text(403, 404, 500),
)
def cloud_challenge(
    platform: ThePlatform,
    request: Request,
) -> PlainTextResponse:
    """Answers `hub.challenge` to whoever names `WHATSAPP_VERIFY_TOKEN` in `hub.verify_token`."""
    channel = platform.channels.get(CLOUD)
    if not isinstance(channel, WhatsAppCloud):
        raise HTTPException(404, f"The channel {CLOUD} is not configured.")
    answer = channel.challenge(dict(request.query_params))
    if answer is None:
        raise HTTPException(403, "The verify token is not ours.")
    return PlainTextResponse(answer[:_LONGEST_CHALLENGE])


@router.post(
    "/whatsapp/cloud",
    summary="Events of WhatsApp's Cloud API",
    responses=documented(401, 404, 413, 503),
    openapi_extra=_BODY,
    dependencies=[Security(_hub_signature)],
)
async def cloud(platform: ThePlatform, request: Request) -> Success[Received]:
    """Stores every status and message of every entry and change once, and answers when they are in force."""
    raw = await _body(request, MAX_BATCH)
    report = await run_in_threadpool(_receive, platform, CLOUD, request.headers, raw)
    return Success(data=Received(new=report.new, duplicates=report.duplicates, opt_outs=report.opt_outs))


@router.post(
    "/yclients/{secret}",
    summary="Events of YClients",
    responses=documented(404, 413, 422, 503),
    openapi_extra=_BODY,
)
async def yclients(
    platform: ThePlatform,
    request: Request,
    secret: Annotated[str, Path(description="`YCLIENTS_WEBHOOK_SECRET`: the CRM signs nothing.")],
) -> Success[Hinted]:
    """Stores that something has changed, and answers. The change itself is read from the CRM within a minute."""
    if not _is_secret(platform, secret):
        raise HTTPException(404)
    raw = await _body(request)
    stored = await run_in_threadpool(store_hints, platform.database, raw, platform.clock.now())
    return Success(data=Hinted(new=stored.new, duplicates=stored.duplicates))


def _is_secret(platform: Platform, given: str) -> bool:
    secret = platform.settings.yclients_webhook_secret
    return secret is not None and hmac.compare_digest(secret.get_secret_value().encode(), given.encode())


async def _body(request: Request, most: int = MAX_BODY) -> bytes:
    """The raw bytes. Counted as they come: a stranger may send them, and no length need be declared."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise HTTPException(413, f"The body is larger than {most} bytes.")
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
