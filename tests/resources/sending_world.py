"""A salon in the database and a gateway that keeps what it was asked to send."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

from sqlalchemy import insert, text

from reactivation_resources.channels.base import InboundEvent
from reactivation_resources.database.engine import Database
from reactivation_resources.database.models import Account, Campaign, Client, Company, CompanySettings

NOON = datetime(2026, 11, 23, 9, tzinfo=UTC)  # Monday, 12:00 in Moscow
KEY = "webhook-key"


@dataclass
class Gateway:
    """A WAHA that remembers. `behave` may answer in its place: (status, body), or None to hang up after taking the message."""

    url: str = ""
    sent: list[tuple[str, str]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    behave: Callable[[int], tuple[int, Any] | None] | None = None
    before_answer: Callable[[str, str], None] = lambda message_id, chat: None  # noqa: ARG005
    lock: threading.Lock = field(default_factory=threading.Lock)

    def texts(self) -> list[str]:
        return [text for _, text in self.sent]


@contextmanager
def running_gateway() -> Iterator[Gateway]:
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            phone = query["phone"][0]
            gateway.checked.append(phone)
            exists = phone not in gateway.absent
            self._answer(200, {"numberExists": exists, **({"chatId": f"{phone}@c.us"} if exists else {})})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with gateway.lock:
                number = len(gateway.sent) + 1
                told = gateway.behave(number) if gateway.behave else (201, None)
                if told is None or told[0] < 400:
                    gateway.sent.append((body["chatId"], body["text"]))
            if told is None:
                self.close_connection = True
                return
            status, answer = told
            message_id = f"true_{body['chatId']}_3EB0{number:04}"
            if status < 400:
                gateway.before_answer(message_id, body["chatId"])
            self._answer(status, {"id": message_id} if answer is None else answer)

        def _answer(self, status: int, body: Any) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    gateway.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def phone_of(client_id: int, company_id: int = 1) -> str:
    return f"+7900{company_id:02}{client_id:05}"


def add_salon(
    database: Database, company_id: int = 1, *, clients: int = 3, age_days: int | None = None, **settings: Any
) -> int:
    """A salon with its number and clients 1..n; returns the account's id. `age_days`: since its first message."""
    with database.begin() as connection:
        connection.execute(
            insert(Company).values(
                company_id=company_id, title="Салон", timezone="Europe/Moscow", country="RU", currency="RUB",
                consent_basis="договор", accepted_risks=["whatsapp_ru"], phone=f"+7495000{company_id:04}",
            )
        )  # fmt: skip
        connection.execute(insert(CompanySettings).values(company_id=company_id, enabled=True, **settings))
        connection.execute(
            insert(Client),
            [
                {"company_id": company_id, "client_id": client, "name": "Анна", "phone": phone_of(client, company_id)}
                for client in range(1, clients + 1)
            ],
        )
        account = insert(Account).values(
            company_id=company_id, channel="waha", session=f"salon_{company_id}",
            first_sent_at=NOON - timedelta(days=age_days) if age_days is not None else None,
        )  # fmt: skip
        return connection.execute(account.returning(Account.account_id)).scalar_one()


def add_campaign(database: Database, client_id: int, company_id: int = 1, **changes: Any) -> UUID:
    """A planned campaign for a client, due at noon, with a text that names it."""
    campaign_id = uuid4()
    row = {
        "campaign_id": campaign_id,
        "company_id": company_id,
        "client_id": client_id,
        "episode_no": 1,
        "attempt_number": 1,
        "day": NOON.date(),
        "service_id": 1,
        "phone": phone_of(client_id, company_id),
        "status": "planned",
        "lane": "warm",
        "segment": "regular",
        "priority": 0.5,
        "days_since": 50,
        "retry_interval_days": 14,
        "max_attempts": 3,
        "planned_at": NOON - timedelta(hours=2),
        "send_after": NOON,
        "expires_at": NOON + timedelta(hours=22),
        "message_text": f"campaign {company_id}/{client_id}",
        **changes,
    }
    with database.begin() as connection:
        query = text("SELECT min(account_id) FROM channel_accounts WHERE company_id = :company")
        row.setdefault("account_id", connection.execute(query, {"company": company_id}).scalar_one_or_none())
        connection.execute(insert(Campaign).values(**row))
    return campaign_id


def campaign(database: Database, campaign_id: UUID) -> Any:
    with database.begin() as connection:
        query = text("SELECT * FROM reactivation_campaigns WHERE campaign_id = :id")
        return connection.execute(query, {"id": campaign_id}).one()


def rows(database: Database, query: str, **parameters: Any) -> list[Any]:
    with database.begin() as connection:
        return list(connection.execute(text(query), parameters))


def execute(database: Database, statement: str, **parameters: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), parameters)


def reply(
    body: str, phone: str | None = None, *, number: str = "A1", session: str = "salon_1", **fields: Any
) -> InboundEvent:
    """A client's message."""
    contact = f"{phone[1:]}@c.us" if phone else "4815162342@lid"
    values = {"message_id": number, "contact_id": contact, "occurred_at": NOON, "body": body, **fields}
    return InboundEvent(key=f"message:{session}:{number}", kind="message", session=session, phone=phone, **values)


def ack(
    status: str, message_id: str, phone: str | None = None, *, session: str = "salon_1", **fields: Any
) -> InboundEvent:
    """A status event of a message of ours."""
    return InboundEvent(
        key=f"ack:{session}:{message_id}:{status}", kind="ack", session=session, phone=phone, message_id=message_id,
        contact_id=f"{phone[1:]}@c.us" if phone else None, **{"ack": status, "occurred_at": NOON, **fields},
    )  # fmt: skip


def meanwhile(database: Database, act: Callable[[], object]) -> threading.Thread:
    """Start `act` beside us; returns once it has ended or waits for a lock that we hold."""
    thread = threading.Thread(target=act)
    thread.start()
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while thread.is_alive() and rows(database, blocked) == [(0,)]:
        pass
    return thread
