"""The parts of an explanation: why one client was or was not contacted on one day.

What to add here: a fact somebody asks for. What to keep out: finding it out (explain.py) and showing it (explain_screen.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime
from typing import Any

_ONLY_ON_SCREEN = frozenset({"name", "message_text", "words_of_client"})


@dataclass(frozen=True)
class Past:
    """The client's visits known at the as-of instant. Money in minor units; `segment` is given to due clients only."""

    visits: int
    first_visit: date | None
    last_visit: date | None
    days_since_any: int | None
    spent_minor: int
    currency: str
    loyalty: int
    segment: str | None
    upcoming_at: datetime | None


@dataclass(frozen=True)
class RuleFinding:
    """What one rule says of the client. The numbers are None when the client never came for the service or the rule is off.

    `gaps`: personal gaps used; `own_days`: their median; `rhythm_days`: that, shrunk to the interval.
    """

    service_id: int
    service: str
    active: bool
    interval_days: int
    interval_source: str
    visits: int
    last_visit: date | None
    days_since: int | None
    gaps: int | None
    own_days: float | None
    rhythm_days: float | None
    personal_factor: float
    due_after: int | None
    due: bool
    words: str


@dataclass(frozen=True)
class Choice:
    """The service the client would be brought back for, and why this one."""

    service_id: int
    service: str
    days_since: int
    due_after: int
    why: str


@dataclass(frozen=True)
class Check:
    """One reason to exclude a due client: does it apply, and the number, threshold or date that decided it."""

    reason: str
    applies: bool
    words: str


@dataclass(frozen=True)
class Decision:
    """`not_due`, `excluded` or `eligible`; the place among the company's due clients, and among the eligible ones."""

    decision: str
    reason: str
    priority: float | None = None
    rank: int | None = None
    due_clients: int = 0
    rank_eligible: int | None = None
    eligible_clients: int = 0


@dataclass(frozen=True)
class PlanRow:
    """What the day's plan says of the client."""

    decision: str
    reason: str
    words: str
    campaign_id: str | None
    episode_no: int
    attempt_number: int
    discount_percent: int
    lane: str
    send_after: datetime | None


@dataclass(frozen=True)
class AccountLimits:
    """The salon's number at the as-of instant: its level, its limits, and what had been sent. Its health is the present one."""

    account_id: int
    channel: str
    refusal: str
    level: str
    daily: int
    hourly: int
    min_gap_s: int
    cold_quota: int
    cold_open: bool
    spam_score: float
    sent_24h: int
    window: str


@dataclass(frozen=True)
class Event:
    """One change of a campaign."""

    at: datetime
    event: str
    status: str
    detail: Mapping[str, Any]


@dataclass(frozen=True)
class CampaignHistory:
    """One campaign of the client up to the day, with everything that happened to it since."""

    campaign_id: str
    day: date
    episode_no: int
    attempt_number: int
    status: str
    completion_reason: str | None
    next_attempt_at: datetime | None
    text_template: str | None
    message_text: str | None
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Reply:
    """A message of the client and how it was understood."""

    received_at: datetime
    campaign_id: str | None
    response_type: str
    intent: str
    layer: str
    words_of_client: str | None


@dataclass(frozen=True)
class Explanation:
    """Everything that decided about one client on one day. Instants are local to the salon."""

    company_id: int
    company: str
    timezone: str
    client_id: int
    name: str
    phone: str
    day: date
    as_of: datetime
    verdict: str
    past: Past
    rules: tuple[RuleFinding, ...]
    chosen: Choice | None
    checks: tuple[Check, ...]
    decision: Decision
    materialized: str
    plan: PlanRow | None
    plan_words: str
    account: AccountLimits | None
    campaigns: tuple[CampaignHistory, ...]
    replies: tuple[Reply, ...]

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints: without the name and without texts that may hold it."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.name not in _ONLY_ON_SCREEN}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value
