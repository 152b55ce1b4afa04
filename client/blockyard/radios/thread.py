"""The radio within one process: straight to the bus. For threads of the process that runs hub and tasks alike."""

import os
import time
from pathlib import Path
from typing import ClassVar

from blockyard.errors import BadFrame
from blockyard.radios.config import Arrival, Arrivals, RadioConfig, RadioMisuse, RadioReceiver, Wire
from blockyard.wire import codec
from blockyard.wire.monitoring import micros

_buses: dict[int, Arrivals] = {}
"""Of the receivers of this process."""
_numbers = iter(range(1, 1 << 62))


class ThreadRadio(RadioConfig, kw_only=True):
    """Senders hand their messages to the bus of the same process; in any other process there can't be one."""

    kind: ClassVar[str] = "thread"

    process: int = 0
    """Of the receiver, which writes it, and the next."""
    bus: int = 0

    def open_receiver(self, run_dir: Path, bus: Arrivals) -> RadioReceiver:
        self.process, self.bus = os.getpid(), next(_numbers)
        _buses[self.bus] = bus
        return _Receiver(self.bus)

    def open_sender(self, source: str) -> Wire:
        if self.process != os.getpid():
            raise RadioMisuse(
                f"create_sender: radio 'thread' works within process {self.process}, where its receiver is; this is "
                f"process {os.getpid()}; use 'interchange' or 'zmq' for workers that are processes"
            )
        return _Straight(_buses[self.bus])


class _Receiver:
    def __init__(self, number: int) -> None:
        self._number = number

    def shutdown(self) -> None:
        _buses.pop(self._number, None)


class _Straight:
    """Encoded and decoded on its way, so that what travels here travels everywhere."""

    def __init__(self, bus: Arrivals) -> None:
        self._bus = bus

    def transmit(self, number: int, packet: bytes) -> bool:
        try:
            decoded = codec.packet_of_interchange.decode(packet)
        except BadFrame:
            self._bus.refuse("thread", "malformed")
            return False
        return self._bus.put(Arrival(decoded, "thread", micros(time.time())))

    def close(self) -> None:
        return None
