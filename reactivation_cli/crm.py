"""`reactivation connect` and `reactivation mirror`: salons of the CRM, from the first look at one to its mirror as it is now.

What to add here: what an operator does by hand with a salon of the CRM. What to keep out: how it is done (`reactivation_resources`).
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sqlalchemy import text

from reactivation_cli.console import fail, print_json, progress_bar, stderr
from reactivation_core.channel_policy import RISKS, company_objection
from reactivation_resources import crm_sync
from reactivation_resources.crm_hints import sync_hinted
from reactivation_resources.crm_sync import SyncReport
from reactivation_resources.database.engine import migrate
from reactivation_resources.onboarding import connect_company, write_default_rules
from reactivation_resources.platform import Platform, open_platform
from reactivation_resources.settings import Settings
from reactivation_resources.yclients.errors import CrmError

WEBHOOK = "/api/reactivation/webhooks/yclients/"
_ADVICE = {
    "401": "Correct YCLIENTS_PARTNER_TOKEN and YCLIENTS_USER_TOKEN.",
    "402": "The salon has to renew its licence of the CRM; then do this again.",
    "403": "Let the salon give the user of YCLIENTS_USER_TOKEN the rights to its clients, journal and settings.",
    "404": "Look the number up in the address of the salon's journal in the CRM.",
}
_LATER = "Look at the network and at YCLIENTS_BASE_URL, or try again later."
_STATUS = re.compile(r"HTTP (\d{3})")

_SALON = """
SELECT c.title, c.crm_source, c.crm_status, s.enabled, a.session, c.country, c.accepted_risks,
       (SELECT x.session FROM channel_accounts x WHERE x.company_id = c.company_id AND x.channel = 'whatsapp_cloud') AS cloud,
       (SELECT count(*) FROM clients x WHERE x.company_id = c.company_id AND NOT x.deleted) AS clients,
       (SELECT count(DISTINCT record_id) FROM record_lines x WHERE x.company_id = c.company_id AND NOT x.deleted) AS records,
       (SELECT count(*) FROM services x WHERE x.company_id = c.company_id AND x.active) AS services,
       (SELECT count(*) FROM staff x WHERE x.company_id = c.company_id AND x.active) AS staff,
       (SELECT count(*) FROM service_reactivation_rules x WHERE x.company_id = c.company_id AND x.active) AS rules
FROM companies c LEFT JOIN reactivation_settings s USING (company_id)
LEFT JOIN channel_accounts a ON a.company_id = c.company_id AND a.channel = 'waha'
WHERE c.company_id = :company
"""


def connect(
    settings: Settings,
    company_id: int,
    *,
    business_type: str,
    consent_basis: str,
    session: str,
    enabled: bool,
    webhook_url: str | None,
    accepted_risks: Sequence[str] = (),
    cloud: tuple[str, str] | None = None,
) -> None:
    """Connect a salon, load two years of it, give it rules and, with `webhook_url`, our address among its webhooks."""
    for risk in accepted_risks:
        if risk not in RISKS:
            fail(f"--accept-risk {risk}: known are {', '.join(RISKS)}")
    address = None if webhook_url is None else _webhook_address(settings, webhook_url)
    with _opened(settings) as platform:
        known = _salon(platform, company_id)
        if known is not None and known.crm_source != "yclients":
            fail(f"company {company_id} was imported from files: a salon is either imported or mirrored")
        with _explained():
            platform.crm.run(
                lambda crm: connect_company(
                    platform.database,
                    crm,
                    company_id,
                    business_type=business_type,
                    consent_basis=consent_basis,
                    session=session,
                    enabled=enabled,
                    accepted_risks=accepted_risks,
                    cloud=cloud,
                )
            )
        with progress_bar() as bar:
            report = _sync(platform, [company_id], bar)
        if reason := report.failed.get(company_id):
            fail(f"{reason}\n{_advice(reason)} What has been loaded stays; the same command goes on from there.")
        rules = write_default_rules(platform.database, company_id)
        hooks = None
        if address is not None:
            with _explained():
                hooks = platform.crm.run(lambda crm: crm.add_hook_url(company_id, address))
        webhooks = "not registered" if hooks is None else f"ours and {len(hooks.urls) - 1} of others"
        _print_salon(platform, company_id, session, rules, report, webhooks)


def mirror(settings: Settings, companies: Sequence[int], *, as_json: bool) -> bool:
    """Bring the mirror up to date now, and say what has changed. Whether every company could be read."""
    wanted = list(companies) or None
    with _opened(settings) as platform:
        for company_id in companies:
            salon = _salon(platform, company_id)
            if salon is None or salon.crm_source != "yclients":
                fail(f"company {company_id} is not mirrored: `reactivation connect {company_id}` connects it")
            if salon.crm_status in ("uninstalled", "suspended"):
                fail(f"company {company_id} is {salon.crm_status} in the CRM's marketplace: there is nothing to read")
        with progress_bar(quiet=as_json) as bar:
            report = _sync(platform, wanted, bar)
        if as_json:
            print_json(vars(report))
        else:
            _print_report(report)
    return not report.failed


# ---------------------------------------------------------------- the CRM


@contextmanager
def _opened(settings: Settings) -> Iterator[Platform]:
    """The platform with its schema up to date and the CRM's token at hand."""
    if settings.yclients_partner_token is None or settings.yclients_user_token is None:
        fail("YCLIENTS_PARTNER_TOKEN and YCLIENTS_USER_TOKEN are needed: see the README")
    logging.getLogger(crm_sync.__name__).setLevel(logging.ERROR)  # what it warns of is in the report
    with open_platform(settings) as platform:
        migrate(platform.urls.database_url)
        yield platform


