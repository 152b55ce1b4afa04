"""Who may connect: the ZAP handler that checks each CURVE handshake against an allow-list by role.

ZAP is RFC 27 (https://rfc.zeromq.org/spec/27/): libzmq asks over an in-process socket, and a peer that is not allowed
never reaches the application. The user id given here comes back with every message of that peer (`Router.receive`),
so that a message's author is what its key proves, not what it says.
"""

from collections.abc import Callable, Mapping

import zmq
from zmq.utils import z85

from blockyard.transport.sockets import Context

_ENDPOINT = "inproc://zeromq.zap.01"

AllowList = Mapping[bytes, str]
"""Public key (40 bytes Z85) to user id, for one domain."""


class Gate:
    """Answers the handshakes of all `Router`s of one context. Register `socket` with the poller, call `answer`."""

    def __init__(self, context: Context, on_stranger: Callable[[], bool] = lambda: False) -> None:
        """`on_stranger` is called before a key is refused; it may call `allow` and says whether it did."""
        self._on_stranger = on_stranger
        self._socket = context.zmq.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(_ENDPOINT)
        self._allowed: dict[str, AllowList] = {}
        self.refused = 0
        """Handshakes refused so far."""

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """What to poll."""
        return self._socket

    def allow(self, domain: str, users: AllowList) -> None:
        """Replace the allow-list of a domain; connections that stand are not cut."""
        self._allowed[domain] = dict(users)

    def answer(self) -> None:
        """Answer all handshakes that wait."""
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._socket.send_multipart(self._decide(frames))

    def _decide(self, frames: list[bytes]) -> list[bytes]:
        version, request = frames[0], frames[1]
        domain, mechanism = frames[2].decode("utf-8", "replace"), frames[5]
        user = None
        if mechanism == b"CURVE" and len(frames) == 7 and len(frames[6]) == 32:
            key = z85.encode(frames[6])
            user = self._allowed.get(domain, {}).get(key)
            if user is None and self._on_stranger():
                user = self._allowed.get(domain, {}).get(key)
        if user is None:
            self.refused += 1
            return [version, request, b"400", b"key not allowed here", b"", b""]
        return [version, request, b"200", b"OK", user.encode(), b""]

    def close(self) -> None:
        """Stop answering; later handshakes hang until their time-out."""
        self._socket.close()
