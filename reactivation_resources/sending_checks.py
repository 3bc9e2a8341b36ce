"""May this go out now? What the database says of an account and of a campaign, asked under the account's lock.

What to add here: conditions for sending. What to keep out: acting on the answer (outbox.py). Whatever is missing, unreadable or not
understood means no.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from reactivation_core.account_health import Limits, cold_lane_open, cold_lane_quota, refusal
from reactivation_core.campaign_states import Status
from reactivation_resources.accounts import COUNTED, DAY, AccountView, account_view

HOUR = timedelta(minutes=60)
CONTACT_GAP = timedelta(days=7)

_RECENT = """
SELECT campaign_id, status, lane, sending_at, lease_until FROM reactivation_campaigns
WHERE account_id = :account
  AND ((status = ANY(:counted) AND sending_at > :since) OR status = 'sending' OR (status = 'claimed' AND lease_until > :now))
ORDER BY sending_at DESC NULLS LAST
"""
# The ledger's latest word on a client is stronger than the CRM's; the CRM's than the salon's general basis.
_CLIENT = """
SELECT cl.deleted, cl.blacklisted, cl.mailing_refused,
  coalesce((SELECT granted FROM consents k WHERE k.company_id = cl.company_id AND k.client_id = cl.client_id AND k.purpose = 'marketing'
            ORDER BY k.at DESC, k.consent_id DESC LIMIT 1),
           cl.consent, trim(coalesce(co.consent_basis, '')) <> '') AS consent,
  EXISTS (SELECT FROM suppressions s WHERE s.company_id = cl.company_id AND s.phone IN (:phone, cl.phone)
          AND (s.lifted_at IS NULL OR s.lifted_at > :now)) AS opted_out,
  EXISTS (SELECT FROM pauses p WHERE p.company_id = cl.company_id AND p.client_id = cl.client_id AND p.until > :now) AS paused,
  EXISTS (SELECT FROM record_lines r WHERE r.company_id = cl.company_id AND r.client_id = cl.client_id AND NOT r.deleted
          AND (r.created_at > :planned_at OR (r.starts_at > :planned_at AND r.status IN ('booked', 'confirmed', 'attended')))) AS booked
FROM clients cl JOIN companies co USING (company_id)
WHERE cl.company_id = :company AND cl.client_id = :client
"""
_SAME_PHONE = """
SELECT max(sending_at) FROM reactivation_campaigns
WHERE company_id = :company AND campaign_id <> :campaign AND (phone = :phone OR client_id = :client)
  AND status = ANY(:counted) AND status <> 'failed' AND sending_at > :since
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether an account may send one more message now.

    Attributes:
        reason: Why not, or "".
        until: When to ask again, None when nobody can say.
        cold: The cold lane may be used; only with an empty reason.
    """

    account: AccountView | None
    reason: str = ""
    until: datetime | None = None
    cold: bool = False


def standing(
    connection: Connection,
    account_id: int,
    now: datetime,
    *,
    besides: Any = None,
    platform_daily: int | None = None,
    platform_hourly: int | None = None,
) -> Standing:
    """Whether account `account_id` may send at `now`, counted from the campaign log without the campaign `besides`."""
    account = account_view(connection, account_id)
    if account is None or not account.enabled:
        return Standing(account, "no_account" if account is None else "company_disabled")
    if reason := refusal(account.health, now):
        return Standing(account, reason, account.health.paused_until)
    if account.window is None or not account.window.is_open(now):
        return Standing(account, "window_closed", account.window.next_open(now) if account.window else None)
    query = {"account": account_id, "counted": COUNTED, "since": now - DAY, "now": now}
    rows = [row for row in connection.execute(text(_RECENT), query) if row.campaign_id != besides]
    limits = account.limits(now, platform_daily, platform_hourly)
    reason, until = _full(rows, limits, now)
    if reason:
        return Standing(account, reason, until)
    cold_sent = sum(1 for row in rows if row.lane == "cold" and row.sending_at is not None)
    room = not account.has_lanes or (cold_lane_open(account.health, now) and cold_sent < cold_lane_quota(limits))
    return Standing(account, cold=room)


def _full(rows: Sequence[Row[Any]], limits: Limits, now: datetime) -> tuple[str, datetime | None]:
    """Which limit is reached, and until when. One message at a time is on its way to `sending`: the gap decides when the next may be."""
    claimed = [row.lease_until for row in rows if row.status == Status.CLAIMED]
    if claimed:
        return "claimed_elsewhere", max(claimed)
    times = [row.sending_at for row in rows]
    for reason, limit, span in (("daily_limit", limits.daily, DAY), ("hourly_limit", limits.hourly, HOUR)):
        recent = [at for at in times if at > now - span]
        if len(recent) >= limit:
            return reason, recent[limit - 1] + span if limit else None
    if sum(1 for row in rows if row.status == Status.SENDING) >= limits.concurrent:
        return "concurrent_limit", None
    gap = timedelta(seconds=limits.min_gap_s)
    if times and times[0] + gap > now:
        return "min_gap", times[0] + gap
    return "", None


def objection(connection: Connection, campaign: Row[Any], now: datetime) -> str:
    """Why this campaign must not be sent any more, or "": opted_out, paused, no_consent, mailing_refused, blacklisted, deleted, booked."""
    query = {
        "company": campaign.company_id,
        "client": campaign.client_id,
        "phone": campaign.phone,
        "planned_at": campaign.planned_at,
        "now": now,
    }
    client = connection.execute(text(_CLIENT), query).one_or_none()
    if client is None or client.deleted:
        return "deleted"
    if not client.consent and not client.opted_out and not client.paused:
        return "no_consent"
    return next(
        (name for name in ("opted_out", "paused", "mailing_refused", "blacklisted", "booked") if getattr(client, name)),
        "",
    )


def contacted_until(connection: Connection, campaign: Row[Any], now: datetime) -> datetime | None:
    """Until when the client, or another one with the same phone, is left alone after an earlier message; None when nothing stands against it."""
    query = {
        "company": campaign.company_id,
        "client": campaign.client_id,
        "phone": campaign.phone,
        "campaign": campaign.campaign_id,
        "counted": COUNTED,
        "since": now - CONTACT_GAP,
    }
    last: datetime | None = connection.execute(text(_SAME_PHONE), query).scalar_one()
    return None if last is None else last + CONTACT_GAP
