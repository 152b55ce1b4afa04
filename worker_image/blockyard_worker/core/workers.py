"""What the core knows of each worker: what it was given and has not reported, and which functions it has."""

import enum
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from blockyard.wire.records import Status
from blockyard_worker.core.tries import Try

MOST_FUNCTIONS: Final = 256
"""Functions a worker keeps. A loaded one may hold a model; more hot ones than this cost a reload now and then."""


class Phase(enum.StrEnum):
    """The life of a worker."""

    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    """Told to exit."""


@dataclass(frozen=True, slots=True)
class Order:
    """That a try is to end, and as what."""

    status: Status
    """What its outcome will be: CANCELLED, TIMEOUT, OUT_OF_MEMORY or LOST."""
    message: str
    grace: float
    """Seconds it has to end by itself; 0: it is killed."""
    peak_bytes: int = 0
    """With OUT_OF_MEMORY: what was seen, and what is allowed."""
    limit_bytes: int = 0


@dataclass(slots=True)
class Ending:
    """A try that is being stopped while a worker has it: asked to end, then told by SIGTERM, then killed."""

    attempt: Try
    order: Order
    since: float | None = None
    """When it was first seen running with this order on it; None: not yet."""
    terminated: bool = False
    killed: bool = False


class Worker:
    """One worker, from the decision to start it until its end."""

    __slots__ = (
        "accelerators",
        "endings",
        "expected",
        "frames",
        "functions",
        "has_batches",
        "held_by",
        "is_bare",
        "is_stuck",
        "is_wide",
        "number",
        "phase",
        "place",
        "retire_by",
        "sent",
        "shortest_timeout",
        "stealing",
        "tries_done",
        "watch_at",
    )

    def __init__(self, number: int, place: int) -> None:
        self.number = number
        self.place = place
        self.phase = Phase.STARTING
        self.sent: deque[Try] = deque()
        """Given to it and not reported, in order."""
        self.frames = 0
        """Number of the last frame."""
        self.expected = 0.0
        """Seconds that what it has should take."""
        self.stealing = False
        """Something was taken back from it, and it has not said idle since: it may not be given anything."""
        self.is_bare = False
        """The last of what it has was begun when something was to be taken back from it."""
        self.is_stuck = False
        """It is busy with a try far longer than expected; nothing is queued behind that."""
        self.is_wide = False
        """It runs a try that wants to be alone."""
        self.has_batches = False
        self.watch_at: float | None = None
        """When to look whether it is stuck."""
        self.shortest_timeout = 0.0
        """Of the tries it has; 0: none has a time limit."""
        self.held_by: int | None = None
        """The worker that runs a wide try for which this one must stay idle."""
        self.accelerators: list[int] = []
        self.endings: dict[int, Ending] = {}
        self.functions: OrderedDict[bytes, None] = OrderedDict()
        self.tries_done = 0
        self.retire_by: float | None = None
        """Killed if it has not exited by then."""

    def is_free(self) -> bool:
        """Whether a try given now would start at once."""
        return self.phase is Phase.READY and not self.sent and not self.stealing and self.held_by is None

    def missing(self, functions: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
        """Which of these functions it lacks, and which others it should drop for them. Counts them as its own then."""
        lacking = []
        for name in functions:
            if name not in self.functions:
                lacking.append(name)
            self.functions[name] = None
            self.functions.move_to_end(name)
        surplus = len(self.functions) - MOST_FUNCTIONS
        return lacking, [self.functions.popitem(last=False)[0] for _ in range(surplus)]
