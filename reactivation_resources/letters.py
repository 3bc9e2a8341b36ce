"""What goes out for a campaign: its text, or on a channel that asks for one an approved template with the text's parts.

What to add here: the choice between the two. What to keep out: which template fits (`reactivation_core.whatsapp_templates`) and where
templates come from (template_registry.py).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from reactivation_core.channel_errors import TemplateEffect
from reactivation_resources.accounts import AccountView
from reactivation_resources.campaign_moves import Change
from reactivation_resources.channels.base import Letter
from reactivation_resources.template_registry import call_for, for_sending
from reactivation_resources.template_registry import mark as mark_template

OPEN_FOR = timedelta(hours=24) - timedelta(minutes=1)
"""How long after a client's message our own words may go: the channel's day, less the time a message takes."""

_OPEN = """
SELECT c.campaign_id, EXISTS (
  SELECT FROM inbox i WHERE i.company_id = c.company_id AND i.phone = c.phone AND i.account_id = c.account_id
    AND i.kind = 'message' AND i.error IS NULL AND i.occurred_at > :since) AS open, m.language
FROM reactivation_campaigns c JOIN companies m USING (company_id) WHERE c.campaign_id = ANY(:campaigns)
"""


def letters(
    connection: Connection,
    changes: Sequence[Change],
    accounts: Mapping[int, AccountView],
    templated: frozenset[str],
    now: datetime,
) -> dict[UUID, Letter]:
    """The letters of locked campaigns with a text; one for whom no template fits has none.

    `templated` names the channels that take our own words only within a day of the client's last message to that number.
    """
    asking = [change["campaign_id"] for change in changes if accounts[change["account_id"]].channel in templated]
    found = (
        {
            row.campaign_id: row
            for row in connection.execute(text(_OPEN), {"campaigns": asking, "since": now - OPEN_FOR})
        }
        if asking
        else {}
    )
    closed = {key for key, row in found.items() if not row.open}
    businesses = {accounts[c["account_id"]].business_id for c in changes if c["campaign_id"] in closed}
    rows = for_sending(connection, sorted(one for one in businesses if one)) if businesses else {}
    written: dict[UUID, Letter] = {}
    for change in changes:
        campaign_id, account = change["campaign_id"], accounts[change["account_id"]]
        template = None
        if campaign_id in closed:
            language = found[campaign_id].language
            template = call_for(rows.get(account.business_id or "", []), change["text_parts"] or {}, language)
            if template is None:
                continue
        written[campaign_id] = Letter(campaign_id, account.session, change["phone"], change["message_text"], template)
    return written


def sent_template(letter: Letter) -> str | None:
    """How a campaign's row names the template that went in the text's place."""
    return None if letter.template is None else f"{letter.template.name}:{letter.template.language}"


def mark(
    connection: Connection, account_id: int, template: str, effect: TemplateEffect, at: datetime, words: str
) -> None:
    """What an error says of the template that `sent_template` named."""
    business_id = connection.execute(
        text("SELECT business_id FROM channel_accounts WHERE account_id = :account"), {"account": account_id}
    ).scalar_one_or_none()
    name, _, language = template.partition(":")
    if business_id is not None:
        mark_template(connection, business_id, name, language, effect, at, words)
