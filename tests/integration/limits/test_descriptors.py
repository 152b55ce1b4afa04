"""More connections than the limit of open files that a shell sets at first."""

import os
import re
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from tests.integration.processes import WITHIN, House

FEW = 100
"""More than an interchange, or a hub, has open without a peer."""


@pytest.fixture
def few() -> Iterator[None]:
    """What is started here may open `FEW` files, unless it asks for more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(FEW, len(os.listdir("/proc/self/fd")) + FEW), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_interchange_takes_as_many_peers_as_the_system_allows(house: House, few: None) -> None:
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Client.local(workers=1, folder=house.folder) as client:
        assert client.submit(abs, -1).result(WITHIN) == 1
        (interchange,) = house.interchanges()
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        peers = [socket.socket(socket.AF_UNIX) for _ in range(allowed + FEW)]
        try:
            for peer in peers:
                peer.connect(str(house.folder / "clients.sock"))
            with Client.connect(house.folder) as other:
                assert other.submit(abs, -2).result(WITHIN) == 2
        finally:
            for peer in peers:
                peer.close()
        assert house.interchanges() == [interchange], "it lives, too"


def test_so_does_the_hub(house: House, few: None) -> None:
    with Client.local(workers=1, folder=house.folder, monitoring=True):
        (hub,) = [one for one in house.everything() if " -m blockyard_monitoring" in one.command]
        limits = Path(f"/proc/{hub.pid}/limits").read_text()
        found = re.search(r"Max open files +(\d+) +(\d+)", limits)
        assert found is not None, limits
        assert found[1] == found[2], limits
