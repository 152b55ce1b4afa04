"""The states of a managed task and the moves between them. Pure."""

from enum import IntEnum
from types import MappingProxyType
from typing import Final


class TaskStatus(IntEnum):
    """Numbers 0 to 6 are LUTE's. `str()` is the bare name, as of a `JobState`."""

    PENDING = 0
    RUNNING = 1
    COMPLETED = 2
    FAILED = 3
    STOPPED = 4
    """Its processes are held; they can go on."""
    CANCELLED = 5
    TIMEDOUT = 6
    LOST = 7
    """What watched it is gone: how it ended is not known."""
    SKIPPED = 8
    """It was never started, on purpose: what comes before it raised `TaskSkipped`."""

    def __str__(self) -> str:
        return self.name

    @property
    def is_terminal(self) -> bool:
        """Whether nothing comes after it."""
        return not MOVES[self]

    @property
    def is_well(self) -> bool:
        """Whether it ended as it should: it completed, or was skipped on purpose."""
        return self in (TaskStatus.COMPLETED, TaskStatus.SKIPPED)


_S = TaskStatus
MOVES: Final = MappingProxyType(
    {
        _S.PENDING: frozenset({_S.RUNNING, _S.FAILED, _S.CANCELLED, _S.TIMEDOUT, _S.LOST, _S.SKIPPED}),
        _S.RUNNING: frozenset({_S.STOPPED, _S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.TIMEDOUT, _S.LOST}),
        _S.STOPPED: frozenset({_S.RUNNING, _S.COMPLETED, _S.FAILED, _S.CANCELLED, _S.TIMEDOUT, _S.LOST}),
        _S.COMPLETED: frozenset[TaskStatus](),
        _S.FAILED: frozenset[TaskStatus](),
        _S.CANCELLED: frozenset[TaskStatus](),
        _S.TIMEDOUT: frozenset[TaskStatus](),
        _S.LOST: frozenset[TaskStatus](),
        _S.SKIPPED: frozenset[TaskStatus](),
    }
)
"""State to the states that may follow it."""


def may_follow(before: TaskStatus, after: TaskStatus) -> bool:
    """Whether `after` may come next. A terminal state is followed by nothing, so the first one wins."""
    return after in MOVES[before]
