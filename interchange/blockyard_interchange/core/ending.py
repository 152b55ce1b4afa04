"""What happens when a task ends: it is recorded, told to those who wait, and freed when nobody needs it any more."""

from blockyard.ids import TaskId, task_name
from blockyard.wire.records import Body, Failure, Outcome, Status, Trigger, blob_bytes, body_bytes
from blockyard_interchange.core import caching, functions, joins, queueing, rights, stored, submit, triggers
from blockyard_interchange.core.state import Flag, Session, State, Task, TaskState

_OVERHEAD_BYTES = 16
"""What an outcome costs in the journal besides its body, roughly."""
_RARE = Flag.GANG | Flag.CACHED
"""Flags that `finish` looks at together, so that a task with none of them pays once."""
_ECHOING = Flag.SHADOW | Flag.FOLLOWING
"""Tasks that end as another one does; looked at together for the same reason."""


def finish(  # noqa: C901 - once a task: a call for each part would cost as much as the parts
    state: State, task: Task, outcome: Outcome, now: float
) -> None:
    """Record how a task ended, tell those who wait, and give it to its client. Final; called once for each task."""
    order = task.order
    pool, session = order.pool, order.session
    if task.state is TaskState.QUEUED:
        queueing.withdraw(state, task)
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
                queueing.make_ready(state, other, now)
    elif outcome.status is not Status.DONE:
        follow(state, other, ended, now)
    else:
        other.waiting -= 1
        if not other.waiting:
            match other.state:
                case TaskState.WAITING:
                    queueing.make_ready(state, other, now)
                case TaskState.JOINING:
                    joins.finish(state, other, now)


def consider(state: State, task: Task, now: float) -> bool:
    """Whether a task whose trigger or condition decides is to be queued now; one that will never run is ended here."""
    spec = task.order.spec
    match triggers.decide(spec.trigger, [triggers.status_of(need) for need in task.needs]):
        case triggers.Verdict.FAIL:
            follow(state, task, triggers.first_failed(task.needs), now)
            return False
        case triggers.Verdict.SKIP if spec.trigger is Trigger.ALL_SUCCESS:  # which nobody wrote: it has a condition
            follow(state, task, triggers.first_skipped(task.needs), now)
            return False
        case triggers.Verdict.SKIP:
            _skip(state, task, f"by its trigger, {spec.trigger.word}", now)
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
        is_part = task.state is TaskState.JOINING and ended.label == task.label  # of a sweep; a join's have own names
        fail_dependent(state, task, first_cause(ended, f"[{task.needs.index(ended)}]" if is_part else ""), now)


def first_cause(task: Task, place: str = "") -> Failure:
    """The failure to hand on to dependents: always the first in the chain. `place`: behind the task's name."""
    outcome = task.outcome
    if outcome is None:
        return Failure(f"task {task_name(task.id)} did not end")
    if outcome.status is Status.DEPENDENCY and outcome.failure is not None:
        return outcome.failure
    failure = outcome.failure or Failure(outcome.status.name.lower())
    message = f"task {task_name(task.id)} ({task.label}{place}) ended first: {failure.message}"
    return Failure(message, failure.types, failure.evidence, task.id)


def fail_dependent(state: State, task: Task, cause: Failure | str, now: float) -> None:
    """End a task that can't run because of another one."""
    failure = cause if isinstance(cause, Failure) else Failure(cause)
    if task.manager is not None:
        queueing.forget(state, task.manager, task)  # the manager sees the failure itself and hands the try back
        task.manager = None
    finish(state, task, Outcome(task.id, task.epoch, Status.DEPENDENCY, failure=failure), now)


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
    elif need.flags & Flag.GIVEN:
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
