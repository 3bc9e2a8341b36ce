"""The registry of templates: what the messenger keeps for each business, and what of it we may send.

What to add here: reading and writing the registry. What to keep out: rules about templates (`reactivation_core.whatsapp_templates`) and how
the messenger is asked (`channels/whatsapp_templates.py`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Connection, Table, delete, select, text, update
from sqlalchemy.dialects.postgresql import insert

from reactivation_core.channel_errors import TemplateEffect
from reactivation_core.whatsapp_templates import CATEGORY, Template, choose, known_parts, lint
from reactivation_resources.channels.base import TemplateCall
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import MessageTemplate

TEMPLATES = cast("Table", MessageTemplate.__table__)
APPROVED = "APPROVED"
_EFFECTS: Mapping[TemplateEffect, str] = {"pause": "PAUSED", "disable": "DISABLED"}


class TemplatesError(RuntimeError):
    """The templates could not be asked for, or one was not taken; the message says why."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A template as the messenger keeps it."""

    template: Template
    template_id: str
    status: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Synced:
    """What a look at a business's templates brought: kept now, of them usable, gone since, and the ones that could not be read."""

    kept: int
    usable: int
    gone: int
    unreadable: tuple[str, ...] = ()


def judged(kept: Kept) -> tuple[tuple[str, ...], str | None]:
    """Which parts stand in a template's places, and why we do not send it, or None."""
    parts = known_parts(kept.template)
    if parts is None:
        return (), "what stands in its places is not known: give them the names of our parts"
    if complaints := lint(kept.template):
        return parts, "; ".join(complaints)
    return parts, kept.reason if kept.status != APPROVED and kept.reason else None


def store(database: Database, business_id: str, templates: Iterable[Kept], now: datetime) -> Synced:
    """Make the registry of a business what the messenger has just told; templates that are gone there go here too."""
    rows = {(one.template.name, one.template.language): _row(business_id, one, now) for one in templates}
    with database.begin() as connection:
        if rows:
            statement = insert(TEMPLATES)
            changed = {name: statement.excluded[name] for name in next(iter(rows.values())) if name not in _KEY}
            connection.execute(
                statement.on_conflict_do_update(index_elements=list(_KEY), set_=changed), list(rows.values())
            )
        gone = delete(TEMPLATES).where(TEMPLATES.c.business_id == business_id, TEMPLATES.c.synced_at < now)
        removed = connection.execute(gone).rowcount
    return Synced(len(rows), sum(row["usable"] for row in rows.values()), removed)


_KEY = ("business_id", "name", "language")


def _row(business_id: str, kept: Kept, now: datetime) -> dict[str, Any]:
    parts, reason = judged(kept)
    template = kept.template
    return {
        "business_id": business_id,
        "name": template.name,
        "language": template.language,
        "template_id": kept.template_id,
        "category": template.category,
        "status": kept.status,
        "quality": template.quality,
        "body": template.body,
        "parts": list(parts),
        "named": template.named,
        "usable": reason is None,
        "reason": reason,
        "synced_at": now,
    }


# ---------------------------------------------------------------- sending


def for_sending(connection: Connection, business_ids: Sequence[str]) -> dict[str, list[Template]]:
    """The templates that may be sent now, by business."""
    wanted = (TEMPLATES.c.usable, TEMPLATES.c.status == APPROVED, TEMPLATES.c.category == CATEGORY)
    query = select(TEMPLATES).where(TEMPLATES.c.business_id.in_(business_ids), *wanted)
    found: dict[str, list[Template]] = {}
    for row in connection.execute(query):
        template = Template(
            row.name, row.language, row.body, tuple(row.parts), row.category, quality=row.quality, named=row.named
        )
        found.setdefault(row.business_id, []).append(template)
    return found


def call_for(templates: Sequence[Template], parts: Mapping[str, str], language: str) -> TemplateCall | None:
    """The template that says most of a text's parts, filled with them; None when none fits."""
    chosen = choose(templates, parts, language)
    if chosen is None:
        return None
    values = tuple(parts[part] for part in chosen.parts)
    return TemplateCall(chosen.name, chosen.language, values, chosen.parts if chosen.named else ())


# ---------------------------------------------------------------- what becomes of templates


def mark(
    connection: Connection,
    business_id: str,
    name: str,
    language: str,
    effect: TemplateEffect,
    at: datetime,
    words: str,
) -> None:
    """What an error of a send says of its template: not to be sent until the messenger, or the next look at it, says otherwise."""
    values: dict[str, Any] = {"reason": words, "synced_at": at}
    values |= {"status": _EFFECTS[effect]} if effect in _EFFECTS else {"usable": False}
    _update(connection, business_id, name, language, values)


def apply_event(connection: Connection, business_id: str, payload: Mapping[str, Any], at: datetime) -> bool:
    """Take in a webhook's change of a template: status, quality or category. False when we do not know the template."""
    value = payload.get("value")
    told = value if isinstance(value, Mapping) else {}
    name, language = told.get("message_template_name"), told.get("message_template_language")
    if not (isinstance(name, str) and isinstance(language, str)):
        raise ValueError("message_template_name, message_template_language: a template's change must name it")  # noqa: TRY004 - what came in is wrong, not our code
    heard = {
        "status": _word(told.get("event")),
        "reason": told.get("reason") if told.get("reason") not in (None, "NONE") else None,
        "quality": _word(told.get("new_quality_score")),
        "category": _word(told.get("new_category")),
    }
    values = {column: word for column, word in heard.items() if isinstance(word, str)}
    return _update(connection, business_id, name, language, values | {"synced_at": at})


def _word(value: Any) -> str | None:
    return value.upper() if isinstance(value, str) and value else None


def _update(connection: Connection, business_id: str, name: str, language: str, values: Mapping[str, Any]) -> bool:
    key = (TEMPLATES.c.business_id == business_id, TEMPLATES.c.name == name, TEMPLATES.c.language == language)
    return connection.execute(update(TEMPLATES).where(*key).values(**values)).rowcount > 0


# ---------------------------------------------------------------- asking the messenger

ListTemplates = Callable[[str], tuple[list[Kept], list[str]]]
"""Given a business, its templates and the words about those that could not be read; raises TemplatesError when it cannot be asked."""


def sync(database: Database, business_id: str, ask: ListTemplates, now: datetime) -> Synced:
    """Bring the registry of a business up to date."""
    kept, unreadable = ask(business_id)
    return replace(store(database, business_id, kept, now), unreadable=tuple(unreadable))


_BUSINESSES = """
SELECT a.business_id FROM channel_accounts a JOIN reactivation_settings s USING (company_id)
WHERE a.channel = 'whatsapp_cloud' AND a.business_id IS NOT NULL AND s.enabled
GROUP BY 1 HAVING coalesce((SELECT max(t.synced_at) FROM message_templates t WHERE t.business_id = a.business_id), '-infinity') <= :since
ORDER BY 1
"""


def sync_all(database: Database, ask: ListTemplates, now: datetime, older_than: timedelta) -> dict[str, Synced | str]:
    """Bring every business up to date that has not been looked at for so long. One that cannot be asked about is told by its trouble."""
    with database.begin() as connection:
        businesses = list(connection.execute(text(_BUSINESSES), {"since": now - older_than}).scalars())
    found: dict[str, Synced | str] = {}
    for business_id in businesses:
        try:
            found[business_id] = sync(database, business_id, ask, now)
        except TemplatesError as error:
            found[business_id] = str(error)
    return found
