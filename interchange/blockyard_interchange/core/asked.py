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
