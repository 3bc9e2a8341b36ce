"""May this go out now? What the database says of accounts and campaigns, asked under the accounts' locks, for many at once.

What to add here: conditions for sending. What to keep out: acting on the answer (outbox.py). Whatever is missing, unreadable or not
understood means no.

A message reaches the channel some time after `sending_at`, and before its answer (`sent_at`) or the longest wait for one. Limits count it
until the later end, so that they hold where the messages arrive, and not only in our own book.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, Row, text

from reactivation_core.account_health import Limits, cold_lane_open, cold_lane_quota, refusal
from reactivation_core.channel_policy import phone_objection
from reactivation_core.sending_window import LAST_CALL
from reactivation_resources.accounts import COUNTED, DAY, AccountView, account_views
from reactivation_resources.campaign_moves import LONGEST_ANSWER

HOUR = timedelta(minutes=60)
CONTACT_GAP = timedelta(days=7)

# When a message had certainly arrived.
_ARRIVED = "greatest(sending_at, coalesce(sent_at, sending_at + :longest_answer))"
_USAGE = f"""
SELECT a.account_id, sent.in_day, sent.in_hour, sent.cold_in_day, sent.last_at, held.claimed, held.claimed_until, held.under_way
FROM unnest(CAST(:accounts AS bigint[])) AS a(account_id)
CROSS JOIN LATERAL (
  SELECT count(*) AS in_day, count(*) FILTER (WHERE {_ARRIVED} > :hour) AS in_hour,
         count(*) FILTER (WHERE lane = 'cold') AS cold_in_day, max({_ARRIVED}) AS last_at
  FROM reactivation_campaigns c
  WHERE c.account_id = a.account_id AND sending_at > :earliest AND status = ANY(:counted) AND {_ARRIVED} > :day
) sent
CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE status = 'claimed' AND lease_until > :now AND campaign_id <> ALL(:besides)) AS claimed,
         max(lease_until) FILTER (WHERE status = 'claimed' AND lease_until > :now AND campaign_id <> ALL(:besides)) AS claimed_until,
         count(*) FILTER (WHERE status = 'sending') AS under_way
  FROM reactivation_campaigns c WHERE c.account_id = a.account_id AND status IN ('claimed', 'sending')
) held
"""  # noqa: S608 - our own words
# The instant at which one of the `place` latest sends leaves the span.
_ROOM_AGAIN = f"""
SELECT l.account_id, l.reason, (
  SELECT {_ARRIVED} + l.span FROM reactivation_campaigns c
  WHERE c.account_id = l.account_id AND sending_at > :earliest AND status = ANY(:counted)
  ORDER BY {_ARRIVED} DESC OFFSET l.place - 1 LIMIT 1) AS until
FROM unnest(CAST(:accounts AS bigint[]), CAST(:reasons AS text[]), CAST(:places AS int[]), CAST(:spans AS interval[]))
  AS l(account_id, reason, place, span)
"""  # noqa: S608 - our own words
_BUSINESS_USAGE = """
SELECT a.business_id, min(a.clients_a_day) AS allowed, (
  SELECT count(DISTINCT c.phone) FROM reactivation_campaigns c JOIN channel_accounts o USING (account_id)
  WHERE o.business_id = a.business_id AND c.sending_at > :earliest AND c.status = ANY(:counted)) AS used
FROM channel_accounts a WHERE a.business_id = ANY(:businesses) AND a.clients_a_day IS NOT NULL GROUP BY a.business_id
"""
# The ledger's latest word on a client is stronger than the CRM's; without either the salon's general basis holds (see `standings`).
_OBJECTIONS = """
SELECT c.campaign_id, c.phone, a.channel, cl.client_id IS NULL OR cl.deleted AS deleted, cl.blacklisted, cl.mailing_refused,
  coalesce((SELECT granted FROM consents k WHERE k.company_id = c.company_id AND k.client_id = c.client_id AND k.purpose = 'marketing'
            ORDER BY k.at DESC, k.consent_id DESC LIMIT 1),
           cl.consent, true) AS consent,
  EXISTS (SELECT FROM suppressions s WHERE s.company_id = c.company_id AND s.phone IN (c.phone, cl.phone)
          AND (s.lifted_at IS NULL OR s.lifted_at > :now)) AS opted_out,
  EXISTS (SELECT FROM pauses p WHERE p.company_id = c.company_id AND p.client_id = c.client_id AND p.until > :now) AS paused,
  EXISTS (SELECT FROM record_lines r WHERE r.company_id = c.company_id AND r.client_id = c.client_id AND NOT r.deleted
          AND (r.created_at > c.planned_at OR (r.starts_at > c.planned_at AND r.status IN ('booked', 'confirmed', 'attended')))) AS booked,
  (SELECT max(o.sending_at) FROM reactivation_campaigns o
   WHERE o.company_id = c.company_id AND (o.phone = c.phone OR o.client_id = c.client_id) AND o.campaign_id <> c.campaign_id
     AND o.status = ANY(:counted) AND o.status <> 'failed' AND o.sending_at > :since) AS contacted_at
