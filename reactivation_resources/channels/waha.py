"""WAHA: an HTTP gateway to WhatsApp over the salon's own number (text messages, signed webhooks).

What to add here: what WAHA says and what it means in the words of `base`. What to keep out: limits, retries, the state of a campaign.

Two rules decide every line of `send`. A refusal is `Rejected` only if the message certainly did not leave: anything that is not clearly a
refusal is `Lost`. And a number in an error text means nothing by itself: "403" is no ban.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from reactivation_core.account_health import Signal
from reactivation_core.channel_errors import WAHA_ANSWERS, WAHA_CAPPED, WAHA_REFUSALS, WAHA_SESSIONS
from reactivation_resources.channels.base import (
    Accepted,
    AccountStatus,
    AckStatus,
    Capabilities,
    InboundEvent,
    KnownNumber,
    Letter,
    Lost,
    NumberCache,
    Rejected,
    SendOutcome,
    rejected,
)
from reactivation_resources.channels.wire import NOT_SENT, Wire, json_object, outage

_PHONE_CHAT = re.compile(r"^(\d{5,15})(?::\d+)?@(?:c\.us|s\.whatsapp\.net)$")
_MESSAGE_ID = re.compile(r"^(?:true|false)_[^_]+_([^_]+)")
_SERVER_REFUSAL = re.compile(r"server returned error (\d{3})\b")
_ACKS: dict[str, AckStatus] = {
    "SERVER": "accepted",
    "DEVICE": "delivered",
    "READ": "read",
    "PLAYED": "read",
    "ERROR": "failed",
}
_ACK_NUMBERS = {-1: "ERROR", 0: "PENDING", 1: "SERVER", 2: "DEVICE", 3: "READ", 4: "PLAYED"}


class Waha:
    """The WAHA channel.

    Args:
        base_url: Where WAHA listens, e.g. `http://waha:3000`.
        api_key: Sent as `X-Api-Key`; None when WAHA runs without.
        webhook_key: HMAC key of the webhooks; without one every webhook is refused.
        timeout_s: Longest wait for one answer, in seconds.
        numbers: Remembers which phones are on WhatsApp.
    """

    name = "waha"
    capabilities = Capabilities(has_lanes=True, free_text=True)

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        webhook_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        numbers: NumberCache | None = None,
    ) -> None:
        self._webhook_key = webhook_key.encode() if webhook_key else b""
        self._numbers = numbers
        self._wire = Wire(base_url, {"X-Api-Key": api_key} if api_key else {}, timeout_s=timeout_s)

    def close(self) -> None:
        """Close open connections."""
        self._wire.close()

    # ------------------------------------------------------------ out

    def get_ready(self, phones: Collection[str]) -> None:
        """See `Channel.get_ready`."""
        if self._numbers is not None:
            self._numbers.load(self.name, phones)

    def settle_down(self) -> None:
        """See `Channel.settle_down`."""
        if self._numbers is not None:
            self._numbers.store()

    def send(self, letter: Letter) -> SendOutcome:
        """See `Channel.send`. Writing to a number that is not on WhatsApp is a ban signal, so it is looked up first."""
        chat = self._chat(letter.session, letter.phone)
        if isinstance(chat, Rejected):
            return chat
        try:
            response = self._wire.post(
                "/api/sendText", {"session": letter.session, "chatId": chat, "text": letter.text}
            )
        except NOT_SENT as error:
            return outage(error, "WAHA")
        except httpx.HTTPError as error:
            return Lost(f"sendText: {type(error).__name__}")
        return _outcome(response, chat)

    def _chat(self, session: str, phone: str) -> str | Rejected:
        """How WhatsApp names the chat with a phone."""
        known = self._numbers.recall(self.name, phone) if self._numbers is not None else None
        if known is None:
            asked = self._look_up(session, phone)
            if isinstance(asked, Rejected):
                return asked
            known = asked
            if self._numbers is not None:
                self._numbers.remember(self.name, phone, known)
        if known.contact_id is None:
            words = "the number is not on WhatsApp"
            return Rejected("no_whatsapp", words, retryable=False, client="unreachable")
        return known.contact_id

    def _look_up(self, session: str, phone: str) -> KnownNumber | Rejected:
        digits = phone.removeprefix("+")
        try:
            response = self._wire.get("/api/contacts/check-exists", {"phone": digits, "session": session})
        except httpx.HTTPError as error:
            return outage(error, "WAHA")
        if response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            return _session_refusal(response)
        answer = json_object(response)
        exists = answer.get("numberExists")
        if not response.is_success or not isinstance(exists, bool):
            words = f"the number could not be looked up: HTTP {response.status_code}"
            return Rejected("check_failed", words, retryable=True, of_account=True)
        if not exists:
            return KnownNumber(reachable=False, contact_id=None)
        # The gateway knows how WhatsApp spells the number (a ninth digit in Brazil); otherwise the digits are the chat.
        known = answer.get("chatId")
        return KnownNumber(True, known if isinstance(known, str) and "@" in known else f"{digits}@c.us")

    def health(self, session: str) -> AccountStatus:
        """See `Channel.health`."""
        try:
            response = self._wire.get(f"/api/sessions/{session}")
        except httpx.HTTPError as error:
            return AccountStatus(working=False, words=f"WAHA does not answer: {type(error).__name__}")
        answer = json_object(response)
        status = answer.get("status")
        if not response.is_success or not isinstance(status, str):
            return AccountStatus(working=False, words=f"WAHA answered HTTP {response.status_code}")
        signal = _session_signal(answer)
        working = status == "WORKING" and signal is Signal.RECOVERED
        return AccountStatus(working=working, words=status, signal=signal, new_chats_left=_new_chats_left(answer))

    # ------------------------------------------------------------ in

    def verify(self, headers: Mapping[str, str], raw_body: bytes) -> bool:
        """See `Channel.verify`: HMAC-SHA512 of the raw bytes, in hex, in `X-Webhook-Hmac`."""
        given = {name.lower(): value for name, value in headers.items()}.get("x-webhook-hmac", "")
        expected = hmac.new(self._webhook_key, raw_body, hashlib.sha512).hexdigest()
        matches = hmac.compare_digest(given.strip().lower().encode(), expected.encode())
        return matches and bool(self._webhook_key)

    def parse_events(self, payload: Any) -> list[InboundEvent]:
        """See `Channel.parse_events`. WAHA posts one event a call; a list of them is read as well."""
        events = payload if isinstance(payload, list) else [payload]
        return [event for item in events for event in _events(item)]


def _outcome(response: httpx.Response, chat: str) -> SendOutcome:
    status = response.status_code
    answer = json_object(response)
    if response.is_success:
        message_id = _message_id(answer.get("id")) or _message_id(answer.get("key"))
        if message_id is None:
            return Lost(f"HTTP {status} without a message id")
        return Accepted(message_id, chat)
    if status == httpx.codes.UNPROCESSABLE_ENTITY:
        return _session_refusal(response)
    if status in WAHA_ANSWERS:
        return rejected(f"http_{status}", WAHA_ANSWERS[status])
    if response.is_redirect:
        return Rejected(f"http_{status}", "WAHA is somewhere else", retryable=True, of_account=True)
    if response.is_client_error:
        return Rejected(f"http_{status}", f"WAHA refused the message: HTTP {status}", retryable=False)
    refusal = _SERVER_REFUSAL.search(response.text)
    if refusal is None:
        return Lost(f"HTTP {status}")
    code = int(refusal[1])
    if code in WAHA_REFUSALS:
        return rejected(str(code), WAHA_REFUSALS[code])
    return Rejected(f"whatsapp_{code}", f"WhatsApp refused the message: {code}", retryable=True)


def _session_refusal(response: httpx.Response) -> Rejected:
    """422: the session is not working, nothing was tried."""
    status = str(json_object(response).get("status") or "unknown")
    words = f"the session is not working: {status}"
    return Rejected("session_not_working", words, retryable=True, of_account=True, signal=WAHA_SESSIONS.get(status))


def _new_chats_left(session: dict[str, Any]) -> int | None:
    """How many new chats the number may still begin; None when it may begin any or does not say."""
    me = session.get("me")
    quota = me.get("messageCapping") if isinstance(me, dict) else None
    total, used = (quota.get("totalQuota"), quota.get("usedQuota")) if isinstance(quota, dict) else (None, None)
    if not isinstance(total, int) or total < 0:
        return None
    return max(0, total - used) if isinstance(used, int) else total


def _message_id(value: Any) -> str | None:
    """WhatsApp's own message id, however the engine wraps it: it names the message in answers, status events and quotes alike."""
    if isinstance(value, dict):
        value = value.get("_serialized") or value.get("id")
    if not isinstance(value, str) or not value:
        return None
    wrapped = _MESSAGE_ID.match(value)
    return wrapped[1] if wrapped else value


