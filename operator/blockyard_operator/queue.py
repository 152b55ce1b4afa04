"""The keys of what is to be reconciled: each at most once, never by two at a time, later after failures.

As in controller-runtime: a key that comes while it is worked on is done once more afterwards; one that fails comes
back after a pause that doubles. What a key stands for is left to those who put it in.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar

K = TypeVar("K")

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 60.0


class WorkQueue(Generic[K]):
    """For one event loop. `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: OrderedDict[K, float] = OrderedDict()
        """Keys to be done, with the instant since when they wait."""
        self._working: set[K] = set()
        self._again: set[K] = set()
        """Keys that came while they were worked on."""
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        """The earliest appointment of each key; others in the heap are stale."""
        self._count = 0
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def waits_since(self) -> float | None:
        """Since when the oldest key waits."""
        return next(iter(self._ready.values()), None)

    def add(self, key: K) -> None:
        """Have a key done soon."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._ready:
            self._ready[key] = self._clock()
            self._wake.set()

    def add_at(self, key: K, at: float) -> None:
        """Have a key done at an instant of the clock, or before if there is another reason."""
        if at <= self._clock():
            self.add(key)
        elif at < self._due.get(key, float("inf")):
            self._due[key] = at
            self._count += 1
            heapq.heappush(self._later, (at, self._count, key))
            self._wake.set()

    def done(self, key: K) -> None:
        """A key was worked off."""
        self._failures.pop(key, None)
        self._leave(key)

    def failed(self, key: K) -> float:
        """A key could not be worked off; it comes back after the returned number of seconds."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(count - 1, 30))
        self._again.discard(key)  # what came meanwhile must not make us fail faster
        self._leave(key)
        self.add_at(key, self._clock() + pause)
        return pause

    async def get(self) -> tuple[K, float]:
        """Wait for a key; it and how many seconds it waited. The caller says `done` or `failed` with it."""
        while True:
            self._promote()
            if self._ready:
                key, since = self._ready.popitem(last=False)
                self._working.add(key)
                return key, self._clock() - since
            self._wake.clear()
            pause = self._later[0][0] - self._clock() if self._later else None
            try:
                async with asyncio.timeout(None if pause is None else max(0.0, pause)):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _promote(self) -> None:
        """Move what is due to what is ready."""
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            at, _, key = heapq.heappop(self._later)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)

    def _leave(self, key: K) -> None:
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
