"""The outbox with its inbox against a model of what a messenger and a salon see: whatever happens in whatever order, on a real database."""

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from reactivation_core.campaign_states import MAX_RETRIES
from reactivation_resources.channels.base import Accepted, Lost, Rejected
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.inbox import Inbox
from reactivation_resources.outbox import Cleared, Outbox
from tests.resources.sending_world import NOON, ack, add_campaign, add_salon, execute, phone_of, reply, rows

CLIENTS = 4
GAP = timedelta(seconds=30)


class AnOutbox(RuleBasedStateMachine):
    """Two dispatchers, a messenger that answers or does not, clients who stop. The model keeps what left the house and what was said."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        execute(
            self.database,
            "TRUNCATE companies, clients, channel_accounts, reactivation_campaigns, inbox, suppressions, contacts, alerts CASCADE",
        )
        add_salon(self.database, clients=CLIENTS, age_days=100)
        self.clock = SimulatedClock(NOON)
        self.ids: dict[UUID, int] = {add_campaign(self.database, client): client for client in range(1, CLIENTS + 1)}
        self.outboxes = [Outbox(self.database, self.clock) for _ in range(2)]
        self.under_way: list[Cleared] = []
        self.left: Counter[UUID] = Counter()  # requests that may have arrived
        self.refusals: Counter[UUID] = Counter()
        self.sent_at: dict[UUID, datetime] = {}
        self.stopped: set[int] = set()

    @rule(dispatcher=st.integers(0, 1))
    def dispatch(self, dispatcher: int) -> None:
        outbox = self.outboxes[dispatcher]
        for claim in outbox.claim(f"d{dispatcher}"):
            decision = outbox.begin_sending(claim)
            if isinstance(decision, Cleared):
                client = self.ids[claim.campaign_id]
                assert client not in self.stopped
                assert self.left[claim.campaign_id] == 0  # what may have arrived is never sent again
                self.left[claim.campaign_id] += 1
                self.sent_at[claim.campaign_id] = self.clock.now()
                self.under_way.append(decision)

    @rule(
        what=st.sampled_from(["accepted", "lost", "refused", "number", "for good", "nothing"]), place=st.integers(0, 5)
    )
    def answer(self, what: str, place: int) -> None:
        if not self.under_way:
            return
        cleared = self.under_way.pop(place % len(self.under_way))
        campaign = cleared.claim.campaign_id
        outcome: Accepted | Lost | Rejected
        if what == "nothing":
            return  # the dispatcher is gone
        if what == "accepted":
            outcome = Accepted(f"m-{campaign}", None)
        elif what == "lost":
            outcome = Lost("timeout")
        else:
            outcome = Rejected("1", what, retryable=what != "for good", of_account=what == "number")
        before = self.status(campaign)
        self.outboxes[0].complete(cleared, outcome)
        if isinstance(outcome, Rejected) and before == "sending" and self.status(campaign) == "planned":
            self.left[campaign] -= 1  # certainly not sent
            del self.sent_at[campaign]
            self.refusals[campaign] += not outcome.of_account
            assert self.refusals[campaign] <= MAX_RETRIES

    @rule(status=st.sampled_from(["accepted", "delivered", "read", "failed"]), client=st.integers(1, CLIENTS))
    def hear(self, status: str, client: int) -> None:
        (campaign,) = [one for one, of in self.ids.items() if of == client]
        if self.left[campaign] == 0:
            return  # the messenger speaks of what it has got only
        event = ack(status, f"m-{campaign}", phone_of(client), occurred_at=self.clock.now())
        Inbox(self.database).store("waha", [event], self.clock.now())

    @rule(client=st.integers(1, CLIENTS))
    def stop(self, client: int) -> None:
        event = reply("стоп", phone_of(client), number=f"stop{client}", occurred_at=self.clock.now())
        Inbox(self.database).store("waha", [event], self.clock.now())
        self.stopped.add(client)

    @rule(minutes=st.sampled_from([0.2, 1, 6, 12, 60, 500]))
    def wait(self, minutes: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(minutes=minutes))

    @rule()
    def recover(self) -> None:
        self.outboxes[1].recover()

    def status(self, campaign: UUID) -> str:
        return str(
            rows(self.database, "SELECT status FROM reactivation_campaigns WHERE campaign_id = :id", id=campaign)[0][0]
        )

    @invariant()
    def nothing_is_written_to_twice(self) -> None:
        assert max(self.left.values(), default=0) <= 1

    @invariant()
    def limits_hold(self) -> None:
        times = sorted(self.sent_at.values())
        assert all(later - earlier >= GAP for earlier, later in pairwise(times))

    @invariant()
    def what_waits_has_not_left(self) -> None:
        for row in rows(self.database, "SELECT campaign_id, status, error FROM reactivation_campaigns"):
            if row.status in ("planned", "claimed", "cancelled", "expired"):
                assert self.left[row.campaign_id] == 0, row.status
            elif row.status != "failed":
                assert self.left[row.campaign_id] == 1, row.status
            assert row.status not in ("failed", "unknown", "cancelled") or row.error


@pytest.mark.slow
def test_no_order_of_events_breaks_what_the_outbox_promises(database: Database) -> None:
    machine = type("AnOutboxHere", (AnOutbox,), {"database": database})
    quick = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=quick)
