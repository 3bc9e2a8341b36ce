"""The CRM's cards as they travel, and the books of several companies behind one CRM."""

from datetime import UTC, datetime
from typing import Any

from reactivation_resources.crm_sync import SyncReport, sync_companies
from reactivation_resources.database.engine import Database
from tests.resources.crm_server import Answer, CrmServer, Request, good
from tests.resources.sending_world import execute, rows

NOW = datetime(2026, 11, 22, 7, tzinfo=UTC)
TABLES = ("services", "staff", "clients", "record_lines")


def service(**changes: Any) -> dict[str, Any]:
    return {
        "id": 9, "salon_service_id": 900, "title": " Стрижка ", "category_id": 4, "price_min": 1500, "price_max": 2000,
        "active": 1, "duration": 3600, "image_group": [], "staff": [{"id": 5, "seance_length": 3600, "price": None}],
    } | changes  # fmt: skip


def staff(**changes: Any) -> dict[str, Any]:
    return {
        "id": 5, "name": "Анна Смирнова", "specialization": "мастер", "position": [], "fired": 0, "status": 0, "hidden": 0,
        "employee": {"id": 7, "phone": "+79000000005"},
    } | changes  # fmt: skip


def client(**changes: Any) -> dict[str, Any]:
    return {
        "id": 16, "name": "Юрий", "surname": "", "phone": "+79000000016", "email": "", "categories": [], "card": "", "birth_date": "",
        "sms_check": 1, "sms_not": 0, "sms_bot": 0, "spent": 0, "visits": 3, "custom_fields": [],
    } | changes  # fmt: skip


def record(**changes: Any) -> dict[str, Any]:
    return {
        "id": 70, "company_id": 1, "staff_id": 5, "client": {"id": 16, "name": "Юрий", "phone": "79000000016"}, "comer": None,
        "services": [{"id": 9, "title": "Стрижка", "cost": 1500, "first_cost": 1500, "discount": 0, "amount": 1}],
        "staff": {"id": 5, "name": "Анна", "position": []}, "date": "2026-11-20 16:00:00", "datetime": "2026-11-20T16:00:00+03:00",
        "create_date": "2026-11-15T20:35:11+0300", "visit_attendance": 1, "attendance": 1, "confirmed": 1, "visit_id": 8262996,
        "deleted": False, "custom_fields": {}, "record_labels": [], "documents": [], "activity_id": 0,
    } | changes  # fmt: skip


def card(company: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": company, "title": "Салон", "country": "Россия", "timezone": 3, "timezone_name": "Europe/Moscow",
        "currency_short_title": "р.", "phone": "+7 900 000-00-00", "business_type_id": 1, "active": 1, "main_group": [],
    } | changes  # fmt: skip


class Books:
    """The books of several companies behind one CRM.

    Rows are given by the days and changes asked for. `books` holds each company's cards by kind (`company` is its own card, `search` the ids that the search of clients gives; without it those
    of `clients`), `broken` the fault a company answers with, `asked` what was asked: company, kind, query.
    """

    def __init__(self, crm: CrmServer) -> None:
        self.crm = crm
        self.books: dict[int, dict[str, Any]] = {}
        self.broken: dict[int, Answer] = {}
        self.asked: list[tuple[int, str, dict[str, str]]] = []
        crm.answer = self.answer

    def open(self, *companies: int, **changes: Any) -> dict[str, Any]:
        """Give the companies one card of each kind, or what `changes` says; returns the book of the first."""
        for company in companies:
            self.books[company] = {
                "company": card(company), "services": [service()], "service_categories": [{"id": 4, "title": "Волосы"}],
                "staff": [staff()], "clients": [client()], "records": [record(company_id=company)],
            } | changes  # fmt: skip
        return self.books[companies[0]]

    def calls(self, kind: str) -> list[dict[str, str]]:
        """The queries of one kind."""
        return [query for _, what, query in self.asked if what == kind]

    def answer(self, request: Request) -> Answer:
        parts = request.path.removeprefix("/api/v1/").strip("/").split("/")
        company = int(parts[1])
        kind = parts[0] if parts[0] != "company" else "/".join(parts[2:]) or "company"
        query = {name: values[0] for name, values in request.query.items()}
        self.asked.append((company, kind, query))
        if company in self.broken:
            return self.broken[company]
        book = self.books[company]
        if kind == "company":
            return good(book["company"])
        if kind == "client":
            found = [row for row in book["clients"] if str(row.get("id")) == parts[2]]
            return good(found[0]) if found else (404, {"success": False, "data": None, "meta": {}})
        if kind == "clients/search":
            ids = book.get("search", [row["id"] for row in book["clients"] if row.get("id")])
            return self._page([{"id": number} for number in ids], request.body["page"], request.body["page_size"])
        if kind == "records":
            first, last = query.get("start_date", ""), query.get("end_date", "9999")
            found = [row for row in _changed(book["records"], query) if first <= str(row.get("date"))[:10] <= last]
            return self._page(found, int(query["page"]), int(query["count"]))
        if kind == "clients":
            return self._page(_changed(book["clients"], query), int(query["page"]), int(query["count"]))
        return good(book[kind])

    @staticmethod
    def _page(found: list[Any], page: int, size: int) -> Answer:
        ids = [str(row.get("id") or row) for row in found]
        return good(found[(page - 1) * size : page * size], {"total_count": len(set(ids))})


def _changed(cards: list[Any], query: dict[str, str]) -> list[Any]:
    """The cards changed since the local time asked for; one that does not say when has changed."""
    after = query.get("changed_after", "")
    return [card for card in cards if str(card.get("last_change_date", "9999"))[:19] >= after]


def add_company(database: Database, *companies: int, zone: str = "Europe/Moscow") -> None:
    for company_id in companies:
        execute(
            database,
            "INSERT INTO companies (company_id, title, timezone, country, currency, phone)"
            " VALUES (:id, 'Салон', :zone, 'RU', 'RUB', '+79000000000')",
            id=company_id,
            zone=zone,
        )


def company(database: Database, company_id: int = 1) -> Any:
    return rows(database, "SELECT * FROM companies WHERE company_id = :id", id=company_id)[0]


def sync(database: Database, crm: CrmServer, now: datetime = NOW, **options: Any) -> SyncReport:
    return crm.ask(lambda client: sync_companies(database, client, now, **options))


def snapshot(database: Database) -> dict[str, list[Any]]:
    return {table: rows(database, f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES}
