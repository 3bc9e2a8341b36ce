"""What clients wrote and what the channel reported, for the salon they wrote to."""

from typing import Literal

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel
from sqlalchemy import func, select

from reactivation_api.access import TheCompany, ThePlatform
from reactivation_api.envelope import Success, documented
from reactivation_api.pages import Page, PageLimit, PageNumber, page_of
from reactivation_resources.database.models import InboxMessage

router = APIRouter(tags=["inbox"])

Kind = Literal["message", "ack", "session", "template", "preference", "malformed", "crm"]


class InboxRow(BaseModel):
    """One stored event. `body` is the text of a message, the status of an ack, the state of a session."""

    inbox_id: int
    channel: str
    kind: Kind
    client_phone: str | None
    message_id: str | None
    quoted_message_id: str | None
    body: str | None
    occurred_at: AwareDatetime
    received_at: AwareDatetime
    processed_at: AwareDatetime | None
    error: str | None


@router.get("/inbox/{company_id}", summary="List inbound events", responses=documented(401, 404, 422, 503))
def list_inbox(
    platform: ThePlatform,
    company_id: TheCompany,
    page: PageNumber = 1,
    limit: PageLimit = 20,
    kind: Kind | None = None,
    unprocessed: bool = False,
) -> Success[Page[InboxRow]]:
    """Events of the company's numbers, newest first; with `unprocessed`, only those that wait to be understood."""
    inbox = InboxMessage
    wanted = [inbox.company_id == company_id]
    if kind is not None:
        wanted.append(inbox.kind == kind)
    if unprocessed:
        wanted.append(inbox.processed_at.is_(None))
    columns = [column for name, column in inbox.__table__.columns.items() if name in InboxRow.model_fields]
    query = select(*columns, inbox.phone.label("client_phone")).where(*wanted).order_by(inbox.inbox_id.desc())
    with platform.database.begin() as connection:
        total = connection.execute(select(func.count()).select_from(inbox).where(*wanted)).scalar_one()
        rows = connection.execute(query.limit(limit).offset((page - 1) * limit)).mappings().all()
    return Success(data=page_of([InboxRow.model_validate(dict(row)) for row in rows], total, page, limit))
