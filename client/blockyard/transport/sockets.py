"""Sockets with CURVE always on. They send and receive single frames without blocking; waiting is the `Poller`'s.

Nothing is ever queued for a peer that is not there: `send` says False, and the caller, who knows what must not be
lost, sends again after the next handshake (`Hello`, `Join`).
"""

import contextlib
import errno
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import zmq

from blockyard.transport.keys import KeyPair
from blockyard.wire.codec import MAX_FRAME_BYTES
from blockyard.wire.patience import LARGE_BYTES

_REFUSED_SECONDS = 0.5
"""From a connection that libzmq gave up to the next one."""
_LET_GO_SECONDS = 2.0
"""In which libzmq's thread has surely closed a listener."""
_QUEUE_FRAMES = 4096
"""Frames queued for a peer that reads slowly, before `send` says False."""
_AGAIN_MILLISECONDS = 20
"""From an attempt to connect to the next one. On this machine it stays so: to try costs microseconds, and a pause that
grows would often outlast the start of the interchange, which the first result waits for."""
_RARER_MILLISECONDS = 500
"""What it grows to where attempts cross a network."""
_CONNECT_MILLISECONDS = 5_000
_BEAT_SECONDS = 3
_DEAD_SECONDS = 9
"""Silence of a machine that was cut off is told by nobody: without these TCP takes minutes to give a connection up.

They are the kernel's. libzmq's own heartbeats wait behind a large frame, and end the connection when it takes longer.
"""
_PEER_DEAD_SECONDS = 30
"""The same where peers come from."""
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)
_NOBLOCK, _MORE_NOBLOCK = int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK)
"""As plain integers: to combine members of an enumeration costs more than to send."""
_MONITOR_EVENT = struct.Struct("=Hi")
_ZERO_COPY_BYTES = 64 * 1024
"""Below this, copying a frame is cheaper than keeping track of who still uses it (pyzmq's own threshold)."""

Announce = Callable[[int], bytes]
"""The frame that tells a peer that one of so many bytes comes next; it goes before large ones, see `wire.patience`."""


class Pollable(Protocol):
    """What the poller can wait for besides plain file descriptors."""

    @property
    def socket(self) -> "zmq.Socket[bytes]": ...


class Context:
    """ZMQ's context: one I/O thread for all sockets of this process."""

    def __init__(self, max_sockets: int = 1024) -> None:
        self.zmq = zmq.Context(1)
        self.zmq.set(zmq.MAX_SOCKETS, max_sockets)

    def close(self) -> None:
        """End the context, and with it sockets that an error left open; call it from the thread that used them."""
        self.zmq.destroy(linger=0)


class Dealer:
    """The connecting side of a link. Reconnects by itself, for ever; the peer will then not know us.

    libzmq gives up when a handshake is refused, and when what comes is no ZMTP. But a key may have been made a moment
    ago and not be known there yet, and a gateway may have answered for a peer that was away: so `send`, which is what
    its users call again and again, then connects anew.
    Raises OSError for an endpoint that nothing could ever listen on.
    """

    def __init__(self, context: Context, endpoint: str, *, server_key: bytes, keys: KeyPair) -> None:
        socket = context.zmq.socket(zmq.DEALER)
        socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = keys.public, keys.secret, server_key
        _limit(socket)
        socket.set(zmq.IMMEDIATE, 1)
        socket.set(zmq.RECONNECT_IVL, _AGAIN_MILLISECONDS)
        socket.set(zmq.RECONNECT_IVL_MAX, _RARER_MILLISECONDS if endpoint.startswith("tcp:") else _AGAIN_MILLISECONDS)
        if endpoint.startswith("tcp:"):
            socket.set(zmq.CONNECT_TIMEOUT, _CONNECT_MILLISECONDS)
            _notice_the_dead(socket, _BEAT_SECONDS, _DEAD_SECONDS)
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED)
        self._monitor.linger = 0
        self._again_at = 0.0
        """When to connect anew; 0: the connection, or libzmq's own attempts, stand."""
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            self._monitor.close(0)
            socket.close(0)
            raise OSError(error.errno, f"{endpoint}: {error.strerror}") from error
        self._endpoint = endpoint
        self._socket = socket
        self._announced = b""
        """The large frame that is to come next, when that was said."""

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """For the poller."""
        return self._socket

    def send(self, frame: bytes, announce: Announce | None = None) -> bool:
        """Send one frame; False when there is no connection or its queue is full."""
        if len(frame) > LARGE_BYTES and announce is not None and not self._is_announced(frame, announce):
            return False
        try:
            self._socket.send(frame, _NOBLOCK, copy=len(frame) < _ZERO_COPY_BYTES)
        except zmq.Again:
            self._connect_if_given_up(time.monotonic())
            return False
        self._announced = b""
        return True

    def _is_announced(self, frame: bytes, announce: Announce) -> bool:
        if frame is not self._announced:
            if not self.send(announce(len(frame))):
                return False
            self._announced = frame
        return True

    def _connect_if_given_up(self, now: float) -> None:
        # Of each connection that ends libzmq says so, and next that it will try again, if it will.
        while self._monitor.poll(0):
            event, _ = _next_event(self._monitor)
            ended = event == zmq.EVENT_DISCONNECTED
            self._again_at = now + _REFUSED_SECONDS if ended else 0.0
        if self._again_at and now >= self._again_at:
            self._again_at = 0.0
            with contextlib.suppress(zmq.ZMQError):  # libzmq may have dropped it by itself
                self._socket.disconnect(self._endpoint)
            self._socket.connect(self._endpoint)

    def redial(self, server_key: bytes, keys: KeyPair | None = None) -> None:
        """Connect anew to who has another key, with another pair if one is given; what is under way is dropped."""
        with contextlib.suppress(zmq.ZMQError):  # libzmq may have dropped it by itself
            self._socket.disconnect(self._endpoint)
        if keys is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey = keys.public, keys.secret
        self._socket.curve_serverkey = server_key
        self._again_at = 0.0
        self._socket.connect(self._endpoint)

    def receive(self) -> bytes | None:
        """Receive one frame, or None when none waits."""
        try:
            return self._socket.recv(_NOBLOCK)
        except zmq.Again:
            return None

    def receive_all(self, most: int) -> list[bytes]:
        """Receive what waits, at most so many frames; cheapest when the poller has said that there is one."""
        frames: list[bytes] = []
        while len(frames) < most and (frame := self.receive()) is not None:
            frames.append(frame)
            if not _is_readable(self._socket):
                break
        return frames

    def close(self, linger: float = 0.0) -> None:
        """Close; frames not sent yet are given `linger` seconds."""
        self._socket.disable_monitor()
        self._socket.close(round(linger * 1000))


