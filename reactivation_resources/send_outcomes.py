"""What the channel's answer to a send makes of the campaign, stored inside the outbox's transaction.

What to add here: consequences of an outcome. What to keep out: sending, claiming, and status events that come later (inbox.py).
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from reactivation_core.campaign_states import Event, Status
from reactivation_core.planning import next_attempt_at
from reactivation_resources.accounts import record_signal
from reactivation_resources.campaign_moves import CAMPAIGNS, hear, hear_waiting, move
from reactivation_resources.channels.base import Accepted, Lost, Rejected, SendOutcome

UNREACHABLE_REST = timedelta(days=30)
"""A number that is not on the channel today will hardly be there next week."""


def store_outcome(connection: Connection, campaign: Row[Any], outcome: SendOutcome, now: datetime) -> None:
    """Store `outcome` of a locked campaign, and what status events said of it meanwhile."""
    if isinstance(outcome, Accepted) and _used_before(connection, campaign, outcome.message_id):
        outcome = Lost("the channel gave a message id that another message has")
    match outcome:
        case Accepted(message_id, contact_id):
            hear(connection, campaign, "accepted", now, message_id=message_id, contact_id=contact_id)
            hear_waiting(connection, campaign.campaign_id)
        case Lost(words):
            store_lost(connection, campaign, words, now)
        case Rejected():
            _reject(connection, campaign, outcome, now)
            if outcome.signal is not None:
                record_signal(connection, campaign.account_id, outcome.signal, now, {"code": outcome.code})


def _used_before(connection: Connection, campaign: Row[Any], message_id: str) -> bool:
    query = select(CAMPAIGNS.c.campaign_id).where(
        CAMPAIGNS.c.provider_message_id == message_id, CAMPAIGNS.c.campaign_id != campaign.campaign_id
    )
    return connection.execute(query).first() is not None


def store_lost(connection: Connection, campaign: Row[Any], words: str, now: datetime) -> None:
    """Nobody knows whether the message left: `unknown`, unless a status event has told already."""
    if campaign.status != Status.SENDING:
        return
    wait = next_attempt_at(campaign.sending_at, campaign.retry_interval_days)
    lease = {"lease_owner": None, "lease_until": None}
    move(connection, campaign, Event.ANSWER_LOST, now, error=words, next_attempt_at=wait, **lease)
    hear_waiting(connection, campaign.campaign_id)


def _reject(connection: Connection, campaign: Row[Any], rejected: Rejected, now: datetime) -> None:
    if campaign.status not in (Status.SENDING, Status.UNKNOWN):
        return
    words = f"{rejected.code}: {rejected.words}"
    if campaign.status != Status.SENDING or not rejected.retryable:
        hear(connection, campaign, "failed", now, error=words)
        if rejected.client == "unreachable":
            rest = campaign.sending_at + UNREACHABLE_REST
            campaign_id = CAMPAIGNS.c.campaign_id == campaign.campaign_id
            connection.execute(update(CAMPAIGNS).where(campaign_id).values(next_attempt_at=rest))
        return
    tries = campaign.tries - 1 if rejected.of_account else campaign.tries
    detail = {"code": rejected.code, "words": rejected.words}
    status = move(connection, campaign, Event.RETRYABLE_FAILURE, now, detail=detail, tries=tries, error=words)
    columns: dict[str, Any] = {"lease_owner": None, "lease_until": None}
    if status is Status.PLANNED:
        columns |= {"sending_at": None, "lease_until": now + pause_after(tries)}
    else:
        wait = next_attempt_at(campaign.sending_at, campaign.retry_interval_days)
        columns |= {"failed_at": now, "next_attempt_at": wait}
    connection.execute(update(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == campaign.campaign_id).values(**columns))


def pause_after(tries: int) -> timedelta:
    """How long a campaign rests after a refusal: five minutes, then four times as long each time."""
    return timedelta(minutes=5) * int(4 ** max(tries - 1, 0))
