"""The HTTP service: which endpoints there are and what holds for all of them.

What to add here: a router. What to keep out: endpoints themselves, and servers (`reactivation_api.server`).
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI

from reactivation_api import health, inbox, metrics, webhooks
from reactivation_api.access import Caller
from reactivation_api.edge import Edge
from reactivation_api.envelope import documented, install_handlers
from reactivation_resources.platform import Platform

BASE = "/api/reactivation"


def create_app(platform: Platform) -> FastAPI:
    """The service over an open platform, which the caller closes after the app has ended."""
    app = FastAPI(
        title="Client Reactivation",
        version=_version(),
        openapi_url=None,  # served below, with a key; the built-in pages would load scripts from elsewhere
        redirect_slashes=False,
        # Traces and log events would carry query strings and the values in errors.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        responses=documented(500),
    )
    app.state.platform = platform
    _ = platform.inbox, platform.channels  # made now, not by the first two requests at once; nothing connects yet
    app.add_middleware(Edge)
    install_handlers(app)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(webhooks.router, prefix=BASE)
    app.include_router(inbox.router, prefix=BASE)

    @app.get(f"{BASE}/openapi.json", include_in_schema=False)
    def openapi(_: Caller) -> dict[str, Any]:
        return app.openapi()

    return app


def _version() -> str:
    try:
        return version("client-reactivation")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0"
