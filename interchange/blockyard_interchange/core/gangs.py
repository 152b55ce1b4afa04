"""Tasks that take several managers of one block together, by reservation.

The first wide task of a pool reserves managers, which from then on are given nothing else and run empty; it starts when
all of them are. One reservation at a time in a pool, in order of arrival: so there is no deadlock, and a wide task
waits no longer than the longest task that its managers hold, beside however many small ones.

The parts of each try are told a secret that nobody else is, by which they know one another (`blockyard.managed.parts`).
It is made from one of this process, so nothing of it is kept: not in the journal, and not for another try.
"""

import hashlib

from blockyard.wire import manager as wire
from blockyard.wire.records import Assigned, Failure, Lease, Outcome, Part, Status
from blockyard_interchange.core import ending, matching, outcomes, queueing, requests
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.pools import Gang, Manager, Pool, has_room, no_room
from blockyard_interchange.core.state import State, Task, TaskState


def reserve(state: State, pool: Pool, now: float) -> None:
    """Let the first wide task take its managers, if a block has enough of them; start it when they are empty."""
    while pool.gangs:
        task = pool.gangs[0]
        if task.state is not TaskState.QUEUED:
            pool.gangs.popleft()
            continue
        gang = state.gangs.get(task.id)
        if gang is None:
            managers = _choose(pool, requests.managers_needed(task.order.spec))
            if managers is None:
                return
            gang = state.gangs[task.id] = Gang(task, managers)
            for manager in managers:
                manager.reserved = task
                no_room(manager)
                if len(manager.leases) > manager.workers:
                    state.effects.before.append((manager.peer, wire.Retract(len(manager.leases) - manager.workers)))
        if any(manager.leases for manager in gang.managers):
            return
        pool.gangs.popleft()
        _start(state, gang, now)


def _choose(pool: Pool, count: int) -> list[Manager] | None:
    """The block whose `count` least loaded free managers are soonest empty."""
    blocks: dict[str, list[Manager]] = {}
    for manager in pool.managers.values():
        if manager.reserved is None and not manager.draining:
            blocks.setdefault(manager.block, []).append(manager)
    choices = [sorted(block, key=lambda one: one.load)[:count] for block in blocks.values() if len(block) >= count]
    if not choices:
        return None
    best = min(choices, key=lambda chosen: sum(one.load for one in chosen))
    return sorted(best, key=lambda one: one.index)


def _start(state: State, gang: Gang, now: float) -> None:
    task, order = gang.task, gang.task.order
    spec = order.spec
    count = len(gang.managers)
    total = spec.ranks or count * (spec.ranks_per_node or 1)
    gang.started = True
    task.state = TaskState.ASSIGNED
    task.manager = gang.managers[0]
    task.epoch = matching.next_epoch(state, task)
    order.pool.stages.queued.add(now - (task.since or order.at - state.wall_offset))
    task.since = now
    if not spec.idempotent:
        state.given.append(Lease(task.id, task.epoch))
    hosts = [manager.node for manager in gang.managers]
    addresses = [manager.address or manager.node for manager in gang.managers]
    address, secret = (gang.managers[0].address, _secret(state, task)) if count > 1 else ("", b"")
    first = 0
    for index, manager in enumerate(gang.managers):
        ranks = spec.ranks_per_node or total // count + (index < total % count)
        ranks = min(ranks, total - first)
        manager.leases[task.id] = task
        manager.load += order.slots
        matching.send_function(state, manager, order)
        part = Part(index, count, first, ranks, total, hosts, address, secret, addresses)
        assigned = Assigned(task.id, task.epoch, task.body, matching.needs_of(task), part)
        effects = state.effects.before if spec.idempotent else state.effects.after_managers
        effects.append((manager.peer, wire.Assign([wire.AssignGroup(spec, [assigned])])))
        first += ranks


def _secret(state: State, task: Task) -> bytes:
    return hashlib.blake2b(b"%d %d" % (task.id, task.epoch), key=state.seal, digest_size=32).digest()


def on_part(state: State, manager: Manager, task: Task, outcome: Outcome, now: float) -> None:
    """One manager's part ended. The task ends as its first part does, or as the first part that failed."""
    gang = state.gangs.get(task.id)
    if gang is None:
        return
    gang.outcomes[manager.id] = outcome
    if outcome.status is not Status.DONE:
        _dissolve(state, gang, stop=True)
        outcomes.decide(state, task, outcome, now)
    elif len(gang.outcomes) == len(gang.managers):
        first = gang.outcomes[gang.managers[0].id]
        _dissolve(state, gang, stop=False)
        ending.finish(state, task, first, now)


def on_manager_lost(state: State, manager: Manager, failure: Failure, now: float, loss: Loss) -> None:
    """A manager that a wide task holds, or waits for, is gone."""
    task = manager.reserved
    gang = state.gangs.get(task.id) if task is not None else None
    if task is None or gang is None:
        return
    started = gang.started
    _dissolve(state, gang, stop=True)
    if started:
        outcomes.lost(state, task, failure, now, suspected=True, loss=loss)


def on_cancel(state: State, task: Task) -> None:
    """A wide task ends by other means than its parts: let its managers go."""
    gang = state.gangs.get(task.id)
    if gang is not None:
        _dissolve(state, gang, stop=True)


def on_part_back(state: State, task: Task, now: float) -> None:
    """A manager does not have its part, or gave it back unstarted: start anew with managers that take all parts."""
    gang = state.gangs.get(task.id)
    if gang is not None:
        _dissolve(state, gang, stop=True)
        queueing.requeue(state, task, now)


def on_drain(state: State, manager: Manager) -> None:
    """A manager that a wide task waits for shall take nothing more: let the task choose again."""
    gang = state.gangs.get(manager.reserved.id) if manager.reserved is not None else None
    if gang is not None and not gang.started:
        _dissolve(state, gang, stop=False)


def _dissolve(state: State, gang: Gang, *, stop: bool) -> None:
    """Let the managers go; stop the parts that still run."""
    task = gang.task
    del state.gangs[task.id]
    for manager in gang.managers:
        manager.reserved = None
        held = manager.leases.pop(task.id, None)
        if held is not None:
            manager.load -= task.order.slots
            if stop:
                lease = Lease(task.id, task.epoch)
                state.effects.before.append((manager.peer, wire.Stop([lease], state.settings.stop_grace)))
        has_room(manager)
    state.hungry[task.order.pool.name] = task.order.pool
