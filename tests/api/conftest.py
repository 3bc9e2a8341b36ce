"""A real service on a loopback port over a fresh database, with two salons."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from reactivation_api.app import create_app
from reactivation_api.server import running_api
from reactivation_resources import api_keys
from reactivation_resources.clock import SystemClock
from reactivation_resources.embedded.servers import ServerUrls
from reactivation_resources.platform import Platform
from tests.api.salons import SALON, SALONS, Api, settings_for


@pytest.fixture
def platform(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Platform]:
    settings = settings_for(tmp_path, database_url=database_url, redis_url=redis_url)
    opened = Platform(settings, SystemClock(), ServerUrls(database_url, redis_url))
    with opened.database.begin() as connection:
        connection.execute(text(SALONS))
    yield opened
    opened.close()


@pytest.fixture
def api(platform: Platform) -> Iterator[Api]:
    with running_api(platform) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as http:
        yield Api(http, create_app(platform).openapi(), platform)


@pytest.fixture
def salon_key(platform: Platform) -> str:
    return api_keys.create(platform.database, "first salon", SALON)


@pytest.fixture
def admin_key(platform: Platform) -> str:
    return api_keys.create(platform.database, "operator", None)
