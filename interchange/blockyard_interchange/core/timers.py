"""What happens because time passes: silence, deadlines, delayed tries, and looks at how the work is spread."""

import heapq

from blockyard.ids import ManagerId, TaskId
from blockyard.wire import client as client_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.records import Failure, Status
from blockyard_interchange.core import caching, hosted, keeping, managers, outcomes, queueing, run_ends, sessions
from blockyard_interchange.core.counters import Loss
from blockyard_interchange.core.entries import ManagerLeft
from blockyard_interchange.core.pools import Manager
from blockyard_interchange.core.settings import MISSED_HEARTBEATS
from blockyard_interchange.core.state import Session, State, Task, TaskState

_SWEEP_SECONDS = 0.05
_MANAGER_SECONDS = 5e-5
"""For each manager, between two looks for silent ones: of thousands each beats so rarely that this is soon enough."""


def next_wake(state: State, now: float) -> float:
    """Seconds until `on_time` has something to do."""
    soonest = state.next_sweep if _is_busy(state) else max(state.next_sweep, now + state.settings.heartbeat / 4)
    if state.timers:
        soonest = min(soonest, state.timers[0][0])
    if state.asked.run_ends:
        soonest = min(soonest, run_ends.next_wake(state))
    if state.notes is not None and state.notes.peer:
        soonest = min(soonest, state.notes.due_at)
    return max(0.0, soonest - now)


def _is_busy(state: State) -> bool:
    return state.is_busy or bool(state.unaccepted or state.unconfirmed)


def on_time(state: State, now: float, *, hears_clients: bool) -> bool:
    """Do what is due; True when it was time for a look at everything."""
    timers = state.timers
    while timers and timers[0][0] <= now:
        _, name, epoch = heapq.heappop(timers)
        task = state.tasks.get(TaskId(name))
        if task is None or task.outcome is not None:
            continue
        if epoch < 0:
            _deadline(state, task, now)
        elif task.state is TaskState.DELAYED and task.epoch == epoch:
            queueing.requeue(state, task, now)
    if now < state.next_sweep:
        return False
    state.next_sweep = now + _SWEEP_SECONDS
    _sweep(state, now, hears_clients=hears_clients)
    return True


def _deadline(state: State, task: Task, now: float) -> None:
    sentence = (
        f"it was not finished within {task.order.spec.deadline:g} s of its submission; allow more with "
        "options(deadline=…) or, for a workflow, with activeDeadlineSeconds; or more workers"
    )
    sessions.end(state, task, Status.DEADLINE, Failure(sentence, ["blockyard.errors.DeadlineExceeded"]), now)


def on_cut_off(state: State, now: float) -> None:
    """Every connection was ended from this side: nobody's silence of before counts."""
    _excuse_managers(state, state.settings.lease, now)
    _excuse_clients(state, state.settings.lease, now)


def _excuse_managers(state: State, seconds: float, now: float) -> None:
    """Managers were not listened to for so long: their silence is not their own."""
    for pool in state.pools.values():
        for manager in pool.managers.values():
            manager.last_seen = min(now, manager.last_seen + seconds)
    for name in state.awaited:
        state.awaited[name] += seconds


def _excuse_clients(state: State, seconds: float, now: float) -> None:
    """The same for clients, those that wait to be let in again too."""
    for session in state.sessions.values():
        session.last_seen = min(now, session.last_seen + seconds)


def _sweep(state: State, now: float, *, hears_clients: bool) -> None:
    settings = state.settings
    pause, state.swept_at = now - (state.swept_at or now), now
    was_stopped = pause > settings.heartbeat  # or its machine slept
    if was_stopped:
        _excuse_managers(state, pause, now)
    if was_stopped or not hears_clients:
        _excuse_clients(state, pause, now)
    for pool in state.pools.values():
        managers.retract(state, pool, now)
    if now >= state.silent_at:
        state.silent_at = now + _MANAGER_SECONDS * len(state.manager_peers)
        _give_up_silent(state, now)
    busy = (manager.load for pool in state.pools.values() if pool.tasks for manager in pool.roomy.values())
    state.is_busy = any(busy)
    for session in list(state.sessions.values()):
        if session.connected:
            _detach_silent(state, session, now)
        elif session.token:
            away = now - session.last_seen
            if away > settings.client_grace:
                sessions.give_up_claims(state, session)
            if away > (settings.result_ttl if session.keep else settings.client_grace):
                sessions.abandon(state, session, now)
                sessions.close_if_empty(state, session)
    _give_up_waiting(state, now)
    keeping.forget_empty(state)
    if state.cache.results:
        caching.drop_old(state, now)
    if state.hosted or state.stopped:
        hosted.look(state, now)
        hosted.forget_old(state, now)


def _detach_silent(state: State, session: Session, now: float) -> None:
    if now - session.last_seen <= state.settings.lease:
        return
    if now >= session.patient_until:
        sessions.detach(state, session)
    elif now - session.probed_at >= state.settings.heartbeat:
        # It hears that we are here; and when nobody is behind its connection any more, our loop hears that.
        session.probed_at = now
        state.effects.after_clients.append((session.peer, client_wire.Pong()))


def _give_up_silent(state: State, now: float) -> None:
    for pool in state.pools.values():
        missed = [one for one in pool.managers.values() if now - one.last_seen > MISSED_HEARTBEATS * one.heartbeat]
        for manager in missed:
            if now < manager.patient_until:
                _probe(state, manager, now)
                continue
            why = f"manager {manager.id} was silent for {now - manager.last_seen:.1f} s"
            if manager.patient_until > manager.last_seen:
                why = f"{why}, behind a large frame that it was about to send: {managers.SLOW_LINK}"
            managers.gone(state, manager, Failure(why), now, loss=Loss.SILENT)


def _probe(state: State, manager: Manager, now: float) -> None:
    """As with clients."""
    if now - manager.probed_at >= manager.heartbeat:
        manager.probed_at = now
        state.effects.before.append((manager.peer, manager_wire.Beat()))


def _give_up_waiting(state: State, now: float) -> None:
    """Managers of before a restart that did not come back in time: what they held is lost."""
    late: list[ManagerId] = [name for name, until in state.awaited.items() if now > until]
    for name in late:
        del state.awaited[name]
        state.effects.entries.append(ManagerLeft(name))
    if not state.awaited and state.orphans:
        orphans, state.orphans = state.orphans, {}
        for task in orphans.values():
            if task.outcome is None and task.manager is None:
                failure = Failure("the interchange was restarted and its manager did not come back")
                queueing.withdraw(state, task)
                outcomes.lost(state, task, failure, now, suspected=True, loss=Loss.RESTART)
    if late:
        state.hungry.update(state.pools)
