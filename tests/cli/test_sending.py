"""`reactivation send` and `reactivation templates`, as a person runs them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reactivation_resources.database.engine import Database
from reactivation_sandbox.process import Town, running_town
from tests.resources.chaos_world import utc_now
from tests.resources.sending_world import add_campaign, add_salon, execute, rows

REPOSITORY = Path(__file__).resolve().parents[2]
ALWAYS = {"sending_hour_from": 0, "sending_hour_to": 24, "sending_days": [1, 2, 3, 4, 5, 6, 7]}


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    with running_town(salons=1, clients=20, history=1) as running:
        yield running


@pytest.fixture
def env(database_url: str, redis_url: str, tmp_path: Path, town: Town) -> dict[str, str]:
    return {
        **os.environ, "DATABASE_URL": database_url.replace("+psycopg", ""), "REDIS_URL": redis_url, "REACTIVATION_HOME": str(tmp_path),
        "WAHA_BASE_URL": town.waha_url, "WAHA_API_KEY": town.api_key, "WAHA_WEBHOOK_KEY": town.hmac_key,
        "WHATSAPP_BASE_URL": town.cloud_url, "WHATSAPP_ACCESS_TOKEN": town.access_token, "COLUMNS": "200",
    }  # fmt: skip


def run(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "reactivation_cli.main", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60, check=False)


def due(database: Database, town: Town) -> None:
    """A salon of the town with a message that is due now."""
    add_salon(database, clients=1, **ALWAYS)
    phone = next(one["phone"] for one in town.book(101)["clients"] if one["phone"].startswith("+79000"))
    execute(database, "UPDATE companies SET timezone = 'UTC', country = 'AQ'")
    execute(database, "UPDATE clients SET phone = :phone", phone=phone)
    execute(database, "UPDATE channel_accounts SET session = :session", session=town.sessions["101"])
    now = utc_now()
    add_campaign(
        database, 1, phone=phone, send_after=now - timedelta(seconds=1), expires_at=now + timedelta(hours=1),
        planned_at=now - timedelta(hours=1),
    )  # fmt: skip


@pytest.mark.slow
def test_what_is_due_is_sent_once_and_reported(database: Database, town: Town, env: dict[str, str]) -> None:
    due(database, town)
    before = len(town.messages())
    first = run(env, "send", "--once")
    assert (first.returncode, "taken by the channel" in first.stdout) == (0, True), first.stderr
    second = run(env, "send", "--once", "--json")
    assert json.loads(second.stdout)["counts"] == {}
    assert len(town.messages()) == before + 1
    assert rows(database, "SELECT status FROM reactivation_campaigns") == [("accepted",)]


@pytest.mark.slow
def test_a_shard_sends_for_its_own_salons_only(database: Database, town: Town, env: dict[str, str]) -> None:
    due(database, town)
    other = run(env, "send", "--once", "--shard", "0/2", "--json")
    assert json.loads(other.stdout)["counts"] == {}
    own = run(env, "send", "--once", "--shard", "1/2", "--json")  # company 1
    assert json.loads(own.stdout)["counts"] == {"accepted": 1}


@pytest.mark.slow
def test_watching_ends_when_told_and_says_what_it_did(database: Database, town: Town, env: dict[str, str]) -> None:
    due(database, town)
    command = [sys.executable, "-m", "reactivation_cli.main", "send", "--watch"]
    watching = subprocess.Popen(
        command, cwd=REPOSITORY, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert watching.stderr is not None
    words = iter(watching.stderr.readline, "")
    assert "Ctrl-C" in next(words)
    assert "1 accepted" in next(words)
    watching.send_signal(signal.SIGTERM)
    out, _ = watching.communicate(timeout=30)
    assert (watching.returncode, "taken by the channel" in out) == (0, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["send"], "choose one"),
        (["send", "--once", "--watch"], "choose one"),
        (["send", "--once", "--shard", "4/4"], "--shard 4/4"),
        (["templates", "submit", "1", "--language", "fr"], "--language fr"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_to_do(env: dict[str, str], arguments: list[str], words: str) -> None:
    ended = run(env, *arguments)
    assert (ended.returncode, words in ended.stderr) == (1, True), ended.stderr


@pytest.mark.slow
def test_templates_are_handed_in_reviewed_and_read(database: Database, town: Town, env: dict[str, str]) -> None:
    add_salon(database)
    business = town.businesses["101"]
    execute(
        database, "UPDATE channel_accounts SET channel = 'whatsapp_cloud', business_id = :business", business=business
    )
    assert run(env, "templates", "lint").returncode == 0
    handed = run(env, "templates", "submit", business)
    assert (handed.returncode, handed.stderr.count("WhatsApp reviews it")) == (0, 8), handed.stderr
    assert "no: pending" in run(env, "templates", "list").stdout
    town.approve_templates()
    synced = run(env, "templates", "sync")
    assert (synced.returncode, "8 kept, 8 ours to send" in synced.stderr) == (0, True), synced.stderr
    assert run(env, "templates", "list").stdout.count("yes") == 8
