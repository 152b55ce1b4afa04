"""What happens when a try ends: recorded, tried again, or given up; and what follows for those that wait."""

import heapq
import math
from typing import Final

from blockyard.ids import TaskId, inner_session, task_name
from blockyard.wire import manager as wire
from blockyard.wire.monitoring import TryState
from blockyard.wire.records import Body, Bundle, Calls, Failure, Group, Outcome, Status, blob_bytes, body_bytes
from blockyard_interchange.core import caching, functions, gangs, rights, stored, submit, triggers
from blockyard_interchange.core.entries import Counted, Submitted
from blockyard_interchange.core.stages import BOUNDS
from blockyard_interchange.core.state import (
    Flag,
    FunctionEntry,
    Loss,
    Manager,
    Session,
    State,
    Task,
    TaskState,
    has_room,
)

_OVERHEAD_BYTES = 16
"""What an outcome costs in the journal besides its body, roughly."""
_RARE = Flag.GANG | Flag.CACHED
"""Flags that `finish` looks at together, so that a task with none of them pays once."""
_ECHOING = Flag.SHADOW | Flag.FOLLOWING
"""Tasks that end as another one does; looked at together for the same reason."""
_MOST_DOUBLINGS = 30
"""Of a back-off: more would be centuries, and in the end no number any more."""


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
    seconds, ran = 0.0, 0
    stages, since, same = manager.pool.stages, 0.0, 0
    brief, brief_seconds = 0, 0.0
    for outcome in message.outcomes:
        task = leases.get(TaskId(outcome.task))
        if task is None or task.epoch != outcome.epoch:
            manager.pool.counters.late += 1
            continue
        del leases[task.id]
        load += task.order.slots
        if task.order.entry is not entry:
            if entry is not None:
                _learn(entry, seconds, ran)
            entry, seconds, ran = task.order.entry, 0.0, 0
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
            finish(state, task, outcome, now)
        else:
            decide(state, task, outcome, now)
    if entry is not None:
        _learn(entry, seconds, ran)
        manager.pool.last_entry = entry
        stages.assigned.add(now - since, same)
        stages.running.add_brief(brief, brief_seconds)
    manager.load -= load
    manager.done += len(message.outcomes)
    has_room(manager)
    state.hungry[manager.pool.name] = manager.pool


def _learn(entry: FunctionEntry, seconds: float, ran: int) -> None:
    """Move the average: a batch counts as what it is, but never more than half. What is no duration teaches nothing."""
    mean = seconds / ran
    if not 0.0 <= mean < math.inf:
        return
    weight = min(0.5, ran / 16)
    entry.seconds = mean if entry.seconds is None else entry.seconds + weight * (mean - entry.seconds)


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
            finish(state, task, Outcome(task.id, task.epoch, Status.CANCELLED), now)
        case Status.JOIN:
            _join(state, task, outcome.calls or Calls([], []), now, outcome.seconds)
        case Status.RAISED | Status.TIMEOUT | Status.OUT_OF_MEMORY if (
            not task.flags & Flag.CANCELLING and task.failures < task.order.spec.retries and _may_retry(task, outcome)
        ):
            if state.notes is not None:
                state.notes.on_try(task, TryState(int(outcome.status)), outcome.seconds, now, outcome.failure)
            _retry(state, task, now)
        case _:
            finish(state, task, outcome, now)


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
        requeue(state, task, now)
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
        finish(state, task, Outcome(task.id, task.epoch, Status.CANCELLED), now)
    elif not task.order.spec.idempotent and suspected:
        message = (
            "it was lost and is not idempotent, so it is not run again; see how far it came before you submit it anew: "
            f"{failure.message}"
        )
        finish(state, task, _lost_outcome(task, message, failure, seconds), now)
    elif task.losses >= most:
        message = (
            f"it lost its worker {task.losses} times (at most {most}) and is taken for the cause; run it alone and "
            f"look at its memory, native code and exits: {failure.message}"
        )
        finish(state, task, _lost_outcome(task, message, failure, seconds), now)
    else:
        if state.notes is not None:
            state.notes.on_try(task, TryState.LOST, seconds, now, failure, loss.value)
        requeue(state, task, now)


def _lost_outcome(task: Task, message: str, failure: Failure, seconds: float) -> Outcome:
    evident = Failure(message, failure.types, failure.evidence)
    return Outcome(task.id, task.epoch, Status.LOST, seconds=seconds, failure=evident)


