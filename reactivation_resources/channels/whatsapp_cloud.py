"""WhatsApp's Cloud API (Meta Graph): approved templates outside a client's day, free text inside it, signed and batched webhooks.

What to add here: what Graph says and what it means in the words of `base`. What to keep out: limits, retries, the choice of a template, and
what an error calls for (`reactivation_core.channel_errors`).

An answer with Graph's own error is a refusal, unless the error says only that something failed: then, as with any answer that is not
Graph's, nobody knows, and the message is `Lost` until a status event brings our id back.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx

from reactivation_core.account_health import Signal
from reactivation_core.channel_errors import cloud_consequence
from reactivation_resources.channels.base import (
    Accepted,
    AccountStatus,
    AckStatus,
    Capabilities,
    InboundEvent,
    Letter,
    Lost,
    Rejected,
    SendOutcome,
    TemplateCall,
    rejected,
)
from reactivation_resources.channels.wire import NOT_SENT, Wire, json_object, outage

KEPT_S = 5.0
"""Each new connection costs a TLS handshake; Graph keeps idle ones far longer than this, so that it never closes one as we write to it."""
MARKETING_ONLY = 131063
_FIELDS = "quality_rating,status,throughput,health_status,whatsapp_business_manager_messaging_limit,name_status"
_TIERS = {"TIER_50": 50, "TIER_250": 250, "TIER_1K": 1000, "TIER_2K": 2000, "TIER_10K": 10_000, "TIER_100K": 100_000}
_NUMBER_SIGNALS = {"BANNED": Signal.BANNED, "DELETED": Signal.BANNED, "RESTRICTED": Signal.RESTRICTED}
_ACKS: dict[str, AckStatus] = {
    "sent": "accepted", "delivered": "delivered", "read": "read", "played": "read", "failed": "failed",
}  # fmt: skip
_ACCOUNT_SIGNALS = {
    "ACCOUNT_RESTRICTION": Signal.RESTRICTED, "ACCOUNT_VIOLATION": Signal.RESTRICTED, "ACCOUNT_DELETED": Signal.BANNED,
    "ACCOUNT_OFFBOARDED": Signal.BANNED, "ACCOUNT_RECONNECTED": Signal.RECOVERED,
}  # fmt: skip
_BAN_STATES = {
    "DISABLE": Signal.BANNED, "SCHEDULE_FOR_DISABLE": Signal.BANNED, "REINSTATE": Signal.RECOVERED,
}  # fmt: skip
_TEMPLATE_CHANGES = frozenset(
    {"message_template_status_update", "message_template_quality_update", "template_category_update"}
)
_ACCOUNT_CHANGES = frozenset(
    {
        "account_update", "phone_number_quality_update", "business_capability_update", "account_alerts", "account_review_update",
        "phone_number_name_update",
    }
)  # fmt: skip


class WhatsAppCloud:
    """The Cloud API channel.

    Args:
        base_url: Graph with its version, e.g. `https://graph.facebook.com/v26.0`.
        access_token: A system user's token.
        app_secret: Signs the webhooks; without one every webhook is refused.
        verify_token: What the webhook's first request must name.
        marketing_messages: Send templates by the Marketing Messages API.
        timeout_s: Longest wait for one answer, in seconds.
    """

    name = "whatsapp_cloud"
    capabilities = Capabilities(has_lanes=False, free_text=False)

    def __init__(
        self,
        base_url: str,
        access_token: str,
        app_secret: str | None = None,
        verify_token: str | None = None,
        *,
        marketing_messages: bool = False,
        timeout_s: float = 30.0,
    ) -> None:
        self._app_secret = (app_secret or "").encode()
        self._verify_token = (verify_token or "").encode()
        self._marketing = marketing_messages
        headers = {"Authorization": f"Bearer {access_token}"}
        self._wire = Wire(base_url, headers, timeout_s=timeout_s, kept_s=KEPT_S)

    def close(self) -> None:
        """Close open connections."""
        self._wire.close()

    # ------------------------------------------------------------ out

    def get_ready(self, phones: Collection[str]) -> None:
        """See `Channel.get_ready`. Graph takes any number, and tells of those that are not there later."""

    def settle_down(self) -> None:
        """See `Channel.settle_down`."""

    def send(self, letter: Letter) -> SendOutcome:
        """See `Channel.send`. A template that only the Marketing Messages API may send was certainly refused, and goes by that at once."""
        marketing = self._marketing and letter.template is not None
        outcome = self._post(letter, marketing=marketing)
        if letter.template is not None and not marketing and _is(outcome, MARKETING_ONLY):
            return self._post(letter, marketing=True)
        return outcome

    def _post(self, letter: Letter, *, marketing: bool) -> SendOutcome:
        path = f"/{letter.session}/{'marketing_messages' if marketing else 'messages'}"
        try:
            response = self._wire.post(path, _body(letter))
        except NOT_SENT as error:
            return outage(error, "Graph")
        except httpx.HTTPError as error:
            return Lost(f"messages: {type(error).__name__}")
        return _outcome(response)

    def health(self, session: str) -> AccountStatus:
        """See `Channel.health`."""
        try:
            response = self._wire.get(f"/{session}", {"fields": _FIELDS})
        except httpx.HTTPError as error:
            return AccountStatus(working=False, words=f"Graph does not answer: {type(error).__name__}")
        answer = json_object(response)
        if not response.is_success:
            code = _error_code(answer)
            if code is None:
                return AccountStatus(working=False, words=f"Graph answered HTTP {response.status_code}")
            consequence = cloud_consequence(code, response.status_code)
            return AccountStatus(working=False, words=f"{code}: {consequence.words}", signal=consequence.account)
        status, quality = str(answer.get("status") or "UNKNOWN"), answer.get("quality_rating")
        limit = answer.get("whatsapp_business_manager_messaging_limit") or answer.get("messaging_limit_tier")
        signal = _NUMBER_SIGNALS.get(status)
        if signal is None and quality == "RED":
            signal = Signal.QUALITY_RED
        elif signal is None:
            signal = Signal.QUALITY_OK if quality in {"GREEN", "YELLOW"} else None
        return AccountStatus(
            working=status == "CONNECTED",
            words=status,
            signal=signal,
            quality=quality if isinstance(quality, str) else None,
            clients_a_day=_TIERS.get(str(limit)),
        )

    # ------------------------------------------------------------ in

    def verify(self, headers: Mapping[str, str], raw_body: bytes) -> bool:
        """See `Channel.verify`: HMAC-SHA256 of the raw bytes, in hex after `sha256=`, in `X-Hub-Signature-256`."""
        given = {name.lower(): value for name, value in headers.items()}.get("x-hub-signature-256", "")
        expected = "sha256=" + hmac.new(self._app_secret, raw_body, hashlib.sha256).hexdigest()
        matches = hmac.compare_digest(given.strip().lower().encode(), expected.encode())
        return matches and bool(self._app_secret)

    def challenge(self, query: Mapping[str, str]) -> str | None:
        """What to answer to the webhook's first request; None when it does not name our token."""
        named = query.get("hub.verify_token", "").encode()
        knows = hmac.compare_digest(named, self._verify_token) and bool(self._verify_token)
        return query.get("hub.challenge", "") if knows and query.get("hub.mode") == "subscribe" else None

    def parse_events(self, payload: Any) -> list[InboundEvent]:
        """See `Channel.parse_events`: every status and message of every change of every entry."""
        entries = payload.get("entry") if isinstance(payload, dict) else None
        if not isinstance(entries, list):
            return [_malformed(payload, "no list of entries")]
        return [event for entry in entries for event in _of_entry(entry)]


