"""`reactivation templates`: what WhatsApp keeps for our businesses, what of it may be sent, and handing our own in.

What to add here: how it is shown. What to keep out: rules about templates and how the messenger is asked.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from reactivation_cli.console import fail, stderr
from reactivation_core.whatsapp_templates import STOP_BUTTON, lint, own_frames
from reactivation_resources.channels.whatsapp_templates import WhatsAppTemplates
from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import Platform, open_platform
from reactivation_resources.settings import Settings
from reactivation_resources.template_registry import TemplatesError, sync, sync_all

_LISTED = """
SELECT business_id, name, language, status, category, quality, usable, reason FROM message_templates ORDER BY 1, 2, 3
"""


def show(settings: Settings) -> None:
    """Print the registry, and why a template is not sent."""
    with open_platform(settings) as platform:
        rows = _rows(platform)
    table = Table("business", "name", "language", "status", "quality", "sent?", title="templates")
    for row in rows:
        why = "yes" if row.usable and row.status == "APPROVED" else f"no: {row.reason or row.status.lower()}"
        table.add_row(row.business_id, row.name, row.language, row.status, row.quality or "", why)
    Console().print(table) if rows else stderr.print("none is known: `reactivation templates sync` reads them")


def check() -> bool:
    """Print what the messenger would refuse of our own frames. Whether there was nothing."""
    good = True
    for language in STOP_BUTTON:
        for frame in own_frames(language):
            complaints = lint(frame)
            good = good and not complaints
            Console().print(
                f"{'ok ' if not complaints else 'bad'} {language} {frame.name}: {frame.body}", highlight=False
            )
            for complaint in complaints:
                Console().print(f"    {complaint}", highlight=False)
    return good


def bring_up_to_date(settings: Settings) -> bool:
    """Read the templates of every business now, and say what was found. Whether all could be read."""
    with open_platform(settings) as platform:
        graph = _graph(platform)
        found = sync_all(platform.database, graph.list, datetime.now(UTC), timedelta(0))
    if not found:
        stderr.print("no enabled company has a WhatsApp Cloud account with its business: nothing to read")
    for business, synced in found.items():
        if isinstance(synced, str):
            stderr.print(f"[red]{business}: {synced}[/red]", highlight=False)
            continue
        stderr.print(
            f"{business}: {synced.kept} kept, {synced.usable} ours to send, {synced.gone} gone", highlight=False
        )
        for words in synced.unreadable:
            stderr.print(f"    could not be read: {words}", highlight=False)
    return not any(isinstance(one, str) for one in found.values())


def submit(settings: Settings, business_id: str, language: str) -> bool:
    """Hand in our frames that the business does not have, and say what became of each. Whether all were taken."""
    if language not in STOP_BUTTON:
        fail(f"--language {language}: there are frames in {', '.join(STOP_BUTTON)}")
    taken = True
    with open_platform(settings) as platform:
        graph = _graph(platform)
        try:
            kept, _ = graph.list(business_id)
        except TemplatesError as error:
            fail(f"business {business_id}: {error}")
        there = {(one.template.name, one.template.language) for one in kept}
        for frame in own_frames(language):
            if (frame.name, frame.language) in there:
                stderr.print(f"{frame.name}: is there", highlight=False)
                continue
            try:
                graph.submit(business_id, frame)
                stderr.print(f"{frame.name}: handed in; WhatsApp reviews it", highlight=False)
            except TemplatesError as error:
                taken = False
                stderr.print(f"[red]{frame.name}: {error}[/red]", highlight=False)
        sync(platform.database, business_id, graph.list, datetime.now(UTC))
    return taken


def _graph(platform: Platform) -> WhatsAppTemplates:
    migrate(platform.urls.database_url)
    if platform.whatsapp_templates is None:
        fail("WHATSAPP_ACCESS_TOKEN is not set: templates are WhatsApp's Cloud API's")
    return platform.whatsapp_templates


def _rows(platform: Platform) -> list[Any]:
    migrate(platform.urls.database_url)
    with platform.database.begin() as connection:
        return list(connection.execute(text(_LISTED)))
