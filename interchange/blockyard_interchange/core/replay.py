"""From journal entries back to the state.

What happens when the interchange restarts: every task that was acknowledged is here again; those that had not ended
are queued, but nothing is handed out until the managers of before are back or have had their time (`State.awaited`),
because they may still run some of them.

Compaction moves old entries to the journal's end, so an entry may come before what it builds on. Replay therefore
gathers first and builds afterwards. Frees are the exception that makes dropping safe: chunks are dropped oldest first,
so a `Freed` outlives every entry of its tasks.
"""

from collections.abc import Iterable

import msgspec

from blockyard.ids import FunctionId, ManagerId, SessionId, TaskId
from blockyard.wire.records import Outcome, Status
from blockyard_interchange.core import entries, outcomes, submit
from blockyard_interchange.core.state import Counters, FunctionEntry, Run, Session, State, Task, TaskState


class _Gathered(msgspec.Struct):
    """The journal's content, not yet connected."""

    submitted: list[entries.Submitted] = []
    ended: dict[int, Outcome] = {}
    given: dict[int, int] = {}
    counted: dict[int, entries.Counted] = {}
    freed: set[int] = set()
    closed: set[int] = set()
    counters: dict[str, Counters] = {}
    pool_of: dict[int, str] = {}


def replay(state: State, journal: Iterable[entries.Entry], now: float) -> None:
    """Apply all entries to a fresh state."""
    gathered = _Gathered()
    for entry in journal:
        _gather(state, gathered, entry, now)
    _build(state, gathered, now)
    _end(state, gathered, now)
    for pool in state.pools.values():
        pool.counters = gathered.counters.get(pool.name, Counters())
    for name in gathered.closed:
        session = state.sessions.pop(SessionId(name), None)
        if session is not None:
            session.run.sessions.discard(session.id)


def _gather(  # noqa: C901, PLR0912 - one flat case for each kind of entry
    state: State, gathered: _Gathered, entry: entries.Entry, now: float
) -> None:
    match entry:
        case entries.SessionOpened():
            _open_session(state, entry, now)
        case entries.RunOwned():
            run = _run(state, entry.run)
            if entry.epoch >= run.epoch:
                run.owner, run.epoch = SessionId(entry.session), entry.epoch
        case entries.Registered():
            for function in entry.functions:
                state.functions.setdefault(FunctionId(function.id), FunctionEntry(function))
                state.live_bytes += len(function.body)
        case entries.Submitted():
            gathered.submitted.append(entry)
            for group in entry.groups:
                if not entry.copy:
                    _counters(gathered, group.spec.pool).submitted += len(group.bodies)
                base = entry.session << 32 | group.first
                gathered.pool_of.update((base + place, group.spec.pool) for place in range(len(group.bodies)))
        case entries.Ended():
            for outcome in entry.outcomes:
                gathered.ended.setdefault(outcome.task, outcome)
                if not entry.copy:
                    _count(_counters(gathered, gathered.pool_of.get(outcome.task, "default")), outcome.status)
        case entries.Given():
            gathered.given.update((lease.task, lease.epoch) for lease in entry.leases)
        case entries.Counted():
            gathered.counted[entry.task] = entry
        case entries.Freed():
            gathered.freed.update(entry.tasks)
        case entries.SessionClosed():
            gathered.closed.add(entry.session)
        case entries.ManagerJoined():
            state.awaited[ManagerId(entry.manager)] = now + state.settings.rejoin_grace
        case entries.ManagerLeft():
            state.awaited.pop(ManagerId(entry.manager), None)
        case entries.PoolCounted():
            gathered.counters[entry.pool] = Counters(
                entry.submitted, entry.done, entry.failed, entry.cancelled, entry.retried, entry.lost, entry.late
            )


def _counters(gathered: _Gathered, pool: str) -> Counters:
    return gathered.counters.setdefault(pool, Counters())


def _count(counters: Counters, status: Status) -> None:
    match status:
        case Status.DONE:
            counters.done += 1
        case Status.CANCELLED:
            counters.cancelled += 1
        case _:
            counters.failed += 1


def _run(state: State, name: str) -> Run:
    return state.runs.setdefault(name, Run(name))


def _open_session(state: State, entry: entries.SessionOpened, now: float) -> None:
    run = _run(state, entry.run)
    name = SessionId(entry.session)
    session = state.sessions.get(name)
    if session is None:
        session = state.sessions[name] = Session(name, entry.token, run, entry.user)
    session.name, session.python, session.keep, session.last_seen = entry.name, entry.python, entry.keep, now
    session.accepted = max(session.accepted, entry.accepted)
    session.next_number = max(session.next_number, entry.next_number)
    run.sessions.add(name)


def _build(state: State, gathered: _Gathered, now: float) -> None:
    """Make all tasks that were not freed, then connect them."""
    made = []
    for entry in sorted(gathered.submitted, key=lambda one: (one.at, one.session, one.number)):
        session = _session_of(state, entry)
        if session is None:
            continue
        session.accepted = max(session.accepted, entry.number)
        made += [(entry, group, submit.make(state, session, group, entry.at)) for group in entry.groups]
    for entry, group, tasks in made:
        submit.enqueue(state, tasks, group, now)
        if entry.parent in state.tasks:
            _adopt(state, entry, tasks)


def _session_of(state: State, entry: entries.Submitted) -> Session | None:
    session = state.sessions.get(SessionId(entry.session))
    outer = state.sessions.get(SessionId(entry.session & ~(1 << 31)))
    if session is None and outer is not None:
        return outcomes.children_of(state, outer)
    return session


def _adopt(state: State, entry: entries.Submitted, tasks: list[Task]) -> None:
    parent = state.tasks[TaskId(entry.parent)]
    siblings = parent.needs if parent.state is TaskState.JOINING else ()
    outcomes.join(state, parent, [*siblings, *tasks])


def _end(state: State, gathered: _Gathered, now: float) -> None:
    for name, outcome in gathered.ended.items():
        task = state.tasks.get(TaskId(name))
        if task is not None and task.outcome is None:
            outcomes.finish(state, task, outcome, now)
    outcomes.settle(state, now)
    for counted in gathered.counted.values():
        task = state.tasks.get(TaskId(counted.task))
        if task is not None:
            task.failures, task.losses = counted.failures, counted.losses
    for name, epoch in gathered.given.items():
        task = state.tasks.get(TaskId(name))
        if task is not None and task.outcome is None:
            outcomes.withdraw(state, task)
            task.epoch = max(task.epoch, epoch - 1)
            state.orphans[TaskId(name)] = task
    for name in gathered.freed:
        task = state.tasks.get(TaskId(name))
        if task is not None and task.outcome is not None:
            outcomes.free(state, task)
    _forget_effects(state, gathered)


def _forget_effects(state: State, gathered: _Gathered) -> None:
    """What building did again has been done before; only what the journal lacks is new."""
    state.ended = [outcome for outcome in state.ended if outcome.task not in gathered.ended]
    state.freed = [name for name in state.freed if name not in gathered.freed]
    state.effects.entries.clear()
    state.effects.unlink.clear()
    state.effects.sync = False
    state.talkative.clear()