# ---------------------------------------------------------------- out


def _body(letter: Letter) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": letter.phone.removeprefix("+"),
        "biz_opaque_callback_data": str(letter.campaign_id),
    }
    if letter.template is None:
        return body | {"type": "text", "text": {"body": letter.text, "preview_url": False}}
    return body | {"type": "template", "template": _template(letter.template)}


def _template(call: TemplateCall) -> dict[str, Any]:
    values = [{"type": "text", "text": value} for value in call.values]
    if call.names:
        values = [{**value, "parameter_name": name} for value, name in zip(values, call.names, strict=True)]
    components = [{"type": "body", "parameters": values}] if values else []
    return {"name": call.name, "language": {"code": call.language}, "components": components}


def _outcome(response: httpx.Response) -> SendOutcome:
    answer = json_object(response)
    if response.is_success:
        messages, contacts = answer.get("messages"), answer.get("contacts")
        message_id = _text_in(messages, "id")
        if message_id is None:
            return Lost(f"HTTP {response.status_code} without a message id")
        return Accepted(message_id, _text_in(contacts, "wa_id") or _text_in(contacts, "user_id"))
    code = _error_code(answer)
    if code is None:
        if response.status_code in {401, 403, 404, 429}:  # of a gateway on the way: Graph itself explains its refusals
            return Rejected(f"http_{response.status_code}", "Graph cannot be used", retryable=True, of_account=True)
        return Lost(f"HTTP {response.status_code}")
    consequence = cloud_consequence(code, response.status_code)
    if consequence.ambiguous:
        return Lost(f"{code}: {consequence.words}")
    return rejected(str(code), consequence)


