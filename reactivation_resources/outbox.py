"""The outbox: takes planned campaigns through `claimed` and `sending` to an outcome, each message at most once.

What to add here: claim, last check, outcome, recovery. What to keep out: the loop (dispatch.py), conditions (sending_checks.py), how a
status changes a row (campaign_moves.py).

Why a message cannot go out twice. `sending` is committed before the request leaves, and only `claimed` may become `sending`, under the
account's lock and the row's. Whoever dies before that commit has sent nothing: the lease runs out and the campaign is planned again.
Whoever dies after it leaves `sending`, which recovery turns into `unknown`, and nothing leads from there to another send.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, or_, select, text, update

from reactivation_core.campaign_states import Event, Status
from reactivation_resources.campaign_moves import (
    CAMPAIGNS,
    campaigns_for_update,
    cancel,
    lock_accounts,
    move,
)
from reactivation_resources.channels.base import Accepted, SendOutcome
from reactivation_resources.clock import Clock
from reactivation_resources.database.engine import Database
from reactivation_resources.send_outcomes import pause_after, store_lost, store_outcome
from reactivation_resources.sending_checks import contacted_until, objection, standing

CLAIM_LEASE = timedelta(minutes=5)
SENDING_LEASE = timedelta(minutes=10)
"""Far longer than any answer is waited for: a campaign still in `sending` after it has lost its dispatcher."""
_DUE = """
FROM reactivation_campaigns
WHERE status IN ('planned', 'claimed') AND (lease_until IS NULL OR lease_until <= :now) AND send_after <= :now AND expires_at > :now
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """A campaign that this dispatcher alone may bring to `sending` while its lease lasts."""

    campaign_id: UUID
    account_id: int
    company_id: int
    channel: str
    session: str
    phone: str
    owner: str


@dataclass(frozen=True, slots=True)
class Held:
    """The account may send nothing now. `until`: when to ask again, None when nobody can say."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cleared:
    """`sending` is committed: the message must now be handed to the channel, once, and its outcome be completed."""

    claim: Claim
    text: str
    sending_at: datetime


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The campaign ended without a message."""

    reason: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """Not now; the campaign stays planned."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SlotRefresh:
    """Slots looked up again: what is offered and kept as spares now, and the text with it."""

    slots: list[dict[str, Any]]
    message_text: str
    checked_at: datetime


RefreshSlots = Callable[[Mapping[str, Any]], SlotRefresh | None]
"""Given the campaign's row, the slots and text to send instead, or None when what is stored still holds."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What recovery found: answers nobody waits for any more, leases that ran out, campaigns past their time."""

    unknown: int = 0
    released: int = 0
    expired: int = 0


