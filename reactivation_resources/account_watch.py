"""Watches over the sending numbers: what their channels say, how their sends were received, what of their limits is used.

What to add here: looking at many accounts and writing down what was found. What to keep out: what a finding means
(`reactivation_core.account_health`) and the effect of a signal (accounts.py).
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from sqlalchemy import Connection, Row, insert, text

from reactivation_core.account_health import (
    HALVE_ABOVE,
    STOP_ABOVE,
    Signal,
    cold_lane_quota,
    refusal,
    spam_score,
    warmup_level,
)
from reactivation_resources.accounts import COUNTED, DAY, AccountView, all_accounts, record_signal
from reactivation_resources.alerts import raise_alert
from reactivation_resources.channels.base import AccountStatus, Channel
from reactivation_resources.database.engine import Database, FrameSchema
from reactivation_resources.database.models import AccountEvent
from reactivation_resources.sending_checks import NO_CAPS, Caps

log = logging.getLogger(__name__)

SCORED_SENDS = 100
ASKED_EVERY = timedelta(minutes=10)
_AT_ONCE = 8
INCIDENTS = (
    Signal.BANNED, Signal.SPAM_RATE, Signal.QUALITY_RED, Signal.RESTRICTED, Signal.REFUSED, Signal.PAUSED,
)  # fmt: skip
"""Events of the history that stop or limit a number."""

# Sends before an admin's reset are forgiven.
_SCORED = """
SELECT a.account_id, a.company_id, a.spam_score, count(c.at) AS sends, max(c.at) AS last_at,
       count(*) FILTER (WHERE c.status = 'failed') AS failed, count(*) FILTER (WHERE c.replied) AS replies,
       count(*) FILTER (WHERE c.opted_out) AS optouts
FROM channel_accounts a
LEFT JOIN LATERAL (SELECT max(at) AS at FROM account_events e WHERE e.account_id = a.account_id AND e.kind = 'reset') r ON true
LEFT JOIN LATERAL (
  SELECT s.sending_at AS at, s.status, s.responded_at <= :now AS replied,
         EXISTS (SELECT FROM suppressions o WHERE o.company_id = s.company_id AND o.phone = s.phone AND o.reason = 'opted_out'
                 AND o.at >= s.sending_at AND o.at <= :now) AS opted_out
  FROM reactivation_campaigns s
  WHERE s.account_id = a.account_id AND s.status = ANY(:counted) AND s.sending_at <= :now AND (r.at IS NULL OR s.sending_at > r.at)
  ORDER BY s.sending_at DESC LIMIT :scored
) c ON true
WHERE CAST(:accounts AS bigint[]) IS NULL OR a.account_id = ANY(:accounts)
GROUP BY a.account_id ORDER BY a.account_id
"""

_STORE_SCORES = """
UPDATE channel_accounts a SET spam_score = s.score
FROM unnest(CAST(:accounts AS bigint[]), CAST(:scores AS float8[])) AS s(account_id, score) WHERE a.account_id = s.account_id
"""
_STORE_STATUSES = """
UPDATE channel_accounts a SET quality = coalesce(s.quality, a.quality), clients_a_day = s.clients_a_day,
       new_chats_left = s.new_chats_left, checked_at = :now
FROM unnest(CAST(:accounts AS bigint[]), CAST(:qualities AS text[]), CAST(:clients AS bigint[]), CAST(:chats AS bigint[]))
  AS s(account_id, quality, clients_a_day, new_chats_left)
WHERE a.account_id = s.account_id
"""
_TO_ASK = """
SELECT a.account_id, a.channel, a.session FROM channel_accounts a JOIN reactivation_settings s USING (company_id)
WHERE s.enabled AND a.channel = ANY(:channels) AND (a.checked_at IS NULL OR a.checked_at <= :since) ORDER BY a.account_id
"""
_INCIDENTS = """
SELECT e.event_id, e.account_id, a.company_id, a.channel, e.at, e.kind, e.detail
FROM account_events e JOIN channel_accounts a USING (account_id)
WHERE e.kind = ANY(:kinds) AND (CAST(:company AS bigint) IS NULL OR a.company_id = :company) ORDER BY e.event_id DESC LIMIT :limit
"""
_USED = """
SELECT account_id, count(*) AS sent_24h, count(*) FILTER (WHERE sending_at > %(hour)s) AS sent_60m,
       count(*) FILTER (WHERE lane = 'cold') AS cold_sent_24h
FROM reactivation_campaigns WHERE account_id IS NOT NULL AND sending_at > %(day)s AND status = ANY(%(counted)s) GROUP BY 1 ORDER BY 1
"""
_USED_SCHEMA: FrameSchema = {
    "account_id": pl.Int64, "sent_24h": pl.Int32, "sent_60m": pl.Int32, "cold_sent_24h": pl.Int32,
}  # fmt: skip


def refresh_health(database: Database, now: datetime) -> dict[int, float]:
    """Recompute every account's spam score from its last 100 sends; changes go to the history. Returns the scores by account."""
    with database.begin() as connection:
        return recount(connection, None, now)


