"""Questions and orders to a running interchange, and its answers; they travel inside `client.Ask` and `client.Reply`.

The command line and the pools' executors use them. Times are UTC seconds, durations seconds.
"""

from blockyard.wire.hosted import RunAnswer, RunQuestion
from blockyard.wire.keeping import KeeperOrder
from blockyard.wire.monitoring import Instant, Name, Text
from blockyard.wire.records import Printed, Record


class Status(Record, tag=1, frozen=True):
    """How is the interchange?"""


class Tasks(Record, tag=2, frozen=True):
    """Which tasks are there? At most `limit`, in order of submission."""

    states: list[str] = []
    """Names of states; empty: all."""
    pool: str = ""
    run: str = ""
    limit: int = 100


class Task(Record, tag=3, frozen=True):
    """All about one task."""

    task: int


class Managers(Record, tag=4, frozen=True):
    """Which managers are there?"""


class Watch(Record, tag=5, frozen=True):
    """Send this pool's demand now and whenever it changes, as replies with this question's number."""

    pool: str


class Drain(Record, tag=6, frozen=True):
    """Give these blocks nothing more; what runs there may go on for `grace` seconds."""

    blocks: list[str]
    grace: float
    pool: str = ""
    """Of these blocks; '' for any."""


class BlockGone(Record, tag=7, frozen=True):
    """A block ended; its managers need not be waited for."""

    blocks: list[str]
    reason: str
    pool: str = ""
    """Of these blocks; '' for any."""


class CancelTasks(Record, tag=8, frozen=True):
    """Cancel tasks of any run."""

    tasks: list[int]


class Blocks(Record, tag=9, frozen=True):
    """Which blocks are there, and how do they fare? Living ones and the last ended ones."""

    pool: str = ""


class BlockReport(Record, frozen=True):
    """A block as whoever keeps the pool's blocks sees it: `blocks.states.JobStatus` without its log."""

    block: str
    state: str
    """Name of a `JobState`."""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    started_at: float = 0.0
    ended_at: float = 0.0
    node: str = ""


class ReportBlocks(Record, tag=10, frozen=True):
    """What became of blocks of a pool, to be shown to whoever asks. Its keeper sends all of them to a new opening."""

    pool: str
    blocks: list[BlockReport]


class CancelMatching(Record, tag=11, frozen=True):
    """Cancel all unfinished tasks of a pool, of a run, or of both; '' matches any."""

    pool: str = ""
    run: str = ""
    given_up: str = ""
    """Why the pool will never run them: they end with `PoolFailed` and this reason, not as cancelled. Only a keeper, or
    who watches the pool's demand, may say so, and it names the pool. An interchange that does not know this field
    cancels them."""


class Output(Record, tag=12, frozen=True):
    """What did this task print? Managers are asked, so it may be one that the interchange has forgotten."""

    task: int


class Cached(Record, tag=13, frozen=True):
    """What is in the cache, and what has it been good for?"""

    pool: str = ""
    """'' for all that the asker may use."""


class ClearCache(Record, tag=14, frozen=True):
    """Drop cached results, so that what they were the results of will run again."""

    pool: str = ""
    function: str = ""
    """Of this function alone, by its name with or without its module, and what was made from them; '' for all."""


class HoldTask(Record, tag=15, frozen=True):
    """Stop the programs of the managed tasks that a running task supervises, or let them go on.

    Answered by `Done` with their number, or by `Unknown` with the reason. The task keeps its worker and its limits.
    """

    task: int
    held: bool


class Follow(Record, tag=16, frozen=True):
    """What has happened behind the event `after`? Answered as soon as there is something, or when `wait` is over.

    Empty lists: everything, as far as this client may see it. An answer says behind which event to ask next; to an
    `after` of '' it is given at once, and is where 'from now on' begins.
    """

    kinds: list[str] = []
    """Types of records of `wire.monitoring`."""
    pools: list[str] = []
    runs: list[str] = []
    after: str = ""
    wait: float = 5.0


class Say(Record, tag=17, frozen=True):
    """Something happened in the program of this client: an `Event` of its run, which may be missed."""

    at_us: Instant
    name: Name
    text: Text


Question = (
    Status
    | Tasks
    | Task
    | Managers
    | Watch
    | Drain
    | BlockGone
    | CancelTasks
    | Blocks
    | ReportBlocks
    | CancelMatching
    | Output
    | Cached
    | ClearCache
    | HoldTask
    | Follow
    | Say
    | RunQuestion
    | KeeperOrder
)


class PoolStatus(Record, tag=1, frozen=True):
    """A pool in numbers."""

    pool: str
    queued: int
    assigned: int
    workers: int
    managers: int
    submitted: int
    done: int
    failed: int
    cancelled: int
    retried: int
    lost: int
    late: int
    defined: bool = True
    """False: it was removed, or never defined here, and has tasks that wait."""