def _is(outcome: SendOutcome, code: int) -> bool:
    return isinstance(outcome, Rejected) and outcome.code == str(code)


def _error_code(answer: Mapping[str, Any]) -> int | None:
    error = answer.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def _text_in(items: Any, name: str) -> str | None:
    """A text of the first item of a list."""
    first = items[0] if isinstance(items, list) and items else None
    value = first.get(name) if isinstance(first, dict) else None
    return value if isinstance(value, str) and value else None


# ---------------------------------------------------------------- in


def _of_entry(entry: Any) -> Iterator[InboundEvent]:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list):
        yield _malformed(entry, "an entry without a list of changes")
        return
    business = entry.get("id") if isinstance(entry.get("id"), str) else None
    for change in changes:
        value = change.get("value") if isinstance(change, dict) else None
        if not isinstance(value, dict) or not isinstance(change.get("field"), str):
            yield _malformed(change, "a change without field or value", business)
        else:
            yield from _of_change(change, str(change["field"]), value, business, entry.get("time"))


def _of_change(
    change: dict[str, Any], field: str, value: dict[str, Any], business: str | None, time: Any
) -> Iterable[InboundEvent]:
    metadata = value.get("metadata")
    session = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    session = session if isinstance(session, str) else None
    if field == "messages":
        return [
            *_each(value, "statuses", lambda item: _status(item, session, business), business),
            *_each(value, "messages", lambda item: _message(item, value, session, business), business),
        ]
    if field == "smb_message_echoes":
        return _each(value, "message_echoes", lambda item: _echo(item, session, business), business)
    if field == "user_preferences":
        return _each(value, "user_preferences", lambda item: _preference(item, session, business, time), business)
    key = f"change:{_digest([change, time])}"
    at = _instant(time)
    if field in _TEMPLATE_CHANGES:
        word = value.get("event") or value.get("new_quality_score") or value.get("new_category")
        return [
            InboundEvent(key=key, kind="template", business=business, body=_text(word), occurred_at=at, payload=change)
        ]
    if field in _ACCOUNT_CHANGES:
        signal = _account_signal(value) if field == "account_update" else None
        word = value.get("event") or field
        return [
            InboundEvent(
                key=key,
                kind="session",
                business=business,
                body=_text(word),
                occurred_at=at,
                signal=signal,
                payload=change,
            )
        ]
    return []  # subscribed to by mistake


def _each(value: dict[str, Any], name: str, read: Any, business: str | None) -> Iterator[InboundEvent]:
    items = value.get(name, [])
    if not isinstance(items, list):
        yield _malformed({name: items}, f"{name} is no list", business)
        return
    for item in items:
        yield read(item) if isinstance(item, dict) else _malformed(item, f"one of {name} is no object", business)


def _status(item: dict[str, Any], session: str | None, business: str | None) -> InboundEvent:
    message_id, status = item.get("id"), item.get("status")
    if not isinstance(message_id, str) or not isinstance(status, str) or session is None:
        return _malformed(item, "a status without message, status or number", business, session)
    recipient = item.get("recipient_id")
    ack = _ACKS.get(status)
    return InboundEvent(
        key=f"status:{message_id}:{status}",
        kind="ack",
        session=session,
        business=business,
        phone=_phone(recipient),
        contact_id=_text(recipient) or _text(item.get("recipient_user_id")),
        message_id=message_id,
        occurred_at=_instant(item.get("timestamp")),
        ack=ack,
        campaign_id=_uuid(item.get("biz_opaque_callback_data")),
        refusal=_refusal(item.get("errors")) if ack == "failed" else None,
        error=None if ack is not None else f"nothing to do for {status[:20]}",
        payload=item,
    )


def _refusal(errors: Any) -> Rejected | None:
    """What the errors of a failed status say. The message certainly did not arrive, whatever a table says of the same code as an answer."""
    first = errors[0] if isinstance(errors, list) and errors else None
    code = first.get("code") if isinstance(first, dict) else None
    return rejected(str(code), cloud_consequence(code)) if isinstance(code, int) else None


