"""The dispatcher: sends what is due now, one pass over the accounts.

What to add here: the order of work. What to keep out: decisions (outbox.py). Any number of dispatchers may run at once.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.exc import OperationalError

from reactivation_core.campaign_states import Status
from reactivation_resources.channels.base import Channel, Letter, Lost, Rejected, SendOutcome
from reactivation_resources.outbox import Cancelled, Claim, Cleared, Held, Outbox, Postponed

log = logging.getLogger(__name__)

_STORE_TRIES = 3


@dataclass(frozen=True, slots=True)
class DispatchReport:
    """What one pass did.

    Attributes:
        counts: How often each outcome or reason occurred: accepted, failed, unknown, planned (to be tried again), `cancelled:reason`,
            `postponed:reason`, `held:reason` (accounts), no_text, no_account, recovered_unknown, released, expired, error.
        next_due_at: When another pass has something to do, None when nothing is known to come.
    """

    counts: Counter[str] = field(default_factory=Counter)
    next_due_at: datetime | None = None


def dispatch_due(outbox: Outbox, channels: Mapping[str, Channel], owner: str, workers: int = 1) -> DispatchReport:
    """Recover what is left over, then send what is due, inside all limits. `owner` names this dispatcher, uniquely.

    An account whose channel is not configured keeps its campaigns. One account's failure never stops another's. The database being
    away is an error of every account: nothing is sent without it.
    """
    recovered = outbox.recover()
    counts: Counter[str] = Counter(
        recovered_unknown=recovered.unknown, released=recovered.released, expired=recovered.expired
    )
    counts.update(outbox.unsendable())
    accounts = outbox.due_accounts()
    with ThreadPoolExecutor(max_workers=workers) as pool:
        passes = list(pool.map(lambda account: _send_for(outbox, channels, owner, account), accounts))
    instants = [report.next_due_at for report in passes] + [outbox.next_planned_at()]
    for report in passes:
        counts.update(report.counts)
    return DispatchReport(+counts, min((instant for instant in instants if instant is not None), default=None))


def _send_for(outbox: Outbox, channels: Mapping[str, Channel], owner: str, account_id: int) -> DispatchReport:
    """Send what is due from one account until something holds it."""
    report = DispatchReport()
    try:
        while True:
            claim = outbox.claim_one(owner, account_id)
            if not isinstance(claim, Claim):
                if claim is not None:
                    report.counts[f"held:{claim.reason}"] += 1
                return DispatchReport(report.counts, claim.until if isinstance(claim, Held) else None)
            if not _send_one(outbox, channels, claim, report.counts):
                return report
    except Exception as error:  # an account of its own; what was `sending` is recovered
        log.error("account %s: dispatch ended by %s", account_id, type(error).__name__)  # noqa: TRY400 - messages carry personal data
        report.counts["error"] += 1
        return report


def _send_one(outbox: Outbox, channels: Mapping[str, Channel], claim: Claim, counts: Counter[str]) -> bool:
    """Take one claim to its end; False when the account had better rest."""
    channel = channels.get(claim.channel)
    if channel is None:
        outbox.give_back(claim, "no_channel")
        counts["postponed:no_channel"] += 1
        return False
    decision = outbox.begin_sending(claim)
    if isinstance(decision, Cancelled):
        counts[f"cancelled:{decision.reason}"] += 1
        return True
    if isinstance(decision, Postponed):
        counts[f"postponed:{decision.reason}"] += 1
        return True
    outcome = _hand_over(channel, decision)
    outbox.checkpoint("after_send")
    counts[_complete(outbox, decision, outcome)] += 1
    return not (isinstance(outcome, Rejected) and outcome.of_account)


def _hand_over(channel: Channel, cleared: Cleared) -> SendOutcome:
    claim = cleared.claim
    try:
        return channel.send(Letter(claim.campaign_id, claim.session, claim.phone, cleared.text))
    except Exception as error:  # whatever broke in the channel, the message may be out
        return Lost(f"the channel failed: {type(error).__name__}")


def _complete(outbox: Outbox, cleared: Cleared, outcome: SendOutcome) -> Status:
    """Store the outcome; a connection that broke meanwhile is made anew, since storing twice changes nothing."""
    for _ in range(_STORE_TRIES - 1):
        try:
            return outbox.complete(cleared, outcome)
        except OperationalError:
            continue
    return outbox.complete(cleared, outcome)
