"""How long a gateway waits for the answer to a webhook: one signed message a call, stored in PostgreSQL before the answer.

    python benchmarks/webhook.py --calls 1000

A fresh embedded PostgreSQL that writes through to the disk, the real service on loopback. Callers keep their connection open and call one
after the other. The goal is 50 ms at the median.
"""

import argparse
import hashlib
import hmac
import json
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

import httpx
from sqlalchemy import text

from reactivation_api.server import running_api
from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import Platform, open_platform
from reactivation_resources.settings import Settings

KEY = "invented-webhook-key"
PATH = "/api/reactivation/webhooks/whatsapp/waha"
WARM_UP = 50
SALON = """
INSERT INTO companies (company_id, title, timezone, country, currency) VALUES (1, 'Salon', 'Europe/Moscow', 'RU', 'RUB');
INSERT INTO channel_accounts (company_id, channel, session) VALUES (1, 'waha', 'salon-1');
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description="Measure the webhook.")
    arguments.add_argument("--calls", type=int, default=1000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load(
            reactivation_home=Path(home), waha_base_url="http://127.0.0.1:9", waha_webhook_key=KEY, _env_file=None
        )
        with open_platform(settings) as platform:
            migrate(platform.urls.database_url)
            with platform.database.begin() as connection:
                connection.execute(text(SALON))
            with running_api(platform) as url:
                _measure(platform, url, options.calls)


def _measure(platform: Platform, url: str, calls: int) -> None:
    _calls(url, range(WARM_UP))
    first = WARM_UP
    print(f"{'text':<6}{'callers':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'calls/s':>9}")
    for words in ("Да", "стоп"):
        for callers in (1, 4, 16):
            shares = [range(first + caller, first + calls, callers) for caller in range(callers)]
            began = time.perf_counter()
            with ThreadPoolExecutor(callers) as pool:
                took = [each for some in pool.map(lambda share: _calls(url, share, words), shares) for each in some]  # noqa: B023
            rate = len(took) / (time.perf_counter() - began)
            cuts = quantiles(took, n=100)
            print(f"{words:<6}{callers:>8}{cuts[49]:>9.1f}{cuts[94]:>9.1f}{cuts[98]:>9.1f}{rate:>9.0f}")
            first += calls
    with platform.database.begin() as connection:
        stored = connection.execute(text("SELECT count(*) FROM inbox")).scalar_one()
    if stored != first:
        raise SystemExit(f"{first} sent, {stored} stored")
    print(f"{stored} sent, {stored} stored")


def _calls(url: str, numbers: Iterable[int], words: str = "Да") -> list[float]:
    """Milliseconds of each call."""
    took = []
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        for number in numbers:
            raw = _message(number, words)
            headers = {"X-Webhook-Hmac": hmac.new(KEY.encode(), raw, hashlib.sha512).hexdigest()}
            began = time.perf_counter()
            http.post(PATH, content=raw, headers=headers).raise_for_status()
            took.append(1000 * (time.perf_counter() - began))
    return took


def _message(number: int, words: str) -> bytes:
    chat = f"7900{number:07}@c.us"
    payload = {
        "id": f"false_{chat}_{number:020X}",
        "timestamp": 1_780_000_000,
        "from": chat,
        "fromMe": False,
        "body": words,
    }
    return json.dumps({"id": f"evt_{number}", "event": "message", "session": "salon-1", "payload": payload}).encode()


if __name__ == "__main__":
    main()
