"""When a manager looks at the memory of its workers, and what it tells its core then."""

import math
import signal
from collections.abc import Mapping

from blockyard_worker.core.ending import Seen
from blockyard_worker.core.manager import Manager
from blockyard_worker.settings import Settings
from blockyard_worker.shell import memory
from blockyard_worker.shell.child import Child


class MemoryWatch:
    """Looks each `memory_period`; how much workers have is told always, limits are watched where there are some."""

    def __init__(self, settings: Settings, core: Manager) -> None:
        self._settings = settings
        self._core = core
        self._oom_kills = memory.oom_kills()
        self.at = 0.0
        """When to look next, monotonic."""
        self.too_big: frozenset[int] = frozenset()
        """Workers above `max_rss`, which are to be replaced."""

    @property
    def due(self) -> float:
        """When the manager must wake for it; without limits a look when it is awake is often enough."""
        return self.at if self._settings.memory_period and self._has_limits() else math.inf

    def look(self, children: Mapping[int, Child], seen: Seen, now: float) -> None:
        """Measure all workers, and tell the core which are over their limits."""
        settings, core = self._settings, self._core
        self.at = now + settings.memory_period
        core.state.resident_bytes = memory.resident_bytes(children.values())
        if not self._has_limits():
            return
        too_big = set()
        for child in children.values():
            limit = core.memory_limit(child.number, seen) or settings.memory_per_worker
            if excess := memory.look(child, limit):
                core.on_out_of_memory(child.number, excess.peak_bytes, excess.limit_bytes, now, seen)
            if settings.max_rss and child.pid and memory.resident_bytes([child]) > settings.max_rss:
                too_big.add(child.number)
        self.too_big = frozenset(too_big)

    def was_oom_killed(self, code: int) -> bool:
        """Whether a worker that ended so was killed by the kernel for want of memory, as far as it tells."""
        before, self._oom_kills = self._oom_kills, memory.oom_kills()
        return (
            code == -signal.SIGKILL and before is not None and self._oom_kills is not None and self._oom_kills > before
        )

    def _has_limits(self) -> bool:
        return bool(self._settings.memory_per_worker or self._settings.max_rss or self._core.state.limits_memory)
