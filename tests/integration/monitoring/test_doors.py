"""Which doors monitoring opens: no port for the interchange's radio, and the hub's socket to hubs alone."""

import os
import threading
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


def test_an_idle_system_has_what_its_monitoring_asks_for_and_nothing_else(tmp_path: Path) -> None:
    def idle(name: str, monitoring: Monitoring | None) -> tuple[set[str], dict[str, int]]:
        """Files in its folder, and threads by program."""
        house = House(tmp_path / name)
        with Client.local(workers=1, folder=house.folder, monitoring=monitoring) as client:
            client.submit(jobs.twice, 1).result(WITHIN)
            if monitoring is not None:
                wait_until("the hub shows what happens", (house.folder / "stream.sock").exists, bool)
            everything = house.everything()
            assert [(str(one), listens(one)) for one in everything if listens(one)] == []
            threads = {
                program: sum(len(list(Path(f"/proc/{one.pid}/task").iterdir())) for one in everything
                             if f"-m {program} " in one.command)
                for program in ("blockyard_interchange", "blockyard_monitoring", "blockyard_worker")
            }  # fmt: skip
            return {path.name for path in house.folder.iterdir()}, threads

    files, threads = idle("off", None)
    database = f"sqlite:///{tmp_path}/history.db"
    told_files, told_threads = idle("on", Monitoring(database=database))
    quiet_files, quiet_threads = idle("quiet", Monitoring(database=database, sample_seconds=0))
    own = {"hub.json", "hub.log", "hub.sock", "interchange-radio.json", "radio.json", "stream.sock"}
    assert told_files - files == quiet_files - files == own
    assert threads["blockyard_monitoring"] == 0
    assert told_threads["blockyard_interchange"] == threads["blockyard_interchange"]
    assert told_threads["blockyard_worker"] == threads["blockyard_worker"] + 1, "the sampler"
    assert quiet_threads["blockyard_worker"] == threads["blockyard_worker"]


def test_threads_of_this_process_have_what_their_monitoring_asks_for(tmp_path: Path) -> None:
    def idle(monitoring: Monitoring | None) -> tuple[set[str], int]:
        """Threads, and how many sockets of this process have an address in its folder."""
        before = {thread.name for thread in threading.enumerate()}
        with Client.threads(1, monitoring=monitoring) as client:
            client.submit(jobs.twice, 1).result(WITHIN)
            addresses = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
            inodes = {line[6] for line in addresses if "/blockyard-threads-" in line[-1]}
            own = {os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
            listening = len(own & {f"socket:[{inode}]" for inode in inodes})
            return {thread.name for thread in threading.enumerate()} - before, listening

    database = f"sqlite:///{tmp_path}/history.db"
    assert idle(None) == ({"blockyard-0"}, 0)
    threads, listening = idle(Monitoring(database=database, stream=False))
    assert (threads, listening) == ({"blockyard-0", "blockyard-telling", "sink-sql"}, 0)
    threads, listening = idle(Monitoring(database=database))
    assert threads == {"blockyard-0", "blockyard-telling", "sink-sql", "sink-stream", "stream"}
    assert listening == 1


def test_only_a_hubs_key_opens_the_hubs_socket(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    monitoring = Monitoring(database="none", stream=False)
    with Client.local(workers=1, folder=folder, monitoring=monitoring) as client:
        client.submit(jobs.twice, 1).result(WITHIN)
        ring = KeyRing(folder / "keys")
        for stranger in (ring.client(), ring.pool("default"), KeyPair.new()):
            assert not may_follow(folder, stranger, 1.0)
        assert may_follow(folder, ring.issue("hub-default"), WITHIN), "the way itself is open"
