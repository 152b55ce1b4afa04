"""What is told of runs, tasks, blocks and nodes: the records of monitoring, and the packet that carries them.

A packet is one message of a sender, numbered by it: a batch of records. Records are msgpack arrays like all others of
the wire, but stricter: each text, list and number has a limit, so that a frame of a stranger is refused before it costs
anything. Instants are whole microseconds UTC, durations microseconds, sizes bytes; 0 and '' mean 'not known'.

What a worker's radio may say (`FromWorker`) is less than what the interchange may: who holds a worker's key cannot tell
of tasks that ended, or of runs. How records travel is the radios' business, where they end that of the hub's sinks.
"""

import enum
from collections.abc import Iterable
from typing import Annotated, Final, Generic, TypeVar, get_args

from msgspec import Meta

from blockyard.wire.records import Record

VERSION: Final = 1
"""Of these records; raised when an old hub could misread a new one. A packet of another version is refused."""
MAX_PACKET_BYTES: Final = 1 << 20
"""Of a packet that comes from a worker's side."""
MAX_RECORDS: Final = 8192
"""In one packet, and parts in one record."""
MAX_CONFIG_BYTES: Final = 256 * 1024
"""Of the record of a managed task, as JSON."""
MAX_PART_BYTES: Final = 256 * 1024
"""Of an artefact, in one record."""
PRINTED: Final = "printed"
"""`File.kind` of what a try wrote to either stream, and its manager keeps the end of."""
MAX_NAME: Final = 256
MAX_TEXT: Final = 4096

