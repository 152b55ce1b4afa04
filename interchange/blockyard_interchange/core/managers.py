"""Managers come, beat, drain and go; and what becomes of the tries in their hands."""

import math

from blockyard.ids import ManagerId, TaskId, task_name
from blockyard.wire import client as client_wire
from blockyard.wire import manager as wire
from blockyard.wire.monitoring import TryState
from blockyard.wire.patience import LARGE_BYTES, seconds_for
from blockyard.wire.records import PROTOCOL_VERSION, Failure, Lease, body_bytes
from blockyard_interchange.core import gangs, holding, outcomes, output, queueing
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.entries import ManagerJoined, ManagerLeft
from blockyard_interchange.core.notes import Notes
from blockyard_interchange.core.pools import Manager, Pool, has_room, no_room
from blockyard_interchange.core.state import Flag, State, Task, TaskState

_STUCK_SECONDS = 0.05
"""A manager that gave nothing back for so long may hold tasks that others could run."""
_LONG_SECONDS = 0.1
"""A try that runs for so long at a heartbeat is told as running. Of a crowd of short ones some run at each, and where a
row of a batch is there already, a database writes all of it the slow way."""

SLOW_LINK = (
    "its link is slow; keep what is large where tasks run: pass a File, return an Output, or pass and return less"
)


def on_join(state: State, peer: bytes, user: str, message: wire.Join, now: float, *, near: bool) -> None:
    """Welcome a manager, or refuse it alone and say why. One that comes back keeps the leases that still stand."""
    refusal = _refusal(state, user, message)
    if refusal is not None:
        state.counters.refused += 1
        state.effects.before.append((peer, wire.Refused(*refusal)))
        return
    pool = state.pools[message.pool]
    before = state.manager_peers.get(peer)
    if before is not None and before.id != message.manager:
        gone(state, before, Failure(f"its connection now speaks for manager {message.manager}"), now)
    manager = pool.managers.get(ManagerId(message.manager))
    stands = manager is not None and manager.peer == peer
    crosses = stands and manager is not None and 0 <= message.answered < manager.answered
    if manager is None:
        manager = _new(state, pool, peer, message, now, near=near)
    else:
        state.manager_peers.pop(manager.peer, None)
        manager.peer = peer
        holding.on_gone(state, manager)  # what it was asked by its former connection may have been lost
    manager.last_seen = manager.heard_of = now
    manager.heartbeat = state.settings.beat(len(state.manager_peers))
    manager.answered = (manager.answered if crosses else message.answered) + 1
    manager.functions.clear()
    state.manager_peers[peer] = manager
    state.awaited.pop(manager.id, None)
    dropped = _reconcile(state, manager, message.holds, now, stands=stands, crosses=crosses)
    no_room(manager)
    has_room(manager)
    pool.roster_changed = state.is_busy = True
    state.hungry[pool.name] = pool
    settings = state.settings
    state.effects.before.append(
        (
            peer,
            wire.Joined(
                PROTOCOL_VERSION, manager.heartbeat, settings.blobs if near else "", settings.blob_threshold, dropped
            ),
        )
    )


def _new(state: State, pool: Pool, peer: bytes, message: wire.Join, now: float, *, near: bool) -> Manager:
    """One that was not here before, as it describes itself."""
    manager = Manager(ManagerId(message.manager), peer, pool, message.block, message.workers, now)
    manager.cores, manager.memory_bytes = message.cores, message.memory_bytes
    manager.accelerators, manager.node, manager.index = message.accelerators, message.node, message.index
    manager.python, manager.near, manager.tally = message.python, near, message.tally
    manager.address, manager.pid = message.address, message.pid
    if message.seconds_left:
        manager.ends_at = now + message.seconds_left
    pool.managers[manager.id] = manager
    state.effects.entries.append(ManagerJoined(manager.id))
    if state.notes is not None:
        state.notes.on_manager(manager, "joined", "", now)
    return manager


def _refusal(state: State, user: str, message: wire.Join) -> tuple[str, str] | None:
    if message.version != PROTOCOL_VERSION:
        sentence = f"manager speaks protocol {message.version}, the interchange {PROTOCOL_VERSION}"
        return "version", f"{sentence}; install the same version of blockyard on both"
    if user != f"pool:{message.pool}":
        return "key", f"this key is for {user}, the manager asked for pool {message.pool!r}"
    pool = state.pools.get(message.pool)
    if pool is None or not pool.is_defined:
        return "pool", f"there is no pool {message.pool!r}, or not any more"
    if message.workers < 1:
        return "workers", f"workers={message.workers}; a manager has at least 1"
    for other in pool.managers.values():
        if other.python != message.python and other.id != message.manager:
            return "python", f"workers run Python {message.python}, those of pool {pool.name!r} {other.python}"
        break
    return None