def requeue(state: State, task: Task, now: float) -> None:
    """Put a task back: to the head of its line, or to wait for what it needs."""
    task.manager = None
    order = task.order
    if task.waiting or order.session.is_held:
        task.state = TaskState.WAITING
        caching.resign(state, task, now)
        return
    task.state, task.since = TaskState.QUEUED, now
    if task.flags & Flag.GANG:
        order.pool.gangs.appendleft(task)
    else:
        order.pool.queue.push_front(task, priority=order.spec.priority, line=order.session.id)
        order.pool.queued_beyond += order.slots - 1
    state.hungry[order.pool.name] = order.pool


def make_ready(state: State, task: Task, now: float) -> None:
    """Queue a task that waited; one whose result is cached, or is being computed, need not run."""
    if not task.flags & Flag.CACHED or caching.may_run(state, task, now):
        requeue(state, task, now)


def withdraw(state: State, task: Task) -> None:
    """Take a task out of its queue."""
    if task.state is TaskState.QUEUED and not task.flags & Flag.GANG:
        task.order.pool.queue.withdraw()
        task.order.pool.queued_beyond -= task.order.slots - 1
    task.state = TaskState.WAITING


def finish(  # noqa: C901 - once a task: a call for each part would cost as much as the parts
    state: State, task: Task, outcome: Outcome, now: float
) -> None:
    """Record how a task ended, tell those who wait, and give it to its client. Final; called once for each task."""
    order = task.order
    pool, session = order.pool, order.session
    if task.state is TaskState.QUEUED:
        withdraw(state, task)
    if state.orphans:
        state.orphans.pop(task.id, None)
    if state.notes is not None:
        state.notes.on_end(task, outcome, now, is_try=task.state is TaskState.ASSIGNED)
    if task.flags & _RARE:
        state.hungry[pool.name] = pool  # the next in line of wide tasks may be first now
        caching.on_end(state, task, outcome, now)
    task.state, task.outcome = TaskState.ENDED, outcome  # who ran it stays known: only there its output can be read
    if not order.volatile:
        state.ended.append(outcome)
        state.effects.sync |= pool.settings.durability == "fsync"
    pool.counters.count(outcome.status)
    state.ending[order] += 1
    body = task.body
    shrunk = _size(outcome.body) - _size(body)
    if type(body) is not bytes or type(outcome.body) is not bytes:
        _exchange_blobs(state, session, body, outcome.body)
    task.body = b""
    session.bytes += shrunk
    state.bytes += shrunk
    if not order.volatile:
        state.live_bytes += shrunk + _OVERHEAD_BYTES
    if task.needs and not task.flags & Flag.SHADOW:
        for need in task.needs:
            release(state, need)
        task.needs = ()
    if task.dependents is not None or task.flags & Flag.ABANDONED:
        state.settling.append(task)
    if session.connected:
        session.out.append(outcome)
        state.talkative[session.id] = session
    if session.run.watchers and not task.flags & Flag.CHILD:
        _show_watchers(state, session, outcome)


def _exchange_blobs(state: State, session: Session, arguments: Body, result: Body) -> None:
    in_blobs = blob_bytes(result) - blob_bytes(arguments)
    session.blob_bytes += in_blobs
    state.blob_bytes += in_blobs
    stored.unlink(state, arguments)


def _show_watchers(state: State, session: Session, outcome: Outcome) -> None:
    for watcher in session.run.watchers:
        other = state.sessions.get(watcher)
        if watcher == session.id or other is None or not other.connected:
            continue
        if rights.may_see(state, other, state.tasks[TaskId(outcome.task)]):
            other.out.append(outcome)
            state.talkative[watcher] = other


def _size(body: Body) -> int:
    return len(body) if type(body) is bytes else body_bytes(body)


def settle(state: State, now: float) -> None:
    """Tell the dependents of tasks that ended, and theirs, and so on; a loop, because chains are long."""
    while state.settling:
        task = state.settling.pop()
        dependents, task.dependents = task.dependents or (), None
        for other in dependents:
            if other.state is not TaskState.ENDED:
                _tell(state, other, task, now)
        if task.flags & Flag.ABANDONED:
            free(state, task)


