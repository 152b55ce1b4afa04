"""The conversation with the interchange: joining, heartbeats, what it asks, draining, leaving.

A link that is silent for three heartbeats is taken for broken: the manager goes on working, holds what it has, and says
`Join` again until it is answered. Then everything not recorded is sent once more, under its old number.
"""

import msgspec

from blockyard.wire.manager import (
    Assign,
    Beat,
    Drain,
    Functions,
    Heartbeat,
    Hold,
    Join,
    Joined,
    Leave,
    NotJoined,
    Outcomes,
    Recorded,
    Refused,
    Retract,
    Show,
    Stop,
    Tally,
    ToManager,
)
from blockyard.wire.patience import seconds_for
from blockyard.wire.records import PROTOCOL_VERSION, Function, Lease, Running, Status, TaskSpec
from blockyard_worker.core import effects, ending, holding, needs, outcomes
from blockyard_worker.core.ending import Seen
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Kind, Pace, Try
from blockyard_worker.core.workers import Order
from blockyard_worker.exits import ExitCode

MISSED_HEARTBEATS = 3
JOIN_SECONDS = 0.5
"""Between two `Join`s while there is no answer."""
MOST_FUNCTIONS = 4096
"""Functions a manager keeps for its workers."""
MOST_RUNNING = 64
DRAIN_LOOK_SECONDS = 0.05
LAST_RECORDS_SECONDS = 3.0
"""After a drain's deadline: for killed tries to be reported and recorded."""


def on_message(state: State, message: ToManager, now: float, seen: Seen) -> None:
    """Handle one message of the interchange."""
    state.heard_at = now
    match message:
        case Assign():
            _on_assign(state, message, now, seen)
        case Recorded(number):
            outcomes.on_recorded(state, number)
        case Functions(functions):
            _on_functions(state, functions)
        case Beat(heartbeat, follows):
            state.heartbeat = heartbeat or state.heartbeat
            state.patient_until = max(state.patient_until, now + seconds_for(follows))
        case Stop() | Retract() | Drain() | Show() | Hold():
            _obey(state, message, now, seen)
        case Joined():
            _on_joined(state, message, now, seen)
        case NotJoined():
            if state.is_joined:
                state.is_joined = False
                state.join_at = now
        case Refused(kind, text):
            leave(state, ExitCode.REFUSED, f"refused by the interchange ({kind}): {text}", tell=False)


def _obey(state: State, order: Stop | Retract | Drain | Show | Hold, now: float, seen: Seen) -> None:
    match order:
        case Stop(leases, grace):
            ending.stop_leases(state, leases, grace, now, seen, silent=False)
        case Retract(count):
            _on_retract(state, count)
        case Drain(grace):
            drain(state, grace, "drained", now)
        case Show(number, task):
            state.effects.append(effects.ShowOutput(number, task))
        case Hold():
            holding.on_hold(state, order)


def tick(state: State, now: float, seen: Seen) -> None:
    """What is due by time alone."""
    if state.has_left:
        return
    is_silent = now - state.heard_at > MISSED_HEARTBEATS * state.heartbeat and now >= state.patient_until
    if state.is_joined and is_silent:
        state.is_joined = False
        state.join_at = now
    if not state.is_joined:
        if now >= state.join_at:
            state.join_at = now + JOIN_SECONDS
            state.effects.append(effects.ResetLink())
            state.effects.append(effects.Tell(_join(state, now)))
    elif now >= state.beat_at:
        state.beat_at = now + state.heartbeat
        state.effects.append(effects.Tell(_heartbeat(state, now, seen)))
    _leave_when_done(state, now, seen)


def announce(state: State, follows: int, now: float, seen: Seen) -> Heartbeat:
    """What is to be sent before a large frame of so many bytes."""
    state.patient_until = max(state.patient_until, now) + seconds_for(follows)
    return msgspec.structs.replace(_heartbeat(state, now, seen), follows=follows)


def next_tick(state: State, now: float) -> float:
    """When `tick` is needed next."""
    due = state.beat_at if state.is_joined else state.join_at
    if state.drain_at is None:
        return due
    return min(due, state.drain_at if now < state.drain_at else now + DRAIN_LOOK_SECONDS)


def _join(state: State, now: float) -> Join:
    policy = state.policy
    holds = [attempt.lease for attempt in state.held.values() if not attempt.is_silent]
    return Join(
        version=PROTOCOL_VERSION,
        manager=policy.manager,
        pool=policy.pool,
        block=policy.block,
        node=policy.node,
        python=policy.python,
        workers=policy.capacity.workers,
        cores=policy.capacity.cores,
        memory_bytes=policy.capacity.memory_bytes,
        accelerators=policy.capacity.accelerators,
        near=policy.near,
        holds=holds,
        index=policy.index,
        pid=policy.pid,
        seconds_left=max(0.001, policy.ends_at - now) if policy.ends_at else 0.0,
        tally=_tally(state),
        address=policy.address,
        answered=state.answered,
    )


def _on_joined(state: State, joined: Joined, now: float, seen: Seen) -> None:
    state.is_joined = True
    state.answered += 1
    state.heartbeat = joined.heartbeat
    state.beat_at = now + joined.heartbeat
    state.effects.append(effects.SetPlace(joined.blobs, joined.blob_threshold))
    ending.stop_leases(state, joined.dropped, state.policy.stop_grace, now, seen, silent=True)
    for number, sent in state.unrecorded.items():
        state.effects.append(effects.Tell(Outcomes(number, sent, state.unrecorded_told.get(number, []))))


