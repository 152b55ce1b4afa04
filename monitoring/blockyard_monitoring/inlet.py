"""How a receiver hands packets to the bus: what it has no room for is held, and nothing more is read meanwhile."""

from collections import deque

from blockyard.radios import Arrival, Arrivals


class Inlet:
    """Of one receiver's thread."""

    def __init__(self, bus: Arrivals) -> None:
        self._bus = bus
        self._waiting: deque[Arrival] = deque()

    def take(self, arrival: Arrival) -> None:
        """Put it on the bus, behind what waits."""
        if self._waiting or not self._bus.put(arrival):
            self._waiting.append(arrival)

    def has_room(self) -> bool:
        """Try what waits again; False while there is no room, and then nothing should be read."""
        while self._waiting:
            if not self._bus.put(self._waiting[0]):
                return False
            self._waiting.popleft()
        return True

    def forget(self) -> None:
        """Let go of what waits: its sender will send it again."""
        self._waiting.clear()
