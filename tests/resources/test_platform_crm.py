"""The platform's CRM: its settings reach the requests, and only a CRM outside this machine is called within the published limits."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from pydantic import SecretStr

from reactivation_resources.clock import Clock, SimulatedClock, SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from reactivation_resources.settings import Settings
from tests.resources.crm_server import CrmServer, good, running_crm

KEY = "reactivation:rate:yclients"


@pytest.fixture(scope="module")
def running() -> Iterator[CrmServer]:
    with running_crm() as crm:
        yield crm


@pytest.fixture
def crm(running: CrmServer) -> CrmServer:
    running.forget()
    running.always(good([{"id": 1, "name": "Анна"}]))
    return running


def platform(redis_url: str, clock: Clock | None = None, **settings: Any) -> Platform:
    tokens = {"yclients_partner_token": SecretStr("partner"), "yclients_user_token": SecretStr("user")}
    urls = ServerUrls("postgresql+psycopg://nobody@127.0.0.1:1/none", redis_url)
    return Platform(Settings(_env_file=None, **{**tokens, **settings}), clock or SystemClock(), urls)


def test_settings_reach_the_requests(crm: CrmServer, redis_url: str) -> None:
    opened = platform(redis_url, yclients_base_url=crm.url, yclients_partner_id="4711")
    assert opened.crm.configured
    assert opened.crm.base_url == crm.url
    opened.crm.run(lambda client: client.staff(7))
    opened.close()
    headers = crm.requests[0].headers
    assert (headers["Authorization"], headers["X-Partner-Id"]) == ("Bearer partner, User user", "4711")


def test_a_crm_outside_is_reached_through_the_proxy_and_within_the_limits_shared_by_all(
    crm: CrmServer, redis_url: str
) -> None:
    """The server plays the proxy; the address of the CRM exists nowhere."""
    proxy = SecretStr(crm.url.removesuffix("/api/v1"))
    outside = {"yclients_base_url": "http://crm.invalid/api/v1", "yclients_proxy": proxy}
    with redis.Redis.from_url(redis_url) as places:
        places.delete(KEY)
        for _ in range(2):  # two processes, as far as the limit knows
            opened = platform(redis_url, **outside)
            opened.crm.run(lambda client: client.staff(7))
            opened.close()
        assert [request.headers["Host"] for request in crm.requests] == ["crm.invalid"] * 2
        assert places.zcard(KEY) == 2
        places.delete(KEY)


def test_a_crm_on_this_machine_counts_no_calls(crm: CrmServer) -> None:
    async def many(client: Any) -> None:
        for _ in range(30):
            await client.staff(7)

    opened = platform("redis://127.0.0.1:1/0", yclients_base_url=crm.url)
    opened.crm.run(many)
    opened.close()
    assert len(crm.requests) == 30


def test_imported_salons_are_served_by_a_simulated_crm_only(crm: CrmServer, redis_url: str) -> None:
    clock = SimulatedClock(datetime(2026, 11, 1, tzinfo=UTC))
    simulated = platform(redis_url, clock, yclients_base_url=crm.url)
    assert simulated.crm.serves("import")
    assert not platform(redis_url, yclients_base_url=crm.url).crm.serves("import")
    assert not platform(redis_url, yclients_base_url=crm.url, yclients_partner_token=None).crm.configured
