"""Answers to questions about the interchange, and orders to it, from the command line and from pools' executors.

Who asks hears of the pools only that its key is good for, and an order to others is refused; see `rights`.
"""

import msgspec

from blockyard.ids import TaskId, task_name
from blockyard.wire import client as wire
from blockyard.wire import control as asked
from blockyard.wire.hosted import Run, RunQuestion
from blockyard.wire.keeping import KeeperOrder
from blockyard.wire.records import Failure
from blockyard_interchange.core import (
    caching,
    explain,
    holding,
    hosted,
    keeping,
    listing,
    managers,
    output,
    requests,
    rights,
    run_ends,
    sessions,
    showing,
)
from blockyard_interchange.core.answering import refuse, reply
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.pools import Manager, Pool
from blockyard_interchange.core.state import Session, State, Task, TaskState

_PUBLISH_SECONDS = 0.1
_MANAGER_SECONDS = 1e-4
"""For each manager, between two looks at all of them: so that looking takes no more than a tenth of the time."""

_AnsweredAtOnce = (
    asked.Status | asked.Tasks | asked.Task | asked.Managers | asked.Watch | asked.Drain | asked.BlockGone
    | asked.CancelTasks | asked.Blocks | asked.ReportBlocks | asked.CancelMatching | asked.Cached | asked.ClearCache
    | asked.Say
)  # fmt: skip

_decode = msgspec.msgpack.Decoder(asked.Question).decode


def on_ask(state: State, session: Session, message: wire.Ask, now: float) -> None:
    """Answer a question; one that can't be read is refused by its number."""
    try:
        question: asked.Question = _decode(message.question)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        refused = wire.Refused(message.number, "protocol", f"question {message.number}: {error}")
        state.effects.after_clients.append((session.peer, refused))
        return
    if isinstance(question, KeeperOrder):
        done = keeping.carry_out(state, session, question, now)
        if isinstance(done, keeping.Fault):
            refuse(state, session, message.number, *done)
        else:
            reply(state, session, message.number, asked.Done(done))
    elif isinstance(question, RunQuestion):
        _answer_of_run(state, session, message.number, question, now)
    elif (pool := getattr(question, "pool", "")) and not rights.may_use(state, session, pool):
        refuse(state, session, message.number, "pool", rights.not_allowed(state, session, pool))
    elif isinstance(question, asked.CancelMatching) and question.given_up and not _keeps(state, session, pool):
        refuse(state, session, message.number, "key", f"given_up: only a keeper gives pools up, {session.user} is none")
    elif _asks_in_vain(state, question):
        reply(state, session, message.number, _no_pool(state, session, pool))
    elif isinstance(question, asked.Tasks | asked.CancelMatching) and _is_of_no_run(state, session, question):
        reply(state, session, message.number, asked.Unknown(rights.unknown_run(state, session, question.run)))
    elif isinstance(question, asked.Watch) and _is_there(state, pool):
        _watch(state, session, message.number, state.pools[pool])
    elif isinstance(question, asked.Output | asked.HoldTask | asked.Follow):
        _pass_on(state, session, message.number, question, now)
    else:
        reply(state, session, message.number, _answer(state, session, question, now))


def _keeps(state: State, session: Session, name: str) -> bool:
    """Whether this client sees to the blocks of a pool: a keeper, or the one of a local system, which watches it."""
    pool = state.pools.get(name)
    return rights.is_keeper(session) or (pool is not None and session.id in pool.watchers)


def _answer_of_run(state: State, session: Session, number: int, question: RunQuestion, now: float) -> None:
    if isinstance(question, Run) and run_ends.may_wait(state, session, number, question, now):
        return
    answer = hosted.answer(state, session, question, now)
    if isinstance(answer, keeping.Fault):
        refuse(state, session, number, *answer)
    else:
        reply(state, session, number, answer)


def _pass_on(
    state: State, session: Session, number: int, question: asked.Output | asked.HoldTask | asked.Follow, now: float
) -> None:
    """What managers, or the hub, have to answer."""
    match question:
        case asked.Output(task):
            output.ask(state, session, number, TaskId(task))
        case asked.HoldTask():
            holding.ask(state, session, number, question)
        case asked.Follow():
            showing.ask(state, session, number, question, now)


def _watch(state: State, session: Session, number: int, pool: Pool) -> None:
    pool.watchers[session.id] = number
    pool.published = None
    state.watched[pool.name] = pool


def _asks_in_vain(state: State, question: object) -> bool:
    """Whether it is about tasks of a pool that never was; those of one that was removed may still be there."""
    of_pool = asked.Tasks | asked.CancelMatching | asked.Cached | asked.ClearCache
    return isinstance(question, of_pool) and question.pool not in ("", *state.pools)


