"""How a simulated system must end when nothing breaks any more: it comes to rest, and its books are right."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from blockyard.ids import TaskId, task_name
from blockyard.wire.records import Status
from blockyard_interchange.core import entries, explain, invariants, keeping, replay
from blockyard_interchange.core.state import State
from blockyard_interchange.journal.log import Log
from tests.simulation.ledger import Wrong

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

EVENTS = 400_000
"""More events than a system that gets anywhere needs."""


def check(system: Scenario) -> None:
    """Raise `Wrong` or `invariants.Broken` for what is not as it must be at rest."""
    _check_calls(system)
    _check_cached(system)
    _check_empty(system, system.interchange.state)
    _check_restart(system)


def is_at_rest(system: Scenario) -> bool:
    """Whether nothing is left to be done. Raises `Wrong` when it never will be."""
    if system.world.events > EVENTS:
        raise Wrong(f"{EVENTS} events and no end: {what_is_left(system)}")
    people = [*system.clients, *([system.keeper] if system.keeper is not None else [])]
    if any(one.alive for one in people) or not system.interchange.alive:
        return False
    state, shell = system.interchange.state, system.interchange.shell
    if state.tasks or state.sessions or state.unconfirmed or shell.is_held or shell.has_uncommitted:
        return False
    return all(not manager.alive or manager.exit or not manager.core.state.held for manager in system.managers.values())


def what_is_left(system: Scenario) -> str:
    """Who still has something, for the message of who waited in vain."""
    state = system.interchange.state
    lines = [f"clients {[(c.name, c.core.standing, sorted(c.futures)) for c in system.clients if c.alive]}"]
    lines += [f"session {name:x}: {one.tasks} tasks, connected={one.connected}" for name, one in state.sessions.items()]
    for task in list(state.tasks.values())[:10]:
        lines.append(
            f"{task_name(task.id)} {task.state.name}: {' '.join(explain.explain(state, task, system.world.now))}"
        )
    for manager in system.managers.values():
        held = [one.lease for one in manager.core.state.held.values()]
        lines.append(f"{manager.name}: alive={manager.alive} exit={manager.exit!r} holds {held}")
    return "\n  ".join(lines)


def _check_calls(system: Scenario) -> None:
    for client in system.clients:
        for call in client.mine:
            name = task_name(TaskId(call.task))
            if call.task in system.ledger.accepted:
                if call.task not in system.ledger.ended:
                    raise Wrong(f"task {name} was taken in and never ended")
                if call.refused:
                    raise Wrong(f"task {name} was taken in and refused")
            if client.left and not call.is_done:
                raise Wrong(f"the future of task {name} never ended")


def _check_cached(system: Scenario) -> None:
    """Where nothing breaks, who was told another's result did not run, and when all fits, nothing runs twice."""
    if system.faults:
        return
    runs: Counter[bytes] = Counter()
    calls = [call for client in system.clients for call in client.mine if call.memo and call.outcome is not None]
    for call in calls:
        ran = system.ledger.runs[call.task, call.plan.salt]
        runs[call.memo] += ran
        if ran and call.outcome is not None and not call.outcome.epoch and call.outcome.status is Status.DONE:
            raise Wrong(f"task {task_name(TaskId(call.task))} ran, and was told what another had found")
    if system.settings.cache_max_bytes < 10_000 or any(call.may_be_cancelled for call in calls):
        return
    for call in calls:
        if not call.plan.failures and runs[call.memo] > 1:
            raise Wrong(f"what is known by {call.memo.hex()} ran {runs[call.memo]} times though nothing broke")


def _check_empty(system: Scenario, state: State) -> None:
    for table in ("tasks", "sessions", "peers", "runs", "functions", "keys", "key_of", "orphans", "gangs"):
        if getattr(state, table):
            raise Wrong(f"at rest {table} is not empty: {getattr(state, table)!r}")
    for table in ("memos", "computing", "following", "unclaimed"):
        if getattr(state.cache, table):
            raise Wrong(f"at rest {table} of the cache is not empty: {getattr(state.cache, table)!r}")
    if state.bytes or state.live_bytes != state.cache.bytes:
        raise Wrong(f"at rest there are {state.bytes} bytes, {state.live_bytes} live, {state.cache.bytes} cached")
    for pool in state.pools.values():
        if pool.queue.size or pool.gangs:
            raise Wrong(f"at rest pool {pool.name} has {pool.queue.size} queued, {len(pool.gangs)} wide tasks")
        for manager in pool.managers.values():
            if manager.leases or manager.load:
                raise Wrong(f"at rest manager {manager.id} holds {list(manager.leases)}")
        counters = pool.counters
        # One that was removed and forgotten counts anew.
        if pool.name not in system.kept and counters.submitted != system.ledger.submitted[pool.name]:
            raise Wrong(f"pool {pool.name} counts {counters.submitted} tasks, not {system.ledger.submitted[pool.name]}")
        if counters.submitted != counters.done + counters.failed + counters.cancelled:
            raise Wrong(f"the counters of pool {pool.name} do not add up: {counters}")


def _check_restart(system: Scenario) -> None:
    """Another process reads the same from the journal."""
    before = system.interchange.state
    system.interchange.kill()
    system.interchange.store.close()
    system.interchange.store.is_away = False
    log = Log(system.interchange.store)
    after = State(system.settings, log.open(), system.world.wall_offset, seal=bytes(32))
    replay.replay(after, [entries.decode(entry) for entry in log.replay()], system.world.now)
    invariants.check(after)
    _check_empty(system, after)
    if keeping.keys(after) != keeping.keys(before) or after.pools.keys() != before.pools.keys():
        raise Wrong(f"pools {after.pools.keys()} after a restart, {before.pools.keys()} before")
    cached = [{key: one.body for key, one in state.cache.results.items()} for state in (before, after)]
    if cached[0] != cached[1]:
        raise Wrong(f"cached results were {cached[0]}, are {cached[1]} after a restart")
    for name, pool in before.pools.items():
        if pool.settings != after.pools[name].settings:
            raise Wrong(f"pool {name} was {pool.settings}, is {after.pools[name].settings} after a restart")
        mine, its = pool.counters, after.pools[name].counters
        for figure in (
            "submitted", "done", "failed", "cancelled", "retried", "lost", "late", "losses", "cache_hits",
            "cache_misses", "cache_evicted",
        ):  # fmt: skip
            if getattr(mine, figure) != getattr(its, figure):
                raise Wrong(
                    f"pool {name}: {figure} was {getattr(mine, figure)}, is {getattr(its, figure)} after a restart"
                )
