"""What a classified reply does to the campaign, the client and the chat bot's context.

Here: one pure table from intent to effects. Keep out: who writes them where.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from reactivation_core.replies import RESPONSE_TYPES, Classification, Intent, ResponseType

CompletionReason = Literal["converted", "opted_out", "declined", "cancelled"]
ContextChange = Literal["none", "selection", "cleared", "opted_out"]

# A client who says yes has two days to book before the dialog counts as closed.
OPEN_FOR = timedelta(hours=48)
# A refusal or a complaint rests the client for a quarter.
REST = timedelta(days=90)
# "Write later" without a day that anybody could read.
UNDATED_PAUSE = timedelta(days=30)
# A booking counts for the message when it was made within a week after the send.
CONVERSION_WINDOW = timedelta(days=7)

_OPEN: frozenset[Intent] = frozenset(
    {"confirm", "choose_slot", "other_time", "other_staff", "other_service", "question"}
)
_COMPLETES: dict[Intent, CompletionReason] = {
    "decline_now": "declined",
    "opt_out": "opted_out",
    "wrong_person": "cancelled",
    "already_booked": "cancelled",
}
_CONTEXT: dict[Intent, ContextChange] = {
    "confirm": "selection",
    "choose_slot": "selection",
    "other_time": "selection",
    "other_staff": "selection",
    "other_service": "selection",
    "pause_until": "cleared",
    "already_booked": "cleared",
    "decline_now": "cleared",
    "wrong_person": "cleared",
    "opt_out": "opted_out",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """A rest: nothing is sent before `until` (UTC), for this reason."""

    until: datetime
    reason: Literal["pause_until", "decline_now", "complaint"]


@dataclass(frozen=True, slots=True)
class ReplyEffects:
    """What follows from a reply.

    Attributes:
        response_type: How the reply counts.
        completes_episode: Why the episode ends; None when it goes on.
        pause: The client's rest, if any.
        suppress_phone: Whether the phone goes to the suppression ledger for good.
        open_until: Until when (UTC) the dialog stays open for the booking.
        next_attempt_not_before: The first local day on which another attempt may go.
        preference: A stated preference as (kind, value); kinds: service, staff, time_of_day, weekday.
        alert: Whether the salon is alerted.
        context: What becomes of the chat bot's context.
    """

    response_type: ResponseType
    completes_episode: CompletionReason | None = None
    pause: Pause | None = None
    suppress_phone: bool = False
    open_until: datetime | None = None
    next_attempt_not_before: date | None = None
    preference: tuple[str, str] | None = None
    alert: bool = False
    context: ContextChange = "none"


def effects_of(
    classification: Classification,
    *,
    received_at: datetime,
    zone: str,
    sent_at: datetime | None = None,
    record_created_at: datetime | None = None,
) -> ReplyEffects:
    """Return what a reply does.

    Args:
        classification: What the reply means, whichever layer decided.
        received_at: When the reply came (aware).
        zone: The company's IANA zone: a pause ends with a local day.
        sent_at: When the campaign was sent (aware); None when it is not known.
        record_created_at: When the client's upcoming record was created in the CRM (aware); None when there is none. With
            `already_booked` the episode is converted only if that lies 0 to 7 days after the send, else cancelled.

    Raises:
        ValueError: If an instant is naive.
    """
    if any(instant is not None and instant.tzinfo is None for instant in (received_at, sent_at, record_created_at)):
        raise ValueError("received_at, sent_at and record_created_at must be aware")
    intent = classification.intent
    completes = _COMPLETES.get(intent)
    response_type = RESPONSE_TYPES[intent]
    if intent == "already_booked" and _caused(sent_at, record_created_at):
        completes, response_type = "converted", "booking_created"
    pause, not_before = _pause(classification, received_at, ZoneInfo(zone))
    return ReplyEffects(
        response_type,
        completes_episode=completes,
        pause=pause,
        suppress_phone=intent in {"opt_out", "wrong_person"},
        open_until=received_at + OPEN_FOR if intent in _OPEN else None,
        next_attempt_not_before=not_before,
        preference=_preference(classification),
        alert=intent == "complaint",
        context=context_of(intent),
    )


def context_of(intent: Intent) -> ContextChange:
    """What a reply of this intent makes of the chat bot's context."""
    return _CONTEXT.get(intent, "none")


def _caused(sent_at: datetime | None, record_created_at: datetime | None) -> bool:
    """Whether the booking was made within the window after the send."""
    if sent_at is None or record_created_at is None:
        return False
    return timedelta(0) <= record_created_at - sent_at <= CONVERSION_WINDOW


def _pause(classification: Classification, received_at: datetime, zone: ZoneInfo) -> tuple[Pause | None, date | None]:
    """Return the rest and the first local day on which another attempt may go."""
    match classification.intent:
        case "pause_until":
            until = classification.pause_until or (received_at + UNDATED_PAUSE).astimezone(zone).date()
            resumes = until + timedelta(days=1)
            midnight = datetime.combine(resumes, time(), zone).astimezone(UTC)
            return Pause(midnight, "pause_until"), resumes
        case "decline_now":
            return Pause(received_at + REST, "decline_now"), None
        case "complaint":
            return Pause(received_at + REST, "complaint"), None
        case _:
            return None, None


def _preference(classification: Classification) -> tuple[str, str] | None:
    match classification.intent:
        case "other_service" if classification.service:
            return "service", classification.service
        case "other_staff" if classification.staff:
            return "staff", classification.staff
        case "other_time" if classification.time_of_day:
            return "time_of_day", classification.time_of_day
        case "other_time" if classification.weekday:
            return "weekday", str(classification.weekday)
        case _:
            return None
