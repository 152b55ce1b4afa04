"""The receiver of radio `zmq`: one socket, one thread, confirmations when the sinks have stored what came."""

import os
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from blockyard.errors import BadFrame
from blockyard.radios import Arrival, Arrivals
from blockyard.transport import Context, Doors, Gate, KeyPair, Poller, Router
from blockyard.wire import codec
from blockyard.wire.monitoring import micros
from blockyard.wire.records import Record
from blockyard_monitoring.inlet import Inlet
from blockyard_monitoring.refusals import Refusals

RADIO: Final = "zmq"
_DOMAIN: Final = "radio"
_FRAMES: Final = 64
_QUEUE_FRAMES: Final = 32
"""Of each sender, while the sinks take nothing: there may be thousands of them, and they keep the rest themselves."""
_FULL_SECONDS: Final = 0.02
_LOOK_SECONDS: Final = 1.0
"""Between two looks at how many files are open; there is one at each handshake, too."""
_MOST_PEERS: Final = 65_000


class _Head(Record, frozen=True):
    """How a packet begins."""

    version: int
    source: str
    number: int


_head = msgspec.msgpack.Decoder(_Head)


class ZmqReceiver:
    """Listens at `endpoint` with these keys, and lets in who has the sender's key."""

    def __init__(self, endpoint: str, keys: KeyPair, sender: bytes, bus: Arrivals) -> None:
        """Raises OSError when the endpoint can't be bound."""
        self._context = Context(max_sockets=_MOST_PEERS)
        self._gate = Gate(self._context)
        self._gate.allow(_DOMAIN, {sender: "radio"})
        try:
            self._router = Router(self._context, endpoint, keys=keys, domain=_DOMAIN, queue_frames=_QUEUE_FRAMES)
        except OSError:
            self._context.close()
            raise
        self.endpoint = self._router.endpoint
        self._refusals = Refusals(bus, RADIO)
        self._inlet = Inlet(bus)
        self._lock = threading.Lock()
        self._stored: dict[bytes, list[int]] = {}
        """By connection: numbers to be confirmed. One by one, because what a hub of before was sent may be missing."""
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="radio-zmq", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """See `RadioReceiver`."""
        if not self._ending:
            with self._lock:
                self._ending = True
            os.eventfd_write(self._wakeup, 1)
            self._thread.join()
            with self._lock:
                os.close(self._wakeup)

    def _run(self) -> None:
        poller = Poller()
        for readable in (self._gate, self._router, self._wakeup):
            poller.register(readable)
        doors, look_at = Doors(self._router), 0.0
        try:
            while not self._ending or self._read():
                has_room = self._inlet.has_room()
                ready = poller.poll(_LOOK_SECONDS if has_room else _FULL_SECONDS)
                if self._gate in ready:
                    self._gate.answer()
                    self._count_strangers()
                if self._gate in ready or time.monotonic() >= look_at:
                    doors.look()
                    look_at = time.monotonic() + _LOOK_SECONDS
                if self._wakeup in ready:
                    os.eventfd_read(self._wakeup)
                if has_room and self._router in ready:
                    self._read()
                elif not has_room:
                    time.sleep(_FULL_SECONDS)  # frames wait unread: do not spin on them
                self._confirm()
        finally:
            for socket in (self._router, self._gate):
                socket.close()
            self._context.close()

    _strangers = 0

    def _count_strangers(self) -> None:
        for _ in range(self._gate.refused - self._strangers):
            self._refusals.add("key", "a connection with a key that is not this radio's")
        self._strangers = self._gate.refused

    def _read(self) -> bool:
        """Take in what waits; False when nothing did."""
        received = self._router.receive_all(_FRAMES)
        arrived = micros(time.time())
        for name, _, frame in received:
            try:
                packet = codec.packet_of_worker.decode(frame)
            except BadFrame as error:
                self._refusals.add("malformed", str(error))
                self._refuse(name, frame)
                continue
            self._inlet.take(Arrival(packet, RADIO, arrived, self._on_stored(name, packet.number)))
        return bool(received)

    def _refuse(self, name: bytes, frame: bytes) -> None:
        """Let a sender forget what will not get better, if it can be told which message that was."""
        try:
            head = _head.decode(frame)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        with self._lock:
            self._stored.setdefault(name, []).append(head.number)

    def _on_stored(self, name: bytes, number: int) -> Callable[[], None]:
        def on_stored() -> None:
            with self._lock:
                self._stored.setdefault(name, []).append(number)
                if not self._ending:
                    os.eventfd_write(self._wakeup, 1)

        return on_stored

    def _confirm(self) -> None:
        with self._lock:
            stored, self._stored = self._stored, {}
        for name, numbers in stored.items():
            self._router.send(name, codec.encode(numbers))