def _is_of_no_run(state: State, session: Session, question: asked.Tasks | asked.CancelMatching) -> bool:
    return bool(question.run) and not rights.may_hear_of(state, session, question.run)


def _is_there(state: State, pool: str) -> bool:
    return pool in state.pools and state.pools[pool].is_defined


def _answer(state: State, session: Session, question: _AnsweredAtOnce, now: float) -> asked.Answer:
    match question:
        case asked.Status():
            return _status(state, session)
        case asked.Tasks():
            found = rights.visible(state, session, [task for task in state.tasks.values() if _matches(task, question)])
            return asked.TasksAre([_line(task) for task in found[: question.limit]], len(found))
        case asked.Task():
            task = state.tasks.get(TaskId(question.task))
            if task is None or not rights.may_see(state, session, task):
                return asked.Unknown(f"task {task_name(TaskId(question.task))}: never submitted here, or collected")
            return asked.TaskIs(_line(task), explain.explain(state, task, now))
        case asked.Managers():
            return asked.ManagersAre([_manager(one, now) for one in _managers(state, session)])
        case asked.Blocks() | asked.ReportBlocks():
            return _blocks_answer(state, session, question, now)
        case asked.Cached():
            return caching.listing(state, _named(state, session, question.pool))
        case asked.ClearCache():
            return asked.Done(caching.clear(state, _named(state, session, question.pool), question.function))
        case asked.Say():
            if state.notes is not None:
                state.notes.on_said(session, question, now)
            return asked.Done(int(state.notes is not None))
        case asked.Watch():
            return _no_pool(state, session, question.pool)
        case _:
            return asked.Done(_carry_out(state, session, question, now))


def _named(state: State, session: Session, pool: str) -> list[str]:
    """The pool of this name, or all that this client may hear of."""
    return [one.name for one in rights.pools(state, session) if pool in ("", one.name)]


def _status(state: State, session: Session) -> asked.StatusIs:
    """The whole; for a client that is limited to some pools, what of it is its own."""
    pools = rights.pools(state, session)
    lines = [_pool(pool) for pool in pools]
    if session.user in state.limits:
        own = [one for one in state.sessions.values() if one.user == session.user]
        tasks = sum(pool.tasks for pool in pools)
        return asked.StatusIs(
            state.opening, tasks, sum(one.bytes for one in own), sum(one.connected for one in own), lines
        )
    clients = sum(one.connected for one in state.sessions.values())
    seen = state.counters
    return asked.StatusIs(
        state.opening, len(state.tasks), state.bytes, clients, lines, seen.refused_peers, seen.refused_frames,
        seen.refused,
    )  # fmt: skip


def _carry_out(
    state: State,
    session: Session,
    order: asked.Drain | asked.BlockGone | asked.CancelTasks | asked.CancelMatching,
    now: float,
) -> int:
    """Do as told; returns how many managers or tasks it was done to."""
    match order:
        case asked.Drain():
            chosen = [one for one in _of_blocks(state, session, order) if not one.draining]
            for manager in chosen:
                managers.drain(state, manager, order.grace, now)
            return len(chosen)
        case asked.BlockGone():
            gone = _of_blocks(state, session, order)
            for manager in gone:
                managers.gone(state, manager, Failure(f"block {manager.block} ended: {order.reason}"), now,
                              loss=Loss.BLOCK)  # fmt: skip
            return len(gone)
        case asked.CancelTasks():
            found = [task for name in order.tasks if (task := state.tasks.get(TaskId(name))) is not None]
            return _cancel(state, session, found, now)
        case asked.CancelMatching():
            found = [task for task in state.tasks.values() if _is_of(task, order)]
            return _cancel(state, session, found, now, order.given_up)


def _cancel(state: State, session: Session, tasks: list[Task], now: float, given_up: str = "") -> int:
    unfinished = [task for task in rights.visible(state, session, tasks) if task.outcome is None]
    if given_up:
        sessions.fail_pool(state, unfinished, given_up, now)
    else:
        sessions.cancel(state, unfinished, now)
    return len(unfinished)


def _blocks_answer(
    state: State, session: Session, question: asked.Blocks | asked.ReportBlocks, now: float
) -> asked.Answer:
    if question.pool and not _is_there(state, question.pool):
        return _no_pool(state, session, question.pool)
    if isinstance(question, asked.ReportBlocks):
        if state.notes is not None and question.pool:
            known = state.pools[question.pool].reports
            news = [report for report in question.blocks if known.get(report.block) != report]
            state.notes.on_blocks(question.pool, news, now)
        return asked.Done(listing.take_in(state.pools[question.pool], question.blocks) if question.pool else 0)
    pools = [pool for pool in rights.pools(state, session) if question.pool in ("", pool.name)]
    return asked.BlocksAre([line for pool in pools for line in listing.lines(pool, now)])


