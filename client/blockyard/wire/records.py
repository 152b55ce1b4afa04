"""The values that travel inside messages. All are msgpack arrays; a new field goes last and has a default.

Bodies (arguments, results, functions) are opaque here: bytes that only clients and workers look into.
"""

import enum
from typing import Annotated, Final

import msgspec

PROTOCOL_VERSION = 1
"""Raised when an old peer could misread a new message; a mismatch refuses that peer alone."""


MAX_OUTPUTS_BYTES: Final = 64 * 1024
"""Of what one try declares as its outputs."""

MAX_MEMO_BYTES: Final = 32
"""Of what a call is known by in the cache."""

NONE_BODY: Final = b"\x80\x05N."
"""How `None` is packed: what a task gets in place of the result of one that it needed and that did not succeed."""


class Record(msgspec.Struct, array_like=True, frozen=True):
    """Base of all records: a msgpack array, immutable."""


class Blob(Record, tag=1, frozen=True):
    """A large body, kept as a file in the blob folder that near processes share."""

    name: str
    size_bytes: int


class Bundle(Record, tag=2, frozen=True):
    """The bodies of several results, which together are one: a list of them."""

    parts: list["bytes | Blob | Bundle"]


Body = bytes | Blob | Bundle


def body_bytes(body: Body) -> int:
    """Size of a body, wherever it is kept."""
    match body:
        case bytes():
            return len(body)
        case Blob():
            return body.size_bytes
        case Bundle():
            return sum(body_bytes(part) for part in body.parts)


def blob_bytes(body: Body) -> int:
    """How much of a body is kept in blobs."""
    match body:
        case bytes():
            return 0
        case Blob():
            return body.size_bytes
        case Bundle():
            return sum(blob_bytes(part) for part in body.parts)


def blob_names(body: Body) -> list[str]:
    """The blobs that a body consists of."""
    match body:
        case bytes():
            return []
        case Blob():
            return [body.name]
        case Bundle():
            return [name for part in body.parts for name in blob_names(part)]


class Status(enum.IntEnum):
    """How a try ended. DONE is the only success; the rest say whose fault it was."""

    DONE = 0
    RAISED = 1
    """The function raised; the body holds the pickled exception."""
    JOIN = 2
    """The function returned `blockyard.join(...)`: its calls are the result still to come."""
    CANCELLED = 3
    TIMEOUT = 4
    """Ran longer than its `timeout`."""
    DEADLINE = 5
    """Not finished within `deadline` of its submission."""
    OUT_OF_MEMORY = 6
    LOST = 7
    """The worker, manager, block or node died under it: an infrastructure loss."""
    DEPENDENCY = 8
    """A task it waits for did not succeed."""
    REFUSED = 9
    """It can never run: unknown pool, impossible request, wrong Python."""
    SKIPPED = 10
    """Its trigger rule or its condition said that it is not to run, or so it was with one that it needs."""


class Trigger(enum.IntEnum):
    """When a task runs, by how the tasks that it needs have ended. A skipped one is neither success nor failure."""

    ALL_SUCCESS = 0
    """All succeeded. It fails with the first that fails, and is skipped with the first that is skipped."""
    ANY_SUCCESS = 1
    """One succeeded, whatever the others do."""
    ANY_FAILED = 2
    """One failed, whatever the others do; it is skipped when none did."""
    ALL_FAILED = 3
    """All failed; it is skipped when one did not."""
    NONE_FAILED = 4
    """All ended and none failed: some may have been skipped."""
    ALWAYS = 5
    """All ended, however."""
    NONE_FAILED_ANY_SUCCESS = 6
    """All ended, none failed, and one succeeded at least; it is skipped when all were."""
    ALL_SKIPPED = 7
    """All were skipped; it is skipped when one was not."""
    NONE_SKIPPED = 8
    """All ended, and none was skipped: some may have failed."""

    @property
    def word(self) -> str:
        """As workflows say it: ``AnySuccess``."""
        return "".join(part.capitalize() for part in self.name.split("_"))


class Condition(Record, frozen=True):
    """What must hold besides for a task to run, in CEL; see `blockyard.workflow.expressions` for what it sees."""

    expression: str
    names: list[str] = []
    """Of the steps that it needs, in the order of its needs."""
    parameters: bytes = b"{}"
    """JSON object."""


