"""Connects a salon of the CRM: its card, its first mirror, its rules.

What to add here: what a new salon needs before its first campaign day. What to keep out: what it may change later (settings, rules).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from anyio.to_thread import run_sync
from sqlalchemy import text

from reactivation_core.intervals import default_interval
from reactivation_core.phones import normalise_phone
from reactivation_resources.crm_cards import salon_facts
from reactivation_resources.database.engine import Database
from reactivation_resources.upsert import bump
from reactivation_resources.yclients.client import YClients

_COMPANY = """
INSERT INTO companies (company_id, title, business_type, timezone, country, currency, phone, consent_basis, crm_source)
VALUES (:company, :title, :business_type, :timezone, :country, :currency, :phone, :consent_basis, 'yclients')
ON CONFLICT (company_id) DO UPDATE SET crm_status = 'active'
WHERE companies.crm_source = 'yclients' AND companies.crm_status = 'uninstalled'
"""
_SETTINGS = """
INSERT INTO reactivation_settings (company_id, enabled) VALUES (:company, :enabled)
ON CONFLICT (company_id) DO UPDATE SET enabled = true WHERE excluded.enabled
"""
_RISKS = """
UPDATE companies SET accepted_risks = ARRAY(SELECT DISTINCT unnest(accepted_risks || CAST(:risks AS text[])) ORDER BY 1)
WHERE company_id = :company
"""
_CLOUD = """
INSERT INTO channel_accounts (company_id, channel, session, phone, business_id, preference)
VALUES (:company, 'whatsapp_cloud', :number, :phone, :business, -1)
ON CONFLICT (company_id, channel) DO UPDATE SET session = excluded.session, business_id = excluded.business_id
"""
_RULE = """
INSERT INTO service_reactivation_rules (company_id, service_id, default_interval) VALUES (:company, :service, :interval)
ON CONFLICT (company_id, service_id) DO NOTHING
"""


async def connect_company(
    database: Database,
    crm: YClients,
    company_id: int,
    *,
    business_type: str,
    consent_basis: str,
    session: str,
    enabled: bool,
    accepted_risks: Sequence[str] = (),
    cloud: tuple[str, str] | None = None,
) -> None:
    """Store the company as the CRM knows it, its settings and its sending number.

    Connecting it again changes nothing, but a company that had removed our application is mirrored again, and `enabled` turns it on.
    `consent_basis` says on what ground clients may be written to; `session` names the number at the gateway; `accepted_risks` are added to
    those that the owner has taken upon himself; `cloud` are the ids of
    a number at WhatsApp's Cloud API and of its business, which is then used first. Raises CrmError when the CRM
    does not answer, ValueError for a zone, country or currency that cannot be read from its card.
    """
    card = await crm.company(company_id)
    facts = salon_facts(card)
    for field, told, read in (
        ("timezone_name", card.timezone_name, facts.timezone),
        ("country", card.country, facts.country),
        ("currency_short_title", card.currency, facts.currency),
    ):
        if read is None:
            raise ValueError(f"{field}={told!r}: not known")
    parameters = {
        "company": company_id,
        "title": facts.title,
        "business_type": business_type,
        "timezone": facts.timezone,
        "country": facts.country,
        "currency": facts.currency,
        "phone": normalise_phone(facts.phone, facts.country or ""),
        "consent_basis": consent_basis,
        "session": session,
        "enabled": enabled,
        "risks": sorted(accepted_risks),
        "number": cloud[0] if cloud else None,
        "business": cloud[1] if cloud else None,
    }
    await run_sync(_store_company, database, parameters)


def _store_company(database: Database, parameters: dict[str, Any]) -> None:
    with database.begin() as connection:
        if connection.execute(text(_COMPANY), parameters).rowcount:
            bump(connection, "companies")
        connection.execute(text(_SETTINGS), parameters)
        connection.execute(text(_RISKS), parameters)
        connection.execute(
            text(
                "INSERT INTO channel_accounts (company_id, channel, session, phone) VALUES (:company, 'waha', :session, :phone)"
                " ON CONFLICT DO NOTHING"
            ),
            parameters,
        )
        if parameters["number"] is not None:
            connection.execute(text(_CLOUD), parameters)


def write_default_rules(database: Database, company_id: int) -> int:
    """Give every active service that has no rule one with the interval usual in the trade. Returns how many were written."""
    with database.begin() as connection:
        services = connection.execute(
            text(
                "SELECT s.service_id, s.title, c.business_type FROM services s JOIN companies c USING (company_id)"
                " WHERE company_id = :company AND s.active ORDER BY 1"
            ),
            {"company": company_id},
        ).all()
        rules = [
            {
                "company": company_id,
                "service": row.service_id,
                "interval": default_interval(row.title, row.business_type),
            }
            for row in services
        ]
        written = sum(connection.execute(text(_RULE), rule).rowcount for rule in rules)
        if written:
            bump(connection, "rules")
    return written


def mark_number_in_use(database: Database, company_id: int, since: datetime) -> None:
    """Record that the salon has been sending from its number since then: an established number has wider limits."""
    with database.begin() as connection:
        connection.execute(
            text(
                "UPDATE channel_accounts SET first_sent_at = least(first_sent_at, :since) WHERE company_id = :company"
            ),
            {"since": since, "company": company_id},
        )
