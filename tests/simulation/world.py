"""Virtual time: one heap of events, one random number generator, nodes that die, freeze and thaw.

Nothing here reads a clock. Two runs of one seed do the same things in the same order; `World.trace` says which.
"""

import heapq
import random
from collections.abc import Callable
from typing import Final

TRACE_LINES: Final = 4000


class Crash(BaseException):
    """The simulated process dies here. Derived from BaseException, so that nobody catches it by accident."""


class World:
    """Time, chance, and what is going to happen."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now = 1000.0
        self.wall_offset = 5000.0
        """UTC less the monotonic clock; processes read it when they start."""
        self.events = 0
        self.trace: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, what: Callable[[], None]) -> None:
        """Let something happen `delay` seconds from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay, self._count, what))

    def note(self, text: str) -> None:
        """Keep a line for who reads a failure."""
        self.trace.append(f"{self.now:10.4f} {text}")
        if len(self.trace) > TRACE_LINES:
            del self.trace[: TRACE_LINES // 2]

    def run(self, until: float, is_over: Callable[[], bool] | None = None) -> bool:
        """Let things happen up to an instant, or until it is over; True when it is over."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, what = heapq.heappop(self._heap)
            self.events += 1
            what()
            if is_over is not None and is_over():
                return True
        self.now = max(self.now, until)
        return False

    def chance(self, probability: float) -> bool:
        """True so often."""
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        """A number between."""
        return self.random.uniform(low, high)


class Node:
    """A process. What it is to do happens only while it lives, and only when it is not frozen."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.frozen = False
        self._deferred: list[Callable[[], None]] = []

    def later(self, delay: float, what: Callable[[], None]) -> None:
        """Do something then, unless the process is dead by then."""
        self.world.at(delay, lambda: self.do(what))

    def do(self, what: Callable[[], None]) -> None:
        """Do something now, or after the thaw."""
        if not self.alive:
            return
        if self.frozen:
            self._deferred.append(what)
        else:
            what()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT later."""
        if self.alive and not self.frozen:
            self.world.note(f"{self.name} is frozen for {seconds:.2f} s")
            self.frozen = True
            self.world.at(seconds, self._thaw)

    def _thaw(self) -> None:
        if not self.frozen:
            return
        self.frozen = False
        self.world.note(f"{self.name} goes on")
        deferred, self._deferred = self._deferred, []
        for what in deferred:
            self.do(what)

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = False
        self.frozen = False
        self._deferred.clear()
