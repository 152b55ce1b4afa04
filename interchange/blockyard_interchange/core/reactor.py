"""The way into the core: events change the state, `turn` gives the effects of all of them together.

The shell calls, for each poll: `from_client` and `from_manager` for every message, `turn` once. "What happens when"
is answered by one function each: a worker dies, `outcomes.lost`; a manager dies, `managers.gone`; a result comes twice,
`outcomes.on_outcomes`; the interchange restarts, `replay.replay`.
"""

from blockyard.wire import client as client_wire
from blockyard.wire import manager as manager_wire
from blockyard.wire.patience import client_seconds_for
from blockyard.wire.records import Bundle, Failure, Outcome, body_bytes
from blockyard_interchange.core import (
    caching,
    compaction,
    control,
    ending,
    holding,
    managers,
    matching,
    outcomes,
    output,
    rations,
    run_ends,
    sessions,
    stored,
    submit,
    timers,
)
from blockyard_interchange.core.effects import Effects
from blockyard_interchange.core.entries import Ended, Freed, Given
from blockyard_interchange.core.settings import Settings
from blockyard_interchange.core.state import State


def from_client(
    state: State, peer: bytes, user: str, message: client_wire.FromClient, now: float, *, near: bool
) -> None:
    """One message of a client. `user` is what its key proves, `near` whether it can read the blob folder."""
    if isinstance(message, client_wire.Hello):
        sessions.on_hello(state, peer, user, message, now, near=near)
        return
    session = state.peers.get(peer)
    if session is None or session.user != user:
        state.effects.after_clients.append((peer, client_wire.WhoAreYou()))
        return
    session.last_seen, session.patient_until = now, 0.0
    match message:
        case client_wire.Submit():
            submit.on_submit(state, session, message, now)
        case client_wire.Collect():
            sessions.on_collect(state, session, message)
        case client_wire.Register():
            sessions.on_register(state, session, message)
        case client_wire.Cancel():
            sessions.on_cancel(state, session, message, now)
        case client_wire.Reattach():
            sessions.on_reattach(state, session, message)
        case client_wire.Ask():
            control.on_ask(state, session, message, now)
        case client_wire.Put():
            stored.on_put(state, session, message, now)
        case client_wire.Bye():
            sessions.on_bye(state, session, message, now)
        case client_wire.Ping(follows):
            session.patient_until = now + client_seconds_for(follows)
            state.effects.after_clients.append((peer, client_wire.Pong()))


def from_manager(
    state: State, peer: bytes, user: str, message: manager_wire.FromManager, now: float, *, near: bool
) -> None:
    """One message of a manager."""
    if isinstance(message, manager_wire.Join):
        managers.on_join(state, peer, user, message, now, near=near)
        return
    manager = state.manager_peers.get(peer)
    if manager is None or user != f"pool:{manager.pool.name}":
        state.effects.before.append((peer, manager_wire.NotJoined()))
        return
    manager.last_seen, manager.patient_until = now, 0.0
    match message:
        case manager_wire.Outcomes():
            outcomes.on_outcomes(state, manager, message, now)
        case manager_wire.Heartbeat():
            managers.on_heartbeat(state, manager, message, now)
        case manager_wire.Returned():
            managers.on_returned(state, manager, message, now)
        case manager_wire.Wanted():
            managers.on_wanted(state, manager, message)
        case manager_wire.Shown():
            output.on_shown(state, manager, message)
        case manager_wire.Held():
            holding.on_held(state, manager, message)
        case manager_wire.Told(packets):
            if state.notes is not None:
                state.notes.on_passing(manager, packets)
        case manager_wire.Leave():
            managers.gone(state, manager, Failure(f"its manager left: {message.reason}"), now)


def turn(state: State, now: float, *, hears_clients: bool = True) -> Effects:
    """Everything that follows from the events since the last turn, and from the time.

    `hears_clients`: False while clients are not read because the journal can't be written; then none is given up.
    """
    swept = timers.on_time(state, now, hears_clients=hears_clients)
    if state.cache.unclaimed and not state.awaited:
        caching.claim_replayed(state, now)
    ending.settle(state, now)
    if not state.awaited:
        matching.match(state, now)
    control.publish(state, now)
    if state.asked.run_ends:
        run_ends.answer_due(state, now)
    if swept:
        rations.ration(state)
    effects, state.effects = state.effects, Effects()
    if state.ended:
        effects.entries.append(Ended(state.ended))
        state.ended = []
    if state.given:
        effects.entries.append(Given(state.given))
        state.given = []
    if state.freed:
        effects.entries.append(Freed(state.freed))
        state.freed = []
    _count(state, effects, now)
    _send_outcomes(state, effects)
    if swept:
        _confirm(state, effects)
    if state.notes is not None:
        state.notes.gather(effects, now)
    return effects


def _count(state: State, effects: Effects, now: float) -> None:
    """Time what ended in this turn, and journal the counters that the entries before do not show."""
    effects.at = now
    for order, count in state.ending.items():
        pool = order.pool
        pool.stages.total.add(now + state.wall_offset - order.at, count)
        effects.ended[pool.name] = effects.ended.get(pool.name, 0) + count
    state.ending.clear()
    for pool in state.pools.values():
        if pool.counters.unentered != pool.journaled:
            effects.entries.append(compaction.counted(pool, {}))


def on_committed(state: State, effects: Effects, now: float) -> None:
    """The commit of these effects succeeded, at `now`. To be called before the next turn."""
    for ended, count in effects.ended.items():
        if ended in state.pools:  # or it was removed while the journal could not be written
            state.pools[ended].stages.recording.add(now - effects.at, count)
    for name, number in effects.recorded.items():
        for pool in state.pools.values():
            manager = pool.managers.get(name)
            if manager is not None:
                manager.recorded = number
                state.unconfirmed[name] = manager


def _confirm(state: State, effects: Effects) -> None:
    """Tell managers and clients what the journal holds, when it did not travel with assignments and outcomes.

    It only lets them forget, so it is not worth waking them for more often.
    """
    for manager in state.unconfirmed.values():
        effects.before.append((manager.peer, manager_wire.Recorded(manager.recorded)))
    state.unconfirmed.clear()
    for session in state.unaccepted.values():
        effects.after_clients.append((session.peer, client_wire.Accepted(session.accepted)))
    state.unaccepted.clear()


def _send_outcomes(state: State, effects: Effects) -> None:
    """Outcomes for clients, as far as each one's credit goes; the rest waits for `Collect`."""
    settings, talkative = state.settings, state.talkative
    state.talkative = {}
    for session in talkative.values():
        out = session.out
        start = 0
        while start < len(out) and session.frames < settings.max_frames:
            stop = _frame_end(out, start, settings, near=session.near)
            accepted = session.accepted if state.unaccepted.pop(session.id, None) is not None else 0
            effects.after_clients.append((session.peer, client_wire.Outcomes(out[start:stop], accepted)))
            session.frames += 1
            start = stop
        session.out = out[start:]


def _frame_end(out: list[Outcome], start: int, settings: Settings, *, near: bool) -> int:
    """Where a frame that begins at `start` ends: so many outcomes, so many bytes, and one at least."""
    left = settings.max_frame_bytes
    stop = min(len(out), start + settings.max_frame_tasks)
    for place in range(start, stop):
        body = out[place].body
        if type(body) is bytes:
            left -= len(body)
        elif not near or type(body) is Bundle:  # near ones open blobs themselves
            left -= body_bytes(body)
        if left < 0 and place > start:
            return place
    return stop
