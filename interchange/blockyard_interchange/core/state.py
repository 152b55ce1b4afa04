"""The interchange's whole state as plain records, and the few derived tables that `invariants` checks.

A queue may hold a million tasks, so `Task` has only what differs between tasks of one submission; the rest is in the
`Order` that they share. Pools and managers are in `pools`.
"""

import enum
from collections import defaultdict
from typing import Final

import msgspec

from blockyard.ids import FunctionId, ManagerId, SessionId, TaskId
from blockyard.wire.client import Credit
from blockyard.wire.hosted import StepMark
from blockyard.wire.records import Body, Function, Lease, Outcome, TaskSpec, Trigger
from blockyard_interchange.core.asked import Asked
from blockyard_interchange.core.cache import Cache
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.notes import Notes
from blockyard_interchange.core.pools import Gang, Manager, Pool
from blockyard_interchange.core.settings import PoolSettings, Settings


class TaskState(enum.IntEnum):
    """Where a task is. `docs/states.md` draws the transitions."""

    WAITING = 0
    """For tasks that it needs."""
    QUEUED = 1
    ASSIGNED = 2
    """In a manager's hands: waiting there, or running."""
    DELAYED = 3
    """Until its next try may start."""
    JOINING = 4
    """It ran, and waits for the tasks that it left to be done."""
    ENDED = 5
    """Its outcome is recorded, and not yet collected."""


class Session:
    """A client, across reconnects."""

    __slots__ = (
        "accepted", "blob_bytes", "bytes", "connected", "credit", "frames", "functions", "has_claims", "hosted", "id",
        "is_held", "keep", "last_seen", "name", "names", "near", "next_number", "out", "patient_until", "peer",
        "probed_at", "python", "refusals", "run", "said_bye", "seconds", "tasks", "token", "user",
    )  # fmt: skip

    def __init__(self, session: SessionId, token: bytes, run: "Run", user: str) -> None:
        self.id = session
        self.token = token
        self.run = run
        self.user = user
        self.name = ""
        self.python = ""
        self.peer = b""
        self.near = False
        self.keep = False
        self.connected = False
        self.last_seen = self.patient_until = self.probed_at = 0.0
        self.tasks, self.seconds = 0, 0.0
        """Tasks of this session that are not freed, and how long one runs, on average of the last; 0 until one has."""
        self.bytes = 0
        """Bodies of these, wherever they are kept."""
        self.blob_bytes = 0
        """How much of that is in blobs."""
        self.functions: set[FunctionId] = set()
        self.credit: Credit | None = None
        """What it was last told that it may have; None: what the settings allow."""
        self.frames = 0
        """Outcome frames sent and not yet credited back."""
        self.out: list[Outcome] = []
        """Outcomes to be sent: after the next commit, and as far as its credit goes."""
        self.accepted = 0
        """Number of the last submission taken in."""
        self.next_number = 0
        """Numbers below are used up."""
        self.said_bye = False
        self.has_claims = True
        """It may still collect what it submitted: not when it said goodbye, lost its run, or was away for long."""
        self.hosted = False
        """It stands for a run of the interchange's own, and no client ever connects to it."""
        self.is_held = False
        """Nothing more of it is handed out."""
        self.names: dict[int, str] = {}
        """Of a hosted run, its steps' by task: many of them share one spec, which has no name then."""
        self.refusals: dict[int, tuple[str, str]] = {}
        """Number to (kind, sentence) of its last refused submissions; said again when it comes back."""


