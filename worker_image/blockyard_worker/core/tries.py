"""The tries a manager holds, from `Assign` until `Recorded`, and how long their functions take."""

import math
from dataclasses import dataclass
from typing import Final

from blockyard.wire.records import Assigned, Lease, Outcome, TaskSpec

OVERHEAD_SECONDS: Final = 5e-6
"""What a worker spends on a try beside running its function."""
_MEMORY: Final = 32
"""About so many of the last tries make the mean."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a manager has. Each worker stands for an equal share of it."""

    workers: int
    cores: float
    memory_bytes: int
    accelerators: int


class Pace:
    """How long one function's tries take: a mean that follows the last few dozen."""

    __slots__ = ("count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0

    def add(self, count: int, seconds: float) -> None:
        """Take note of `count` tries that ran `seconds` in all."""
        self.count += count
        weight = min(1.0, count / min(self.count, _MEMORY))
        self.mean += (seconds / count - self.mean) * weight

    def estimate(self) -> float | None:
        """Seconds that a worker needs for a try; None when nothing is known."""
        return self.mean + OVERHEAD_SECONDS if self.count else None


class Kind:
    """What tries of one spec have in common, worked out once."""

    __slots__ = (
        "accelerators",
        "function",
        "idempotent",
        "is_wide",
        "memory_bytes",
        "pace",
        "slots",
        "spec",
        "timeout",
        "too_large",
    )

    def __init__(self, spec: TaskSpec, capacity: Capacity, pace: Pace) -> None:
        self.spec = spec
        self.function = spec.function
        self.idempotent = spec.idempotent
        self.timeout = spec.timeout
        self.memory_bytes = spec.memory_bytes
        self.accelerators = spec.accelerators
        self.pace = pace
        share = max(
            _shares(spec.cores, capacity.cores, capacity.workers),
            _shares(spec.memory_bytes, capacity.memory_bytes, capacity.workers),
            _shares(spec.accelerators, capacity.accelerators, capacity.workers),
        )
        self.slots = max(1, share)
        """Workers that a try busies: it runs on one, the others stay idle meanwhile."""
        self.too_large = (
            spec.cores > capacity.cores
            or spec.memory_bytes > capacity.memory_bytes
            or spec.accelerators > capacity.accelerators
        )

        self.is_wide = self.slots > 1 or self.accelerators > 0 or spec.nodes > 0 or spec.ranks > 0
        """A try runs alone in its frame, on a worker that has nothing else."""


class Try:
    """One try in this manager's hands. It waits, or is with a worker, or has an outcome that is not recorded yet."""

    __slots__ = ("assigned", "frame", "is_cancelled", "is_silent", "kind", "losses", "outcome", "waiters", "worker")

    def __init__(self, assigned: Assigned, kind: Kind) -> None:
        self.assigned = assigned
        self.kind = kind
        self.worker: int | None = None
        """With whom it is; None while it waits, and after its end."""
        self.frame = 0
        """Number of that worker's frame it is in."""
        self.outcome: Outcome | None = None
        self.waiters: list[Try] | None = None
        """Tries set aside until this one ends."""
        self.is_cancelled = False
        self.is_silent = False
        """Nobody wants to know how it ends: its lease is over."""
        self.losses = 0
        """Workers that died while it was next, with nothing known to run."""

    @property
    def lease(self) -> Lease:
        """Its name on the wire."""
        return Lease(self.assigned.task, self.assigned.epoch)


def _shares(asked: float, total: float, workers: int) -> int:
    if asked <= 0 or total <= 0:
        return 0
    return min(workers, math.ceil(asked / total * workers - 1e-9))
