"""The dispatcher: sends what is due now, many accounts at once, and may stay to send what comes due.

What to add here: the order of work. What to keep out: decisions (outbox.py). Any number of dispatchers may run at once.

One thread decides and talks to the database, in batches; others wait for channels and for the CRM. A slow answer holds up its own account
and nobody else.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import InterfaceError, OperationalError

from reactivation_core.campaign_states import Status
from reactivation_resources.channels.base import Channel, Lost, Rejected, SendOutcome
from reactivation_resources.outbox import Cancelled, Claim, Cleared, Held, Outbox, Postponed, SlotRefresh

log = logging.getLogger(__name__)

CONCURRENCY = 96
"""Messages on their way at once. Each account has its own, smaller limit."""
LOOK_AGAIN = timedelta(seconds=15)
"""How long a dispatcher that stays sleeps at most: something may have come due that nobody knew of."""
STORE_PATIENCE_S = 480.0
"""How long an answer waits for a database that is away: a little less than the lease after which it would be given up as lost."""
_GATHER_S = 0.015
_BUSY_TURNS, _BUSY_PAUSE_S = 20, 0.05
_AWAY = (OperationalError, InterfaceError)


@dataclass(frozen=True, slots=True)
class DispatchReport:
    """What a dispatcher did.

    Attributes:
        counts: How often each outcome or reason occurred: accepted, failed, unknown, planned (to be tried again), `cancelled:reason`,
            `postponed:reason`, `held:reason` (accounts), no_text, no_account, recovered_unknown, released, expired, error.
        next_due_at: When another pass has something to do, None when nothing is known to come.
    """

    counts: Counter[str] = field(default_factory=Counter)
    next_due_at: datetime | None = None


def dispatch_due(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    owner: str,
    *,
    concurrency: int = CONCURRENCY,
    store_patience_s: float = STORE_PATIENCE_S,
    stop: threading.Event | None = None,
) -> DispatchReport:
    """Recover what is left over, then send what is due, inside all limits. `owner` names this dispatcher, uniquely.

    An account whose channel is not configured keeps its campaigns. One account's failure never stops another's. Without the database
    nothing is sent, and answers that came wait `store_patience_s` for it. A set `stop` ends it when what is under way is stored.
    """
    recovered = outbox.recover()
    counts: Counter[str] = Counter(
        recovered_unknown=recovered.unknown, released=recovered.released, expired=recovered.expired
    )
    counts.update(outbox.unsendable())
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        work = _Pass(outbox, channels, owner, pool, concurrency, store_patience_s, stop or threading.Event())
        work.run(outbox.due_accounts())
    counts.update(work.counts)
    instants = [*work.instants, outbox.next_planned_at()]
    return DispatchReport(+counts, min((instant for instant in instants if instant is not None), default=None))


def dispatch_until(
    outbox: Outbox,
    channels: Mapping[str, Channel],
    owner: str,
    *,
    until: datetime | None = None,
    stop: threading.Event | None = None,
    concurrency: int = CONCURRENCY,
    on_pass: Callable[[DispatchReport], None] = lambda report: None,  # noqa: ARG005 - it has a name for those who look
) -> DispatchReport:
    """Dispatch pass after pass, each when something has come due, until `until` (for ever without) or until `stop` is set.

    A pass that fails for want of the database is tried again; with `until` the last failure is raised when time is over.
    """
    stop = stop or threading.Event()
    total: Counter[str] = Counter()
    while True:
        try:
            report = dispatch_due(outbox, channels, owner, concurrency=concurrency, stop=stop)
            total.update(report.counts)
            on_pass(report)
            following = report.next_due_at
        except _AWAY:
            log.warning("the database cannot be used; nothing is sent until it can")
            if until is not None and outbox.clock.now() + LOOK_AGAIN >= until:
                raise
            following = None
        now = outbox.clock.now()
        at = min(now + LOOK_AGAIN, max(following or now + LOOK_AGAIN, now + timedelta(milliseconds=200)))
        if stop.is_set() or (until is not None and at >= until):
            return DispatchReport(total, following)
        stop.wait((at - now).total_seconds())


class _Pass:
    """One pass over the accounts that have something due."""

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        owner: str,
        pool: ThreadPoolExecutor,
        concurrency: int,
        store_patience_s: float,
        stop: threading.Event,
    ) -> None:
        self._outbox, self._channels, self._owner = outbox, channels, owner
        self._pool, self._concurrency, self._patience_s, self._stop = pool, concurrency, store_patience_s, stop
        self.counts: Counter[str] = Counter()
        self.instants: list[datetime] = []
        self._waiting: deque[int] = deque()
        self._busy: Counter[int] = Counter()
        self._checks: dict[Future[tuple[bool, SlotRefresh | None]], Claim] = {}
        self._flying: dict[Future[SendOutcome], Cleared] = {}

    def run(self, account_ids: Sequence[int]) -> None:
        """Serve these accounts until each of them is held by something or has nothing more to send."""
        self._waiting.extend(account_ids)
        try:
            while self._waiting or self._checks or self._flying:
                room = self._concurrency - len(self._checks) - len(self._flying)
                if self._stop.is_set():
                    self._waiting.clear()
                if self._waiting and room > 0:
                    self._claim([self._waiting.popleft() for _ in range(min(room, len(self._waiting)))], room)
                if self._checks or self._flying:
                    self._gather()
        except BaseException:  # the run is ended: what is under way must not count as lost
            while self._flying:
                self._gather()
                self._waiting.clear()
            raise

    # ------------------------------------------------------------ claims

    def _claim(self, accounts: Sequence[int], room: int) -> None:
        """Claim what these accounts may send; one account's trouble is not another's, the database's is everyone's."""
        try:
            claims, held = self._outbox.claim_from(self._owner, accounts, room)
        except _AWAY as error:
            self._give_up(error, [*accounts, *self._waiting])
            self._waiting.clear()
        except Exception as error:
            if len(accounts) == 1:
                self._give_up(error, accounts)
                return
            for account_id in accounts:
                self._claim([account_id], room)
        else:
            self._take_note(held)
            self._prepare(claims)

    def _take_note(self, held: Mapping[int, Held]) -> None:
        for account_id, why in held.items():
            if why.reason == "busy" and self._busy[account_id] < _BUSY_TURNS:
                self._busy[account_id] += 1
                self._waiting.append(account_id)
                continue
            self.counts[f"held:{why.reason}"] += 1
            self.instants += [why.until] if why.until is not None else []
        if held and all(why.reason == "busy" for why in held.values()) and not (self._checks or self._flying):
            self._stop.wait(_BUSY_PAUSE_S)

    def _prepare(self, claims: Sequence[Claim]) -> None:
        """Look at the slots of those that offer some; the others are ready."""
        ready = []
        for claim in claims:
            if claim.channel not in self._channels:
                self._give_back(claim, "no_channel")
            elif claim.row["slots"]:
                self._checks[self._pool.submit(self._outbox.check_slots, claim)] = claim
            else:
                ready.append(claim)
        self._send(ready, {})

    # ------------------------------------------------------------ sends

    def _gather(self) -> None:
        """Wait for the first answers, and take all that are there."""
        pending: set[Future[Any]] = {*self._checks, *self._flying}
        wait(pending, return_when=FIRST_COMPLETED)
        done, _ = wait(pending, timeout=_GATHER_S)  # others are close behind: together they cost one transaction
        checked = [(self._checks.pop(one), one.result()) for one in done if one in self._checks]
        for claim, (looked_at, _) in checked:
            if not looked_at:
                self._give_back(claim, "slots_unchecked")
                self._waiting.append(claim.account_id)
        seen = [(claim, found) for claim, (looked_at, found) in checked if looked_at]
        self._send(
            [claim for claim, _ in seen], {claim.campaign_id: found for claim, found in seen if found is not None}
        )
        answers = [(self._flying.pop(one), one.result()) for one in done if one in self._flying]
        if answers:
            self._outbox.checkpoint("after_send")
            self._complete(answers)

    def _send(self, claims: Sequence[Claim], refreshed: Mapping[UUID, SlotRefresh]) -> None:
        """Clear claims and hand the letters over."""
        if not claims:
            return
        try:
            decisions = self._outbox.clear(claims, refreshed)
        except Exception as error:
            if len(claims) > 1 and not isinstance(error, _AWAY):
                for claim in claims:
                    self._send([claim], {key: one for key, one in refreshed.items() if key == claim.campaign_id})
            else:
                self._give_up(error, [claim.account_id for claim in claims])
            return
        for name in {claim.channel for claim in claims}:
            phones = [one.letter.phone for one in decisions if isinstance(one, Cleared) and one.claim.channel == name]
            self._channels[name].get_ready(phones)
        for claim, decision in zip(claims, decisions, strict=True):
            if isinstance(decision, Cleared):
                self._flying[self._pool.submit(_hand_over, self._channels[claim.channel], decision)] = decision
            else:
                self._count(decision)
                self._waiting.append(claim.account_id)

    def _count(self, decision: Cancelled | Postponed) -> None:
        kind = "postponed" if isinstance(decision, Postponed) else "cancelled"
        self.counts[f"{kind}:{decision.reason}"] += 1

    def _give_back(self, claim: Claim, reason: str) -> None:
        try:
            self._count(self._outbox.give_back(claim, reason))
        except _AWAY as error:  # its lease gives it back
            self._give_up(error, [claim.account_id])

    def _complete(self, answers: Sequence[tuple[Cleared, SendOutcome]]) -> None:
        """Store outcomes; those of a batch that cannot be stored together are stored one by one."""
        try:
            statuses = self._store(answers)
        except Exception as error:
            if len(answers) > 1 and not isinstance(error, _AWAY):
                for answer in answers:
                    self._complete([answer])
            else:
                self._give_up(error, [cleared.claim.account_id for cleared, _ in answers])
            return
        for name in {cleared.claim.channel for cleared, _ in answers}:
            self._channels[name].settle_down()
        for (cleared, outcome), status in zip(answers, statuses, strict=True):
            self.counts[status] += 1
            if not (isinstance(outcome, Rejected) and outcome.of_account):
                self._waiting.append(cleared.claim.account_id)

    def _store(self, answers: Sequence[tuple[Cleared, SendOutcome]]) -> list[Status]:
        """Store outcomes, however long the database is away within patience: what was answered must not count as lost."""
        deadline, pause = time.monotonic() + self._patience_s, 0.02
        while True:
            try:
                return self._outbox.complete_all(answers)
            except _AWAY:
                if time.monotonic() + pause > deadline:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, 1.0)

    def _give_up(self, error: Exception, account_ids: Sequence[int]) -> None:
        """These accounts get nothing more in this pass; what was `sending` is recovered."""
        words = type(error).__name__  # messages carry personal data
        log.error("accounts %s: dispatch ended by %s", ", ".join(map(str, account_ids[:10])), words)
        self.counts["error"] += len(account_ids)


def _hand_over(channel: Channel, cleared: Cleared) -> SendOutcome:
    try:
        return channel.send(cleared.letter)
    except Exception as error:  # whatever broke in the channel, the message may be out
        return Lost(f"the channel failed: {type(error).__name__}")
