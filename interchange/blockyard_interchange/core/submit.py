"""New tasks: checked whole, wired to what they need, and queued."""

import heapq
from collections.abc import Collection, Mapping
from types import MappingProxyType

from blockyard.ids import MAX_NUMBER, FunctionId, TaskId, task_id, task_name
from blockyard.wire import client as wire
from blockyard.wire.records import MAX_MEMO_BYTES, Group, Need, Outcome, Status, blob_bytes, body_bytes
from blockyard_interchange.core import caching, ending, requests, rights, triggers
from blockyard_interchange.core.entries import SubmissionRefused, Submitted
from blockyard_interchange.core.state import Flag, Order, Session, State, Task, TaskState

_TICK_SECONDS = 1e-6
"""A little more than the difference of two instants that a float can still tell apart."""
_GROUP_BYTES = 160
"""What a group costs in the journal besides its bodies, roughly. Steps of workflows may be groups of one."""
_NEED_BYTES = 9
"""What it costs there that a task needs another one."""
_MARK_BYTES = 20
"""What the mark of a step costs there, roughly, with a short name."""
_NAMELESS: Mapping[int, str] = MappingProxyType({})
_MOST_REFUSALS = 64
"""Refused submissions of one client that are remembered."""


def on_submit(state: State, session: Session, message: wire.Submit, now: float) -> None:
    """Take in a submission, or refuse it whole.

    A submission that was taken in before (sent again after a reconnect) is confirmed again and changes nothing. One
    that was refused stays refused, whatever became right meanwhile: its client may have heard of that already.
    """
    effects = state.effects
    if message.number <= session.accepted:
        state.counters.duplicates += 1
        state.unaccepted[session.id] = session
        return
    if (known := session.refusals.get(message.number)) is not None:
        effects.after_clients.append((session.peer, wire.Refused(message.number, *known)))
        return
    fault = _fault(state, session, message)
    if fault is not None:
        state.counters.refused += 1
        _remember_refusal(state, session, message.number, fault)
        effects.after_clients.append((session.peer, wire.Refused(message.number, *fault)))
        return
    at = stamp(state, now)
    add(state, session, message.groups, at, now)
    journal(state, session, message.groups, at, message.number)
    session.accepted = message.number
    state.unaccepted[session.id] = session


def stamp(state: State, now: float) -> float:
    """When a submission came, UTC: later than all before, because replay goes by it, whatever the clock does."""
    state.last_at = max(now + state.wall_offset, state.last_at + _TICK_SECONDS)
    return state.last_at


def journal(state: State, session: Session, groups: list[Group], at: float, number: int = 0) -> None:
    """Write down new tasks, but for those of pools that keep no journal. `number`: of their submission."""
    durability = {group.spec.pool: state.pools[group.spec.pool].settings.durability for group in groups}
    lasting = [group for group in groups if durability[group.spec.pool] != "memory"]
    if lasting:
        state.effects.entries.append(Submitted(session.id, at, lasting, number))
        state.effects.sync |= "fsync" in durability.values()


def _remember_refusal(state: State, session: Session, number: int, fault: tuple[str, str]) -> None:
    """Keep a refusal until it is known to have arrived, which nobody says: so keep the last few."""
    session.refusals[number] = fault
    state.effects.entries.append(SubmissionRefused(session.id, number, *fault))
    while len(session.refusals) > _MOST_REFUSALS:
        del session.refusals[next(iter(session.refusals))]


def _fault(state: State, session: Session, message: wire.Submit) -> tuple[str, str] | None:
    """(kind, sentence) of the first thing wrong with a submission."""
    return groups_fault(state, session, message.groups, f"submission {message.number}", session)


def groups_fault(
    state: State, session: Session, groups: list[Group], what: str, asker: Session, steps: Mapping[int, str] = _NAMELESS
) -> tuple[str, str] | None:
    """(kind, sentence) of the first thing wrong with groups that `asker` wants to become tasks of `session`.

    `steps`: task to name, by which people know a group better than by its place.
    """
    number = session.next_number
    for place, group in enumerate(groups):
        name = steps.get(task_id(session.id, group.first))
        where = f"{what}, group {place}" if name is None else f"{what}, step {name!r}"
        if group.first < number or group.first + len(group.bodies) > MAX_NUMBER:
            return "protocol", f"{where}: first={group.first} is out of order; expected at least {number}"
        number = group.first + len(group.bodies)
        for field, values in (("needs", group.needs), ("keys", group.keys), ("memos", group.memos)):
            if values and len(values) != len(group.bodies):
                return "protocol", f"{where}: {len(values)} {field} for {len(group.bodies)} tasks"
        longest = max((len(memo) for memos in group.memos for memo in memos), default=0)
        if longest > MAX_MEMO_BYTES:
            return "protocol", f"{where}: a memo of {longest} bytes; at most {MAX_MEMO_BYTES}"
        if group.needs:
            base = task_id(session.id, group.first)
            for own, needs in enumerate(group.needs):
                if (
                    needs
                    and max(needs) >= base + own
                    and any(base + own <= need <= base | MAX_NUMBER for need in needs)
                ):
                    return "protocol", f"{where}: task {task_name(TaskId(base + own))} needs itself or a later one"
        sentence = rights.submission_fault(state, asker, group)
        if sentence:
            return "pool", f"{where}: {sentence}"
        # By the session's Python: the same bytes may have been registered by a client of another one before.
        entry = state.functions.get(FunctionId(group.spec.function)) if session.hosted else None
        fault = group_fault(state, group, where, entry.function.python if entry is not None else session.python)
        if fault is not None:
            return fault
    return None