def _events(item: Any) -> Iterable[InboundEvent]:
    if not isinstance(item, dict):
        return [_malformed(item, "not a JSON object")]
    name, session, payload = item.get("event"), item.get("session"), item.get("payload")
    if not isinstance(name, str) or not isinstance(session, str) or not isinstance(payload, dict):
        return [_malformed(item, "event, session or payload is missing")]
    if name == "message":
        return [_message(item, session, payload)]
    if name == "message.ack":
        return [_ack(item, session, payload)]
    if name == "session.status":
        return [_session(item, session, payload)]
    return []  # subscribed to by mistake: every message comes as "message" as well


def _message(item: dict[str, Any], session: str, payload: dict[str, Any]) -> InboundEvent:
    message_id, chat = _message_id(payload.get("id")), payload.get("from")
    if message_id is None or not isinstance(chat, str):
        return _malformed(item, "a message without id or sender")
    body = payload.get("body")
    quoted = payload.get("replyTo")
    error = None
    if payload.get("fromMe") is not False:
        error = "not from a client"
    elif chat.endswith(("@g.us", "@broadcast", "@newsletter")):
        error = "not a personal chat"
    return InboundEvent(
        key=f"message:{session}:{message_id}",
        kind="message",
        session=session,
        phone=_phone(chat) or _alternative_phone(payload),
        contact_id=chat,
        message_id=message_id,
        quoted_message_id=_message_id(quoted.get("id")) if isinstance(quoted, dict) else None,
        body=body if isinstance(body, str) else None,
        occurred_at=_instant(payload.get("timestamp")) or _instant(item.get("timestamp")),
        error=error,
        payload=item,
    )


