"""The interchange in figures at one moment: a copy, so that another thread may look at it while the queue goes on.

What it costs depends on how many pools, managers, blocks and clients there are, not on how many tasks.
"""

import msgspec

from blockyard.wire.records import Record
from blockyard_interchange.core import listing
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.matching import is_queued
from blockyard_interchange.core.pools import Pool
from blockyard_interchange.core.stages import Histogram
from blockyard_interchange.core.state import State, Task


class PoolFigures(Record, frozen=True):
    """One pool."""

    name: str
    queued: int
    """Tasks that could start now."""
    assigned: int
    """Tasks in managers' hands."""
    held_back: int
    """The other tasks that have not ended: they wait for tasks, for their next try, or for managers of before."""
    oldest_seconds: float
    """How long the first of the queued tasks has been queued; 0 when none is."""
    counters: Counters
    stages: dict[str, Histogram]
    """By `Stage`."""
    managers: int
    draining: int
    """Of the managers."""
    workers: int
    busy: int
    """Of the workers, as of the last heartbeats, like the next."""
    resident_bytes: int
    silent_seconds: float
    """Since when the quietest manager was not heard of."""
    blocks: dict[str, int]
    """Number of blocks by state."""


class Figures(Record, frozen=True):
    """All of it. Durations in seconds."""

    opening: int
    uptime_seconds: float
    pools: list[PoolFigures]
    clients: int
    """That are connected."""
    tasks: int
    """That are not freed."""
    body_bytes: int
    live_bytes: int
    """Of the journal, roughly."""
    cached_results: int
    cached_bytes: int
    unconfirmed_bytes: int
    """Of the history: what the hub has not confirmed, and is kept for it."""
    dropped_packets: int
    """Of samples and events that waited for a hub and were too many, since the interchange began."""
    counters: Counters
    """What belongs to no pool: refusals and repeats, since the interchange began."""


def figures(state: State, now: float) -> Figures:
    """Everything at `now`."""
    notes = state.notes
    return Figures(
        state.opening,
        now - state.began_at,
        [_pool(state, pool, now) for pool in state.pools.values()],
        sum(session.connected for session in state.sessions.values()),
        len(state.tasks),
        state.bytes,
        state.live_bytes,
        len(state.cache.results),
        state.cache.bytes,
        notes.kept_bytes if notes is not None else 0,
        notes.dropped if notes is not None else 0,
        _copy(state.counters),
    )


def _pool(state: State, pool: Pool, now: float) -> PoolFigures:
    managers = pool.managers.values()
    wide = [task for task in pool.gangs if is_queued(task)]
    queued = pool.queue.size + len(wide)
    extra_parts = sum(
        len(gang.managers) - 1 for gang in state.gangs.values() if gang.started and gang.task.order.pool is pool
    )
    assigned = sum(len(manager.leases) for manager in managers) - extra_parts
    counters = pool.counters
    heads = [*pool.queue.heads(is_queued), *wide[:1]]
    blocks: dict[str, int] = {}
    for line in listing.lines(pool, now):
        blocks[line.report.state] = blocks.get(line.report.state, 0) + 1
    return PoolFigures(
        pool.name,
        queued,
        assigned,
        max(0, counters.unfinished - queued - assigned),
        max((_age(state, task, now) for task in heads), default=0.0),
        _copy(counters),
        pool.stages.copied(),
        len(managers),
        sum(manager.draining for manager in managers),
        sum(manager.workers for manager in managers),
        sum(max(0, min(manager.busy, manager.workers)) for manager in managers),
        sum(manager.resident_bytes for manager in managers),
        max((now - manager.last_seen for manager in managers), default=0.0),
        blocks,
    )


def _age(state: State, task: Task, now: float) -> float:
    return max(0.0, now - (task.since or task.order.at - state.wall_offset))


def _copy(counters: Counters) -> Counters:
    return msgspec.structs.replace(counters, losses=dict(counters.losses))