def _tell(state: State, other: Task, ended: Task, now: float) -> None:
    outcome = ended.outcome
    assert outcome is not None, f"task {task_name(ended.id)} settles before it ended"
    if other.flags & _ECHOING:
        if other.flags & Flag.SHADOW:
            finish(state, other, submit.echo(other, outcome), now)
        else:
            caching.on_leader_ended(state, other, outcome, now)
    elif other.order.is_ruled and other.state is not TaskState.JOINING:
        if other.waiting:  # else it was decided before, and this is one of those that it does not wait for any more
            other.waiting -= 1
            if consider(state, other, now):
                make_ready(state, other, now)
    elif outcome.status is not Status.DONE:
        follow(state, other, ended, now)
    else:
        other.waiting -= 1
        if not other.waiting:
            match other.state:
                case TaskState.WAITING:
                    make_ready(state, other, now)
                case TaskState.JOINING:
                    _finish_join(state, other, now)


def consider(state: State, task: Task, now: float) -> bool:
    """Whether a task whose trigger or condition decides is to be queued now; one that will never run is ended here."""
    spec = task.order.spec
    match triggers.decide(spec.trigger, [triggers.status_of(need) for need in task.needs]):
        case triggers.Verdict.FAIL:
            follow(state, task, triggers.first_failed(task.needs), now)
            return False
        case triggers.Verdict.SKIP:
            _skip(state, task, f"by its trigger, {spec.trigger.name.lower()}", now)
            return False
        case triggers.Verdict.WAIT:
            return False
    if spec.condition is not None and task.waiting:
        return False  # it is judged once, on what does not change any more, so that a replay judges the same
    judged = triggers.judge(task)
    if isinstance(judged, str):
        failure = Failure(judged, ["blockyard.errors.ConfigError"])
        finish(state, task, Outcome(task.id, task.epoch, Status.REFUSED, failure=failure), now)
        return False
    if not judged:
        _skip(state, task, "its condition does not hold", now)
        return False
    triggers.detach(task)
    return True


def _skip(state: State, task: Task, why: str, now: float) -> None:
    finish(state, task, Outcome(task.id, task.epoch, Status.SKIPPED, failure=Failure(f"it was skipped: {why}")), now)


def follow(state: State, task: Task, ended: Task, now: float) -> None:
    """End a task as one that it needs has ended: skipped, or not run for a failure."""
    if ended.outcome is not None and ended.outcome.status is Status.SKIPPED:
        _skip(state, task, f"{ended.own_name or task_name(ended.id)}, which it needs, was", now)
    else:
        fail_dependent(state, task, first_cause(ended), now)


def first_cause(task: Task) -> Failure:
    """The failure to hand on to dependents: always the first in the chain."""
    outcome = task.outcome
    if outcome is None:
        return Failure(f"task {task_name(task.id)} did not end")
    if outcome.status is Status.DEPENDENCY and outcome.failure is not None:
        return outcome.failure
    failure = outcome.failure or Failure(outcome.status.name.lower())
    message = f"task {task_name(task.id)} ({task.label}) ended first: {failure.message}"
    return Failure(message, failure.types, failure.evidence, task.id)


def fail_dependent(state: State, task: Task, cause: Failure | str, now: float) -> None:
    """End a task that can't run because of another one."""
    failure = cause if isinstance(cause, Failure) else Failure(cause)
    if task.manager is not None:
        forget(state, task.manager, task)  # the manager sees the failure itself and hands the try back
        task.manager = None
    finish(state, task, Outcome(task.id, task.epoch, Status.DEPENDENCY, failure=failure), now)


def forget(state: State, manager: Manager, task: Task) -> None:
    """End a lease; what the manager still sends for it is late."""
    if manager.leases.pop(task.id, None) is not None:
        manager.load -= task.order.slots
        has_room(manager)
        state.hungry[manager.pool.name] = manager.pool


def release(state: State, need: Task) -> None:
    """Note that one task less needs this one."""
    need.users -= 1
    if need.users:
        return
    if need.outcome is None:
        if need.flags & Flag.CHILD:  # what `join` made goes on when the join has failed, but for nobody
            need.flags |= Flag.ABANDONED
    elif need.flags & Flag.COLLECTED:
        free(state, need)
    elif need.flags & Flag.GIVEN and need.outcome is not None:
        stored.unlink(state, need.outcome.body)


