"""A town that outlives its platforms, and a simulation in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reactivation_cli.simulation import Simulation
from reactivation_sandbox.process import running_town
from tests.assets.town_world import START, TOWN, World, database_copy, open_salons
from tests.databases import on_server


@pytest.fixture(scope="session")
def world(
    servers: tuple[str, str], template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """The town and a database with its salons, made once."""
    with running_town(now=START, **TOWN) as town, database_copy(servers[0], template_database) as url:
        name = url.rpartition("/")[2]
        made = World(town, servers[0], template_database, name, servers[1])
        with made.simulation(url, tmp_path_factory.mktemp("founding")) as simulation:
            open_salons(simulation)
        # a database can be copied only while nobody is connected to it
        on_server(servers[0], f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        yield made


@pytest.fixture
def simulation(world: World, tmp_path: Path) -> Iterator[Simulation]:
    """The morning of the day: a fresh database with the salons, the town begun again."""
    world.town.reset()
    with world.database_url() as url, world.simulation(url, tmp_path) as opened:
        yield opened