class StatusIs(Record, tag=2, frozen=True):
    """Answer to `Status`."""

    opening: int
    tasks: int
    bytes: int
    sessions: int
    """Clients that are connected."""
    pools: list[PoolStatus]
    refused_peers: int = 0
    """Connections refused by their key since the interchange began."""
    refused_frames: int = 0
    """Frames that were no message of the protocol."""
    refused: int = 0
    """Greetings and submissions refused for what they said."""


class TaskLine(Record, tag=3, frozen=True):
    """A task in a listing."""

    task: int
    name: str
    pool: str
    run: str
    state: str
    status: str
    block: str
    submitted_at: float


class TasksAre(Record, tag=4, frozen=True):
    """Answer to `Tasks`."""

    tasks: list[TaskLine]
    total: int


class TaskIs(Record, tag=5, frozen=True):
    """Answer to `Task`. `sentences` explain, in words, why it waits or how it ended."""

    line: TaskLine
    sentences: list[str]


class ManagerLine(Record, tag=6, frozen=True):
    """A manager in a listing."""

    manager: str
    pool: str
    block: str
    node: str
    workers: int
    held: int
    load: int
    draining: bool
    silent_seconds: float
    resident_bytes: int


class ManagersAre(Record, tag=7, frozen=True):
    """Answer to `Managers`."""

    managers: list[ManagerLine]


class BlockLoad(Record, frozen=True):
    """What a block that registered is doing."""

    block: str
    managers: int
    slots: int
    """Workers of its managers."""
    busy: int
    """Of these, how many its tries keep or will keep busy; at most `slots`."""
    idle_since: float
    """Instant of the interchange's clock since when it has had no try; -1 while it has one."""
    draining: bool
    done: int = 0
    """Tries that have ended on it."""


class Demand(Record, tag=8, frozen=True):
    """Answer to `Watch`: what a pool's blocks are decided by. Instants are of the interchange's monotonic clock."""

    pool: str
    queued_slots: int
    """Workers that the tasks which could start now would keep busy."""
    running_slots: int
    outstanding: int
    """Tasks of the pool that have not ended."""
    oldest_since: float
    """Since when something has been queued without a break; -1 when nothing is."""
    task_seconds: float
    """How long a task typically runs; -1 while unknown."""
    blocks: list[BlockLoad]
    at: float
    """When this was written."""
    opening: int = 0
    """Of the journal: another number means another interchange, which knows nothing of the pool's blocks yet."""


class Unknown(Record, tag=9, frozen=True):
    """What was asked about does not exist."""

    message: str


class Done(Record, tag=10, frozen=True):
    """The order was carried out."""

    count: int


class BlockLine(Record, frozen=True):
    """A block in a listing: what its keeper reported, and what its managers show."""

    report: BlockReport
    pool: str
    managers: int
    workers: int
    busy: int
    draining: bool
    idle_seconds: float
    """Since when it has had no try; 0 while it has one, or has no manager."""


class BlocksAre(Record, tag=11, frozen=True):
    """Answer to `Blocks`, oldest report first."""

    blocks: list[BlockLine]


class OutputIs(Record, tag=12, frozen=True):
    """Answer to `Output`, oldest try first; empty when it printed nothing, or nobody keeps it any more."""

    tries: list[Printed]


class CacheLine(Record, frozen=True):
    """The cached results of one function."""

    pool: str
    function: str
    results: int
    bytes: int
    seconds: float
    """That they took to be computed, together."""
    oldest: float
    newest: float


class PoolCache(Record, frozen=True):
    """What the cache has been good for in a pool; monotonic."""

    pool: str
    hits: int
    misses: int
    evicted: int


class CacheIs(Record, tag=13, frozen=True):
    """Answer to `Cached`. Bytes as they count towards the limit."""

    bytes: int
    """Of all pools."""
    max_bytes: int
    ttl: float
    pools: list[PoolCache]
    functions: list[CacheLine]
    """Largest first."""


class EventLine(Record, frozen=True):
    """One event, as followers read it."""

    id: str
    kind: str
    """The type of its record; ``lost`` for some that this follower was too slow for."""
    data: bytes
    """JSON object: the record's fields; of what was lost the ``count``, null when nobody knows it."""


class EventsAre(Record, tag=14, frozen=True):
    """Answer to `Follow`: the hub's, passed on."""

    events: list[EventLine]
    after: str


Answer = (
    StatusIs
    | TasksAre
    | TaskIs
    | ManagersAre
    | Demand
    | Unknown
    | Done
    | BlocksAre
    | OutputIs
    | CacheIs
    | EventsAre
    | RunAnswer
)
