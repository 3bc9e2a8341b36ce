"""Books for the tests: frames from plain rows, and the real salon's book."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from reactivation_core.contracts import CONTRACTS, polars_schema
from reactivation_core.inactivity import InactivityInputs
from reactivation_core.local_time import local_to_instant

Row = dict[str, Any]
DEFAULTS: dict[str, Row] = {
    "companies": {
        "company_id": 1, "title": "Salon", "business_type": "beauty", "timezone": "Europe/Moscow", "country": "RU", "currency": "RUB",
        "phone": None, "language": "ru", "enabled": True, "consent_basis": "agreement", "exported_at": None, "crm_source": "yclients",
        "tone": "friendly", "max_days_inactive": 365, "min_days_since_visit": 14, "personal_factor": 1.5, "holdout_percent": 10,
    },
    "services": {"company_id": 1, "title": "Cut", "category": None, "list_price_minor": 0, "duration_s": None, "active": True},
    "staff": {"company_id": 1, "name": "Anna", "phone": None, "active": True, "service_ids": None},
    "clients": {"company_id": 1, "name": "Olga", "mailing_refused": False, "blacklisted": False, "consent": None, "deleted": False},
    "records": {
        "company_id": 1, "line": 0, "staff_id": None, "service_id": 1, "price_minor": None, "status": "attended", "deleted": False,
    },
    "rules": {
        "company_id": 1, "retry_interval_days": 14, "max_attempts": 3, "discount_progression": [10, 15, 20], "active": True,
        "interval_source": "manual",
    },
    "campaigns": {
        "company_id": 1, "episode_no": 1, "attempt_number": 1, "status": "accepted", "held_out": False, "sent_at": None,
        "response_type": None, "responded_at": None, "next_attempt_at": None, "completion_reason": None, "completed_at": None,
        "open_until": None,
    },
    "suppressions": {"company_id": 1, "reason": "opt_out", "lifted_at": None},
    "pauses": {"company_id": 1, "reason": "pause_until"},
}  # fmt: skip


def frame(name: str, rows: Sequence[Row]) -> pl.DataFrame:
    """Rows as the frame of contract `name`; what a row leaves out is the default."""
    completed = [{**DEFAULTS[name], **_derived(name, number, row), **row} for number, row in enumerate(rows)]
    return pl.DataFrame(completed, schema=polars_schema(CONTRACTS[name]))


def _derived(name: str, number: int, row: Row) -> Row:
    if name == "records":
        return {"record_id": number, "created_at": row["starts_at"]}
    if name == "clients":
        return {"phone": f"+7900{row['client_id']:07d}"}
    if name == "campaigns":
        return {"campaign_id": f"campaign {number}", "day": row["planned_at"].date(), "send_after": row["planned_at"]}
    return {}


def book(**rows: Sequence[Row]) -> InactivityInputs:
    """Inputs of the detection from rows; one company unless told."""
    rows.setdefault("companies", [{}])
    return InactivityInputs(**{name: frame(name, rows.get(name, ())) for name in DEFAULTS})


def utc(year: int, month: int, day: int, hour: int = 12, minute: int = 0) -> datetime:
    """An instant in UTC."""
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def real_rows(folder: Path) -> dict[str, list[Row]]:
    """The real salon's book as rows of the mirror."""
    company = json.loads((folder / "company.json").read_text())
    number, zone = company["company_id"], company["timezone"]
    exported_at = datetime.fromisoformat(company["exported_at"]).astimezone(UTC)

    def read(name: str) -> list[Row]:
        with (folder / f"{name}.csv").open(newline="") as file:
            return [{"company_id": number, **row} for row in csv.DictReader(file)]

    records = []
    for row in read("visits"):
        starts_at = local_to_instant(datetime.fromisoformat(row["starts_at"]), zone)
        records.append({
            "company_id": number, "record_id": int(row["record_id"]), "client_id": int(row["client_id"]), "starts_at": starts_at,
            "staff_id": int(row["staff_id"]), "service_id": int(row["service_id"]), "created_at": min(starts_at, exported_at),
            "price_minor": round(float(row["price"]) * 100) if row["price"] else None,
            "status": "attended" if row["status"] == "completed" else row["status"],
        })  # fmt: skip
    return {
        "companies": [{**company, "exported_at": exported_at, "crm_source": "import"}],
        "services": [
            {"company_id": number, "service_id": int(row["service_id"]), "title": row["title"], "category": row["category"],
             "list_price_minor": round(float(row["list_price"]) * 100)}
            for row in read("services")
        ],
        "staff": [{"company_id": number, "staff_id": int(row["staff_id"]), "name": row["name"]} for row in read("staff")],
        "clients": [
            {"company_id": number, "client_id": int(row["client_id"]), "name": row["name"], "phone": row["phone"]} for row in read("clients")
        ],
        "records": records,
        "rules": [
            {"company_id": number, "service_id": int(row["service_id"]), "interval_days": int(row["reactivation_interval_days"])}
            for row in read("rules")
        ],
    }  # fmt: skip