class Run:
    """A named group of tasks; its owner alone frees results."""

    __slots__ = ("children", "epoch", "name", "owner", "sessions", "watchers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.owner: SessionId | None = None
        self.epoch = 0
        self.sessions: set[SessionId] = set()
        self.watchers: set[SessionId] = set()
        """Sessions that asked for all tasks of the run."""
        self.children = 0
        """Tasks that `join` made in this run."""


class Programs(enum.StrEnum):
    """What the managed tasks of a hosted run are told while they run."""

    RUN = "run"
    """Nothing."""
    STOP = "stop"
    """To stop their programs, until the run goes on."""
    LET_GO = "let go"
    """To let them go on; not all have confirmed it."""


class Hosted:
    """A run that the interchange keeps by itself: a workflow."""

    __slots__ = ("at", "counts", "digest", "ended_at", "open", "programs", "run", "seen", "session", "steps", "unsure")

    def __init__(self, run: str, session: Session, digest: bytes, at: float) -> None:
        self.run = run
        self.session = session
        self.digest = digest
        self.at = at
        """UTC."""
        self.ended_at = 0.0
        """Monotonic; 0 until it was seen to have ended."""
        self.steps: list[StepMark] = []
        self.open: dict[TaskId, StepMark] = {}
        """By task, those that were not seen to have ended; the others stay ended."""
        self.seen: dict[str, str] = {}
        """States of these others by step, where they did not succeed."""
        self.counts: dict[str, int] = {}
        """Of these."""
        self.programs = Programs.RUN
        self.unsure: dict[TaskId, int] | None = None
        """With LET_GO: tasks whose programs may be stopped yet, and the epoch of the try; None: not known which."""

    def mark(self, steps: list[StepMark]) -> None:
        """These are its steps from now on."""
        self.steps = steps
        tasks: list[TaskId] = [one.task for one in steps]  # type: ignore[misc]  # no call for each
        self.open = dict(zip(tasks, steps, strict=True))
        self.session.names |= zip(tasks, [one.name for one in steps], strict=True)
        self.seen, self.counts, self.ended_at = {}, {}, 0.0


class FunctionEntry:
    """A function and how long it usually runs."""

    __slots__ = ("function", "seconds", "users")

    def __init__(self, function: Function) -> None:
        self.function = function
        self.seconds: float | None = None
        """Moving average of the running time; None before the first outcome."""
        self.users = 0
        """Sessions that registered it, and tasks that call it and are not freed."""


class Order:
    """What the tasks of one group share."""

    __slots__ = (
        "at", "deadline", "entry", "first", "is_ruled", "pool", "session", "share", "slots", "spec", "volatile",
    )  # fmt: skip

    def __init__(
        self, spec: TaskSpec, session: Session, pool: Pool, entry: FunctionEntry, slots: int, at: float
    ) -> None:
        self.spec = spec
        self.session = session
        self.pool = pool
        self.entry = entry
        self.slots = slots
        """Workers that one task of this order keeps busy."""
        self.first = 0
        """Number of the first task of its submission."""
        self.share = 0
        """A task's share of what the journal keeps of them all, roughly, in bytes."""
        self.at = at
        """UTC of the submission."""
        self.deadline = at + spec.deadline if spec.deadline else 0.0
        """UTC."""
        self.is_ruled = spec.trigger is not Trigger.ALL_SUCCESS or spec.condition is not None
        """Whether `triggers` decides when its tasks run; else they do when all that they need has succeeded."""
        self.volatile = pool.settings.durability == "memory"
        """Not in the journal."""


class Task:
    """One call, from its submission until its result is freed."""

    __slots__ = (
        "body", "dependents", "epoch", "failures", "flags", "id", "losses", "manager", "needs", "order", "outcome",
        "since", "state", "users", "waiting",
    )  # fmt: skip

    def __init__(self, task: TaskId, order: Order, body: Body) -> None:
        self.id = task
        self.order = order
        self.body: Body = body
        self.needs: tuple[Task, ...] = ()
        self.waiting = 0
        """How many of `needs` (or, when JOINING, of the children) have not ended."""
        self.dependents: list[Task] | None = None
        """Tasks to be told when this one ends."""
        self.users = 0
        """Tasks that need this one's result and have not ended."""
        self.state = TaskState.QUEUED
        self.since = 0.0
        """Since when it is ASSIGNED, or QUEUED if that was not at its submission; else 0."""
        self.epoch = 0
        self.losses = 0
        self.failures = 0
        self.manager: Manager | None = None
        """That has it; once it ended the one that had its last try, None when there was none or it is not known."""
        self.outcome: Outcome | None = None
        self.flags = 0

    @property
    def own_name(self) -> str:
        """What whoever submitted it calls it; '' for nothing."""
        return self.order.spec.name or self.order.session.names.get(self.id, "")

    @property
    def label(self) -> str:
        """What people call it."""
        return self.own_name or self.order.entry.function.name


class Flag:
    """Rare marks of a task, as bits of an int: an `enum.Flag` costs a microsecond each time it is looked at."""

    CANCELLING: Final = 1
    """Its manager was told to stop it."""
    COLLECTED: Final = 2
    """Its owner needs the outcome no more; kept while others need it."""
    KEYED: Final = 4
    """It holds its key."""
    SHADOW: Final = 8
    """Another task holds its key; it ends as that one ends, and its result is that one's."""
    CHILD: Final = 16
    """Made by `join`; its result is part of its parent's."""
    GANG: Final = 32
    """It takes several managers together."""
    ABANDONED: Final = 64
    """Nobody wants its outcome: it is freed as it ends."""
    GIVEN: Final = 128
    """No task of the interchange's: a result that a client brought along for those that need it."""
    OWNER_DONE: Final = 256
    """The run's owner needs the outcome no more, but the client that submitted it has not confirmed it."""
    CLIENT_DONE: Final = 512
    """The client that submitted it needs the outcome no more, but it does not own the run."""
    CACHED: Final = 1024
    """Its result is looked for in the cache, and goes there."""
    FOLLOWING: Final = 2048
    """Another task computes the same: this one waits for that one's result."""


class ClientKeys(msgspec.Struct, frozen=True):
    """A client that a keeper let in."""

    public_keys: tuple[bytes, ...]
    pools: tuple[str, ...] = ()
    """The only ones that it may use; empty: all."""


class State:
    """Everything the interchange knows."""

    def __init__(  # noqa: PLR0915 - the list of tables
        self, settings: Settings, opening: int, wall_offset: float = 0.0, *, seal: bytes
    ) -> None:
        self.settings = settings
        self.seal = seal
        """32 random bytes of this process, from which the secrets of wide tries are made; see `gangs`."""
        self.wall_offset = wall_offset
        """UTC less the monotonic clock, read once: a clock that is set later moves no deadline."""
        self.began_at = 0.0
        """By the monotonic clock."""
        self.last_at = 0.0
        """Of the last submission, UTC."""
        self.opening = opening
        """Which opening of the journal this is; the upper part of every lease's epoch."""
        self.sessions: dict[SessionId, Session] = {}
        self.spent: dict[SessionId, None] = {}
        """Sessions of runs that were forgotten, the latest last."""
        self.given_up: dict[SessionId, None] = {}
        """Sessions whose clients vanished and did not come back in time, oldest first."""
        self.peers: dict[bytes, Session] = {}
        self.manager_peers: dict[bytes, Manager] = {}
        self.runs: dict[str, Run] = {}
        self.hosted: dict[str, Hosted] = {}
        """By run."""
        self.hosted_look_at = 0.0
        """When it is looked next whether some of these are to be forgotten."""
        self.pools: dict[str, Pool] = {name: Pool(name, pool) for name, pool in settings.pools.items()}
        self.values = Pool("", PoolSettings())
        """Stands for the pool of values that clients put, which are of none."""
        self.clients: dict[str, ClientKeys] = {}
        """Clients that a keeper let in, by name."""
        self.ring: frozenset[str] = frozenset()
        """User ids that the key ring's files let in."""
        self.limits: dict[str, frozenset[str]] = {}
        """User id to the only pools that it may use; who is not here may use all."""
        self.tasks: dict[TaskId, Task] = {}
        self.functions: dict[FunctionId, FunctionEntry] = {}
        self.keys: dict[tuple[str, str], TaskId] = {}
        """(pool, key) to task."""
        self.key_of: dict[TaskId, tuple[str, str]] = {}
        self.timers: list[tuple[float, int, int]] = []
        """Heap of (when, task, epoch): deadlines and delayed tries."""
        self.awaited: dict[ManagerId, float] = {}
        """Managers of before a restart that may come back, and until when they are waited for."""
        self.orphans: dict[TaskId, Task] = {}
        """Handed-out tasks of before a restart that may not run twice, until their manager is back or given up."""
        self.live_bytes = 0
        """Rough size of what the journal must keep."""
        self.bytes = 0
        """Bodies of tasks and results that are not freed, wherever they are kept."""
        self.blob_bytes = 0
        """How much of that is in blobs, and not in memory."""
        self.is_busy = False
        """Somebody who may be given more holds something: looked at in each sweep, and when something is handed out."""
        self.next_sweep = 0.0
        self.silent_at = 0.0
        """When it is looked next whether managers have fallen silent."""
        self.swept_at = 0.0
        """Of the last look at everything; 0: never yet."""
        self.effects = Effects()
        self.ended: list[Outcome] = []
        self.freed: list[int] = []
        self.given: list[Lease] = []
        self.shared: dict[str, int] = {}
        """Blobs named by their content, and how many values they are."""
        self.ending: defaultdict[Order, int] = defaultdict(int)
        """How many tasks of each order ended since the last turn."""
        self.settling: list[Task] = []
        """Ended tasks whose dependents were not told yet."""
        self.gangs: dict[TaskId, Gang] = {}
        """Wide tasks that hold managers."""
        self.unconfirmed: dict[ManagerId, Manager] = {}
        """Managers whose outcomes the journal holds and that were not told so yet."""
        self.unaccepted: dict[SessionId, Session] = {}
        """Sessions whose submissions the journal holds and that were not told so yet."""
        self.talkative: dict[SessionId, Session] = {}
        """Sessions with outcomes to send."""
        self.hungry: dict[str, Pool] = {}
        """Pools whose queue or managers changed since the last turn."""
        self.asked = Asked()
        """What clients have asked that others are to answer."""
        self.run_holds_at = 0.0
        """When it is looked next whether all tasks of held runs are stopped."""
        self.stopped: dict[TaskId, int] = {}
        """Tasks whose programs are known to be stopped, and the epoch of the try."""
        self.watched: dict[str, Pool] = {}
        """Pools with watchers."""
        self.cache: Cache[Task] = Cache()
        self.counters = Counters()
        self.notes = Notes(opening, wall_offset, settings.monitoring_backlog_bytes) if settings.monitoring else None
        """For the hub; None while monitoring is off."""
