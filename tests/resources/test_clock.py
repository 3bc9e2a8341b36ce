"""The one source of the time, and the wall around a simulated one."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reactivation_resources.clock import SimulatedClock, SystemClock, is_loopback, refuse_outside_world

START = datetime(2026, 11, 22, 7, tzinfo=UTC)


def test_the_system_clock_tells_utc_and_never_a_naive_time() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert before <= now <= datetime.now(UTC)


def test_a_simulated_clock_stands_still_until_it_is_moved() -> None:
    clock = SimulatedClock(START)
    assert clock.now() == clock.now() == START
    clock.advance_to(START + timedelta(hours=1))
    assert clock.now() == START + timedelta(hours=1)


def test_a_simulated_clock_tells_utc_whatever_zone_it_was_set_in() -> None:
    clock = SimulatedClock(datetime(2026, 11, 22, 10, tzinfo=ZoneInfo("Europe/Moscow")))
    assert clock.now() == START
    assert clock.now().tzinfo is UTC


def test_a_simulated_clock_does_not_go_back() -> None:
    clock = SimulatedClock(START)
    clock.advance_to(START)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance_to(START - timedelta(microseconds=1))
    assert clock.now() == START


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="without a time zone"):
        SimulatedClock(datetime(2026, 11, 22))  # noqa: DTZ001
    with pytest.raises(ValueError, match="without a time zone"):
        SimulatedClock(START).advance_to(datetime(2026, 11, 23))  # noqa: DTZ001


@pytest.mark.parametrize("url", ["http://localhost:1/x", "http://127.0.0.1:80", "http://127.9.9.9", "http://[::1]:5"])
def test_this_machine_is_recognised(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.yclients.com/api/v1",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "",
        "localhost",
    ],
)
def test_anything_else_is_the_outside_world(url: str) -> None:
    assert not is_loopback(url)


def test_a_simulated_clock_is_refused_the_outside_world() -> None:
    with pytest.raises(ValueError, match="WAHA_BASE_URL"):
        refuse_outside_world(
            SimulatedClock(START), {"YCLIENTS_BASE_URL": "http://127.0.0.1:1", "WAHA_BASE_URL": "http://waha.example"}
        )


def test_the_sandbox_and_what_is_not_configured_pass() -> None:
    refuse_outside_world(SimulatedClock(START), {"YCLIENTS_BASE_URL": "http://localhost:1", "WAHA_BASE_URL": None})
    refuse_outside_world(SystemClock(), {"YCLIENTS_BASE_URL": "https://api.yclients.com/api/v1"})
