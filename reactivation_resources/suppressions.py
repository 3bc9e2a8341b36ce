"""The suppression ledger: phones that a company must never write to again, on any channel.

What to add here: entering the ledger and calling off what it forbids. What to keep out: who asks for it (inbox.py, responses.py).
"""

from datetime import datetime

from sqlalchemy import Connection, or_, select
from sqlalchemy.dialects.postgresql import insert

from reactivation_core.campaign_states import Status
from reactivation_resources.campaign_moves import CAMPAIGNS, campaigns_for_update, cancel
from reactivation_resources.database.models import Client, Suppression


def enter_suppression(
    connection: Connection,
    company_id: int,
    phone: str,
    at: datetime,
    *,
    reason: str,
    source: str,
    inbox_id: int | None = None,
) -> None:
    """Enter `phone` into the company's suppression ledger; one that is in force already stays as it is."""
    ledger = insert(Suppression).values(
        company_id=company_id, phone=phone, reason=reason, source=source, inbox_id=inbox_id, at=at
    )
    connection.execute(ledger.on_conflict_do_nothing())


def suppress(
    connection: Connection,
    company_id: int,
    phone: str,
    at: datetime,
    *,
    reason: str,
    source: str,
    inbox_id: int | None = None,
) -> None:
    """Never write to `phone` again for this company, and call off what is planned for it. Repeating it changes nothing."""
    enter_suppression(connection, company_id, phone, at, reason=reason, source=source, inbox_id=inbox_id)
    owners = select(Client.client_id).where(Client.company_id == company_id, Client.phone == phone)
    unsent = campaigns_for_update(
        connection,
        CAMPAIGNS.c.company_id == company_id,
        or_(CAMPAIGNS.c.phone == phone, CAMPAIGNS.c.client_id.in_(owners)),
        CAMPAIGNS.c.status.in_([Status.PLANNED, Status.CLAIMED]),
    )
    cancel(connection, unsent, reason, at)