def _on_assign(state: State, assign: Assign, now: float, seen: Seen) -> None:
    held, ready = state.held, state.ready
    if assign.recorded:
        outcomes.on_recorded(state, assign.recorded)
    for group in assign.groups:
        kind = _kind(state, group.spec)
        for assigned in group.tasks:
            before = held.get(assigned.task)
            if before is not None:
                if before.assigned.epoch >= assigned.epoch:
                    continue  # sent twice, around a reconnect
                stale = [Lease(assigned.task, before.assigned.epoch)]
                ending.stop_leases(state, stale, state.policy.stop_grace, now, seen, silent=True)
            attempt = held[assigned.task] = Try(assigned, kind)
            ready.append(attempt)
    if state.is_draining:
        _hand_back_waiting(state)


def _kind(state: State, spec: TaskSpec) -> Kind:
    pace = state.paces.get(spec.function)
    if pace is None:
        pace = state.paces[spec.function] = Pace()
        if len(state.paces) > MOST_FUNCTIONS:
            state.paces.popitem(last=False)
    state.limits_memory |= spec.memory_bytes > 0
    return Kind(spec, state.policy.capacity, pace)


def _on_functions(state: State, functions: list[Function]) -> None:
    for function in functions:
        state.functions[function.id] = function
        state.functions.move_to_end(function.id)
        state.ready.extendleft(reversed(state.unknown.pop(function.id, [])))
    while len(state.functions) > MOST_FUNCTIONS:
        state.functions.popitem(last=False)


def _on_retract(state: State, count: int) -> None:
    """Hand back tries that wait, newest first: those in the queue, then those that wait at workers."""
    state.owes_answer = True
    while count and state.ready:
        attempt = state.ready.pop()
        if not needs.is_gone(state, attempt):
            outcomes.hand_back(state, attempt)
            count -= 1
    state.owed = count
    for worker in state.workers.values():
        if count and len(worker.sent) > 1 and not worker.is_bare:
            most = min(count, len(worker.sent) - 1)
            state.effects.append(effects.Steal(worker.number, most))
            count -= most


def drain(state: State, grace: float, reason: str, now: float) -> None:
    """Take nothing more, hand back what waits, let what runs finish for `grace` seconds, then leave."""
    if state.is_draining:
        state.drain_at = min(state.drain_at or now + grace, now + grace)
        return
    state.is_draining = True
    state.leave_reason = reason
    state.drain_at = now + grace
    _hand_back_waiting(state)
    for worker in state.workers.values():
        if len(worker.sent) > 1:
            state.effects.append(effects.Steal(worker.number, len(worker.sent)))


def _hand_back_waiting(state: State) -> None:
    for attempt in [one for one in state.held.values() if one.worker is None and one.outcome is None]:
        outcomes.hand_back(state, attempt)
    state.ready.clear()
    state.unknown.clear()


def _leave_when_done(state: State, now: float, seen: Seen) -> None:
    if not state.is_draining or state.drain_at is None:
        return
    if now >= state.drain_at:
        busy = [attempt for worker in state.workers.values() for attempt in worker.sent]
        for attempt in busy:
            order = Order(Status.LOST, "the block was drained and its time was over", grace=0.0)
            ending.stop(state, attempt, order, now, seen)
    if not state.held or now >= state.drain_at + LAST_RECORDS_SECONDS:
        state.return_at = now
        outcomes.flush(state, now)
        leave(state, ExitCode.LEFT, state.leave_reason, tell=True)


def leave_unfit(state: State, message: str, now: float) -> None:
    """The end of a manager that can start no workers: what none has begun goes back, so that nobody suspects it."""
    state.is_draining = True
    if state.is_joined:
        state.effects.append(effects.Tell(_heartbeat(state, now, {})))  # or it would be given the same again
    _hand_back_waiting(state)
    state.return_at = now
    outcomes.flush(state, now)
    leave(state, ExitCode.UNFIT, message, tell=True)


def leave(state: State, code: ExitCode, reason: str, *, tell: bool) -> None:
    """The end."""
    if not state.has_left:
        state.has_left = True
        if tell:
            state.effects.append(effects.Tell(Leave(reason)))
        state.effects.append(effects.Exit(code, reason))


def _heartbeat(state: State, now: float, seen: Seen) -> Heartbeat:
    busy = [worker for worker in state.workers.values() if worker.sent]
    running = []
    for worker in busy[:MOST_RUNNING]:
        look = seen.get(worker.number)
        if look is not None and look.running:
            running.append(Running(look.task, look.epoch, now - look.since))
    with_workers = sum(len(worker.sent) for worker in busy)
    waiting = sum(attempt.outcome is None for attempt in state.held.values()) - with_workers
    return Heartbeat(
        busy=len(busy),
        idle=state.policy.capacity.workers - len(busy),
        queued=waiting + with_workers - len(busy),
        resident_bytes=state.resident_bytes,
        restarts=state.restarts,
        running=running,
        draining=state.is_draining,
        tally=_tally(state),
    )


def _tally(state: State) -> Tally:
    return Tally(state.restarts, state.out_of_memory, state.output_dropped_bytes)
