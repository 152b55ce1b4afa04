"""The one way from radios to sinks: bounded, and never waiting.

Each sink has a queue of its own, so that a slow one holds up nobody. When a queue is full, what may be dropped is
dropped and counted; what may not is either kept by its sender, who is told so (`put` says False), or, where the sink
only shows things, dropped and counted as well. A packet that its sender keeps is confirmed when every sink that must
not miss anything has stored it.
"""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from blockyard import pace
from blockyard.radios import Arrival
from blockyard.wire.monitoring import DROPPABLE, AnyRecord, Needs, Resources, Tries, WorkerTasks
from blockyard_monitoring.counts import Counts, RadioCounts

MOST_PARTS: Final = 400_000
"""Tries, samples and other parts that may wait for one sink."""
_ENOUGH_PARTS: Final = 10_000
"""With so many, the next batch does not wait."""
_AT_ONCE: Final = pace.Limits()


def parts(record: AnyRecord) -> int:
    """Of how many rows, about, a record consists."""
    match record:
        case Tries():
            return len(record.tries)
        case WorkerTasks():
            return len(record.uses)
        case Resources():
            return len(record.samples)
        case Needs():
            return len(record.needs)
        case _:
            return 1


class Entry:
    """An arrival on its way to the sinks."""

    __slots__ = ("arrival", "parts", "waits")

    def __init__(self, arrival: Arrival, size: int, waits: int) -> None:
        self.arrival = arrival
        self.parts = size
        self.waits = waits
        """Sinks that must store it and have not."""


class Feed:
    """One sink's queue."""

    def __init__(
        self, bus: "Bus", name: str, *, must_not_miss: bool, most_parts: int, limits: pace.Limits = _AT_ONCE
    ) -> None:
        """`limits`: of its batches' pace; what comes alone is taken at once."""
        self.name = name
        self.must_not_miss = must_not_miss
        self.most_parts = most_parts
        self._pace = pace.Pace(limits)
        self._taken_at = -math.inf
        self.dropped: Counter[str] = Counter()
        """Records that did not fit, by their kind."""
        self._lock = bus.lock
        self._came = threading.Condition(bus.lock)
        """Something came where nothing was, or there is enough of it, or it is closed."""
        self._room = bus.room
        self._entries: deque[Entry] = deque()
        self._parts = 0
        self._untaken = 0
        self._is_closed = False

    @property
    def waiting_parts(self) -> int:
        """What waits."""
        return self._parts

    @property
    def is_full(self) -> bool:
        """No more fits."""
        return self._parts >= self.most_parts

    def append(self, entry: Entry) -> None:
        """For the bus, under its lock."""
        self._entries.append(entry)
        self._parts += entry.parts
        self._untaken += entry.parts
        if len(self._entries) == 1 or self._untaken >= _ENOUGH_PARTS:
            self._came.notify_all()

    def drop(self, arrival: Arrival) -> None:
        """For the bus, under its lock: count what does not fit."""
        self.dropped.update(type(record).__name__ for record in arrival.packet.records)

    def take(self, timeout: float | None, most_parts: int = 50_000) -> list[Entry]:
        """What waits, at most so many parts and one packet at least; waits so long for it. Empty: nothing came."""
        with self._lock:
            self._came.wait_for(lambda: self._entries or self._is_closed, timeout)
            left = self._taken_at + self._pace.seconds - time.monotonic()
            if self._entries and left > 0:
                self._came.wait_for(lambda: self._untaken >= _ENOUGH_PARTS or self._is_closed, left)
            self._taken_at = time.monotonic()
            taken: list[Entry] = []
            size = 0
            while self._entries and (not taken or size + self._entries[0].parts <= most_parts):
                entry = self._entries.popleft()
                taken.append(entry)
                size += entry.parts
            self._untaken -= size
            self._pace.went(size)
            return taken

    def done(self, entries: list[Entry]) -> None:
        """These were stored, or will never be."""
        stored: list[Callable[[], None]] = []
        with self._lock:
            for entry in entries:
                self._parts -= entry.parts
                if self.must_not_miss:
                    entry.waits -= 1
                    if not entry.waits and entry.arrival.on_stored is not None:
                        stored.append(entry.arrival.on_stored)
            self._room.notify_all()
        for tell in stored:
            tell()

    @property
    def is_closed(self) -> bool:
        """Nothing more will come."""
        return self._is_closed

    def close(self) -> None:
        """Let `take` return what is left, and then nothing."""
        with self._lock:
            self._is_closed = True
            self._came.notify_all()


class Bus:
    """Where all messages pass. Any thread may put."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.room = threading.Condition(self.lock)
        """A sink has stored something, or is gone."""
        self._feeds: list[Feed] = []
        self._counts = Counts()

    def feed(
        self, name: str, *, must_not_miss: bool, most_parts: int = MOST_PARTS, limits: pace.Limits = _AT_ONCE
    ) -> Feed:
        """A queue for one more sink."""
        made = Feed(self, name, must_not_miss=must_not_miss, most_parts=most_parts, limits=limits)
        with self.lock:
            self._feeds.append(made)
        return made

    def remove(self, feed: Feed) -> None:
        """Its sink is gone: what waits is not waited for."""
        with self.lock:
            self._feeds.remove(feed)
            self.room.notify_all()
        feed.close()
        while left := feed.take(0.0):
            feed.done(left)

    def put(self, arrival: Arrival) -> bool:
        """See `blockyard.radios.Arrivals`."""
        records = arrival.packet.records
        size = sum(map(parts, records))
        with self.lock:
            needing = [feed for feed in self._feeds if feed.must_not_miss]
            full = [feed for feed in needing if feed.is_full]
            if full and not all(isinstance(record, DROPPABLE) for record in records):
                return False
            packet, is_kept = arrival.packet, arrival.on_stored is not None
            is_fresh = self._counts.take(arrival.radio, packet.source, packet.number, size, is_kept=is_kept)
            entry = Entry(arrival, size, 0)
            for feed in self._feeds:
                if not is_fresh and not feed.must_not_miss:
                    continue  # it was shown; rows may be written twice
                if feed.is_full:
                    feed.drop(arrival)
                    continue
                entry.waits += feed.must_not_miss
                feed.append(entry)
            waits = entry.waits
        if not waits and arrival.on_stored is not None:
            arrival.on_stored()
        return True

    def wait_for_room(self, timeout: float) -> bool:
        """Wait until `put` would take what must not be dropped; False when there is still no room."""
        with self.lock:
            return self.room.wait_for(
                lambda: not any(feed.is_full for feed in self._feeds if feed.must_not_miss), timeout
            )

    def refuse(self, radio: str, reason: str) -> None:
        """See `blockyard.radios.Arrivals`."""
        with self.lock:
            self._counts.refuse(radio, reason)

    def counts(self) -> dict[str, RadioCounts]:
        """By radio."""
        with self.lock:
            return self._counts.by_radio()
