"""The town as a process: `python -m reactivation_sandbox.server --port 0 --seed 7 --salons 3 --clients 400 --ready-file town.json`.

Listens on 127.0.0.1 only and ends on SIGTERM, or by itself when the process named by `--parent-pid` is gone. When it listens it
writes its addresses and keys as JSON into the ready file, or onto its standard output when none is named.
"""

import argparse
import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reactivation_sandbox.answers import as_json
from reactivation_sandbox.clock import parse_instant
from reactivation_sandbox.cloud_api import Graph
from reactivation_sandbox.control_api import Control
from reactivation_sandbox.gate import Gate
from reactivation_sandbox.gemini_api import GeminiApi
from reactivation_sandbox.live import LiveClock
from reactivation_sandbox.postman import Postman
from reactivation_sandbox.town import Town
from reactivation_sandbox.waha_api import Gateway
from reactivation_sandbox.world import World
from reactivation_sandbox.yclients_api import Crm


@dataclass(frozen=True, slots=True)
class Options:
    """How a town begins, and the keys that open it."""

    seed: int = 7
    now: str = "2026-11-01T00:00:00+00:00"
    salons: int = 3
    clients: int = 400
    history: int = 0
    partner: str = "sandbox-partner"
    user: str = "sandbox-user"
    api_key: str = "sandbox-waha"
    hmac_key: str = "sandbox-hmac"
    access_token: str = "sandbox-graph"  # noqa: S105 - pretended, as all of it
    app_secret: str = "sandbox-app"  # noqa: S105
    verify_token: str = "sandbox-verify"  # noqa: S105
    gemini_key: str = "sandbox-gemini"
    webhook_url: str | None = None
    crm_webhook_url: str | None = None
    rate_limit: bool = False

    def town(self, **changes: Any) -> Town:
        """Build the town, with other numbers where the caller names some."""
        wanted: dict[str, Any] = {
            "seed": self.seed,
            "now": self.now,
            "salons": self.salons,
            "clients": self.clients,
            "history": self.history,
        } | changes
        with _without_collecting() if int(wanted["history"]) else nullcontext():
            return Town(
                seed=int(wanted.pop("seed")),
                now=parse_instant(str(wanted.pop("now"))),
                salons=int(wanted.pop("salons")),
                clients=int(wanted.pop("clients")),
                history=int(wanted.pop("history")),
                **wanted,
            )


@contextmanager
def _without_collecting() -> Iterator[None]:
    """A big town is millions of objects that stay: looking through them for garbage would cost more than making them."""
    gc.unfreeze()
    gc.collect()  # the town before the last one, if there was one
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def build_app(options: Options, ready: Path | None = None, url: str = "") -> Gate:
    """The whole server as an ASGI application."""
    world = World(options.town())
    postman = Postman(world)
    postman.address(options.webhook_url, options.hmac_key)
    postman.address_crm(options.crm_webhook_url)
    crm, gateway = Crm(world, postman, options.partner, options.user), Gateway(world, options.api_key)
    model = GeminiApi(lambda: world.town, options.gemini_key)
    graph, clockwork = Graph(world, options.access_token), LiveClock(lambda: world.town, postman)
    control = Control(
        world,
        postman,
        options.partner,
        lambda: gate,
        lambda changes: options.town(**changes),
        gateway,
        graph,
        clockwork,
        model,
    )

    async def healthz(_: Request) -> Response:
        return as_json({"status": "ok", "now": world.town.now.isoformat()})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        card = {
            "url": url,
            "yclients_url": f"{url}/api/v1",
            "waha_url": url,
            "pid": os.getpid(),
            "partner": options.partner,
            "user": options.user,
            "api_key": options.api_key,
            "hmac_key": options.hmac_key,
            "sessions": {str(salon.company_id): salon.session for salon in world.town.salons.values()},
            "gemini_url": url,
            "gemini_key": options.gemini_key,
            "cloud_url": f"{url}/graph/v26.0",
            "access_token": options.access_token,
            "app_secret": options.app_secret,
            "verify_token": options.verify_token,
            "numbers": {str(salon.company_id): salon.number_id for salon in world.town.salons.values()},
            "businesses": {str(salon.company_id): salon.business_id for salon in world.town.salons.values()},
        }
        _announce(card, ready)
        yield
        await clockwork.run(0)
        await postman.close()

    app = Starlette(
        routes=[
            Route("/healthz", healthz),
            *crm.routes(),
            *gateway.routes(),
            *graph.routes(),
            *model.routes(),
            *control.routes(),
        ],
        lifespan=lifespan,
    )
    gate = Gate(app, lambda: world.town.now, control.edit, rate_limit=options.rate_limit)
    return gate


def _announce(card: dict[str, Any], ready: Path | None) -> None:
    text = json.dumps(card)
    if ready is None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        return
    draft = ready.with_suffix(ready.suffix + ".part")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(ready)


async def _end_with_parent(parent: int, server: uvicorn.Server) -> None:
    """Leave when the parent does: as its child by a change of our parent, otherwise by looking for its process."""
    as_child = os.getppid() == parent
    while not server.should_exit:
        if as_child:
            gone = os.getppid() != parent
        else:
            gone = False
            try:
                os.kill(parent, 0)
            except ProcessLookupError:
                gone = True
            except PermissionError:  # it lives, under another user
                pass
        if gone:
            server.should_exit = True
        await asyncio.sleep(0.2)


async def serve(options: Options, port: int, ready: Path | None, parent: int | None) -> None:
    """Listen and serve until told to end."""
    # With the protocol named, asyncio sends small answers at once; without it each would wait 40 ms for an acknowledgement.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            build_app(options, ready, url),
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
            lifespan="on",
        )
        server = uvicorn.Server(config)
        watch = asyncio.create_task(_end_with_parent(parent, server)) if parent else None
        await server.serve(sockets=[listener])
        if watch:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A pretend town of salons.")
    defaults = Options()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path)
    parser.add_argument("--parent-pid", type=int)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--now", default=defaults.now)
    parser.add_argument("--salons", type=int, default=defaults.salons)
    parser.add_argument("--clients", type=int, default=defaults.clients, help="per salon")
    parser.add_argument(
        "--history",
        type=int,
        default=defaults.history,
        help="records per client, laid down instead of lived through: for big towns",
    )
    parser.add_argument("--partner", default=defaults.partner, help="the partner's token")
    parser.add_argument("--user", default=defaults.user, help="the user's token")
    parser.add_argument("--api-key", default=defaults.api_key, help="the gateway's key")
    parser.add_argument("--hmac-key", default=defaults.hmac_key, help="signs the gateway's webhooks")
    parser.add_argument("--access-token", default=defaults.access_token, help="opens Graph")
    parser.add_argument("--app-secret", default=defaults.app_secret, help="signs the Cloud API's webhooks")
    parser.add_argument("--verify-token", default=defaults.verify_token, help="opens the webhook's challenge")
    parser.add_argument("--gemini-key", default=defaults.gemini_key, help="opens the model")
    parser.add_argument("--webhook-url", help="a loopback address")
    parser.add_argument("--crm-webhook-url", help="a loopback address that hears of every change of the books")
    parser.add_argument("--rate-limit", action="store_true", help="refuse calls beyond 5 a second, as the CRM does")
    given = vars(parser.parse_args())
    port, ready, parent = given.pop("port"), given.pop("ready_file"), given.pop("parent_pid")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Options(**given), port, ready, parent))


if __name__ == "__main__":
    main()