FROM reactivation_campaigns c JOIN companies co USING (company_id) LEFT JOIN channel_accounts a USING (account_id)
LEFT JOIN clients cl ON (cl.company_id, cl.client_id) = (c.company_id, c.client_id)
WHERE c.campaign_id = ANY(:campaigns)
"""
_IN_THE_WAY = ("opted_out", "paused", "mailing_refused", "blacklisted", "booked")


class Caps(NamedTuple):
    """The platform's own limits of every account, per 24 h and per 60 min; None for none."""

    daily: int | None = None
    hourly: int | None = None


NO_CAPS = Caps()


@dataclass(frozen=True, slots=True)
class Standing:
    """How many more messages an account may send now.

    Attributes:
        reason: Why none, or "".
        until: When to ask again, None when nobody can say.
        room: How many; 0 with a reason.
        cold: How many of them may go to clients who never wrote to the number.
    """

    account: AccountView | None
    reason: str = ""
    until: datetime | None = None
    room: int = 0
    cold: int = 0


def standings(
    connection: Connection,
    account_ids: Collection[int],
    now: datetime,
    *,
    besides: Sequence[UUID] = (),
    caps: Caps = NO_CAPS,
) -> dict[int, Standing]:
    """What each account may send at `now`, counted from the campaign log; claims of the campaigns `besides` hold nobody up."""
    found: dict[int, Standing] = {}
    limits: dict[int, tuple[AccountView, Limits]] = {}
    views = account_views(connection, account_ids)
    for account_id in account_ids:
        account = views.get(account_id)
        found[account_id] = _in_principle(account, now)
        if account is not None and not found[account_id].reason:
            limits[account_id] = (account, account.limits(now, caps.daily, caps.hourly))
    if not limits:
        return found
    query = _spans(now) | {"accounts": list(limits), "besides": list(besides)}
    full: list[tuple[int, str, int, timedelta]] = []
    for usage in connection.execute(text(_USAGE), query):
        account, of_account = limits[usage.account_id]
        found[usage.account_id] = _room(account, of_account, usage, now)
        reason = found[usage.account_id].reason
        if reason == "daily_limit" and of_account.daily:
            full.append((usage.account_id, reason, of_account.daily, DAY))
        if reason == "hourly_limit" and of_account.hourly:
            full.append((usage.account_id, reason, of_account.hourly, HOUR))
    for account_id, until in _room_again(connection, full, now):
        found[account_id] = replace(found[account_id], until=until)
    return _within_businesses(connection, found, now)


def _in_principle(account: AccountView | None, now: datetime) -> Standing:
    """What does not depend on what has been sent."""
    if account is None or not account.enabled:
        return Standing(account, "no_account" if account is None else "company_disabled")
    if account.objection:
        return Standing(account, account.objection)
    if reason := refusal(account.health, now):
        return Standing(account, reason, account.health.paused_until)
    window = account.window
    if window is None or not (window.is_open(now) and window.is_open(now + LAST_CALL)):
        opens = None if window is None else window.next_open(now + LAST_CALL if window.is_open(now) else now)
        return Standing(account, "window_closed", opens)
    return Standing(account)


def _spans(now: datetime) -> dict[str, Any]:
    return {
        "now": now, "day": now - DAY, "hour": now - HOUR, "earliest": now - DAY - LONGEST_ANSWER * 10, "counted": COUNTED,
        "longest_answer": LONGEST_ANSWER,
    }  # fmt: skip


