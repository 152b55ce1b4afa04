"""Which doors monitoring opens: no port for the interchange's radio, and the hub's socket to hubs alone."""

import time
from pathlib import Path

import pytest

from blockyard import Client
from blockyard.keyring import KeyRing
from blockyard.monitoring import Monitoring
from blockyard.transport import Context, Dealer, KeyPair
from blockyard.wire import codec, hub
from blockyard.wire.monitoring import VERSION
from tests.integration.metrics.test_port import listens
from tests.integration.monitoring import jobs
from tests.integration.processes import WITHIN, House, wait_until

pytestmark = pytest.mark.timeout(240)


def may_follow(folder: Path, keys: KeyPair, seconds: float) -> bool:
    """Whether somebody with these keys is let in at the hub's socket within so many seconds."""
    context = Context()
    server = KeyRing(folder / "keys").interchange("hubs").public
    dealer = Dealer(context, f"ipc://{folder}/hub.sock", server_key=server, keys=keys)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if dealer.send(codec.encode(hub.Follow(VERSION))):
                return True
            time.sleep(0.02)
        return False
    finally:
        dealer.close()
        context.close()


def test_the_interchanges_radio_opens_no_port(tmp_path: Path) -> None:
    house = House(tmp_path / "state")
    monitoring = Monitoring(database=f"sqlite:///{tmp_path}/history.db")
    with Client.local(workers=1, folder=house.folder, monitoring=monitoring) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        wait_until("the hub shows what happens", (house.folder / "stream.sock").exists, bool)
        processes = house.everything()
        assert len(processes) >= 4, "interchange, hub, manager, worker"
        assert [(str(one), listens(one)) for one in processes if listens(one)] == []


def test_only_a_hubs_key_opens_the_hubs_socket(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    monitoring = Monitoring(database="none", stream=False)
    with Client.local(workers=1, folder=folder, monitoring=monitoring) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        ring = KeyRing(folder / "keys")
        for stranger in (ring.client(), ring.pool("default"), KeyPair.new()):
            assert not may_follow(folder, stranger, 1.0)
        assert may_follow(folder, ring.issue("hub-default"), WITHIN), "the way itself is open"
