"""The radio that never waits and never asks: datagrams, signed, numbered, each small enough to travel whole.

What is lost is lost, and counted by the hub from the numbers. A message that is larger than a datagram goes in several
that are put together again; one that is too large even so is refused, and counted, by the sender.
"""

import hashlib
import hmac
import secrets
import socket
from pathlib import Path
from typing import ClassVar, Final, Self

import msgspec

from blockyard.errors import ConfigError
from blockyard.radios.config import Arrivals, RadioConfig, RadioReceiver, Wire, receiver_class
from blockyard.wire.records import Record

MOST_FRAGMENTS: Final = 64
ALGORITHMS: Final = ("sha256", "sha512", "blake2b", "sha3_256")
_LEAST_BYTES: Final = 400
_MOST_BYTES: Final = 65_000
_KEY_BYTES: Final = 32


class Datagram(Record, frozen=True):
    """What is signed: a part of one message of one sender."""

    sender: bytes
    """16 random bytes."""
    message: int
    """Counts a sender's messages."""
    part: int
    parts: int
    body: bytes


class UdpRadio(RadioConfig, kw_only=True):
    """`host` and `port`: where the receiver binds; port 0 for a free one."""

    kind: ClassVar[str] = "udp"
    wants_port: ClassVar[bool] = True
    secrets: ClassVar[frozenset[str]] = frozenset({"key"})

    host: str = "127.0.0.1"
    port: int = 0
    address: str = ""
    """Host that senders send to; '' for `host`."""
    algorithm: str = "sha256"
    """Of the signature, one of `ALGORITHMS`."""
    key: str = ""
    """In hexadecimal; '' and the receiver draws one."""
    datagram_bytes: int = 1200
    """Fits through nearly every network unfragmented (RFC 8899)."""

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        self._check()
        self.key = self.key or secrets.token_hex(_KEY_BYTES)
        receiver = receiver_class(self.kind)(self.host, self.port, bytes.fromhex(self.key), self.algorithm, bus)
        self.port, self.address = receiver.port, self.address or self.host
        made: RadioReceiver = receiver
        return made

    def placed(self, host: str, port: int) -> Self:
        return msgspec.structs.replace(self, host="0.0.0.0", port=port, address=host)

    def port_used(self) -> int:
        return self.port

    def open_sender(self, source: str) -> Wire:
        self._check()
        return _Datagrams(self.address, self.port, bytes.fromhex(self.key), self.algorithm, self.datagram_bytes)

    def _check(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ConfigError(f"radio 'udp': algorithm={self.algorithm!r}; one of {', '.join(ALGORITHMS)}")
        if not _LEAST_BYTES <= self.datagram_bytes <= _MOST_BYTES:
            raise ConfigError(
                f"radio 'udp': datagram_bytes={self.datagram_bytes}; from {_LEAST_BYTES} to {_MOST_BYTES}"
            )
        try:
            is_short = 0 < len(bytes.fromhex(self.key)) < 16
        except ValueError:
            is_short = True
        if is_short:
            raise ConfigError("radio 'udp': key is not hexadecimal of at least 16 bytes")


def sign(key: bytes, algorithm: str, body: bytes) -> bytes:
    """The signature of a datagram, which goes before it."""
    return hmac.digest(key, body, algorithm)


def signature_bytes(algorithm: str) -> int:
    """How long it is."""
    return hashlib.new(algorithm).digest_size


class _Datagrams:
    def __init__(self, host: str, port: int, key: bytes, algorithm: str, most_bytes: int) -> None:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.settimeout(0.0)
        self._socket.connect(address)
        self._key, self._algorithm = key, algorithm
        self._sender = secrets.token_bytes(16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._room = most_bytes - signature_bytes(algorithm) - 48
        self._messages = 0

    def transmit(self, number: int, packet: bytes) -> bool:
        """See `Wire`."""
        parts = max(1, -(-len(packet) // self._room))
        self._messages += 1
        if parts > MOST_FRAGMENTS:
            return False
        is_sent = True
        for part in range(parts):
            body = packet[part * self._room : (part + 1) * self._room]
            signed = self._encode(Datagram(self._sender, self._messages, part, parts, body))
            try:
                self._socket.send(sign(self._key, self._algorithm, signed) + signed)
            except OSError:  # nobody listens, or the kernel's buffer is full: lost, as datagrams may be
                is_sent = False
        return is_sent

    def close(self) -> None:
        """See `Wire`."""
        self._socket.close()
