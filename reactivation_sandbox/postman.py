"""Delivering webhooks: the gateway's and the Cloud API's events, signed and kept when nobody answers, and the CRM's, unsigned and lost then."""

import asyncio
import hashlib
import hmac
import ipaddress
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from reactivation_sandbox import crm_hooks
from reactivation_sandbox.changes import Change
from reactivation_sandbox.dialog import Event
from reactivation_sandbox.town import Town
from reactivation_sandbox.world import World

ATTEMPTS, PAUSE_S, TIMEOUT_S = 3, 0.05, 10.0
HELD = 20  # changes that wait to be shuffled, or to be sent as one list


@dataclass(slots=True)
class Postman:
    """One webhook address of the gateway, one of the Cloud API, and those of the CRM: `crm_url` hears of every salon, settings name others.

    `answered` keeps when the receiver took which inbound message, by its id: the real instant of its 200.
    """

    world: World
    url: str | None = None
    hmac_key: str = ""
    cloud_url: str | None = None
    app_secret: str = ""
    crm_url: str | None = None
    delivered: int = 0
    refused: int = 0
    lost: int = 0
    kept: list[tuple[str, bytes]] = field(default_factory=list)
    answered: dict[str, datetime] = field(default_factory=dict)
    _cloud: list[Event] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None
    _away: set[str] = field(default_factory=set)
    _held: list[Change] = field(default_factory=list)
    _told: int = 0

    @property
    def town(self) -> Town:
        """The town as it is now."""
        return self.world.town

    def address(self, url: str | None, hmac_key: str) -> None:
        """Deliver the gateway's events to this address from now on; one that is not on this machine raises ValueError."""
        self.url, self.hmac_key = _checked(url), hmac_key

    async def address_cloud(self, url: str | None, app_secret: str, verify_token: str) -> None:
        """Deliver the Cloud API's events to this address from now on, once it has answered the challenge; ValueError when it does not."""
        _checked(url)
        if url is not None:
            challenge = f"{self.town.dice.number('challenge', url)}"
            query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
            answer = await self._http().get(url, params=query)
            if answer.status_code != 200 or answer.text != challenge:
                raise ValueError(f"url={url} did not answer the challenge: HTTP {answer.status_code}")
        self.cloud_url, self.app_secret = url, app_secret

    def address_crm(self, url: str | None) -> None:
        """Deliver the CRM's events of every salon to this address from now on, whatever the salons' own settings are."""
        self.crm_url = _checked(url)
        self.listen()

    def listen(self) -> None:
        """Let the town keep its changes only while somebody wants to hear of them."""
        wanted = self.crm_url is not None or any(salon.hooks.get("urls") for salon in self.town.salons.values())
        self.town.changes.listening = wanted

    async def deliver_kept(self) -> None:
        """Try again what could not be delivered before."""
        self._away.clear()
        waiting, self.kept = self.kept, []
        for channel, body in waiting:
            await (self._signed(body) if channel == "waha" else self._hub(body))

    async def deliver(self, event: Event | Change) -> None:
        """Deliver one event, as often as its sender stutters it. Changes of the books may wait for others: see `flush`."""
        if isinstance(event, Change):
            self._held.append(event)
            v = self.world.variants
            if len(self._held) >= (HELD if v.webhook_order == "shuffled" or v.webhook_body == "array" else 1):
                await self.flush()
        elif event.channel == "cloud":
            self._cloud += [event] * event.copies
            if len(self._cloud) >= self.town.dialog.mischief.batch:
                await self.flush_cloud()
        elif self.url is not None:
            body = self._body(event)
            for _ in range(event.copies):
                await self._signed(body)

    async def flush(self) -> None:
        """Deliver the changes that waited for others."""
        held, self._held = self._held, []
        await self.deliver_changes(held)
        await self.flush_cloud()

    async def flush_cloud(self) -> None:
        """Deliver the Cloud API's events that waited for others, all in one call."""
        events, self._cloud = self._cloud, []
        if events and self.cloud_url is not None:
            await self._hub(hub_body(self.town, events))

    async def deliver_changes(self, changes: list[Change]) -> None:
        """Deliver what changed in the books to those who want to hear of it, in the way that the variants ask for."""
        v, dice = self.world.variants, self.town.dice
        letters: list[tuple[str, dict[str, Any]]] = []
        for change in changes:
            if change.own and v.self_sending == "no":
                continue
            urls = crm_hooks.addresses(self.town.salons[change.company_id], change)
            urls += [self.crm_url] if self.crm_url and self.crm_url not in urls else []
            for url in filter(_is_loopback, urls):
                self._told += 1
                if not dice.chance(v.webhook_dropped, "webhook dropped", self._told):
                    copies = 1 + dice.number("webhook copies", self._told) % int(v.webhook_copies)
                    letters += [(url, crm_hooks.event(v, self.town, change))] * copies
        if v.webhook_order == "shuffled":
            order = {place: dice.number("webhook order", self._told, place) for place in range(len(letters))}
            letters = [letters[place] for place in sorted(order, key=order.__getitem__)]
        if v.webhook_body == "array":
            for url in dict.fromkeys(url for url, _ in letters):
                await self._unsigned(url, [event for whose, event in letters if whose == url])
        else:
            for url, event in letters:
                await self._unsigned(url, event)

    async def tell(self, url: str, body: dict[str, Any]) -> bool:
        """Deliver a callback of the marketplace and say whether it was taken; an address elsewhere raises ValueError."""
        _checked(url)
        return await self._unsigned(url, body)

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

    async def _signed(self, body: bytes) -> None:
        envelope = json.loads(body)
        heard = [envelope["payload"].get("id")] if envelope["event"] == "message" else []
        headers = {
            "X-Webhook-Request-Id": envelope["id"],
            "X-Webhook-Timestamp": str(envelope["timestamp"]),
            "X-Webhook-Hmac": hmac.new(self.hmac_key.encode(), body, hashlib.sha512).hexdigest(),
            "X-Webhook-Hmac-Algorithm": "sha512",
        }
        await self._keep("waha", self.url or "", body, headers, heard)

    async def _hub(self, body: bytes) -> None:
        """The Cloud API's call, signed as Meta signs."""
        signature = hmac.new(self.app_secret.encode(), body, hashlib.sha256).hexdigest()
        values = [change["value"] for entry in json.loads(body)["entry"] for change in entry["changes"]]
        heard = [message["id"] for value in values for message in value.get("messages", ())]
        await self._keep("cloud", self.cloud_url or "", body, {"X-Hub-Signature-256": f"sha256={signature}"}, heard)

    async def _keep(self, channel: str, url: str, body: bytes, headers: dict[str, str], heard: list[str]) -> None:
        """Post, note the messages that were taken, and keep what nobody answered."""
        taken = await self._post(url, body, headers)
        if taken is None:
            self.kept.append((channel, body))
        elif taken:
            self.answered |= {one: datetime.now(UTC) for one in heard if one not in self.answered}

    async def _unsigned(self, url: str, event: dict[str, Any] | list[dict[str, Any]]) -> bool:
        taken = await self._post(url, json.dumps(event).encode(), {"User-Agent": "GuzzleHttp/7"})
        self.lost += taken is None
        return bool(taken)

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)
        return self._client

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> bool | None:
        """Whether the receiver took it, None when it did not answer, however often it was asked."""
        headers["Content-Type"] = "application/json"
        for attempt in range(1 if url in self._away else ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE_S * 4**attempt)
            try:
                answer = await self._http().post(url, content=body, headers=headers)
            except httpx.TransportError:
                continue
            if answer.is_success:
                self.delivered += 1
                self._away.discard(url)
                return True
            if answer.status_code < 500 and answer.status_code != 429:
                self.refused += 1
                return False
        self._away.add(url)
        return None


