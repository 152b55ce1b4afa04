"""Large bodies over a link on which they take longer than a lease: they arrive, once, and nobody is taken for dead."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from blockyard import Client, LocalPool, nearness
from blockyard.transport import KeyPair
from tests.integration.processes import WITHIN, House, wait_until
from tests.integration.questions import pool_status

pytestmark = pytest.mark.timeout(300)

BUFFER_BYTES = 65_536


class Slowness(NamedTuple):
    """A link, and bytes that take longer on it than what would end it: a lease is three seconds, libzmq's heartbeats
    over TCP were twelve."""

    over_tcp: bool
    bytes_a_second: int
    large: int


LINKS = [Slowness(False, 2_000_000, 9_000_000), Slowness(True, 256 * 1024, 3_600_000)]


class SlowLink:
    """Stands between a Unix socket and those who connect to `path`, or to a port; slow in both directions."""

    def __init__(self, path: Path, target: Path, slowness: Slowness) -> None:
        self.moved_bytes = 0
        self._bytes_a_second = slowness.bytes_a_second
        self._target = str(target)
        if slowness.over_tcp:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
            self.endpoint = f"ipc://{path}"
        self._ends: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends += [near, far]
                for source, sink in ((near, far), (far, near)):
                    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                        source.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BUFFER_BYTES):
                sink.sendall(data)
                self.moved_bytes += len(data)
                time.sleep(len(data) / self._bytes_a_second)


@contextlib.contextmanager
def _slow(path: Path, target: Path, slowness: Slowness) -> Iterator[SlowLink]:
    link = SlowLink(path, target, slowness)
    try:
        yield link
    finally:
        link.close()


@pytest.mark.parametrize("slowness", LINKS)
def test_a_client_far_away_sends_and_gets_what_is_large(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slowness: Slowness
) -> None:
    keys, large = house.folder / "keys", slowness.large
    with (
        Client.local(workers=1, folder=house.folder) as near,
        _slow(tmp_path / "slow.sock", house.folder / "clients.sock", slowness) as link,
    ):
        assert near.submit(abs, -1).result(WITHIN) == 1
        monkeypatch.setattr(nearness, "read", lambda _: b"")
        server = KeyPair.load(keys / "clients.key").public.decode()
        with Client.connect(link.endpoint, server_key=server, client_key=keys / "client-default.key") as far:
            assert far.submit(len, bytes(large)).result(WITHIN) == large
            assert len(far.submit(bytes, large).result(WITHIN)) == large
        assert link.moved_bytes < 2.5 * large, "each went once"


@pytest.mark.parametrize("slowness", LINKS)
def test_so_does_a_manager(house: House, tmp_path: Path, slowness: Slowness) -> None:
    large = slowness.large
    nobody = LocalPool(min_blocks=0, init_blocks=0, max_blocks=1, strategy="none")
    with (
        Client.local(pools={"default": nobody}, folder=house.folder) as client,
        _slow(tmp_path / "slow.sock", house.folder / "managers.sock", slowness) as link,
    ):
        settings = json.loads((house.folder / "pool-default.json").read_bytes())
        file = tmp_path / "far.json"
        file.write_text(json.dumps({**settings, "endpoint": link.endpoint, "blob_near": "", "workers": 1}))
        manager = subprocess.Popen(
            [sys.executable, "-m", "blockyard_worker", "--settings", file, "--block", "far"], stderr=subprocess.DEVNULL
        )
        try:
            wait_until("it has joined", lambda: pool_status(client).managers, lambda managers: managers == 1)
            assert client.submit(len, bytes(large)).result(WITHIN) == large
            assert len(client.submit(bytes, large).result(WITHIN)) == large
            status = pool_status(client)
            assert (status.lost, status.late, status.managers) == (0, 0, 1), status
            assert link.moved_bytes < 2.5 * large, "each went once"
        finally:
            manager.terminate()
            manager.wait(WITHIN)
