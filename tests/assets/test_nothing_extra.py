"""Nothing but today's plan ever reaches a client: re-runs, backfills, leaping clocks and nights that change the hour send nothing extra."""

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from reactivation_cli.simulation import Simulation
from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.outbox import Outbox
from tests.assets.town_world import rows
from tests.resources.sending_world import NOON, add_campaign, add_salon, execute, running_gateway
from tests.resources.sending_world import rows as rows_of

HOUR = timedelta(hours=1)


class LeapingClock:
    """A machine's clock that somebody sets."""

    simulated = False

    def __init__(self, now: datetime) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@pytest.mark.slow
def test_a_day_run_again_and_days_filled_in_later_send_nothing_more(simulation: Simulation) -> None:
    today = simulation.platform.calendar.today()
    simulation.live_until(simulation.platform.calendar.as_of(today))
    simulation.launcher.run("daily_campaigns", partition=today.isoformat())
    simulation.live_until(simulation.closing_time(today))
    messages = simulation.town.messages()
    campaigns = rows(simulation.platform.database, "SELECT campaign_id, status FROM reactivation_campaigns ORDER BY 1")
    assert messages
    simulation.launcher.run("daily_campaigns", partition=today.isoformat())
    first, last = today - timedelta(days=5), today - timedelta(days=1)
    tags = {
        "dagster/asset_partition_range_start": first.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }
    simulation.launcher.run("daily_campaigns", tags=tags)
    simulation.launcher.run("send_due", partition=first.isoformat())
    assert simulation.town.messages() == messages
    found = rows(simulation.platform.database, "SELECT campaign_id, status FROM reactivation_campaigns ORDER BY 1")
    assert found == campaigns


@pytest.mark.parametrize("leap", [HOUR, -HOUR])
def test_a_clock_that_leaps_an_hour_sends_nothing_twice_and_nothing_too_soon(
    database: Database, leap: timedelta
) -> None:
    add_salon(database, clients=12, age_days=100)
    for client in range(1, 13):
        add_campaign(database, client, send_after=NOON - HOUR * 2)
    clock = LeapingClock(NOON)
    real: list[datetime] = []
    with running_gateway() as gateway:
        waha = Waha(gateway.url)
        passed = timedelta(0)
        for step in range(60):
            clock.at = NOON + passed + (leap if 10 <= step < 40 else timedelta(0))  # wrong for a while, then set right
            before = len(gateway.sent)
            dispatch_due(Outbox(database, clock), {"waha": waha}, f"d{step}")
            real += [NOON + passed] * (len(gateway.sent) - before)
            passed += timedelta(seconds=20)
        assert max(Counter(gateway.texts()).values()) == 1
        assert len(gateway.sent) > 5
    assert all((later - earlier).total_seconds() >= 30 for earlier, later in pairwise(real))
    assert rows_of(database, "SELECT count(*) FROM reactivation_campaigns WHERE status = 'accepted'") == [(len(real),)]


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_two_dispatchers_whose_clocks_differ_send_each_message_once(database: Database, ahead: timedelta) -> None:
    add_salon(database, clients=6, age_days=100)
    for client in range(1, 7):
        add_campaign(database, client, send_after=NOON - HOUR * 2)
    with running_gateway() as gateway:
        waha = Waha(gateway.url)
        right, wrong = LeapingClock(NOON), LeapingClock(NOON + ahead)
        for _ in range(30):
            for clock in (right, wrong):
                dispatch_due(Outbox(database, clock), {"waha": waha}, f"{id(clock)}")
                clock.at += timedelta(seconds=20)
        assert max(Counter(gateway.texts()).values()) == 1


# Berlin sets its clocks back in the night to 25 October 2026 and ahead in the night to 28 March 2027.
NIGHTS = {"an hour twice": (date(2026, 10, 24), 25), "an hour missing": (date(2027, 3, 27), 23)}


@pytest.mark.parametrize("night", list(NIGHTS))
def test_a_night_that_changes_the_hour_moves_no_window_and_no_limit(database: Database, night: str) -> None:
    """A salon that sends from 1:00 to 4:00 at night would send in the doubled hour, and skip the missing one, if anything here did."""
    evening, hours = NIGHTS[night]
    zone = ZoneInfo("Europe/Berlin")
    start = datetime.combine(evening, time(12), zone).astimezone(UTC)
    add_salon(
        database, clients=120, age_days=100, sending_hour_from=1, sending_hour_to=4, sending_days=[1, 2, 3, 4, 5, 6, 7]
    )
    execute(database, "UPDATE companies SET timezone = 'Europe/Berlin', country = 'AQ'")
    execute(database, "UPDATE channel_accounts SET first_sent_at = :since", since=start - timedelta(days=100))
    for client in range(1, 121):
        add_campaign(database, client, send_after=start, planned_at=start - HOUR, expires_at=start + timedelta(days=2))
    clock = SimulatedClock(start)
    with running_gateway() as gateway:
        waha = Waha(gateway.url)
        while clock.now() < start + timedelta(hours=24):
            following = dispatch_due(Outbox(database, clock), {"waha": waha}, "one").next_due_at
            clock.advance_to(max(following or start + timedelta(hours=24), clock.now() + timedelta(seconds=31)))
        assert max(Counter(gateway.texts()).values()) == 1
    sent = [
        row.sending_at
        for row in rows_of(database, "SELECT sending_at FROM reactivation_campaigns WHERE sending_at IS NOT NULL")
    ]
    local = [at.astimezone(zone) for at in sent]
    assert all(1 <= at.hour < 4 for at in local)
    open_hours = 3 + (hours - 24)  # the window itself is an hour longer, or shorter, that night
    assert len(sent) == min(100, 20 * open_hours)
    assert all(sum(at - HOUR < other <= at for other in sent) <= 20 for at in sent)