def _room(account: AccountView, limits: Limits, usage: Row[Any], now: datetime) -> Standing:
    """Which limit is reached, or how much all of them leave. With a minimum gap, one message at a time is on its way."""
    gap = timedelta(seconds=limits.min_gap_s)
    if gap and usage.claimed:
        return Standing(account, "claimed_elsewhere", usage.claimed_until)
    on_the_way = usage.claimed  # `sending` is among the sent already
    room = {
        "daily_limit": limits.daily - usage.in_day - on_the_way,
        "hourly_limit": limits.hourly - usage.in_hour - on_the_way,
        "concurrent_limit": limits.concurrent - usage.under_way - on_the_way,
    }
    for reason, left in room.items():
        if left <= 0:
            return Standing(account, reason)
    if gap and usage.under_way:
        return Standing(account, "min_gap")  # when its answer is there, the gap begins
    if gap and usage.last_at is not None and usage.last_at + gap > now:
        return Standing(account, "min_gap", usage.last_at + gap)
    left = 1 if gap else min(room.values())
    if not account.has_lanes:
        return Standing(account, room=left, cold=left)
    quota = cold_lane_quota(limits) - usage.cold_in_day if cold_lane_open(account.health, now) else 0
    if account.new_chats_left is not None:
        quota = min(quota, account.new_chats_left)
    return Standing(account, room=left, cold=max(0, min(left, quota)))


def _room_again(
    connection: Connection, full: Sequence[tuple[int, str, int, timedelta]], now: datetime
) -> Iterable[tuple[int, datetime | None]]:
    if not full:
        return []
    accounts, reasons, places, spans = (list(column) for column in zip(*full, strict=True))
    query = _spans(now) | {"accounts": accounts, "reasons": reasons, "places": places, "spans": spans}
    return [(row.account_id, row.until) for row in connection.execute(text(_ROOM_AGAIN), query)]


def _within_businesses(connection: Connection, found: dict[int, Standing], now: datetime) -> dict[int, Standing]:
    """Numbers of one business share its limit of different clients: the first ones have what is left of it."""
    ready = {
        key: one for key, one in found.items() if one.room and one.account and one.account.clients_a_day is not None
    }
    businesses = sorted({one.account.business_id for one in ready.values() if one.account and one.account.business_id})
    if not businesses:
        return found
    query = _spans(now) | {"businesses": businesses}
    left = {row.business_id: row.allowed - row.used for row in connection.execute(text(_BUSINESS_USAGE), query)}
    for account_id, one in ready.items():
        business = one.account.business_id if one.account else None
        if business is None or business not in left:
            continue
        share = max(0, min(one.room, left[business]))
        left[business] -= share
        found[account_id] = (
            replace(one, room=share, cold=min(one.cold, share)) if share else Standing(one.account, "business_limit")
        )
    return found


@dataclass(frozen=True, slots=True)
class Objection:
    """Why a campaign must not go out: for good, or not before `until`."""

    reason: str
    until: datetime | None = None


def objections(connection: Connection, campaign_ids: Collection[UUID], now: datetime) -> Mapping[UUID, Objection]:
    """What stands against each of these campaigns; campaigns that may go out are not in it.

    For good: opted_out, paused, no_consent, mailing_refused, blacklisted, deleted, booked, country_not_served. For a while: contacted_recently.
    """
    query = {"campaigns": list(campaign_ids), "now": now, "counted": COUNTED, "since": now - CONTACT_GAP}
    found: dict[UUID, Objection] = {}
    for row in connection.execute(text(_OBJECTIONS), query):
        if reason := _for_good(row) or phone_objection(row.channel or "", row.phone):
            found[row.campaign_id] = Objection(reason)
        elif row.contacted_at is not None:
            found[row.campaign_id] = Objection("contacted_recently", row.contacted_at + CONTACT_GAP)
    return found


def _for_good(row: Row[Any]) -> str:
    if row.deleted:
        return "deleted"
    if not row.consent and not row.opted_out and not row.paused:
        return "no_consent"
    return next((name for name in _IN_THE_WAY if getattr(row, name)), "")
