"""What is sent over a link, and that it comes back from whatever stood at the other end for a while.

libzmq gives up what speaks no ZMTP.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from blockyard.transport import Context, Dealer, Gate, KeyPair, Router, dialled
from blockyard.wire.patience import LARGE_BYTES
from tests.integration.processes import wait_until

pytestmark = pytest.mark.timeout(120)

_SERVER, _CLIENT = KeyPair.new(), KeyPair.new()

Spoil = Callable[[bytes], bytes]
"""What is done with bytes that come down from the router."""


class Relay:
    """A listener before the router; it spoils what comes down on its first connection, and on no other."""

    def __init__(self, inner: str) -> None:
        self.spoil: Spoil = bytes
        self.connections = 0
        self._inner = inner
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                outer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            inner = socket.socket(socket.AF_UNIX)
            inner.connect(self._inner)
            for source, target, spoiled in ((outer, inner, False), (inner, outer, self.connections == 1)):
                threading.Thread(target=self._carry, args=(source, target, spoiled), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, spoiled: bool) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(self.spoil(data) if spoiled else data)
        except OSError:
            pass
        target.close()


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Router]:
    context = Context()
    gate = Gate(context)
    gate.allow("test", {_CLIENT.public: "client"})
    router = Router(context, f"ipc://{tmp_path}/router", keys=_SERVER, domain="test")
    ending = threading.Event()

    def admit() -> None:
        while not ending.is_set():
            if gate.socket.poll(20):
                gate.answer()

    thread = threading.Thread(target=admit)
    thread.start()
    yield router
    ending.set()
    thread.join()
    gate.close()
    router.close()
    context.close()


@pytest.fixture
def relay(router: Router, tmp_path: Path) -> Iterator[Relay]:
    relay = Relay(f"{tmp_path}/router")
    yield relay
    relay.close()


def link(relay: Relay) -> AbstractContextManager[Dealer]:
    return dialled(relay.endpoint, server_key=_SERVER.public, keys=_CLIENT)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"HTTP/1.1 502 Bad Gateway\r\n\r\n" + data, id="another protocol"),
        pytest.param(lambda data: data[10:], id="a hole in the greeting"),
        pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="a flipped bit"),
    ],
)
def test_a_peer_that_makes_no_sense_is_dialled_again(router: Router, relay: Relay, spoil: Spoil) -> None:
    relay.spoil = spoil
    with link(relay) as dealer:
        wait_until("it is connected", lambda: dealer.send(b"here"), bool)
        wait_until("the frame is here", router.receive, lambda one: one is not None and one[1:] == ("client", b"here"))


def test_a_connection_that_stops_making_sense_is_made_anew(router: Router, relay: Relay) -> None:
    with link(relay) as dealer:
        wait_until("it is connected", lambda: dealer.send(b"one"), bool)
        received = wait_until("the frame is here", router.receive, lambda one: one is not None)
        assert received is not None
        relay.spoil = lambda data: b"\xff" * len(data)
        assert router.send(received[0], b"spoiled")
        wait_until("it connects anew", lambda: (dealer.send(b"two"), relay.connections), lambda seen: seen[1] > 1)
        wait_until("it is connected", lambda: dealer.send(b"three"), bool)
        wait_until("the frame is here", router.receive, lambda one: one is not None and one[2] == b"three")


def test_a_large_frame_is_announced_once_right_before_it_goes(router: Router, relay: Relay) -> None:
    large = bytes(LARGE_BYTES + 1)
    asked: list[int] = []

    def announce(follows: int) -> bytes:
        asked.append(follows)
        return b"large"

    with link(relay) as dealer:
        assert not dealer.send(large, announce), "sent before there is a connection"
        wait_until("it is connected", lambda: dealer.send(b"small", announce), bool)
        del asked[:]
        assert dealer.send(large, announce)
        assert asked == [len(large)]
        frames: list[bytes] = []
        peer = b""
        while len(frames) < 3:
            received = wait_until("a frame is here", router.receive, lambda one: one is not None)
            assert received is not None
            peer = received[0]
            frames.append(received[2])
        assert frames == [b"small", b"large", large]
        assert router.send(peer, large, announce)
        assert router.send(peer, b"small", announce)
        assert [wait_until("it is here", dealer.receive, lambda one: one is not None) for _ in range(3)] == [
            b"large",
            large,
            b"small",
        ]
