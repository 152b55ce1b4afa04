"""Why a task waits, or how it ended, in words."""

from typing import Final

from blockyard.ids import task_name
from blockyard.wire.records import Status
from blockyard_interchange.core.matching import ends_in_time, lasts
from blockyard_interchange.core.pools import Pool
from blockyard_interchange.core.state import Flag, State, Task, TaskState

_FAILED: Final = ("FAILED", "MISSING")
"""States of blocks that never came to be of use, see `blockyard.blocks.states.JobState`."""


def explain(state: State, task: Task, now: float) -> list[str]:
    """Sentences, the most important first."""
    sentences = [_state(state, task, now)]
    if task.failures:
        sentences.append(f"{task.failures} of its tries failed; it may be retried {task.order.spec.retries} times.")
    if task.losses:
        most = task.order.pool.settings.max_losses
        sentences.append(f"{task.losses} of its tries were lost with what they ran on; at {most} it is given up.")
    if task.outcome is not None and task.outcome.epoch and not task.flags & Flag.SHADOW:
        sentences.append(_place(task))
    elif task.flags & Flag.CANCELLING:
        sentences.append("It is being cancelled.")
    if task.outcome is not None and task.outcome.failure is not None and task.outcome.failure.evidence:
        sentences.append(f"Seen: {task.outcome.failure.evidence.strip()}")
    return sentences


def _state(state: State, task: Task, now: float) -> str:
    match task.state:
        case TaskState.WAITING:
            return _waiting(state, task)
        case TaskState.QUEUED:
            return _queued(state, task, now)
        case TaskState.ASSIGNED if task.manager is not None:
            manager = task.manager
            for name, seconds in manager.running:
                if name == task.id:
                    since = seconds + now - manager.last_seen
                    return f"It has been running for {since:.1f} s on {manager.node} in block {manager.block}."
            place = f"the manager on {manager.node} in block {manager.block}"
            if any(need.outcome is None for need in task.needs):
                return f"{_needing(task)} It is already with {place}, to run as soon as they have ended."
            return f"It is with {place}, to run next or running."
        case TaskState.DELAYED:
            return "Its last try failed; it waits for its back-off before the next one."
        case TaskState.JOINING:
            return f"It ran and left tasks to be done; {task.waiting} of them have not ended."
        case _:
            return _ended(task)


def _waiting(state: State, task: Task) -> str:
    leader = state.cache.following.get(task.id)
    if leader is not None:
        return f"Task {task_name(leader.id)} computes the same; this one ends with its result, or runs if that fails."
    if task.flags & Flag.SHADOW:
        return f"Task {task_name(task.needs[0].id)} has the same key; this one ends as that one ends."
    return _needing(task)


def _needing(task: Task) -> str:
    open_needs = [need for need in task.needs if need.outcome is None]
    names = ", ".join(task_name(need.id) for need in open_needs[:5])
    more = f" and {len(open_needs) - 5} more" if len(open_needs) > 5 else ""
    return f"It waits for {len(open_needs)} of the {len(task.needs)} tasks that it needs: {names}{more}."


def _queued(state: State, task: Task, now: float) -> str:
    pool = task.order.pool
    if not pool.is_defined:
        return f"Pool {pool.name!r} is not defined, or was removed: it waits until the pool is there, or is cancelled."
    if not pool.managers:
        return f"Pool {pool.name!r} has no manager yet; {_queue(pool)}.{_last_failure(pool)}"
    if state.awaited:
        return f"The interchange was restarted and waits for {len(state.awaited)} managers to come back."
    if task.flags & Flag.GANG:
        place = "first" if pool.gangs[0] is task else "not first"
        return f"It takes several managers of one block together and is {place} in line."
    free = [one for one in pool.idle.values() if one.workers - one.load >= task.order.slots]
    if free and not any(ends_in_time(one, task.order, now) for one in free):
        left = max(0.0, max(one.ends_at for one in free) - now)
        return (
            f"It may run for {lasts(task.order):.3g} s, longer than any block of pool {pool.name!r} with a free worker "
            f"has left of its walltime, {left:.3g} s; it waits for another. If none lives as long, give it less of a "
            "timeout, or the pool more walltime."
        )
    if free:
        return f"Pool {pool.name!r} has a free worker for it; it is about to be handed over."
    if all(manager.draining for manager in pool.managers.values()):
        return f"All managers of pool {pool.name!r} are leaving; it waits for others."
    if task.order.slots > 1:
        return (
            f"It takes {task.order.slots} workers of one manager together, and no manager of pool {pool.name!r} has as "
            f"many free; {_queue(pool)}."
        )
    workers = sum(manager.workers for manager in pool.managers.values())
    return f"All {workers} workers of pool {pool.name!r} are busy; {_queue(pool)}."


def _queue(pool: Pool) -> str:
    count = pool.queue.size
    return "1 task is queued" if count == 1 else f"{count} tasks are queued"


def _last_failure(pool: Pool) -> str:
    failed = [report for report in pool.reports.values() if report.state in _FAILED]
    if not failed:
        return ""
    last = max(failed, key=lambda report: report.ended_at)
    why = last.message or last.reason or "nobody knows why"
    return f" Its block {last.block} ended as {last.state}: {why}. Mend that; further blocks are tried by themselves."


def _place(task: Task) -> str:
    manager = task.manager
    if manager is None:
        return "Which manager had its last try is not known any more; those that live are asked for its output."
    place = f"on {manager.node} in block {manager.block}"
    if manager.pool.managers.get(manager.id) is manager:
        return f"Its last try was with the manager {place}."
    return f"Its last try was with the manager {place}, which is gone: what it printed there can't be read any more."


def _ended(task: Task) -> str:
    outcome = task.outcome
    if outcome is None:
        return "It ended."
    if outcome.status is Status.DONE and not outcome.epoch and task.order.pool.name and not task.flags & Flag.SHADOW:
        return "It is done and did not run: its result was computed before, and found in the cache."
    if outcome.status is Status.DONE:
        return f"It is done; it ran for {outcome.seconds:.3f} s."
    words = f": {outcome.failure.message}" if outcome.failure is not None else ""
    return f"It ended as {outcome.status.name}{words}".removesuffix(".") + "."