def _reconcile(
    state: State, manager: Manager, holds: list[Lease], now: float, *, stands: bool, crosses: bool
) -> list[Lease]:
    """Agree on what a manager holds; return the leases it must drop.

    `stands`: its connection is the same as before. `crosses`: besides, it said so before our last answer came, so that
    what was given to it since is on its way.

    After a restart of the interchange the manager knows better what runs, so tasks that wait here are given to it.
    What it was sent and does not hold got lost on the way, or comes later and is refused as the result of a lost try.
    """
    dropped = []
    held: dict[TaskId, Task] = {}
    for lease in holds:
        task = state.tasks.get(TaskId(lease.task))
        if task is not None and manager.leases.get(task.id) is task and task.epoch == lease.epoch:
            held[task.id] = task
        elif task is not None and _is_free(manager, state, task) and lease.epoch > task.epoch:
            queueing.withdraw(state, task)
            state.orphans.pop(task.id, None)
            task.state, task.manager, task.epoch, task.since = TaskState.ASSIGNED, manager, lease.epoch, now
            held[task.id] = task
        else:
            dropped.append(lease)
    missing = [task for name, task in manager.leases.items() if name not in held]
    large = {task.id: _sent_bytes(task) for task in missing} if stands and not manager.near else {}
    held.update({task.id: task for task in missing if crosses or _may_come(task, large.get(task.id, 0), now)})
    manager.leases = held
    manager.load = sum(task.order.slots for task in held.values())
    for task in missing:
        if task.id in held:
            continue
        if task.flags & Flag.GANG:
            gangs.on_part_back(state, task, now)
        else:
            # It may have been on its way when the manager said what it holds: not to be run twice means not again now.
            too_slow = large.get(task.id, 0) > LARGE_BYTES
            failure = Failure("its manager joined again and did not have it" + too_slow * f": {SLOW_LINK}")
            suspected = too_slow or not task.order.spec.idempotent
            outcomes.lost(state, task, failure, now, suspected=suspected, loss=Loss.UNDELIVERED)
    return dropped


def _may_come(task: Task, size_bytes: int, now: float) -> bool:
    """Whether what was sent over a connection that stands is still on its way, as nothing but what is large may be."""
    is_large = size_bytes > LARGE_BYTES and not task.flags & Flag.GANG
    return is_large and now - task.since < seconds_for(size_bytes)


def _sent_bytes(task: Task) -> int:
    ended = [need.outcome for need in task.needs if need.outcome is not None]
    return body_bytes(task.body) + sum(body_bytes(one.body) for one in ended)


def _is_free(manager: Manager, state: State, task: Task) -> bool:
    """Nobody has it: it waits in the queue of this manager's pool, aside for its manager to come back, or is held."""
    if task.flags & Flag.GANG or task.order.pool is not manager.pool:
        return False
    follows = task.waiting or task.flags & (Flag.SHADOW | Flag.FOLLOWING)
    is_held = task.state is TaskState.WAITING and task.order.session.is_held and not follows
    return task.state is TaskState.QUEUED or is_held or task.id in state.orphans


def on_returned(state: State, manager: Manager, message: wire.Returned, now: float) -> None:
    """Tries come back that never started: give them to others."""
    manager.retracting = False
    for lease in message.leases:
        task = manager.leases.get(TaskId(lease.task))
        if task is None or task.epoch != lease.epoch:
            continue
        if task.flags & Flag.GANG:
            gangs.on_part_back(state, task, now)
            continue
        queueing.forget(state, manager, task)
        if task.flags & Flag.CANCELLING:
            outcomes.lost(state, task, Failure("cancelled before it started"), now, suspected=False,
                          loss=Loss.UNDELIVERED)  # fmt: skip
        else:
            if not task.order.spec.idempotent:
                outcomes.count(state, task)  # or it would be taken for lost after a restart
            queueing.requeue(state, task, now)
    has_room(manager)
    state.hungry[manager.pool.name] = manager.pool


def on_heartbeat(state: State, manager: Manager, message: wire.Heartbeat, now: float) -> None:
    """Renew the manager's leases and note its figures."""
    manager.patient_until = now + seconds_for(message.follows)
    manager.busy, manager.queued, manager.resident_bytes = message.busy, message.queued, message.resident_bytes
    _count(manager, message.tally)
    if message.draining and not manager.draining:
        _no_more(state, manager, "it said so", now)
    before = dict(manager.running)
    manager.running = [(TaskId(one.task), one.seconds) for one in message.running]
    _tell_started(state, manager, [name for name, _ in manager.running if name not in before])
    if state.notes is not None:
        _note_running(state.notes, manager, before)
    beat = state.settings.beat(len(state.manager_peers))
    is_new, manager.heartbeat = beat != manager.heartbeat, beat
    state.effects.before.append((manager.peer, wire.Beat(beat if is_new else 0.0)))


