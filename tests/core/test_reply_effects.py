from datetime import UTC, date, datetime, timedelta
from typing import get_args

import pytest

from reactivation_core.replies import RESPONSE_TYPES, Classification, Intent
from reactivation_core.reply_effects import effects_of

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def effects(intent, *, sent_at=None, record_created_at=None, **fields):
    reply = Classification(intent, RESPONSE_TYPES[intent], "rule", **fields)
    return effects_of(
        reply, received_at=NOW, zone="Europe/Moscow", sent_at=sent_at, record_created_at=record_created_at
    )


@pytest.mark.parametrize("intent", ["confirm", "choose_slot", "other_time", "other_staff", "other_service"])
def test_a_wish_to_come_keeps_the_dialog_open_for_two_days(intent):
    found = effects(intent)
    assert (found.response_type, found.open_until, found.context) == (
        "positive",
        NOW + timedelta(hours=48),
        "selection",
    )
    assert (found.completes_episode, found.pause, found.suppress_phone) == (None, None, False)


def test_a_pause_lasts_to_the_end_of_the_named_local_day():
    found = effects("pause_until", pause_until=date(2026, 12, 15))
    assert found.response_type == "neutral"
    assert found.next_attempt_not_before == date(2026, 12, 16)
    assert found.pause.until == datetime(2026, 12, 15, 21, 0, tzinfo=UTC)
    assert (found.pause.reason, found.context, found.completes_episode) == ("pause_until", "cleared", None)


def test_a_pause_without_a_day_lasts_a_month():
    assert effects("pause_until").next_attempt_not_before == date(2026, 12, 23)


def test_a_refusal_closes_the_episode_and_rests_ninety_days_without_a_ban():
    found = effects("decline_now")
    assert (found.response_type, found.completes_episode, found.context) == ("negative", "declined", "cleared")
    assert (found.pause.until, found.suppress_phone) == (NOW + timedelta(days=90), False)


def test_an_opt_out_is_for_good():
    found = effects("opt_out", stop=True)
    assert (found.response_type, found.completes_episode) == ("negative", "opted_out")
    assert (found.suppress_phone, found.context, found.pause) == (True, "opted_out", None)


def test_a_wrong_number_is_suppressed_and_cancelled():
    found = effects("wrong_person")
    assert (found.completes_episode, found.suppress_phone, found.context) == ("cancelled", True, "cleared")


def test_a_complaint_alerts_the_salon_and_rests_the_client():
    found = effects("complaint")
    assert (found.response_type, found.alert, found.pause.reason) == ("negative", True, "complaint")


@pytest.mark.parametrize(
    ("created_after", "reason", "counts_as"),
    [
        (timedelta(0), "converted", "booking_created"),
        (timedelta(days=7), "converted", "booking_created"),
        (timedelta(days=7, seconds=1), "cancelled", "neutral"),
        (timedelta(seconds=-1), "cancelled", "neutral"),
        (None, "cancelled", "neutral"),
    ],
)
def test_a_booking_counts_only_when_made_within_a_week_after_the_send(created_after, reason, counts_as):
    sent = NOW - timedelta(days=10)
    created = None if created_after is None else sent + created_after
    found = effects("already_booked", sent_at=sent, record_created_at=created)
    assert (found.completes_episode, found.response_type, found.context) == (reason, counts_as, "cleared")


def test_stated_preferences_are_kept():
    assert effects("other_service", service="Маникюр").preference == ("service", "Маникюр")
    assert effects("other_staff", staff="Марина").preference == ("staff", "Марина")
    assert effects("other_time", time_of_day="evening", weekday=5).preference == ("time_of_day", "evening")
    assert effects("other_time", weekday=5).preference == ("weekday", "5")
    assert effects("other_staff").preference is None


@pytest.mark.parametrize("intent", get_args(Intent))
def test_every_intent_has_effects(intent):
    assert effects(intent).response_type == RESPONSE_TYPES[intent]


def test_a_naive_instant_is_refused():
    with pytest.raises(ValueError, match="aware"):
        effects_of(Classification("thanks", "neutral", "rule"), received_at=datetime(2026, 11, 22), zone="UTC")  # noqa: DTZ001
