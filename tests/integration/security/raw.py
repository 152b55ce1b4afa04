"""A peer by hand: the real sockets and codec of `blockyard.transport`, and whatever key and message a test gives it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from blockyard.keyring import KeyRing
from blockyard.transport import Context, Dealer, KeyPair, Poller
from blockyard.wire import client as client_wire
from blockyard.wire import codec
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import PROTOCOL_VERSION

M = TypeVar("M")

SILENCE = 1.5
"""Seconds without an answer that count as none. An answer takes milliseconds; a handshake refused is never tried again
by the interchange, and by the peer every half a second."""


class Raw:
    """One connection to the interchange in a state folder, on its side for 'clients' or for 'managers'."""

    def __init__(self, folder: Path, side: str, keys: KeyPair, context: Context) -> None:
        server = KeyRing(folder / "keys").interchange(side)
        self._decode = (codec.to_client if side == "clients" else codec.to_manager).decode
        self._dealer = Dealer(context, f"ipc://{folder}/{side}.sock", server_key=server.public, keys=keys)
        self._poller = Poller()
        self._poller.register(self._dealer)

    def say(self, message: Any, within: float = 5.0) -> bool:
        """Send a message, or bytes as they are; False when there is no connection to send it on."""
        frame = message if isinstance(message, bytes) else codec.encode(message)
        deadline = time.monotonic() + within
        while not self._dealer.send(frame):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        return True

    def hear(self, within: float = 10.0) -> Any:
        """The next message, or None when none comes in time."""
        while True:
            frame = self._dealer.receive()
            if frame is not None:
                return self._decode(frame)
            if not self._poller.poll(within):
                return None

    def wait_for(self, kind: type[M], within: float = 10.0) -> M:
        """The next message of this kind; what comes before it is dropped."""
        deadline = time.monotonic() + within
        seen = []
        while (left := deadline - time.monotonic()) > 0:
            message = self.hear(left)
            if isinstance(message, kind):
                return message
            seen.append(message)
        raise AssertionError(f"no {kind.__name__} came; instead {seen[-5:]}")

    def close(self) -> None:
        """Cut the connection."""
        self._dealer.close()


@contextmanager
def raw_peer(folder: Path, side: str, keys: KeyPair) -> Iterator[Raw]:
    """A connection that ends with the block."""
    context = Context()
    peer = Raw(folder, side, keys, context)
    try:
        yield peer
    finally:
        peer.close()
        context.close()


def stolen(folder: Path, name: str) -> KeyPair:
    """The pair in a key file: ``client-default``, ``pool-NAME``."""
    return KeyPair.load(folder / "keys" / f"{name}.key")


def a_hello(**fields: Any) -> client_wire.Hello:
    """A greeting as a client says it."""
    given: dict[str, Any] = {"version": PROTOCOL_VERSION, "session": 4711, "token": bytes(16), "run": ""}
    return client_wire.Hello(**{**given, "python": "3.11", **fields})


def a_join(pool: str, **fields: Any) -> manager_wire.Join:
    """An introduction as a manager says it."""
    given: dict[str, Any] = {"version": PROTOCOL_VERSION, "manager": "intruder", "pool": pool, "block": "intruder"}
    given |= {"node": "here", "python": "3.11", "workers": 1, "cores": 1.0, "memory_bytes": 0, "accelerators": 0}
    return manager_wire.Join(**{**given, **fields})
