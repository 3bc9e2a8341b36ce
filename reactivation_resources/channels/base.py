"""What every messenger looks like to the rest of the product: send, read events, prove who speaks, tell the health.

What to add here: the words all channels share. What to keep out: any one protocol (a file of its own beside this one, nothing else)
and any rule (`reactivation_core`). A channel never retries a send and never decides whether one may happen.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from reactivation_core.account_health import Signal
from reactivation_core.channel_errors import ClientEffect, Consequence, TemplateEffect

EventKind = Literal["message", "ack", "session", "template", "preference", "malformed"]
AckStatus = Literal["accepted", "delivered", "read", "failed"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel can do.

    Attributes:
        has_lanes: Clients who never wrote to the number need the cold lane and its smaller quota.
        free_text: Our own text may be sent at any time; otherwise only while the client's last message is younger than a day,
            and an approved template at other times.
    """

    has_lanes: bool
    free_text: bool


@dataclass(frozen=True, slots=True)
class TemplateCall:
    """An approved template and what stands in its places, in their order.

    Attributes:
        names: The places' names when the template has named ones, otherwise empty.
    """

    name: str
    language: str
    values: tuple[str, ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """One message as a channel takes it.

    Attributes:
        campaign_id: Ours; a channel that has room for it sends it along, and its status events bring it back.
        session: The channel's name of the account.
        phone: E.164 of the client.
        text: The whole text, also when a template goes in its place.
        template: What to send instead of the text, None for the text itself.
    """

    campaign_id: UUID
    session: str
    phone: str
    text: str
    template: TemplateCall | None = None


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
        client: What it says about the client if anything.
        template: What it says about the template that was sent if anything.
        wait: How long the same message had better not be tried again, None for the usual pause.
    """

    code: str
    words: str
    retryable: bool
    of_account: bool = False
    signal: Signal | None = None
    client: ClientEffect = ""
    template: TemplateEffect = ""
    wait: timedelta | None = None


def rejected(code: str, consequence: Consequence, words: str | None = None) -> Rejected:
    """The refusal that a table of errors says this code is."""
    return Rejected(
        code,
        words or consequence.words,
        retryable=consequence.campaign != "fail",
        of_account=consequence.campaign == "hold",
        signal=consequence.account,
        client=consequence.client,
        template=consequence.template,
        wait=consequence.wait,
    )


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
        kind: `message` (a client wrote), `ack` (what became of a message of ours), `session` (the number's connection and standing),
            `template` (one of the business's templates changed), `preference` (a client stopped or resumed marketing), `malformed`.
        session: The channel's name of the account; None when the event is about a whole business.
        business: The channel's name of the business that owns the account, where it says so.
        phone: E.164 of the client, None when the channel hides it.
        contact_id: The channel's own id of the chat, kept as it came.
        message_id: The message this is about, in the form that `Accepted.message_id` has.
        quoted_message_id: The message of ours that a client quotes.
        occurred_at: Aware UTC, or None when the event does not say.
        ack: What an `ack` reports, None when it means nothing to us.
        campaign_id: Our own id that an `ack` brings back.
        refusal: Why, when an `ack` reports `failed` and says so.
        by_hand: An `ack` of a message that somebody typed on the phone: none of ours.
        signal: What a `session` event says about the account's health, if anything. Without a session it is about every account of the business.
        stops: What a `preference` event wants: True for no more marketing, False for marketing again.
        error: Why the event is `malformed` or has no effect.
    """

    key: str
    kind: EventKind
    session: str | None = None
    business: str | None = None
    phone: str | None = None
    contact_id: str | None = None
    message_id: str | None = None
    quoted_message_id: str | None = None
    body: str | None = None
    occurred_at: datetime | None = None
    ack: AckStatus | None = None
    campaign_id: UUID | None = None
    refusal: Rejected | None = None
    by_hand: bool = False
    signal: Signal | None = None
    stops: bool | None = None
    error: str | None = None
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What the channel says about one account right now.

    Attributes:
        working: It can send.
        words: The channel's own words, for people.
        signal: What it means for the account's health, None when nothing.
        quality: The channel's rating of the number (GREEN, YELLOW, RED), None when it has none.
        clients_a_day: How many different clients the business may write to first in 24 h, None when unlimited or unknown.
        new_chats_left: How many new chats the number may still begin, None when unlimited or unknown.
    """

    working: bool
    words: str
    signal: Signal | None = None
    quality: str | None = None
    clients_a_day: int | None = None
    new_chats_left: int | None = None


class KnownNumber(NamedTuple):
    """Whether a phone is on a channel, and how the channel names its chat."""

    reachable: bool
    contact_id: str | None


class NumberCache(Protocol):
    """Remembers which phones are on a channel. It may forget; a failure of its own is a number that is not known."""

    def load(self, channel: str, phones: Collection[str]) -> None:
        """Have at hand what is known of phones that will be asked about, all at once."""
        ...

    def store(self) -> None:
        """Keep what has been learnt beyond this process, all at once."""
        ...

    def recall(self, channel: str, phone: str) -> KnownNumber | None:
        """What is known of a phone, None when nothing or nothing fresh."""
        ...

    def remember(self, channel: str, phone: str, known: KnownNumber) -> None:
        """Take note of what the channel has just said of a phone."""
        ...


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

    def send(self, letter: Letter) -> SendOutcome:
        """Hand a letter to the channel once. Never raises for what the network or the channel does."""
        ...

    def get_ready(self, phones: Collection[str]) -> None:
        """Told who is about to be written to: what is known of them can be looked up at once."""
        ...

    def settle_down(self) -> None:
        """Told that some sends are over: what was learnt by them can be kept at once."""
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

    def close(self) -> None:
        """Close open connections."""
        ...
