"""`company.json` of a salon's book: read, checked field by field, written."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, text

from reactivation_core.channel_policy import RISKS
from reactivation_core.local_time import parse_zone
from reactivation_core.message_facts import BUSINESSES
from reactivation_core.phones import normalise_phone
from reactivation_resources.book_files import BookError
from reactivation_resources.upsert import staging

FILE = "company.json"
_GREATEST_ID = 10**18


@dataclass(frozen=True)
class BookCompany:
    """The salon. `exported_at` is the instant (UTC) its system wrote the book: the book knows nothing later."""

    company_id: int
    title: str
    business_type: str
    timezone: str
    country: str
    currency: str
    phone: str | None
    language: str
    enabled: bool
    consent_basis: str | None
    accepted_risks: tuple[str, ...] | None
    exported_at: datetime


def read_company(directory: Path) -> BookCompany:
    """The salon of the book in `directory`. Raises BookError naming the field and its value."""
    fields = _fields(directory / FILE)

    def want(name: str, good: bool, what: str) -> None:
        if not good:
            raise BookError(f"{FILE}: {name}={fields.get(name)!r} is not {what}")

    unknown = sorted(set(fields) - set(BookCompany.__annotations__))
    if unknown:
        raise BookError(f"{FILE}: {unknown[0]}={fields[unknown[0]]!r} is not a field of a salon")
    company_id, enabled = fields.get("company_id"), fields.get("enabled", False)
    want("company_id", type(company_id) is int and 0 < company_id < _GREATEST_ID, "a whole number above 0")
    want("enabled", isinstance(enabled, bool), "true or false")
    for name in ("title", "timezone", "country", "currency", "exported_at"):
        want(name, _is_text(fields.get(name)), "a text")
    for name in ("phone", "consent_basis"):
        want(name, fields.get(name) is None or _is_text(fields[name]), "a text or null")
    risks = fields.get("accepted_risks")
    known = f"a list of {', '.join(RISKS)} or null"
    want("accepted_risks", risks is None or (isinstance(risks, list) and all(one in RISKS for one in risks)), known)
    business_type, language = fields.get("business_type", "other"), fields.get("language", "ru")
    want("business_type", business_type in BUSINESSES, f"one of {', '.join(BUSINESSES)}")
    want("language", _matches(r"[a-z]{2}", language), "a language code such as ru")
    want("country", _matches(r"[A-Z]{2}", fields["country"]), "an ISO 3166 code such as RU")
    want("currency", _matches(r"[A-Z]{3}", fields["currency"]), "an ISO 4217 code such as RUB")
    try:
        parse_zone(fields["timezone"])
        phone = normalise_phone(fields.get("phone"), fields["country"])
    except ValueError as error:
        raise BookError(f"{FILE}: {error}") from error
    want("phone", fields.get("phone") is None or phone is not None, "a phone number")
    exported_at = _instant(fields["exported_at"])
    want(
        "exported_at", exported_at is not None, "an ISO 8601 instant with its offset such as 2018-07-29T21:00:00-04:00"
    )
    return BookCompany(
        company_id=fields["company_id"],
        title=fields["title"].strip(),
        business_type=business_type,
        timezone=fields["timezone"],
        country=fields["country"],
        currency=fields["currency"],
        phone=phone,
        language=language,
        enabled=enabled,
        consent_basis=fields.get("consent_basis"),
        accepted_risks=None if risks is None else tuple(sorted(set(risks))),
        exported_at=exported_at or datetime.now(UTC),
    )


def write_company(connection: Connection, company: BookCompany) -> int:
    """Insert or update the salon; returns how many rows of `companies` changed (0 or 1); the caller raises the version.

    Settings and the sending number are made once and belong to the salon from then on. Raises BookError for the id of a salon that is
    mirrored from its CRM: a book must not overwrite that.
    """
    known = connection.execute(
        text("SELECT crm_source FROM companies WHERE company_id = :id"), {"id": company.company_id}
    ).scalar()
    if known not in (None, "import"):
        raise BookError(
            f"{FILE}: company_id={company.company_id} is a salon mirrored from {known}, not an imported one"
        )
    apart = ("enabled", "accepted_risks")
    row = {name: value for name, value in vars(company).items() if name not in apart} | {"crm_source": "import"}
    with staging(connection, "companies", list(row)) as stage:
        stage.add(pl.DataFrame([row], schema_overrides={"phone": pl.String, "consent_basis": pl.String}))
        changed = stage.merge()
    values = {
        "id": company.company_id,
        "phone": company.phone,
        "basis": company.consent_basis,
        "at": company.exported_at,
    }
    connection.execute(
        text("INSERT INTO reactivation_settings (company_id, enabled) VALUES (:id, :enabled) ON CONFLICT DO NOTHING"),
        {"id": company.company_id, "enabled": company.enabled},
    )
    if company.phone is not None:
        connection.execute(
            text(
                "INSERT INTO channel_accounts (company_id, channel, session, phone)"
                " VALUES (:id, 'waha', 'company_' || :id, :phone) ON CONFLICT DO NOTHING"
            ),
            values,
        )
    if company.consent_basis is not None:
        connection.execute(
            text(
                "INSERT INTO consents (company_id, granted, basis, at) SELECT :id, true, :basis, :at"
                " WHERE NOT EXISTS (SELECT FROM consents WHERE company_id = :id AND client_id IS NULL AND granted AND basis = :basis)"
            ),
            values,
        )
    if company.accepted_risks is not None:
        accept_risks(connection, company.company_id, company.accepted_risks)
    return changed


def accept_risks(connection: Connection, company_id: int, risks: Sequence[str]) -> None:
    """Keep which channel policies' risks the owner has taken upon himself (`reactivation_core.channel_policy.RISKS`)."""
    statement = text("UPDATE companies SET accepted_risks = :risks WHERE company_id = :id AND accepted_risks <> :risks")
    connection.execute(statement, {"id": company_id, "risks": list(risks)})


def _fields(path: Path) -> dict[str, Any]:
    try:
        fields = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BookError(f"{path}: is missing; it names the salon, its zone and its currency") from None
    except OSError as error:
        raise BookError(f"{path.name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise BookError(f"{path.name}: is not UTF-8") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise BookError(f"{path.name}: is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise BookError(f"{path.name}: is not a JSON object")
    return fields


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != "" and "\x00" not in value and len(value) <= 500


def _matches(pattern: str, value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _instant(value: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        return None
    return instant.astimezone(UTC) if instant.tzinfo is not None else None
