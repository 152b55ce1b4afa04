"""What the journal holds: one union of entries, each the smallest fact from which the state can be made again.

Replaying all entries in order gives the state at the last commit (see `replay`). Compaction copies the entries of the
oldest chunk that still matter (see `compaction.rewritten`).
"""

import msgspec

from blockyard.wire.hosted import StepMark
from blockyard.wire.hub import Told
from blockyard.wire.records import Body, Function, Group, Lease, Outcome, Record
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.stages import Histogram


class SessionOpened(Record, tag=1, frozen=True):
    """A client came for the first time."""

    session: int
    token: bytes
    run: str
    user: str
    keep: bool
    python: str
    name: str
    accepted: int = 0
    next_number: int = 0
    next_child: int = 0
    """Numbers below are used up by tasks that `join` made for this session."""
    hosted: bool = False
    """It stands for a run of the interchange's own."""


class RunOwned(Record, tag=2, frozen=True):
    """A session became the owner of a run."""

    run: str
    session: int
    epoch: int


class Registered(Record, tag=3, frozen=True):
    """Functions that tasks of this journal name."""

    functions: list[Function]


class Submitted(Record, tag=4, frozen=True):
    """New tasks."""

    session: int
    at: float
    groups: list[Group]
    number: int = 0
    """Of the submission; 0 for tasks made by `join`."""
    parent: int = -1
    """The task whose `join` made these."""
    copy: bool = False
    """Made by compaction: counted before."""
    opening: int = 0
    """Of the journal, when `join` made these: no lease of before can be theirs; 0: the client's own submission."""
    origins: list[int] = []
    """For each group, the first number of the one that the client sent, of which it is what is left; empty: itself."""


class Ended(Record, tag=5, frozen=True):
    """Outcomes, final ones only."""

    outcomes: list[Outcome]
    copy: bool = False
    """Made by compaction: counted before."""


class Given(Record, tag=6, frozen=True):
    """Tries handed out that may not be repeated."""

    leases: list[Lease]


class Counted(Record, tag=7, frozen=True):
    """A task's failed and lost tries so far."""

    task: int
    failures: int
    losses: int
    epoch: int = 0
    """Of its last lease that is over."""


class Freed(Record, tag=8, frozen=True):
    """Tasks that are done with."""

    tasks: list[int]


class SessionClosed(Record, tag=9, frozen=True):
    """A session ended."""

    session: int


class ManagerJoined(Record, tag=10, frozen=True):
    """A manager may hold tries."""

    manager: str


class ManagerLeft(Record, tag=11, frozen=True):
    """A manager holds nothing any more."""

    manager: str


class PoolCounted(Record, tag=12, frozen=True):
    """The counters of a pool, as they are at this place of the journal; what follows counts on."""

    pool: str
    submitted: int
    done: int
    failed: int
    cancelled: int
    retried: int
    lost: int
    late: int
    losses: dict[str, int] = {}
    """`lost` by `Loss`."""
    restarts: int = 0
    out_of_memory: int = 0
    output_dropped_bytes: int = 0
    stages: dict[str, Histogram] = {}
    """By `Stage`; empty: as they were journaled before."""
    cache_hits: int = 0
    cache_misses: int = 0
    cache_evicted: int = 0


class SubmissionRefused(Record, tag=13, frozen=True):
    """A submission that was not taken in. Later ones may have been, so a client that comes back must hear of it."""

    session: int
    number: int
    kind: str
    message: str


class Stored(Record, tag=14, frozen=True):
    """A value that a client put."""

    session: int
    at: float
    number: int
    task: int
    body: Body


class SessionGivenUp(Record, tag=15, frozen=True):
    """A session ended and its tasks with it: a client that vanished must hear that, should it come back."""

    session: int


class PoolSet(Record, tag=16, frozen=True):
    """A keeper defined a pool, or changed it."""

    pool: str
    settings: PoolSettings
    keys: list[bytes]


class PoolRemoved(Record, tag=17, frozen=True):
    """A keeper removed a pool; its tasks wait."""

    pool: str


class ClientAllowed(Record, tag=18, frozen=True):
    """A keeper let a client in, or changed what it may use."""

    name: str
    keys: list[bytes]
    pools: list[str]


class ClientForbidden(Record, tag=19, frozen=True):
    """A keeper lets a client in no more."""

    name: str


class Noted(Record, tag=20, frozen=True):
    """A packet of monitoring, to be kept until the hub stored it."""

    number: int
    told: Told


class NotesConfirmed(Record, tag=21, frozen=True):
    """The hub stored all packets up to this number."""

    number: int


class ResultCached(Record, tag=22, frozen=True):
    """The result of a task is kept for those that will call the same."""

    pool: str
    memo: bytes
    function: str
    at: float
    """UTC."""
    seconds: float
    body: Body
    outputs: bytes = b""
    sources: list[bytes] = []
    """What the results are cached by from which this one was made."""


class ResultsDropped(Record, tag=23, frozen=True):
    """Cached results that are kept no more."""

    pool: str
    memos: list[bytes]


class RunHosted(Record, tag=30, frozen=True):
    """A run that the interchange keeps by itself, as it is from here on."""

    run: str
    session: int
    digest: bytes
    at: float
    steps: list[StepMark]
    held: bool
    programs: str = "run"
    """Of `Programs`."""


_Other = (
    SessionOpened
    | RunOwned
    | Registered
    | Submitted
    | Given
    | Counted
    | Freed
    | SessionClosed
    | ManagerJoined
    | ManagerLeft
    | PoolCounted
    | Stored
    | SessionGivenUp
    | SubmissionRefused
    | PoolSet
    | PoolRemoved
    | ClientAllowed
    | ClientForbidden
    | Noted
    | NotesConfirmed
    | ResultCached
    | ResultsDropped
    | RunHosted
)

Entry = _Other | Ended


class OutcomeGlimpse(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first field of an `Outcome`."""

    task: int


class EndedGlimpse(Record, tag=5, frozen=True):
    """An `Ended` of which it is only seen whose outcomes it holds, at a quarter of the cost."""

    outcomes: list[OutcomeGlimpse]


Glimpse = _Other | EndedGlimpse
"""An `Entry`, of which most often nothing is wanted any more."""

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Entry).decode
glimpse = msgspec.msgpack.Decoder(Glimpse).decode
