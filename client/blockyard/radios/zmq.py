"""The radio of clusters: ZeroMQ with CURVE from each manager to the hub, in batches, confirmed.

A sender keeps what is not confirmed, within a bound, and sends it again when the hub was away; it never waits. When the
hub is silent, it looks whether the file that its config came from holds other keys by now.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final, NamedTuple, Self

import msgspec

from blockyard.errors import ConfigError
from blockyard.plugins import PluginError
from blockyard.radios.config import Arrivals, RadioConfig, RadioReceiver, Wire, from_json, receiver_class
from blockyard.transport import Dealer, KeyPair, Poller, dialled

_log = logging.getLogger(__name__)

_MOST_BYTES: Final = 8 * 1024 * 1024
"""Unconfirmed; what is sent beyond that is lost and counted."""
_CREDIT: Final = 256
"""Messages on their way to the hub."""
_PATIENCE_SECONDS: Final = 2.0
"""Without a word of the hub, until all that is unconfirmed is sent again, and its keys are looked up again."""
_CLOSE_SECONDS: Final = 5.0
_TICK_SECONDS: Final = 0.25

_numbers = msgspec.msgpack.Decoder(list[int])


class ZmqRadio(RadioConfig, kw_only=True):
    """`listen`: where the receiver binds, ``tcp://ADDRESS:PORT``; port ``*`` for a free one. Keys are in `run_dir`,
    the senders' here, too."""

    kind: ClassVar[str] = "zmq"
    wants_port: ClassVar[bool] = True
    secrets: ClassVar[frozenset[str]] = frozenset({"sender_secret"})

    listen: str = "tcp://127.0.0.1:*"
    address: str = ""
    """Where senders connect, as ``tcp://HOST:PORT``; '' for what the receiver bound. The rest is the receiver's."""
    bound: str = ""
    """Where the receiver listens."""
    server_public: str = ""
    sender_public: str = ""
    sender_secret: str = ""
    file: str = ""
    """Where senders look for another config of this radio when its receiver is silent; '' for nowhere."""

    def again(self) -> Self:
        return msgspec.structs.replace(super().again(), listen=self.bound or self.listen)

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        server = KeyPair.load_or_new(run_dir / "radio-hub.key")
        sender = self._sender() or KeyPair.load_or_new(run_dir / "radio-sender.key")
        receiver = receiver_class(self.kind)(self.listen, server, sender.public, bus)
        self.bound = receiver.endpoint
        self.address = self.address or self.bound
        self.server_public, self.sender_public = server.public.decode(), sender.public.decode()
        self.sender_secret = sender.secret.decode()
        made: RadioReceiver = receiver
        return made

    def kept_in(self, file: Path) -> Self:
        return msgspec.structs.replace(self, file=str(file))

    def placed(self, host: str, port: int) -> Self:
        return msgspec.structs.replace(self, listen=f"tcp://0.0.0.0:{port}", bound="", address=f"tcp://{host}:{port}")

    def port_used(self) -> int:
        port = self.bound.rpartition(":")[2]
        return int(port) if port.isdecimal() else 0

    def _sender(self) -> KeyPair | None:
        """The senders' pair of before; None when there was none."""
        if len(self.sender_public) != 40 or len(self.sender_secret) != 40:
            return None
        return KeyPair(self.sender_public.encode(), self.sender_secret.encode())

    def open_sender(self, source: str) -> Wire:
        return _Sending(self._peer(), self._peer_named if self.file else None)

    def _peer(self) -> "_Peer":
        keys = self._sender()
        if not self.address or keys is None:
            raise ConfigError(f"radio 'zmq': address={self.address!r} and keys are not those of a receiver")
        return _Peer(self.address, self.server_public.encode(), keys)

    def _peer_named(self) -> "_Peer | None":
        """As the file says now; None when it says nothing of this radio, and is perhaps just being replaced."""
        try:
            radio = from_json(Path(self.file).read_bytes())
            return radio._peer() if isinstance(radio, ZmqRadio) else None
        except (OSError, ConfigError, PluginError) as error:
            _log.warning("the radio's config cannot be read again: %s", error)
            return None


