"""Alerts: rows that a human must see. Repeats of the same one are folded into a count.

What to add here: how an alert is stored and told. What to keep out: deciding what deserves one, and how a message travels (telegram.py).

Rows first, messages second: what could not be told waits in its row, and what is told again and again is told once a day.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from reactivation_resources.database.engine import Database
from reactivation_resources.telegram import Telegram, TelegramError

AT_ONCE = 20
TOLD_AGAIN_AFTER = timedelta(hours=24)

_RAISE = """
INSERT INTO alerts (company_id, kind, fold_key, message, first_at, last_at) VALUES (:company, :kind, :fold, :message, :at, :at)
ON CONFLICT (fold_key) DO UPDATE SET times = alerts.times + 1, last_at = greatest(alerts.last_at, :at), message = excluded.message
"""


def raise_alert(
    connection: Connection, kind: str, fold_key: str, message: str, at: datetime, company_id: int | None
) -> None:
    """Store an alert; one with the same `fold_key` is counted again. `message` names no client and no phone."""
    values = {"company": company_id, "kind": kind, "fold": fold_key, "message": message, "at": at}
    connection.execute(text(_RAISE), values)


# A row that was told waits for a day, however often it is raised meanwhile.
_UNTOLD = "times > told_times AND (told_at IS NULL OR told_at <= :again)"
_WAITING = f"SELECT count(*) FROM alerts WHERE {_UNTOLD}"  # noqa: S608 - our own words
_NEXT = f"""
SELECT * FROM alerts WHERE {_UNTOLD} ORDER BY last_at, alert_id LIMIT :most FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - our own words
_TOLD = "UPDATE alerts SET told_at = :now, told_times = times WHERE alert_id = ANY(:alerts)"


@dataclass(frozen=True, slots=True)
class Told:
    """How many alerts people were told of, how many wait, and why they do, if that is known."""

    told: int = 0
    waiting: int = 0
    trouble: str = ""


def untold(database: Database, now: datetime) -> int:
    """How many alerts nobody has been told of."""
    with database.begin() as connection:
        return int(connection.execute(text(_WAITING), {"again": now - TOLD_AGAIN_AFTER}).scalar_one())


def tell(database: Database, telegram: Telegram, now: datetime) -> Told:
    """Tell people of the alerts that wait, the oldest first and those of one kind together. Any number of callers tell each once.

    An alert is marked only when Telegram has taken it: a crash in between tells it twice, never not at all.
    """
    told, trouble = 0, ""
    with database.begin() as connection:
        query = {"again": now - TOLD_AGAIN_AFTER, "most": AT_ONCE}
        rows = connection.execute(text(_NEXT), query).all()
        for kind in dict.fromkeys(row.kind for row in rows):
            of_kind = [row for row in rows if row.kind == kind]
            try:
                telegram.send("\n".join(_line(row) for row in of_kind))
            except TelegramError as error:
                trouble = str(error)
                break
            connection.execute(text(_TOLD), {"now": now, "alerts": [row.alert_id for row in of_kind]})
            told += len(of_kind)
    return Told(told, untold(database, now), trouble)


def _line(row: Row[Any]) -> str:
    times = f" ({row.times} times, last {row.last_at:%d.%m. %H:%M} UTC)" if row.times > 1 else ""
    return f"{row.message}{times}"
