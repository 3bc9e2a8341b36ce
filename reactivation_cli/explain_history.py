"""What the database says of a client's campaigns: the day's plan, the account's limits, what was sent and answered.

What to add here: something read back for an explanation. What to keep out: what follows from rules (explain.py).
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import text

from reactivation_cli.explanation import AccountLimits, CampaignHistory, Event, PlanRow, Reply
from reactivation_core.account_health import cold_lane_open, cold_lane_quota, refusal, warmup_level
from reactivation_core.sending_window import SendingWindow
from reactivation_resources.accounts import account_states
from reactivation_resources.platform import Platform

_DAY = timedelta(hours=24)
_DEFERRED = {
    "daily_limit": "the number's daily limit was used up by clients before this one",
    "hourly_limit": "the number's hourly limit left no time for it today",
    "window_closed": "the salon's sending hours had no time left",
    "cold_lane_full": "the quota for people who never wrote to the number was used up",
    "cold_lane_off": "the number may not write to people who never wrote to it",
    "no_account": "the salon has no sending number",
    "account_stopped": "the sending number is stopped",
    "account_paused": "the sending number is paused",
    "no_settings": "the salon has no settings",
    "invalid_settings": "the salon's settings make no sending window",
}
_CAMPAIGNS = text(
    "SELECT campaign_id::text, day, episode_no, attempt_number, status, completion_reason, next_attempt_at, text_template, message_text"
    " FROM reactivation_campaigns WHERE company_id = :company AND client_id = :client AND day <= :day"
    " ORDER BY episode_no, attempt_number"
)
_EVENTS = text(
    "SELECT e.campaign_id::text, e.at, e.event, e.to_status, e.detail FROM campaign_events e JOIN reactivation_campaigns c USING (campaign_id)"
    " WHERE c.company_id = :company AND c.client_id = :client ORDER BY e.at, e.event_id"
)
_REPLIES = text(
    "SELECT r.received_at, r.campaign_id::text, r.response_type, r.intent, r.layer, i.body"
    " FROM client_responses r JOIN inbox i USING (inbox_id) WHERE r.company_id = :company AND r.client_id = :client"
    " ORDER BY r.received_at, r.inbox_id"
)


def plan_of(
    platform: Platform, company: int, client: int, day: date, decision: str, zone: ZoneInfo
) -> tuple[PlanRow | None, str]:
    """The client's row in the day's plan, and a sentence about it or about why there is none."""
    plan = platform.campaign_log.plan(day).filter(pl.col("company_id") == company, pl.col("client_id") == client)
    if plan.is_empty():
        return None, _unplanned(platform, company, day, decision)
    row = plan.row(0, named=True)
    at = None if row["send_after"] is None else row["send_after"].astimezone(zone)
    if row["decision"] == "deferred":
        words = f"deferred to another day: {_DEFERRED.get(row['reason'], row['reason'])}"
    elif row["decision"] == "held_out":
        words = (
            f"held out: counted from {at:%Y-%m-%d %H:%M} as if messaged, but not messaged, to measure what messages do"
        )
    else:
        words = f"planned to be sent after {at:%Y-%m-%d %H:%M}"
    found = PlanRow(
        decision=row["decision"],
        reason=row["reason"],
        words=words,
        campaign_id=row["campaign_id"],
        episode_no=row["episode_no"],
        attempt_number=row["attempt_number"],
        discount_percent=row["discount_percent"],
        lane=row["lane"],
        send_after=at,
    )
    return found, words


def _unplanned(platform: Platform, company: int, day: date, decision: str) -> str:
    if company not in platform.campaign_log.planned_companies(day):
        when = "has not been run yet" if day == platform.calendar.today() else "was never run on its own date"
        return f"nobody of this salon was planned: the day {when}, or the salon was disabled"
    if decision == "eligible":
        return "not in the plan, which was made before the data that make the client eligible arrived"
    return "not in the plan: only eligible clients are"


def limits_of(platform: Platform, company: int, as_of: datetime) -> AccountLimits | None:
    """The limits of the company's number at `as_of`; None without a number."""
    view = account_states(platform.database, as_of).get(company)
    if view is None:
        return None
    settings = platform.settings
    limits = view.limits(as_of, settings.reactivation_daily_limit, settings.reactivation_hourly_limit)
    return AccountLimits(
        account_id=view.account_id,
        channel=view.channel,
        refusal=refusal(view.health, as_of),
        level=warmup_level(view.health, as_of),
        daily=limits.daily,
        hourly=limits.hourly,
        min_gap_s=limits.min_gap_s,
        cold_quota=cold_lane_quota(limits) if view.has_lanes else limits.daily,
        cold_open=cold_lane_open(view.health, as_of),
        spam_score=view.health.spam_score,
        sent_24h=sum(1 for at, _ in view.sends if as_of - _DAY < at <= as_of),
        window=_window_words(view.window, as_of),
    )


def _window_words(window: SendingWindow | None, as_of: datetime) -> str:
    if window is None:
        return "the settings make no sending window"
    day = as_of.astimezone(window.zone).date()
    opening = window.opening(day)
    if opening is None:
        return f"closed on {day.isoformat()} (weekday, holiday or hours)"
    opens, closes = (instant.astimezone(window.zone) for instant in opening)
    return f"open {opens:%H:%M} to {closes:%H:%M} on {day.isoformat()}"


def campaigns_of(
    platform: Platform, company: int, client: int, day: date, zone: ZoneInfo
) -> tuple[CampaignHistory, ...]:
    """The client's campaigns planned up to `day`, oldest first, with all that happened to them since."""
    query = {"company": company, "client": client, "day": day}
    with platform.database.begin() as connection:
        campaigns = connection.execute(_CAMPAIGNS, query).all()
        events: dict[str, list[Event]] = {}
        for row in connection.execute(_EVENTS, query):
            happened = Event(row.at.astimezone(zone), row.event, row.to_status, row.detail)
            events.setdefault(row.campaign_id, []).append(happened)
    return tuple(
        CampaignHistory(
            campaign_id=row.campaign_id,
            day=row.day,
            episode_no=row.episode_no,
            attempt_number=row.attempt_number,
            status=row.status,
            completion_reason=row.completion_reason,
            next_attempt_at=row.next_attempt_at.astimezone(zone) if row.next_attempt_at else None,
            text_template=row.text_template,
            message_text=row.message_text,
            events=tuple(events.get(row.campaign_id, ())),
        )
        for row in campaigns
    )


def replies_of(platform: Platform, company: int, client: int, zone: ZoneInfo) -> tuple[Reply, ...]:
    """What the client wrote and how it was understood, oldest first."""
    with platform.database.begin() as connection:
        rows = connection.execute(_REPLIES, {"company": company, "client": client}).all()
    return tuple(
        Reply(row.received_at.astimezone(zone), row.campaign_id, row.response_type, row.intent, row.layer, row.body)
        for row in rows
    )
