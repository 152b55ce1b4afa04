"""What always holds between the tables of the state. For tests: `check` after every event, `check_turn` after a turn.

Every count that the core keeps beside the thing counted is counted again here. A breach raises `Broken`, which names
the rule, what was found and what was expected.
"""

import math
from collections import Counter

from blockyard.ids import TaskId, task_name
from blockyard.wire.records import Body, Status, blob_bytes, blob_names, body_bytes
from blockyard_interchange.core.matching import is_queued
from blockyard_interchange.core.pools import Manager, Pool
from blockyard_interchange.core.state import Flag, State, Task, TaskState

OVERHEAD_BYTES = 16
"""What a submission, and again an outcome, is taken to cost in the journal besides its body."""


class Broken(AssertionError):
    """A rule between tables does not hold."""


def check(state: State) -> None:
    """Walk all tables; raises `Broken` at the first rule that does not hold."""
    _check_tasks(state)
    _check_graph(state)
    for pool in state.pools.values():
        _check_pool(state, pool)
    _check_gangs(state)
    _check_sessions(state)
    _check_functions(state)
    _check_keys(state)
    _check_sizes(state)
    _check_timers(state)
    _check_cache(state)


def check_turn(state: State) -> None:
    """What holds besides when a turn is over: nothing is left to tell, and nobody idles beside work that fits."""
    _require(not state.settling, "after a turn nothing settles", state.settling, [])
    for table in ("ended", "freed", "given"):
        _require(not getattr(state, table), f"after a turn {table} was handed on", getattr(state, table), [])
    if state.awaited:
        return
    for pool in state.pools.values():
        least = min((task.order.slots for task in pool.queue if is_queued(task)), default=0)
        idle = [one.id for one in pool.idle.values() if one.workers >= least and one.ends_at == math.inf]
        _require(not (least and idle), f"pool {pool.name}: no manager idles while tasks are queued", idle, [])


def _require(holds: object, rule: str, found: object, expected: object, of: Task | None = None) -> None:
    if not holds:
        raise Broken(f"{_prefix(of)}{rule}: found {found!r}, expected {expected!r}")


def _equal(found: object, expected: object, rule: str, of: Task | None = None) -> None:
    if found != expected:
        raise Broken(f"{_prefix(of)}{rule}: found {found!r}, expected {expected!r}")


def _prefix(task: Task | None) -> str:
    return "" if task is None else f"task {task_name(task.id)} ({task.state.name}): "


def size_of(body: Body) -> int:
    """Bytes of a body."""
    return len(body) if type(body) is bytes else body_bytes(body)


def _check_tasks(state: State) -> None:
    for name, task in state.tasks.items():
        ended = task.state is TaskState.ENDED
        _equal(task.id, name, "it stands under its own name", task)
        _equal(task.outcome is not None, ended, "it has an outcome just when it ended", task)
        if task.outcome is not None:
            _equal(task.outcome.task, name, "its outcome is its own", task)
            _require(task.outcome.status is not Status.JOIN, "JOIN is not how a task ends", "JOIN", "another", task)
            _equal(size_of(task.body), 0, "an ended task keeps no arguments", task)
        if ended:
            continue
        assigned = task.state is TaskState.ASSIGNED
        _equal(task.manager is not None, assigned, "it has a manager just when it is assigned", task)
        if task.manager is not None and not task.flags & Flag.GANG:
            holder = task.manager.leases.get(name)
            _require(holder is task, "its manager holds its lease", holder, task, task)
    for name in state.orphans:
        _equal(state.tasks[name].state, TaskState.WAITING, "an orphan waits", state.tasks[name])


