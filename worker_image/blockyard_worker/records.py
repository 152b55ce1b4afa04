"""What a manager and a worker say to each other. Order matters: outcomes come in the order in which tries were sent."""

from typing import NamedTuple

from blockyard.this_try import Way
from blockyard.wire.records import Assigned, Function, Outcome, Record, TaskSpec


class RunGroup(Record, frozen=True):
    """Tries of one spec."""

    spec: TaskSpec
    batch: bool
    """Outcomes may wait a few milliseconds for others. False: each is sent at once, before the next try starts."""
    tries: list[Assigned]


class Run(Record, tag=1, frozen=True):
    """Tries to run, in this order, each for a token; see `tokens`."""

    number: int
    """Counts up from 1 for each worker."""
    groups: list[RunGroup]
    environment: dict[str, str] = {}
    """Set while these tries run, and only then."""


class Load(Record, tag=2, frozen=True):
    """Functions that later frames name, and such as none will name before it is sent again."""

    functions: list[Function]
    dropped: list[bytes] = []


class Place(Record, tag=4, frozen=True):
    """Where large bodies are kept, see `wire.manager.Joined`."""

    blobs: str
    blob_threshold: int


class Exit(Record, tag=3, frozen=True):
    """End, when everything sent before has been done."""


class Ready(Record, tag=1, frozen=True):
    """The worker is warm and waits for tries."""

    pid: int


class Unfit(Record, tag=2, frozen=True):
    """The worker could not be set up (`worker_init` failed) and ends."""

    message: str


class Results(Record, tag=3, frozen=True):
    """Outcomes in order. Status DEPENDENCY means: not run, because a try before it that it needs did not succeed."""

    outcomes: list[Outcome]
    idle: int = 0
    """Number of the last `Run` frame seen, when nothing of it and those before is left to do; 0: still busy."""
    uses: bytes = b""
    """What these tries used, when that is measured: a list of `wire.monitoring.Use`, encoded. The manager hands it on
    as it is."""


class Note(Record, tag=4, frozen=True):
    """Something for the history that does not wait for the try's end."""

    records: list[bytes]
    """Of `wire.monitoring`, encoded. The manager hands them on as they are."""
    way: Way = Way.KEPT


class Obeyed(Record, tag=5, frozen=True):
    """An order of the page was carried out, on so many managed tasks."""

    number: int
    count: int


ToWorker = Run | Load | Place | Exit
FromWorker = Ready | Unfit | Results | Note | Obeyed


class Now(NamedTuple):
    """What a worker does: the try it started last, and whether that has ended."""

    task: int
    epoch: int
    since: float
    running: bool
    grace: float = 0.0
    """Seconds that its managed tasks have to end when it is asked to."""


class Order(NamedTuple):
    """What a manager has a worker do with its managed tasks."""

    number: int
    held: bool
    """Stop them; False: let them go on."""
