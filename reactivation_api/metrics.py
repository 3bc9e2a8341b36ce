"""Numbers for Prometheus: what waits, how numbers stand, what came in. No key is needed; no company, phone or name is told.

What to add here: a number and the statement that counts it. What to keep out: what salons see of themselves (statistics).
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from fastapi import APIRouter
from sqlalchemy import Connection, text
from starlette.responses import PlainTextResponse

from reactivation_api.access import ThePlatform
from reactivation_api.envelope import documented_beside_text
from reactivation_core.account_health import refusal
from reactivation_resources.accounts import all_accounts
from reactivation_resources.alerts import untold
from reactivation_resources.platform import Platform

router = APIRouter(tags=["health"])

_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE = "SET LOCAL statement_timeout = '3s'"
_RECENT = timedelta(hours=24)


class Metric(NamedTuple):
    """A number by labels: its name without the prefix, what it counts, and a statement with the columns `label` and `value`."""

    name: str
    help: str
    label: str
    statement: str


METRICS = (
    Metric(
        "campaigns",
        "Campaigns planned in the last 24 hours, by status.",
        "status",
        "SELECT status AS label, count(*) AS value FROM reactivation_campaigns WHERE planned_at > :since GROUP BY 1",
    ),
    Metric(
        "campaigns_waiting",
        "Campaigns that have not been sent yet.",
        "due",
        "SELECT CASE WHEN send_after <= :now THEN 'now' ELSE 'later' END AS label, count(*) AS value"
        " FROM reactivation_campaigns WHERE status IN ('planned', 'claimed') GROUP BY 1",
    ),
    Metric(
        "campaigns_oldest_due_seconds",
        "How long the campaign that has waited longest has been due.",
        "",
        "SELECT '' AS label, coalesce(extract(epoch FROM :now - min(send_after)), 0)::float8 AS value"
        " FROM reactivation_campaigns WHERE status IN ('planned', 'claimed') AND send_after <= :now AND expires_at > :now",
    ),
    Metric(
        "campaigns_unknown",
        "Messages whose answer was lost and that nothing has settled.",
        "",
        "SELECT '' AS label, count(*) AS value FROM reactivation_campaigns WHERE status = 'unknown'",
    ),
    Metric(
        "messages_written",
        "Messages written for campaigns of the last 24 hours, by who wrote them.",
        "source",
        "SELECT text_source AS label, count(*) AS value FROM reactivation_campaigns"
        " WHERE planned_at > :since AND text_source IS NOT NULL GROUP BY 1",
    ),
    Metric(
        "messages_fallbacks",
        "Messages of the last 24 hours that the model did not write, by why.",
        "reason",
        "SELECT writing->>'fallback' AS label, count(*) AS value FROM reactivation_campaigns"
        " WHERE planned_at > :since AND writing->>'fallback' IS NOT NULL GROUP BY 1",
    ),
    Metric(
        "model_rejections",
        "Rules that the model's answers of the last 24 hours broke.",
        "rule",
        "SELECT rule AS label, count(*) AS value FROM model_rejections WHERE at > :since GROUP BY 1",
    ),
    Metric(
        "model_dollars",
        "What the model's answers of the last 24 hours cost.",
        "",
        "SELECT '' AS label, coalesce(sum(cost_micros), 0)::float8 / 1000000 AS value FROM model_answers WHERE at > :since",
    ),
    Metric(
        "inbox_events",
        "Events of channels stored in the last 24 hours, by kind.",
        "kind",
        "SELECT kind AS label, count(*) AS value FROM inbox WHERE received_at > :since GROUP BY 1",
    ),
    Metric(
        "inbox_waiting",
        "Replies that wait to be read.",
        "",
        "SELECT '' AS label, count(*) AS value FROM inbox WHERE kind = 'message' AND processed_at IS NULL",
    ),
    Metric(
        "inbox_oldest_seconds",
        "How long the oldest reply has waited.",
        "",
        "SELECT '' AS label, coalesce(extract(epoch FROM :now - min(received_at)), 0)::float8 AS value"
        " FROM inbox WHERE kind = 'message' AND processed_at IS NULL",
    ),
)


@router.get(
    "/metrics",
    summary="Numbers for Prometheus",
    response_class=PlainTextResponse,
    responses=documented_beside_text(500, 503),
)
def metrics(platform: ThePlatform) -> PlainTextResponse:
    """The text format 0.0.4. 503 while the database is away: a number that is not known is not zero."""
    lines: list[str] = []
    now = platform.clock.now()
    with platform.database.begin() as connection:
        connection.execute(text(_PATIENCE))
        for metric in METRICS:
            lines += _rendered(metric.name, metric.help, metric.label, _counted(connection, metric, now))
    lines += _rendered(
        "accounts",
        "Sending numbers of enabled companies, by why they may not send now.",
        "refusal",
        _accounts(platform),
    )
    lines += _rendered("alerts_untold", "Alerts nobody has been told of.", "", [("", untold(platform.database, now))])
    return PlainTextResponse("\n".join(lines) + "\n", media_type=_FORMAT)


def _counted(connection: Connection, metric: Metric, now: Any) -> list[tuple[str, float]]:
    wanted = {"now": now, "since": now - _RECENT}
    given = {name: value for name, value in wanted.items() if f":{name}" in metric.statement}
    return [(row.label, row.value) for row in connection.execute(text(metric.statement), given)]


def _accounts(platform: Platform) -> list[tuple[str, float]]:
    """A company without a consent basis, or whose owner has not accepted a channel's risk, is told of here too."""
    now = platform.clock.now()
    found: dict[str, int] = {"": 0}
    for view in all_accounts(platform.database):
        if view.enabled:
            why = view.objection or refusal(view.health, now)
            found[why] = found.get(why, 0) + 1
    return [(why or "none", count) for why, count in sorted(found.items())]


def _rendered(name: str, words: str, label: str, rows: Iterable[tuple[str, float]]) -> list[str]:
    lines = [f"# HELP reactivation_{name} {words}", f"# TYPE reactivation_{name} gauge"]
    for value_of, value in sorted(rows):
        labels = f'{{{label}="{_escaped(value_of)}"}}' if label else ""
        lines.append(f"reactivation_{name}{labels} {value:g}")
    return lines


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
