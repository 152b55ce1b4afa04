"""The messages between a client and the interchange, one union per direction.

A client introduces itself (`Hello`), is welcomed or refused, and then sends numbered requests. A submission is
answered by `Accepted` once the journal holds it; until then the client keeps it and sends it again after a reconnect.
"""

import msgspec

from blockyard.wire.records import Body, Function, Group, Outcome, Record


class Hello(Record, tag=1, frozen=True):
    """First message on each new connection."""

    version: int
    session: int
    token: bytes
    """16 random bytes: who knows them is the same client, after a reconnect too."""
    run: str
    """Name of the run to join; '' for one of its own."""
    python: str
    near: bytes = b""
    """Content of the blob folder's nonce file, when this process can read it."""
    take_over: bool = False
    keep: bool = False
    """The run goes on when its client is gone, and its results wait to be collected."""
    name: str = ""


class Register(Record, tag=2, frozen=True):
    """Functions that later submissions name."""

    functions: list[Function]


class Submit(Record, tag=3, frozen=True):
    """New tasks; answered by `Accepted(number)` or `Refused(number)`."""

    number: int
    groups: list[Group]


class Cancel(Record, tag=4, frozen=True):
    """End these tasks: drop those that wait, stop those that run."""

    tasks: list[int]
    waiting_only: bool = False
    """Leave alone what a manager has been given already."""


class Collect(Record, tag=5, frozen=True):
    """`frames` more `Outcomes` frames were received; the results of `tasks` are no longer needed."""

    frames: int
    tasks: list[int]


class Reattach(Record, tag=6, frozen=True):
    """Ask for the run's unfinished and uncollected tasks, whoever submitted them."""

    number: int
    run: str = ""
    """A hosted run to look at instead of the client's own; '': its own."""


class Ping(Record, tag=7, frozen=True):
    """Still here."""

    follows: int = 0
    """Bytes of a large frame that comes next, see `patience`."""


class Bye(Record, tag=8, frozen=True):
    """The session ends. `cancel`: its tasks too, unless another client is attached to the run."""

    cancel: bool


class Ask(Record, tag=9, frozen=True):
    """A question or an order to the interchange, see `blockyard.wire.control`. `question` is its encoded form."""

    number: int
    question: msgspec.Raw


class Put(Record, tag=10, frozen=True):
    """A value that tasks will need: from now on `task`, a number like any other's, is a task that ended with it."""

    number: int
    """Of the submission; answered like one."""
    task: int
    """The task's number within its session."""
    body: Body


class Pool(Record, frozen=True):
    """A pool as clients see it."""

    name: str
    python: tuple[str, ...] = ()
    """Python versions of its managers; empty while there are none."""


class Welcome(Record, tag=1, frozen=True):
    """The session is open."""

    version: int
    run: str
    owner: bool
    pools: list[Pool]
    heartbeat: float
    max_tasks: int
    """How many tasks this client may have unfinished or uncollected."""
    max_bytes: int
    blobs: str = ""
    """Folder for large bodies; '' when this client is not near."""
    accepted: int = 0
    """Number of the last submission of this session that was taken in; 0 for none."""
    blob_threshold: int = 64 * 1024
    max_disk: int = 1 << 62
    """Bytes of all bodies, wherever they are kept; `max_bytes` counts those that are not in blobs."""
    monitoring: bool = False
    """What happens is told to a hub."""


class Accepted(Record, tag=2, frozen=True):
    """The journal holds submission `number` and all before it."""

    number: int


class Outcomes(Record, tag=3, frozen=True):
    """Results, recorded before they are sent. Each frame is credited back by `Collect`."""

    outcomes: list[Outcome]
    accepted: int = 0
    """What `Accepted` would say besides; 0: nothing."""


class Refused(Record, tag=4, frozen=True):
    """The peer's fault, in words. `number`: of the submission, or 0 for the connection as a whole."""

    number: int
    kind: str
    message: str


class WhoAreYou(Record, tag=5, frozen=True):
    """The interchange does not know this connection (it was restarted): say `Hello`."""


class Pong(Record, tag=6, frozen=True):
    """Still here, too."""

    follows: int = 0
    """As in `Ping`."""


class Credit(Record, tag=7, frozen=True):
    """From now on this client may have so many tasks and bytes unfinished or uncollected."""

    max_tasks: int
    max_bytes: int
    max_disk: int = 1 << 62


class TakenOver(Record, tag=8, frozen=True):
    """Another client owns the run now."""

    message: str


class Attached(Record, tag=9, frozen=True):
    """Answer to `Reattach`: tasks with their names; the outcomes of those that ended follow."""

    number: int
    tasks: list[int]
    names: list[str]


class Reply(Record, tag=10, frozen=True):
    """Answer to `Ask`."""

    number: int
    answer: msgspec.Raw


class Started(Record, tag=11, frozen=True):
    """These tasks were handed to a worker's manager."""

    tasks: list[int]


FromClient = Hello | Register | Submit | Cancel | Collect | Reattach | Ping | Bye | Ask | Put
ToClient = Welcome | Accepted | Outcomes | Refused | WhoAreYou | Pong | Credit | TakenOver | Attached | Reply | Started
