"""What every messenger looks like to the rest of the product: send, read events, prove who speaks, tell the health.

What to add here: the words all channels share. What to keep out: any one protocol (a file of its own beside this one, nothing else)
and any rule (`reactivation_core`). A channel never retries a send and never decides whether one may happen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from reactivation_core.account_health import Signal

EventKind = Literal["message", "ack", "session", "malformed"]
AckStatus = Literal["accepted", "delivered", "read", "failed"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel can do.

    Attributes:
        has_lanes: Clients who never wrote to the number need the cold lane and its smaller quota.
        free_text: Our own text may be sent; otherwise an approved template only.
    """

    has_lanes: bool
    free_text: bool


@dataclass(frozen=True, slots=True)
class Accepted:
    """The channel has taken the message. `message_id` is how its status events will name it."""

    message_id: str
    contact_id: str | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The message has certainly not been sent.

    Attributes:
        code: Short stable code, e.g. `http_400`, `no_whatsapp`.
        words: For people; without phone or name.
        retryable: The same message may be tried again.
        of_account: The refusal is about the number or the gateway, not about this message: it does not count as a try.
        signal: What it says about the account's health if anything.
        client_unreachable: This client cannot be reached on this channel.
    """

    code: str
    words: str
    retryable: bool
    of_account: bool = False
    signal: Signal | None = None
    client_unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The answer was lost: the message may or may not have been sent. It must not be sent again."""

    words: str


SendOutcome = Accepted | Rejected | Lost


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One event of a webhook, in the inbox's terms.

    Attributes:
        key: Unique within the channel; the same event delivered twice has the same key.
        kind: `message` (a client wrote), `ack` (what became of a message of ours), `session` (the number's connection), `malformed`.
        session: The channel's name of the account.
        phone: E.164 of the client, None when the channel hides it.
        contact_id: The channel's own id of the chat, kept as it came.
        message_id: The message this is about, in the form that `Accepted.message_id` has.
        quoted_message_id: The message of ours that a client quotes.
        occurred_at: Aware UTC, or None when the event does not say.
        ack: What an `ack` reports, None when it means nothing to us.
        by_hand: An `ack` of a message that somebody typed on the phone: none of ours.
        signal: What a `session` event says about the account's health, if anything.
        error: Why the event is `malformed` or has no effect.
    """

    key: str
    kind: EventKind
    session: str | None = None
    phone: str | None = None
    contact_id: str | None = None
    message_id: str | None = None
    quoted_message_id: str | None = None
    body: str | None = None
    occurred_at: datetime | None = None
    ack: AckStatus | None = None
    by_hand: bool = False
    signal: Signal | None = None
    error: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What the channel says about one account right now.

    Attributes:
        working: It can send.
        words: The channel's own words, for people.
        signal: What it means for the account's health, None when nothing.
    """

    working: bool
    words: str
    signal: Signal | None = None


class Channel(Protocol):
    """One messenger protocol. Another one is another class with these members, in a file of its own."""

    @property
    def name(self) -> str:
        """The channel's name in accounts, the inbox and webhook paths."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    def send(self, session: str, phone: str, text: str, campaign_id: UUID) -> SendOutcome:
        """Hand `text` for `phone` (E.164) to the channel once. Never raises for what the network or the channel does."""
        ...

    def parse_events(self, payload: Any) -> list[InboundEvent]:
        """All events of one webhook call. Never raises: what cannot be read is a `malformed` event with the reason."""
        ...

    def verify(self, headers: Mapping[str, str], raw_body: bytes) -> bool:
        """Whether the call carries the channel's signature of exactly these bytes. False without a key."""
        ...

    def health(self, session: str) -> AccountStatus:
        """Ask the channel about an account. An unreachable channel is an account that is not working."""
        ...
