"""How fast one dispatcher sends when no limit holds it: messages a second, and what a message costs in queries and bytes.

    python benchmarks/sending.py --messages 6000

A fresh embedded PostgreSQL that writes through to the disk and the sandbox's messenger gateway, which answers after 50 ms, both on this
machine. Limits are lifted, everything else is the product's own: claims, last checks, existence checks (which a second round needs no more), outcomes. The goal is 300 messages
a second on two cores. Bytes are counted by a relay in front of PostgreSQL, in a run of its own.
"""

import argparse
import asyncio
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import event, insert, make_url, text

from reactivation_core import account_health
from reactivation_core.account_health import Limits
from reactivation_resources.channels.base import Channel
from reactivation_resources.channels.waha import Waha
from reactivation_resources.clock import SystemClock
from reactivation_resources.database.engine import Database, migrate
from reactivation_resources.database.models import Account, Campaign, Client, Company, CompanySettings
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.embedded.servers import running_servers
from reactivation_resources.known_numbers import KnownNumbers
from reactivation_resources.outbox import Outbox
from reactivation_sandbox.process import Town, running_town

SALONS, CLIENTS = 50, 400
ANSWER_S = 0.05
LIFTED = Limits(daily=10**6, hourly=10**6, concurrent=64, min_gap_s=0)


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure sending.")
    arguments.add_argument("--messages", type=int, default=6000)
    arguments.add_argument("--concurrency", type=int, default=96)
    arguments.add_argument("--relayed", type=int, default=600, help="messages of the run that counts bytes")
    options = arguments.parse_args()
    for level in account_health.LEVELS:
        account_health.LEVELS[level] = LIFTED
    with (
        tempfile.TemporaryDirectory() as home,
        running_servers(Path(home), postgres=True, valkey=False) as urls,
        running_town(salons=SALONS, clients=CLIENTS, history=1) as town,
    ):
        migrate(urls.database_url)
        database = Database(urls.database_url)
        phones = _salons(database, town)
        calls = 2 * options.messages + options.relayed
        town.fail("/api/sendText", kind="latency", seconds=ANSWER_S, count=calls)
        print("first contact: every number is looked up first")
        _plan(database, phones, options.messages)
        _run(database, town, options.messages, options.concurrency)
        print("numbers that are known")
        _plan(database, phones, options.messages, attempt=2)
        _run(database, town, options.messages, options.concurrency)
        print("bytes, counted by a relay")
        _plan(database, phones, options.relayed, attempt=3)
        with _relay(urls.database_url) as (relayed, carried):
            _run(Database(relayed), town, options.relayed, options.concurrency, carried)


def _salons(database: Database, town: Town) -> list[tuple[int, int, int, str]]:
    """The town's salons with their numbers and clients: (company, account, client, phone) of every client on the messenger."""
    found: list[tuple[int, int, int, str]] = []
    for company, session in town.sessions.items():
        people = [one for one in town.book(int(company))["clients"] if one["phone"]]
        with database.begin() as connection:
            connection.execute(
                insert(Company).values(
                    company_id=int(company), title="Salon", timezone="UTC", country="KZ", currency="KZT", consent_basis="signed"
                )
            )  # fmt: skip
            connection.execute(
                insert(CompanySettings).values(
                    company_id=int(company), enabled=True, sending_hour_from=0, sending_hour_to=24, sending_days=[1, 2, 3, 4, 5, 6, 7]
                )
            )  # fmt: skip
            account = connection.execute(
                insert(Account)
                .values(company_id=int(company), channel="waha", session=session)
                .returning(Account.account_id)
            ).scalar_one()
            rows = [
                {"company_id": int(company), "client_id": one["client_id"], "name": "Anna", "phone": one["phone"]}
                for one in people
            ]
            connection.execute(insert(Client), rows)
        found += [(int(company), account, row["client_id"], row["phone"]) for row in rows]
    return found


