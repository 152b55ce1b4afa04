"""From journal entries back to the state.

What happens when the interchange restarts: every task that was acknowledged is here again; those that had not ended
are queued, but nothing is handed out until the managers of before are back or have had their time (`State.awaited`),
because they may still run some of them.

Compaction moves old entries to the journal's end, so an entry may come before what it builds on, and what an ended task
once needed may be gone altogether. Replay therefore gathers first and builds afterwards: all tasks that are not freed,
then how they ended, and only then what the others wait for. Frees are the exception that makes dropping safe: chunks
are dropped oldest first, so a `Freed` outlives every entry of its tasks.
"""

import bisect
import itertools
from collections.abc import Collection, Iterable, Iterator

import msgspec

from blockyard.ids import NUMBER_BITS, ManagerId, SessionId, TaskId, outer_session, task_id
from blockyard.wire.records import Group, Outcome
from blockyard_interchange.core import (
    caching,
    ending,
    entries,
    functions,
    hosted,
    joins,
    keeping,
    lives,
    queueing,
    sessions,
    stored,
    submit,
)
from blockyard_interchange.core.counters import Counters
from blockyard_interchange.core.pools import Origin, Pool
from blockyard_interchange.core.settings import PoolSettings
from blockyard_interchange.core.stages import Histogram, restored
from blockyard_interchange.core.state import ClientKeys, Run, Session, State, Task, TaskState

_NO_PARENT = -1
"""In `Submitted.parent`."""


class _Gathered(msgspec.Struct):
    """The journal's content, not yet connected."""

    stored: list[entries.Stored] = []
    submitted: list[entries.Submitted] = []
    ended: dict[int, Outcome] = {}
    given: dict[int, int] = {}
    counted: dict[int, entries.Counted] = {}
    freed: set[int] = set()
    closed: set[int] = set()
    children: dict[int, int] = {}
    """Outer session to the next number of its inner one."""
    counters: dict[str, Counters] = {}
    stages: dict[str, dict[str, Histogram]] = {}
    pool_of: dict[int, str] = {}
    refused: list[entries.SubmissionRefused] = []
    pools: dict[str, entries.PoolSet] = {}
    clients: dict[str, entries.ClientAllowed] = {}
    hosted: dict[str, entries.RunHosted] = {}
    cached: dict[tuple[str, bytes], entries.ResultCached] = {}


def replay(state: State, journal: Iterable[entries.Entry], now: float) -> None:
    """Apply all entries to a fresh state."""
    state.began_at = now
    gathered = _Gathered()
    for entry in journal:
        _gather(state, gathered, entry, now)
    if state.notes is not None:
        state.notes.settle()
    _await_managers(state, now)
    for name in gathered.closed:
        _forget_session(state, SessionId(name))
        lives.spend(state, SessionId(name))
    for refused in gathered.refused:
        session = state.sessions.get(SessionId(refused.session))
        if session is not None:
            session.refusals[refused.number] = (refused.kind, refused.message)
    for allowed in gathered.clients.values():
        keeping.let_in(state, allowed.name, ClientKeys(tuple(allowed.keys), tuple(allowed.pools)))
    for made in gathered.pools.values():
        if made.pool not in state.settings.pools:
            keeping.define(state, made.pool, made.settings, tuple(made.keys))
    for pool in {group.spec.pool for entry in gathered.submitted for group in entry.groups} - state.pools.keys():
        state.pools[pool] = Pool(pool, PoolSettings(), Origin.NOBODY)  # its tasks wait until it is defined again
    hosted.restore(state, gathered.hosted.values())
    with caching.replaying(state, gathered.cached.values()):
        _build(state, gathered, now)
    _mark(state, gathered)
    for known in state.pools.values():
        known.counters = gathered.counters.get(known.name, Counters())
        known.journaled = known.counters.unentered
        known.stages = restored(gathered.stages.get(known.name, {}))
    _account_for_volatile(state)
    functions.forget_unused(state)
    for run in [run for run in state.runs.values() if not run.sessions]:
        del state.runs[run.name]


def _await_managers(state: State, now: float) -> None:
    """Each sees that nobody knows it when it says something, which many do rarely."""
    settings = state.settings
    until = now + settings.rejoin_grace + settings.beat(len(state.awaited)) - settings.heartbeat
    state.awaited = dict.fromkeys(state.awaited, until)


