"""Results that are found instead of computed: what becomes of a task whose call is known by a memo.

A client gives a task a memo, a digest of its function and its arguments. When the task could start, that is looked up
among the results of its pool: a hit ends it at once. Else the first task of a memo runs, and those that come meanwhile
follow it: they end with its result, and when it fails the next of them runs. Only successes are kept.

The interchange knows nothing of what a memo is made from. It keeps a result until it is older than `cache_ttl`, until
younger ones need its room, or until somebody clears it.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from blockyard.wire import control
from blockyard.wire.records import Body, Outcome, Status, blob_names, body_bytes
from blockyard_interchange.core import ending, queueing, stored
from blockyard_interchange.core.cache import CachedResult, Key
from blockyard_interchange.core.entries import ResultCached, ResultsDropped
from blockyard_interchange.core.state import Flag, State, Task, TaskState

OVERHEAD_BYTES = 256
"""What a cached result costs in memory besides its body, roughly."""


def mark(state: State, task: Task, memos: list[bytes]) -> None:
    """Note what a task is known by, and what the results are known by that it is made from."""
    task.flags |= Flag.CACHED
    state.cache.memos[task.id] = memos


def may_run(state: State, task: Task, now: float) -> bool:
    """Whether a task that waits for nothing is to be queued; else it ends here with a result, or follows another."""
    cache = state.cache
    key = _key(state, task)
    found = None if cache.is_replaying else _find(state, key, now)
    if found is not None:
        _finish(state, task, found.body, found.outputs, now)
        return False
    if cache.is_replaying or state.awaited:
        cache.unclaimed[task.id] = task  # a manager that is about to come back may be running the same
        return True
    cache.unclaimed.pop(task.id, None)
    if task.order.session.is_held:
        return True  # it is asked again when its run goes on; till then nobody shall wait for it
    leader = cache.computing.setdefault(key, task)
    if leader is task:
        return True
    task.flags |= Flag.FOLLOWING
    task.state, task.waiting = TaskState.WAITING, 1
    cache.following[task.id] = leader
    leader.users += 1
    if leader.dependents is None:
        leader.dependents = [task]
    else:
        leader.dependents.append(task)
    return False


def on_leader_ended(state: State, task: Task, outcome: Outcome, now: float) -> None:
    """The task that this one follows has ended."""
    if outcome.status is Status.DONE:
        _finish(state, task, outcome.body, outcome.outputs, now)
    else:
        _unfollow(state, task)
        queueing.make_ready(state, task, now)


def on_end(state: State, task: Task, outcome: Outcome, now: float) -> None:
    """A task ended by itself: keep its result, if that is one to be kept."""
    memos = state.cache.memos.get(task.id)
    if memos is None:
        return
    key = _key(state, task)
    _forget(state, task)
    if task.epoch:
        task.order.pool.counters.cache_misses += 1
    if outcome.status is not Status.DONE or state.cache.is_replaying or _find(state, key, now) is not None:
        return
    order = task.order
    entry = ResultCached(
        *key, order.entry.function.name, now + state.wall_offset, outcome.seconds, outcome.body, outcome.outputs,
        memos[1:],
    )  # fmt: skip
    result = _result(entry, volatile=order.volatile)
    if result.size_bytes > state.settings.cache_max_bytes:
        return
    _keep(state, key, result)
    _share(state, outcome.body)
    if not order.volatile:
        state.effects.entries.append(entry)
    while state.cache.bytes > state.settings.cache_max_bytes:
        _evict_oldest(state)


def resign(state: State, task: Task, now: float) -> None:
    """A task that others follow is held back for an unknown time: let the next of them run."""
    if not task.flags & Flag.CACHED:
        return
    cache, key = state.cache, _key(state, task)
    if cache.computing.get(key) is not task:
        return
    del cache.computing[key]
    followers = [other for other in task.dependents or () if cache.following.get(other.id) is task]
    task.dependents = [other for other in task.dependents or () if cache.following.get(other.id) is not task] or None
    for other in followers:
        _unfollow(state, other)
    for other in followers:
        queueing.make_ready(state, other, now)


def drop_old(state: State, now: float) -> None:
    """Give up what is older than the settings allow."""
    results = state.cache.results
    while results and _is_old(state, next(iter(results.values())), now):
        _evict_oldest(state)


def clear(state: State, pools: Collection[str], function: str = "") -> int:
    """Drop the results of these pools, or of one function there and all that was made from these; returns how many.

    What is being computed is not kept either.
    """
    cache = state.cache
    for (pool, _), task in list(cache.computing.items()):
        if pool in pools and _is_called(task.order.entry.function.name, function):
            _forget(state, task)
    gone = [key for key, one in cache.results.items() if key[0] in pools and _is_called(one.function, function)]
    count = 0
    while gone:
        count += len(gone)
        _drop(state, gone)
        memos = {memo for _, memo in gone}
        gone = [
            key for key, one in cache.results.items() if key[0] in pools and not memos.isdisjoint(one.sources)
        ]  # fmt: skip
    return count


def listing(state: State, pools: Collection[str]) -> control.CacheIs:
    """What there is in these pools, by function."""
    cache, settings = state.cache, state.settings
    lines: dict[tuple[str, str], control.CacheLine] = {}
    for (pool, _), one in cache.results.items():
        if pool in pools:
            name = pool, one.function
            before = lines.get(name) or control.CacheLine(*name, 0, 0, 0.0, one.at, one.at)
            lines[name] = control.CacheLine(
                *name, before.results + 1, before.bytes + one.size_bytes, before.seconds + one.seconds, before.oldest,
                one.at,
            )  # fmt: skip
    counted = [
        control.PoolCache(pool, found.cache_hits, found.cache_misses, found.cache_evicted)
        for pool in pools
        for found in (state.pools[pool].counters,)
    ]
    by_size = sorted(lines.values(), key=lambda line: -line.bytes)
    return control.CacheIs(cache.bytes, settings.cache_max_bytes, settings.cache_ttl, counted, by_size)


def drop_missing(state: State, blobs: Collection[str]) -> int:
    """After a restart: drop results whose blobs are not there any more, for the machine was started anew, or somebody
    tidied up. Returns how many."""
    results = state.cache.results
    gone = [key for key, one in results.items() if any(name not in blobs for name in blob_names(one.body))]
    _drop(state, gone)
    return len(gone)


def entry_of(state: State, pool: str, memo: bytes) -> ResultCached | None:
    """A result as it is journaled; None when it is not."""
    one = state.cache.results.get((pool, memo))
    if one is None or one.volatile:
        return None
    return ResultCached(pool, memo, one.function, one.at, one.seconds, one.body, one.outputs, one.sources)


@contextmanager
def replaying(state: State, journaled: Iterable[ResultCached]) -> Iterator[None]:
    """Put back what the journal has, oldest first. Nothing is decided while tasks are made again."""
    cache = state.cache
    for one in sorted(journaled, key=lambda entry: entry.at):
        if one.pool in state.pools:
            _keep(state, (one.pool, one.memo), _result(one, volatile=False))
    cache.is_replaying = True
    yield
    cache.is_replaying = False
    if cache.results or cache.unclaimed:
        _count_shares(state)


def claim_replayed(state: State, now: float) -> None:
    """It is known what managers hold: decide for each memo which task runs, those first that are running already."""
    cache = state.cache
    unclaimed, cache.unclaimed = cache.unclaimed, {}
    for task in sorted(unclaimed.values(), key=lambda one: _can_wait(state, one)):
        key = _key(state, task)
        if _can_wait(state, task) and (key in cache.computing or _find(state, key, now) is not None):
            queueing.withdraw(state, task)
            may_run(state, task, now)
        elif task.state is not TaskState.WAITING or task.id in state.orphans:
            cache.computing.setdefault(key, task)


def _can_wait(state: State, task: Task) -> bool:
    return task.state is TaskState.QUEUED and not task.flags & Flag.GANG and task.id not in state.orphans


def _key(state: State, task: Task) -> Key:
    return task.order.pool.name, state.cache.memos[task.id][0]


def _is_called(name: str, wanted: str) -> bool:
    return wanted in ("", name, name.rpartition(".")[2])


def _find(state: State, key: Key, now: float) -> CachedResult | None:
    found = state.cache.results.get(key)
    if found is not None and _is_old(state, found, now):
        _evict(state, key)
        return None
    return found


def _is_old(state: State, result: CachedResult, now: float) -> bool:
    return now + state.wall_offset - result.at > state.settings.cache_ttl


def _finish(state: State, task: Task, body: Body, outputs: bytes, now: float) -> None:
    """End a task with the result of another one."""
    _share(state, body)
    _forget(state, task)
    task.order.pool.counters.cache_hits += 1
    ending.finish(state, task, Outcome(task.id, task.epoch, Status.DONE, body, outputs=outputs), now)


def _forget(state: State, task: Task) -> None:
    """It has nothing to do with the cache any more."""
    cache, key = state.cache, _key(state, task)
    if task.flags & Flag.FOLLOWING:
        _unfollow(state, task)
    if cache.computing.get(key) is task:
        del cache.computing[key]
    cache.unclaimed.pop(task.id, None)
    del cache.memos[task.id]
    task.flags &= ~Flag.CACHED


def _unfollow(state: State, task: Task) -> None:
    task.flags &= ~Flag.FOLLOWING
    task.waiting = 0
    ending.release(state, state.cache.following.pop(task.id))


def _keep(state: State, key: Key, result: CachedResult) -> None:
    state.cache.results[key] = result
    state.cache.bytes += result.size_bytes
    if not result.volatile:
        state.live_bytes += result.size_bytes


def _drop(state: State, keys: Collection[Key]) -> None:
    cache = state.cache
    journaled: dict[str, list[bytes]] = {}
    for key in keys:
        result = cache.results.pop(key)
        cache.bytes -= result.size_bytes
        stored.unlink(state, result.body)
        if not result.volatile:
            state.live_bytes -= result.size_bytes
            journaled.setdefault(key[0], []).append(key[1])
    state.effects.entries += [ResultsDropped(pool, memos) for pool, memos in journaled.items()]


def _evict(state: State, key: Key) -> None:
    _drop(state, [key])
    pool = state.pools.get(key[0])
    if pool is not None:
        pool.counters.cache_evicted += 1


def _evict_oldest(state: State) -> None:
    _evict(state, next(iter(state.cache.results)))


def _result(one: ResultCached, *, volatile: bool) -> CachedResult:
    size = body_bytes(one.body) + len(one.outputs) + OVERHEAD_BYTES
    return CachedResult(one.function, one.at, one.seconds, one.body, one.outputs, one.sources, size, volatile=volatile)


def _share(state: State, body: Body) -> None:
    """One more has the blobs of a body that somebody has already."""
    for name in blob_names(body):
        state.shared[name] = state.shared.get(name, 1) + 1


def _count_shares(state: State) -> None:
    """Count who has which blob: results of tasks, and cached ones. What one alone has needs no count."""
    holders: dict[str, int] = {}
    bodies = [one.body for one in state.cache.results.values() if type(one.body) is not bytes]
    bodies += [
        task.outcome.body
        for task in state.tasks.values()
        if task.outcome is not None and not task.flags & (Flag.SHADOW | Flag.CHILD)
    ]
    for body in bodies:
        if type(body) is not bytes:
            for name in blob_names(body):
                holders[name] = holders.get(name, 0) + 1
    state.shared.update((name, count) for name, count in holders.items() if count > 1)
