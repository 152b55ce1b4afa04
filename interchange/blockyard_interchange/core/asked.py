"""Questions and orders of clients that wait: for managers, see `polling`, for the hub, see `showing`, or for the end of
a run, see `run_ends`."""

import msgspec

from blockyard.ids import ManagerId, SessionId, TaskId
from blockyard.wire import hosted, hub
from blockyard.wire.records import Printed


class Poll(msgspec.Struct):
    """A client's question, while managers are asked; see `polling`."""

    session: SessionId
    number: int
    """Which the client gave it."""
    waiting: set[ManagerId] = set()
    """Managers that have not answered."""


class OutputAsked(Poll):
    """What a task printed."""

    tries: list[Printed] = []


class HoldAsked(Poll):
    """To stop a task's programs, or to let them go on; of session 0 when it is for a run."""

    name: str = ""
    """Of the task, for people."""
    task: TaskId = TaskId(0)
    epoch: int = 0
    held: bool = False
    run: str = ""
    count: int = 0
    why: str = ""


class Show(msgspec.Struct, frozen=True):
    """A client's question about events, while the hub looks for the answer; see `showing`."""

    session: SessionId
    number: int
    """Which the client gave it."""
    message: hub.Show


class RunAsked(msgspec.Struct, frozen=True):
    """A client's question about a hosted run, which is answered at its end."""

    question: hosted.Run
    until: float
    """When it is answered in any case, by the monotonic clock."""


class Asked:
    """All that is open. None of it is in the journal: who asked asks again."""

    __slots__ = ("count", "holds", "hub_heard_at", "hub_peer", "output", "run_ends", "run_holds", "shows")

    def __init__(self) -> None:
        self.count = 0
        """How many numbers were given to questions and orders, by which they are answered."""
        self.output: dict[int, OutputAsked] = {}
        """What tasks printed."""
        self.holds: dict[int, HoldAsked] = {}
        """Orders to stop programs."""
        self.run_holds: dict[int, HoldAsked] = {}
        """The same for runs: one for each task at a time."""
        self.shows: dict[int, Show] = {}
        """What clients that follow have asked the hub."""
        self.hub_peer = b""
        """The hub's connection that answers them; b'' while there is none."""
        self.hub_heard_at = 0.0
        """When it was heard last."""
        self.run_ends: dict[tuple[SessionId, int], RunAsked] = {}
        """What is answered when a hosted run ends; by the number which the client gave it."""
