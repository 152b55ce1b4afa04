"""A system with two pools of one worker each, and its state folder for those who have stolen a key of it."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client, LocalPool
from blockyard.submitter import Submitter
from tests.integration.processes import WITHIN, House

POOLS = {name: LocalPool(min_blocks=1, init_blocks=1, max_blocks=1) for name in ("left", "right")}
PYTHON = ".".join(platform.python_version_tuple()[:2])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The state folder, whose processes must all be gone in the end."""
    home = House(tmp_path_factory.mktemp("secure") / "state")
    yield home
    home.wait_until_empty()


@pytest.fixture(scope="module")
def system(home: House) -> Iterator[Client]:
    """The client whose system it is."""
    with Client.local(pools=POOLS, folder=home.folder) as client:
        for name in POOLS:
            assert client.options(pool=name).submit(abs, -1).result(WITHIN) == 1
        yield client


@pytest.fixture
def client(system: Client, home: House) -> Iterator[Client]:
    """The same; when the test is over both pools must work as before, and the interchange be the one it was."""
    before = [one.pid for one in home.interchanges()]
    yield system
    for name in POOLS:
        assert system.options(pool=name).submit(abs, -1).result(WITHIN) == 1
    assert [one.pid for one in home.interchanges()] == before


@pytest.fixture
def right(client: Client) -> Submitter:
    """Submits to the pool whose key is not stolen."""
    return client.options(pool="right")


@pytest.fixture
def folder(home: House) -> Path:
    """The state folder."""
    return home.folder
