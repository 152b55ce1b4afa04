"""A radio by datagrams of a Unix socket: whoever may write to the socket's file may send.

Within a machine nothing is lost on the way; when the receiver stays behind, its socket is full, and `send` says False.
"""

import os
import select
import socket
import threading
import time
from pathlib import Path
from typing import ClassVar

from blockyard.errors import BadFrame
from blockyard.radios import Arrival, Arrivals, RadioConfig, RadioReceiver
from blockyard.radios.config import Wire
from blockyard.wire import codec
from blockyard.wire.monitoring import micros

_SEND_SECONDS = 0.5
"""The kernel holds some ten datagrams for a receiver; a full one is waited for so long."""


class UnixRadio(RadioConfig, kw_only=True):
    """`path`: of the socket; '' for one in the run's folder."""

    kind: ClassVar[str] = "unix"

    path: str = ""

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        """Bind, and tell senders where."""
        self.path = self.path or str(run_dir.absolute() / "radio.sock")
        return _Receiver(self.path, bus)

    def open_sender(self, source: str) -> Wire:
        """Connect."""
        return _Sender(self.path)


class _Receiver:
    def __init__(self, path: str, bus: Arrivals) -> None:
        self._path, self._bus = path, bus
        Path(path).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        os.chmod(path, 0o600)
        self._socket.settimeout(0.0)
        self._ending = os.eventfd(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def shutdown(self) -> None:
        """Take in what has arrived, and let go of everything."""
        if self._thread.is_alive():
            os.eventfd_write(self._ending, 1)
            self._thread.join()
            self._socket.close()
            os.close(self._ending)
            Path(self._path).unlink(missing_ok=True)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._socket.fileno(), self._ending], [], [])
            self._read()
            if self._ending in ready:
                return

    def _read(self) -> None:
        while True:
            try:
                frame = self._socket.recv(1 << 20)
            except BlockingIOError:
                return
            try:
                packet = codec.packet_of_worker.decode(frame)
            except BadFrame:
                self._bus.refuse("unix", "malformed")
                continue
            arrival = Arrival(packet, "unix", micros(time.time()))
            while not self._bus.put(arrival):  # what is sent meanwhile waits in the socket
                time.sleep(0.01)


class _Sender:
    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(path)
        self._socket.settimeout(_SEND_SECONDS)

    def transmit(self, number: int, packet: bytes) -> bool:
        """Send, or say that it could not be sent: the receiver is slow or gone, or the message too large."""
        try:
            self._socket.send(packet)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go."""
        self._socket.close()
