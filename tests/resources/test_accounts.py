"""Accounts: what planning reads of them, what signals and scores make of them."""

from dataclasses import asdict
from datetime import timedelta

import pytest

from reactivation_core.account_health import Signal
from reactivation_resources.account_watch import refresh_health
from reactivation_resources.accounts import account_states, planning_frames, record_signal
from reactivation_resources.database.engine import Database
from tests.resources.sending_world import NOON, add_campaign, add_salon, execute, phone_of, rows


def score_of(database: Database, at: timedelta = timedelta(0)) -> float:
    return next(iter(refresh_health(database, NOON + at).values()))


def sends(database: Database, count: int, **changes: object) -> None:
    for client in range(1, count + 1):
        status = {"status": "accepted", "sending_at": NOON - timedelta(minutes=client), **changes}
        add_campaign(database, client, **status)


def test_an_account_is_seen_with_its_level_window_and_sends(database: Database) -> None:
    account_id = add_salon(database, age_days=40, daily_limit_mode="manual", manual_daily_limit=7)
    add_campaign(database, 1, status="read", sending_at=NOON - timedelta(hours=23), lane="cold")
    add_campaign(database, 2, status="read", sending_at=NOON - timedelta(hours=24))  # a full day ago: counts no more
    add_campaign(database, 3, send_after=NOON + timedelta(hours=1))
    view = account_states(database, NOON)[1]
    assert (view.account_id, view.channel, view.session, view.enabled, view.has_lanes) == (
        account_id, "waha", "salon_1", True, True,
    )  # fmt: skip
    assert asdict(view.limits(NOON)) == {"daily": 7, "hourly": 7, "concurrent": 5, "min_gap_s": 120}
    assert view.window is not None
    assert view.window.is_open(NOON)
    assert view.sends == ((NOON - timedelta(hours=23), "cold"), (NOON + timedelta(hours=1), "warm"))


def test_planning_takes_accounts_and_sends_as_frames(database: Database) -> None:
    add_salon(database)
    add_salon(database, 2, age_days=100)
    add_campaign(database, 1, 2, status="accepted", sending_at=NOON - timedelta(hours=1))
    accounts, recent = planning_frames(account_states(database, NOON))
    assert accounts.select("company_id", "has_lanes", "state", "first_sent_at").rows() == [
        (1, True, "working", None),
        (2, True, "working", NOON - timedelta(days=100)),
    ]
    assert recent.rows() == [(2, NOON - timedelta(hours=1), "warm")]
    nobody, nothing = planning_frames({})
    assert (nobody.schema, nothing.schema) == (accounts.schema, recent.schema)


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM reactivation_settings", "UPDATE companies SET timezone = 'Mars/Olympus'", "UPDATE companies SET crm_status = 'frozen'"],
)  # fmt: skip
def test_what_is_missing_or_not_understood_never_opens(database: Database, statement: str) -> None:
    add_salon(database)
    execute(database, statement)
    view = account_states(database, NOON)[1]
    assert not view.enabled or view.window is None


def test_a_signal_changes_the_account_is_kept_and_its_alerts_are_folded(database: Database) -> None:
    account_id = add_salon(database, age_days=100)
    for minute in (0, 1):
        with database.begin() as connection:
            record_signal(connection, account_id, Signal.SPAM_RATE, NOON + timedelta(minutes=minute), {"code": "463"})
    (account,) = rows(database, "SELECT state, paused_until, cold_lane_off_until FROM channel_accounts")
    end = NOON + timedelta(minutes=1)
    assert account == ("working", end + timedelta(hours=72), end + timedelta(hours=168))
    assert rows(database, "SELECT kind, detail FROM account_events") == [("spam_rate", {"code": "463"})] * 2
    assert rows(database, "SELECT kind, times, first_at, last_at FROM alerts") == [("account_spam_rate", 2, NOON, end)]


def test_the_spam_score_counts_opt_outs_failures_and_missing_replies(database: Database) -> None:
    """100 sends, just now: 4 stops (rate 0.04), 5 failures (0.05), 2 replies (0.02).

    By hand: 0.4*0.04/0.05 + 0.3*0.05/0.10 + 0.3*(0.10-0.02)/0.10 = 0.32 + 0.15 + 0.24 = 0.71; one minute of silence rounds away.
    """
    add_salon(database, clients=105, age_days=100)
    sends(database, 100)
    add_campaign(
        database, 101, status="failed", sending_at=NOON - timedelta(minutes=200)
    )  # older than the last hundred
    execute(database, "UPDATE reactivation_campaigns SET status = 'failed' WHERE client_id BETWEEN 1 AND 5")
    execute(database, "UPDATE reactivation_campaigns SET responded_at = :now WHERE client_id IN (6, 7)", now=NOON)
    for client in (8, 9, 10, 11):
        execute(
            database,
            "INSERT INTO suppressions (company_id, phone, reason, source, at) VALUES (1, :phone, 'opted_out', 'test', :now)",
            phone=phone_of(client),
            now=NOON,
        )
    assert score_of(database) == pytest.approx(0.71, abs=0.0002)
    assert rows(database, "SELECT kind FROM account_events") == [("score",)]
    assert rows(database, "SELECT kind, message FROM alerts") == [
        ("spam_score", "Spam score 0.71: sending has stopped (company 1)")
    ]
    assert account_states(database, NOON)[1].limits(NOON).daily == 0
    # fourteen quiet days halve it, and the number may send again
    assert score_of(database, timedelta(days=14)) == pytest.approx(0.355, abs=0.0002)
    later = NOON + timedelta(days=14)
    assert account_states(database, later)[1].limits(later).daily == 100


def test_fewer_than_twenty_sends_say_nothing(database: Database) -> None:
    add_salon(database, clients=19)
    sends(database, 19, status="failed")
    assert score_of(database) == 0
    assert rows(database, "SELECT * FROM account_events") == []


def test_an_admins_reset_forgives_what_was_sent_before(database: Database) -> None:
    account_id = add_salon(database, clients=30)
    sends(database, 30, status="failed")
    assert score_of(database) > 0.5
    with database.begin() as connection:
        record_signal(connection, account_id, Signal.RESET, NOON)
    assert score_of(database) == 0
