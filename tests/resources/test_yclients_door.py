"""The CRM for threads: one client, one loop, whoever asks."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import anyio
import pytest

from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.door import Crm
from reactivation_resources.yclients.errors import AuthError
from tests.resources.crm_server import CrmServer, good, running_crm

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running() -> Iterator[CrmServer]:
    with running_crm() as crm:
        yield crm


@pytest.fixture
def server(running: CrmServer) -> CrmServer:
    running.forget()
    running.always(good([{"id": 1, "name": "Анна"}]))
    return running


@pytest.fixture
def opened() -> list[YClients]:
    """The clients that the door has made."""
    return []


@pytest.fixture
def crm(server: CrmServer, opened: list[YClients]) -> Iterator[Crm]:
    def open_client() -> YClients:
        opened.append(server.client())
        return opened[-1]

    door = Crm(open_client, base_url=server.url, configured=True)
    yield door
    door.close()


def test_the_work_is_done_and_its_value_or_its_error_comes_back(crm: Crm, server: CrmServer) -> None:
    assert [card.name for card in crm.run(lambda client: client.staff(1)).good] == ["Анна"]
    server.always((401, {}))
    with pytest.raises(AuthError):
        crm.run(lambda client: client.staff(1))
    with pytest.raises(ZeroDivisionError):
        crm.run(lambda _: 1 / 0)  # type: ignore[arg-type, return-value]


def test_all_threads_share_one_client_and_their_calls_run_together(
    crm: Crm, server: CrmServer, opened: list[YClients]
) -> None:
    """Each answer waits for the others' questions."""
    together = threading.Barrier(4)
    server.answer = lambda _: (together.wait(10), good([]))[1]
    with ThreadPoolExecutor(4) as pool:
        for asked in [pool.submit(crm.run, lambda client: client.staff(1)) for _ in range(4)]:
            assert asked.result().good == []
    assert len(opened) == 1
    assert opened[0].calls == {"staff": 4}


def test_nothing_is_opened_before_the_first_call(crm: Crm, opened: list[YClients]) -> None:
    crm.close()
    assert opened == []


def test_a_closed_door_opens_again(crm: Crm, opened: list[YClients]) -> None:
    for _ in range(2):
        crm.run(lambda client: client.staff(1))
        crm.close()
    assert len(opened) == 2


class StopError(BaseException):
    """What Ctrl-C or another signal raises."""


def test_interrupted_work_takes_its_calls_back(crm: Crm) -> None:
    """The work is cancelled, not left to itself: whoever stopped waiting does not want it any more."""
    begun, ended = threading.Event(), threading.Event()

    async def work(_: YClients) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    def stop(*_: object) -> None:
        raise StopError

    main = threading.main_thread().ident
    assert main is not None
    killer = threading.Thread(target=lambda: (begun.wait(10), signal.pthread_kill(main, signal.SIGUSR1)))
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        killer.start()
        with pytest.raises(StopError):
            crm.run(work)
    finally:
        killer.join()
        signal.signal(signal.SIGUSR1, before)
    assert ended.wait(10)


@pytest.mark.parametrize(("moment", "ran"), [("call", []), ("return", ["begun", "ended"])])
def test_work_is_taken_back_though_it_is_interrupted_before_there_is_a_result_to_wait_for(
    crm: Crm, moment: str, ran: list[str]
) -> None:
    """Right before the loop is told of the work, and right after."""
    crm.run(lambda client: client.staff(1))
    running: list[str] = []

    async def work(_: YClients) -> None:
        running.append("begun")
        try:
            await anyio.sleep_forever()
        finally:
            running.append("ended")

    def interrupt(frame: FrameType, event: str, _: object) -> None:
        if event == moment and frame.f_code.co_name == "start_task_soon":
            sys.setprofile(None)
            raise StopError

    sys.setprofile(interrupt)
    try:
        with pytest.raises(StopError):
            crm.run(work)
    finally:
        sys.setprofile(None)
    crm.close()
    assert running == ran


def test_closing_cancels_what_is_still_asked(crm: Crm) -> None:
    begun = threading.Event()

    async def work(_: YClients) -> None:
        begun.set()
        await anyio.sleep_forever()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(crm.run, work)
        assert begun.wait(10)
        crm.close()
        with pytest.raises(CancelledError):
            asked.result(10)


def test_only_companies_of_its_sources_are_served_and_only_with_a_token(server: CrmServer) -> None:
    def door(**options: object) -> Crm:
        return Crm(server.client, base_url=server.url, **{"configured": True} | options)  # type: ignore[arg-type]

    assert door().serves("yclients")
    assert not door().serves("import")
    assert door(sources=frozenset({"yclients", "import"})).serves("import")
    assert not door(configured=False).serves("yclients")
    assert door().base_url == server.url


FORGOTTEN = """
import sys
from reactivation_resources.rate_limit import RateLimiter
from reactivation_resources.yclients.client import YClients
from reactivation_resources.yclients.door import Crm
crm = Crm(lambda: YClients(sys.argv[1], "a", "b", RateLimiter("none", ())), base_url="", configured=True)
print(len(crm.run(lambda client: client.staff(1)).good))
"""


def test_a_door_left_open_does_not_keep_the_process_from_ending(server: CrmServer) -> None:
    command = [sys.executable, "-W", "error", "-c", FORGOTTEN, server.url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
