"""Random histories against a CRM with faults, a mirror that is killed in the middle, and changes while pages are read.

Whatever happened, after the next quiet synchronisation the mirror equals the town; on the way no company was ever seen half.
"""

import asyncio
import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reactivation_resources.crm_sync import SyncReport, sync_companies
from reactivation_resources.database.engine import Database
from reactivation_resources.lake import Lake
from reactivation_resources.mirror import Mirror
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_sandbox.process import Town, running_town
from tests.resources.mirror_truth import differences, journal, mirrored, truth
from tests.resources.sending_world import execute, rows

START = datetime(2026, 9, 1, 6, tzinfo=UTC)
ROUNDS = 6
FATAL_STATEMENTS = (9, 31, 110, 1000)
"""A kill comes before one of these statements: early and late in a round, and never."""

DAY = timedelta(hours=25)  # after which the catalogue is read again
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    with running_town(seed=21, salons=3, clients=45, now=START) as town:
        yield town


@pytest.fixture
def town(running: Town, database: Database) -> Town:
    """The town begun again, its salons connected and never mirrored."""
    running.reset()
    running.heal()
    running.variants(page_size="as_is", order="id")
    for company in companies(running):
        add_company(running, database, company)
    return running


def companies(town: Town) -> list[int]:
    return sorted(int(company) for company in town.sessions)


def add_company(town: Town, database: Database, company: int) -> None:
    zone = town.book(company)["company"]["timezone"]
    execute(
        database,
        "INSERT INTO companies (company_id, title, timezone, country, currency) VALUES (:id, 'Салон', :zone, 'RU', 'RUB')",
        id=company,
        zone=zone,
    )


def sync(database: Database, town: Town, now: datetime) -> SyncReport:
    async def once() -> SyncReport:
        async with YClients(town.yclients_url, town.partner, town.user, RateLimiter("none", ())) as crm:
            return await sync_companies(database, crm, now)

    return asyncio.run(once())


def watermarks(database: Database) -> dict[int, datetime | None]:
    return {row.company_id: row.changed_after for row in rows(database, "SELECT * FROM companies")}


def visible(database: Database, folder: Path) -> list[int]:
    """The companies that a daily run would see."""
    return Mirror(database, Lake(str(folder))).snapshot("companies").collect()["company_id"].to_list()


def assert_equal(database: Database, town: Town) -> None:
    assert {company: differences(truth(town, company), mirrored(database, company)) for company in companies(town)} == {
        company: {} for company in companies(town)
    }


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_after_faults_and_kills_the_mirror_equals_the_town(
    town: Town, database: Database, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    now = START
    histories: dict[int, list[dict[Any, tuple[Any, ...]]]] = {company: [{}] for company in companies(town)}
    marks = watermarks(database)
    killed = finished = 0
    for round_number in range(ROUNDS):
        for company, history in histories.items():
            history.append(journal(town.book(company)))
        spoil(town, chance)
        failed = sync_until_killed(database, town, now, chance.choice(FATAL_STATEMENTS))
        killed, finished = killed + (failed is None), finished + (failed is not None)
        for company in visible(database, tmp_path):
            assert mirrored(database, company)["records"] in histories[company], f"half of {company} in {round_number}"
        for company, mark in watermarks(database).items():
            assert mark is None or mark <= now
            assert marks[company] is None or (mark is not None and mark >= marks[company])
            marks[company] = mark
        town.heal()
        now += timedelta(minutes=chance.choice([20, 70, 300, 3000]))
        town.set_clock(now)
        town.shuffle(seed=seed * 100 + round_number, edits=chance.randint(1, 25))
    assert killed
    assert finished
    now += DAY
    town.set_clock(now)
    report = sync(database, town, now)
    assert (report.failed, report.rejected) == ({}, 0)
    assert sorted(visible(database, tmp_path)) == companies(town)
    assert_equal(database, town)


def spoil(town: Town, chance: random.Random) -> None:
    """Faults of several kinds in half of the rounds."""
    if chance.random() < 0.5:
        town.fail("/api/v1", kind="random", share=0.05, seed=chance.randrange(1000), count=10_000)


def sync_until_killed(database: Database, town: Town, now: datetime, statement: int) -> dict[str, str] | None:
    """Synchronise in a process of its own; what failed, or None when it was killed before this statement or commit."""
    arguments = [database.url, town.yclients_url, town.partner, town.user, now.isoformat(), str(statement)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.resources.sync_process", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode == -signal.SIGKILL:
        return None
    assert done.returncode == 0
    failed: dict[str, str] = json.loads(done.stdout)
    return failed


@pytest.mark.slow
@pytest.mark.parametrize("order", ["id", "changed_asc", "changed_desc"])
def test_changes_while_pages_are_read_are_not_lost(town: Town, database: Database, order: str) -> None:
    now = START
    town.variants(page_size="fallback", order=order)
    town.fail("/api/v1", kind="latency", seconds=0.005, count=100_000)
    for round_number in range(4):
        over = threading.Event()

        def restless(number: int = round_number, over: threading.Event = over) -> None:
            edits = 0
            while not over.wait(0.02):
                town.shuffle(seed=1000 * number + edits, edits=1)
                edits += 1

        editor = threading.Thread(target=restless)
        editor.start()
        try:
            sync(database, town, now)
        finally:
            over.set()
            editor.join()
        now += timedelta(hours=1)
        town.set_clock(now)
    town.heal()
    now += DAY
    town.set_clock(now)
    report = sync(database, town, now)
    assert (report.failed, report.rejected) == ({}, 0)
    assert_equal(database, town)
