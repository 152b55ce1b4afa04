"""What happens when a try leaves other tasks to be done, whose results are its own."""

from blockyard.ids import inner_session, task_name
from blockyard.wire.monitoring import TryState
from blockyard.wire.records import Bundle, Calls, Failure, Group, Outcome, Status
from blockyard_interchange.core import ending, functions, outcomes, queueing, submit
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.entries import Submitted
from blockyard_interchange.core.state import Flag, Session, State, Task, TaskState


def on_join(state: State, task: Task, calls: Calls, now: float, seconds: float) -> None:
    """A task left others to be done: make them tasks of its run; its result will be theirs, its slot is free."""
    ending.settle(state, now)  # what it needed may have ended in the same message, and must not tell it when it joins
    if task.outcome is not None:
        return
    if task.waiting:
        failure = Failure("it was told to have run before what it needs")
        outcomes.lost(state, task, failure, now, suspected=False, loss=Loss.UNDELIVERED)
        return
    if state.notes is not None:
        state.notes.on_try(task, TryState.JOIN, seconds, now)
    task.manager = None
    functions.learn(state, [function for function in calls.functions if functions.is_genuine(function)])
    fault = _join_fault(state, task, calls)
    if fault:
        ending.finish(state, task, Outcome(task.id, task.epoch, Status.REFUSED, failure=Failure(fault)), now)
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


def finish(state: State, task: Task, now: float) -> None:
    """All that a task left to be done has been."""
    parts = [need.outcome.body for need in task.needs if need.outcome is not None]
    ending.finish(state, task, Outcome(task.id, task.epoch, Status.DONE, Bundle(parts)), now)


def join(state: State, task: Task, children: list[Task], now: float) -> None:
    """Make a task wait for its children; its result will be the list of theirs."""
    queueing.withdraw(state, task)
    for need in task.needs:
        if not need.flags & Flag.CHILD:
            ending.release(state, need)
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
        ending.follow(state, task, failed, now)
    elif not task.waiting:
        finish(state, task, now)


def abandon_children(state: State, children: list[Task]) -> None:
    """Let children of a task that has ended end for nobody."""
    for child in children:
        child.flags |= Flag.CHILD | Flag.COLLECTED | Flag.ABANDONED
        if child.outcome is not None:
            ending.free(state, child)


def children_of(state: State, session: Session) -> Session:
    """The inner session of this one, made when it is not there."""
    inner = inner_session(session.id)
    if inner not in state.sessions:
        state.sessions[inner] = Session(inner, b"", session.run, session.user)
        state.sessions[inner].is_held = session.is_held
    return state.sessions[inner]
