"""The life of a campaign: which status may follow which.

What to add here: statuses, events and what is allowed. What to keep out: who causes an event and what it costs.

    planned -> claimed -> sending -> accepted -> delivered -> read

Up to `sending` a campaign obeys our commands, and a command out of place is an error. Once its request may have left, it listens to
what the channel says: duplicated, late and out of order. Those reports are ordered by how much they prove,
accepted < failed < delivered < read, and a campaign keeps the strongest one it has heard, so that any order of the same reports ends
in the same status.
"""

from enum import StrEnum

MAX_RETRIES = 3


class Status(StrEnum):
    """Where a campaign stands."""

    PLANNED = "planned"
    CLAIMED = "claimed"  # a dispatcher holds it under a lease
    SENDING = "sending"  # committed before the request leaves
    ACCEPTED = "accepted"  # the channel took it; not yet on the client's phone
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the answer was lost; never sent again by us
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    HELD_OUT = "held_out"


class Event(StrEnum):
    """What can happen to a campaign."""

    CLAIM = "claim"
    RELEASE = "release"  # the lease ran out, or the dispatcher gave the campaign back unsent
    SEND = "send"
    CANCEL = "cancel"
    EXPIRE = "expire"
    RETRYABLE_FAILURE = "retryable_failure"  # the channel certainly did not take it and may be asked again
    ANSWER_LOST = "answer_lost"  # a timeout, or a crash found by recovery
    # What the channel reports, in its answer or later; an unknown campaign is settled by hand with the same events.
    ACCEPTED = "accepted"
    FAILED = "failed"
    DELIVERED = "delivered"
    READ = "read"


class IllegalTransition(ValueError):  # noqa: N818 - it names what was attempted
    """An event that the present status does not allow."""

    def __init__(self, current: Status, event: Event) -> None:
        super().__init__(f"a campaign that is {current} cannot take the event {event}")
        self.current = current
        self.event = event


OPEN = frozenset({Status.PLANNED, Status.CLAIMED, Status.SENDING})
"""Not settled yet: the client gets no other campaign meanwhile."""

SENT = frozenset({Status.ACCEPTED, Status.DELIVERED, Status.READ})
"""The message went out, as far as the channel says."""

COUNTS_AGAINST_LIMITS = SENT | {Status.SENDING, Status.UNKNOWN, Status.FAILED}
"""Its request may have left the house. A failed campaign has been sent and refused, so it counts too."""

_COMMANDS = {
    (Status.PLANNED, Event.CLAIM): Status.CLAIMED,
    (Status.CLAIMED, Event.RELEASE): Status.PLANNED,
    (Status.CLAIMED, Event.SEND): Status.SENDING,
    (Status.PLANNED, Event.CANCEL): Status.CANCELLED,
    (Status.CLAIMED, Event.CANCEL): Status.CANCELLED,
    (Status.PLANNED, Event.EXPIRE): Status.EXPIRED,
    (Status.CLAIMED, Event.EXPIRE): Status.EXPIRED,
}
_REPORTS = {
    Event.ACCEPTED: Status.ACCEPTED,
    Event.FAILED: Status.FAILED,
    Event.DELIVERED: Status.DELIVERED,
    Event.READ: Status.READ,
}
_PROOF = {
    Status.SENDING: 0,
    Status.UNKNOWN: 0,
    Status.ACCEPTED: 1,
    Status.FAILED: 2,
    Status.DELIVERED: 3,
    Status.READ: 4,
}


def advance(current: Status, event: Event, *, tries: int = 0) -> Status:
    """The status after `event`; the same status when the event is late or repeated.

    `tries` counts how often `send` was committed for this campaign, the present time included. A retryable failure goes back to
    planned after at most `MAX_RETRIES` + 1 tries. A campaign that waits for its next try and turns out to have arrived after all
    moves on, so that it is not sent twice.

    Raises IllegalTransition when the status does not allow the event.
    """
    if (current, event) in _COMMANDS:
        return _COMMANDS[current, event]
    if event in _REPORTS and (current in _PROOF or tries > 0):
        return _heard(current, _REPORTS[event])
    if event in (Event.ANSWER_LOST, Event.RETRYABLE_FAILURE) and current in _PROOF:
        return _unanswered(current, event, tries)
    raise IllegalTransition(current, event)


def _heard(current: Status, reported: Status) -> Status:
    """The stronger of what is known and what is reported."""
    if current in _PROOF:
        return reported if _PROOF[reported] > _PROOF[current] else current
    if current in (Status.PLANNED, Status.CLAIMED) and reported != Status.FAILED:
        return reported
    return current


def _unanswered(current: Status, event: Event, tries: int) -> Status:
    """After a lost answer or a passing failure; what the channel has reported meanwhile stands."""
    if _PROOF[current] > 0:
        return current
    if event == Event.ANSWER_LOST:
        return Status.UNKNOWN
    return Status.PLANNED if current == Status.SENDING and tries <= MAX_RETRIES else Status.FAILED
