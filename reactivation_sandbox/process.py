"""Starting a town in its own process and talking to its control calls."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Town:
    """A running town. `yclients_url` ends in /api/v1; `sessions` maps a company id to its WhatsApp session's name, `numbers` and `businesses` to
    the Cloud API's names of its number and its business."""

    url: str
    yclients_url: str
    waha_url: str
    pid: int
    partner: str
    user: str
    api_key: str
    hmac_key: str
    sessions: dict[str, str]
    cloud_url: str
    access_token: str
    app_secret: str
    verify_token: str
    numbers: dict[str, str]
    businesses: dict[str, str]
    gemini_url: str
    gemini_key: str
    http: httpx.Client

    def clock(self) -> datetime:
        """The town's time."""
        return datetime.fromisoformat(self._get("clock")["now"])

    def set_clock(self, now: datetime) -> None:
        """Let the town live until `now`; returns when every webhook due by then has been tried."""
        self._post("clock", {"now": now.isoformat()})

    def set_webhook(self, url: str | None, hmac_key: str | None = None) -> None:
        """Deliver the messenger's events to this loopback address."""
        self._post("webhooks", {"url": url, "hmac_key": hmac_key or self.hmac_key})

    def set_cloud_webhook(self, url: str | None) -> None:
        """Deliver the Cloud API's events to this loopback address, which must answer the challenge."""
        secrets = {"app_secret": self.app_secret, "verify_token": self.verify_token}
        self._post("webhooks", {"cloud_url": url, **secrets})

    def mischief(self, **fields: Any) -> dict[str, Any]:
        """Set fields of `reactivation_sandbox.mischief.Mischief`, and `quiet`; returns all of them."""
        found: dict[str, Any] = self._post("mischief", fields)
        return found

    def model(self, **temper: Any) -> dict[str, Any]:
        """Set fields of `reactivation_sandbox.gemini_api.Temper` (and `forget`); returns counts by kind, tokens, and the most questions at a time."""
        found: dict[str, Any] = self._post("model", temper)
        return found

    def questions(self) -> list[dict[str, Any]]:
        """What the model was asked."""
        found: list[dict[str, Any]] = self._get("model/questions")
        return found

    def live(self, speed: float) -> None:
        """Let the town's clock run by itself, `speed` times as fast as the real one; 0 stops it."""
        self._post("live", {"speed": speed})

    def ban(self, company: int, channel: str, kind: str, *, lifted: bool = False) -> None:
        """Ban a salon's number, or lift the ban (`reactivation_sandbox.mischief.BANS`)."""
        self._post("ban", {"company": company, "channel": channel, "kind": kind, "lifted": lifted})

    def set_number(self, company: int, **card: str) -> None:
        """Change what Graph says of a salon's number: quality, tier, status."""
        self._post(f"number/{company}", card)

    def approve_templates(self) -> list[str]:
        """Approve every template that waits for review; their names."""
        found: list[str] = self._post("templates", {"approve": True})["reviewed"]
        return found

    def set_template(self, company: int, name: str, status: str) -> None:
        """Put a template into a state and tell."""
        self._post("templates", {"company": company, "name": name, "status": status})

    def write(self, company: int, phone: str, text: str, channel: str = "waha") -> str:
        """Let a client write; the id of the message."""
        return str(self._post("write", {"company": company, "phone": phone, "text": text, "channel": channel})["id"])

    def cloud_event(self, company: int, field: str, value: dict[str, Any]) -> None:
        """Tell any change of the Cloud API."""
        self._post("cloud_event", {"company": company, "field": field, "value": value})

    def undelivered(self) -> int:
        """How many webhook calls of the messenger nobody has taken yet."""
        return int(self._get("clock")["webhooks"]["kept"])

    def answered(self) -> dict[str, datetime]:
        """When our receiver took which inbound message."""
        return {one: datetime.fromisoformat(at) for one, at in self._get("answered").items()}

    def messages(self) -> list[dict[str, Any]]:
        """Everything that was sent to clients, in order."""
        found: list[dict[str, Any]] = self._get("messages")
        return found

    def calls(self) -> dict[str, Any]:
        """`counts` per route and the `log` of the last calls."""
        found: dict[str, Any] = self._get("calls")
        return found

    def crm_calls(self) -> list[dict[str, Any]]:
        """The last calls of the CRM in order of arrival; `arrived` and `answered` are seconds of the server's monotonic clock."""
        log: list[dict[str, Any]] = self.calls()["log"]
        return sorted((row for row in log if row["path"].startswith("/api/v1/")), key=lambda row: row["arrived"])

    def edit(self, *operations: dict[str, Any]) -> list[dict[str, Any]]:
        """Change the salons' books (`reactivation_sandbox.edits`); returns the operations with the ids of what they made.

        Raises ValueError at the first that cannot be done.
        """
        done: list[dict[str, Any]] = self._post("edit", list(operations))["done"]
        return done

    def shuffle(self, seed: int, edits: int, salons: list[int] | None = None) -> list[dict[str, Any]]:
        """Make random edits, the same for the same seed and the same town; returns what was done."""
        done: list[dict[str, Any]] = self._post("shuffle", {"seed": seed, "edits": edits, "salons": salons})["done"]
        return done

    def book(self, company: int) -> dict[str, Any]:
        """A salon's whole truth: company, services, staff, clients, records (`reactivation_sandbox.ledger`)."""
        found: dict[str, Any] = self._get(f"book/{company}")
        return found

    def variants(self, **values: Any) -> dict[str, Any]:
        """Switch variants of the CRM (`reactivation_sandbox.variants`) and return the values of all."""
        if values:
            self._post("variants", values)
        return {row["name"]: row["value"] for row in self._get("variants")}

    def set_crm_webhook(self, url: str | None) -> None:
        """Deliver the CRM's events of every salon to this loopback address."""
        self._post("crm_webhooks", {"url": url})

    def lifecycle(self, company: int, event: str, **fields: Any) -> bool:
        """Post a callback of the marketplace (`uninstall`, `freeze`, `payment`) and say whether it was taken.

        Fields: `url` (the CRM's webhook address without it), `application_id`, `partner_token`.
        """
        return bool(self._post("lifecycle", {"company_id": company, "event": event, **fields})["taken"])

    def journal(self, after: datetime | None = None) -> list[dict[str, Any]]:
        """What happened in the town since an instant."""
        found: list[dict[str, Any]] = self._get("journal", after=after.isoformat() if after else "")
        return found

    def truth(self) -> dict[str, Any]:
        """What only the town knows: who would have come anyway."""
        found: dict[str, Any] = self._get("truth")
        return found

    def fail(self, path_prefix: str, **fault: Any) -> None:
        """Let the next calls under a path go wrong: `status`, `count`, `kind` and the other fields of `reactivation_sandbox.faults.Fault`."""
        self._post("faults", {"path_prefix": path_prefix, **fault})

    def heal(self) -> None:
        """Drop every fault not yet used up."""
        self._post("faults", {"clear": True})

    def load_salon(self, book: dict[str, Any]) -> dict[str, Any]:
        """Move a salon in: {company, services, staff, clients, records}."""
        card: dict[str, Any] = self._post("salons", book)
        return card

    def set_session(self, session: str, status: str) -> None:
        """Put a WhatsApp session into a state, such as FAILED."""
        self._post(f"sessions/{session}", {"status": status})

    def reset(self, **changes: Any) -> None:
        """Begin again, with other numbers where named."""
        self._post("reset", changes)

    def _get(self, path: str, **query: str) -> Any:
        answer = self.http.get(f"/_town/{path}", params=query)
        answer.raise_for_status()
        return answer.json()

    def _post(self, path: str, body: Any) -> Any:
        answer = self.http.post(f"/_town/{path}", json=body)
        if answer.is_client_error:
            raise ValueError(f"the town refused {path}: {answer.text}")
        answer.raise_for_status()
        return answer.json()


