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

# The last campaign of every client, while its episode is open, with the moment it was sent or, held out, would have been sent (`anchor`),
# the moment from which a booking speaks against it (`base`), and the end of its reply window, or of its dialog if that is later (`ends_at`).
# A message that failed waits for the next attempt like an unanswered one.
_LAST = """
WITH last AS (
  SELECT c.*, CASE WHEN held_out THEN planned_at ELSE anchor END AS base,
         greatest(anchor + make_interval(days => :window), open_until) AS ends_at
  FROM (SELECT *, CASE WHEN held_out THEN send_after ELSE coalesce(sent_at, sending_at, failed_at) END AS anchor FROM reactivation_campaigns) c
  WHERE (completion_reason IS NULL OR (completion_reason = 'cancelled' AND intent = 'already_booked' AND booked_record_id IS NULL))
    AND status NOT IN ('planned', 'claimed', 'sending', 'cancelled', 'expired') AND anchor <= :as_of
    AND NOT EXISTS (SELECT FROM reactivation_campaigns n WHERE (n.company_id, n.client_id) = (c.company_id, c.client_id)
                    AND (n.episode_no, n.attempt_number) > (c.episode_no, c.attempt_number))
)
"""

_NEVER_SENT = """
UPDATE reactivation_campaigns SET completion_reason = 'cancelled', completed_at = expires_at
WHERE status = 'expired' AND completion_reason IS NULL AND expires_at <= :as_of
"""

# Any record ends the episode that was made after the message, or lies after it although it had been made before (the mirror learnt of it
# late). Only one made within the window after a message that went out converts it. A held-out client who books between the plan and the
# moment of the send would not have been written to, so that ends the episode as well. What happened first counts: an episode that was
# over before the booking stays over. A client who said to have booked is believed once the CRM shows it.
_BOOKED = """
UPDATE reactivation_campaigns c SET
  completion_reason = CASE WHEN b.converts THEN 'converted' ELSE 'cancelled' END,
  completed_at = b.at,
  booked_record_id = CASE WHEN b.converts THEN b.record_id END,
  booked_at = CASE WHEN b.converts THEN b.at END,
  response_type = CASE WHEN b.converts THEN 'booking_created' ELSE c.response_type END,
  context_synced_at = NULL
FROM last CROSS JOIN LATERAL (
  SELECT record_id, greatest(min(created_at), last.base) AS at,
         min(created_at) BETWEEN last.anchor AND last.anchor + make_interval(days => :attribution)
           AND NOT (last.status = 'failed' AND last.sent_at IS NULL) AS converts
  FROM record_lines r
  WHERE (r.company_id, r.client_id) = (last.company_id, last.client_id) AND r.created_at <= :as_of AND NOT r.deleted
    AND r.status <> 'cancelled' AND (r.created_at >= last.base OR r.starts_at > last.anchor)
  GROUP BY record_id ORDER BY at, record_id LIMIT 1
) b
WHERE c.campaign_id = last.campaign_id
  AND CASE WHEN last.completion_reason IS NULL THEN last.attempt_number < last.max_attempts OR b.at <= last.ends_at
           ELSE b.converts AND b.at <= last.completed_at END
"""

_UNANSWERED = """
UPDATE reactivation_campaigns c SET response_type = 'no_response'
FROM (SELECT campaign_id, CASE WHEN held_out THEN send_after ELSE coalesce(sent_at, sending_at) END + make_interval(days => :window) AS ends_at
      FROM reactivation_campaigns
      WHERE response_type IS NULL AND responded_at IS NULL AND status IN ('accepted', 'delivered', 'read', 'unknown', 'held_out')) u
WHERE c.campaign_id = u.campaign_id AND u.ends_at <= :as_of AND (c.completed_at IS NULL OR c.completed_at >= u.ends_at)
"""

_LAST_ATTEMPT = """
UPDATE reactivation_campaigns c SET completion_reason = 'max_attempts', completed_at = last.ends_at
FROM last
WHERE c.campaign_id = last.campaign_id AND last.completion_reason IS NULL AND last.attempt_number >= last.max_attempts
  AND last.ends_at <= :as_of
"""

_NEXT_ATTEMPT = """
UPDATE reactivation_campaigns c SET
  next_attempt_at = greatest(last.anchor + make_interval(days => greatest(:window, last.retry_interval_days)), last.open_until)
FROM last
WHERE c.campaign_id = last.campaign_id AND last.completion_reason IS NULL AND last.attempt_number < last.max_attempts
  AND last.next_attempt_at IS NULL
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
    parameters = {"as_of": as_of, "window": REPLY_WINDOW_DAYS, "attribution": ATTRIBUTION_DAYS}

    def run(statement: str) -> int:
        return connection.execute(text(statement), parameters).rowcount

    return Settled(
        dated=run(_LAST + _NEXT_ATTEMPT),
        never_sent=run(_NEVER_SENT),
        booked=run(_LAST + _BOOKED),
        unanswered=run(_UNANSWERED),
        exhausted=run(_LAST + _LAST_ATTEMPT),
    )