def _message(item: dict[str, Any], value: dict[str, Any], session: str | None, business: str | None) -> InboundEvent:
    message_id, sender = item.get("id"), item.get("from") or item.get("from_user_id")
    if not isinstance(message_id, str) or session is None:
        return _malformed(item, "a message without id or number", business, session)
    contacts = value.get("contacts")
    user_id = _text_in(contacts, "user_id")
    context = item.get("context")
    sender = sender if isinstance(sender, str) else None
    return InboundEvent(
        key=f"message:{message_id}",
        kind="message",
        session=session,
        business=business,
        phone=_phone(sender) or _phone(_text_in(contacts, "wa_id")),
        contact_id=sender or user_id,
        message_id=message_id,
        quoted_message_id=_text(context.get("id")) if isinstance(context, dict) else None,
        body=_words(item),
        occurred_at=_instant(item.get("timestamp")),
        error=None if sender or user_id else "nobody has sent it",
        payload=item,
    )


_WORDS = {
    "text": ("body",), "button": ("text",), "reaction": ("emoji",), "image": ("caption",), "video": ("caption",), "document": ("caption",),
}  # fmt: skip


def _words(item: dict[str, Any]) -> str | None:
    """What a client has written, pressed or drawn; None for what has no words."""
    kind = item.get("type")
    part = item.get(kind) if isinstance(kind, str) else None
    if not isinstance(part, dict):
        return None
    if kind == "interactive":
        part = part.get("button_reply") or part.get("list_reply")
        return _text(part.get("title")) if isinstance(part, dict) else None
    return next((words for name in _WORDS.get(str(kind), ()) if (words := _text(part.get(name)))), None)


def _echo(item: dict[str, Any], session: str | None, business: str | None) -> InboundEvent:
    """What somebody at the salon wrote by hand."""
    return InboundEvent(
        key=f"echo:{item.get('id') or _digest(item)}",
        kind="message",
        session=session,
        business=business,
        phone=_phone(item.get("to")),
        contact_id=_text(item.get("to")),
        message_id=_text(item.get("id")),
        body=_words(item),
        occurred_at=_instant(item.get("timestamp")),
        error="not from a client",
        payload=item,
    )


def _preference(item: dict[str, Any], session: str | None, business: str | None, time: Any) -> InboundEvent:
    wants, about = item.get("value"), item.get("category")
    understood = wants in {"stop", "resume"} and about == "marketing_messages"
    return InboundEvent(
        key=f"preference:{_digest([item, time])}",
        kind="preference",
        session=session,
        business=business,
        phone=_phone(item.get("wa_id")),
        contact_id=_text(item.get("wa_id")) or _text(item.get("user_id")),
        body=_text(wants),
        occurred_at=_instant(item.get("timestamp")) or _instant(time),
        stops=wants == "stop" if understood else None,
        error=None if understood else "a preference we do not know",
        payload=item,
    )


def _account_signal(value: Mapping[str, Any]) -> Signal | None:
    """What a change of the business's account means for its numbers."""
    event = value.get("event")
    if event == "DISABLED_UPDATE":
        ban = value.get("ban_info")
        return _BAN_STATES.get(str(ban.get("waba_ban_state"))) if isinstance(ban, dict) else Signal.BANNED
    return _ACCOUNT_SIGNALS.get(str(event))


def _malformed(item: Any, reason: str, business: str | None = None, session: str | None = None) -> InboundEvent:
    kept = item if isinstance(item, dict) else {"content": item}
    return InboundEvent(
        key=f"malformed:{_digest(item)}",
        kind="malformed",
        session=session,
        business=business,
        error=reason,
        payload=kept,
    )


def _digest(item: Any) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _phone(value: Any) -> str | None:
    """E.164 of a wa_id; one that is no phone (a user's id) has none."""
    return (
        f"+{value}"
        if isinstance(value, str) and value.isascii() and value.isdigit() and 5 <= len(value) <= 15
        else None
    )


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _instant(value: Any) -> datetime | None:
    """Seconds since 1970, as a number or its text, as an aware instant; nonsense is None."""
    try:
        return datetime.fromtimestamp(float(value), UTC) if isinstance(value, str | int) and value is not True else None
    except (ValueError, OverflowError, OSError):
        return None
