"""What a managed task may say, and the points of its life at which hooks run. Pure names; nothing happens here.

`Signal` travels between task and executor, see docs/managed-protocol.md. The first eleven have the meaning that LUTE
gives them (docs/lute.md). `Point` is what the executor sees by itself. A hook is for one of either.
"""

from enum import StrEnum
from typing import Final, TypeAlias

from blockyard.errors import ConfigError
from blockyard.suggestion import hint


class Signal(StrEnum):
    """Names on the channel."""

    NO_PICKLE_MODE = "NO_PICKLE_MODE"
    """Text mode: from here on a line that is no message is a line of log. (Nothing is ever pickled here.)"""
    TASK_STARTED = "TASK_STARTED"
    TASK_FAILED = "TASK_FAILED"
    TASK_STOPPED = "TASK_STOPPED"
    TASK_DONE = "TASK_DONE"
    TASK_CANCELLED = "TASK_CANCELLED"
    TASK_RESULT = "TASK_RESULT"
    TASK_LOG = "TASK_LOG"
    TASK_REQUEST = "TASK_REQUEST"
    TASK_RESPONSE = "TASK_RESPONSE"
    """The only one that goes from executor to task."""
    TASK_METADATA = "TASK_METADATA"
    TASK_HEARTBEAT = "TASK_HEARTBEAT"
    TASK_PROGRESS = "TASK_PROGRESS"
    TASK_METRIC = "TASK_METRIC"
    TASK_ARTEFACT = "TASK_ARTEFACT"


class Point(StrEnum):
    """Moments that the executor knows without being told."""

    ENV_READY = "ENV_READY"
    """The environment is complete; nothing runs yet."""
    BEFORE_EXEC = "BEFORE_EXEC"
    """The command is known and recorded."""
    CONTINUED = "CONTINUED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    TIMEOUT = "TIMEOUT"
    EXITED = "EXITED"
    """The program has ended; contents: `course.Exit`."""
    RECORDED = "RECORDED"
    """The record is complete; contents: `records.AnalysisConfig`."""
    FINALISED = "FINALISED"
    """Nothing more happens; contents: `records.ManagedResult`."""


Event: TypeAlias = Signal | Point
EVENTS: Final[dict[str, Event]] = {**{one.value: one for one in Signal}, **{one.value: one for one in Point}}


def event_named(name: str) -> Event:
    """The event of this name, in any case. Raises ConfigError with the nearest name when there is none."""
    found = EVENTS.get(name.upper())
    if found is None:
        raise ConfigError(f"hook: no event {name!r}; {hint(name.upper(), EVENTS)}there are: {', '.join(EVENTS)}")
    return found
