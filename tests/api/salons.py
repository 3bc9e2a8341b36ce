"""Two salons, what WAHA would post about them, and an HTTP client that holds the service to its OpenAPI document."""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import jsonschema
from sqlalchemy import text

from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings

WEBHOOK_KEY = "invented-webhook-key"
WAHA_PATH = "/api/reactivation/webhooks/whatsapp/waha"
SALON, OTHER_SALON = 101, 202
CLIENT_PHONE = "+79000000001"
_IDS = count(1)

SALONS = """
INSERT INTO companies (company_id, title, timezone, country, currency)
VALUES (101, 'Первый', 'Europe/Moscow', 'RU', 'RUB'), (202, 'Второй', 'Asia/Almaty', 'KZ', 'KZT');
INSERT INTO channel_accounts (company_id, channel, session) VALUES (101, 'waha', 'salon-101'), (202, 'waha', 'salon-202');
INSERT INTO clients (company_id, client_id, name, phone)
VALUES (101, 1, 'Анна', '+79000000001'), (202, 1, 'Анна', '+79000000001');
INSERT INTO reactivation_campaigns (campaign_id, company_id, client_id, episode_no, attempt_number, day, service_id, account_id,
    phone, status, lane, segment, priority, days_since, retry_interval_days, max_attempts, planned_at, send_after, expires_at)
SELECT gen_random_uuid(), company_id, 1, 1, 1, DATE '2026-11-22', 7, account_id, '+79000000001', 'planned', 'warm', 'regular', 0.5, 60,
    14, 3, now(), now(), now() + interval '1 day' FROM channel_accounts;
"""


def settings_for(home: Path, **overrides: Any) -> Settings:
    values = {
        "waha_base_url": "http://127.0.0.1:9",
        "waha_api_key": "invented-api-key",
        "waha_webhook_key": WEBHOOK_KEY,
        "reactivation_home": home,
    }
    return Settings.load(**{**values, **overrides})


@dataclass
class Api:
    """An HTTP client that holds every answer against the OpenAPI document."""

    http: httpx.Client
    document: dict[str, Any]
    platform: Platform

    def get(self, path: str, key: str | None = None, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        return self.checked(self.http.get(path, headers=headers, **arguments))

    def deliver(self, event: Any) -> httpx.Response:
        """Post an event as WAHA does, signed."""
        raw = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.post(raw, signature(raw))

    def post(self, raw: bytes, given: str | None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} | ({"X-Webhook-Hmac": given} if given is not None else {})
        return self.checked(self.http.post(WAHA_PATH, content=raw, headers=headers))

    def checked(self, response: httpx.Response) -> httpx.Response:
        """The answer, when its status and body are what the OpenAPI document declares for its path."""
        path = response.request.url.path
        for template, operations in self.document["paths"].items():
            if _same_path(template, path) and (operation := operations.get(response.request.method.lower())):
                declared = operation["responses"]
                assert str(response.status_code) in declared, f"{path} answered an undeclared {response.status_code}"
                schema = declared[str(response.status_code)]["content"]["application/json"]["schema"]
                assert response.headers["content-type"] == "application/json"
                jsonschema.validate(
                    response.json(),
                    {**schema, "components": self.document["components"]},
                    jsonschema.Draft202012Validator,
                    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
                )
        return response

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with self.platform.database.begin() as connection:
            return list(connection.execute(text(query), parameters).all())


def _same_path(template: str, path: str) -> bool:
    pairs = list(zip(template.split("/"), path.split("/"), strict=False))
    return template.count("/") == path.count("/") and all(a == b or a.startswith("{") for a, b in pairs)


def signature(raw: bytes) -> str:
    return hmac.new(WEBHOOK_KEY.encode(), raw, hashlib.sha512).hexdigest()


def message(
    body: str, *, salon: int = SALON, phone: str = CLIENT_PHONE, message_id: str | None = None
) -> dict[str, Any]:
    """A message of a client, as WAHA tells of it."""
    now = datetime.now(UTC).timestamp()
    return {
        "id": f"evt_{next(_IDS)}",
        "timestamp": int(now * 1000),
        "event": "message",
        "session": f"salon-{salon}",
        "payload": {
            "id": message_id or f"false_{phone[1:]}@c.us_{next(_IDS):020X}",
            "timestamp": int(now),
            "from": f"{phone[1:]}@c.us",
            "fromMe": False,
            "body": body,
        },
    }