def _plan(database: Database, people: list[tuple[int, int, int, str]], messages: int, attempt: int = 1) -> None:
    now = datetime.now(UTC)
    seen: set[tuple[int, str]] = set()
    rows: list[dict[str, Any]] = []
    for company, account, client, phone in people:
        if (company, phone) in seen or len(rows) == messages:
            continue
        seen.add((company, phone))
        rows.append(
            {
                "campaign_id": uuid4(), "company_id": company, "client_id": client, "episode_no": 1, "attempt_number": attempt,
                "day": now.date(), "service_id": 1, "account_id": account, "phone": phone, "status": "planned", "lane": "warm",
                "segment": "regular", "priority": 0.5, "days_since": 50, "retry_interval_days": 14, "max_attempts": 3,
                "planned_at": now - timedelta(hours=1), "send_after": now - timedelta(minutes=1), "expires_at": now + timedelta(hours=20),
                "message_text": "Анна, здравствуйте! Вы были у нас почти два месяца назад. Свободно в пятницу в 18:30. Записать вас? 😊",
            }
        )  # fmt: skip
    if len(rows) < messages:
        raise SystemExit(f"the town has {len(rows)} people to write to, not {messages}")
    with database.begin() as connection:
        if attempt > 1:  # the first messages were long ago
            connection.execute(text("DELETE FROM reactivation_campaigns WHERE status = 'planned'"))  # refused for now
            connection.execute(
                text("UPDATE reactivation_campaigns SET sending_at = sending_at - interval '8 days', sent_at = NULL")
            )
        connection.execute(insert(Campaign), rows)
        connection.execute(text("ANALYZE"))


def _run(
    database: Database, town: Town, messages: int, concurrency: int, carried: "Counter[str] | None" = None
) -> None:
    statements: Counter[str] = Counter()

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(_: Any, __: Any, ___: Any, parameters: Any, ____: Any, many: bool) -> None:
        statements["rows"] += len(parameters) if many else 1
        statements["statements"] += 1

    @event.listens_for(database.engine, "commit")
    def commit(_: Any) -> None:
        statements["transactions"] += 1

    channels: dict[str, Channel] = {
        "waha": Waha(town.waha_url, town.api_key, numbers=KnownNumbers(database, SystemClock()))
    }
    before = len(town.messages())
    began, cpu = time.perf_counter(), time.process_time()
    if carried is not None:
        carried.clear()
    counts = dispatch_due(Outbox(database, SystemClock()), channels, "bench", concurrency=concurrency).counts
    took = time.perf_counter() - began
    cpu = time.process_time() - cpu
    arrived = town.messages()[before:]
    doubles = len(arrived) - len({(one["session"], one["chatId"]) for one in arrived})
    print(f"{messages} planned, {dict(counts)}, {len(arrived)} arrived, {doubles} twice")
    per = {name: number / messages for name, number in statements.items()}
    print(
        f"{len(arrived) / took:.0f} messages/s, {took:.1f} s; the dispatcher's CPU {1000 * cpu / messages:.2f} ms a message; "
        f"{per['statements']:.2f} statements ({per['rows']:.2f} with every row of a batch), {per['transactions']:.2f} transactions a message; "
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
    if carried is not None:
        print(
            f"{carried['to'] / messages:.0f} bytes to PostgreSQL and {carried['from'] / messages:.0f} back, a message"
        )
    if doubles or sum(counts[name] for name in ("accepted", "failed", "unknown", "planned")) != messages:
        raise SystemExit("not everything was sent once")


@contextmanager
def _relay(url: str) -> Iterator[tuple[str, "Counter[str]"]]:
    """The database's address through a relay on loopback that counts bytes."""
    target, carried = make_url(url), Counter[str]()
    loop = asyncio.new_event_loop()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        while chunk := await reader.read(65536):
            carried[way] += len(chunk)
            writer.write(chunk)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = str(target.query.get("host") or target.host)
        if host.startswith("/"):
            there = await asyncio.open_unix_connection(
                f"{host}/.s.PGSQL.{target.query.get('port') or target.port or 5432}"
            )
        else:
            there = await asyncio.open_connection(host, target.port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(carry(reader, there[1], "to"), carry(there[0], writer, "from"), return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(accept, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = server.sockets[0].getsockname()[1]
    relayed = target.set(host="127.0.0.1", port=port, query={})
    try:
        yield relayed.render_as_string(hide_password=False), carried
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        loop.call_soon_threadsafe(lambda: loop.call_later(0.1, loop.stop))
        thread.join()


if __name__ == "__main__":
    main()
