"""What may still go out at the moment of sending, and what an outcome makes of a campaign."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from reactivation_core.account_health import Signal
from reactivation_resources.accounts import record_signal
from reactivation_resources.channels.base import Accepted, Letter, Lost, Rejected, SendOutcome
from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.inbox import Inbox
from reactivation_resources.outbox import Cancelled, Claim, Cleared, Held, Outbox, Postponed, SlotRefresh
from tests.resources.sending_world import (
    NOON,
    Gateway,
    ack,
    add_campaign,
    add_salon,
    campaign,
    execute,
    phone_of,
    reply,
    rows,
    running_gateway,
)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with running_gateway() as running:
        yield running


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOON)


@pytest.fixture
def outbox(database: Database, clock: SimulatedClock) -> Outbox:
    return Outbox(database, clock)


def claimed(database: Database, outbox: Outbox, **changes: Any) -> tuple[UUID, Claim]:
    """A salon whose one campaign has been claimed."""
    add_salon(database)
    campaign_id = add_campaign(database, 1, **changes)
    (claim,) = outbox.claim("one")
    return campaign_id, claim


def events(database: Database, campaign_id: UUID) -> list[str]:
    found = rows(
        database, "SELECT to_status FROM campaign_events WHERE campaign_id = :id ORDER BY event_id", id=campaign_id
    )
    return [row.to_status for row in found]


def test_a_due_campaign_is_sent_once_and_every_step_is_written_down(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    report = dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    assert report.counts == {"accepted": 1}
    assert report.next_due_at is None
    assert gateway.sent == [("79000100001@c.us", "campaign 1/1")]
    assert events(database, campaign_id) == ["claimed", "sending", "accepted"]
    row = campaign(database, campaign_id)
    assert (row.sent_at, row.sending_at, row.next_attempt_at) == (NOON, NOON, NOON + timedelta(days=14))
    assert (row.provider_message_id, row.provider_contact_id) == ("3EB00001", "79000100001@c.us")
    assert (row.lease_owner, row.lease_until, row.tries) == (None, None, 1)
    assert rows(database, "SELECT first_sent_at FROM channel_accounts") == [(NOON,)]


def test_sending_is_committed_before_the_request_leaves(database: Database, gateway: Gateway, outbox: Outbox) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    seen: list[str] = []
    gateway.before_answer = lambda *_: seen.append(campaign(database, campaign_id).status)
    dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    assert seen == ["sending"]


CHANGES_OF_MIND = {
    "opted_out": "INSERT INTO suppressions (company_id, phone, reason, source, at) VALUES (1, :phone, 'opted_out', 'test', :now)",
    "paused": "INSERT INTO pauses (company_id, client_id, at, until, reason) VALUES (1, 1, :now, :later, 'by_hand')",
    "mailing_refused": "UPDATE clients SET mailing_refused = true WHERE client_id = 1",
    "blacklisted": "UPDATE clients SET blacklisted = true WHERE client_id = 1",
    "deleted": "UPDATE clients SET deleted = true WHERE client_id = 1",
    "no_consent": "UPDATE clients SET consent = false WHERE client_id = 1",
    "booked": "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
    " VALUES (1, 77, 1, 1, :later, 'booked', :now)",
}


@pytest.mark.parametrize("reason", sorted(CHANGES_OF_MIND))
def test_what_changes_between_claim_and_send_cancels_the_campaign(
    database: Database, outbox: Outbox, reason: str
) -> None:
    campaign_id, claim = claimed(database, outbox)
    statement = CHANGES_OF_MIND[reason]
    values = {"phone": phone_of(1), "now": NOON, "later": NOON + timedelta(days=3)}
    execute(database, statement, **{name: value for name, value in values.items() if f":{name}" in statement})
    assert outbox.begin_sending(claim) == Cancelled(reason)
    row = campaign(database, campaign_id)
    assert (row.status, row.sending_at, row.completed_at) == ("cancelled", None, NOON)
    assert row.completion_reason == ("opted_out" if reason == "opted_out" else "cancelled")
    assert outbox.claim("one") == []


def test_consent_withdrawn_in_the_ledger_is_stronger_than_the_crm(database: Database, outbox: Outbox) -> None:
    _, claim = claimed(database, outbox)
    execute(database, "UPDATE clients SET consent = true")
    execute(
        database,
        "INSERT INTO consents (company_id, client_id, granted, basis, at) VALUES (1, 1, false, 'by phone', :now)",
        now=NOON,
    )
    assert outbox.begin_sending(claim) == Cancelled("no_consent")


@pytest.mark.parametrize("created", [timedelta(hours=-30), timedelta(0)], ids=["seen late", "made since"])
@pytest.mark.parametrize("status", ["booked", "confirmed", "attended"])
def test_a_booking_of_any_kind_that_appears_cancels_the_campaign(
    database: Database, outbox: Outbox, created: timedelta, status: str
) -> None:
    _, claim = claimed(database, outbox)
    execute(
        database,
        "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, created_at)"
        " VALUES (1, 77, 1, 1, :starts, :status, :created)",
        starts=NOON - timedelta(hours=1),
        status=status,
        created=NOON + created,
    )
    assert outbox.begin_sending(claim) == Cancelled("booked")


def test_a_cancelled_or_deleted_old_booking_is_no_reason(database: Database, outbox: Outbox) -> None:
    _, claim = claimed(database, outbox)
    for record, status, deleted in ((77, "cancelled", False), (78, "booked", True)):
        execute(
            database,
            "INSERT INTO record_lines (company_id, record_id, line, client_id, starts_at, status, deleted, created_at)"
            " VALUES (1, :record, 1, 1, :starts, :status, :deleted, :created)",
            record=record,
            starts=NOON + timedelta(days=1),
            status=status,
            deleted=deleted,
            created=NOON - timedelta(days=3),
        )
    assert isinstance(outbox.begin_sending(claim), Cleared)


def test_a_stop_between_claim_and_send_keeps_the_message_in_the_house(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    campaign_id, claim = claimed(database, outbox)
    report = Inbox(database).store("waha", [reply("Стоп", phone_of(1))], NOON)
    assert (report.new, report.opt_outs) == (1, 1)
    assert outbox.begin_sending(claim) == Postponed("lease_lost")
    assert campaign(database, campaign_id).completion_reason == "opted_out"
    dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    assert gateway.sent == []


HOLDS = {
    "no_consent_basis": "UPDATE companies SET consent_basis = ' '",
    "risk_not_accepted": "UPDATE companies SET accepted_risks = '{}'",
    "company_disabled": "UPDATE reactivation_settings SET enabled = false",
    "account_stopped": "UPDATE channel_accounts SET state = 'stopped'",
    "account_paused": "UPDATE channel_accounts SET paused_until = '2026-11-23T20:00Z'",
    "window_closed": "UPDATE reactivation_settings SET sending_hour_to = 11",
    "daily_limit": "UPDATE reactivation_settings SET daily_limit_mode = 'manual', manual_daily_limit = 0",
}


@pytest.mark.parametrize("reason", sorted(HOLDS))
def test_what_holds_the_account_leaves_the_campaign_planned(
    database: Database, gateway: Gateway, clock: SimulatedClock, outbox: Outbox, reason: str
) -> None:
    campaign_id, claim = claimed(database, outbox)
    execute(database, HOLDS[reason])
    decision = outbox.begin_sending(claim)
    assert isinstance(decision, Postponed)
    assert decision.reason == reason
    assert campaign(database, campaign_id).status == "planned"
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {f"held:{reason}": 1}

    clock.advance_to(NOON + timedelta(hours=22))
    assert outbox.recover().expired == 1
    assert campaign(database, campaign_id).status == "expired"
    assert gateway.sent == []


def test_the_cold_lane_rests_while_the_warm_one_goes_on(database: Database, gateway: Gateway, outbox: Outbox) -> None:
    account_id = add_salon(database)
    cold = add_campaign(database, 1, lane="cold", send_after=NOON - timedelta(hours=1))
    warm = add_campaign(database, 2)
    execute(database, "UPDATE channel_accounts SET cold_lane_off_until = :later", later=NOON + timedelta(days=1))
    counts = dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts
    assert counts == {"accepted": 1, "held:min_gap": 1}
    assert (campaign(database, cold).status, campaign(database, warm).status) == ("planned", "accepted")
    assert account_id


def test_a_campaign_without_text_or_account_waits_and_is_counted(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database)
    add_campaign(database, 1, message_text=None)
    add_campaign(database, 2, account_id=None)
    report = dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    assert report.counts == {"no_text": 1, "no_account": 1}
    assert gateway.sent == []


def test_nothing_is_sent_early_and_the_report_says_when_to_come_back(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database)
    add_campaign(database, 1)
    add_campaign(database, 2, send_after=NOON + timedelta(hours=1))
    report = dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    assert report.next_due_at == NOON + timedelta(hours=1)
    assert len(gateway.sent) == 1


def test_two_clients_with_one_phone_get_one_message_a_week(
    database: Database, gateway: Gateway, clock: SimulatedClock
) -> None:
    add_salon(database)
    for client in (1, 2):
        add_campaign(database, client, phone=phone_of(1))
    outbox = Outbox(database, clock)
    dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")
    clock.advance_to(NOON + timedelta(minutes=10))
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {"postponed:contacted_recently": 1}
    assert len(gateway.sent) == 1


def test_an_expired_lease_is_claimed_by_another_and_the_first_owner_cannot_send(
    database: Database, clock: SimulatedClock, outbox: Outbox
) -> None:
    campaign_id, first = claimed(database, outbox)
    assert outbox.claim("two") == []
    clock.advance_to(NOON + timedelta(minutes=6))
    (second,) = outbox.claim("two")
    assert second.campaign_id == campaign_id
    assert outbox.begin_sending(first) == Postponed("lease_lost")
    assert isinstance(outbox.begin_sending(second), Cleared)
    assert events(database, campaign_id) == ["claimed", "planned", "claimed", "sending"]


# ---------------------------------------------------------------- outcomes


def sending(database: Database, outbox: Outbox, **changes: Any) -> tuple[UUID, Cleared]:
    campaign_id, claim = claimed(database, outbox, **changes)
    cleared = outbox.begin_sending(claim)
    assert isinstance(cleared, Cleared)
    return campaign_id, cleared


def test_a_passing_refusal_is_tried_again_later_and_not_for_ever(
    database: Database, gateway: Gateway, clock: SimulatedClock, outbox: Outbox
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    gateway.behave = lambda _: (500, {"exception": {"message": "server returned error 479"}})
    rests = []
    while (report := dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one")).next_due_at is not None:
        assert campaign(database, campaign_id).sending_at is None
        rests.append((report.next_due_at - clock.now()) / timedelta(minutes=1))
        clock.advance_to(report.next_due_at)
    row = campaign(database, campaign_id)
    assert rests == [5, 20, 80]
    assert (row.status, row.tries, row.error) == ("failed", 4, "whatsapp_479: WhatsApp refused the message: 479")
    assert row.failed_at == clock.now()


def test_a_gateway_that_is_away_costs_no_tries_and_the_message_goes_out_when_it_is_back(
    database: Database, gateway: Gateway, clock: SimulatedClock, outbox: Outbox
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    nowhere = {"waha": Waha("http://127.0.0.1:9")}
    for _ in range(6):
        assert dispatch_due(outbox, nowhere, "one").counts == {"planned": 1}
        clock.advance_to(clock.now() + timedelta(minutes=5))
    assert campaign(database, campaign_id).tries == 0
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {"accepted": 1}


def test_a_channel_that_is_not_configured_lets_campaigns_wait(database: Database, outbox: Outbox) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    assert dispatch_due(outbox, {}, "one").counts == {"postponed:no_channel": 1}
    assert campaign(database, campaign_id).status == "planned"


def test_a_number_that_is_not_on_the_channel_fails_and_is_left_alone(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    gateway.absent.add(phone_of(1)[1:])
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {"failed": 1}
    row = campaign(database, campaign_id)
    assert row.next_attempt_at == NOON + timedelta(days=30)
    assert (row.sent_at, row.failed_at) == (None, NOON)
    assert gateway.sent == []


def test_a_ban_in_the_answer_stops_the_account_and_holds_what_is_planned(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database, age_days=100)
    first, second = add_campaign(database, 1), add_campaign(database, 2)
    gateway.behave = lambda _: (422, {"status": "SCAN_QR_CODE", "expected": ["WORKING"]})
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {"planned": 1}
    assert {campaign(database, first).status, campaign(database, second).status} == {"planned"}
    (account,) = rows(database, "SELECT state, ban_count, limit_override FROM channel_accounts")
    assert account == ("stopped", 1, 5)
    assert rows(database, "SELECT kind, times FROM alerts") == [("account_banned", 1)]


def test_completing_twice_changes_nothing(database: Database, clock: SimulatedClock, outbox: Outbox) -> None:
    campaign_id, cleared = sending(database, outbox)
    assert outbox.complete(cleared, Accepted("m1", None)) == "accepted"
    before = campaign(database, campaign_id)
    clock.advance_to(NOON + timedelta(minutes=1))
    outbox.complete(cleared, Accepted("m1", None))
    outbox.complete(cleared, Lost("late"))
    outbox.complete(cleared, Rejected("late", "late", retryable=True))
    after = campaign(database, campaign_id)
    assert (after.status, after.sent_at, after.error) == (before.status, before.sent_at, None)
    assert events(database, campaign_id) == ["claimed", "sending", "accepted"]


def test_an_earlier_trys_answer_stored_late_does_not_touch_the_present_try(
    database: Database, clock: SimulatedClock, outbox: Outbox
) -> None:
    campaign_id, first = sending(database, outbox)
    refused = Rejected("http_503", "too busy", retryable=True)
    assert outbox.complete(first, refused) == "planned"
    clock.advance_to(NOON + timedelta(minutes=5))
    (claim,) = outbox.claim("two")
    second = outbox.begin_sending(claim)
    assert isinstance(second, Cleared)
    assert outbox.complete(first, refused) == "sending"  # else the message on its way would be planned once more
    assert outbox.complete(second, Accepted("m2", None)) == "accepted"
    assert campaign(database, campaign_id).tries == 2


def test_a_channel_that_breaks_in_the_middle_leaves_the_outcome_unknown(database: Database, outbox: Outbox) -> None:
    class Broken(Waha):
        def send(self, letter: Letter) -> SendOutcome:
            raise KeyError(letter)

    add_salon(database)
    campaign_id = add_campaign(database, 1)
    assert dispatch_due(outbox, {"waha": Broken("http://127.0.0.1:9")}, "one").counts == {"unknown": 1}
    assert campaign(database, campaign_id).error == "the channel failed: KeyError"


def test_an_answer_is_waited_for_longer_than_a_claim_lasts(
    database: Database, clock: SimulatedClock, outbox: Outbox
) -> None:
    campaign_id, _ = sending(database, outbox)
    clock.advance_to(NOON + timedelta(minutes=9))
    assert outbox.recover().unknown == 0
    clock.advance_to(NOON + timedelta(minutes=10))
    assert outbox.recover().unknown == 1
    assert campaign(database, campaign_id).status == "unknown"


def test_a_message_id_that_another_message_has_is_no_proof(database: Database, outbox: Outbox) -> None:
    campaign_id, cleared = sending(database, outbox)
    add_campaign(database, 2, status="read", sending_at=NOON, provider_message_id="m1")
    assert outbox.complete(cleared, Accepted("m1", None)) == "unknown"
    assert campaign(database, campaign_id).provider_message_id is None


def test_status_events_that_come_before_the_answer_is_stored_are_not_lost(
    database: Database, gateway: Gateway, outbox: Outbox
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    inbox = Inbox(database)

    def overtake(_: str, __: str) -> None:
        inbox.store("waha", [ack("read", "3EB00001"), ack("delivered", "3EB00001")], NOON)
        assert campaign(database, campaign_id).status == "sending"

    gateway.before_answer = overtake
    assert dispatch_due(outbox, {"waha": Waha(gateway.url)}, "one").counts == {"read": 1}
    row = campaign(database, campaign_id)
    assert (row.status, row.sent_at, row.delivered_at, row.read_at) == ("read", NOON, NOON, NOON)
    assert rows(database, "SELECT count(*) FROM inbox WHERE processed_at IS NULL OR error IS NOT NULL") == [(0,)]


# ---------------------------------------------------------------- hooks


def test_slots_are_looked_at_again_just_before_the_send(
    database: Database, gateway: Gateway, clock: SimulatedClock
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1, slots=[{"rank": 1}])
    asked: list[Any] = []

    def refresh(row: Any) -> SlotRefresh:
        asked.append(row["slots"])
        return SlotRefresh([{"rank": 2}], "with another slot", NOON)

    dispatch_due(Outbox(database, clock, refresh_slots=refresh), {"waha": Waha(gateway.url)}, "one")
    assert asked == [[{"rank": 1}]]
    assert gateway.texts() == ["with another slot"]
    row = campaign(database, campaign_id)
    assert (row.slots, row.message_text, row.slots_checked_at) == ([{"rank": 2}], "with another slot", NOON)


def test_slots_that_cannot_be_looked_at_put_the_message_off(
    database: Database, gateway: Gateway, clock: SimulatedClock
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1, slots=[{"rank": 1}])

    def broken(_: Any) -> None:
        raise RuntimeError("the CRM is away")

    report = dispatch_due(Outbox(database, clock, refresh_slots=broken), {"waha": Waha(gateway.url)}, "one")
    assert report.counts == {"postponed:slots_unchecked": 1}
    assert report.next_due_at == NOON + timedelta(minutes=5)
    assert (campaign(database, campaign_id).status, gateway.sent) == ("planned", [])


@pytest.mark.parametrize("works", [True, False])
def test_the_dialog_context_never_changes_the_outcome(
    database: Database, gateway: Gateway, clock: SimulatedClock, works: bool
) -> None:
    add_salon(database)
    campaign_id = add_campaign(database, 1)
    told: list[UUID] = []

    def on_sent(sent: Sequence[UUID]) -> None:
        told.extend(sent)
        if not works:
            raise ConnectionError("Redis is away")

    counts = dispatch_due(Outbox(database, clock, on_sent=on_sent), {"waha": Waha(gateway.url)}, "one").counts
    assert counts == {"accepted": 1}
    assert told == [campaign_id]
    assert campaign(database, campaign_id).status == "accepted"


def test_a_spam_signal_keeps_the_number_quiet_for_three_days(database: Database, outbox: Outbox) -> None:
    account_id = add_salon(database)
    add_campaign(database, 1)
    with database.begin() as connection:
        record_signal(connection, account_id, Signal.SPAM_RATE, NOON)
    assert outbox.claim("one") == []
    assert outbox.claim_from("one", [account_id]) == (
        [],
        {account_id: Held("account_paused", NOON + timedelta(hours=72))},
    )
