"""Alerts are rows first and messages second: folded, told once, and kept while nobody can be told."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from reactivation_resources.alerts import Told, raise_alert, tell, untold
from reactivation_resources.database.engine import Database
from reactivation_resources.telegram import Telegram, TelegramError
from tests.resources.sending_world import NOON, rows

DAY = timedelta(days=1)
TOKEN = "123:invented"


@dataclass
class Bot:
    """A Bot API that keeps what it was asked to write; `answers` come first."""

    url: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def running_bot() -> Iterator[Bot]:
    bot = Bot()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bot.paths.append(self.path)
            status, answer = (
                bot.answers.pop(0) if bot.answers else (200, {"ok": True, "result": {"username": "salon_bot"}})
            )
            if status == 200 and self.path.endswith("sendMessage"):
                bot.told.append(body)
            raw = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    bot.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield bot
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def bot() -> Iterator[Bot]:
    with running_bot() as running:
        yield running


@pytest.fixture
def telegram(bot: Bot) -> Iterator[Telegram]:
    door = Telegram(bot.url, TOKEN, "-100")
    yield door
    door.close()


def alert(database: Database, number: int = 1, kind: str = "account_banned", at: timedelta = timedelta(0)) -> None:
    with database.begin() as connection:
        raise_alert(connection, kind, f"{kind}:{number}", f"{kind} of number {number}", NOON + at, None)


def test_what_waits_is_told_once_and_marked(database: Database, bot: Bot, telegram: Telegram) -> None:
    alert(database)
    assert untold(database, NOON) == 1
    assert tell(database, telegram, NOON) == Told(told=1)
    assert bot.told == [{"chat_id": "-100", "text": "account_banned of number 1", "disable_web_page_preview": True}]
    assert bot.paths == [f"/bot{TOKEN}/sendMessage"]
    assert tell(database, telegram, NOON) == Told()
    assert rows(database, "SELECT told_at, told_times FROM alerts") == [(NOON, 1)]


def test_alerts_of_one_kind_are_one_message_the_oldest_first(database: Database, bot: Bot, telegram: Telegram) -> None:
    for number in (2, 1, 3):
        alert(database, number, at=timedelta(minutes=number))
    alert(database, 9, kind="complaint")
    assert tell(database, telegram, NOON).told == 4
    assert [one["text"].splitlines() for one in bot.told] == [
        ["complaint of number 9"],
        ["account_banned of number 1", "account_banned of number 2", "account_banned of number 3"],
    ]


def test_a_repeated_alert_is_told_again_once_a_day_with_its_count(
    database: Database, bot: Bot, telegram: Telegram
) -> None:
    alert(database)
    tell(database, telegram, NOON)
    for hour in range(1, 5):
        alert(database, at=timedelta(hours=hour))
        assert tell(database, telegram, NOON + timedelta(hours=hour)) == Told()
    assert tell(database, telegram, NOON + DAY).told == 1
    assert bot.told[-1]["text"] == "account_banned of number 1 (5 times, last 23.11. 13:00 UTC)"
    assert tell(database, telegram, NOON + 3 * DAY) == Told()  # no news


def test_while_telegram_is_away_alerts_wait(database: Database, bot: Bot, telegram: Telegram) -> None:
    alert(database)
    bot.answers = [(502, {}), (401, {"ok": False, "description": "Unauthorized"})]
    for words in ("HTTP 502", "Unauthorized"):
        told = tell(database, telegram, NOON)
        assert (told.told, told.waiting) == (0, 1)
        assert words in told.trouble
        assert TOKEN not in told.trouble
    away = tell(database, Telegram("http://127.0.0.1:9", TOKEN, "-100"), NOON)
    assert (away.waiting, TOKEN in away.trouble) == (1, False)
    assert tell(database, telegram, NOON).told == 1


def test_telegram_is_given_the_time_it_asks_for(bot: Bot, telegram: Telegram) -> None:
    too_fast = (429, {"ok": False, "parameters": {"retry_after": 0.01}})
    bot.answers = [too_fast, too_fast]
    telegram.send("Здравствуйте")
    assert len(bot.told) == 1
    bot.answers = [(429, {"ok": False, "parameters": {"retry_after": 3600}})]
    with pytest.raises(TelegramError, match="429"):
        telegram.send("позже")
    bot.answers = [too_fast] * 3
    with pytest.raises(TelegramError, match="429"):
        telegram.send("никогда")


def test_callers_at_once_tell_each_alert_once(
    database: Database, database_url: str, bot: Bot, telegram: Telegram
) -> None:
    for number in range(30):
        alert(database, number, kind=f"kind_{number}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: tell(database, telegram, NOON), range(8)))
    assert sorted(one["text"] for one in bot.told) == sorted(f"kind_{n} of number {n}" for n in range(30))
    assert database_url


def test_the_bot_tells_its_name(bot: Bot, telegram: Telegram) -> None:
    assert telegram.check() == "salon_bot"
    bot.answers = [(401, {"description": "Unauthorized"})]
    with pytest.raises(TelegramError, match="Unauthorized"):
        telegram.check()
