"""What of the journal's oldest entries still matters, to be written again at its end before they are dropped."""

from collections.abc import Iterable
from operator import attrgetter

import msgspec

from blockyard.ids import NUMBER_BITS, FunctionId, ManagerId, SessionId, TaskId, inner_session
from blockyard.wire.records import Function, Group
from blockyard_interchange.core import caching, entries
from blockyard_interchange.core.pools import Origin, Pool
from blockyard_interchange.core.stages import Histogram
from blockyard_interchange.core.state import State


def rewritten(state: State, chunk: Iterable[bytes]) -> list[bytes]:
    """What is to be written again of the oldest chunk: the counters as they are, and what of it is not done with."""
    kept = snapshot(state)
    for encoded in chunk:
        entry = entries.glimpse(encoded)
        if isinstance(entry, entries.EndedGlimpse):
            if state.tasks.keys().isdisjoint([outcome.task for outcome in entry.outcomes]):
                continue  # the rule: whoever waits for results has them soon
            entry = entries.decode(encoded)
        copy = _surviving(state, entry)
        if copy is not None:
            kept.append(copy)
    return [entries.encode(entry) for entry in kept]


def _surviving(  # noqa: C901, PLR0912 - one flat case for each kind of entry
    state: State, entry: entries.Entry
) -> entries.Entry | None:
    """A copy of an entry without what is done with; None when nothing is left."""
    match entry:
        case entries.Submitted():
            origins = entry.origins or [group.first for group in entry.groups]
            parts = [_live(state, entry.session, group) for group in entry.groups]
            groups = [part for own in parts for part in own]
            firsts = [first for first, own in zip(origins, parts, strict=True) for _ in own]
            return msgspec.structs.replace(entry, groups=groups, copy=True, origins=firsts) if groups else None
        case entries.Ended():
            kept = [outcome for outcome in entry.outcomes if TaskId(outcome.task) in state.tasks]
            return entries.Ended(kept, copy=True) if kept else None
        case entries.Registered():
            functions = [function for function in entry.functions if _is_used(state, function)]
            return entries.Registered(functions) if functions else None
        case entries.Stored():
            return entry if TaskId(entry.session << NUMBER_BITS | entry.task) in state.tasks else None
        case entries.Given():
            leases = [lease for lease in entry.leases if _is_open(state, lease.task)]
            return entries.Given(leases) if leases else None
        case entries.Counted():
            return _counted(state, entry)
        case entries.SessionOpened():
            return _session(state, entry)
        case entries.RunOwned():
            run = state.runs.get(entry.run)
            return entry if run is not None and run.epoch == entry.epoch else None
        case entries.SubmissionRefused():
            session = state.sessions.get(SessionId(entry.session))
            return entry if session is not None and entry.number in session.refusals else None
        case entries.SessionGivenUp():
            return entry if SessionId(entry.session) in state.given_up else None
        case entries.ManagerJoined():
            name = ManagerId(entry.manager)
            known = name in state.awaited or any(name in pool.managers for pool in state.pools.values())
            return entry if known else None
        case entries.PoolSet():
            return _pool(state, entry.pool)
        case entries.ClientAllowed():
            return _client(state, entry.name)
        case entries.RunHosted():
            return hosted_run(state, entry.run)
        case entries.ResultCached():
            return caching.entry_of(state, entry.pool, entry.memo)
        case entries.Noted(number):
            return entry if state.notes is not None and number > state.notes.confirmed else None
        case _:
            return None


def snapshot(state: State) -> list[entries.Entry]:
    """The counters, so that dropping what was counted loses nothing."""
    counts: list[entries.Entry] = [counted(pool, pool.stages.copied()) for pool in state.pools.values()]
    if state.notes is not None:
        counts.append(entries.NotesConfirmed(state.notes.confirmed))
    return counts


def counted(pool: Pool, stages: dict[str, Histogram]) -> entries.PoolCounted:
    """A pool's counters as they are now."""
    counters = pool.counters
    pool.journaled = counters.unentered
    return entries.PoolCounted(
        pool.name, counters.submitted, counters.done, counters.failed, counters.cancelled, counters.retried,
        counters.lost, counters.late, dict(counters.losses), counters.restarts, counters.out_of_memory,
        counters.output_dropped_bytes, stages, counters.cache_hits, counters.cache_misses, counters.cache_evicted,
    )  # fmt: skip


def _pool(state: State, name: str) -> entries.PoolSet | None:
    """The pool as it is now: the copy comes behind entries that are younger than the original."""
    pool = state.pools.get(name)
    if pool is None or pool.origin is not Origin.KEEPER:
        return None
    return entries.PoolSet(name, pool.settings, list(pool.keys))


def hosted_run(state: State, name: str) -> entries.RunHosted | None:
    """A run as it is now: the copy comes behind entries that are younger than the original."""
    found = state.hosted.get(name)
    if found is None:
        return None
    session = found.session
    return entries.RunHosted(name, session.id, found.digest, found.at, found.steps, session.is_held, found.programs)


def _client(state: State, name: str) -> entries.ClientAllowed | None:
    client = state.clients.get(name)
    return entries.ClientAllowed(name, list(client.public_keys), list(client.pools)) if client is not None else None


def _live(state: State, session: int, group: Group) -> list[Group]:
    """The runs of consecutive tasks of a group that are not freed; ended ones without their arguments."""
    first = session << NUMBER_BITS | group.first
    # Once a task: most groups are either all done with or still waiting as a whole, which C finds out faster.
    tasks = list(map(state.tasks.get, range(first, first + len(group.bodies))))  # type: ignore[arg-type]  # `TaskId`
    found = [task for task in tasks if task is not None]
    if not found:
        return []
    if len(found) == len(tasks) and not any(map(_outcome, found)):
        return [group]
    parts: list[Group] = []
    following = -1
    for place, (task, body) in enumerate(zip(tasks, group.bodies, strict=True)):
        if task is None:
            continue
        number = group.first + place
        if number != following:
            parts.append(Group(group.spec, number, [], [], [], group.given, []))
        part = parts[-1]
        following = number + 1
        part.bodies.append(body if task.outcome is None else b"")
        if group.needs:
            part.needs.append(group.needs[place] if task.outcome is None else [])
        if group.keys:
            part.keys.append(group.keys[place])
        if group.memos:
            part.memos.append(group.memos[place])
    return parts


_outcome = attrgetter("outcome")


def _is_used(state: State, function: Function) -> bool:
    found = state.functions.get(FunctionId(function.id))
    return found is not None and found.users > 0


def _counted(state: State, entry: entries.Counted) -> entries.Counted | None:
    """The task's counts as they are now: the copy comes behind entries that are younger than the original."""
    task = state.tasks.get(TaskId(entry.task))
    if task is None or task.outcome is not None:
        return None
    return entries.Counted(entry.task, task.failures, task.losses, entry.epoch)


def _is_open(state: State, name: int) -> bool:
    task = state.tasks.get(TaskId(name))
    return task is not None and task.outcome is None


def _session(state: State, entry: entries.SessionOpened) -> entries.SessionOpened | None:
    session = state.sessions.get(SessionId(entry.session))
    if session is None:
        return None
    children = state.sessions.get(inner_session(session.id))
    return entries.SessionOpened(
        session.id, session.token, session.run.name, session.user, session.keep, session.python, session.name,
        session.accepted, session.next_number, children.next_number if children is not None else 0, session.hosted,
    )  # fmt: skip