def free(state: State, task: Task) -> None:
    """Forget an ended task, unless another one still needs its result."""
    if task.users:
        task.flags |= Flag.COLLECTED
        return
    if state.tasks.pop(task.id, None) is None:
        return
    order, outcome = task.order, task.outcome
    assert outcome is not None, f"task {task_name(task.id)} is freed before it ended"
    size = _size(outcome.body)
    order.session.tasks -= 1
    order.pool.tasks -= 1
    order.session.bytes -= size
    state.bytes -= size
    if type(outcome.body) is not bytes:
        in_blobs = blob_bytes(outcome.body)
        order.session.blob_bytes -= in_blobs
        state.blob_bytes -= in_blobs
    if not order.volatile:
        state.live_bytes -= size + order.share + 2 * _OVERHEAD_BYTES
    if task.flags & Flag.SHADOW:
        release(state, task.needs[0])
    elif type(outcome.body) is not bytes and not task.flags & Flag.CHILD:
        stored.unlink(state, outcome.body)
    if not order.volatile:
        state.freed.append(task.id)
    if task.flags & Flag.KEYED:
        del state.keys[state.key_of.pop(task.id)]
    functions.release(state, order.entry)


def _join(state: State, task: Task, calls: Calls, now: float, seconds: float) -> None:
    """A task left others to be done: make them tasks of its run; its result will be theirs, its slot is free."""
    settle(state, now)  # what it needed may have ended in the same message, and must not tell it when it joins
    if task.outcome is not None:
        return
    if task.waiting:
        lost(state, task, Failure("it was told to have run before what it needs"), now, suspected=False,
             loss=Loss.UNDELIVERED)  # fmt: skip
        return
    if state.notes is not None:
        state.notes.on_try(task, TryState.JOIN, seconds, now)
    task.manager = None
    functions.learn(state, [function for function in calls.functions if functions.is_genuine(function)])
    fault = _join_fault(state, task, calls)
    if fault:
        finish(state, task, Outcome(task.id, task.epoch, Status.REFUSED, failure=Failure(fault)), now)
        functions.forget_unused(state, [function.id for function in calls.functions])
        return
    session = children_of(state, task.order.session)
    base = session.next_number
    groups: list[Group] = []
    for group in calls.groups:
        groups.append(Group(group.spec, base, group.bodies))
        base += len(group.bodies)
    at = submit.stamp(state, now)
    children = submit.add(state, session, groups, at, now, task.id)
    submit.forbid_older_leases(children, state.opening)
    if not task.order.volatile:
        state.effects.entries.append(Submitted(session.id, at, groups, 0, task.id, opening=state.opening))
    functions.forget_unused(state, [function.id for function in calls.functions])
    join(state, task, children, now)


def _join_fault(state: State, task: Task, calls: Calls) -> str:
    """What is wrong with calls that a task left: a worker may be of any kind, and may speak for its own pool only."""
    python = task.order.entry.function.python
    for place, group in enumerate(calls.groups):
        where = f"join of task {task_name(task.id)}, group {place}"
        if group.spec.pool != task.order.pool.name:
            return f"{where}: pool {group.spec.pool!r} was named, the task is of pool {task.order.pool.name!r}"
        fault = submit.group_fault(state, group, where, python)
        if fault is not None:
            return fault[1]
    return ""


def _finish_join(state: State, task: Task, now: float) -> None:
    parts = [need.outcome.body for need in task.needs if need.outcome is not None]
    finish(state, task, Outcome(task.id, task.epoch, Status.DONE, Bundle(parts)), now)


def join(state: State, task: Task, children: list[Task], now: float) -> None:
    """Make a task wait for its children; its result will be the list of theirs."""
    withdraw(state, task)
    for need in task.needs:
        if not need.flags & Flag.CHILD:
            release(state, need)
    task.state = TaskState.JOINING
    task.needs = tuple(children)
    task.waiting = sum(child.outcome is None for child in children)
    for child in children:
        if not child.flags & Flag.CHILD:
            child.flags |= Flag.CHILD | Flag.COLLECTED
            child.users += 1
            child.dependents = [task]
    failed = next((child for child in children if child.outcome and child.outcome.status is not Status.DONE), None)
    if failed is not None:
        follow(state, task, failed, now)
    elif not task.waiting:
        _finish_join(state, task, now)


def abandon_children(state: State, children: list[Task]) -> None:
    """Let children of a task that has ended end for nobody."""
    for child in children:
        child.flags |= Flag.CHILD | Flag.COLLECTED | Flag.ABANDONED
        if child.outcome is not None:
            free(state, child)


def children_of(state: State, session: Session) -> Session:
    """The inner session of this one, made when it is not there."""
    inner = inner_session(session.id)
    if inner not in state.sessions:
        state.sessions[inner] = Session(inner, b"", session.run, session.user)
        state.sessions[inner].is_held = session.is_held
    return state.sessions[inner]
