"""More connections than the limit of open files that a shell sets at first, and than any limit."""

import contextlib
import os
import re
import resource
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.monitoring import Monitoring
from blockyard.radios import ZmqRadio
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.security.raw import a_hello, raw_peer, stolen

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


def test_where_hardly_any_are_left_others_wait_and_those_who_are_in_go_on(house: House) -> None:
    with Client.local(workers=1, folder=house.folder) as client, contextlib.ExitStack() as peers:
        assert client.submit(abs, -1).result(WITHIN) == 1
        (interchange,) = house.interchanges()
        _, most = resource.prlimit(interchange.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(interchange.pid, resource.RLIMIT_NOFILE, (2 * FEW, most))
        socket_path = house.folder / "clients.sock"
        keys = stolen(house.folder, "client-default")
        for number in range(2 * FEW):
            peer = peers.enter_context(raw_peer(house.folder, "clients", keys))
            if not peer.say(a_hello(session=number + 1), within=1.0):
                break
            assert client.submit(abs, -number).result(WITHIN) == number
        assert not socket_path.exists(), "nobody more gets in"
        assert FEW // 2 < number < 2 * FEW
        waiting = threading.Thread(target=lambda: peers.enter_context(Client.connect(house.folder)), daemon=True)
        waiting.start()
        assert client.submit(abs, -2).result(WITHIN) == 2
        assert waiting.is_alive()
        resource.prlimit(interchange.pid, resource.RLIMIT_NOFILE, (4 * FEW, most))
        waiting.join(WITHIN)
        assert not waiting.is_alive(), "there is room again"
        assert house.interchanges() == [interchange], "libzmq did not end it"


def test_so_does_the_hub(house: House, few: None) -> None:
    with Client.local(workers=1, folder=house.folder, monitoring=True):
        (hub,) = house.hubs()
        wait_until(
            "it may open as many files as it may ask for",
            lambda: re.findall(r"Max open files +(\d+) +(\d+)", Path(f"/proc/{hub.pid}/limits").read_text()),
            lambda found: found[0][0] == found[0][1],
        )


def test_where_hardly_any_are_left_in_a_hub_others_wait_for_its_radio(house: House) -> None:
    path = house.folder / "radio.sock"
    monitoring = Monitoring(radio=ZmqRadio(listen=f"ipc://{path}"))
    with Client.local(workers=1, folder=house.folder, monitoring=monitoring), contextlib.ExitStack() as peers:
        wait_until("its radio listens", path.exists, bool)
        (hub,) = house.hubs()
        _, most = resource.prlimit(hub.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (2 * FEW, most))
        for _ in range(FEW):
            peers.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        wait_until("nobody more gets in", path.exists, lambda is_open: not is_open)
        resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (4 * FEW, most))
        wait_until("there is room again", path.exists, bool)
        peers.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
        assert house.hubs() == [hub], "libzmq did not end it"