def _check_graph(state: State) -> None:
    """Needs, dependents, and the counts kept of both."""
    settling = {id(task) for task in state.settling if task.dependents is not None}
    users: Counter[int] = Counter()
    for task in state.tasks.values():
        shadow = bool(task.flags & Flag.SHADOW)
        if task.outcome is not None and not shadow:
            _equal(task.needs, (), "an ended task needs nothing", task)
            continue
        open_needs = 0
        leader = state.cache.following.get(task.id)
        needs = task.needs if leader is None else (*task.needs, leader)
        for need in needs:
            users[id(need)] += 1
            known = need.flags & Flag.GIVEN or state.tasks.get(need.id) is need
            _require(known, "what it needs is kept", need.id, "a known task", task)
            told = sum(other is task for other in need.dependents or ())
            if task.order.is_ruled and task.outcome is None and not task.waiting and task.state != TaskState.JOINING:
                _equal(told, 0, f"decided, it is not told by {task_name(need.id)}", task)
                continue
            is_open = need.outcome is None or (id(need) in settling and told > 0)
            open_needs += is_open
            if is_open and task.outcome is None:
                wanted = sum(other is need for other in needs)
                _equal(told, wanted, f"it is told by {task_name(need.id)} as often as it needs it", task)
        if task.outcome is None:
            _equal(task.waiting, open_needs, "what it waits for is counted right", task)
            _check_waiting(state, task, shadow=shadow)
    for task in state.tasks.values():
        _equal(task.users, users.get(id(task), 0), "who needs it is counted right", task)
        for other in task.dependents or ():
            tied = any(need is task for need in other.needs) or other.outcome is not None
            tied = tied or state.cache.following.get(other.id) is task
            _require(tied, "a dependent needs it", other.id, "a task that needs it", task)


def _check_waiting(state: State, task: Task, *, shadow: bool) -> None:
    match task.state:
        case TaskState.QUEUED | TaskState.DELAYED:
            _equal(task.waiting, 0, "it waits for nothing", task)
        case TaskState.WAITING:
            has_reason = task.waiting or task.id in state.orphans or task.order.session.is_held
            _require(has_reason, "it waits for something", task.waiting, "> 0", task)
        case TaskState.JOINING:
            strangers = [need.id for need in task.needs if not need.flags & Flag.CHILD]
            _equal(strangers, [], "it waits for its children only", task)
    _require(not shadow or task.state is TaskState.WAITING, "a shadow waits", task.state.name, "WAITING", task)


def _check_pool(state: State, pool: Pool) -> None:
    where = f"pool {pool.name}"
    mine = [task for task in state.tasks.values() if task.order.pool is pool]
    queued = {task.id for task in mine if is_queued(task) and not task.flags & Flag.GANG}
    _equal({task.id for task in pool.queue if is_queued(task)}, queued, f"{where}: queued tasks are in its queue")
    _equal(pool.queue.size, len(queued), f"{where}: queue.size")
    beyond = sum(task.order.slots - 1 for task in mine if task.id in queued)
    _equal(pool.queued_beyond, beyond, f"{where}: queued_beyond")
    wide = {task.id for task in mine if is_queued(task) and task.flags & Flag.GANG}
    _equal({task.id for task in pool.gangs if is_queued(task)}, wide, f"{where}: queued wide tasks are in line")
    open_tasks = sum(task.outcome is None for task in mine)
    _equal(pool.counters.unfinished, open_tasks, f"{where}: submitted less ended")
    _equal(pool.tasks, len(mine), f"{where}: tasks")
    _require(pool.is_defined or not pool.managers, f"{where}: one that is not defined has no managers", "some", "none")
    _require(pool.is_defined or not pool.keys, f"{where}: one that is not defined lets nobody in", pool.keys, ())
    for manager in pool.managers.values():
        _check_manager(state, pool, manager)
    for table in (pool.idle, pool.roomy):
        strangers = [name for name in table if name not in pool.managers]
        _equal(strangers, [], f"{where}: only its managers are idle or roomy")


