"""Accounts: the salons' sending numbers, their limits and their health.

What to add here: reads and writes of accounts. What to keep out: what a signal or a score means (`reactivation_core.account_health`).
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, insert, text, update

from reactivation_core.account_health import (
    AccountHealth,
    Limits,
    Signal,
    apply_signal,
    effective_limits,
    refusal,
)
from reactivation_core.campaign_states import COUNTS_AGAINST_LIMITS
from reactivation_core.channel_policy import company_objection
from reactivation_core.planning import window_of
from reactivation_core.sending_window import SendingWindow
from reactivation_resources.alerts import raise_alert
from reactivation_resources.database.engine import Database, FrameSchema
from reactivation_resources.database.models import Account, AccountEvent

DAY = timedelta(hours=24)
WITHOUT_LANES = frozenset({"whatsapp_cloud"})
"""Channels on which a business may write first; every other one wants the cold lane kept small."""

COUNTED = sorted(COUNTS_AGAINST_LIMITS)
_HEALTH = [field.name for field in fields(AccountHealth)]

_ACCOUNTS = """
SELECT a.*, c.timezone, c.country, c.crm_status, c.accepted_risks, trim(coalesce(c.consent_basis, '')) <> '' AS has_basis, s.enabled, s.daily_limit_mode, s.manual_daily_limit, s.sending_hour_from,
       s.sending_hour_to, s.sending_days
FROM channel_accounts a JOIN companies c USING (company_id) LEFT JOIN reactivation_settings s USING (company_id)
WHERE CAST(:accounts AS bigint[]) IS NULL OR a.account_id = ANY(:accounts)
ORDER BY a.company_id, a.preference, a.account_id
"""
_SENDS = """
SELECT account_id, CASE WHEN status = ANY(:counted) THEN sending_at ELSE send_after END AS at, lane FROM reactivation_campaigns
WHERE account_id IS NOT NULL
  AND ((status = ANY(:counted) AND sending_at > :since AND sending_at <= :as_of) OR status IN ('planned', 'claimed'))
ORDER BY account_id, at, campaign_id
"""


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account with everything that decides what it may send.

    Attributes:
        enabled: The company wants and may have messages sent; False when its settings are missing.
        window: When messages may go out, None when the settings make none.
        business_id: The channel's name of the business that owns the number, with its limit `clients_a_day` of different clients.
        new_chats_left: How many new chats the number may still begin; None when it may begin any.
        objection: Why the company may not send by this channel at all, or "": no_consent_basis, channel_not_allowed, risk_not_accepted.
        preference: Of a company's accounts the lowest is used first.
        sends: Instants and lanes of the sends of the last 24 h and of what is still planned, in order.
    """

    account_id: int
    company_id: int
    channel: str
    session: str
    enabled: bool
    health: AccountHealth
    daily_limit_mode: str
    manual_daily_limit: int | None
    window: SendingWindow | None
    business_id: str | None = None
    clients_a_day: int | None = None
    new_chats_left: int | None = None
    objection: str = ""
    preference: int = 0
    sends: tuple[tuple[datetime, str], ...] = ()

    @property
    def has_lanes(self) -> bool:
        """Whether clients who never wrote to the number have a quota of their own."""
        return self.channel not in WITHOUT_LANES

    def limits(self, now: datetime, platform_daily: int | None = None, platform_hourly: int | None = None) -> Limits:
        """The limits in force at `now`."""
        return effective_limits(
            self.health,
            now=now,
            mode=self.daily_limit_mode,
            manual_daily_limit=self.manual_daily_limit,
            platform_daily=platform_daily,
            platform_hourly=platform_hourly,
        )


def account_states(database: Database, as_of: datetime) -> dict[int, AccountView]:
    """The account of every company that has one, by company; of several, the first by preference that may send at all, or the first."""
    with database.begin() as connection:
        rows = connection.execute(text(_ACCOUNTS), {"accounts": None}).all()
        parameters = {"counted": COUNTED, "since": as_of - DAY, "as_of": as_of}
        sends: dict[int, list[tuple[datetime, str]]] = {}
        for row in connection.execute(text(_SENDS), parameters):
            sends.setdefault(row.account_id, []).append((row.at, row.lane))
    views: dict[int, AccountView] = {}
    for row in rows:
        view = _view(row, tuple(sends.get(row.account_id, ())))
        held = views.get(row.company_id)
        if held is None or (_idle(held, as_of) and not _idle(view, as_of)):
            views[row.company_id] = view
    return views


def _idle(view: AccountView, as_of: datetime) -> bool:
    """Whether nothing may go out from the account, whatever has been sent."""
    return bool(view.objection or refusal(view.health, as_of))


