"""The states of a block, what may follow what, and the evidence for a state.

All that decides whether a report about a block is believable is in this file. It does no I/O and reads no clock;
`docs/states.md` is generated from the tables below. Who observes a state, and what follows from it, is left to
providers, to `ledger` and to the operator.

Names and numbers are Parsl's (`parsl/jobs/states.py`), so that people and stored numbers carry over. Unlike there,
MISSING is also the end of a block whose link was lost, and an end is final: nothing follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final, NewType

import msgspec

from blockyard.blocks.faults import IllegalTransition

JobId = NewType("JobId", str)
"""A provider's own name for the job that a block is."""

LAST_LINE_BYTES: Final = 300
"""Of the last line of a log, where a sentence ends with it."""

LOG_TAIL_BYTES: Final = 2048
"""At most this many bytes of a block's log travel with its status (Parsl's summary has the same size)."""

MESSAGE_BYTES: Final = 1024
"""At most this many bytes of `message`: it is shown in tables and, in a cluster, stored in a resource's status."""


class JobState(IntEnum):
    """Where a block is in its life. `str()` is the bare name, as in tables and databases."""

    UNKNOWN = 0
    PENDING = 1
    RUNNING = 2
    CANCELLED = 3
    COMPLETED = 4
    FAILED = 5
    TIMEOUT = 6
    HELD = 7
    MISSING = 8
    SCALED_IN = 9

    def __str__(self) -> str:
        return self.name

    @property
    def terminal(self) -> bool:
        """True when nothing can follow."""
        return self in MEANINGS_OF_ENDS


MEANINGS_OF_LIVING: Final[Mapping[JobState, str]] = MappingProxyType(
    {
        JobState.UNKNOWN: "the provider cannot tell for now",
        JobState.PENDING: "asked for, not started",
        JobState.RUNNING: "its program runs; says nothing about managers having registered",
        JobState.HELD: "suspended by the system that runs it",
    }
)

MEANINGS_OF_ENDS: Final[Mapping[JobState, str]] = MappingProxyType(
    {
        JobState.CANCELLED: "ended because somebody asked the provider to",
        JobState.COMPLETED: "its program ended by itself with exit code 0",
        JobState.FAILED: "could not be started, ended with another exit code, or was killed",
        JobState.TIMEOUT: "reached its walltime, or was preempted: expected, no error",
        JobState.MISSING: "the link to it was lost, or it ended before any of its managers registered",
        JobState.SCALED_IN: "drained and removed by its pool",
    }
)

MOVES: Final[Mapping[tuple[JobState, JobState], str]] = MappingProxyType(
    {
        (JobState.UNKNOWN, JobState.PENDING): "the provider answers again; it has not started",
        (JobState.UNKNOWN, JobState.RUNNING): "the provider answers again; it runs",
        (JobState.UNKNOWN, JobState.HELD): "the provider answers again; it is held",
        (JobState.PENDING, JobState.UNKNOWN): "the provider stopped answering",
        (JobState.PENDING, JobState.RUNNING): "its program was started",
        (JobState.PENDING, JobState.HELD): "held before it started",
        (JobState.RUNNING, JobState.UNKNOWN): "the provider stopped answering",
        (JobState.RUNNING, JobState.HELD): "suspended while it ran",
        (JobState.HELD, JobState.UNKNOWN): "the provider stopped answering",
        (JobState.HELD, JobState.PENDING): "released; it has not started",
        (JobState.HELD, JobState.RUNNING): "released; it runs on",
    }
)
"""Legal moves between living states, each with its cause. Any living state may also move to any end.

RUNNING to PENDING is left out on purpose: a batch system that requeues a job has lost the block with all its
managers, so its provider reports that job as TIMEOUT (preempted) and what comes back is a new block.
"""


def is_legal(old: JobState, new: JobState) -> bool:
    """Tell whether `new` may follow `old`. Staying in a state is always legal: it brings newer evidence."""
    if old is new:
        return True
    if old.terminal:
        return False
    return new.terminal or (old, new) in MOVES


class JobStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of a block and the evidence for it.

    `reason` is one CamelCase word for machines, `message` a sentence for people. `exit_code` is set when a program
    ended by itself, `signal` when it was killed by one; never both. `started_at` and `ended_at` are UTC epoch seconds.
    `node` is where it ran. `log_tail` holds the last bytes of its log; longer ones are cut at the front.
    """

    state: JobState
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    node: str = ""
    log_tail: str = ""

    def __post_init__(self) -> None:
        if self.exit_code is not None and self.signal is not None:
            raise ValueError(f"exit_code={self.exit_code} and signal={self.signal}: a program ends by one of the two")
        if len(self.log_tail) * 4 > LOG_TAIL_BYTES:
            msgspec.structs.force_setattr(self, "log_tail", last_bytes(self.log_tail, LOG_TAIL_BYTES))
        if len(self.message) * 4 > MESSAGE_BYTES:
            msgspec.structs.force_setattr(self, "message", first_bytes(self.message, MESSAGE_BYTES))

    @property
    def terminal(self) -> bool:
        return self.state.terminal

    @property
    def in_words(self) -> str:
        """The message and, when there is a log, its last line, which most often names the cause."""
        last = first_bytes(self.log_tail.rstrip().rpartition("\n")[2].strip(), LAST_LINE_BYTES)
        return f"{self.message}; its log ends with: {last}" if last else self.message


def last_bytes(text: str, limit: int) -> str:
    """Return the end of `text`, at most `limit` bytes of UTF-8, never half a character."""
    return text.encode("utf-8", "replace")[-limit:].decode("utf-8", "ignore")


def first_bytes(text: str, limit: int) -> str:
    """Return the beginning of `text`, at most `limit` bytes of UTF-8, never half a character."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def advance(old: JobStatus, new: JobStatus) -> JobStatus:
    """Return `new` with the evidence of `old` that it does not repeat.

    The first known start is kept, and so is an end's first evidence: a later report may fill gaps, never rewrite.
    Raises IllegalTransition, naming both states, when the table does not allow the move.
    """
    if not is_legal(old.state, new.state):
        hint = "an end is final" if old.terminal else "this move is not in the table of transitions"
        raise IllegalTransition(old.state, new.state, hint)
    if new.state is JobState.PENDING and old.started_at is not None:
        raise IllegalTransition(old.state, new.state, f"it had started at {old.started_at}")
    first, second = (old, new) if old.terminal else (new, old)
    same = old.state is new.state
    code, signum = first.exit_code, first.signal
    if code is None and signum is None and same:
        code, signum = second.exit_code, second.signal
    return JobStatus(
        state=new.state,
        reason=first.reason or (second.reason if same else ""),
        message=first.message or (second.message if same else ""),
        exit_code=code,
        signal=signum,
        started_at=old.started_at if old.started_at is not None else new.started_at,
        ended_at=(first.ended_at if first.ended_at is not None else second.ended_at) if new.terminal else None,
        node=first.node or second.node,
        log_tail=first.log_tail or second.log_tail,
    )


class Ending(StrEnum):
    """Why a pool itself ends a block."""

    SCALE_IN = "scale-in"
    WALLTIME = "walltime"
    UNREGISTERED = "unregistered"


def read_end(end: JobStatus, ending: Ending | None, *, registered: bool) -> JobStatus:
    """Read a provider's report of an end as the pool sees it. `registered`: a manager of the block ever was.

    What the pool drained is SCALED_IN (or TIMEOUT, before its walltime), however its program ended. What ended by
    itself before any manager registered is MISSING, as in Parsl. The provider's evidence is kept.
    """
    said = f"{end.state}: {end.message}" if end.message else str(end.state)
    match ending:
        case Ending.SCALE_IN:
            return _reread(end, JobState.SCALED_IN, "ScaledIn", f"removed by its pool ({said})")
        case Ending.WALLTIME:
            return _reread(end, JobState.TIMEOUT, "Walltime", f"drained before its walltime ({said})")
        case Ending.UNREGISTERED:
            return _reread(end, JobState.MISSING, "NoManager", f"ran too long without a registered manager ({said})")
        case None:
            if registered or end.state not in (JobState.FAILED, JobState.COMPLETED):
                return end
            return _reread(end, JobState.MISSING, "NeverRegistered", f"ended before a manager registered ({said})")


def _reread(end: JobStatus, state: JobState, reason: str, message: str) -> JobStatus:
    return msgspec.structs.replace(end, state=state, reason=reason, message=message)
