"""Alerts: rows that a human must see. Repeats of the same one are folded into a count.

What to add here: how an alert is stored. What to keep out: telling people (that reads the rows) and deciding what deserves one.
"""

from datetime import datetime

from sqlalchemy import Connection, text

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
