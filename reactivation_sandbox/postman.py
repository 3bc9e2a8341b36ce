"""Delivering the gateway's events to a webhook: signed, retried a few times, kept when nobody answers."""

import asyncio
import hashlib
import hmac
import ipaddress
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from reactivation_sandbox.dialog import Event
from reactivation_sandbox.town import Town, World

ATTEMPTS, PAUSE_S, TIMEOUT_S = 3, 0.05, 10.0


@dataclass(slots=True)
class Postman:
    """One webhook address. Without one, events are dropped."""

    world: World
    url: str | None = None
    hmac_key: str = ""
    delivered: int = 0
    refused: int = 0
    kept: list[bytes] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None
    _away: bool = False

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def address(self, url: str | None, hmac_key: str) -> None:
        """Deliver to this address from now on; one that is not on this machine raises ValueError."""
        if url is not None and not _is_loopback(url):
            raise ValueError(f"url={url} is not a loopback address: the town talks to this machine only")
        self.url, self.hmac_key = url, hmac_key

    async def deliver_kept(self) -> None:
        """Try again what could not be delivered before."""
        self._away = False
        waiting, self.kept = self.kept, []
        for body in waiting:
            await self._post(body)

    async def deliver(self, event: Event) -> None:
        """Deliver one event, as often as the gateway stutters it."""
        if self.url is None:
            return
        body = self._body(event)
        for _ in range(event.copies):
            await self._post(body)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()

    def _body(self, event: Event) -> bytes:
        salon = self.town.dialog.salon_of(event.session)
        envelope: dict[str, Any] = {
            "id": event.event_id,
            "timestamp": int(event.at.timestamp() * 1000),
            "event": event.event,
            "session": event.session,
            "metadata": {},
            "me": {"id": f"{salon.phone[1:]}@c.us", "pushName": salon.title} if salon else None,
            "payload": event.payload,
            "engine": "GOWS",
            "environment": {"version": "2026.7.1", "engine": "GOWS", "tier": "CORE", "browser": None},
        }
        return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()

    async def _post(self, body: bytes) -> None:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        envelope = json.loads(body)
        headers = {
            "Content-Type": "application/json",
            "X-Webhook-Request-Id": envelope["id"],
            "X-Webhook-Timestamp": str(envelope["timestamp"]),
            "X-Webhook-Hmac": hmac.new(self.hmac_key.encode(), body, hashlib.sha512).hexdigest(),
            "X-Webhook-Hmac-Algorithm": "sha512",
        }
        for attempt in range(1 if self._away else ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE_S * 4**attempt)
            try:
                answer = await self._client.post(self.url or "", content=body, headers=headers)
            except httpx.TransportError:
                continue
            if answer.is_success:
                self.delivered += 1
                return
            if answer.status_code < 500 and answer.status_code != 429:
                self.refused += 1
                return
        self._away = True
        self.kept.append(body)


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
