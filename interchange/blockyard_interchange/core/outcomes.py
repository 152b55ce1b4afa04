"""What happens when a try ends: its task ends with it, is tried again, or is given up."""

import heapq
import math
from typing import Final

from blockyard.ids import TaskId
from blockyard.wire import manager as wire
from blockyard.wire.monitoring import TryState
from blockyard.wire.records import Calls, Failure, Outcome, Status
from blockyard_interchange.core import ending, gangs, joins, queueing
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.entries import Counted
from blockyard_interchange.core.pools import Manager, has_room
from blockyard_interchange.core.stages import BOUNDS
from blockyard_interchange.core.state import Flag, FunctionEntry, Session, State, Task, TaskState

_MOST_DOUBLINGS = 30
"""Of a back-off: more would be centuries, and in the end no number any more."""
_MOST_SECONDS: Final = 3600.0
"""Longer tasks count as this long, when it is decided whose turn it is: what a manager says may be nonsense."""


def on_outcomes(  # noqa: PLR0915 - one pass over many outcomes: for each, a call would cost more than what it does
    state: State, manager: Manager, message: wire.Outcomes, now: float
) -> None:
    """Take in what a manager reports; what its lease no longer covers is refused and counted."""
    known = max(manager.recorded, state.effects.recorded.get(manager.id, 0))
    state.effects.recorded[manager.id] = max(known, message.number)
    if message.number <= known:
        return  # sent again with each `Joined`; it was taken in under its lease, so it is not late
    if message.packets and state.notes is not None:
        state.notes.on_packets(manager, message.packets)
    manager.heard_of = now
    manager.retracting = False
    leases, load = manager.leases, 0
    entry: FunctionEntry | None = None
    session: Session | None = None
    seconds, ran = 0.0, 0
    stages, since, same = manager.pool.stages, 0.0, 0
    brief, brief_seconds = 0, 0.0
    for outcome in message.outcomes:
        task = leases.get(TaskId(outcome.task))
        if task is None or task.epoch != outcome.epoch:
            manager.pool.counters.late += 1
            continue
        del leases[task.id]
        order = task.order
        load += order.slots
        if order.entry is not entry or order.session is not session:
            if entry is not None and session is not None:
                _learn(entry, session, seconds, ran)
            entry, session, seconds, ran = order.entry, order.session, 0.0, 0
        seconds += outcome.seconds
        ran += 1
        if task.since != since:
            stages.assigned.add(now - since, same)
            since, same = task.since, 0
        same += 1
        if outcome.seconds > BOUNDS[0]:
            stages.running.add(outcome.seconds)
        else:
            brief += 1
            brief_seconds += outcome.seconds
        if task.flags & Flag.GANG:
            gangs.on_part(state, manager, task, outcome, now)
        elif outcome.status is Status.DONE:
            ending.finish(state, task, outcome, now)
        else:
            decide(state, task, outcome, now)
    if entry is not None and session is not None:
        _learn(entry, session, seconds, ran)
        manager.pool.last_entry = entry
        stages.assigned.add(now - since, same)
        stages.running.add_brief(brief, brief_seconds)
    manager.load -= load
    manager.done += len(message.outcomes)
    has_room(manager)
    state.hungry[manager.pool.name] = manager.pool


def _learn(entry: FunctionEntry, session: Session, seconds: float, ran: int) -> None:
    """Move the averages: a batch counts as what it is, never more than half. What is no duration teaches nothing."""
    mean = seconds / ran
    if not 0.0 <= mean < math.inf:
        return
    weight = min(0.5, ran / 16)
    entry.seconds = mean if entry.seconds is None else entry.seconds + weight * (mean - entry.seconds)
    session.seconds = min(
        _MOST_SECONDS, session.seconds + weight * (mean - session.seconds) if session.seconds else mean
    )