class Failure(Record, frozen=True):
    """Why a try did not succeed, readable without unpickling anything."""

    message: str
    types: list[str] = []
    """Qualified names ('module.Class') of the exception along its MRO, then its `retry_names`; what `retry_on` is
    compared with."""
    evidence: str = ""
    """What was seen: exit code, signal, peak memory and limit, tail of the output."""
    task: int = 0
    """With DEPENDENCY: the task that failed first, which all this is about."""
    peak_bytes: int = 0
    """With OUT_OF_MEMORY: the most that was seen, and the limit; 0 when unknown."""
    limit_bytes: int = 0


class TaskSpec(Record, frozen=True):
    """What the tasks of one group have in common. Zero and empty mean 'not asked for'."""

    function: bytes
    pool: str = "default"
    name: str = ""
    priority: int = 0
    """Higher first, -2^31..2^31-1."""
    retries: int = 0
    """Further tries after one that failed by its own fault."""
    backoff: float = 0.0
    """Seconds before the first retry; doubles each time."""
    retry_on: tuple[str, ...] = ()
    """Qualified exception names, or bare class names; empty: any."""
    timeout: float = 0.0
    """Seconds of running."""
    deadline: float = 0.0
    """Seconds from submission to the end."""
    cores: float = 0.0
    memory_bytes: int = 0
    accelerators: int = 0
    nodes: int = 0
    ranks: int = 0
    ranks_per_node: int = 0
    idempotent: bool = True
    tags: tuple[str, ...] = ()
    trigger: Trigger = Trigger.ALL_SUCCESS
    condition: Condition | None = None
    uses: int = -1
    """How many of the results that they need their calls are given: the first ones; -1: all. For the rest they only
    wait."""


class Group(Record, frozen=True):
    """Tasks with one spec and consecutive numbers: ``first``, ``first + 1``, …, one for each body."""

    spec: TaskSpec
    first: int
    bodies: list[Body]
    needs: list[list[int]] = []
    """Empty, or one list of task identifiers for each body: what it waits for, in the order of its markers."""
    keys: list[str] = []
    """Empty, or one key for each body ('' for none)."""
    given: list["Need"] = []
    """Results that are needed here and that the client has collected already."""
    memos: list[list[bytes]] = []
    """Empty, or for each body the memo by which its result is cached, and then those of the results that it is made
    from; or nothing. A memo is a digest of at most `MAX_MEMO_BYTES`, see `blockyard.memo`."""


class Function(Record, frozen=True):
    """A function, sent once to each side that needs it."""

    id: bytes
    name: str
    """'module.qualname', for people."""
    body: bytes
    python: str
    """'3.11': cloudpickled code runs only on the minor version that made it; '': by reference, for any."""


class Calls(Record, frozen=True):
    """What a task left to be done instead of a result: its result is the list of theirs, in order."""

    groups: list[Group]
    """Numbers count from 0; the interchange gives the tasks identifiers of its own."""
    functions: list[Function]


class Outcome(Record, frozen=True):
    """How one try ended."""

    task: int
    epoch: int
    status: Status
    body: Body = b""
    seconds: float = 0.0
    """Time the function ran."""
    failure: Failure | None = None
    calls: Calls | None = None
    """With JOIN."""
    outputs: Annotated[bytes, msgspec.Meta(max_length=MAX_OUTPUTS_BYTES)] = b""
    """What the function declared for conditions and for people: a JSON object, or nothing."""


class Lease(Record, frozen=True):
    """One try of one task as a manager holds it."""

    task: int
    epoch: int


class Part(Record, frozen=True):
    """One manager's place in a task that spans several."""

    index: int
    count: int
    first_rank: int
    ranks: int
    """Ranks on this manager."""
    total_ranks: int
    hosts: list[str]
    """Names of the parts' nodes, for people: from a pod no node is reached by its name."""
    address: str = ""
    """Of the first part's machine, for the others."""
    secret: bytes = b""
    """Of the try, 32 bytes that its parts alone are told: by what they make of it they know one another."""
    addresses: list[str] = []
    """At which the parts reach one another; from an interchange that does not know them, none."""

    def __repr__(self) -> str:
        return f"Part(index={self.index}, count={self.count}, ranks={self.ranks}, address={self.address!r})"


class Need(Record, frozen=True):
    """The result of a task that another waits for."""

    task: int
    body: Body | None = None
    """None: that task is in the same manager's hands and has not ended yet."""


class Assigned(Record, frozen=True):
    """One try, given to a manager."""

    task: int
    epoch: int
    body: Body
    needs: list[Need] = []
    part: Part | None = None


class Running(Record, frozen=True):
    """A task that a worker is busy with."""

    task: int
    epoch: int
    seconds: float


class Printed(Record, frozen=True):
    """The end of what one try printed, to standard output and standard error together."""

    epoch: int
    text: str
