"""Several dispatchers, a messenger that loses answers and shuffles events, and kill -9 for everybody: counted where messages arrive.

Real processes in real time: the product's own commands, a PostgreSQL of their own, the sandbox with its clock running by itself.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from reactivation_resources.clock import SimulatedClock
from reactivation_resources.database.engine import Database, migrate
from reactivation_resources.outbox import Outbox
from reactivation_sandbox.process import Town, running_town
from tests.resources import chaos_world as world

SEED = 20261127
SALONS, CLIENTS, DISPATCHERS = 420, 8, 3
SECONDS, POSTGRES_DIES_AT = 75.0, (20.0, 45.0)
GAP, HOURLY = timedelta(seconds=30), 20
SPEED = 30.0
MISCHIEF = {
    "lose_answers": 0.05,
    "refuse": 0.02,
    "duplicate": 0.2,
    "late": 0.3,
    "late_s": 600,
    "skip_delivered": 0.3,
    "batch": 15,
}


@pytest.fixture
def town() -> Iterator[Town]:
    now = world.utc_now().replace(microsecond=0)
    with running_town(salons=SALONS, clients=CLIENTS, history=1, now=now, ready_within_s=180) as running:
        yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_dies_no_client_hears_twice_and_nothing_planned_is_lost(
    town: Town, redis_url: str, tmp_path: Path
) -> None:
    servers = world.Servers(tmp_path / "home")
    servers.start()
    migrate(servers.url)
    database = Database(servers.url)
    started = world.utc_now()
    salons = world.found_salons(database, town, started)
    planned = world.plan(database, salons, started)
    assert len(planned) > 2000
    port = world.port_of_api()
    base = f"http://127.0.0.1:{port}"
    env = {
        "DATABASE_URL": servers.url.replace("+psycopg", ""), "REDIS_URL": redis_url, "REACTIVATION_HOME": str(tmp_path / "home"),
        "WAHA_BASE_URL": town.waha_url, "WAHA_API_KEY": town.api_key, "WAHA_WEBHOOK_KEY": town.hmac_key,
        "WHATSAPP_BASE_URL": town.cloud_url, "WHATSAPP_ACCESS_TOKEN": town.access_token, "WHATSAPP_APP_SECRET": town.app_secret,
        "WHATSAPP_VERIFY_TOKEN": town.verify_token,
    }  # fmt: skip
    with world.processes(env, tmp_path) as running:
        world.api(running, port)
        world.wait_for(base)
        hooks = f"{base}/api/reactivation/webhooks/whatsapp"
        town.set_webhook(f"{hooks}/waha")
        town.set_cloud_webhook(f"{hooks}/cloud")
        town.mischief(**MISCHIEF)
        town.live(SPEED)
        for number in range(DISPATCHERS):
            world.dispatcher(running, number)
        hand = world.Hand(random.Random(SEED), running, servers, town, port, DISPATCHERS)
        told = hand.upset(salons, SECONDS, POSTGRES_DIES_AT)
        for number in range(DISPATCHERS):
            running.running[f"dispatcher-{number}"].terminate()
            running.running.pop(f"dispatcher-{number}").wait(timeout=60)
        # What dead dispatchers left is found when their leases have run out; then the messenger tells all that it has still to tell.
        Outbox(database, SimulatedClock(world.utc_now() + timedelta(minutes=11))).recover()
        world.wait_for(base)
        town.live(0)
        town.mischief(late=0)
        for _ in range(50):  # what nobody answered is told again
            town.set_clock(town.clock() + timedelta(days=2))
            if town.undelivered() == 0:
                break
        assert town.undelivered() == 0
        killed = running.killed
        running.end()
    assert min(killed["dispatcher"], killed["api"], killed["postgres"]) >= 2, killed

    arrived = _arrived(town)
    rows = {row.campaign_id: row for row in _rows(database, "SELECT * FROM reactivation_campaigns")}
    assert set(rows) == set(planned)
    _nobody_twice(arrived)
    _inside_limits(arrived, salons)
    _nobody_who_said_stop(town, arrived, planned, told, rows)
    _everything_accounted_for(arrived, rows)
    assert len(arrived) > SALONS  # it did send
    lost = sum(row["lost"] for row in arrived.values())
    assert lost > 5
    assert _rows(
        database, "SELECT FROM campaign_events WHERE to_status = 'unknown' LIMIT 1"
    )  # and some were settled later
    database.close()
    servers.stop()


def _rows(database: Database, query: str) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(text(query)))


def _campaign(message: dict[str, Any]) -> UUID:
    return UUID(message["campaign"] or message["text"])


def _arrived(town: Town) -> dict[UUID, dict[str, Any]]:
    """What the messenger took, by campaign; the first of several."""
    messages = town.messages()
    counts = Counter(_campaign(message) for message in messages)
    assert [one for one, count in counts.items() if count > 1] == []
    return {_campaign(message): message for message in messages}


def _nobody_twice(arrived: dict[UUID, dict[str, Any]]) -> None:
    chats = Counter((message["session"], message["chatId"]) for message in arrived.values())
    assert [chat for chat, count in chats.items() if count > 1] == []


def _inside_limits(arrived: dict[UUID, dict[str, Any]], salons: list[world.Salon]) -> None:
    """Every rolling limit, and the windows, by the clock of the messenger."""
    times: dict[str, list[datetime]] = defaultdict(list)
    for message in arrived.values():
        times[message["session"]].append(datetime.fromisoformat(message["real_at"]))
    for salon in salons:
        sent = sorted(times[salon.session])
        if salon.kind in {"closed", "disabled", "no_consent"}:
            assert sent == [], salon.kind
        assert len(sent) <= (world.SHORT_LIMIT if salon.kind == "short" else HOURLY)
        assert [later - earlier for earlier, later in pairwise(sent) if later - earlier < GAP] == []


def _nobody_who_said_stop(
    town: Town,
    arrived: dict[UUID, dict[str, Any]],
    planned: dict[UUID, tuple[world.Salon, str]],
    told: dict[str, tuple[int, str]],
    rows: dict[UUID, Any],
) -> None:
    """Whoever's "stop" was answered with 200 gets nothing that had not left by then."""
    answered: dict[tuple[int, str], datetime] = {}
    for message_id, at in town.answered().items():
        if message_id in told:
            person = told[message_id]
            answered[person] = min(at, answered.get(person, at))
    assert len(answered) > 50
    for campaign_id, (salon, phone) in planned.items():
        at = answered.get((salon.company, phone))
        if at is None:
            continue
        if campaign_id in arrived:
            # `sending` was committed before the stop was: the request was on its way
            assert rows[campaign_id].sending_at < at
            assert datetime.fromisoformat(arrived[campaign_id]["real_at"]) < at + timedelta(seconds=5)
        else:
            # or it was on its way, was refused, and waits for a try that its last check will call off
            row = rows[campaign_id]
            over = row.status in {"cancelled", "unknown", "failed"}  # failed: refused for good before the stop came
            assert over or (row.status == "planned" and row.tries > 0), row.status


def _everything_accounted_for(arrived: dict[UUID, dict[str, Any]], rows: dict[UUID, Any]) -> None:
    """What arrived is known to have, what did not arrive is known not to have, and nothing hangs in between."""
    for campaign_id, row in rows.items():
        if campaign_id in arrived:
            assert row.status in {"accepted", "delivered", "read", "failed"}, (row.status, row.error)
        else:
            assert row.status in {"planned", "cancelled", "failed", "unknown"}, row.status
            assert row.status == "planned" or row.error, row.status
    waiting = [row for row in rows.values() if row.status == "planned"]
    assert all(row.lease_owner is None for row in waiting)