def _check_manager(state: State, pool: Pool, manager: Manager) -> None:
    where = f"manager {manager.id}"
    _require(
        state.manager_peers.get(manager.peer) is manager, f"{where} is known by its peer", manager.peer, manager.id
    )
    _equal(manager.load, sum(task.order.slots for task in manager.leases.values()), f"{where}: load")
    for name, task in manager.leases.items():
        _require(state.tasks.get(name) is task, f"{where}: leased tasks are known", task_name(name), "a known task")
        _equal(task.state, TaskState.ASSIGNED, f"{where}: state of its task {task_name(name)}")
        own = task.manager is manager or manager.reserved is task
        _require(own, f"{where}: task {task_name(name)} is with it", task.manager and task.manager.id, manager.id)
    usable = not manager.draining and manager.reserved is None
    _equal(manager.id in pool.idle, usable and manager.load < manager.workers, f"{where} ({manager.load=}) is idle")
    _require(usable or manager.id not in pool.roomy, f"{where}: one that is given nothing is not roomy", "roomy", "")
    if usable and not manager.leases:
        _require(manager.id in pool.roomy, f"{where}: one that holds nothing is roomy", "not roomy", "roomy")


def _check_gangs(state: State) -> None:
    reserved = {
        (manager.reserved.id, manager.id)
        for pool in state.pools.values()
        for manager in pool.managers.values()
        if manager.reserved is not None
    }
    held = {(name, manager.id) for name, gang in state.gangs.items() for manager in gang.managers}
    _equal(reserved, held, "managers are reserved for the wide tasks that have them")
    for name, gang in state.gangs.items():
        where = f"wide task {task_name(name)}"
        wanted = TaskState.ASSIGNED if gang.started else TaskState.QUEUED
        _equal(gang.task.state, wanted, f"{where}: state")
        for manager in gang.managers if gang.started else ():
            has = name in manager.leases or manager.id in gang.outcomes
            _require(has, f"{where}: manager {manager.id} has its part, or had it", "neither", "one of both")
    for task in state.tasks.values():
        if task.flags & Flag.GANG and task.state is TaskState.ASSIGNED:
            _require(task.id in state.gangs, f"wide task {task_name(task.id)} has its managers", "none", "a gang")


def _check_sessions(state: State) -> None:
    tasks: Counter[int] = Counter()
    sizes: Counter[int] = Counter()
    for task in state.tasks.values():
        name = task.order.session.id
        tasks[name] += 1
        sizes[name] += size_of(task.body) + (size_of(task.outcome.body) if task.outcome is not None else 0)
        _require(state.sessions.get(name) is task.order.session, "its session is open", name, "open", task)
    for name, session in state.sessions.items():
        where = f"session {name:x}"
        _equal(session.tasks, tasks[name], f"{where}: tasks")
        _equal(session.bytes, sizes[name], f"{where}: bytes")
        known = state.peers.get(session.peer) is session
        _equal(known, session.connected, f"{where} is known by its peer just when it is connected")
        _require(state.runs.get(session.run.name) is session.run, f"{where}: its run is known", session.run.name, "")
        if session.token:
            _require(name in session.run.sessions, f"{where} is of its run", session.run.sessions, name)
        _require(session.connected or not session.out, f"{where}: nothing waits for one that is away", session.out, [])
    for peer, session in state.peers.items():
        _require(state.sessions.get(session.id) is session, f"the session of peer {peer!r} is open", session.id, "open")
    for hosted in state.hosted.values():
        where = f"run {hosted.run!r}"
        _require(state.sessions.get(hosted.session.id) is hosted.session, f"{where}: its session is open", 0, 1)
        strangers = [mark.name for mark in hosted.steps if mark.task >> 32 != hosted.session.id]
        _equal(strangers, [], f"{where}: its steps are tasks of its own session")
    for run in state.runs.values():
        _require(run.sessions, f"run {run.name!r} has sessions", run.sessions, "some")
        strange = [one for one in run.watchers if one not in state.sessions]
        _equal(strange, [], f"run {run.name!r}: its watchers are known")
        lost = [name for name in run.sessions if name not in state.sessions]
        _equal(lost, [], f"run {run.name!r}: its sessions are open")


def _check_functions(state: State) -> None:
    users: Counter[bytes] = Counter(task.order.spec.function for task in state.tasks.values())
    for session in state.sessions.values():
        users.update(session.functions)
    for key, entry in state.functions.items():
        _equal(entry.function.id, key, "a function stands under its own name")
        _equal(entry.users, users[key], f"function {entry.function.name}: users")
        _require(entry.users, f"function {entry.function.name} is kept for somebody", entry.users, "> 0")
    missing = [name.hex() for name in users if name not in state.functions]
    _equal(missing, [], "functions that are used are known")