@contextmanager
def _explained() -> Iterator[None]:
    """Let what the CRM refuses, or what cannot be read of it, end the command with what to do."""
    try:
        yield
    except CrmError as error:
        fail(f"{error}\n{_advice(str(error))}")
    except ValueError as error:
        fail(str(error))


def _sync(platform: Platform, companies: list[int] | None, bar: Progress) -> SyncReport:
    """Synchronise with a bar a company. The hints that waited are settled with it."""
    tasks: dict[int, Any] = {}

    def progress(company_id: int, share: float) -> None:
        if company_id not in tasks:
            tasks[company_id] = bar.add_task(f"company {company_id}, %", total=100)
        bar.update(tasks[company_id], completed=int(100 * share))

    for company_id in companies or ():
        progress(company_id, 0.0)
    return sync_hinted(platform.database, platform.crm, platform.clock, companies=companies, progress=progress)


def _webhook_address(settings: Settings, url: str) -> str:
    secret = settings.yclients_webhook_secret
    if secret is None:
        fail(
            "YCLIENTS_WEBHOOK_SECRET is not set: make one of 16 or more letters and digits, for this command and for the HTTP API"
        )
    if not url.startswith(("https://", "http://")) or not url.split("://", 1)[1].strip("/"):
        fail(
            f"--webhook-url {url}: must be where the CRM reaches the HTTP API, such as https://reactivation.example.org"
        )
    return url.rstrip("/").removesuffix(WEBHOOK.rstrip("/")) + WEBHOOK + secret.get_secret_value()


# ---------------------------------------------------------------- what is shown


def _salon(platform: Platform, company_id: int) -> Any:
    with platform.database.begin() as connection:
        return connection.execute(text(_SALON), {"company": company_id}).first()


def _advice(reason: str) -> str:
    status = _STATUS.search(reason)
    return _ADVICE.get(status[1], _LATER) if status else _LATER


def _print_salon(
    platform: Platform, company_id: int, session: str, rules: int, report: SyncReport, webhooks: str
) -> None:
    salon = _salon(platform, company_id)
    table = Table("what", "in the mirror", title=f"company {company_id}: {salon.title}")
    for name in ("clients", "records", "services", "staff"):
        table.add_row(name, f"{getattr(salon, name):,}")
    table.add_row("rules", f"{salon.rules:,} ({rules:,} new)")
    table.add_row("rejected cards", f"{report.rejected:,}")
    table.add_row("sending number", f"session {salon.session}" if salon.session else "none")
    if salon.cloud:
        table.add_row("used first", f"Cloud API number {salon.cloud}")
    table.add_row("webhooks", webhooks)
    table.add_row("reactivation", "on" if salon.enabled else "off")
    table.add_row("calls to the CRM", f"{report.calls.total():,}")
    Console().print(table)
    if salon.session != session:
        stderr.print(
            f"[yellow]note:[/yellow] session {session} is not this salon's: it belongs to another, or the salon has one already"
        )
    steps = [
        "`reactivation doctor` says what is still missing.",
        "`reactivation up` keeps the mirror fresh and runs every day.",
    ]
    if webhooks == "not registered":
        steps.insert(
            0, "With --webhook-url https://HOST the CRM tells of new bookings within a minute instead of an hour."
        )
    if company_objection("waha", salon.country, salon.accepted_risks) == "risk_not_accepted":
        risks = "; ".join(f"{name}: {words}" for name, words in RISKS.items())
        steps.append(f"Nothing is sent until the owner takes a risk upon himself: --accept-risk NAME ({risks}).")
    if not salon.enabled:
        steps.append("Nothing is sent yet: the same command with --enable turns the salon on.")
    for step in steps:
        stderr.print(f"- {step}", highlight=False)


def _print_report(report: SyncReport) -> None:
    table = Table(
        "table", "changed rows", title=f"companies: {report.companies:,}, calls to the CRM: {report.calls.total():,}"
    )
    for name in ("companies", "services", "staff", "clients", "records"):
        table.add_row(name, f"{report.changed[name]:,}")
    table.add_row("rejected cards", f"{report.rejected:,}")
    Console().print(table)
    for company_id, share in sorted(report.loading.items()):
        stderr.print(
            f"company {company_id}: the first load is at {share:.0%} and goes on with the next run", highlight=False
        )
    for company_id, reason in sorted(report.failed.items()):
        stderr.print(f"[red]company {company_id}:[/red] {reason}", highlight=False)
        stderr.print(f"  {_advice(reason)}", highlight=False)
