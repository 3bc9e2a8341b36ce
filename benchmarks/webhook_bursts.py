"""The Cloud API's webhook under load: bursts of batched statuses at a steady rate, and a PostgreSQL that is killed in the middle.

    python benchmarks/webhook_bursts.py --rate 1000 --seconds 20

A fresh embedded PostgreSQL that writes through to the disk, the real service in a process of its own on loopback, a generator in another,
which comes again with what was not answered with 200, as the sender does. Goals: 1,000 events a second, median under 50 ms, 99 % under 250 ms,
nothing lost.
"""

import argparse
import hashlib
import hmac
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from uuid import uuid4

import httpx
from sqlalchemy import insert, text

from reactivation_resources.database.engine import Database, migrate
from reactivation_resources.database.models import Account, Campaign, Client, Company
from reactivation_resources.embedded.connection import free_port
from reactivation_resources.embedded.servers import running_servers

SECRET = "invented-app-secret"
PATH = "/api/reactivation/webhooks/whatsapp/cloud"
ACCOUNTS, BATCH, CALLERS = 40, 20, 4
STEPS = ("sent", "delivered", "read")


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the webhook under load.")
    arguments.add_argument("--rate", type=int, default=1000, help="events a second")
    arguments.add_argument("--seconds", type=int, default=20)
    options = arguments.parse_args()
    events = options.rate * options.seconds
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        home = Path(folder)
        url = stack.enter_context(running_servers(home, valkey=False)).database_url
        migrate(url)
        _campaigns(Database(url), events)
        port = free_port()
        env = {
            "DATABASE_URL": url.replace("+psycopg", ""), "REDIS_URL": "redis://127.0.0.1:9/0", "REACTIVATION_HOME": folder,
            "WHATSAPP_ACCESS_TOKEN": "invented", "WHATSAPP_APP_SECRET": SECRET, "WHATSAPP_VERIFY_TOKEN": "invented",
        }  # fmt: skip
        command = [sys.executable, "-m", "reactivation_cli.api_process", "127.0.0.1", str(port)]
        with (home / "api.log").open("wb") as log:
            api = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)
        try:
            _wait(port)
            print(f"{events} statuses of {events // len(STEPS)} messages, {BATCH} a call, {options.rate} a second")
            _report("steady", _generate(port, options.rate, range(events // 2)))
            second = multiprocessing.get_context("spawn").Pool(1)
            flood = second.apply_async(_generate, (port, options.rate, range(events // 2, events)))
            time.sleep(options.seconds / 8)
            began = time.perf_counter()
            _kill(home)
            stack.close()
            stack.enter_context(running_servers(home, valkey=False))
            print(f"PostgreSQL killed, back after {time.perf_counter() - began:.1f} s")
            _report("with PostgreSQL killed", flood.get())
            second.close()
            _settled(Database(url), events)
        finally:
            api.terminate()
            api.wait()


@dataclass
class Took:
    """Milliseconds of the calls that were taken, how often a call had to come again, and the seconds of all of it."""

    calls: list[float] = field(default_factory=list)
    again: int = 0
    seconds: float = 0.0


def _generate(port: int, rate: int, numbers: range) -> Took:
    """Post the events at this rate, in bursts of a call for each caller; what is not taken comes again until it is."""
    took = Took()
    batches = [numbers[first : first + BATCH] for first in range(0, len(numbers), BATCH)]
    began = time.perf_counter()

    def call(place: int) -> None:
        due = began + place // CALLERS * CALLERS * BATCH / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        raw = _body(batches[place])
        signature = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        while True:
            started = time.perf_counter()
            try:
                answer = clients[place % CALLERS].post(PATH, content=raw, headers={"X-Hub-Signature-256": signature})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                took.calls.append(1000 * (time.perf_counter() - started))
                return
            took.again += 1
            time.sleep(0.2)

    clients = [httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) for _ in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(len(batches))))
    took.seconds = time.perf_counter() - began
    return took


def _body(numbers: range) -> bytes:
    """Statuses of several numbers in one call; the three of one message are next to each other in time, not in the call."""
    changes: dict[int, list[dict[str, str]]] = {}
    for number in numbers:
        message, step = divmod(number, len(STEPS))
        status = {
            "id": f"wamid.{message}", "status": STEPS[step], "timestamp": str(int(time.time())), "recipient_id": f"7900{message:07}",
        }  # fmt: skip
        changes.setdefault(message % ACCOUNTS, []).append(status)
    entries = [
        {
            "id": f"waba-{account}",
            "changes": [
                {"field": "messages", "value": {"metadata": {"phone_number_id": f"number-{account}"}, "statuses": of}}
            ],
        }
        for account, of in changes.items()
    ]
    return json.dumps({"object": "whatsapp_business_account", "entry": entries}).encode()


def _campaigns(database: Database, events: int) -> None:
    """Messages that the channel has taken, each of a client of its own."""
    now = datetime.now(UTC) - timedelta(minutes=1)
    with database.begin() as connection:
        for account in range(ACCOUNTS):
            connection.execute(
                insert(Company).values(company_id=account, title="Salon", timezone="UTC", country="KZ", currency="KZT")
            )
            connection.execute(
                insert(Account).values(
                    company_id=account,
                    channel="whatsapp_cloud",
                    session=f"number-{account}",
                    business_id=f"waba-{account}",
                )
            )
        ids = {
            row[0]: row[1] for row in connection.execute(text("SELECT company_id, account_id FROM channel_accounts"))
        }
        messages = range(events // len(STEPS) + 1)
        connection.execute(
            insert(Client),
            [{"company_id": n % ACCOUNTS, "client_id": n, "name": "A", "phone": f"+7900{n:07}"} for n in messages],
        )
        connection.execute(
            insert(Campaign),
            [
                {
                    "campaign_id": uuid4(), "company_id": n % ACCOUNTS, "client_id": n, "episode_no": 1, "attempt_number": 1,
                    "day": now.date(), "service_id": 1, "account_id": ids[n % ACCOUNTS], "phone": f"+7900{n:07}", "status": "accepted",
                    "lane": "warm", "segment": "regular", "priority": 0.5, "days_since": 50, "retry_interval_days": 14, "max_attempts": 3,
                    "planned_at": now, "send_after": now, "expires_at": now + timedelta(days=1), "sending_at": now, "sent_at": now,
                    "tries": 1, "provider_message_id": f"wamid.{n}",
                }
                for n in messages
            ],
        )  # fmt: skip
        connection.execute(text("ANALYZE"))


def _wait(port: int) -> None:
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return


def _kill(home: Path) -> None:
    pid = int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)
    time.sleep(1)


def _report(name: str, took: Took) -> None:
    cuts = quantiles(took.calls, n=100)
    rate = BATCH * len(took.calls) / took.seconds
    print(
        f"{name}: {rate:.0f} events/s, p50 {cuts[49]:.1f} ms, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f}, "
        f"longest {max(took.calls):.0f}; {took.again} calls came again"
    )


def _settled(database: Database, events: int) -> None:
    with database.begin() as connection:
        stored = connection.execute(text("SELECT count(*) FROM inbox WHERE kind = 'ack'")).scalar_one()
        read = connection.execute(
            text("SELECT count(*) FROM reactivation_campaigns WHERE status = 'read'")
        ).scalar_one()
    print(f"{events} sent, {stored} stored, {read} messages read of {events // len(STEPS)}")
    if stored != events or read != events // len(STEPS):
        raise SystemExit("something was lost")


if __name__ == "__main__":
    main()
