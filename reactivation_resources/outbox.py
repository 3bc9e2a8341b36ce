"""The outbox: takes planned campaigns through `claimed` and `sending` to an outcome, each message at most once.

What to add here: claim, last check, outcome, recovery. What to keep out: the loop (dispatch.py), conditions (sending_checks.py), how a
status changes a row (campaign_moves.py).

Why a message cannot go out twice. `sending` is committed before the request leaves, and only `claimed` may become `sending`, under the
account's lock and the row's. Whoever dies before that commit has sent nothing: the lease runs out and the campaign is planned again.
Whoever dies after it leaves `sending`, which recovery turns into `unknown`, and nothing leads from there to another send.

Every step takes many campaigns at once: a batch costs as many queries as one message would.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, or_, text, update

from reactivation_core.campaign_states import Event, Status
from reactivation_resources.campaign_moves import (
    CAMPAIGNS,
    Change,
    among,
    campaigns_for_update,
    change_of,
    lock_accounts,
    lock_businesses,
    store_changes,
    try_lock_accounts,
)
from reactivation_resources.channels.base import Accepted, Letter, SendOutcome
from reactivation_resources.clock import Clock
from reactivation_resources.database.engine import Database
from reactivation_resources.last_check import Later, Never, Verdict, last_check
from reactivation_resources.letters import sent_template
from reactivation_resources.send_outcomes import Answer, lose, pause_after, store_outcomes
from reactivation_resources.sending_checks import NO_CAPS, Caps, Standing, standings

log = logging.getLogger(__name__)

CLAIM_LEASE = timedelta(minutes=5)
SENDING_LEASE = timedelta(minutes=10)
"""Far longer than any answer is waited for: a campaign still in `sending` after it has lost its dispatcher."""
_MOST = 1000  # campaigns of one account in one claim
_CHUNK = 100  # accounts recovered in one transaction

_DUE = """
status IN ('planned', 'claimed') AND (lease_until IS NULL OR lease_until <= :now) AND send_after <= :now AND expires_at > :now
"""
_OF_SHARD = "(CAST(:shards AS int) IS NULL OR company_id % CAST(:shards AS int) = CAST(:shard AS int))"
# As many due campaigns of each account as it has room for; of the cold lane only while it is open.
_NEXT = f"""
SELECT c.* FROM unnest(CAST(:accounts AS bigint[]), CAST(:companies AS bigint[]), CAST(:rooms AS int[]), CAST(:colds AS int[]))
  AS a(account_id, company_id, room, cold)
