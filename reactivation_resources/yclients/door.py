"""The CRM for code that is not asynchronous: one client on one event loop in a thread of its own, for all threads of the process.

What to keep out: calls. `crm.run(lambda crm: crm.company(7))` makes one, `crm.run(work)` any number of them at the same time.
"""

import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from threading import Lock
from typing import TypeVar

from anyio import CancelScope
from anyio.from_thread import BlockingPortal, start_blocking_portal

from reactivation_resources.yclients.client import YClients

T = TypeVar("T")


class Crm:
    """The CRM, opened by the first call.

    Args:
        open_client: Makes the client; called on the loop.
        base_url: Where the CRM is, for people to read.
        configured: Whether there is a token to ask with.
        sources: The `crm_source` values of companies that can be asked about.
    """

    def __init__(
        self,
        open_client: Callable[[], YClients],
        *,
        base_url: str,
        configured: bool,
        sources: frozenset[str] = frozenset({"yclients"}),
    ) -> None:
        self.base_url = base_url
        self.configured = configured
        self._sources = sources
        self._open_client = open_client
        self._opening = Lock()
        self._opened: tuple[BlockingPortal, YClients] | None = None
        self._closing = ExitStack()
        weakref.finalize(self, self._closing.close)  # a door left open must not keep the process from ending

    def serves(self, crm_source: str) -> bool:
        """Whether companies of this source can be asked about."""
        return self.configured and crm_source in self._sources

    def run(self, work: Callable[[YClients], Awaitable[T]]) -> T:
        """Do the work on the CRM's loop and wait for what it returns or raises. Interrupted, it takes the work's calls back."""
        portal, client = self._open()
        under_way: list[CancelScope] = []

        async def cancellable() -> T:
            with CancelScope() as scope:
                under_way.append(scope)
                return await work(client)
            raise CancelledError  # taken back; nobody waits for it

        async def take_back() -> None:
            for scope in under_way:
                scope.cancel()

        try:
            return portal.start_task_soon(cancellable).result()
        except BaseException:
            # An interrupt can come at any instruction, also before there is a result to cancel; the loop starts tasks in order.
            with suppress(RuntimeError):  # closed meanwhile
                portal.start_task_soon(take_back)
            raise

    def close(self) -> None:
        """Close the connections. What is still asked is cancelled."""
        with self._opening:
            self._opened = None
            self._closing.close()

    def _open(self) -> tuple[BlockingPortal, YClients]:
        with self._opening:
            if self._opened is None:
                portal = self._closing.enter_context(start_blocking_portal(name="crm"))
                # cancelling: to leave a portal is to wait for what is still asked
                self._closing.callback(portal.call, portal.stop, True)
                client = portal.call(self._open_client)
                self._closing.callback(portal.call, client.aclose)
                self._opened = portal, client
            return self._opened