class _Peer(NamedTuple):
    """Where the receiver is, its public key, and the senders' pair."""

    address: str
    server_key: bytes
    keys: KeyPair


class _Sending(threading.Thread):
    """Owns the socket. What is to be sent waits in a queue, in order."""

    def __init__(self, peer: _Peer, named: Callable[[], _Peer | None] | None) -> None:
        """`named`: the peer to send to from now on, asked when this one is silent; None: there is no other."""
        super().__init__(name="radio-zmq-sender", daemon=True)
        self._peer = peer
        self._named = named
        self._lock = threading.Lock()
        self._kept: dict[int, bytes] = {}
        """Unconfirmed messages by number, oldest first."""
        self._unsent: deque[int] = deque()
        """Of these, those that are not on their way."""
        self._bytes = 0
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._close_at = 0.0
        self.start()

    def transmit(self, number: int, packet: bytes) -> bool:
        """See `Wire`."""
        with self._lock:
            if self._bytes + len(packet) > _MOST_BYTES:
                return False
            self._kept[number] = packet
            self._unsent.append(number)
            self._bytes += len(packet)
        os.eventfd_write(self._wakeup, 1)
        return True

    def close(self) -> None:
        """See `Wire`."""
        self._close_at = time.monotonic() + _CLOSE_SECONDS
        os.eventfd_write(self._wakeup, 1)
        self.join()
        os.close(self._wakeup)

    def run(self) -> None:
        """Send, hear confirmations, send again."""
        while not self._is_done():
            peer = self._peer
            with dialled(peer.address, server_key=peer.server_key, keys=peer.keys) as dealer:
                self._serve(dealer)

    def _is_done(self) -> bool:
        return bool(self._close_at) and not (self._kept and time.monotonic() < self._close_at)

    def _serve(self, dealer: Dealer) -> None:
        """Until all is done, or there is another peer."""
        poller = Poller()
        poller.register(dealer)
        poller.register(self._wakeup)
        heard_at = looked_at = time.monotonic()
        while not self._is_done():
            ready = poller.poll(_TICK_SECONDS)
            if self._wakeup in ready:
                os.eventfd_read(self._wakeup)
            now = time.monotonic()
            if dealer in ready or len(self._unsent) == len(self._kept):
                heard_at = now
            if dealer in ready or not self._kept:
                looked_at = now
            for frame in dealer.receive_all(64) if dealer in ready else ():
                self._hear(frame)
            if now - heard_at > _PATIENCE_SECONDS:
                heard_at = now
                with self._lock:
                    self._unsent = deque(self._kept)
            if now - looked_at > _PATIENCE_SECONDS:
                looked_at = now
                if self._has_another_peer():
                    return
            self._send(dealer)

    def _has_another_peer(self) -> bool:
        found = self._named() if self._named is not None else None
        if found is None or found == self._peer:
            return False
        _log.info("the radio's receiver has another key or address")
        self._peer = found
        return True

    def _hear(self, frame: bytes) -> None:
        try:
            numbers = _numbers.decode(frame)
        except msgspec.MsgspecError:
            return  # no word that this version knows
        with self._lock:
            for number in numbers:
                self._bytes -= len(self._kept.pop(number, b""))

    def _send(self, dealer: Dealer) -> None:
        while True:
            with self._lock:
                while self._unsent and self._unsent[0] not in self._kept:
                    self._unsent.popleft()  # confirmed meanwhile
                if not self._unsent or len(self._kept) - len(self._unsent) >= _CREDIT:
                    return
                packet = self._kept[self._unsent[0]]
            if not dealer.send(packet):
                return
            with self._lock:
                self._unsent.popleft()
