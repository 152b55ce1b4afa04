"""Tasks on their way into the queue and out of it, and leases that end without an outcome."""

from blockyard_interchange.core import caching
from blockyard_interchange.core.pools import Manager, has_room
from blockyard_interchange.core.state import Flag, State, Task, TaskState


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


def forget(state: State, manager: Manager, task: Task) -> None:
    """End a lease; what the manager still sends for it is late."""
    if manager.leases.pop(task.id, None) is not None:
        manager.load -= task.order.slots
        has_room(manager)
        state.hungry[manager.pool.name] = manager.pool
