"""A campaign's life: commands are strict, reports of the channel only move forward."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reactivation_core.campaign_states import (
    COUNTS_AGAINST_LIMITS,
    MAX_RETRIES,
    OPEN,
    SENT,
    Event,
    IllegalTransition,
    Status,
    advance,
)

REPORTS = [Event.ACCEPTED, Event.FAILED, Event.DELIVERED, Event.READ]


def test_the_straight_road_leads_from_planned_to_read():
    status = Status.PLANNED
    for event in (Event.CLAIM, Event.SEND, Event.ACCEPTED, Event.DELIVERED, Event.READ):
        status = advance(status, event, tries=1)
    assert status == Status.READ


@pytest.mark.parametrize(
    ("current", "event", "after"),
    [
        (Status.CLAIMED, Event.RELEASE, Status.PLANNED),
        (Status.PLANNED, Event.CANCEL, Status.CANCELLED),
        (Status.CLAIMED, Event.CANCEL, Status.CANCELLED),
        (Status.PLANNED, Event.EXPIRE, Status.EXPIRED),
        (Status.SENDING, Event.ANSWER_LOST, Status.UNKNOWN),
        (Status.SENDING, Event.FAILED, Status.FAILED),
        (Status.SENDING, Event.DELIVERED, Status.DELIVERED),  # the webhook overtakes the answer
        (Status.DELIVERED, Event.ACCEPTED, Status.DELIVERED),  # ... and then the answer comes
        (Status.ACCEPTED, Event.READ, Status.READ),  # read implies delivered
        (Status.ACCEPTED, Event.FAILED, Status.FAILED),
        (Status.READ, Event.FAILED, Status.READ),
        (Status.FAILED, Event.DELIVERED, Status.DELIVERED),
        (Status.UNKNOWN, Event.DELIVERED, Status.DELIVERED),
        (Status.UNKNOWN, Event.FAILED, Status.FAILED),
        (Status.UNKNOWN, Event.RETRYABLE_FAILURE, Status.FAILED),
        (Status.ACCEPTED, Event.ANSWER_LOST, Status.ACCEPTED),
    ],
)
def test_each_event_leads_where_the_table_says(current, event, after):
    assert advance(current, event, tries=1) == after


@pytest.mark.parametrize(
    ("current", "event"),
    [
        (Status.PLANNED, Event.SEND),
        (Status.CLAIMED, Event.CLAIM),
        (Status.SENDING, Event.CANCEL),
        (Status.SENDING, Event.RELEASE),
        (Status.UNKNOWN, Event.CLAIM),
        (Status.PLANNED, Event.DELIVERED),  # never sent
        (Status.HELD_OUT, Event.CLAIM),
        (Status.EXPIRED, Event.CLAIM),
    ],
)
def test_an_illegal_event_is_refused_and_both_sides_are_named(current, event):
    with pytest.raises(IllegalTransition, match=f"{current}.*{event}"):
        advance(current, event)


def test_a_held_out_campaign_takes_no_event_at_all():
    for event in Event:
        with pytest.raises(IllegalTransition):
            advance(Status.HELD_OUT, event)


def test_retries_are_bounded():
    after = [advance(Status.SENDING, Event.RETRYABLE_FAILURE, tries=tries) for tries in range(1, MAX_RETRIES + 2)]
    assert after == [Status.PLANNED] * MAX_RETRIES + [Status.FAILED]


def test_a_campaign_waiting_for_its_retry_that_arrived_after_all_is_not_sent_again():
    assert advance(Status.PLANNED, Event.DELIVERED, tries=1) == Status.DELIVERED
    assert advance(Status.PLANNED, Event.FAILED, tries=1) == Status.PLANNED


@given(st.lists(st.sampled_from(REPORTS), min_size=1, max_size=4))
def test_any_order_of_the_same_reports_ends_in_the_same_status(events):
    def end(order):
        status = Status.SENDING
        for event in order:
            status = advance(status, event, tries=1)
        return status

    assert len({end(order) for order in permutations(events)}) == 1


@given(st.sampled_from(sorted(SENT | {Status.FAILED})), st.sampled_from(REPORTS))
def test_a_repeated_report_changes_nothing(status, event):
    once = advance(status, event, tries=1)
    assert advance(once, event, tries=1) == once


def test_everything_sent_counts_against_limits_and_nothing_unsent_does():
    assert SENT < COUNTS_AGAINST_LIMITS
    assert Status.PLANNED in OPEN
    assert not COUNTS_AGAINST_LIMITS & {
        Status.PLANNED,
        Status.CLAIMED,
        Status.CANCELLED,
        Status.EXPIRED,
        Status.HELD_OUT,
    }


class ACampaign(RuleBasedStateMachine):
    """Throws every event at one campaign and watches that no message leaves twice."""

    def __init__(self):
        super().__init__()
        self.status = Status.PLANNED
        self.tries = 0
        self.certainly_unsent = True
        self.proof = 0

    @rule(event=st.sampled_from(sorted(Event)))
    def happen(self, event):
        before = self.status
        tries = self.tries + (event == Event.SEND)
        try:
            after = advance(before, event, tries=tries)
        except IllegalTransition:
            return
        if after == Status.SENDING and before != Status.SENDING:
            assert self.certainly_unsent
            self.tries, self.certainly_unsent = tries, False
        if after == Status.PLANNED and before != Status.PLANNED:
            assert before == Status.CLAIMED or (before, event) == (Status.SENDING, Event.RETRYABLE_FAILURE)
            self.certainly_unsent = True
        proof = {Status.ACCEPTED: 1, Status.FAILED: 2, Status.DELIVERED: 3, Status.READ: 4}.get(after, 0)
        assert proof >= self.proof
        self.proof, self.status = proof, after

    @precondition(lambda self: self.status in COUNTS_AGAINST_LIMITS)
    @invariant()
    def was_sent(self):
        assert self.tries > 0

    @invariant()
    def tries_are_bounded(self):
        assert self.tries <= MAX_RETRIES + 1


TestACampaign = ACampaign.TestCase


class AgainstAModel(RuleBasedStateMachine):
    """The table of transitions against a model that knows no table: it keeps what has happened and says what must follow.

    The model: a message left the house or it did not, the channel's strongest word on it, how often it was tried, and who holds it.
    """

    def __init__(self):
        super().__init__()
        self.status = Status.PLANNED
        self.over = None  # called off or expired before it left
        self.held = False  # a dispatcher has it
        self.out = False  # its request may have left and nothing certain is known
        self.lost = False  # nobody waits for its answer any more
        self.words = set()  # what the channel has said
        self.tries = 0

    def expected(self):
        if self.words:
            strongest = max(self.words, key=[Event.ACCEPTED, Event.FAILED, Event.DELIVERED, Event.READ].index)
            return Status(strongest.value)
        if self.over is not None:
            return self.over
        if self.out:
            return Status.UNKNOWN if self.lost else Status.SENDING
        return Status.CLAIMED if self.held else Status.PLANNED

    def happen(self, event, *, allowed):
        tries = self.tries + (event is Event.SEND)
        if not allowed:
            with pytest.raises(IllegalTransition):
                advance(self.status, event, tries=tries)
            return False
        self.status = advance(self.status, event, tries=tries)
        return True

    def waits(self):
        return not (self.words or self.over or self.out)

    @rule()
    def claim(self):
        if self.happen(Event.CLAIM, allowed=self.waits() and not self.held):
            self.held = True

    @rule()
    def release(self):
        if self.happen(Event.RELEASE, allowed=self.waits() and self.held):
            self.held = False

    @rule()
    def send(self):
        if self.happen(Event.SEND, allowed=self.waits() and self.held):
            self.held, self.out, self.lost = False, True, False
            self.tries += 1

    @rule(event=st.sampled_from([Event.CANCEL, Event.EXPIRE]))
    def end(self, event):
        if self.happen(event, allowed=self.waits()):
            self.held, self.over = False, Status.CANCELLED if event is Event.CANCEL else Status.EXPIRED

    @rule()
    def lose_the_answer(self):
        if self.happen(Event.ANSWER_LOST, allowed=self.out or bool(self.words)) and not self.words:
            self.lost = True

    @rule()
    def be_refused_for_now(self):
        if not self.happen(Event.RETRYABLE_FAILURE, allowed=self.out or bool(self.words)) or self.words:
            return
        if self.lost or self.tries > MAX_RETRIES:
            self.words.add(Event.FAILED)
        else:
            self.out = False

    @rule(word=st.sampled_from(REPORTS))
    def hear(self, word):
        if not self.happen(word, allowed=self.out or bool(self.words) or self.tries > 0):
            return
        waiting_again = not self.out and not self.words
        if waiting_again and (self.over is not None or word is Event.FAILED):
            return  # a late word on a try that is over
        self.words.add(word)

    @invariant()
    def they_agree(self):
        assert self.status == self.expected()


TestAgainstAModel = AgainstAModel.TestCase
