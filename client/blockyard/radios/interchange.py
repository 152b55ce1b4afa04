"""The radio that needs no way of its own: messages ride in the manager's to the interchange, and on to the hub.

Not a port more than tasks need. What tells of tries travels in the frame that tells how they ended, and is as sure to
arrive; samples travel with heartbeats. The receiver is the hub's link to the interchange, which is there for the
interchange's own records anyway.
"""

import threading
from pathlib import Path
from typing import ClassVar

from blockyard.radios.config import Arrivals, RadioConfig, RadioMisuse, RadioReceiver, Wire


class InterchangeRadio(RadioConfig, kw_only=True):
    """The default of local systems."""

    kind: ClassVar[str] = "interchange"

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        return _Link()

    def open_sender(self, source: str) -> Wire:
        return Outbox()


class _Link:
    """The hub's link outlives every pool's radio."""

    def shutdown(self) -> None:
        return None


class Outbox:
    """Keeps packets until the manager's next message takes them along; any thread may put some in."""

    def __init__(self, most_bytes: int = 1 << 62) -> None:
        """`most_bytes`: that may wait; what comes then is lost."""
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._is_closed = False

    def transmit(self, number: int, packet: bytes) -> bool:
        if self._is_closed:
            raise RadioMisuse("send: the manager's link to the interchange is closed")
        with self._lock:
            if self._bytes + len(packet) > self._most_bytes:
                return False
            self._waiting.append(packet)
            self._bytes += len(packet)
        return True

    def take(self) -> list[bytes]:
        """What waits, to be sent now."""
        with self._lock:
            taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken

    def close(self) -> None:
        self._is_closed = True
