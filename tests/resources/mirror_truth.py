"""What the town holds of a salon and what the mirror holds of it, in one form, to be compared."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from reactivation_core.phones import normalise_phone
from reactivation_resources.database.engine import Database
from reactivation_sandbox.process import Town
from tests.resources.sending_world import rows

Tables = dict[str, dict[Any, tuple[Any, ...]]]
STATUS = {1: "attended", 2: "confirmed", 0: "booked", -1: "no_show"}


def truth(town: Town, company: int, country: str = "RU") -> Tables:
    """The salon as the town knows it. Services and staff that are gone stay, inactive; rows without a client are nobody's."""
    book = town.book(company)
    return {
        "services": {row["service_id"]: (row["title"], row["active"]) for row in book["services"]},
        "staff": {row["staff_id"]: (row["name"], row["active"]) for row in book["staff"]},
        "clients": {
            row["client_id"]: (
                row["name"], normalise_phone(row["phone"] or None, country), row["mailing_refused"], row["blacklisted"],
            )
            for row in book["clients"]
        },
        "records": journal(book),
    }  # fmt: skip


def journal(book: dict[str, Any]) -> dict[Any, tuple[Any, ...]]:
    """The lines of the salon's journal."""
    lines = {}
    for row in book["records"]:
        if row["client_id"] is None:
            continue
        for number, (service, price) in enumerate(row["lines"] or [(None, None)]):
            lines[row["record_id"], number] = (
                row["client_id"], row["staff_id"], datetime.fromisoformat(row["starts_at"]), service,
                None if price is None else Decimal(price), STATUS[row["attendance"]], row["deleted"], datetime.fromisoformat(row["created"]).replace(microsecond=0),
            )  # fmt: skip
    return lines


def mirrored(database: Database, company: int) -> Tables:
    """The salon as the mirror knows it; deleted clients are left out."""

    def table(query: str, keys: int) -> dict[Any, tuple[Any, ...]]:
        found = rows(database, query, company=company)
        return {row[0] if keys == 1 else tuple(row[:keys]): tuple(row[keys:]) for row in found}

    return {
        "services": table("SELECT service_id, title, active FROM services WHERE company_id = :company", 1),
        "staff": table("SELECT staff_id, name, active FROM staff WHERE company_id = :company", 1),
        "clients": table(
            "SELECT client_id, name, phone, mailing_refused, blacklisted FROM clients WHERE company_id = :company AND NOT deleted",
            1,
        ),
        "records": table(
            "SELECT record_id, line, client_id, staff_id, starts_at, service_id, price, status, deleted, created_at"
            " FROM record_lines WHERE company_id = :company",
            2,
        ),
    }


def differences(wanted: Tables, found: Tables) -> dict[str, list[Any]]:
    """Where they differ: by table, up to ten keys with what was wanted and what was found."""
    return {
        table: [
            (key, wanted[table].get(key), found[table].get(key))
            for key in sorted({*wanted[table], *found[table]}, key=str)
            if wanted[table].get(key) != found[table].get(key)
        ][:10]
        for table in wanted
        if wanted[table] != found[table]
    }