def _gather(  # noqa: C901, PLR0912, PLR0915 - one flat case for each kind of entry
    state: State, gathered: _Gathered, entry: entries.Entry, now: float
) -> None:
    match entry:
        case entries.SessionOpened():
            if entry.session in gathered.closed:  # another life of it, perhaps in another run
                gathered.closed.discard(entry.session)
                _forget_session(state, SessionId(entry.session))
            gathered.children[entry.session] = max(entry.next_child, gathered.children.get(entry.session, 0))
            _open_session(state, entry, now)
        case entries.RunOwned():
            run = _run(state, entry.run)
            if entry.epoch >= run.epoch:
                run.owner, run.epoch = SessionId(entry.session), entry.epoch
        case entries.Registered():
            for function in entry.functions:
                functions.restore(state, function)
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
                    _counters(gathered, gathered.pool_of.get(outcome.task, "default")).count(outcome.status)
        case entries.Stored():
            gathered.stored.append(entry)
        case entries.Given():
            gathered.given.update((lease.task, lease.epoch) for lease in entry.leases)
        case entries.Counted():
            before = gathered.counted.get(entry.task, entry)
            epoch = max(before.epoch, entry.epoch)
            gathered.counted[entry.task] = entries.Counted(entry.task, entry.failures, entry.losses, epoch)
        case entries.Freed():
            gathered.freed.update(entry.tasks)
        case entries.SessionClosed():
            gathered.closed.add(entry.session)
        case entries.SessionGivenUp():
            sessions.remember_given_up(state, SessionId(entry.session))
        case entries.ManagerJoined():
            state.awaited[ManagerId(entry.manager)] = now
        case entries.ManagerLeft():
            state.awaited.pop(ManagerId(entry.manager), None)
        case entries.SubmissionRefused():
            gathered.refused.append(entry)
        case entries.PoolSet():
            gathered.pools[entry.pool] = entry
        case entries.PoolRemoved():
            gathered.pools.pop(entry.pool, None)
        case entries.ClientAllowed():
            gathered.clients[entry.name] = entry
        case entries.ClientForbidden():
            gathered.clients.pop(entry.name, None)
        case entries.RunHosted():
            gathered.hosted[entry.run] = entry
        case entries.ResultCached():
            gathered.cached[entry.pool, entry.memo] = entry
        case entries.ResultsDropped():
            for memo in entry.memos:
                gathered.cached.pop((entry.pool, memo), None)
        case entries.Noted(number, told):
            if state.notes is not None:
                state.notes.restore(number, told)
        case entries.NotesConfirmed(number):
            if state.notes is not None:
                state.notes.restore_confirmed(number)
        case entries.PoolCounted():
            gathered.counters[entry.pool] = Counters(
                entry.submitted, entry.done, entry.failed, entry.cancelled, entry.retried, entry.lost, entry.late,
                losses=dict(entry.losses), restarts=entry.restarts, out_of_memory=entry.out_of_memory,
                output_dropped_bytes=entry.output_dropped_bytes, cache_hits=entry.cache_hits,
                cache_misses=entry.cache_misses, cache_evicted=entry.cache_evicted,
            )  # fmt: skip
            if entry.stages:
                gathered.stages[entry.pool] = entry.stages


def _counters(gathered: _Gathered, pool: str) -> Counters:
    return gathered.counters.setdefault(pool, Counters())


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
    session.hosted = entry.hosted
    run.sessions.add(name)


def _forget_session(state: State, name: SessionId) -> None:
    session = state.sessions.pop(name, None)
    if session is not None:
        session.run.sessions.discard(name)


def _build(state: State, gathered: _Gathered, now: float) -> None:
    """Make all tasks, end those that had ended, then connect the others with what they wait for."""
    made: list[tuple[Group, list[Task]]] = []
    children: dict[int, list[Task]] = {}
    for name, number in gathered.children.items():
        outer = state.sessions.get(SessionId(name))
        if number and outer is not None:
            joins.children_of(state, outer).next_number = number
    for entry, group, tasks in _make(state, gathered, now):
        made.append((group, tasks))
        children.setdefault(entry.parent, []).extend(tasks)
    for value in gathered.stored:
        _keep(state, gathered, value)
    for _, tasks in made:
        _end(state, gathered, tasks, now)
    for group, tasks in made:
        _connect(state, group, tasks, children.keys(), now)
    children.pop(_NO_PARENT, None)
    for name, tasks in children.items():
        parent = state.tasks.get(TaskId(name))
        if parent is not None and parent.outcome is None:
            joins.join(state, parent, tasks, now)
        else:
            joins.abandon_children(state, tasks)
    ending.settle(state, now)


def _keep(state: State, gathered: _Gathered, value: entries.Stored) -> None:
    session = state.sessions.get(SessionId(value.session))
    if session is not None:
        session.accepted = max(session.accepted, value.number)
        if task_id(session.id, value.task) not in gathered.freed:
            stored.keep(state, session, value.task, value.body, value.at)