def _count(manager: Manager, tally: wire.Tally) -> None:
    """Add to the pool's counters what a manager has counted since it was last heard of."""
    before, manager.tally = manager.tally, tally
    if before != tally:
        counters = manager.pool.counters
        counters.restarts = _plus(counters.restarts, tally.restarts - before.restarts)
        counters.out_of_memory = _plus(counters.out_of_memory, tally.out_of_memory - before.out_of_memory)
        dropped = tally.output_dropped_bytes - before.output_dropped_bytes
        counters.output_dropped_bytes = _plus(counters.output_dropped_bytes, dropped)


def _plus(counter: int, more: int) -> int:
    """Whatever a manager says, a counter never goes back and fits into the journal."""
    return min(counter + max(0, more), 1 << 62)


def _tell_started(state: State, manager: Manager, names: list[TaskId]) -> None:
    """Tell clients which of their tasks run; those that end within a heartbeat are not worth a message."""
    started: dict[bytes, list[int]] = {}
    for name in names:
        task = manager.leases.get(name)
        if task is not None and task.order.session.connected:
            started.setdefault(task.order.session.peer, []).append(name)
    for peer, tasks in started.items():
        state.effects.after_clients.append((peer, client_wire.Started(tasks)))


def _note_running(notes: Notes, manager: Manager, before: dict[TaskId, float]) -> None:
    """Tell the history which tries go on. `before`: what ran at the heartbeat before, and for how long."""
    for name, seconds in manager.running:
        task = manager.leases.get(name)
        is_told = _LONG_SECONDS <= before.get(name, 0.0) <= seconds
        if task is not None and seconds >= _LONG_SECONDS and not is_told:
            notes.on_try(task, TryState.RUNNING, seconds, manager.last_seen)


def on_wanted(state: State, manager: Manager, message: wire.Wanted) -> None:
    """Send functions again to a manager that dropped them: those of its own tries, whatever else it asks for."""
    own = {task.order.entry.function.id: task.order.entry.function for task in manager.leases.values()}
    found = [own[key] for key in own.keys() & set(message.functions)]
    if found:
        state.effects.before.append((manager.peer, wire.Functions(found)))


def gone(state: State, manager: Manager, failure: Failure, now: float, *, loss: Loss = Loss.LEFT) -> None:
    """What happens when a manager dies, leaves or falls silent: its leases end and its tasks run elsewhere.

    Its oldest leases, as many as it has workers, were running and come under suspicion; the rest never started.
    """
    pool = manager.pool
    pool.managers.pop(manager.id, None)
    pool.roster_changed = True
    state.manager_peers.pop(manager.peer, None)
    state.unconfirmed.pop(manager.id, None)
    no_room(manager)
    state.effects.entries.append(ManagerLeft(manager.id))
    if state.notes is not None:
        state.notes.on_manager(manager, "gone", failure.message, now)
    manager.draining = True
    output.on_gone(state, manager)
    holding.on_gone(state, manager)
    gangs.on_manager_lost(state, manager, failure, now, loss)
    running = {name for name, _ in manager.running} or set(list(manager.leases)[: manager.workers])
    for task in reversed(list(manager.leases.values())):
        suspected = task.id in running or not task.order.spec.idempotent
        outcomes.lost(state, task, failure, now, suspected=suspected, loss=loss)
    manager.leases.clear()
    manager.load = 0
    state.hungry[pool.name] = pool


def drain(state: State, manager: Manager, grace: float, now: float) -> None:
    """Give a manager nothing more; it hands back what waits and finishes what runs, at most `grace` seconds long."""
    gangs.on_drain(state, manager)
    _no_more(state, manager, "its block is to end", now)
    state.effects.before.append((manager.peer, wire.Drain(grace)))


def _no_more(state: State, manager: Manager, why: str, now: float) -> None:
    if state.notes is not None and not manager.draining:
        state.notes.on_manager(manager, "draining", why, now)
    manager.draining = manager.pool.is_stirred = True
    no_room(manager)


def retract(state: State, pool: Pool, now: float) -> None:
    """Where workers are idle and a manager sits on tasks behind long ones: ask it for some back."""
    if pool.queue.size or not pool.idle or not pool.tasks:
        return
    spare = sum(manager.workers - manager.load for manager in pool.idle.values())
    for manager in pool.managers.values():
        excess = manager.load - manager.workers
        if excess > 0 and not manager.retracting and now - manager.heard_of > _STUCK_SECONDS:
            manager.retracting = True
            state.effects.before.append((manager.peer, wire.Retract(min(excess, max(1, math.ceil(spare))))))


def stop(state: State, tasks: list[Task]) -> None:
    """Tell managers to end tries that run or wait there."""
    leases: dict[ManagerId, list[Lease]] = {}
    managers: dict[ManagerId, Manager] = {}
    for task in tasks:
        assert task.manager is not None, f"task {task_name(task.id)} is with no manager"
        managers[task.manager.id] = task.manager
        leases.setdefault(task.manager.id, []).append(Lease(task.id, task.epoch))
        task.flags |= Flag.CANCELLING
    for name, manager in managers.items():
        state.effects.before.append((manager.peer, wire.Stop(leases[name], state.settings.stop_grace)))
