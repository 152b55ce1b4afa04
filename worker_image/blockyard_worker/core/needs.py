"""What a try waits for: results of other tries, and its function."""

import enum

from blockyard.wire.manager import Wanted
from blockyard.wire.records import Need, Status
from blockyard_worker.core import effects
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Try
from blockyard_worker.core.workers import Worker


class Fit(enum.Enum):
    """Whether a try may be given out."""

    NOW = enum.auto()
    LATER = enum.auto()
    """It was set aside until what it needs has ended."""
    NEVER = enum.auto()
    """What it needs failed or is not here."""


def is_gone(state: State, attempt: Try) -> bool:
    """Whether a try that still stands in the queue has ended or been handed back meanwhile."""
    return attempt.outcome is not None or state.held.get(attempt.assigned.task) is not attempt


def fit(state: State, attempt: Try, worker: Worker | None = None) -> Fit:
    """Look at what a try needs: results that are here are put in; for one that is still to come it is set aside.

    Of those that its call is not given a worker must know only what is in the same frame, whose failure it sees first.

    `worker`: what is in the frame that is being made for this worker (numbered ``frames + 1``) will be there in time.
    """
    needs, uses, is_changed, found = attempt.assigned.needs, attempt.kind.spec.uses, False, Fit.NOW
    for index, need in enumerate(needs):
        if need.body is not None:
            continue
        other = state.held.get(need.task)
        if other is None:
            return Fit.NEVER
        if other.outcome is not None:
            if other.outcome.status is not Status.DONE:
                return Fit.NEVER
            needs[index] = Need(need.task, other.outcome.body if uses < 0 or index < uses else b"")
            is_changed = True
        elif worker is None or other.worker != worker.number or other.frame != worker.frames + 1:
            if other.waiters is None:
                other.waiters = []
            other.waiters.append(attempt)
            found = Fit.LATER
            break
    if is_changed and 0 <= uses < len(needs):
        needs[uses:] = [need for need in needs[uses:] if need.body is None]
    return found


def await_function(state: State, attempt: Try) -> None:
    """Set a try aside until its function has come; ask for that once."""
    name = attempt.kind.function
    if name not in state.unknown:
        state.effects.append(effects.Tell(Wanted([name])))
    state.unknown.setdefault(name, []).append(attempt)
