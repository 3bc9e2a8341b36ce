"""Closes what has run its course: episodes that ended in a booking, and attempts nobody answered.

An episode is one period of inactivity of one client. It ends with a booking or visit by any route (`converted` when the record was created
within the attribution window, else `cancelled`), with an opt-out or a refusal (responses.py), or with its last attempt (`max_attempts`).
Every date written is the moment the fact became true, not the moment of the run, so that a late run writes what a punctual one would have.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

ATTRIBUTION_DAYS = 7
REPLY_WINDOW_DAYS = 7

# The last campaign of every open episode, with the moment it was sent or, held out, would have been sent.
_LAST = """
WITH last AS (
  SELECT c.*, CASE WHEN held_out THEN send_after ELSE coalesce(sent_at, sending_at) END AS anchor
  FROM reactivation_campaigns c
  WHERE completion_reason IS NULL AND status NOT IN ('planned', 'claimed', 'sending')
    AND NOT EXISTS (SELECT FROM reactivation_campaigns n WHERE (n.company_id, n.client_id) = (c.company_id, c.client_id)
                    AND (n.episode_no, n.attempt_number) > (c.episode_no, c.attempt_number))
)
"""

_NEVER_SENT = """
UPDATE reactivation_campaigns c SET completion_reason = 'cancelled', completed_at = greatest(c.send_after, least(c.expires_at, :as_of))
FROM last WHERE c.campaign_id = last.campaign_id AND last.status IN ('cancelled', 'expired')
"""

_BOOKED = """
UPDATE reactivation_campaigns c SET
  completion_reason = CASE WHEN b.created_at <= last.anchor + make_interval(days => :window) THEN 'converted' ELSE 'cancelled' END,
  completed_at = b.created_at,
  booked_record_id = CASE WHEN b.created_at <= last.anchor + make_interval(days => :window) THEN b.record_id END,
  booked_at = CASE WHEN b.created_at <= last.anchor + make_interval(days => :window) THEN b.created_at END,
  response_type = CASE WHEN b.created_at <= last.anchor + make_interval(days => :window)
                       THEN 'booking_created' ELSE c.response_type END
FROM last CROSS JOIN LATERAL (
  SELECT record_id, created_at FROM record_lines r
  WHERE (r.company_id, r.client_id) = (last.company_id, last.client_id) AND r.created_at >= last.anchor AND r.created_at <= :as_of
    AND NOT r.deleted AND r.status <> 'cancelled'
  ORDER BY created_at, record_id LIMIT 1
) b
WHERE c.campaign_id = last.campaign_id AND last.anchor <= :as_of
"""

_UNANSWERED = """
UPDATE reactivation_campaigns c SET response_type = 'no_response'
WHERE response_type IS NULL AND completion_reason IS NULL AND responded_at IS NULL
  AND status IN ('accepted', 'delivered', 'read', 'unknown', 'held_out')
  AND CASE WHEN held_out THEN send_after ELSE coalesce(sent_at, sending_at) END + make_interval(days => :window) <= :as_of
"""

# A reply without a booking keeps the episode open for its promised time; a failed message waits for the next attempt like an unanswered one.
_LAST_ATTEMPT = """
UPDATE reactivation_campaigns c SET completion_reason = 'max_attempts', completed_at = e.ended
FROM last CROSS JOIN LATERAL (
  SELECT greatest(coalesce(last.anchor, last.failed_at, last.send_after) + make_interval(days => :window), last.open_until) AS ended
) e
WHERE c.campaign_id = last.campaign_id AND last.attempt_number >= last.max_attempts AND e.ended <= :as_of
"""

_NEXT_ATTEMPT = """
UPDATE reactivation_campaigns c SET next_attempt_at = greatest(
    coalesce(last.anchor, last.failed_at, last.send_after) + make_interval(days => greatest(:window, last.retry_interval_days)),
    last.open_until)
FROM last
WHERE c.campaign_id = last.campaign_id AND last.attempt_number < last.max_attempts AND last.next_attempt_at IS NULL
  AND coalesce(last.anchor, last.failed_at, last.send_after) <= :as_of
"""


@dataclass(frozen=True)
class Settled:
    """How many campaigns a settling changed, by what happened to them."""

    booked: int
    unanswered: int
    exhausted: int
    never_sent: int
    dated: int


def settle_episodes(connection: Connection, as_of: datetime) -> Settled:
    """Write what has become true of the campaigns by `as_of`; running it again with the same instant changes nothing."""
    days = {"as_of": as_of, "window": REPLY_WINDOW_DAYS}

    def run(statement: str, **parameters: object) -> int:
        return connection.execute(text(statement), parameters).rowcount

    return Settled(
        never_sent=run(_LAST + _NEVER_SENT, as_of=as_of),
        booked=run(_LAST + _BOOKED, as_of=as_of, window=ATTRIBUTION_DAYS),
        unanswered=run(_UNANSWERED, **days),
        exhausted=run(_LAST + _LAST_ATTEMPT, **days),
        dated=run(_LAST + _NEXT_ATTEMPT, **days),
    )