def _ack(item: dict[str, Any], session: str, payload: dict[str, Any]) -> InboundEvent:
    message_id = _message_id(payload.get("id"))
    number = payload.get("ack")
    name = payload.get("ackName") or (_ACK_NUMBERS.get(number) if isinstance(number, int) else None)
    if message_id is None or not isinstance(name, str):
        return _malformed(item, "an ack without message id or name")
    # The chat is "to" in our own messages; some engines write the chat into "from" all the same.
    chats = [chat for chat in (payload.get("to"), payload.get("from")) if isinstance(chat, str)]
    ours = _phone(str((item.get("me") or {}).get("id") if isinstance(item.get("me"), dict) else ""))
    chat = next((chat for chat in chats if _phone(chat) != ours or ours is None), None)
    error = None
    if payload.get("fromMe") is False:
        error = "not about a message of ours"
    elif name not in _ACKS:
        error = f"nothing to do for {name[:20]}"
    return InboundEvent(
        key=f"ack:{session}:{message_id}:{name}",
        kind="ack",
        session=session,
        phone=_phone(chat) if chat else None,
        contact_id=chat,
        message_id=message_id,
        occurred_at=_instant(item.get("timestamp")),
        ack=_ACKS.get(name) if error is None else None,
        by_hand=payload.get("source") == "app",
        error=error,
        payload=item,
    )


def _session(item: dict[str, Any], session: str, payload: dict[str, Any]) -> InboundEvent:
    status = payload.get("status")
    if not isinstance(status, str):
        return _malformed(item, "a session event without status")
    unique = item.get("id") if isinstance(item.get("id"), str) else _digest(item)
    return InboundEvent(
        key=f"session:{session}:{unique}",
        kind="session",
        session=session,
        body=status,
        occurred_at=_instant(item.get("timestamp")),
        signal=_session_signal({"me": item.get("me"), **payload}),
        payload=item,
    )


def _session_signal(session: dict[str, Any]) -> Signal | None:
    """What a session's state means for the account: no longer logged in, or restricted by WhatsApp."""
    status, me = session.get("status"), session.get("me")
    if signal := WAHA_SESSIONS.get(str(status)):
        return signal
    capping, lock = (me.get("messageCapping"), me.get("reachoutTimelock")) if isinstance(me, dict) else (None, None)
    capped = isinstance(capping, dict) and capping.get("cappingStatus") in WAHA_CAPPED
    locked = isinstance(lock, dict) and lock.get("isActive") is True
    if capped or locked:
        return Signal.SPAM_RATE
    return Signal.RECOVERED if status == "WORKING" else None


def _malformed(item: Any, reason: str) -> InboundEvent:
    kept = item if isinstance(item, dict) else {"content": item}
    session = kept.get("session")
    return InboundEvent(
        key=f"malformed:{_digest(item)}",
        kind="malformed",
        session=session if isinstance(session, str) else None,
        error=reason,
        payload=kept,
    )


def _digest(item: Any) -> str:
    import json

    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _phone(chat: str) -> str | None:
    """E.164 of a chat that is named by its phone; a chat behind an alias (`@lid`) has none."""
    match = _PHONE_CHAT.match(chat)
    return f"+{match[1]}" if match else None


def _alternative_phone(payload: dict[str, Any]) -> str | None:
    """The phone of a chat behind an alias, where the engine's raw data has it."""
    raw = payload.get("_data")
    if not isinstance(raw, dict):
        return None
    info, key = raw.get("Info"), raw.get("key")
    candidates = [
        info.get("SenderAlt") if isinstance(info, dict) else None,
        key.get("remoteJidAlt") if isinstance(key, dict) else None,
        key.get("senderPn") if isinstance(key, dict) else None,
    ]
    return next((phone for item in candidates if isinstance(item, str) and (phone := _phone(item))), None)


def _instant(value: Any) -> datetime | None:
    """Seconds or milliseconds since 1970 as an aware instant; nonsense is None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    seconds = value / 1000 if value > 1e11 else value
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
