"""The messages between a manager and the interchange, one union per direction.

A manager joins a pool for a block, receives tries, and reports how they ended. What it reports it keeps until the
interchange says `Recorded`: then the journal holds it. Every try carries its lease's epoch, so that the late result
of a lost try can be told from the result of the try that replaced it.
"""

from blockyard.wire.records import Assigned, Function, Lease, Outcome, Printed, Record, Running, TaskSpec


class Tally(Record, frozen=True):
    """What a manager has counted since it began; figures never go back."""

    restarts: int = 0
    """Workers started again."""
    out_of_memory: int = 0
    """Tries that it ended, or found ended, for want of memory."""
    output_dropped_bytes: int = 0
    """Of what tasks printed: more than is kept of each one's end."""


class Join(Record, tag=1, frozen=True):
    """First message on each new connection."""

    version: int
    manager: str
    pool: str
    block: str
    node: str
    python: str
    workers: int
    cores: float
    memory_bytes: int
    accelerators: int
    near: bytes = b""
    """Content of the blob folder's nonce file, when this process can read it."""
    holds: list[Lease] = []
    """Tries in its hands from before a reconnect: waiting, running, or ended and not yet recorded."""
    index: int = 0
    """Place of this node in its block, 0..nodes-1."""
    pid: int = 0
    seconds_left: float = 0.0
    """Until the block's walltime is over; 0: it has none."""
    tally: Tally = Tally()
    """An interchange that does not know this manager counts from here."""
    address: str = ""
    """At which the other managers of its block reach programs on this node: an IPv4 address, or a name."""
    answered: int = -1
    """How many `Joined` it has got; -1: it does not count. What was assigned behind one that it had not got yet when it
    said this is on its way."""


class Outcomes(Record, tag=2, frozen=True):
    """How tries ended. `number` counts up from 1 for each manager; answered by `Recorded`."""

    number: int
    outcomes: list[Outcome]
    packets: list[bytes] = []
    """Packets of monitoring that tell of these tries, see `wire.monitoring`; kept and sent again with them."""


class Returned(Record, tag=3, frozen=True):
    """Tries handed back without having been started: after `Retract` or `Drain`, or because what they need failed."""

    leases: list[Lease]


class Heartbeat(Record, tag=4, frozen=True):
    """Renews the lease of everything the manager holds."""

    busy: int
    idle: int
    queued: int
    resident_bytes: int = 0
    """Of its workers together."""
    restarts: int = 0
    """As in `tally`."""
    running: list[Running] = []
    """At most 64."""
    draining: bool = False
    """It was told to end by somebody else than the interchange: give it nothing more."""
    tally: Tally = Tally()
    follows: int = 0
    """Bytes of a large frame that comes next, see `patience`."""


class Leave(Record, tag=5, frozen=True):
    """The manager ends; it holds nothing any more."""

    reason: str


class Wanted(Record, tag=6, frozen=True):
    """The manager lacks these functions (it was restarted, or it dropped them)."""

    functions: list[bytes]


class Shown(Record, tag=7, frozen=True):
    """Answer to `Show`: what this manager knows, oldest try first."""

    number: int
    tries: list[Printed]


class Told(Record, tag=8, frozen=True):
    """Packets of monitoring on their way to the hub; nobody keeps them."""

    packets: list[bytes]


class Held(Record, tag=9, frozen=True):
    """Answer to `Hold`."""

    number: int
    count: int
    """Managed tasks that it was done to; 0: none, and `why` says why."""
    why: str = ""


class Joined(Record, tag=1, frozen=True):
    """The manager belongs to its pool now."""

    version: int
    heartbeat: float
    """Seconds between heartbeats; three missed ones end the lease."""
    blobs: str = ""
    """Folder for large bodies; '' when this manager is not near."""
    blob_threshold: int = 64 * 1024
    dropped: list[Lease] = []
    """Of what it said it holds: leases that have ended meanwhile; to be killed or forgotten."""


class Functions(Record, tag=2, frozen=True):
    """Functions that assignments will name."""

    functions: list[Function]


class AssignGroup(Record, frozen=True):
    """Tries of tasks with one spec."""

    spec: TaskSpec
    tasks: list[Assigned]


class Assign(Record, tag=3, frozen=True):
    """Tries to run, in this order. A task comes after those it needs."""

    groups: list[AssignGroup]
    recorded: int = 0
    """What `Recorded` would say besides; 0: nothing."""


class Recorded(Record, tag=4, frozen=True):
    """The journal holds `Outcomes` up to this number."""

    number: int


class Retract(Record, tag=5, frozen=True):
    """Hand back up to `count` tries that have not started, newest first."""

    count: int


class Stop(Record, tag=6, frozen=True):
    """End these tries: forget those that wait, stop those that run (cooperatively, then by signal)."""

    leases: list[Lease]
    grace: float = 2.0
    """Seconds between asking and killing."""


class Drain(Record, tag=7, frozen=True):
    """Hand back what has not started, finish what runs, then `Leave`; what runs after `grace` seconds is lost."""

    grace: float


class NotJoined(Record, tag=8, frozen=True):
    """The interchange does not know this connection (it was restarted): say `Join`."""


class Refused(Record, tag=9, frozen=True):
    """This manager cannot be part of the pool; it should end with this message."""

    kind: str
    message: str


class Beat(Record, tag=10, frozen=True):
    """Answer to a heartbeat: the interchange is alive."""

    heartbeat: float = 0.0
    """Seconds between heartbeats from now on; 0: as before."""
    follows: int = 0
    """As in `Heartbeat`."""


class Show(Record, tag=11, frozen=True):
    """Say what the tries of a task have printed; answered by `Shown`, also when that is nothing."""

    number: int
    task: int


class Hold(Record, tag=12, frozen=True):
    """Stop all processes of the managed tasks that this try runs, or let them go on; answered by `Held`."""

    number: int
    task: int
    epoch: int
    held: bool


FromManager = Join | Outcomes | Returned | Heartbeat | Leave | Wanted | Shown | Told | Held
ToManager = Joined | Functions | Assign | Recorded | Retract | Stop | Drain | NotJoined | Refused | Beat | Show | Hold