def group_fault(state: State, group: Group, where: str, python: str) -> tuple[str, str] | None:
    """(kind, sentence) of what is wrong with what a group asks for; it was made by a process of this `python`."""
    spec = group.spec
    pool = state.pools.get(spec.pool)
    if spec.condition is not None and (sentence := triggers.condition_fault(spec.condition, group)):
        return "request", f"{where}: {sentence}"
    if pool is None or not pool.is_defined:
        return "pool", f"{where}: {rights.unknown_pool(state, spec.pool)}"
    if FunctionId(spec.function) not in state.functions:
        return "function", f"{where}: function {spec.function.hex()} was not registered"
    if not requests.is_plain(spec):
        sentence = requests.nonsense(spec) or requests.impossible(spec, spec.pool, pool.settings)
        if sentence:
            return "request", f"{where}: {sentence}"
    sentence = _wrong_python(state, group, python)
    if sentence:
        return "python", f"{where}: {sentence}"
    return None


def _wrong_python(state: State, group: Group, python: str) -> str:
    if not python:
        return ""
    for manager in state.pools[group.spec.pool].managers.values():
        if manager.python != python:
            return (
                f"it was pickled by Python {python}, the workers of pool {group.spec.pool!r} run Python "
                f"{manager.python}; use the same minor version on both sides"
            )
        break  # a pool's managers all run one version: others are refused when they join
    return ""


def forbid_older_leases(tasks: list[Task], opening: int) -> None:
    """Tasks with numbers of the interchange's own: one that died before its commit may have given the same to others.

    What managers still hold under these names from then is another task. (A client that sends a submission again sends
    the same under the same names, so its tasks may be taken up by whoever runs them already.)
    """
    for task in tasks:
        task.epoch = max(task.epoch, (opening << 20) - 1)


def add(state: State, session: Session, groups: list[Group], at: float, now: float, parent: int = 0) -> list[Task]:
    """Make the tasks of checked groups and queue those that need wait for nothing. `parent`: whose `join` made them."""
    made: list[Task] = []
    for group in groups:
        fresh = make(state, session, group, at, now)
        if state.notes is not None and fresh:
            state.notes.on_submitted(session, group, fresh[0].order, parent)
        enqueue(state, fresh, group, now)
        made += fresh
    return made


def make(state: State, session: Session, group: Group, at: float, now: float) -> list[Task]:
    """Make the tasks of one group, which came at `at` (UTC); they are known, but neither wired nor queued."""
    spec = group.spec
    pool = state.pools[spec.pool]
    entry = state.functions[FunctionId(spec.function)]
    order = Order(spec, session, pool, entry, requests.slots(spec, pool.settings), at)
    order.first = group.first
    first = task_id(session.id, group.first)
    names: list[TaskId] = list(range(first, first + len(group.bodies)))  # type: ignore[arg-type]  # as in `compaction`
    fresh = [Task(name, order, body) for name, body in zip(names, group.bodies, strict=True)]
    state.tasks.update(zip(names, fresh, strict=True))
    entry.users += len(fresh)
    session.tasks += len(fresh)
    pool.tasks += len(fresh)
    session.next_number = max(session.next_number, group.first + len(fresh))
    pool.counters.submitted += len(fresh)
    size = sum(len(body) if type(body) is bytes else body_bytes(body) for body in group.bodies)
    session.bytes += size
    state.bytes += size
    if any(type(body) is not bytes for body in group.bodies):
        in_blobs = sum(map(blob_bytes, group.bodies))
        session.blob_bytes += in_blobs
        state.blob_bytes += in_blobs
    if not order.volatile:
        order.share = _share(session, group)
        state.live_bytes += size + (16 + order.share) * len(fresh)
    if spec.deadline:
        # UTC is all that outlives a restart. If the clock was set back meanwhile, no deadline gets longer than it was.
        _set_deadlines(state, fresh, min(order.deadline - state.wall_offset, now + spec.deadline))
    return fresh