def _make(state: State, gathered: _Gathered, now: float) -> Iterator[tuple[entries.Submitted, Group, list[Task]]]:
    """The tasks that are not freed, in the order of their submission."""
    for entry in sorted(gathered.submitted, key=lambda one: one.at):
        state.last_at = max(state.last_at, entry.at)
        session = _session_of(state, entry)
        if session is None:
            continue
        session.accepted = max(session.accepted, entry.number)
        for place, group in enumerate(entry.groups):
            for part in _not_freed(gathered, session, group):
                tasks = submit.make(state, session, part, entry.at, now)
                if tasks:
                    tasks[0].order.first = entry.origins[place] if entry.origins else group.first
                if entry.opening:
                    submit.forbid_older_leases(tasks, entry.opening)
                yield entry, part, tasks


def _session_of(state: State, entry: entries.Submitted) -> Session | None:
    session = state.sessions.get(SessionId(entry.session))
    outer = state.sessions.get(outer_session(SessionId(entry.session)))
    if session is None and outer is not None:
        return joins.children_of(state, outer)
    return session


def _not_freed(gathered: _Gathered, session: Session, group: Group) -> Iterable[Group]:
    """The stretches of a group that are not freed; they are as good as groups of their own."""
    session.next_number = max(session.next_number, group.first + len(group.bodies))
    base = session.id << NUMBER_BITS | group.first
    if gathered.freed.isdisjoint(range(base, base + len(group.bodies))):
        return (group,)
    kept = [place for place in range(len(group.bodies)) if base + place not in gathered.freed]
    stretches = itertools.groupby(kept, key=lambda place: place - bisect.bisect_left(kept, place))
    return [_part(group, list(places)) for _, places in stretches]


def _part(group: Group, places: list[int]) -> Group:
    """The tasks of a group at these places, which need not be neighbours if only their order is used."""
    return Group(
        group.spec,
        group.first + places[0] if places else group.first,
        [group.bodies[place] for place in places],
        [group.needs[place] for place in places] if group.needs else [],
        [group.keys[place] for place in places] if group.keys else [],
        group.given,
        [group.memos[place] for place in places] if group.memos else [],
    )


def _end(state: State, gathered: _Gathered, tasks: list[Task], now: float) -> None:
    notes, state.notes = state.notes, None  # the hub was told of these
    for task in tasks:
        task.state = TaskState.WAITING
        outcome = gathered.ended.get(task.id)
        if outcome is not None:
            ending.finish(state, task, outcome, now)
    state.notes = notes


def _connect(state: State, group: Group, tasks: list[Task], joined: Collection[int], now: float) -> None:
    """Wire and queue those tasks of a group that have not ended. What joined needs its children only, no more."""
    if group.keys and len(tasks) > 1:  # one by one, because who came first has the key
        for place, task in enumerate(tasks):
            _connect(state, _part(group, [place]), [task], joined, now)
        return
    if group.keys and group.keys[0] and tasks[0].outcome is not None:
        submit.claim_key(state, tasks[0], group.keys[0], now)
    places = [place for place, task in enumerate(tasks) if task.outcome is None]
    if len(places) < len(tasks):
        group = _part(group, places)
    for place in places:
        tasks[place].state = TaskState.QUEUED
    submit.enqueue(state, [tasks[place] for place in places], group, now, joined)


def _mark(state: State, gathered: _Gathered) -> None:
    """What is known of tasks besides: tries so far, and tries that may still run somewhere."""
    for counted in gathered.counted.values():
        task = state.tasks.get(TaskId(counted.task))
        if task is not None:
            task.failures, task.losses = counted.failures, counted.losses
            task.epoch = max(task.epoch, counted.epoch)
    for name, epoch in gathered.given.items():
        task = state.tasks.get(TaskId(name))
        if task is not None and task.state is TaskState.QUEUED and task.epoch < epoch:
            queueing.withdraw(state, task)
            task.epoch = max(task.epoch, epoch - 1)
            state.orphans[TaskId(name)] = task
    _forget_effects(state, gathered)


def _forget_effects(state: State, gathered: _Gathered) -> None:
    """What building did again has been done before; only what the journal lacks is new."""
    state.ended = [outcome for outcome in state.ended if outcome.task not in gathered.ended]
    state.effects.entries.clear()
    state.effects.unlink.clear()
    state.effects.sync = False
    state.talkative.clear()
    state.ending.clear()


def _account_for_volatile(state: State) -> None:
    """Count tasks of pools that are not journaled as failed: they ended with the interchange that held them."""
    for pool in state.pools.values():
        if pool.settings.durability == "memory":
            counters = pool.counters
            counters.failed = counters.submitted - counters.done - counters.cancelled
