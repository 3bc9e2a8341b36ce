"""The door to Telegram: a bot that tells people what they must see.

What to add here: how a message is handed over. What to keep out: which messages there are (alerts.py).
"""

import time
from typing import Any

import httpx

_LONGEST_WAIT_S = 30.0
_TRIES = 3
_LONGEST_TEXT = 4000  # Telegram takes 4096


class TelegramError(RuntimeError):
    """Telegram did not take the message; the words hold neither token nor message."""


class Telegram:
    """One bot that writes into one chat.

    Args:
        base_url: The Bot API, `https://api.telegram.org`.
        token: The bot's token. It is a part of every address, hence of no error and no log.
        chat: The chat's id or its `@name`.
        timeout_s: Longest wait for one answer, in seconds.
    """

    def __init__(self, base_url: str, token: str, chat: str, *, timeout_s: float = 10.0) -> None:
        self._chat = chat
        self._bot = f"{base_url.rstrip('/')}/bot{token}"
        self._client = httpx.Client(timeout=timeout_s, trust_env=False)

    def close(self) -> None:
        """Close open connections."""
        self._client.close()

    def send(self, words: str) -> None:
        """Write into the chat. Waits when told to, a few times and not for long. Raises TelegramError."""
        body = {"chat_id": self._chat, "text": words[:_LONGEST_TEXT], "disable_web_page_preview": True}
        for attempt in range(_TRIES):
            answer = self._call("sendMessage", body)
            if answer.is_success:
                return
            wait = _retry_after(answer)
            if wait is None or wait > _LONGEST_WAIT_S or attempt == _TRIES - 1:
                raise TelegramError(f"Telegram answered HTTP {answer.status_code}: {_description(answer)}")
            time.sleep(wait)

    def check(self) -> str:
        """The bot's name. Raises TelegramError when Telegram does not answer or does not know the token."""
        answer = self._call("getMe", {})
        if not answer.is_success:
            raise TelegramError(f"Telegram answered HTTP {answer.status_code}: {_description(answer)}")
        return str((_json(answer).get("result") or {}).get("username") or "")

    def _call(self, method: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return self._client.post(f"{self._bot}/{method}", json=body)
        except httpx.HTTPError as error:
            raise TelegramError(f"Telegram does not answer: {type(error).__name__}") from None


def _retry_after(answer: httpx.Response) -> float | None:
    """How long Telegram asks to wait, None when it does not."""
    parameters = _json(answer).get("parameters")
    wait = parameters.get("retry_after") if isinstance(parameters, dict) else None
    return (
        float(wait) if isinstance(wait, int | float) and answer.status_code == httpx.codes.TOO_MANY_REQUESTS else None
    )


def _description(answer: httpx.Response) -> str:
    return str(_json(answer).get("description") or "no words")


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