def recount(connection: Connection, account_ids: Collection[int] | None, now: datetime) -> dict[int, float]:
    """`refresh_health` of these accounts, of all for None, inside a running transaction."""
    if account_ids is not None and not account_ids:
        return {}
    query = {
        "counted": COUNTED, "now": now, "scored": SCORED_SENDS, "accounts": None if account_ids is None else list(account_ids),
    }  # fmt: skip
    scores: dict[int, float] = {}
    changed: list[tuple[Row[Any], float]] = []
    for row in connection.execute(text(_SCORED), query):
        silence = now - row.last_at if row.last_at is not None else timedelta(0)
        score = round(spam_score(row.sends, row.optouts, row.failed, row.replies, since_last_send=silence), 4)
        scores[row.account_id] = score
        if score != row.spam_score:
            changed.append((row, score))
    if changed:
        accounts, found = [row.account_id for row, _ in changed], [score for _, score in changed]
        connection.execute(text(_STORE_SCORES), {"accounts": accounts, "scores": found})
        connection.execute(insert(AccountEvent), [_scored(row, score, now) for row, score in changed])
        for row, score in changed:
            _warn(connection, row, score, now)
    return scores


def _scored(row: Row[Any], score: float, now: datetime) -> dict[str, Any]:
    detail = {"score": score, "sends": row.sends, "optouts": row.optouts, "failed": row.failed, "replies": row.replies}
    return {"account_id": row.account_id, "at": now, "kind": "score", "detail": detail}


def _warn(connection: Connection, row: Row[Any], score: float, now: datetime) -> None:
    """Alert people when the score has risen over a threshold."""
    for threshold, consequence in ((STOP_ABOVE, "sending has stopped"), (HALVE_ABOVE, "the daily limit is halved")):
        if score > threshold:
            if row.spam_score <= threshold:
                words = f"Spam score {score:.2f}: {consequence} (company {row.company_id})"
                key = f"spam_score:{row.account_id}:{threshold}"
                raise_alert(connection, "spam_score", key, words, now, row.company_id)
            return


# ---------------------------------------------------------------- what channels say


@dataclass(frozen=True, slots=True)
class Polled:
    """How many accounts were asked about, how many of them can send, and how often which signal was heard."""

    asked: int
    working: int
    signals: Mapping[str, int]


def poll_accounts(database: Database, channels: Mapping[str, Channel], now: datetime) -> Polled:
    """Ask the channels about every account of an enabled company that has not been asked about for ten minutes.

    Quality and limits are stored, signals take effect. A channel that does not answer changes nothing: what it may send is not known
    to have changed, and sends to it wait by themselves.
    """
    with database.begin() as connection:
        query = {"channels": list(channels), "since": now - ASKED_EVERY}
        accounts = connection.execute(text(_TO_ASK), query).all()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        statuses = list(pool.map(lambda row: _ask(channels[row.channel], row.session), accounts))
    told = [(row, status) for row, status in zip(accounts, statuses, strict=True) if status is not None]
    signals: Counter[str] = Counter()
    with database.begin() as connection:
        for row, status in told:
            if status.signal is not None:
                signals[status.signal] += 1
                record_signal(connection, row.account_id, status.signal, now, {"told": status.words})
        if told:
            connection.execute(
                text(_STORE_STATUSES),
                {
                    "now": now,
                    "accounts": [row.account_id for row, _ in told],
                    "qualities": [status.quality for _, status in told],
                    "clients": [status.clients_a_day for _, status in told],
                    "chats": [status.new_chats_left for _, status in told],
                },
            )
    return Polled(len(accounts), sum(status.working for _, status in told), signals)


def _ask(channel: Channel, session: str) -> AccountStatus | None:
    try:
        return channel.health(session)
    except Exception as error:  # one account's trouble is not another's
        log.warning("an account could not be asked about: %s", type(error).__name__)
        return None


# ---------------------------------------------------------------- what people see


def incidents(database: Database, company_id: int | None = None, limit: int = 50) -> list[Row[Any]]:
    """What has stopped or limited numbers, the latest first: account_id, company_id, channel, at, kind, detail."""
    query = {"kinds": [str(one) for one in INCIDENTS], "company": company_id, "limit": limit}
    with database.begin() as connection:
        return list(connection.execute(text(_INCIDENTS), query))


def health_frame(database: Database, now: datetime, caps: Caps = NO_CAPS) -> pl.DataFrame:
    """Every account as it stands at `now`: state, score, limits in force and what of them is used (contract `account_health`)."""
    from reactivation_core.contracts import CONTRACTS, empty_frame

    views = all_accounts(database)
    used = database.frame(_USED, _USED_SCHEMA, day=now - DAY, hour=now - timedelta(hours=1), counted=COUNTED)
    empty = empty_frame(CONTRACTS["account_health"])
    rows = [_standing(view, now, caps) for view in views]
    frame = pl.DataFrame(rows, schema={name: kind for name, kind in empty.schema.items() if name not in _USAGE})
    counts = [pl.col(name).fill_null(0) for name in _USAGE]
    return frame.join(used, on="account_id", how="left").with_columns(counts).select(empty.columns).sort("account_id")


_USAGE = ("sent_24h", "sent_60m", "cold_sent_24h")


def _standing(view: AccountView, now: datetime, caps: Caps) -> dict[str, Any]:
    limits = view.limits(now, caps.daily, caps.hourly)
    off = "" if view.enabled else "company_disabled"
    return {
        "account_id": view.account_id,
        "company_id": view.company_id,
        "channel": view.channel,
        "state": view.health.state,
        "refusal": off or view.objection or refusal(view.health, now),
        "level": warmup_level(view.health, now),
        "quality": view.health.quality,
        "spam_score": view.health.spam_score,
        "daily_limit": limits.daily,
        "hourly_limit": limits.hourly,
        "cold_limit": cold_lane_quota(limits) if view.has_lanes else limits.daily,
        "paused_until": view.health.paused_until,
        "ban_count": view.health.ban_count,
    }