def all_accounts(database: Database) -> list[AccountView]:
    """Every account as it is now, without its sends, by company and preference."""
    with database.begin() as connection:
        return [_view(row, ()) for row in connection.execute(text(_ACCOUNTS), {"accounts": None})]


def planning_frames(views: Mapping[int, AccountView]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The frames `accounts` (company_id, has_lanes, objection and health) and `recent` (company_id, at, lane) that `plan_day` takes."""
    instant = pl.Datetime("us", "UTC")
    accounts_schema: FrameSchema = {
        "company_id": pl.Int64, "has_lanes": pl.Boolean, "objection": pl.String, "state": pl.String, "first_sent_at": instant, "level_reset_at": instant,
        "paused_until": instant, "cold_lane_off_until": instant, "limit_override": pl.Int64, "spam_score": pl.Float64,
        "ban_count": pl.Int64, "quality": pl.String,
    }  # fmt: skip
    ordered = [views[company] for company in sorted(views)]
    accounts = [
        {"company_id": view.company_id, "has_lanes": view.has_lanes, "objection": view.objection, **asdict(view.health)}
        for view in ordered
    ]
    recent = [{"company_id": view.company_id, "at": at, "lane": lane} for view in ordered for at, lane in view.sends]
    recent_schema: FrameSchema = {"company_id": pl.Int64, "at": instant, "lane": pl.String}
    return pl.DataFrame(accounts, schema=accounts_schema), pl.DataFrame(recent, schema=recent_schema)


def account_views(connection: Connection, account_ids: Collection[int]) -> dict[int, AccountView]:
    """The accounts as they are now, by id, without their sends."""
    rows = connection.execute(text(_ACCOUNTS), {"accounts": list(account_ids)})
    return {row.account_id: _view(row, ()) for row in rows}


def record_signal(
    connection: Connection, account_id: int, signal: Signal, at: datetime, detail: Mapping[str, Any] | None = None
) -> AccountHealth:
    """Let a signal change the account's health, keep it in the history and alert people. Returns the new health.

    A number that has never sent cannot have been banned for sending: pairing a new number looks just like losing one, and is ignored.
    """
    row = connection.execute(
        text("SELECT * FROM channel_accounts WHERE account_id = :account FOR UPDATE"), {"account": account_id}
    ).one()
    before = _health(row)
    if signal is Signal.BANNED and before.first_sent_at is None:
        return before
    after = apply_signal(before, signal, at)
    if after == before and signal in (Signal.RECOVERED, Signal.RESUMED):
        return before  # every reconnection says so: no news
    connection.execute(update(Account).where(Account.account_id == account_id).values(**asdict(after)))
    connection.execute(
        insert(AccountEvent).values(account_id=account_id, at=at, kind=signal, detail=dict(detail or {}))
    )
    if signal in _ALERTS:
        message = f"{_ALERTS[signal]} (company {row.company_id}, {row.channel})"
        raise_alert(connection, f"account_{signal}", f"account_{signal}:{account_id}", message, at, row.company_id)
    return after


_ALERTS = {
    Signal.BANNED: "The number is logged out or banned: nothing is sent until it works again. Pair it anew.",
    Signal.SPAM_RATE: "The messenger limits the number: no messages for 72 hours.",
    Signal.QUALITY_RED: "The messenger rates the number's quality as low: nothing is sent until it rates it better.",
    Signal.RESTRICTED: "The messenger has restricted the number: nothing is sent until someone has settled that and resumes it.",
    Signal.REFUSED: "The messenger refuses the number (access, payment or registration): nothing is sent for an hour.",
}


def _view(row: Row[Any], sends: tuple[tuple[datetime, str], ...]) -> AccountView:
    try:
        window = window_of(row._asdict())
    except (ValueError, TypeError):  # no settings, or settings that make no window: never open
        window = None
    return AccountView(
        account_id=row.account_id,
        company_id=row.company_id,
        channel=row.channel,
        session=row.session,
        enabled=bool(row.enabled) and row.crm_status == "active",
        health=_health(row),
        daily_limit_mode=row.daily_limit_mode or "unknown",
        manual_daily_limit=row.manual_daily_limit,
        window=window,
        business_id=row.business_id,
        clients_a_day=row.clients_a_day,
        new_chats_left=row.new_chats_left,
        objection=company_objection(row.channel, row.country, row.accepted_risks)
        if row.has_basis
        else "no_consent_basis",
        preference=row.preference,
        sends=sends,
    )


def _health(row: Row[Any]) -> AccountHealth:
    return AccountHealth(**{name: getattr(row, name) for name in _HEALTH})