CROSS JOIN LATERAL (
  SELECT * FROM reactivation_campaigns c
  WHERE c.account_id = a.account_id AND c.company_id = a.company_id AND {_DUE} AND message_text IS NOT NULL
    AND (lane = 'warm' OR a.cold > 0)
  ORDER BY send_after, priority DESC, campaign_id LIMIT a.room FOR UPDATE SKIP LOCKED
) c
"""  # noqa: S608 - our own words
_WITH_WORK = f"""
SELECT DISTINCT account_id FROM reactivation_campaigns
WHERE account_id = ANY(:accounts) AND {_DUE} AND message_text IS NOT NULL
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Claim:
    """A campaign that this dispatcher alone may bring to `sending` while its lease lasts. `row`: as it was when claimed."""

    campaign_id: UUID
    account_id: int
    channel: str
    owner: str
    row: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Held:
    """The account may send nothing now. `until`: when to ask again, None when nobody can say."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Cleared:
    """`sending` is committed: the letter must now be handed to the channel, once, and its outcome be completed."""

    claim: Claim
    letter: Letter
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
    """Slots looked up again: what is offered and kept as spares now, and the text and its parts with it."""

    slots: list[dict[str, Any]]
    message_text: str
    checked_at: datetime
    text_parts: dict[str, str] | None = None


Decision = Cleared | Cancelled | Postponed
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
        caps: The platform's own limits of every account.
        templated: Channels that take our own words only within a day of a client's last message.
        refresh_slots: Looks at the offered slots just before a send.
        on_sent: Called with the ids of campaigns whose accepted sends are stored; its failure changes nothing.
        checkpoint: Called with the name of each step; a test may end the process there.
        shard: Which share of the companies to serve: (number, of how many), None for all.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        caps: Caps = NO_CAPS,
        templated: frozenset[str] = frozenset(),
        refresh_slots: RefreshSlots | None = None,
        on_sent: Callable[[Sequence[UUID]], None] | None = None,
        checkpoint: Callable[[str], None] = lambda name: None,  # noqa: ARG005 - it has a name for those who look
        shard: tuple[int, int] | None = None,
    ) -> None:
        self.database = database
        self.clock = clock
        self._caps = caps
        self._templated = templated
        self._refresh_slots = refresh_slots
        self._on_sent = on_sent
        self.checkpoint = checkpoint
        number, of = shard or (None, None)
        self._shard = {"shard": number, "shards": of}

    # ------------------------------------------------------------ what there is to do

    def due_accounts(self) -> list[int]:
        """Accounts that have a campaign to send now, the one that has waited longest first."""
        query = f"""SELECT account_id FROM reactivation_campaigns
            WHERE {_DUE} AND account_id IS NOT NULL AND message_text IS NOT NULL AND {_OF_SHARD}
            GROUP BY account_id ORDER BY min(send_after), account_id"""  # noqa: S608 - our own words
        with self.database.begin() as connection:
            return list(connection.execute(text(query), {"now": self.clock.now(), **self._shard}).scalars())

    def unsendable(self) -> dict[str, int]:
        """Due campaigns that cannot even be claimed, by reason: no_text, no_account."""
        query = f"""SELECT count(*) FILTER (WHERE message_text IS NULL) AS no_text,
            count(*) FILTER (WHERE message_text IS NOT NULL AND account_id IS NULL) AS no_account
            FROM reactivation_campaigns WHERE {_DUE} AND {_OF_SHARD}"""  # noqa: S608 - our own words
        with self.database.begin() as connection:
            row = connection.execute(text(query), {"now": self.clock.now(), **self._shard}).one()
        return {name: count for name, count in row._asdict().items() if count}

    def next_planned_at(self) -> datetime | None:
        """The next instant at which a campaign that now waits becomes due, or one whose answer is outstanding must be given up."""
        query = f"""SELECT min(greatest(lease_until, CASE WHEN status <> 'sending' THEN send_after END)) FROM reactivation_campaigns
            WHERE status IN ('planned', 'claimed', 'sending') AND (lease_until > :now OR (status <> 'sending' AND send_after > :now))
              AND {_OF_SHARD}"""  # noqa: S608 - our own words
        with self.database.begin() as connection:
            found: datetime | None = connection.execute(
                text(query), {"now": self.clock.now(), **self._shard}
            ).scalar_one()
        return found

    # ------------------------------------------------------------ planned -> claimed

    def claim(self, owner: str) -> list[Claim]:
        """Claim what all accounts that have something due may send now."""
        return self.claim_from(owner, self.due_accounts())[0]

    def claim_from(
        self, owner: str, account_ids: Sequence[int], limit: int = _MOST
    ) -> tuple[list[Claim], dict[int, Held]]:
        """Claim about `limit` due campaigns of these accounts, and say which of them have something due that must wait, and why.

        An account whose lock another one holds is `busy`: nobody waits for it. An account with a minimum gap has one message on its way
        at a time, since two at the same moment would break the gap.
        """
        claims: list[Claim] = []
        with self.database.begin() as connection:
            ours = try_lock_accounts(connection, account_ids)
            now = self.clock.now()
            found = standings(connection, ours, now, caps=self._caps)
            chosen = _next(connection, found, now, limit)
            held = {account_id: Held("busy") for account_id in set(account_ids) - set(ours)}
            held |= _held(connection, found, {row.account_id for row in chosen}, now)
            changes = []
            for row in chosen:
                change = change_of(row)
                if change.status is Status.CLAIMED:
                    change.release(now)
                change.move(Event.CLAIM, now, lease_owner=owner, lease_until=now + CLAIM_LEASE)
                changes.append(change)
                account = found[row.account_id].account
                assert account is not None  # noqa: S101 - it has room
                claims.append(Claim(row.campaign_id, row.account_id, account.channel, owner, row._asdict()))
            store_changes(connection, changes)
            if claims:
                self.checkpoint("claiming")
        if claims:
            self.checkpoint("claimed")
        return claims, held

    # ------------------------------------------------------------ claimed -> sending

    def begin_sending(self, claim: Claim) -> Decision:
        """Look at the slots of one claim, and clear it."""
        checked, refreshed = self.check_slots(claim)
        if not checked:
            return self.give_back(claim, "slots_unchecked")
        return self.clear([claim], {claim.campaign_id: refreshed} if refreshed else {})[0]

    def check_slots(self, claim: Claim) -> tuple[bool, SlotRefresh | None]:
        """Look at a claim's offered slots, outside of any transaction: whether that could be done, and what to send instead if anything."""
        if self._refresh_slots is None or not claim.row["slots"]:
            return True, None
        try:
            return True, self._refresh_slots(claim.row)
        except Exception:  # another's code; whatever is wrong with it, no stale slot is offered
            return False, None

    def clear(self, claims: Sequence[Claim], refreshed: Mapping[UUID, SlotRefresh]) -> list[Decision]:
        """Check once more that each message may go out, and commit `sending`. Only a `Cleared` letter may be handed to its channel.

        All of it is one transaction under the locks of the accounts and of the businesses whose limit they share. `refreshed`
        replaces slots and texts first. The decisions come in the order of the claims.
        """
        with self.database.begin() as connection:
            lock_accounts(connection, (claim.account_id for claim in claims))
            lock_businesses(connection, (claim.account_id for claim in claims))
            now = self.clock.now()
            _store_slots(connection, claims, refreshed)
            mine = _mine(connection, claims, now)
            verdicts = (
                last_check(connection, list(mine.values()), now, templated=self._templated, caps=self._caps)
                if mine
                else {}
            )
            decisions = [
                _decide(claim, mine[claim.campaign_id], verdicts[claim.campaign_id], now)
                if claim.campaign_id in mine
                else Postponed("lease_lost")
                for claim in claims
            ]
            store_changes(connection, mine.values())
            self.checkpoint("clearing")
        if any(isinstance(decision, Cleared) for decision in decisions):
            self.checkpoint("before_send")
        return decisions

    def give_back(self, claim: Claim, reason: str) -> Postponed:
        """Plan a claimed campaign again, to be taken up after a while."""
        not_before = self.clock.now() + pause_after(1)
        with self.database.begin() as connection:
            lock_accounts(connection, [claim.account_id])
            now = self.clock.now()
            mine = _mine(connection, [claim], now)
            for change in mine.values():
                change.release(now, not_before)
            store_changes(connection, mine.values())
        return Postponed(reason, not_before) if mine else Postponed("lease_lost")

    # ------------------------------------------------------------ sending -> an outcome

    def complete(self, cleared: Cleared, outcome: SendOutcome) -> Status:
        """`complete_all` of one. Returns the campaign's status."""
        return self.complete_all([(cleared, outcome)])[0]

    def complete_all(self, answers: Sequence[tuple[Cleared, SendOutcome]]) -> list[Status]:
        """Store what the channels answered. Completing twice changes nothing. Returns the campaigns' statuses, in order."""
        with self.database.begin() as connection:
            lock_accounts(connection, (cleared.claim.account_id for cleared, _ in answers))
            now = self.clock.now()
            rows = campaigns_for_update(
                connection, among(CAMPAIGNS.c.campaign_id, [cleared.claim.campaign_id for cleared, _ in answers])
            )
            changes = {row.campaign_id: change_of(row) for row in rows}
            told = [
                Answer(changes[cleared.claim.campaign_id], outcome)
                for cleared, outcome in answers
                if changes[cleared.claim.campaign_id]["sending_at"] == cleared.sending_at
            ]
            store_outcomes(connection, told, now)
            self.checkpoint("before_commit")
        self.checkpoint("completed")
        self._tell([cleared.claim.campaign_id for cleared, outcome in answers if isinstance(outcome, Accepted)])
        return [changes[cleared.claim.campaign_id].status for cleared, _ in answers]

    def _tell(self, campaign_ids: Sequence[UUID]) -> None:
        """Let the dialog context know. What goes wrong there is made good later from `context_synced_at`."""
        if self._on_sent is None or not campaign_ids:
            return
        try:
            self._on_sent(campaign_ids)
        except Exception as error:  # the messages are out and stored: nothing here may look like a failed send
            log.warning("what was sent is told later: %s", type(error).__name__)

    # ------------------------------------------------------------ what others left behind

    def recover(self) -> Recovered:
        """Put right what dead dispatchers left, and end what is past its time.

        `sending` beyond its lease becomes `unknown`: whether the message left, only the channel knows. Claims beyond their lease are
        planned again; unsent campaigns past `expires_at` expire.
        """
        stale = f"""
            SELECT DISTINCT account_id FROM reactivation_campaigns
            WHERE ((status IN ('sending', 'claimed') AND lease_until <= :now) OR (status IN ('planned', 'claimed') AND expires_at <= :now))
              AND {_OF_SHARD}
        """  # noqa: S608 - our own words
        with self.database.begin() as connection:
            parameters = {"now": self.clock.now(), **self._shard}
            accounts = list(connection.execute(text(stale), parameters).scalars())
        known = sorted(account_id for account_id in accounts if account_id is not None)
        chunks: list[list[int]] = [known[first : first + _CHUNK] for first in range(0, len(known), _CHUNK)]
        found = [self._recover(chunk) for chunk in chunks + [[]] * (None in accounts)]
        return Recovered(
            unknown=sum(one.unknown for one in found),
            released=sum(one.released for one in found),
            expired=sum(one.expired for one in found),
        )

    def _recover(self, account_ids: Sequence[int]) -> Recovered:
        """Recover the campaigns of these accounts; of none: the campaigns without an account."""
        unknown = released = expired = 0
        with self.database.begin() as connection:
            lock_accounts(connection, account_ids)
            now = self.clock.now()
            campaigns = campaigns_for_update(
                connection,
                among(CAMPAIGNS.c.account_id, account_ids) if account_ids else CAMPAIGNS.c.account_id.is_(None),
                CAMPAIGNS.c.status.in_([Status.PLANNED, Status.CLAIMED, Status.SENDING]),
                or_(CAMPAIGNS.c.lease_until <= now, CAMPAIGNS.c.expires_at <= now),
            )
            changes = [change_of(campaign) for campaign in campaigns]
            for change in changes:
                over = change["lease_until"] is None or change["lease_until"] <= now
                if change.status is Status.SENDING:
                    if over:
                        lose(connection, change, "the dispatcher ended before the answer was stored", now)
                        unknown += 1
                elif change["expires_at"] <= now and (over or change.status is Status.PLANNED):
                    change.move(Event.EXPIRE, now, lease_owner=None, lease_until=None)
                    expired += 1
                elif change.status is Status.CLAIMED and over:
                    change.release(now)
                    released += 1
            store_changes(connection, changes)
            self.checkpoint("recovering")
        return Recovered(unknown, released, expired)


