"""Waiting for what a poller watches: asleep, or for a moment awake while messages follow each other closely.

A core that sleeps takes tens of microseconds to wake, and one task's way there and back wakes one some ten times; that
was a third of it. While interchange and manager each stay awake for a moment, nothing on that way needs waking. It is
worth it only where nothing else could run: for a task that is alone, on a machine that is not busy.
"""

import math
import os
import time
from collections.abc import Callable
from typing import Final

from blockyard.transport.sockets import Pollable, Poller

AWAKE_SECONDS: Final = 0.001
"""How long to stay awake for a message. Waits that are shorter are why to."""
STREAK: Final = 8
"""So many short waits, one after the other, until the next is spent awake."""
CHANCE_SECONDS: Final = 0.1
"""Others had the core once, and not again for so long: no reason to sleep. It happens on an idle machine, too."""
LEAST_PAUSE_SECONDS: Final = 0.1
"""Asleep, from the sight of others that want this core, or of a limit of CPU, to the next try. Doubles each time."""
MOST_PAUSE_SECONDS: Final = 6.4
FORGETS: Final = 200
"""So many messages caught awake, and the pause is the least again."""


class AdaptivePoller:
    """A poller that may stay awake.

    `clock`: monotonic seconds. `give_way` lets others have the core, and returns when they leave it.
    """

    def __init__(
        self,
        poller: Poller,
        clock: Callable[[], float] = time.monotonic,
        give_way: Callable[[], None] = os.sched_yield,
    ) -> None:
        self._poller = poller
        self._clock = clock
        self._give_way = give_way
        self._short = 0
        """Waits that were, one after the other."""
        self._caught = 0
        """Messages, since others wanted the core."""
        self._gave_at = -math.inf
        """When others had the core the last time."""
        self._pause = LEAST_PAUSE_SECONDS
        self._again_at = 0.0

    def poll(self, seconds: float, is_alone: Callable[[], bool]) -> list[Pollable | int]:
        """What is readable; waits for it, at most so long. `is_alone`: whether no more than one task is unfinished."""
        began = self._clock()
        ready: list[Pollable | int] = []
        if self._short >= STREAK and began >= self._again_at and is_alone():
            ready = self._poll_awake(began, began + min(seconds, AWAKE_SECONDS))
        if not ready:
            ready = self._poller.poll(max(0.0, began + seconds - self._clock()))
        self._short = self._short + 1 if self._clock() - began < AWAKE_SECONDS else 0
        return ready

    def _poll_awake(self, at: float, until: float) -> list[Pollable | int]:
        while at < until:
            if ready := self._poller.poll(0.0):
                self._caught += 1
                return ready
            self._give_way()
            now = self._clock()
            if now - at > AWAKE_SECONDS:
                self._on_others(now)
                break
            at = now
        return []

    def _on_others(self, now: float) -> None:
        """Others had the core, until `now`."""
        before, self._gave_at = self._gave_at, now
        if now - before > CHANCE_SECONDS:
            return
        self._pause = LEAST_PAUSE_SECONDS if self._caught >= FORGETS else min(2 * self._pause, MOST_PAUSE_SECONDS)
        self._caught = 0
        self._again_at = now + self._pause


__all__ = ["AdaptivePoller"]
