"""A small running town shared by the tests that only read or that use a salon of their own, and a real webhook receiver."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from reactivation_sandbox.process import Town, running_town


@dataclass
class Receiver:
    """Keeps every webhook it gets; answers with `status`."""

    url: str = ""
    status: int = 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, count: int) -> None:
        """Return when this many webhooks have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= count, timeout=30)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with kept.arrived:
                kept.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                kept.arrived.notify_all()
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    yield kept
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def _process() -> Iterator[Town]:
    with running_town(seed=11, salons=2, clients=60, now="2026-11-01T00:00:00+00:00") as town:
        yield town


@pytest.fixture
def town(_process: Town) -> Town:
    """The running town, begun again for this test."""
    _process.reset()
    _process.set_webhook(None)
    _process.set_crm_webhook(None)
    return _process


@pytest.fixture
def crm(town: Town) -> Iterator[httpx.Client]:
    headers = {
        "Authorization": f"Bearer {town.partner}, User {town.user}",
        "Accept": "application/vnd.yclients.v2+json",
    }
    with httpx.Client(base_url=town.yclients_url, headers=headers, trust_env=False) as client:
        yield client


@pytest.fixture
def gateway(town: Town) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=town.waha_url, headers={"X-Api-Key": town.api_key}, trust_env=False) as client:
        yield client