Name = Annotated[str, Meta(max_length=MAX_NAME)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Hash = Annotated[bytes, Meta(max_length=64)]
Count = Annotated[int, Meta(ge=0, le=(1 << 62))]
Instant = Annotated[int, Meta(ge=0, le=(1 << 53))]
"""Microseconds UTC since 1970; the limit is the year 2255."""
Micros = Annotated[int, Meta(ge=0, le=(1 << 53))]
"""A duration."""
TaskNumber = Annotated[int, Meta(ge=0)]
"""A `TaskId`, at most 2^64-1 as all of msgpack's; those that `join` makes have the highest bit set."""
Epoch = Annotated[int, Meta(ge=0, le=(1 << 62))]
Names = Annotated[list[Name], Meta(max_length=64)]


class TryState(enum.IntEnum):
    """How a try stands. From 0 on it ended, with the values of `wire.records.Status`; below it goes on."""

    ASSIGNED = -2
    RUNNING = -1
    DONE = 0
    RAISED = 1
    JOIN = 2
    CANCELLED = 3
    TIMEOUT = 4
    DEADLINE = 5
    OUT_OF_MEMORY = 6
    LOST = 7
    DEPENDENCY = 8
    REFUSED = 9
    SKIPPED = 10


class Run(Record, tag=1, frozen=True):
    """A session of a client, and the run that it belongs to: said when it opens, and when it ends."""

    session: TaskNumber
    run: Name
    user: Name = ""
    """What its key proves."""
    name: Name = ""
    """What it calls itself."""
    python: Name = ""
    began_us: Instant = 0
    ended_us: Instant = 0


class Tasks(Record, tag=2, frozen=True):
    """Tasks submitted together: one spec, consecutive numbers ``first … first + count - 1``."""

    first: TaskNumber
    count: Annotated[int, Meta(ge=1, le=1 << 32)]
    session: TaskNumber
    run: Name
    pool: Name
    function: Name
    function_hash: Hash
    submitted_us: Instant
    name: Name = ""
    tags: Names = []
    priority: int = 0
    retries: Count = 0
    timeout_us: Micros = 0
    parent: TaskNumber = 0
    """The task whose `join` made these; 0: a client did."""


class Needs(Record, tag=3, frozen=True):
    """What tasks wait for: one list of tasks for each of ``first, first + 1, …``."""

    first: TaskNumber
    needs: Annotated[list[Annotated[list[TaskNumber], Meta(max_length=1 << 16)]], Meta(max_length=MAX_RECORDS)]


class Try(Record, frozen=True, gc=False):
    """One try of one task, with all its times as far as they are known; or (epoch 0) the end of a task without one."""

    task: TaskNumber
    epoch: Epoch
    state: TryState
    is_last: bool
    """The task ended with it."""
    queued_us: Instant
    assigned_us: Instant
    ran_us: Micros = 0
    """How long the function ran."""
    kind: Name = ""
    """Why it did not succeed, in a word: the exception's qualified name, or how it was lost."""
    message: Text = ""
    evidence: Text = ""


class Tries(Record, tag=4, frozen=True):
    """Tries of tasks submitted together, all of which the same manager reported at the same time."""

    submission: TaskNumber
    """`Tasks.first` of their submission."""
    pool: Name
    manager: Name
    block: Name
    node: Name
    at_us: Instant
    """When the interchange heard of it."""
    tries: Annotated[list[Try], Meta(max_length=MAX_RECORDS)]


class Use(Record, frozen=True, gc=False):
    """What one try used, as its worker saw it."""

    task: TaskNumber
    epoch: Epoch
    began_us: Instant
    ended_us: Instant
    cpu_user_us: Micros = 0
    cpu_system_us: Micros = 0
    peak_bytes: Count = 0
    read_bytes: Count = 0
    written_bytes: Count = 0
    switches_voluntary: Count = 0
    switches_involuntary: Count = 0
    page_faults: Count = 0


class WorkerTasks(Record, tag=5, frozen=True):
    """Tries that one worker ran."""

    pool: Name
    manager: Name
    block: Name
    node: Name
    worker: Count
    pid: Count
    accelerators: Name
    """Their numbers, as the tries saw them."""
    uses: Annotated[list[Use], Meta(max_length=MAX_RECORDS)]


class Sample(Record, frozen=True, gc=False):
    """What the worker of a running try and all children of that use at one moment.

    CPU, bytes and switches count from the worker's start: what a try used between two samples is their difference.
    """

    task: TaskNumber
    epoch: Epoch
    worker: Count
    pid: Count
    at_us: Instant
    cpu_user_us: Micros
    cpu_system_us: Micros
    resident_bytes: Count
    peak_bytes: Count
    virtual_bytes: Count = 0
    read_bytes: Count = 0
    written_bytes: Count = 0
    threads: Count = 0
    children: Count = 0
    switches_voluntary: Count = 0
    switches_involuntary: Count = 0
    cpu: Count = 0
    """The core it ran on last."""
    status: Name = ""
    """The kernel's letter for the worker's state."""
    gpu_bytes: Count = 0


class Resources(Record, tag=6, frozen=True):
    """One look at the running tries of one manager."""

    pool: Name
    manager: Name
    block: Name
    node: Name
    interval_us: Micros
    """Until the next look."""
    samples: Annotated[list[Sample], Meta(max_length=MAX_RECORDS)]


class Node(Record, tag=7, frozen=True):
    """A manager: said when it joins, and when it is gone."""

    manager: Name
    pool: Name
    block: Name
    node: Name
    at_us: Instant
    state: Name
    """``joined``, ``draining`` or ``gone``."""
    reason: Text = ""
    python: Name = ""
    workers: Count = 0
    cores: float = 0.0
    memory_bytes: Count = 0
    accelerators: Count = 0
    pid: Count = 0


class Block(Record, tag=8, frozen=True):
    """A block and its state, as the keeper of its pool reported it: `wire.control.BlockReport` with a time."""

    pool: Name
    block: Name
    at_us: Instant
    state: Name
    reason: Name = ""
    message: Text = ""
    exit_code: int | None = None
    signal: int | None = None
    started_us: Instant = 0
    ended_us: Instant = 0
    node: Name = ""


class File(Record, tag=9, frozen=True):
    """A file that a try read, wrote or printed to."""

    task: TaskNumber
    epoch: Epoch
    kind: Name
    """``input``, ``output``, ``stdout`` or ``stderr``; or `PRINTED`, and then `path` is a command that shows it."""
    path: Text
    """Or its URL, without secrets."""
    size_bytes: Count = 0
    at_us: Instant = 0
    sha256: Name = ""
    """That it was verified to have."""
    way: Name = ""
    """How it was staged: ``fetched``, ``cached`` on the node, used ``in place``, or ``stored``."""
    took_us: Micros = 0


class Event(Record, tag=10, frozen=True):
    """Anything else worth a line: what, to whom, and in words."""

    at_us: Instant
    kind: Name
    subject: Name
    text: Text = ""


class Config(Record, tag=11, frozen=True):
    """What a managed task runs with: said when it starts, and again, completed, when it ends."""

    id: Name
    """Drawn at random for each."""
    task: TaskNumber
    epoch: Epoch
    name: Name
    """Of the managed task."""
    run: Name
    step: Name
    status: Name
    """Name of a `managed.TaskStatus`."""
    reason: Name
    started_us: Instant
    """By its machine's clock."""
    ended_us: Instant
    """0: it has not ended."""
    exit_code: int | None
    signal: int | None
    body: Annotated[str, Meta(max_length=MAX_CONFIG_BYTES)]
    """`managed.AnalysisConfig` as JSON, whole as far as it fits; '' when all that is new is how far the task is."""
    message: Text = ""
    """The sentence to `reason`; before the end, how far the task is."""


class Artefact(Record, tag=12, frozen=True):
    """Something that a managed task left to be looked at."""

    config: Name
    """`Config.id` of the task."""
    task: TaskNumber
    epoch: Epoch
    name: Name
    kind: Name
    """``text``, ``value``, ``figure``, ``html`` or what the task called it."""
    media: Name
    """As ``image/png``."""
    path: Text
    """Where it was on its machine; '' for what was no file."""
    size_bytes: Count
    sha256: Name
    parts: Count
    """How many `ArtefactPart`s have its content; 0: it is not kept here."""
    at_us: Instant


class ArtefactPart(Record, tag=13, frozen=True):
    """A piece of what artefacts hold, by content: the same content is kept once."""

    sha256: Name
    part: Count
    """From 0 on."""
    at_us: Instant
    data: Annotated[bytes, Meta(max_length=MAX_PART_BYTES)]


FromWorker = WorkerTasks | Resources | File | Event | Config | Artefact | ArtefactPart
"""What may come from the side of workers."""
AnyRecord = Run | Tasks | Needs | Tries | Node | Block | FromWorker
KINDS: Final = frozenset(kind.__name__ for kind in get_args(AnyRecord))
"""Their names, by which followers choose."""
DROPPABLE: Final = (Resources, Event)
"""Samples and log lines; every other record must arrive."""

R = TypeVar("R")


class Packet(Record, Generic[R], frozen=True):
    """One message of a sender."""

    version: int
    source: Name
    """Role, name and incarnation of the sender: numbers begin anew with each."""
    number: Annotated[int, Meta(ge=1, le=(1 << 62))]
    sent_us: Instant
    """By the sender's clock."""
    records: Annotated[list[R], Meta(max_length=MAX_RECORDS)]


AnyPacket = Packet[AnyRecord]


def unknown_kinds(kinds: Iterable[str]) -> str:
    """What is wrong with these names of kinds; '' when they are all there."""
    unknown = set(kinds) - KINDS
    return f"kinds={','.join(sorted(unknown))}: there are {', '.join(sorted(KINDS))}" if unknown else ""


def clipped(text: str, most: int = MAX_TEXT) -> str:
    """A text that fits: its beginning and its end, with a mark between them."""
    if len(text) <= most:
        return text
    head = (most - 3) // 2
    return f"{text[:head]} … {text[len(text) - (most - 3 - head) :]}"


def micros(seconds: float) -> int:
    """Seconds as whole microseconds; what is no time at all is 0."""
    return int(seconds * 1e6) if 0.0 < seconds < 9e9 else 0
