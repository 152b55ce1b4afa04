"""What the core may ask its shell to do. Effects are carried out in order."""

from dataclasses import dataclass

from blockyard.wire.manager import FromManager, Hold
from blockyard.wire.records import Function
from blockyard_worker.exits import ExitCode
from blockyard_worker.records import RunGroup


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to the interchange."""

    message: FromManager


@dataclass(frozen=True, slots=True)
class Feed:
    """Give a worker a token for each try, then functions it lacks, then a frame of tries."""

    worker: int
    number: int
    groups: list[RunGroup]
    functions: list[Function]
    dropped: list[bytes]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Steal:
    """Take up to `most` tokens from a worker; answered by `Manager.on_stolen`."""

    worker: int
    most: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Signal a worker to report outcomes that wait for company."""

    worker: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Raise `Cancelled` in this try, if it is the one that runs."""

    worker: int
    task: int
    epoch: int


@dataclass(frozen=True, slots=True)
class HoldPrograms:
    """Have a worker carry this out, if it runs that try; answered by `Manager.on_obeyed`."""

    worker: int
    order: Hold


@dataclass(frozen=True, slots=True)
class EndTree:
    """Signal a worker and every process below it: SIGTERM, or SIGKILL when `kill`."""

    worker: int
    kill: bool


@dataclass(frozen=True, slots=True)
class EndChildren:
    """Kill the processes below a worker that were started at or after `since` (monotonic seconds); it lives on."""

    worker: int
    since: float


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Fork worker `number`, a number never used before; `place` 0..workers-1 decides its share of the cores."""

    number: int
    place: int


@dataclass(frozen=True, slots=True)
class RetireWorker:
    """Tell a worker that has nothing to do to exit."""

    worker: int


@dataclass(frozen=True, slots=True)
class SetPlace:
    """Where large bodies are kept; for all workers, those to come too."""

    blobs: str
    blob_threshold: int


@dataclass(frozen=True, slots=True)
class ShowOutput:
    """Send `Shown` with this number: what is kept of the output of a task's tries."""

    number: int
    task: int


@dataclass(frozen=True, slots=True)
class ResetLink:
    """Forget messages to the interchange that were not sent: after the next `Join` they are made anew."""


@dataclass(frozen=True, slots=True)
class Exit:
    """The manager is done; `reason` is for the log."""

    code: ExitCode
    reason: str


OnWorker = Feed | Steal | Flush | Interrupt | HoldPrograms | EndTree | EndChildren | RetireWorker
Effect = OnWorker | Tell | StartWorker | SetPlace | ShowOutput | ResetLink | Exit
