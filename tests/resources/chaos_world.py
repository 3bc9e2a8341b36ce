"""Real processes that send, hear and store, and a hand that kills them: dispatchers, the HTTP service, PostgreSQL."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psutil
from sqlalchemy import insert, text

from reactivation_core.whatsapp_templates import own_frames
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import Account, Campaign, Client, Company, CompanySettings
from reactivation_resources.embedded.connection import free_port
from reactivation_resources.embedded.servers import running_servers
from reactivation_resources.template_registry import sync
from reactivation_sandbox.process import Town

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Servers:
    """A PostgreSQL of our own, to be killed: its port and its data stay."""

    home: Path
    url: str = ""
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self.url = self._stack.enter_context(running_servers(self.home, valkey=False)).database_url

    def kill(self) -> None:
        """End PostgreSQL's first process at once; the others find out by themselves."""
        pid = int((self.home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])
        family = [psutil.Process(pid), *psutil.Process(pid).children()]
        os.kill(pid, signal.SIGKILL)
        psutil.wait_procs(family, timeout=30)
        self._stack.close()

    def stop(self) -> None:
        self._stack.close()


@dataclass
class Processes:
    """Processes by name, each of which may be killed and started again."""

    env: dict[str, str]
    folder: Path
    running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)

    def start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as words:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=REPOSITORY, env=self.env, stdin=subprocess.DEVNULL, stdout=words, stderr=words
            )  # fmt: skip

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.kill()
        process.wait()
        self.killed[name.partition("-")[0]] += 1

    def end(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(timeout=60)
        self.running.clear()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]


@contextmanager
def processes(env: dict[str, str], folder: Path) -> Iterator[Processes]:
    started = Processes({**os.environ, **env}, folder)
    try:
        yield started
    finally:
        for process in started.running.values():
            process.kill()
            process.wait()


def dispatcher(started: Processes, number: int) -> None:
    started.start(f"dispatcher-{number}", "reactivation_cli.main", "send", "--watch", "--concurrency", "16")


def api(started: Processes, port: int) -> None:
    started.start("api", "reactivation_cli.api_process", "127.0.0.1", str(port))