@contextlib.contextmanager
def dialled(endpoint: str, *, server_key: bytes, keys: KeyPair, linger: float = 0.0) -> Iterator[Dealer]:
    """A `Dealer` with a context of its own, for a thread that has one link; what is not sent yet is given `linger`."""
    with contextlib.closing(Context()) as context:
        dealer = Dealer(context, endpoint, server_key=server_key, keys=keys)
        try:
            yield dealer
        finally:
            dealer.close(linger)


class Router:
    """The bound side of links; its `Gate` decides who may connect."""

    def __init__(
        self, context: Context, endpoint: str, *, keys: KeyPair, domain: str, queue_frames: int = _QUEUE_FRAMES
    ) -> None:
        """`queue_frames`: of each peer, that are read and wait here while nobody receives them."""
        socket = context.zmq.socket(zmq.ROUTER)
        socket.curve_server = True
        socket.curve_secretkey = keys.secret
        socket.set(zmq.ZAP_DOMAIN, domain.encode())
        socket.set(zmq.ROUTER_MANDATORY, 1)
        socket.set(zmq.BACKLOG, 4096)
        if endpoint.startswith("tcp:"):
            _notice_the_dead(socket, _PEER_DEAD_SECONDS // 3, _PEER_DEAD_SECONDS)
        _limit(socket)
        socket.set(zmq.RCVHWM, queue_frames)
        self._socket = socket
        try:
            self._bind(endpoint)
        except OSError:
            socket.close(0)
            raise

    def _bind(self, endpoint: str) -> None:
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise OSError(error.errno, f"{endpoint}: {error.strerror}") from error
        if (path := self._socket_path()) is not None:
            path.chmod(0o600)
            _aside(path).unlink(missing_ok=True)  # of one that was killed

    def turn_away(self) -> None:
        """Have nobody more come by a Unix socket until `welcome`; connections stand, and those who try will try again.

        The name of the socket is taken away: libzmq has no other way that ends no connection.
        """
        if (path := self._socket_path()) and path.exists():
            path.rename(_aside(path))

    def welcome(self) -> None:
        """Let others come again."""
        if (path := self._socket_path()) and _aside(path).exists():
            _aside(path).rename(path)

    def _socket_path(self) -> Path | None:
        endpoint = self.endpoint
        return Path(endpoint.removeprefix("ipc://")) if endpoint.startswith("ipc:///") else None

    def rekey(self, keys: KeyPair) -> None:
        """Prove itself by another pair from now on. All connections end; those of who knows the new key come again.

        Raises OSError when it cannot listen again at the same place.
        """
        self.welcome()
        endpoint = self.endpoint
        self._socket.unbind(endpoint)
        self._socket.curve_secretkey = keys.secret
        deadline = time.monotonic() + _LET_GO_SECONDS
        while True:
            try:
                return self._bind(endpoint)
            except OSError as error:  # the I/O thread may not have let go of it yet
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise
                time.sleep(_AGAIN_MILLISECONDS / 1000)

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """For the poller."""
        return self._socket

    @property
    def endpoint(self) -> str:
        """Where it is bound, with the port that was chosen for ``tcp://…:*``."""
        return bytes(self._socket.get(zmq.LAST_ENDPOINT)).decode().rstrip("\0")

    def send(self, peer: bytes, frame: bytes, announce: Announce | None = None) -> bool:
        """Send one frame to a peer; False when it is gone or does not read."""
        if len(frame) > LARGE_BYTES and announce is not None:
            self.send(peer, announce(len(frame)))
        try:
            self._socket.send(peer, _MORE_NOBLOCK)
            self._socket.send(frame, _NOBLOCK, copy=len(frame) < _ZERO_COPY_BYTES)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                return False
            raise
        return True

    def receive(self) -> tuple[bytes, str, bytes] | None:
        """Receive (peer, user id that its key proves, frame), or None when none waits.

        A message of more than one frame is nobody's; it comes back as an empty frame, which no decoder accepts.
        """
        try:
            peer = self._socket.recv(_NOBLOCK)
            frame = self._socket.recv(_NOBLOCK, copy=False)
        except zmq.Again:
            return None
        body = frame.bytes
        while frame.more:
            frame = self._socket.recv(_NOBLOCK, copy=False)
            body = b""
        return peer, str(frame.get("User-Id")), body

    def receive_all(self, most: int) -> list[tuple[bytes, str, bytes]]:
        """Receive what waits, at most so many frames; cheapest when the poller has said that there is one."""
        received: list[tuple[bytes, str, bytes]] = []
        while len(received) < most and (one := self.receive()) is not None:
            received.append(one)
            if not _is_readable(self._socket):
                break
        return received

    def has_frames(self) -> bool:
        """Whether one waits."""
        return _is_readable(self._socket)

    def close(self) -> None:
        """Close at once."""
        self._socket.close(0)


class Connections:
    """Which connections of a `Router` stand; to be closed before it."""

    def __init__(self, router: Router) -> None:
        self._router = router.socket
        self._monitor = self._router.get_monitor_socket(zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED)
        self._monitor.linger = 0
        self._open: set[int] = set()

    @property
    def socket(self) -> "zmq.Socket[bytes]":
        """For the poller: readable when one comes or goes."""
        return self._monitor

    def are_open(self) -> bool:
        """Whether there are any. What came over those that are gone can be received by then."""
        while self._monitor.poll(0):
            event, descriptor = _next_event(self._monitor)
            if event == zmq.EVENT_ACCEPTED:
                self._open.add(descriptor)
            else:
                self._open.discard(descriptor)
        return bool(self._open)

    def close(self) -> None:
        """Watch no longer."""
        self._router.disable_monitor()


class Poller:
    """Waits for sockets and file descriptors together."""

    def __init__(self) -> None:
        self._poller = zmq.Poller()
        self._named: dict[object, Pollable | int] = {}

    def register(self, readable: Pollable | int) -> None:
        """Watch a socket or a file descriptor for input."""
        raw = readable if isinstance(readable, int) else readable.socket
        self._named[raw] = readable
        self._poller.register(raw, zmq.POLLIN)

    def unregister(self, readable: Pollable | int) -> None:
        """Stop watching; it must be watched."""
        raw = readable if isinstance(readable, int) else readable.socket
        del self._named[raw]
        self._poller.unregister(raw)

    def poll(self, timeout: float | None) -> list[Pollable | int]:
        """Wait at most `timeout` seconds (None: for ever) and return what is readable."""
        milliseconds = None if timeout is None else max(0, -int(-timeout * 1000 // 1))
        return [self._named[raw] for raw, _ in self._poller.poll(milliseconds)]


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.full")


def _next_event(monitor: "zmq.Socket[bytes]") -> tuple[int, int]:
    """The next event and its value, as zmq_socket_monitor(3) lays them out; pyzmq's own reader imports asyncio."""
    told, _endpoint = monitor.recv_multipart()
    event, value = _MONITOR_EVENT.unpack(told)
    return event, value


def _is_readable(socket: "zmq.Socket[bytes]") -> bool:
    """To ask first costs half of the exception that tells that nothing is there."""
    return int(socket.getsockopt(_EVENTS)) & _POLLIN != 0


def _notice_the_dead(socket: "zmq.Socket[bytes]", beat: int, dead: int) -> None:
    """Have the kernel ask an idle machine every `beat` seconds, and give up one that confirms nothing for `dead`."""
    socket.set(zmq.TCP_KEEPALIVE, 1)
    socket.set(zmq.TCP_KEEPALIVE_IDLE, beat)
    socket.set(zmq.TCP_KEEPALIVE_INTVL, beat)
    socket.set(zmq.TCP_KEEPALIVE_CNT, dead // beat - 1)
    socket.set(zmq.TCP_MAXRT, 1000 * dead)


def _limit(socket: "zmq.Socket[bytes]") -> None:
    socket.linger = 0
    socket.set(zmq.SNDHWM, _QUEUE_FRAMES)
    socket.set(zmq.RCVHWM, _QUEUE_FRAMES)
    socket.set(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.set(zmq.HANDSHAKE_IVL, 10_000)


__all__: Sequence[str] = ["Announce", "Connections", "Context", "Dealer", "Pollable", "Poller", "Router", "dialled"]
