"""What the channel's answers to sends make of the campaigns, stored inside the outbox's transaction.

What to add here: consequences of an outcome. What to keep out: sending, claiming, and status events that come later (inbox.py).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from reactivation_core.campaign_states import Event, Status
from reactivation_core.planning import next_attempt_at
from reactivation_resources.accounts import record_signal
from reactivation_resources.campaign_moves import Change, hear_waiting, hear_waiting_chat, store_changes
from reactivation_resources.channels.base import Accepted, Lost, Rejected, SendOutcome
from reactivation_resources.letters import mark
from reactivation_resources.suppressions import suppress

UNREACHABLE_REST = timedelta(days=30)
"""A number that is not on the channel today will hardly be there next week."""

_USED_IDS = """
SELECT provider_message_id FROM reactivation_campaigns WHERE provider_message_id = ANY(:ids) AND campaign_id <> ALL(:campaigns)
"""
# The company's next channel in its order of preference, where the client has not been tried yet.
_NEXT_CHANNEL = """
SELECT n.account_id FROM channel_accounts a JOIN channel_accounts n USING (company_id)
WHERE a.account_id = :account AND (n.preference, n.account_id) > (a.preference, a.account_id) AND n.state <> 'stopped'
ORDER BY n.preference, n.account_id LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A campaign in `sending`, or one that recovery has given up meanwhile, and what the channel said to its message."""

    change: Change
    outcome: SendOutcome


def store_outcomes(connection: Connection, answers: Sequence[Answer], now: datetime) -> None:
    """Store the outcomes of locked campaigns, and what status events have said of them meanwhile."""
    strangers = _strangers(connection, answers)
    accepted: list[Change] = []
    for answer in answers:
        change, outcome = answer.change, answer.outcome
        if isinstance(outcome, Accepted) and outcome.message_id in strangers:
            outcome = Lost("the channel gave a message id that another message has")
        match outcome:
            case Accepted(message_id, contact_id):
                change.hear("accepted", now, message_id=message_id, contact_id=contact_id)
                accepted.append(change)
            case Lost(words):
                lose(connection, change, words, now)
            case Rejected():
                _reject(connection, change, outcome, now)
    hear_waiting(connection, accepted)
    store_changes(connection, [answer.change for answer in answers])


def _strangers(connection: Connection, answers: Sequence[Answer]) -> Collection[str]:
    """Message ids that name another campaign's message, or two of these."""
    ids = [answer.outcome.message_id for answer in answers if isinstance(answer.outcome, Accepted)]
    if not ids:
        return ()
    query = {"ids": ids, "campaigns": [answer.change["campaign_id"] for answer in answers]}
    return {*connection.execute(text(_USED_IDS), query).scalars(), *(one for one in ids if ids.count(one) > 1)}


def lose(connection: Connection, change: Change, words: str, now: datetime) -> None:
    """Nobody knows whether the message left: `unknown`, unless a status event has told already."""
    if change.status is not Status.SENDING:
        return
    wait = next_attempt_at(change["sending_at"], change["retry_interval_days"])
    change.move(Event.ANSWER_LOST, now, error=words, next_attempt_at=wait, lease_owner=None, lease_until=None)
    hear_waiting_chat(connection, change)


def _reject(connection: Connection, change: Change, rejected: Rejected, now: datetime) -> None:
    if change.status not in (Status.SENDING, Status.UNKNOWN):
        return
    words = f"{rejected.code}: {rejected.words}"
    again = _elsewhere(connection, change, rejected)
    if change.status is not Status.SENDING or not (rejected.retryable or again):
        change.hear("failed", now, error=words)
    else:
        tries = change["tries"] - 1 if rejected.of_account else change["tries"]
        detail = {"code": rejected.code, "words": rejected.words, **again}
        status = change.move(Event.RETRYABLE_FAILURE, now, detail, tries=tries, error=words, lease_owner=None)
        if status is Status.PLANNED:
            wait = timedelta(0) if again else rejected.wait or pause_after(tries)
            change.columns |= {"sending_at": None, "lease_until": now + wait, **again}
        else:
            wait_until = next_attempt_at(change["sending_at"], change["retry_interval_days"])
            change.columns |= {"failed_at": now, "next_attempt_at": wait_until, "lease_until": None}
    take_effect(connection, change, rejected, now)


def take_effect(connection: Connection, change: Change, refusal: Rejected, now: datetime) -> None:
    """What a refusal says of the client, the template and the number, beside what it makes of the campaign."""
    if refusal.client == "unreachable" and change.status is Status.FAILED:
        change.columns["next_attempt_at"] = (change["sending_at"] or now) + UNREACHABLE_REST
    if refusal.client == "opted_out":
        change.columns |= {"completion_reason": "opted_out", "completed_at": now}
        suppress(connection, change["company_id"], change["phone"], now, reason="opted_out", source="channel")
    if refusal.template and change["sent_template"]:
        mark(connection, change["account_id"], change["sent_template"], refusal.template, now, refusal.words)
    if refusal.signal is not None and change["account_id"] is not None:
        record_signal(connection, change["account_id"], refusal.signal, now, {"code": refusal.code})


def _elsewhere(connection: Connection, change: Change, rejected: Rejected) -> Mapping[str, Any]:
    """The account that may reach a client who certainly was not reached here: the company's next one, if it has another."""
    if rejected.client != "unreachable" or change.status is not Status.SENDING:
        return {}
    account_id = connection.execute(text(_NEXT_CHANNEL), {"account": change["account_id"]}).scalar_one_or_none()
    return {} if account_id is None else {"account_id": account_id}


def pause_after(tries: int) -> timedelta:
    """How long a campaign rests after a refusal: five minutes, then four times as long each time."""
    return timedelta(minutes=5) * int(4 ** max(tries - 1, 0))