def hub_body(town: Town, events: list[Event]) -> bytes:
    """Events of the Cloud API as one call: an entry a business, a change a number and field, statuses and messages together."""
    entries: dict[str, dict[str, Any]] = {}
    for event in events:
        salon = town.dialog.salon_of(event.session)
        business = salon.business_id if salon else event.session
        time = int(event.at.timestamp())
        entry = entries.setdefault(business, {"id": business, "time": time, "changes": []})
        if event.event not in {"status", "message"}:
            entry["changes"].append({"field": event.event, "value": event.payload})
            continue
        change = next((one for one in entry["changes"] if _of_number(one, event.session)), None)
        if change is None:
            metadata = {"display_phone_number": salon.phone[1:] if salon else "", "phone_number_id": event.session}
            value = {"messaging_product": "whatsapp", "metadata": metadata}
            change = {"field": "messages", "value": value}
            entry["changes"].append(change)
        value = change["value"]
        if event.event == "status":
            value.setdefault("statuses", []).append(event.payload)
        else:
            value.setdefault("contacts", []).append({"wa_id": event.payload["from"], "profile": {"name": "Client"}})
            value.setdefault("messages", []).append(event.payload)
    body = {"object": "whatsapp_business_account", "entry": list(entries.values())}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _of_number(change: dict[str, Any], number: str) -> bool:
    return bool(change["field"] == "messages" and change["value"]["metadata"]["phone_number_id"] == number)


def _checked(url: str | None) -> str | None:
    if url is not None and not _is_loopback(url):
        raise ValueError(f"url={url} is not a loopback address: the town talks to this machine only")
    return url


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