def wait_for(url: str, within_s: float = 60) -> None:
    """Until the service answers."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if httpx.get(f"{url}/healthz", trust_env=False).is_success:
                return
        except httpx.TransportError:
            assert time.monotonic() < deadline, "the service did not come up"
            time.sleep(0.05)


@dataclass(frozen=True)
class Salon:
    """A salon of the chaos and what may be sent from it."""

    company: int
    account: int
    channel: str
    session: str
    kind: str
    phones: dict[int, str]


KINDS = ("open", "open", "open", "open", "open", "short", "open", "closed", "disabled", "no_consent")
SHORT_LIMIT = 2


def found_salons(database: Database, town: Town, now: datetime) -> list[Salon]:
    """Every salon of the town with its number and its clients; every other one on the Cloud API, with templates."""
    salons = []
    for place, (company, session) in enumerate(sorted(town.sessions.items(), key=lambda one: int(one[0]))):
        channel, kind = ("whatsapp_cloud", "waha")[place % 2], KINDS[place % len(KINDS)]
        number = town.numbers[company] if channel == "whatsapp_cloud" else session
        people = {one["client_id"]: one["phone"] for one in town.book(int(company))["clients"] if _plain(one["phone"])}
        people = {client: phone for client, phone in people.items() if list(people.values()).count(phone) == 1}
        hours = (0, 24) if kind != "closed" else _closed_at(now)
        with database.begin() as connection:
            connection.execute(
                insert(Company).values(
                    company_id=int(company), title="Salon", timezone="UTC", country="AQ", currency="EUR", language="en",
                    consent_basis=None if kind == "no_consent" else "signed",
                )
            )  # fmt: skip
            connection.execute(
                insert(CompanySettings).values(
                    company_id=int(company), enabled=kind != "disabled", sending_hour_from=hours[0], sending_hour_to=hours[1],
                    sending_days=[1, 2, 3, 4, 5, 6, 7], daily_limit_mode="manual" if kind == "short" else "auto",
                    manual_daily_limit=SHORT_LIMIT if kind == "short" else None,
                )
            )  # fmt: skip
            rows = [
                {"company_id": int(company), "client_id": client, "name": "Anna", "phone": phone}
                for client, phone in people.items()
            ]
            connection.execute(insert(Client), rows)
            values = {
                "company_id": int(company), "channel": channel, "session": number, "first_sent_at": now - timedelta(days=100),
                "business_id": town.businesses[company] if channel == "whatsapp_cloud" else None,
            }  # fmt: skip
            account = connection.execute(insert(Account).values(**values).returning(Account.account_id)).scalar_one()
        salons.append(Salon(int(company), account, channel, number, kind, people))
    _templates(database, town, salons, now)
    return salons


def _plain(phone: str) -> bool:
    return phone.startswith("+7900") and len(phone) == 12


def _closed_at(now: datetime) -> tuple[int, int]:
    """Hours that are far from now."""
    start = (now.hour + 12) % 24
    return (start, start + 1)


def _templates(database: Database, town: Town, salons: list[Salon], now: datetime) -> None:
    graph = WhatsAppTemplates(town.cloud_url, town.access_token)
    (frame,) = [one for one in own_frames("en") if one.name == "come_back_name"]
    businesses = [town.businesses[str(salon.company)] for salon in salons if salon.channel == "whatsapp_cloud"]
    for business in businesses:
        graph.submit(business, frame)
    town.approve_templates()
    for business in businesses:
        assert sync(database, business, graph.list, now).usable == 1


def plan(database: Database, salons: list[Salon], now: datetime) -> dict[UUID, tuple[Salon, str]]:
    """A campaign for every client, due now; their texts name them."""
    planned: dict[UUID, tuple[Salon, str]] = {}
    rows: list[dict[str, Any]] = []
    for salon in salons:
        for client, phone in salon.phones.items():
            campaign_id = uuid4()
            planned[campaign_id] = (salon, phone)
            rows.append(
                {
                    "campaign_id": campaign_id, "company_id": salon.company, "client_id": client, "episode_no": 1, "attempt_number": 1,
                    "day": now.date(), "service_id": 1, "account_id": salon.account, "phone": phone, "status": "planned",
                    "lane": "warm", "segment": "regular", "priority": 0.5, "days_since": 50, "retry_interval_days": 14,
                    "max_attempts": 3, "planned_at": now - timedelta(hours=1), "send_after": now - timedelta(seconds=1),
                    "expires_at": now + timedelta(hours=20), "message_text": f"{campaign_id}",
                    "text_parts": {"name": "Anna", "days_phrase": "almost two months"},
                }
            )  # fmt: skip
    with database.begin() as connection:
        connection.execute(insert(Campaign), rows)
    return planned


@dataclass(frozen=True)
class Hand:
    """Kills and starts again, as dice say, and lets clients ask to stop."""

    dice: random.Random
    started: Processes
    servers: Servers
    town: Town
    port: int
    dispatchers: int

    def upset(self, salons: list[Salon], seconds: float, postgres_at: tuple[float, ...]) -> dict[str, tuple[int, str]]:
        """Go on for so long; returns what clients wrote: the salon and phone by the message's id."""
        began, told, left = time.monotonic(), dict[str, tuple[int, str]](), list(postgres_at)
        while (passed := time.monotonic() - began) < seconds:
            if left and passed >= left[0]:
                left.pop(0)
                self.servers.kill()
                self.started.killed["postgres"] += 1
                self.servers.start()
            chance = self.dice.random()
            if chance < 0.25:
                number = self.dice.randrange(self.dispatchers)
                self.started.kill(f"dispatcher-{number}")
                dispatcher(self.started, number)
            elif chance < 0.32:
                self.started.kill("api")
                api(self.started, self.port)
            for _ in range(3):
                salon = self.dice.choice(salons)
                phone = self.dice.choice(list(salon.phones.values()))
                channel = "cloud" if salon.channel == "whatsapp_cloud" else "waha"
                message_id = self.town.write(
                    salon.company, phone, self.dice.choice(["стоп", "Stop", "не пишите мне"]), channel
                )
                told[message_id] = (salon.company, phone)
            time.sleep(self.dice.uniform(0.3, 1.2))
        return told


def utc_now() -> datetime:
    return datetime.now(UTC)


def port_of_api() -> int:
    return free_port()


def statuses(database: Database) -> Counter[str]:
    with database.begin() as connection:
        rows = connection.execute(text("SELECT status, count(*) FROM reactivation_campaigns GROUP BY 1"))
        return Counter({row[0]: row[1] for row in rows})
