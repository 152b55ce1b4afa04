"""The receiver of radio `udp`: checks signatures, puts messages together, lets nothing in twice."""

import hmac
import os
import select
import socket
import threading
import time
from collections import OrderedDict
from typing import Final

import msgspec

from blockyard.errors import BadFrame
from blockyard.radios import Arrival, Arrivals
from blockyard.radios.udp import MOST_FRAGMENTS, Datagram, sign, signature_bytes
from blockyard.wire import codec
from blockyard.wire.monitoring import micros

RADIO: Final = "udp"
_BUFFER_BYTES: Final = 8 * 1024 * 1024
"""Asked of the kernel, which gives what it allows."""
_MOST_SENDERS: Final = 20_000
_MOST_OPEN: Final = 1_000
"""Messages of which parts are missing, of all senders together."""
_MOST_OPEN_BYTES: Final = 64 * 1024 * 1024
"""Of their parts."""
_OPEN_SECONDS: Final = 5.0
_WINDOW: Final = 1024
"""A sender's messages that are remembered, so that none is let in twice; older ones are refused."""
_ALL: Final = (1 << _WINDOW) - 1
_DATAGRAMS: Final = 512
"""Read between two looks at what else there is to do, however many more wait."""
_DRAIN_SECONDS: Final = 0.05
_LAST_ROUNDS: Final = 100
"""Of reading, when it ends: more than a kernel's buffer holds, and an end to what somebody keeps sending."""


class _Window:
    """The messages of one sender that were let in: the highest, and a bit for each of those just below."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0

    def may_enter(self, message: int) -> bool:
        below = self._highest - message
        return below < 0 or (below < _WINDOW and not self._seen >> below & 1)

    def enter(self, message: int) -> None:
        above = message - self._highest
        if above > 0:
            self._seen = self._seen << above & _ALL if above < _WINDOW else 0
            self._highest = message
        self._seen |= 1 << self._highest - message


class Assembly:
    """Datagrams to messages. Pure: time comes in."""

    def __init__(self, key: bytes, algorithm: str) -> None:
        self._key, self._algorithm = key, algorithm
        self._size = signature_bytes(algorithm)
        self._windows: OrderedDict[bytes, _Window] = OrderedDict()
        self._open: OrderedDict[tuple[bytes, int], tuple[float, dict[int, bytes]]] = OrderedDict()
        self._open_bytes = 0
        self._decode = msgspec.msgpack.Decoder(Datagram).decode

    def take(self, datagram: bytes, now: float) -> bytes | str:
        """The message that is complete now, b'' while it is not; or, as text, why the datagram is refused."""
        given, signed = datagram[: self._size], datagram[self._size :]
        if not hmac.compare_digest(given, sign(self._key, self._algorithm, signed)):
            return "forged"
        try:
            one = self._decode(signed)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return "malformed"
        if not 0 <= one.part < one.parts <= MOST_FRAGMENTS or len(one.sender) != 16:
            return "malformed"
        window = self._windows.get(one.sender)
        if window is None:
            window = self._windows[one.sender] = _Window()
            if len(self._windows) > _MOST_SENDERS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(one.sender)
        if not window.may_enter(one.message):
            return "replayed"
        body = one.body if one.parts == 1 else self._joined(one, now)
        if body:
            window.enter(one.message)
        return body

    def expire(self, now: float) -> int:
        """Give up messages whose parts did not come, or that are too much together; returns how many."""
        given_up = 0
        while self._open and (
            len(self._open) > _MOST_OPEN
            or self._open_bytes > _MOST_OPEN_BYTES
            or next(iter(self._open.values()))[0] < now - _OPEN_SECONDS
        ):
            self._close(next(iter(self._open)))
            given_up += 1
        return given_up

    def _joined(self, one: Datagram, now: float) -> bytes:
        key = one.sender, one.message
        _, found = self._open.setdefault(key, (now, {}))
        if one.part not in found:
            found[one.part] = one.body
            self._open_bytes += len(one.body)
        if len(found) < one.parts:
            return b""
        return b"".join(body for _, body in sorted(self._close(key).items()))

    def _close(self, key: tuple[bytes, int]) -> dict[int, bytes]:
        _, found = self._open.pop(key)
        self._open_bytes -= sum(map(len, found.values()))
        return found


class UdpReceiver:
    """One socket, one thread."""

    def __init__(self, host: str, port: int, key: bytes, algorithm: str, bus: Arrivals) -> None:
        """Raises OSError when the address can't be bound."""
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )[0]
        self._socket = socket.socket(family, kind, protocol)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self._socket.settimeout(0.0)
        self.port: int = self._socket.getsockname()[1]
        self._assembly = Assembly(key, algorithm)
        self._bus = bus
        self._ending = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_shut = False
        self._thread = threading.Thread(target=self._run, name="radio-udp", daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """See `RadioReceiver`: what the kernel holds is taken in, and what still comes a moment longer."""
        if not self._is_shut:
            self._is_shut = True
            os.eventfd_write(self._ending, 1)
            self._thread.join()
            self._socket.close()
            os.close(self._ending)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket.fileno(), self._ending], [], [], 1.0)
            self._read()
            for _ in range(self._assembly.expire(time.monotonic())):
                self._bus.refuse(RADIO, "incomplete")
            if self._ending in ready:
                time.sleep(_DRAIN_SECONDS)
                for _ in range(_LAST_ROUNDS):
                    if not self._read():
                        return
                return

    def _read(self) -> bool:
        """Take in what waits; False when there is no more of it."""
        for _ in range(_DATAGRAMS):
            try:
                datagram = self._socket.recv(65_536)
            except BlockingIOError:
                return False
            except OSError:  # an error of a datagram that this socket sent; it sends none
                continue
            self._take(datagram)
        return True

    def _take(self, datagram: bytes) -> None:
        message = self._assembly.take(datagram, time.monotonic())
        if isinstance(message, str):
            self._bus.refuse(RADIO, message)
            return
        if not message:
            return
        try:
            packet = codec.packet_of_worker.decode(message)
        except BadFrame:
            self._bus.refuse(RADIO, "malformed")
            return
        if not self._bus.put(Arrival(packet, RADIO, micros(time.time()))):
            self._bus.refuse(RADIO, "no-room")