def _next(connection: Connection, found: Mapping[int, Standing], now: datetime, limit: int) -> list[Row[Any]]:
    """The campaigns to claim, locked: of each account as many as it has room for and its share of `limit`, and no more cold ones than
    it may send."""
    ready = [(one, one.account) for one in found.values() if one.room and one.account is not None]
    if not ready:
        return []
    share = max(1, limit // len(ready))
    query = {
        "accounts": [account.account_id for _, account in ready],
        "companies": [account.company_id for _, account in ready],
        "rooms": [min(one.room, share) for one, _ in ready],
        "colds": [min(one.cold, share) for one, _ in ready],
        "now": now,
    }
    cold = {account_id: one.cold for account_id, one in found.items()}
    chosen = []
    for row in connection.execute(text(_NEXT), query):
        if row.lane == "cold":
            cold[row.account_id] -= 1
        if row.lane != "cold" or cold[row.account_id] >= 0:
            chosen.append(row)
    return chosen


def _held(
    connection: Connection, found: Mapping[int, Standing], served: Collection[int], now: datetime
) -> dict[int, Held]:
    """The accounts that get nothing although something is due, and why."""
    idle = [account_id for account_id in found if account_id not in served]
    if not idle:
        return {}
    waiting = connection.execute(text(_WITH_WORK), {"accounts": idle, "now": now}).scalars()
    return {
        account_id: Held(found[account_id].reason or "cold_lane", found[account_id].until) for account_id in waiting
    }


def _store_slots(connection: Connection, claims: Iterable[Claim], refreshed: Mapping[UUID, SlotRefresh]) -> None:
    """Store what was found out of claimed campaigns' slots; a campaign that is no longer this claim's stays as it is."""
    values = [
        {
            "b_campaign": claim.campaign_id,
            "b_owner": claim.owner,
            "b_slots": found.slots,
            "b_text": found.message_text,
            "b_parts": found.text_parts,
            "b_checked": found.checked_at,
        }
        for claim in claims
        if (found := refreshed.get(claim.campaign_id)) is not None
    ]
    if values:
        statement = update(CAMPAIGNS).where(
            CAMPAIGNS.c.campaign_id == bindparam("b_campaign"),
            CAMPAIGNS.c.status == Status.CLAIMED,
            CAMPAIGNS.c.lease_owner == bindparam("b_owner"),
        )
        connection.execute(
            statement.values(
                slots=bindparam("b_slots", type_=CAMPAIGNS.c.slots.type),
                message_text=bindparam("b_text"),
                text_parts=bindparam("b_parts", type_=CAMPAIGNS.c.text_parts.type),
                slots_checked_at=bindparam("b_checked"),
            ),
            values,
        )


def _mine(connection: Connection, claims: Sequence[Claim], now: datetime) -> dict[UUID, Change]:
    """The claimed campaigns that are still these claims', locked."""
    owners = {claim.campaign_id: claim.owner for claim in claims}
    rows = campaigns_for_update(
        connection,
        among(CAMPAIGNS.c.campaign_id, list(owners)),
        CAMPAIGNS.c.status == Status.CLAIMED,
        CAMPAIGNS.c.lease_until > now,
    )
    return {row.campaign_id: change_of(row) for row in rows if row.lease_owner == owners[row.campaign_id]}


def _decide(claim: Claim, change: Change, verdict: Verdict, now: datetime) -> Decision:
    """Let the verdict on a campaign happen to its row."""
    match verdict:
        case Letter():
            change.move(
                Event.SEND,
                now,
                sending_at=now,
                lease_until=now + SENDING_LEASE,
                tries=change["tries"] + 1,
                error=None,
                sent_template=sent_template(verdict),
            )
            return Cleared(claim, verdict, now)
        case Never("expired"):
            change.move(Event.EXPIRE, now, lease_owner=None, lease_until=None)
            return Cancelled("expired")
        case Never(reason):
            change.cancel(reason, now)
            return Cancelled(reason)
        case Later(reason, until, rest):
            change.release(now, rest)
            return Postponed(reason, until)
