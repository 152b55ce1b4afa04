"""Stops tries that are to end before they are done: cancelled, over their time, over their memory, or left at a drain.

The ladder: ask (`Interrupt` raises `Cancelled` in the task), after `grace` seconds SIGTERM to the worker and everything
below it, half a second later SIGKILL. What its managed tasks give their programs to end comes on top of it, unless
nobody waits for an outcome. A grace of 0 kills at once. Only a try that runs is asked; one that still waits
at a worker is taken back, and if it starts in that moment, the ladder begins when it is seen running.
"""

from collections.abc import Mapping
from typing import Final

from blockyard.wire.records import Lease, Outcome, Status
from blockyard_worker.core import effects, outcomes
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Try
from blockyard_worker.core.workers import Ending, Order, Worker
from blockyard_worker.records import Now

LAST_WORDS_SECONDS: Final = 0.5
"""Between SIGTERM and SIGKILL."""
LOOK_SECONDS: Final = 0.02
"""How often a worker is looked at while it is to end a try."""

Seen = Mapping[int, Now | None]
"""What each worker does, by number, read when it is asked for."""


def stop(state: State, attempt: Try, order: Order, now: float, seen: Seen) -> None:
    """End a try, wherever it is. Does nothing when it has ended or is being ended already."""
    if attempt.outcome is not None or attempt.is_cancelled:
        return
    if attempt.worker is None:
        outcomes.settle(state, attempt, outcomes.ordered(attempt, order, ""))
        return
    attempt.is_cancelled = True
    worker = state.workers[attempt.worker]
    worker.endings[attempt.assigned.task] = Ending(attempt, order)
    if len(worker.sent) > 1:
        # It may be among those that wait. If it runs, none of them may begin before what it leaves has been killed:
        # that is told apart from theirs by when it was started (`EndChildren`).
        state.effects.append(effects.Steal(worker.number, len(worker.sent)))
    advance(state, worker, seen.get(worker.number), now)


def stop_leases(state: State, leases: list[Lease], grace: float, now: float, seen: Seen, *, silent: bool) -> None:
    """End the tries of these leases that are still here; `silent`: their leases are over, nobody wants an outcome."""
    for lease in leases:
        attempt = state.held.get(lease.task)
        if attempt is None or attempt.assigned.epoch != lease.epoch:
            continue
        if silent:
            attempt.is_silent = True
            if attempt.outcome is not None:
                outcomes.forget(state, attempt)
        stop(state, attempt, Order(Status.CANCELLED, "cancelled", grace), now, seen)


def advance(state: State, worker: Worker, running: Now | None, now: float) -> None:
    """Take the next step with the try that runs on this worker, if it is to end."""
    ending = worker.endings.get(running.task) if running is not None else None
    if running is None or ending is None or not runs(running, ending.attempt) or ending.killed:
        return
    if ending.since is None:
        ending.since = now
    waited, grace = now - ending.since, ending.order.grace
    if grace > 0 and not ending.attempt.is_silent:
        grace += running.grace
    lease = ending.attempt.lease
    if waited < grace:
        state.effects.append(effects.Interrupt(worker.number, lease.task, lease.epoch))
    elif grace > 0 and waited < grace + LAST_WORDS_SECONDS:
        if not ending.terminated:
            ending.terminated = True
            state.effects.append(effects.EndTree(worker.number, kill=False))
    else:
        ending.killed = True
        state.effects.append(effects.EndTree(worker.number, kill=True))


def look_for_timeouts(state: State, worker: Worker, running: Now | None, now: float, seen: Seen) -> None:
    """End the try that runs on this worker when its time is over."""
    if running is None or not running.running or not worker.shortest_timeout:
        return
    attempt = state.held.get(running.task)
    if attempt is None or not runs(running, attempt) or not attempt.kind.timeout:
        return
    ran = now - running.since
    if ran >= attempt.kind.timeout:
        allowed = attempt.kind.timeout
        way = "allow more with options(timeout=…) or, of a workflow's step, with timeout; or split it"
        message = f"ran {ran:.3g} s, its timeout is {allowed:g} s; {way}"
        stop(state, attempt, Order(Status.TIMEOUT, message, state.policy.stop_grace), now, seen)


def next_timeout(state: State, worker: Worker, running: Now | None, now: float) -> float | None:
    """When to look at this worker again because of time limits; None: they do not matter to it."""
    if worker.endings:
        return now + LOOK_SECONDS
    if not worker.shortest_timeout:
        return None
    attempt = state.held.get(running.task) if running is not None and running.running else None
    if attempt is not None and attempt.kind.timeout and running is not None and runs(running, attempt):
        return running.since + attempt.kind.timeout
    return now + worker.shortest_timeout


def rewritten(worker: Worker, attempt: Try, outcome: Outcome) -> Outcome:
    """The outcome of a try that was to end: its own when it was done nevertheless, else what it was ended for."""
    order = worker.endings.pop(attempt.assigned.task).order
    if outcome.status is Status.DONE:
        return outcome
    return outcomes.ordered(attempt, order, "", outcome.seconds)


def runs(running: Now | None, attempt: Try) -> bool:
    """Whether it is this try that a worker runs."""
    return (
        running is not None
        and running.running
        and running.task == attempt.assigned.task
        and running.epoch == attempt.assigned.epoch
    )
