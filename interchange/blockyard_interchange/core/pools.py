"""Who works: pools, the managers that joined them, and the gangs that these form for wide tasks.

What they work at, and for whom, is in `state`.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import TYPE_CHECKING

from blockyard.ids import FunctionId, ManagerId, SessionId, TaskId
from blockyard.wire.control import BlockReport, Demand
from blockyard.wire.manager import Tally
from blockyard.wire.records import Outcome
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.queue import FairQueue
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.stages import Stages

if TYPE_CHECKING:
    from blockyard_interchange.core.state import FunctionEntry, Task


class Manager:
    """A manager that joined."""

    __slots__ = (
        "accelerators", "address", "answered", "block", "busy", "cores", "done", "draining", "ends_at", "functions",
        "heard_of", "heartbeat", "id", "index", "joined_at", "last_seen", "leases", "load", "memory_bytes", "near",
        "node", "patient_until", "peer", "pid", "pool", "probed_at", "python", "queued", "recorded", "reserved",
        "resident_bytes", "retracting", "running", "tally", "workers",
    )  # fmt: skip

    def __init__(self, manager: ManagerId, peer: bytes, pool: Pool, block: str, workers: int, now: float) -> None:
        self.id = manager
        self.peer = peer
        self.pool = pool
        self.block = block
        self.workers = workers
        self.cores = 0.0
        self.memory_bytes = 0
        self.accelerators = 0
        self.node = ""
        self.address = ""
        self.answered = -1
        """How many `Joined` it will have got when all that were sent have come; see `wire.manager.Join`."""
        self.index = self.pid = 0
        self.python = ""
        self.near = False
        self.joined_at = self.probed_at = now  # see `timers`
        self.ends_at = math.inf
        """When its block's walltime is over."""
        self.last_seen, self.patient_until = now, 0.0  # of `wire.patience`: until the next frame comes, or until then
        self.heartbeat = 1.0
        """What it was told last, in seconds."""
        self.heard_of = now
        """When it last gave something back."""
        self.leases: dict[TaskId, Task] = {}
        """What it holds, oldest first."""
        self.load = 0
        """Workers that its leases keep or will keep busy, one after the other."""
        self.functions: set[FunctionId] = set()
        self.draining = False
        self.done = 0
        """Tries that have ended here."""
        self.reserved: Task | None = None
        """The wide task that this manager is being emptied for, or runs."""
        self.retracting = False
        self.recorded = 0
        """Number of its last `Outcomes` that the journal holds."""
        self.busy = self.queued = self.resident_bytes = 0
        self.running: list[tuple[TaskId, float]] = []
        self.tally = Tally()
        """What it had counted when it was last heard of."""


def has_room(manager: Manager) -> None:
    """Note that a manager has given something back and may be given more."""
    if not manager.draining and manager.reserved is None:
        manager.pool.roomy[manager.id] = manager
        if manager.load < manager.workers:
            manager.pool.idle[manager.id] = manager


def no_room(manager: Manager) -> None:
    """Note that a manager shall not be given anything."""
    manager.pool.roomy.pop(manager.id, None)
    manager.pool.idle.pop(manager.id, None)


class Gang:
    """A wide task and the managers that it has, or waits for to be empty."""

    __slots__ = ("managers", "outcomes", "started", "task")

    def __init__(self, task: Task, managers: list[Manager]) -> None:
        self.task = task
        self.managers = managers
        """In the order of their parts."""
        self.started = False
        self.outcomes: dict[ManagerId, Outcome] = {}


class Origin(enum.Enum):
    """Who defined a pool."""

    SETTINGS = "settings"
    """The settings file; only that can change it."""
    KEEPER = "keeper"
    """An order of a keeper."""
    NOBODY = "nobody"
    """It has tasks that wait until it is defined again."""


class Pool:
    """A set of like blocks with one queue."""

    __slots__ = (
        "counters", "gangs", "idle", "is_stirred", "journaled", "keys", "last_entry", "managers", "name", "origin",
        "publish_at", "published", "queue", "queued_beyond", "queued_since", "reports", "roomy",
        "roster_at", "roster_changed", "settings", "stages", "tasks", "watchers",
    )  # fmt: skip

    def __init__(self, name: str, settings: PoolSettings, origin: Origin = Origin.SETTINGS) -> None:
        self.name = name
        self.settings = settings
        self.origin = origin
        self.keys: tuple[bytes, ...] = ()
        """Public keys of its managers that a keeper named; those of the key ring are not here."""
        self.tasks = 0
        """Tasks that are not freed."""
        self.queue: FairQueue[Task] = FairQueue()
        self.queued_beyond = 0
        """Workers that the tasks in the queue want beyond one each."""
        self.managers: dict[ManagerId, Manager] = {}
        self.idle: dict[ManagerId, Manager] = {}
        """Managers with a worker to spare."""
        self.roomy: dict[ManagerId, Manager] = {}
        """Managers not known to be full: those that gave something back since they were."""
        self.gangs: deque[Task] = deque()
        """Tasks that need several managers, first come first served."""
        self.watchers: dict[SessionId, int] = {}
        """Sessions that want to hear of this pool's demand, and the number of their question."""
        self.published: Demand | None = None
        """What they heard last."""
        self.publish_at = 0.0
        self.roster_changed = False
        """A manager came or went since."""
        self.is_stirred = False
        """Its queue or some manager's leases or draining may have changed since."""
        self.roster_at = 0.0
        """When that shall be told at the soonest."""
        self.queued_since = 0.0
        """Since when something has been queued without a break; 0 when nothing is."""
        self.last_entry: FunctionEntry | None = None
        """The function whose outcomes came last."""
        self.counters = Counters()
        self.journaled = self.counters.unentered
        """Of these counters, what the journal holds."""
        self.stages = Stages()
        self.reports: dict[str, BlockReport] = {}
        """The blocks as their keeper reported them: the living ones, and the last that ended."""

    @property
    def is_defined(self) -> bool:
        """Whether it takes tasks and managers."""
        return self.origin is not Origin.NOBODY
