"""A salon's whole book as plain JSON, deleted rows and all, for comparison with a mirror of it."""

from typing import Any

from reactivation_sandbox.salon import Record, Salon
from reactivation_sandbox.town import Town

Row = dict[str, Any]


def ledger(town: Town, salon: Salon) -> Row:
    """Company, services, staff, clients and records; instants in UTC, a line as [service, what is paid for it as text].

    Services and staff that are gone stay, inactive. Clients are those whom the CRM still has.
    """
    today = salon.local(town.now).date()
    return {
        "company": {
            "company_id": salon.company_id,
            "title": salon.title,
            "timezone": salon.zone.key,
            "currency": salon.currency,
            "phone": salon.phone,
        },
        "services": [
            {
                "service_id": item.service_id,
                "title": item.title,
                "category": item.category,
                "price": f"{item.price:.2f}",
                "duration_s": item.minutes * 60,
                "active": item.active and item.listed,
            }
            for _, item in sorted(salon.services.items())
        ],
        "staff": [
            {"staff_id": member.staff_id, "name": member.name, "phone": member.phone, "active": not member.left(today)}
            for _, member in sorted(salon.staff.items())
        ],
        "clients": [
            {
                "client_id": person.client_id,
                "name": person.name,
                "phone": person.phone,
                "mailing_refused": person.mailing_refused,
                "blacklisted": person.blacklisted,
                "changed": person.changed.isoformat(),
            }
            for _, person in sorted(salon.people.items())
        ],
        "records": [_record(row) for _, row in sorted(salon.records.items())],
    }


def _record(row: Record) -> Row:
    return {
        "record_id": row.record_id,
        "visit_id": row.visit_id,
        "client_id": row.client_id,
        "staff_id": row.staff_id,
        "activity_id": row.activity_id,
        "starts_at": row.starts_at.isoformat(),
        "lines": [[line.service_id, f"{row.paid(line):.2f}"] for line in row.lines],
        "attendance": row.attendance,
        "deleted": row.deleted,
        "created": row.created.isoformat(),
        "changed": row.changed.isoformat(),
    }