@contextlib.contextmanager
def running_town(*, ready_within_s: float = READY_WITHIN_S, **options: Any) -> Iterator[Town]:
    """Start a town (options as on its command line, with underscores) and end it on leaving. A big one needs longer to be ready.

    Raises RuntimeError with the process's own words when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="town-") as folder:
        ready, errors = Path(folder) / "ready.json", Path(folder) / "errors.txt"
        command = [
            sys.executable,
            "-m",
            "reactivation_sandbox.server",
            "--ready-file",
            str(ready),
            "--parent-pid",
            str(os.getpid()),
        ]
        for name, value in options.items():
            flag = f"--{name.replace('_', '-')}"
            text = value.isoformat() if isinstance(value, datetime) else str(value)
            command += ([flag] if value else []) if isinstance(value, bool) else [f"{flag}={text}"]
        with errors.open("w") as words:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words)
        try:
            card = _wait(process, ready, errors, ready_within_s)
            with httpx.Client(base_url=card["url"], timeout=600.0, trust_env=False) as http:
                yield Town(**card, http=http)
        finally:
            _end(process)


def _wait(process: "subprocess.Popen[bytes]", ready: Path, errors: Path, within_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + within_s
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the town did not come up: {errors.read_text()[-2000:]}")
        time.sleep(0.02)
    card: dict[str, Any] = json.loads(ready.read_text())
    return card


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
