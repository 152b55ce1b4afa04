"""How tries leave the worker's side: as an outcome, held until it is recorded, or handed back unstarted."""

import math
from typing import Final

from blockyard.wire.manager import Outcomes, Returned
from blockyard.wire.records import Failure, Outcome, Status
from blockyard_worker.core import effects
from blockyard_worker.core.state import COMPANY, State
from blockyard_worker.core.tries import Try
from blockyard_worker.core.workers import Order

COMPANY_SECONDS: Final = COMPANY.least
"""How long outcomes wait for others at least; of short tries a worker has held the first for 5 ms already."""
MOST_COMPANY_SECONDS: Final = 0.012
"""How long they wait at most, when the first of them ran for so long."""
ENOUGH: Final = 256
"""Outcomes that wait for no others."""
MANY: Final = 20
"""What a frame of a lasting crowd should hold."""
DRAIN_RETURN_SECONDS: Final = 0.25
"""While draining, what is still assigned goes back at most so often: the interchange may not know of the drain yet."""


def failure(attempt: Try, status: Status, message: str, evidence: str = "", seconds: float = 0.0) -> Outcome:
    """An outcome that the manager made, not the worker."""
    return failed(attempt, status, Failure(message, evidence=evidence), seconds)


def failed(attempt: Try, status: Status, failure: Failure, seconds: float = 0.0) -> Outcome:
    """The same, of a failure with more to it."""
    return Outcome(attempt.lease.task, attempt.lease.epoch, status, b"", seconds, failure)


def ordered(attempt: Try, order: Order, evidence: str, seconds: float = 0.0) -> Outcome:
    """The outcome of a try that was ended by order."""
    failure = Failure(order.message, evidence=evidence, peak_bytes=order.peak_bytes, limit_bytes=order.limit_bytes)
    return failed(attempt, order.status, failure, seconds)


def settle(state: State, attempt: Try, outcome: Outcome) -> None:
    """A try has ended. Tries that were set aside for it go on, or back."""
    attempt.outcome, attempt.worker = outcome, None
    state.out_of_memory += outcome.status is Status.OUT_OF_MEMORY
    if attempt.is_silent:
        forget(state, attempt)
    else:
        state.pending.append(outcome)
    wake(state, attempt)


def wake(state: State, attempt: Try) -> None:
    """A try has ended or is gone: look again at those that were set aside for it, before everything else."""
    if attempt.waiters:
        state.ready.extendleft(reversed(attempt.waiters))
        attempt.waiters = None


def hand_back(state: State, attempt: Try) -> None:
    """Give a try that was not started back to the interchange, unless its lease is over anyway."""
    forget(state, attempt)
    if not attempt.is_silent:
        state.returned.append(attempt.lease)
    wake(state, attempt)


def forget(state: State, attempt: Try) -> None:
    """Drop a try from the table, if it is still this try that stands there."""
    if state.held.get(attempt.assigned.task) is attempt:
        del state.held[attempt.assigned.task]
    attempt.worker = None


def flush(state: State, now: float) -> None:
    """Put what has gathered into messages, while there is a link; otherwise it waits.

    Outcomes go first: who gets back a try because what it needs failed must know of the failure by then.
    """
    if not state.is_joined:
        return
    if (state.pending or state.told) and _is_due(state, now):
        state.flush_at = math.inf
        state.outcomes_number += 1
        if state.pending:
            state.company.went(len(state.pending))
        state.unrecorded[state.outcomes_number] = state.pending
        told = state.told + state.uses_told()
        state.effects.append(effects.Tell(Outcomes(state.outcomes_number, state.pending, told)))
        if told:
            state.unrecorded_told[state.outcomes_number] = told
        state.pending, state.told = [], []
    if (state.returned or state.owes_answer) and now >= state.return_at:
        if state.is_draining:
            state.return_at = now + DRAIN_RETURN_SECONDS
        state.effects.append(effects.Tell(Returned(state.returned)))
        state.returned, state.owes_answer = [], False


def _is_due(state: State, now: float) -> bool:
    """Outcomes wait a little for those of other workers, while all of these have more to do and nobody wants for work.

    A turn of the interchange costs as much for one outcome as for ten. What is told before a try's end does not wait.
    """
    if not state.pending:
        return True
    patience = min(MOST_COMPANY_SECONDS, max(state.company.seconds, state.pending[0].seconds))
    state.flush_at = min(state.flush_at, now + patience)
    return (
        now >= (state.flush_at if len(state.pending) >= MANY else wake_at(state))
        or len(state.workers) < 2
        or len(state.pending) >= ENOUGH
        or state.is_draining
        or not all(worker.sent for worker in state.workers.values())
    )


def wake_at(state: State) -> float:
    """When what waits goes however little it is. In a crowd some worker will report before: to wake for less costs as
    much as some tasks of a millisecond, and by the clock alone frames would be the smaller the slower the machine."""
    return state.flush_at + 2 * (state.company.seconds - COMPANY.least)


def on_recorded(state: State, number: int) -> None:
    """The journal holds everything up to this number; nothing of it is needed any more."""
    held = state.held
    for sent in [sent for sent in state.unrecorded if sent <= number]:
        state.unrecorded_told.pop(sent, None)
        for outcome in state.unrecorded.pop(sent):
            attempt = held.get(outcome.task)
            if attempt is not None and attempt.outcome is outcome:
                del held[outcome.task]