def decide(state: State, task: Task, outcome: Outcome, now: float) -> None:
    """What becomes of a task whose try did not simply succeed."""
    match outcome.status:
        case Status.LOST:
            failure = outcome.failure or Failure("its worker was lost")
            lost(state, task, failure, now, suspected=True, seconds=outcome.seconds)
        case Status.CANCELLED if not task.flags & Flag.CANCELLING:
            # By order of an interchange that died before it recorded why. Who still wants that will say so again.
            failure = Failure("it was stopped by order of an interchange that was killed then")
            lost(state, task, failure, now, suspected=not task.order.spec.idempotent, loss=Loss.RESTART)
        case Status.JOIN if task.flags & Flag.CANCELLING:
            ending.finish(state, task, Outcome(task.id, task.epoch, Status.CANCELLED), now)
        case Status.JOIN:
            joins.on_join(state, task, outcome.calls or Calls([], []), now, outcome.seconds)
        case Status.RAISED | Status.TIMEOUT | Status.OUT_OF_MEMORY if (
            not task.flags & Flag.CANCELLING and task.failures < task.order.spec.retries and _may_retry(task, outcome)
        ):
            if state.notes is not None:
                state.notes.on_try(task, TryState(int(outcome.status)), outcome.seconds, now, outcome.failure)
            _retry(state, task, now)
        case _:
            ending.finish(state, task, outcome, now)


_LIMITS: Final = {
    Status.TIMEOUT: ("blockyard.errors.TaskTimeout",),
    Status.OUT_OF_MEMORY: ("blockyard.errors.OutOfMemory",),
}
"""What its future raises for a try that was ended for its limits, and so has raised nothing itself."""


def _may_retry(task: Task, outcome: Outcome) -> bool:
    wanted = task.order.spec.retry_on
    if not wanted:
        return True
    types = (*(outcome.failure.types if outcome.failure else ()), *_LIMITS.get(outcome.status, ()))
    return any(name in wanted or name.rpartition(".")[2] in wanted for name in types)


def _retry(state: State, task: Task, now: float) -> None:
    spec = task.order.spec
    task.failures += 1
    task.manager = None
    task.order.pool.counters.retried += 1
    count(state, task)
    if not spec.backoff:
        queueing.requeue(state, task, now)
        return
    task.state = TaskState.DELAYED
    heapq.heappush(
        state.timers, (now + spec.backoff * 2 ** min(task.failures - 1, _MOST_DOUBLINGS), task.id, task.epoch)
    )


def count(state: State, task: Task) -> None:
    """Journal a task's tries so far, and that the last of them is over: a manager may tell of it again."""
    if not task.order.volatile:
        state.effects.entries.append(Counted(task.id, task.failures, task.losses, task.epoch))


def lost(
    state: State, task: Task, failure: Failure, now: float, *, suspected: bool, loss: Loss = Loss.WORKER,
    seconds: float = 0.0,
) -> None:  # fmt: skip
    """A try ended by no fault of the user's: run the task again, unless it must not, or seems to be the cause.

    `suspected`: it was running, so that it may have brought down what it ran on. `seconds`: how long, 0 when nobody
    knows.
    """
    counters = task.order.pool.counters
    counters.lost += 1
    counters.losses[loss] = counters.losses.get(loss, 0) + 1
    if suspected:
        task.losses += 1
        count(state, task)
    most = task.order.pool.settings.max_losses
    if task.flags & Flag.CANCELLING:
        ending.finish(state, task, Outcome(task.id, task.epoch, Status.CANCELLED), now)
    elif not task.order.spec.idempotent and suspected:
        message = (
            "it was lost and is not idempotent, so it is not run again; see how far it came before you submit it anew: "
            f"{failure.message}"
        )
        ending.finish(state, task, _lost_outcome(task, message, failure, seconds), now)
    elif task.losses >= most:
        message = (
            f"it lost its worker {task.losses} times (at most {most}) and is taken for the cause; run it alone and "
            f"look at its memory, native code and exits: {failure.message}"
        )
        ending.finish(state, task, _lost_outcome(task, message, failure, seconds), now)
    else:
        if state.notes is not None:
            state.notes.on_try(task, TryState.LOST, seconds, now, failure, loss.value)
        queueing.requeue(state, task, now)


def _lost_outcome(task: Task, message: str, failure: Failure, seconds: float) -> Outcome:
    evident = Failure(message, failure.types, failure.evidence)
    return Outcome(task.id, task.epoch, Status.LOST, seconds=seconds, failure=evident)