def _share(session: Session, group: Group) -> int:
    """A task's share of what the journal keeps of a group besides the bodies, in bytes.

    Too little of it, and the log would be compacted again and again for nothing.
    """
    whole = _GROUP_BYTES + _NEED_BYTES * sum(map(len, group.needs))
    return whole // max(1, len(group.bodies)) + (_MARK_BYTES if session.hosted else 0)


def enqueue(state: State, fresh: list[Task], group: Group, now: float, joined: Collection[int] = ()) -> None:
    """Connect the tasks of one group with what they need, and queue those that need wait for nothing.

    `joined`: those that ran, and from now on need only what they left to be done.
    """
    spec, order = group.spec, fresh[0].order if fresh else None
    if order is None:
        return
    pool = order.pool
    gang = requests.is_gang(spec)
    if gang:
        for task in fresh:
            task.flags |= Flag.GANG
    wired = group.needs or group.keys or group.memos or order.is_ruled
    queued = _wire(state, fresh, group, now, joined) if wired else fresh
    if order.session.is_held:
        for task in queued:
            task.state = TaskState.WAITING
    elif gang:
        pool.gangs.extend(queued)
    else:
        pool.queue.extend(queued, priority=spec.priority, line=order.session.id)
        pool.queued_beyond += (order.slots - 1) * len(queued)
    state.hungry[pool.name] = pool


def _set_deadlines(state: State, tasks: list[Task], when: float) -> None:
    for task in tasks:
        heapq.heappush(state.timers, (when, task.id, -1))


def _wire(state: State, fresh: list[Task], group: Group, now: float, joined: Collection[int]) -> list[Task]:
    """Connect tasks with what they need and with their keys; return those that may be queued."""
    queued: list[Task] = []
    now_waiting, now_queued = TaskState.WAITING, TaskState.QUEUED  # once: a member costs as much as a call
    given = {need.task: _stub(need, fresh[0]) for need in group.given}
    for place, task in enumerate(fresh):
        task.state = now_waiting
        key = group.keys[place] if group.keys else ""
        if key and not claim_key(state, task, key, now):
            continue
        if group.memos and group.memos[place] and task.id not in joined:
            caching.mark(state, task, group.memos[place])
        needs = group.needs[place] if group.needs else []
        if task.id in joined or not (needs or task.order.is_ruled) or _needs_met(state, task, needs, given, now):
            if task.flags & Flag.CACHED and not caching.may_run(state, task, now):
                continue
            task.state = now_queued
            queued.append(task)
    return queued


def _stub(need: Need, like: Task) -> Task:
    """A result that came along with those that need it, as the task that it was the result of."""
    task = Task(TaskId(need.task), like.order, b"")
    task.state, task.flags = TaskState.ENDED, Flag.GIVEN
    task.outcome = Outcome(need.task, 0, Status.DONE, need.body or b"")
    return task


def _needs_met(state: State, task: Task, needs: list[int], given: dict[int, Task], now: float) -> bool:
    tasks: Mapping[int, Task] = state.tasks  # type: ignore[assignment]  # as in `compaction`
    found: list[Task] = []
    left: list[Task] = []
    for need in needs:
        other = given.get(need) or tasks.get(need)
        if other is None:
            ending.fail_dependent(state, task, f"it needs task {task_name(TaskId(need))}, which is not known", now)
            return False
        found.append(other)
        if other.outcome is None:
            left.append(other)
    if len(left) < len(found) and not task.order.is_ruled:
        failed = [other for other in found if other.outcome is not None and other.outcome.status is not Status.DONE]
        if failed:
            ending.follow(state, task, failed[0], now)
            return False
    task.needs, task.waiting = tuple(found), len(left)
    for other in found:
        other.users += 1
    for other in left:
        if other.dependents is None:
            other.dependents = [task]
        else:
            other.dependents.append(task)
    return ending.consider(state, task, now) if task.order.is_ruled else not left


def claim_key(state: State, task: Task, key: str, now: float) -> bool:
    """Give the key to this task; when another has it, this one becomes its shadow: it ends as that one ends."""
    holder = state.tasks.get(state.keys.get((task.order.pool.name, key), TaskId(-1)))
    if holder is None:
        state.keys[task.order.pool.name, key] = task.id
        state.key_of[task.id] = (task.order.pool.name, key)
        task.flags |= Flag.KEYED
        return True
    task.flags |= Flag.SHADOW
    task.needs = (holder,)
    holder.users += 1
    if task.outcome is not None:
        return False  # replayed
    if holder.outcome is not None:
        ending.finish(state, task, echo(task, holder.outcome), now)
        return False
    task.waiting = 1
    holder.dependents = [*(holder.dependents or ()), task]
    return False


def echo(task: Task, outcome: Outcome) -> Outcome:
    """The outcome of a task with the same key, as this task's own."""
    return Outcome(
        task.id, task.epoch, outcome.status, outcome.body, outcome.seconds, outcome.failure, None, outcome.outputs
    )
