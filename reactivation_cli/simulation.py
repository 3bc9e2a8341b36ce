"""A platform on a simulated clock: the sandbox town as CRM and channel, replies and status events through the real HTTP service.

What to add here: how simulated time passes. What to keep out: rules of the product; a simulated day runs the same code as a real one.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import text

from reactivation_api.server import running_api
from reactivation_assets.feedback.client_responses import take_replies
from reactivation_assets.sensors import waiting_replies
from reactivation_cli.launcher import Launcher, open_launcher
from reactivation_core.send_times import HORIZON
from reactivation_resources.accounts import account_states
from reactivation_resources.calendar import Calendar
from reactivation_resources.clock import SimulatedClock, SystemClock
from reactivation_resources.dispatch import dispatch_due
from reactivation_resources.platform import Platform, servers_for
from reactivation_resources.settings import Settings
from reactivation_sandbox.process import Town, running_town

STEP = timedelta(minutes=30)
OWNER = "simulation"


@dataclass(frozen=True)
class Simulation:
    """An open platform in a town, and the launcher of its jobs."""

    launcher: Launcher
    town: Town
    clock: SimulatedClock

    @property
    def platform(self) -> Platform:
        """The platform under simulation."""
        return self.launcher.platform

    def advance_to(self, instant: datetime) -> None:
        """Let time pass in the platform and in the town; what clients did meanwhile has come in afterwards."""
        if instant > self.clock.now():
            self.clock.advance_to(instant)
        if instant > self.town.clock():
            self.town.set_clock(instant)

    def react(self) -> None:
        """Do what the sensors would ask for: read waiting replies, send what is due."""
        platform = self.platform
        if waiting_replies(platform.database) is not None:
            take_replies(platform)
        dispatch_due(platform.outbox, platform.channels, OWNER)

    def live_until(self, end: datetime, on_step: Callable[[datetime], None] = lambda _: None) -> None:
        """Let the day run: stop at every moment something is due, and every half hour for what clients do."""
        while (now := self.clock.now()) < end:
            due = self.platform.outbox.next_planned_at()
            step = min(now + STEP, end)
            self.advance_to(min(step, due) if due is not None and due > now else step)
            self.react()
            on_step(self.clock.now())

    def close_day(self, day: date) -> None:
        """Materialize what became of the day: its campaigns and replies as they stand now."""
        self.launcher.run("send_due", partition=day.isoformat())
        self.launcher.run("read_replies", partition=day.isoformat())

    def closing_time(self, day: date) -> datetime:
        """When the last sending window closes in which a campaign of `day` may go out."""
        platform = self.platform
        start = platform.calendar.as_of(day)
        closings = [
            closing
            for view in account_states(platform.database, start).values()
            if view.enabled and view.window is not None and platform.only_company in (None, view.company_id)
            for _, closing in view.window.open_intervals(start, start + HORIZON, at_most=1)
        ]
        return max(closings, default=start)


@contextmanager
def open_simulation(
    settings: Settings, start: datetime, *, only_company: int | None = None, **town: Any
) -> Iterator[Simulation]:
    """Open a platform at `start` in a town of its own; `town` are the town's options."""
    with running_town(now=start, **town) as world, simulation_in(world, settings, start, only_company) as simulation:
        yield simulation


@contextmanager
def simulation_in(
    town: Town, settings: Settings, start: datetime, only_company: int | None = None
) -> Iterator[Simulation]:
    """Open a platform at `start` in a running town, which outlives it."""
    sandboxed = settings.model_copy(
        update={
            "yclients_base_url": town.yclients_url,
            "yclients_partner_token": SecretStr(town.partner),
            "yclients_user_token": SecretStr(town.user),
            "waha_base_url": town.waha_url,
            "waha_api_key": SecretStr(town.api_key),
            "waha_webhook_key": SecretStr(town.hmac_key),
            "gemini_base_url": town.gemini_url,
            "gemini_api_key": SecretStr(town.gemini_key),
            "socks_proxy": None,
        }
    )
    with ExitStack() as stack:
        clock = SimulatedClock(start)
        urls = stack.enter_context(servers_for(settings))
        platform = Platform(sandboxed, clock, urls, only_company)
        stack.callback(platform.close)
        launcher = stack.enter_context(open_launcher(platform))  # brings the schema up to date before anything comes in
        town.set_webhook(f"{stack.enter_context(running_api(platform))}/api/reactivation/webhooks/whatsapp/waha")
        yield Simulation(launcher, town, clock)


def book_of(platform: Platform, company: int) -> dict[str, Any]:
    """An imported salon as the town takes it in: company, services, staff, clients, records."""

    def rows(query: str) -> list[dict[str, Any]]:
        with platform.database.begin() as connection:
            return [dict(row._mapping) for row in connection.execute(text(query), {"company": company})]

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value.isoformat()
            if isinstance(value, datetime)
            else float(value)
            if hasattr(value, "as_tuple")
            else value
            for key, value in row.items()
        }

    found = rows("SELECT * FROM companies WHERE company_id = :company")
    if not found:
        raise LookupError(f"company {company} is not known: import its book first")
    tables = {
        "services": "SELECT * FROM services WHERE company_id = :company",
        "staff": "SELECT * FROM staff WHERE company_id = :company",
        "clients": "SELECT * FROM clients WHERE company_id = :company AND NOT deleted",
        "records": "SELECT record_id, client_id, starts_at, staff_id, service_id, price, status, created_at FROM record_lines"
        " WHERE company_id = :company AND NOT deleted ORDER BY record_id, line",
    }
    return {"company": plain(found[0]), **{name: [plain(row) for row in rows(query)] for name, query in tables.items()}}


def start_of(settings: Settings, day: date) -> datetime:
    """The scheduled instant of `day`, before any platform is open."""
    return Calendar(settings, SystemClock()).as_of(day)
