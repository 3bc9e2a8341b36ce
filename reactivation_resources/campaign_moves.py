"""Moves campaigns from status to status in the database, and writes down every move.

What to add here: what a status change does to the campaign's row. What to keep out: which change is allowed
(`reactivation_core.campaign_states`) and why it happens (outbox.py, inbox.py). Every function runs inside the caller's transaction.

Everything that touches an account's campaigns takes the account's lock first, then campaign rows, then the account's row. One order for
all means that nobody waits in a circle, and under the lock what is counted stays true until the commit.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Row, Table, insert, select, text, update
from sqlalchemy.sql.elements import ColumnElement

from reactivation_core.campaign_states import Event, Status, advance
from reactivation_core.planning import next_attempt_at
from reactivation_resources.database.models import Account, Campaign, CampaignEvent, InboxMessage

CAMPAIGNS = cast("Table", Campaign.__table__)
INBOX = cast("Table", InboxMessage.__table__)
# A status event may name a message whose answer we lost only by its chat; later than this it speaks of something else.
SETTLING_WINDOW = timedelta(days=7)
_CLOCK_SKEW = timedelta(minutes=2)

_REPORTS = {"accepted": Event.ACCEPTED, "delivered": Event.DELIVERED, "read": Event.READ, "failed": Event.FAILED}


def lock_accounts(connection: Connection, account_ids: Iterable[int]) -> None:
    """Wait for the locks of these accounts; they are held until the transaction ends."""
    for account_id in sorted(set(account_ids)):
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended('reactivation-account', :account))"),
            {"account": account_id},
        )


def campaigns_for_update(connection: Connection, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """The campaigns that meet all conditions, their rows locked, in the order of their ids."""
    query = select(CAMPAIGNS).where(*conditions).order_by(CAMPAIGNS.c.campaign_id).with_for_update()
    return list(connection.execute(query))


def move(
    connection: Connection,
    campaign: Row[Any],
    event: Event,
    at: datetime,
    *,
    detail: dict[str, Any] | None = None,
    **columns: Any,
) -> Status:
    """Let `event` happen to a locked campaign and set `columns` with it. Returns the new status.

    Raises `IllegalTransition` when the campaign's status does not allow the event.
    """
    current = Status(campaign.status)
    status = advance(current, event, tries=columns.get("tries", campaign.tries))
    statement = update(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == campaign.campaign_id)
    connection.execute(statement.values(status=status, **columns))
    if status != current:
        connection.execute(
            insert(CampaignEvent).values(
                campaign_id=campaign.campaign_id,
                at=at,
                event=event,
                from_status=current,
                to_status=status,
                detail=detail or {},
            )
        )
    return status


def cancel(connection: Connection, campaign: Row[Any], reason: str, at: datetime) -> None:
    """Call off a locked campaign that has not been sent. This ends its episode."""
    move(
        connection,
        campaign,
        Event.CANCEL,
        at,
        detail={"reason": reason},
        completion_reason="opted_out" if reason == "opted_out" else "cancelled",
        completed_at=at,
        lease_owner=None,
        lease_until=None,
        error=reason,
    )


def hear(
    connection: Connection,
    campaign: Row[Any],
    report: str,
    at: datetime,
    *,
    message_id: str | None = None,
    contact_id: str | None = None,
    error: str | None = None,
) -> Status:
    """Take in what the channel says of a locked campaign: `accepted`, `delivered`, `read` or `failed`.

    The same reports in any order, any number of times, leave the same row.
    """
    event = _REPORTS[report]
    status = advance(Status(campaign.status), event, tries=campaign.tries)
    failed = status is Status.FAILED
    sent_at = campaign.sent_at or (campaign.sending_at if report != "failed" else None)
    columns: dict[str, Any] = {
        "sent_at": sent_at,
        "provider_message_id": campaign.provider_message_id or message_id,
        "provider_contact_id": campaign.provider_contact_id or contact_id,
        "next_attempt_at": campaign.next_attempt_at
        or next_attempt_at(campaign.sending_at, campaign.retry_interval_days),
        "delivered_at": _first(campaign.delivered_at, at if report in {"delivered", "read"} else None),
        "read_at": _first(campaign.read_at, at if report == "read" else None),
        "failed_at": _first(campaign.failed_at, at if report == "failed" else None) if failed else None,
        "error": (campaign.error or error or "the channel reported a failure") if failed else None,
        "lease_owner": None,
        "lease_until": None,
    }
    move(connection, campaign, event, at, detail={"error": error} if error else None, **columns)
    if sent_at is not None and campaign.account_id is not None:
        _count_first_send(connection, campaign.account_id, sent_at)
    return status


def settle_from_chat(connection: Connection, account_id: int, phone: str, heard_at: datetime) -> Row[Any] | None:
    """The one campaign to `phone` whose answer was lost and that a status event of an unknown message may speak of."""
    waiting = campaigns_for_update(
        connection,
        CAMPAIGNS.c.account_id == account_id,
        CAMPAIGNS.c.phone == phone,
        CAMPAIGNS.c.status == Status.UNKNOWN,
        CAMPAIGNS.c.provider_message_id.is_(None),
        CAMPAIGNS.c.sending_at <= heard_at + _CLOCK_SKEW,
        CAMPAIGNS.c.sending_at > heard_at - SETTLING_WINDOW,
    )
    return waiting[0] if len(waiting) == 1 else None


def hear_waiting(connection: Connection, campaign_id: Any) -> None:
    """Apply status events that came before the answer of the send was stored, or whose campaign had not been known lost yet."""
    campaign = campaigns_for_update(connection, CAMPAIGNS.c.campaign_id == campaign_id)[0]
    conditions = [INBOX.c.account_id == campaign.account_id, INBOX.c.kind == "ack", INBOX.c.processed_at.is_(None)]
    if campaign.provider_message_id is not None:
        conditions.append(INBOX.c.message_id == campaign.provider_message_id)
    else:
        conditions += [INBOX.c.phone == campaign.phone, INBOX.c.occurred_at >= campaign.sending_at - _CLOCK_SKEW]
    waiting = list(connection.execute(select(INBOX).where(*conditions).order_by(INBOX.c.inbox_id)))
    if campaign.provider_message_id is None and len({ack.message_id for ack in waiting}) > 1:
        return  # several messages in that chat: which one is ours cannot be told
    for ack in waiting:
        hear(connection, campaign, ack.body, ack.occurred_at, message_id=ack.message_id, contact_id=ack.contact_id)
        campaign = campaigns_for_update(connection, CAMPAIGNS.c.campaign_id == campaign_id)[0]
        done = update(InboxMessage).where(InboxMessage.inbox_id == ack.inbox_id)
        connection.execute(done.values(processed_at=ack.received_at, error=None))


def _first(known: datetime | None, heard: datetime | None) -> datetime | None:
    return min((instant for instant in (known, heard) if instant is not None), default=None)


def _count_first_send(connection: Connection, account_id: int, sent: datetime) -> None:
    """The account's age starts with its first message that went out."""
    connection.execute(
        update(Account)
        .where(Account.account_id == account_id, (Account.first_sent_at.is_(None)) | (Account.first_sent_at > sent))
        .values(first_sent_at=sent)
    )
