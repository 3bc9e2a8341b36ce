"""Runs the HTTP service, in this process until it is told to stop, or in a thread beside other work.

What to add here: how requests reach the app. What to keep out: the app.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from reactivation_api.app import create_app
from reactivation_resources import log_masking
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings, SettingsError

_LAST_REQUESTS_S = 10  # how long running requests may take to end
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def serve(platform: Platform, host: str, port: int) -> None:
    """Serve until SIGINT or SIGTERM; running requests are finished. Raises SettingsError for a channel without its webhook key."""
    refuse_unsigned_webhooks(platform.settings)
    logging.basicConfig(
        level=logging.DEBUG if platform.settings.reactivation_debug else logging.INFO, format=_LOG_FORMAT
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)  # readiness reads the schema's revision every few seconds
    log_masking.install()
    uvicorn.Server(_config(platform, host, port)).run()


@contextmanager
def running_api(platform: Platform, port: int = 0) -> Iterator[str]:
    """Serve on 127.0.0.1 in a thread while the block runs; yields the base URL, without a slash at the end.

    Port 0 is any free one. Raises SettingsError for a channel without its webhook key, OSError for a port that is taken.
    """
    refuse_unsigned_webhooks(platform.settings)
    log_masking.install()
    with _listener(port) as listener:
        server = _ThreadServer(_config(platform, "127.0.0.1", port))
        thread = threading.Thread(target=server.run_until_told, args=(listener,), name="reactivation-api")
        thread.start()
        try:
            server.settled.wait()
            if not server.started:
                raise RuntimeError("the HTTP service did not start: see the log")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _listener(port: int) -> socket.socket:
    """A listening socket that names its protocol: without it asyncio leaves Nagle's algorithm on, and small answers wait 40 ms."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def refuse_unsigned_webhooks(settings: Settings) -> None:
    """Raise SettingsError when a channel is enabled without the key its webhooks are signed with."""
    needed = {
        "WAHA_WEBHOOK_KEY": (settings.waha_webhook_key, "WAHA_BASE_URL", settings.waha_base_url),
        "WHATSAPP_APP_SECRET": (settings.whatsapp_app_secret, "WHATSAPP_ACCESS_TOKEN", settings.whatsapp_access_token),
        "WHATSAPP_VERIFY_TOKEN": (
            settings.whatsapp_verify_token,
            "WHATSAPP_ACCESS_TOKEN",
            settings.whatsapp_access_token,
        ),
    }
    for name, (secret, enabling, enabled) in needed.items():
        if enabled is not None and (secret is None or not secret.get_secret_value()):
            raise SettingsError(f"{name} is not set: with {enabling} set, anybody could post webhooks")


def _config(platform: Platform, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(platform),
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # it would write query strings; the app writes its own
        server_header=False,
        timeout_graceful_shutdown=_LAST_REQUESTS_S,
    )


class _ThreadServer(uvicorn.Server):
    """Tells when it has started or failed to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.settled.set()

    def run_until_told(self, listener: socket.socket) -> None:
        try:
            self.run(sockets=[listener])
        finally:
            self.settled.set()