def _no_pool(state: State, session: Session, pool: str) -> asked.Unknown:
    names = ", ".join(sorted(one.name for one in rights.pools(state, session) if one.is_defined)) or "none"
    return asked.Unknown(f"pool {pool!r}: there is none; there are: {names}")


def _is_of(task: Task, question: asked.Tasks | asked.CancelMatching) -> bool:
    return question.pool in ("", task.order.pool.name) and question.run in ("", task.order.session.run.name)


def _managers(state: State, session: Session, pool: str = "") -> list[Manager]:
    """The managers of a pool, or of all, that this client may hear of."""
    pools = [state.pools[name] for name in _named(state, session, pool)]
    return [manager for one in pools for manager in one.managers.values()]


def _of_blocks(state: State, session: Session, order: asked.Drain | asked.BlockGone) -> list[Manager]:
    return [manager for manager in _managers(state, session, order.pool) if manager.block in order.blocks]


def _matches(task: Task, question: asked.Tasks) -> bool:
    return (not question.states or task.state.name in question.states) and _is_of(task, question)


def _line(task: Task) -> asked.TaskLine:
    order = task.order
    return asked.TaskLine(
        task.id,
        task.label,
        order.pool.name,
        order.session.run.name,
        task.state.name,
        task.outcome.status.name if task.outcome is not None else "",
        task.manager.block if task.manager is not None else "",
        order.at,
    )


def _pool(pool: Pool) -> asked.PoolStatus:
    counters = pool.counters
    return asked.PoolStatus(
        pool.name,
        pool.queue.size,
        sum(len(manager.leases) for manager in pool.managers.values()),
        sum(manager.workers for manager in pool.managers.values()),
        len(pool.managers),
        counters.submitted,
        counters.done,
        counters.failed,
        counters.cancelled,
        counters.retried,
        counters.lost,
        counters.late,
        pool.is_defined,
    )


def _manager(manager: Manager, now: float) -> asked.ManagerLine:
    return asked.ManagerLine(
        manager.id, manager.pool.name, manager.block, manager.node, manager.workers, len(manager.leases),
        manager.load, manager.draining, now - manager.last_seen, manager.resident_bytes,
    )  # fmt: skip


def publish(state: State, now: float) -> None:
    """Send the demand of watched pools to their watchers, when it changed: at once when it begins, else by and by."""
    for pool in state.watched.values():
        pool.queued_since = (pool.queued_since or now) if pool.queue.size or pool.gangs else 0.0
        last = pool.published
        begins = last is None or (not last.queued_slots and pool.queue.size > 0)
        if not begins and now < (pool.roster_at if pool.roster_changed else pool.publish_at):
            continue
        pool.roster_at = now + len(pool.managers) * _MANAGER_SECONDS
        pool.publish_at = max(now + _PUBLISH_SECONDS, pool.roster_at)
        if last is not None and not _may_differ(state, pool, last):
            continue
        pool.roster_changed = pool.is_stirred = False
        demand = _demand(pool, state.opening, now)
        if last is not None and msgspec.structs.replace(demand, at=last.at) == last:
            continue
        pool.published = demand
        for session_id, number in pool.watchers.items():
            session = state.sessions.get(session_id)
            if session is not None and session.connected:
                reply(state, session, number, demand)


def _may_differ(state: State, pool: Pool, last: asked.Demand) -> bool:
    """Whether it is worth a look at each manager of a pool: of one at rest there may be thousands."""
    is_stirred = pool.is_stirred or pool.roster_changed or pool.name in state.hungry
    return is_stirred or pool.counters.unfinished != last.outstanding or _task_seconds(pool) != last.task_seconds


def _task_seconds(pool: Pool) -> float:
    entry = pool.last_entry
    return entry.seconds if entry is not None and entry.seconds is not None else -1.0


def _demand(pool: Pool, opening: int, now: float) -> asked.Demand:
    gangs = sum(
        task.order.slots * requests.managers_needed(task.order.spec)
        for task in pool.gangs
        if task.state is TaskState.QUEUED
    )
    return asked.Demand(
        pool.name,
        pool.queue.size + pool.queued_beyond + gangs,
        sum(one.load for one in pool.managers.values()),
        pool.counters.unfinished,
        pool.queued_since or -1.0,
        _task_seconds(pool),
        [_load(block, members) for block, members in listing.members(pool).items()],
        now,
        opening,
    )


def _load(block: str, members: list[Manager]) -> asked.BlockLoad:
    slots, load = sum(one.workers for one in members), sum(one.load for one in members)
    idle_since = -1.0 if load else max(max(one.heard_of, one.joined_at) for one in members)
    return asked.BlockLoad(
        block,
        len(members),
        slots,
        min(slots, load),
        idle_since,
        any(one.draining for one in members),
        sum(one.done for one in members),
    )