class Outbox:
    """The outbox of one database. Any number of them may work at once.

    Args:
        platform_daily: Cap of every account per 24 h, None for the account's own limit; `platform_hourly` per 60 min.
        refresh_slots: Looks at the offered slots just before a send.
        on_sent: Called with the campaign's id after an accepted send is stored; its failure changes nothing.
        checkpoint: Called with the name of each step; a test may end the process there.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        platform_daily: int | None = None,
        platform_hourly: int | None = None,
        refresh_slots: RefreshSlots | None = None,
        on_sent: Callable[[UUID], None] | None = None,
        checkpoint: Callable[[str], None] = lambda name: None,  # noqa: ARG005 - it has a name for those who look
    ) -> None:
        self.database = database
        self.clock = clock
        self._platform = {"platform_daily": platform_daily, "platform_hourly": platform_hourly}
        self._refresh_slots = refresh_slots
        self._on_sent = on_sent
        self.checkpoint = checkpoint

    # ------------------------------------------------------------ what there is to do

    def due_accounts(self) -> list[int]:
        """Accounts that have a campaign to send now."""
        query = f"SELECT DISTINCT account_id {_DUE} AND account_id IS NOT NULL AND message_text IS NOT NULL ORDER BY 1"
        with self.database.begin() as connection:
            return list(connection.execute(text(query), {"now": self.clock.now()}).scalars())

    def unsendable(self) -> dict[str, int]:
        """Due campaigns that cannot even be claimed, by reason: no_text, no_account."""
        query = f"""SELECT count(*) FILTER (WHERE message_text IS NULL) AS no_text,
            count(*) FILTER (WHERE message_text IS NOT NULL AND account_id IS NULL) AS no_account {_DUE}"""
        with self.database.begin() as connection:
            row = connection.execute(text(query), {"now": self.clock.now()}).one()
        return {name: count for name, count in row._asdict().items() if count}

    def next_planned_at(self) -> datetime | None:
        """The next instant at which a campaign that now waits becomes due, or one whose answer is outstanding must be given up."""
        query = """SELECT min(greatest(lease_until, CASE WHEN status <> 'sending' THEN send_after END)) FROM reactivation_campaigns
            WHERE status IN ('planned', 'claimed', 'sending') AND (lease_until > :now OR (status <> 'sending' AND send_after > :now))"""
        with self.database.begin() as connection:
            found: datetime | None = connection.execute(text(query), {"now": self.clock.now()}).scalar_one()
        return found

    # ------------------------------------------------------------ planned -> claimed

    def claim(self, owner: str, limit: int = 100) -> list[Claim]:
        """Claim one due campaign of each of up to `limit` accounts that may send now."""
        claims: list[Claim] = []
        for account_id in self.due_accounts():
            if len(claims) >= limit:
                break
            taken = self.claim_one(owner, account_id)
            if isinstance(taken, Claim):
                claims.append(taken)
        return claims

    def claim_one(self, owner: str, account_id: int) -> Claim | Held | None:
        """Claim the next due campaign of an account; None when there is none left.

        At most one campaign of an account is on its way to `sending` at a time: two at the same moment would break the gap anyway.
        """
        with self.database.begin() as connection:
            lock_accounts(connection, [account_id])
            now = self.clock.now()
            due = select(CAMPAIGNS).where(
                CAMPAIGNS.c.account_id == account_id,
                CAMPAIGNS.c.status.in_([Status.PLANNED, Status.CLAIMED]),
                or_(CAMPAIGNS.c.lease_until.is_(None), CAMPAIGNS.c.lease_until <= now),
                CAMPAIGNS.c.send_after <= now,
                CAMPAIGNS.c.expires_at > now,
                CAMPAIGNS.c.message_text.is_not(None),
            )
            if connection.execute(due.limit(1)).first() is None:
                return None
            state = standing(connection, account_id, now, **self._platform)
            if state.reason or state.account is None:
                return Held(state.reason, state.until)
            ours = due.where(CAMPAIGNS.c.company_id == state.account.company_id)
            lane = ours if state.cold else ours.where(CAMPAIGNS.c.lane == "warm")
            order = (CAMPAIGNS.c.send_after, CAMPAIGNS.c.priority.desc(), CAMPAIGNS.c.campaign_id)
            campaign = connection.execute(
                lane.order_by(*order).limit(1).with_for_update(skip_locked=True)
            ).one_or_none()
            if campaign is None:
                return None if state.cold else Held("cold_lane")
            if campaign.status == Status.CLAIMED:
                campaign = self._release(connection, campaign, now)
            move(connection, campaign, Event.CLAIM, now, lease_owner=owner, lease_until=now + CLAIM_LEASE)
            claim = Claim(
                campaign_id=campaign.campaign_id,
                account_id=account_id,
                company_id=campaign.company_id,
                channel=state.account.channel,
                session=state.account.session,
                phone=campaign.phone,
                owner=owner,
            )
            self.checkpoint("claiming")
        self.checkpoint("claimed")
        return claim

    # ------------------------------------------------------------ claimed -> sending

    def begin_sending(self, claim: Claim) -> Cleared | Cancelled | Postponed:
        """Check once more that the message may go out, and commit `sending`. Only a `Cleared` message may be handed to the channel."""
        if self._refresh_slots is not None and not self._slots_checked(claim):
            return self.give_back(claim, "slots_unchecked")
        with self.database.begin() as connection:
            lock_accounts(connection, [claim.account_id])
            now = self.clock.now()
            campaign = self._mine(connection, claim, now)
            if campaign is None:
                return Postponed("lease_lost")
            decision = self._decide(connection, campaign, claim, now)
            if decision is None:
                lease = now + SENDING_LEASE
                tries = campaign.tries + 1
                move(connection, campaign, Event.SEND, now, sending_at=now, lease_until=lease, tries=tries, error=None)
            self.checkpoint("clearing")
        if decision is not None:
            return decision
        self.checkpoint("before_send")
        return Cleared(claim, campaign.message_text, now)

    def _decide(
        self, connection: Connection, campaign: Row[Any], claim: Claim, now: datetime
    ) -> Cancelled | Postponed | None:
        if campaign.expires_at <= now:
            move(connection, campaign, Event.EXPIRE, now, lease_owner=None, lease_until=None)
            return Cancelled("expired")
        if reason := objection(connection, campaign, now):
            cancel(connection, campaign, reason, now)
            return Cancelled(reason)
        state = standing(connection, claim.account_id, now, besides=campaign.campaign_id, **self._platform)
        reason, until = state.reason, state.until
        if not reason and campaign.lane == "cold" and not state.cold:
            reason = "cold_lane"
        if not reason and (rested := contacted_until(connection, campaign, now)):
            reason, until = "contacted_recently", rested
        if not reason and campaign.message_text is None:
            reason = "no_text"
        if not reason:
            return None
        # An account's own trouble holds the account; only what is wrong with this campaign keeps it out of the next claim.
        self._release(connection, campaign, now, not_before=until if reason == "contacted_recently" else None)
        return Postponed(reason, until)

    def _slots_checked(self, claim: Claim) -> bool:
        """Ask for the slots outside of any transaction and store what came; False when they could not be looked at."""
        assert self._refresh_slots is not None  # noqa: S101 - the caller looked
        with self.database.begin() as connection:
            campaign = connection.execute(
                select(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == claim.campaign_id)
            ).one_or_none()
        if campaign is None:
            return False
        try:
            refreshed = self._refresh_slots(campaign._asdict())
        except Exception:  # another's code; whatever is wrong with it, no stale slot is offered
            return False
        if refreshed is not None:
            with self.database.begin() as connection:
                connection.execute(
                    update(CAMPAIGNS)
                    .where(
                        CAMPAIGNS.c.campaign_id == claim.campaign_id,
                        CAMPAIGNS.c.status == Status.CLAIMED,
                        CAMPAIGNS.c.lease_owner == claim.owner,
                    )
                    .values(
                        slots=refreshed.slots,
                        message_text=refreshed.message_text,
                        slots_checked_at=refreshed.checked_at,
                    )
                )
        return True

    def give_back(self, claim: Claim, reason: str) -> Postponed:
        """Plan a claimed campaign again, to be taken up after a while."""
        not_before = self.clock.now() + pause_after(1)
        with self.database.begin() as connection:
            lock_accounts(connection, [claim.account_id])
            now = self.clock.now()
            campaign = self._mine(connection, claim, now)
            if campaign is None:
                return Postponed("lease_lost")
            self._release(connection, campaign, now, not_before=not_before)
        return Postponed(reason, not_before)

    def _mine(self, connection: Connection, claim: Claim, now: datetime) -> Row[Any] | None:
        """The claimed campaign, locked, if it is still this claim's."""
        found = campaigns_for_update(
            connection,
            CAMPAIGNS.c.campaign_id == claim.campaign_id,
            CAMPAIGNS.c.status == Status.CLAIMED,
            CAMPAIGNS.c.lease_owner == claim.owner,
            CAMPAIGNS.c.lease_until > now,
        )
        return found[0] if found else None

    def _release(
        self, connection: Connection, campaign: Row[Any], now: datetime, not_before: datetime | None = None
    ) -> Row[Any]:
        """Give a claimed campaign back. A planned campaign's lease, if it has one, only says until when nobody may take it."""
        move(connection, campaign, Event.RELEASE, now, lease_owner=None, lease_until=not_before)
        return campaigns_for_update(connection, CAMPAIGNS.c.campaign_id == campaign.campaign_id)[0]

    # ------------------------------------------------------------ sending -> an outcome

    def complete(self, cleared: Cleared, outcome: SendOutcome) -> Status:
        """Store what the channel answered. Completing twice changes nothing. Returns the campaign's status."""
        claim = cleared.claim
        with self.database.begin() as connection:
            lock_accounts(connection, [claim.account_id])
            now = self.clock.now()
            campaign = campaigns_for_update(connection, CAMPAIGNS.c.campaign_id == claim.campaign_id)[0]
            if campaign.sending_at == cleared.sending_at:
                store_outcome(connection, campaign, outcome, now)
            self.checkpoint("before_commit")
        self.checkpoint("completed")
        if isinstance(outcome, Accepted):
            self._tell(claim.campaign_id)
        return self.status(claim.campaign_id)

    def status(self, campaign_id: UUID) -> Status:
        """The campaign's status now."""
        query = select(CAMPAIGNS.c.status).where(CAMPAIGNS.c.campaign_id == campaign_id)
        with self.database.begin() as connection:
            return Status(connection.execute(query).scalar_one())

    def _tell(self, campaign_id: UUID) -> None:
        """Let the dialog context know. What goes wrong there is made good later from `context_synced_at`."""
        if self._on_sent is None:
            return
        try:
            self._on_sent(campaign_id)
        except Exception:  # the message is out and stored: nothing here may look like a failed send
            return
        with self.database.begin() as connection:
            written = update(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == campaign_id)
            connection.execute(written.values(context_synced_at=self.clock.now()))

    # ------------------------------------------------------------ what others left behind

    def recover(self) -> Recovered:
        """Put right what dead dispatchers left, and end what is past its time.

        `sending` beyond its lease becomes `unknown`: whether the message left, only the channel knows. Claims beyond their lease are
        planned again; unsent campaigns past `expires_at` expire.
        """
        stale = """
            SELECT DISTINCT account_id FROM reactivation_campaigns
            WHERE (status IN ('sending', 'claimed') AND lease_until <= :now) OR (status IN ('planned', 'claimed') AND expires_at <= :now)
        """
        with self.database.begin() as connection:
            accounts = list(connection.execute(text(stale), {"now": self.clock.now()}).scalars())
        found = [self._recover_account(account_id) for account_id in sorted(accounts, key=lambda key: key or 0)]
        return Recovered(
            unknown=sum(one.unknown for one in found),
            released=sum(one.released for one in found),
            expired=sum(one.expired for one in found),
        )

    def _recover_account(self, account_id: int | None) -> Recovered:
        unknown = released = expired = 0
        with self.database.begin() as connection:
            if account_id is not None:
                lock_accounts(connection, [account_id])
            now = self.clock.now()
            campaigns = campaigns_for_update(
                connection,
                CAMPAIGNS.c.account_id.is_not_distinct_from(account_id),
                CAMPAIGNS.c.status.in_([Status.PLANNED, Status.CLAIMED, Status.SENDING]),
                or_(CAMPAIGNS.c.lease_until <= now, CAMPAIGNS.c.expires_at <= now),
            )
            for campaign in campaigns:
                over = campaign.lease_until is None or campaign.lease_until <= now
                if campaign.status == Status.SENDING:
                    if over:
                        store_lost(connection, campaign, "the dispatcher ended before the answer was stored", now)
                        unknown += 1
                elif campaign.expires_at <= now and (over or campaign.status == Status.PLANNED):
                    move(connection, campaign, Event.EXPIRE, now, lease_owner=None, lease_until=None)
                    expired += 1
                elif campaign.status == Status.CLAIMED and over:
                    self._release(connection, campaign, now)
                    released += 1
            self.checkpoint("recovering")
        return Recovered(unknown, released, expired)