def _check_keys(state: State) -> None:
    for key, name in state.keys.items():
        task = state.tasks.get(name)
        _require(task is not None and task.flags & Flag.KEYED, f"key {key} belongs to a task", task_name(name), "KEYED")
        _equal(state.key_of.get(name), key, f"key {key}: the way back")
    _equal(len(state.key_of), len(state.keys), "keys and the way back")
    for task in state.tasks.values():
        _equal(bool(task.flags & Flag.KEYED), task.id in state.key_of, "whether it holds a key", task)


def _check_sizes(state: State) -> None:
    bodies = in_blobs = live = 0
    for task in state.tasks.values():
        size = size_of(task.body) + (size_of(task.outcome.body) if task.outcome is not None else 0)
        bodies += size
        in_blobs += blob_bytes(task.body) + (blob_bytes(task.outcome.body) if task.outcome is not None else 0)
        if not task.order.volatile:
            live += size + task.order.share + OVERHEAD_BYTES * (1 + (task.outcome is not None))
    live += sum(len(entry.function.body) for entry in state.functions.values())
    live += sum(one.size_bytes for one in state.cache.results.values() if not one.volatile)
    _equal(state.bytes, bodies, "bytes of bodies")
    _equal(state.blob_bytes, in_blobs, "bytes of blobs")
    _equal(sum(one.blob_bytes for one in state.sessions.values()), in_blobs, "bytes of blobs of all sessions")
    _equal(state.live_bytes, live, "live bytes of the journal")


def _check_cache(state: State) -> None:
    cache = state.cache
    _equal(cache.bytes, sum(one.size_bytes for one in cache.results.values()), "bytes of cached results")
    _require(cache.bytes <= state.settings.cache_max_bytes, "the cache is not larger than it may be", cache.bytes,
             state.settings.cache_max_bytes)  # fmt: skip
    strangers = [key for key in cache.results if key[0] not in state.pools]
    _equal(strangers, [], "cached results are of known pools")
    for task in state.tasks.values():
        _equal(bool(task.flags & Flag.CACHED), task.id in cache.memos, "whether its result is cached", task)
        _equal(bool(task.flags & Flag.FOLLOWING), task.id in cache.following, "whether it follows another", task)
    for (pool, memo), leader in cache.computing.items():
        _equal(cache.memos.get(leader.id, [b""])[0], memo, "who computes a result is known by it", leader)
        _equal(leader.order.pool.name, pool, "who computes a result is of its pool", leader)
        _require(leader.outcome is None, "who computes a result has not ended", leader.outcome, None, leader)
    for name, leader in cache.following.items():
        if leader.id in cache.memos:  # else it has ended, or what it computes was cleared
            _equal(cache.memos[name][0], cache.memos[leader.id][0], "who follows wants the same", leader)
    holders: Counter[str] = Counter()
    for one in cache.results.values():
        holders.update(blob_names(one.body))
    for task in state.tasks.values():
        if task.outcome is not None and not task.flags & (Flag.SHADOW | Flag.CHILD):
            holders.update(blob_names(task.outcome.body))
    known = {*state.shared, *(name for one in cache.results.values() for name in blob_names(one.body))}
    wrong = {name: (state.shared.get(name, 1), holders[name]) for name in known
             if state.shared.get(name, 1) != holders[name]}  # fmt: skip
    _equal(wrong, {}, "who holds a blob is counted right (counted, found)")


def _check_timers(state: State) -> None:
    timed = {(name, epoch) for _, name, epoch in state.timers}
    for task in state.tasks.values():
        if task.outcome is not None:
            continue
        if task.state is TaskState.DELAYED:
            _require((task.id, task.epoch) in timed, "its back-off ends", "no timer", "one", task)
        if task.order.deadline:
            _require((task.id, -1) in timed, "its deadline comes", "no timer", "one", task)
    for name in state.orphans:
        _require(TaskId(name) in state.tasks, f"orphan {task_name(name)} is known", None, "a task")
