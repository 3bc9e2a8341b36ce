"""Real parts for every test: PostgreSQL and Redis by URL where given, embedded otherwise; a fresh database a test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy.engine import make_url

from reactivation_resources.database.engine import Database, migrate
from reactivation_sandbox.process import Town, running_town
from tests.databases import Databases, on_server

REPOSITORY = Path(__file__).resolve().parents[1]

# How long one example takes says more about what else the machine does than about the code. Under CI Hypothesis has a profile of its own.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URLs of a PostgreSQL server and a Redis server, shared by all workers of this test run."""
    database_url, redis_url = os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL")
    if database_url and redis_url:
        yield _with_driver(database_url), redis_url
        return
    from reactivation_resources.embedded.servers import running_servers

    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    with running_servers(shared / "servers", postgres=not database_url, valkey=not redis_url, durable=False) as urls:
        yield _with_driver(database_url or urls.database_url), redis_url or urls.redis_url


def _with_driver(url: str) -> str:
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def template_database(servers: tuple[str, str]) -> Iterator[str]:
    """The name of a migrated database to copy from."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    on_server(servers[0], f"CREATE DATABASE {name}")
    migrate(make_url(servers[0]).set(database=name).render_as_string(hide_password=False))
    yield name
    on_server(servers[0], f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def databases(servers: tuple[str, str], template_database: str) -> Iterator[Databases]:
    """Databases that are migrated and empty."""
    made = Databases(servers[0], template_database)
    yield made
    made.close()


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    with databases.one() as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh, migrated database."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def redis_url(servers: tuple[str, str]) -> str:
    """The URL of a Redis server. Use keys of your own: it is shared."""
    return servers[1]


@pytest.fixture(scope="session")
def real_book() -> Path:
    """The folder of a real salon's book; tests that need it are skipped where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data" / "toronto-salon"
    if not folder.is_dir():
        pytest.skip("the real book does not ship with the product")
    return folder


@pytest.fixture(scope="module")
def small_town() -> Iterator[Town]:
    """A running town of one salon, for tests that need a model or a gateway and hardly any people."""
    with running_town(salons=1, clients=5, history=1) as running:
        yield running


@pytest.fixture
def model_town(small_town: Town) -> Town:
    """The small town with a model of even temper that has not been asked anything."""
    small_town.model(forget=True)
    small_town.heal()
    return small_town
