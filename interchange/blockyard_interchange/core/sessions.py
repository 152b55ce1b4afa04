"""Clients come, collect, cancel and go; runs and who owns them."""

from blockyard.ids import MAX_SESSION, FunctionId, SessionId, TaskId, inner_session
from blockyard.wire import client as wire
from blockyard.wire.records import PROTOCOL_VERSION, Failure, Outcome, Status
from blockyard_interchange.core import ending, functions, gangs, managers, queueing, rights, showing
from blockyard_interchange.core.entries import RunOwned, SessionClosed, SessionGivenUp, SessionOpened
from blockyard_interchange.core.state import Flag, Run, Session, State, Task, TaskState

_MOST_GIVEN_UP = 10_000
"""Ended sessions that are remembered."""
_DONE_WITH = Flag.COLLECTED | Flag.CLIENT_DONE


def on_hello(state: State, peer: bytes, user: str, message: wire.Hello, now: float, *, near: bool) -> None:
    """Open a session, or the one that this client had before; refuse it alone and say why."""
    refusal = _refusal(state, user, message)
    if refusal is not None:
        state.counters.refused += 1
        state.effects.after_clients.append((peer, wire.Refused(0, *refusal)))
        return
    session = state.sessions.get(SessionId(message.session))
    if session is None:
        session = _open(state, user, message, now)
    before = state.peers.get(peer)
    if before is not None and before is not session:
        detach(state, before)  # one connection speaks for one session
    showing.forget(state, session.id)  # it asks again
    state.peers.pop(session.peer, None)
    session.peer, session.near, session.connected, session.last_seen = peer, near, True, now
    session.frames, session.has_claims = 0, True
    session.credit = None  # the welcome gives it the full allowance
    state.peers[peer] = session
    _settle_ownership(state, session, now, take_over=message.take_over)
    # Before the welcome, which lets the client forget all submissions up to the last one taken in.
    for number, refused in session.refusals.items():
        state.effects.after_clients.append((peer, wire.Refused(number, *refused)))
    state.effects.after_clients.append((peer, _welcome(state, session)))
    session.out = [
        task.outcome
        for task in state.tasks.values()
        if task.outcome is not None and task.order.session is session and not task.flags & _DONE_WITH
    ]
    if session.out:
        state.talkative[session.id] = session


def _welcome(state: State, session: Session) -> wire.Welcome:
    settings = state.settings
    pools = [
        wire.Pool(pool.name, tuple(sorted({manager.python for manager in pool.managers.values()})))
        for pool in rights.pools(state, session)
        if pool.is_defined
    ]
    return wire.Welcome(
        PROTOCOL_VERSION, session.run.name, session.run.owner == session.id, pools, settings.heartbeat,
        settings.max_tasks, settings.max_bytes, settings.blobs if session.near else "", session.accepted,
        settings.blob_threshold, settings.max_disk, state.notes is not None,
    )  # fmt: skip


def _refusal(state: State, user: str, message: wire.Hello) -> tuple[str, str] | None:
    if message.version != PROTOCOL_VERSION:
        sentence = f"client speaks protocol {message.version}, the interchange {PROTOCOL_VERSION}"
        return "version", f"{sentence}; install the same version of blockyard on both"
    if not 0 < message.session <= MAX_SESSION:
        return "session", f"session={message.session} is out of range 1..{MAX_SESSION}"
    if len(message.token) != 16:
        return "token", f"token has {len(message.token)} bytes, expected 16"
    if SessionId(message.session) in state.given_up:
        return "session", (
            f"session {message.session:x} was given up after {state.settings.client_grace:g} s of silence or more, "
            "or said goodbye, and its tasks were ended; connect anew"
        )
    known = state.sessions.get(SessionId(message.session))
    if known is not None and (known.token != message.token or known.user != user):
        return "session", f"session {message.session:x} belongs to another client; draw another number"
    run = state.runs.get(message.run)
    sentence = rights.run_fault(state, user, run) if run is not None else ""
    return ("pool", sentence) if sentence else None


def _open(state: State, user: str, message: wire.Hello, now: float) -> Session:
    run = run_of(state, message.run or f"session-{message.session:x}")
    session = Session(SessionId(message.session), message.token, run, user)
    session.name, session.python, session.keep = message.name, message.python, message.keep
    add(state, session, now)
    return session


def run_of(state: State, name: str) -> Run:
    """The run of this name, made when it is not there."""
    run = state.runs.get(name)
    if run is None:
        run = state.runs[name] = Run(name)
    return run


def add(state: State, session: Session, now: float) -> None:
    """Put a new session into its run, and into journal and history."""
    state.sessions[session.id] = session
    session.run.sessions.add(session.id)
    opened = SessionOpened(
        session.id, session.token, session.run.name, session.user, session.keep, session.python, session.name,
        hosted=session.hosted,
    )  # fmt: skip
    state.effects.entries.append(opened)
    if state.notes is not None:
        state.notes.on_session(session, began=now)


def remove(state: State, session: Session) -> None:
    """Take out a session without tasks, its inner one, and its run with the last of these."""
    state.sessions.pop(inner_session(session.id), None)
    del state.sessions[session.id]
    session.run.sessions.discard(session.id)
    if not session.run.sessions:
        state.runs.pop(session.run.name, None)
    state.effects.entries.append(SessionClosed(session.id))


def _settle_ownership(state: State, session: Session, now: float, *, take_over: bool) -> None:
    """A run has one owner: its first client, until that one is gone or another takes over.

    A moment's absence does not count: after a restart of the interchange, the owner need not be the first to be back.
    """
    run = session.run
    owner = state.sessions.get(run.owner) if run.owner is not None else None
    if owner is session:
        return
    if owner is not None and not take_over:
        is_there = owner.connected or (owner.has_claims and now - owner.last_seen <= state.settings.lease)
        if is_there:
            return
    if owner is not None:
        if owner.connected:
            sentence = f"run {run.name!r} was taken over by client {session.name or session.id!r}"
            state.effects.after_clients.append((owner.peer, wire.TakenOver(sentence)))
        give_up_claims(state, owner)
    run.owner = session.id
    run.epoch += 1
    state.effects.entries.append(RunOwned(run.name, session.id, run.epoch))


def on_register(state: State, session: Session, message: wire.Register) -> None:
    """Keep functions that this session's tasks will name."""
    for function in message.functions:
        if not functions.is_genuine(function):
            sentence = f"function {function.name}: its name {function.id.hex()} is not the hash of its body"
            state.counters.refused += 1
            state.effects.after_clients.append((session.peer, wire.Refused(0, "protocol", sentence)))
            return
    functions.learn(state, message.functions)
    for function in message.functions:
        key = FunctionId(function.id)
        if key not in session.functions:
            session.functions.add(key)
            state.functions[key].users += 1


def on_collect(state: State, session: Session, message: wire.Collect) -> None:
    """Credit frames back; free results, if they are this session's to free."""
    session.frames = max(0, session.frames - message.frames)
    if session.out:
        state.talkative[session.id] = session
    run, tasks = session.run, state.tasks
    is_owner = run.owner == session.id
    is_limited = session.user in state.limits
    for name in message.tasks:
        task = tasks.get(TaskId(name))
        if task is None or task.state is not TaskState.ENDED or task.order.session.run is not run:
            continue
        if is_limited and not rights.may_see(state, session, task):
            continue
        submitter = task.order.session
        if is_owner and (submitter is session or not submitter.has_claims or task.flags & Flag.CLIENT_DONE):
            ending.free(state, task)
        elif is_owner:
            task.flags |= Flag.OWNER_DONE
        elif submitter is session and task.flags & Flag.OWNER_DONE:
            ending.free(state, task)
        elif submitter is session:
            task.flags |= Flag.CLIENT_DONE


def give_up_claims(state: State, session: Session) -> None:
    """A client will not collect what it submitted: the word of its run's owner is enough from now on."""
    if not session.has_claims:
        return
    session.has_claims = False
    for task in [task for task in state.tasks.values() if task.order.session is session]:
        if task.flags & Flag.OWNER_DONE:
            ending.free(state, task)


def on_cancel(state: State, session: Session, message: wire.Cancel, now: float) -> None:
    """End tasks of this session's run: those that wait at once, those that run by their managers."""
    found = (state.tasks.get(TaskId(name)) for name in message.tasks)
    mine = [task for task in found if task is not None and task.order.session.run is session.run]
    mine = rights.visible(state, session, mine)
    if message.waiting_only:
        mine = [task for task in mine if task.state is not TaskState.ASSIGNED]
    cancel(state, mine, now)


def cancel(state: State, tasks: list[Task], now: float) -> None:
    """End tasks, whatever state they are in."""
    running = []
    for task in tasks:
        match task.state:
            case TaskState.ASSIGNED if task.manager is not None:
                if not task.flags & Flag.CANCELLING:
                    running.append(task)
            case TaskState.ENDED:
                pass
            case _:
                if task.state is TaskState.JOINING:
                    cancel(state, [child for child in task.needs if child.outcome is None], now)
                if task.flags & Flag.GANG:
                    gangs.on_cancel(state, task)
                ending.finish(state, task, Outcome(task.id, task.epoch, Status.CANCELLED, failure=_CANCELLED), now)
    managers.stop(state, running)


_CANCELLED = Failure("it was cancelled")


def end(state: State, task: Task, status: Status, failure: Failure, now: float) -> None:
    """End a task that has not ended, at once; what runs of it is stopped, and what is still said of it is late."""
    if task.flags & Flag.GANG:
        gangs.on_cancel(state, task)
    elif task.manager is not None:
        managers.stop(state, [task])
        queueing.forget(state, task.manager, task)
    ending.finish(state, task, Outcome(task.id, task.epoch, status, failure=failure), now)


def fail_pool(state: State, tasks: list[Task], reason: str, now: float) -> None:
    """End unfinished tasks of pools that their keeper gave up; those that are being cancelled end as that."""
    for task in tasks:
        if not task.flags & Flag.CANCELLING and task.outcome is None:
            sentence = f"pool {task.order.pool.name} was given up: {reason}"
            end(state, task, Status.REFUSED, Failure(sentence, ["blockyard.errors.PoolFailed"]), now)


def on_reattach(state: State, session: Session, message: wire.Reattach) -> None:
    """Name the run's unfinished and uncollected tasks, and show this session all outcomes of the run from now on."""
    run = session.run
    if message.run:
        found = state.hosted.get(message.run)
        if found is None or not rights.may_handle(state, session, found):
            refused = wire.Refused(message.number, "run", f"run {message.run!r}: there is none of this name")
            state.effects.after_clients.append((session.peer, refused))
            return
        run = found.session.run
    run.watchers.add(session.id)
    tasks = [
        task
        for task in state.tasks.values()
        if task.order.session.run is run and task.order.session is not session and not task.flags & Flag.COLLECTED
    ]
    tasks = rights.visible(state, session, tasks)
    names = [task.label for task in tasks]
    state.effects.after_clients.append(
        (session.peer, wire.Attached(message.number, [task.id for task in tasks], names))
    )
    ended = [task.outcome for task in tasks if task.outcome is not None]
    if ended:
        session.out += ended
        state.talkative[session.id] = session


def on_bye(state: State, session: Session, message: wire.Bye, now: float) -> None:
    """A client ends its session in good order."""
    detach(state, session)
    if state.notes is not None and not session.said_bye:
        state.notes.on_session(session, ended=now)
    session.said_bye = True
    give_up_claims(state, session)
    if message.cancel or not session.keep:
        abandon(state, session, now)


def detach(state: State, session: Session) -> None:
    """A client is not there; its tasks go on."""
    session.connected = False
    state.peers.pop(session.peer, None)
    session.peer = b""
    session.out = []
    state.unaccepted.pop(session.id, None)
    showing.forget(state, session.id)
    session.run.watchers.discard(session.id)
    for hosted in state.hosted.values():
        hosted.session.run.watchers.discard(session.id)
    for pool in state.pools.values():
        pool.watchers.pop(session.id, None)


def abandon(state: State, session: Session, now: float) -> None:
    """A client is gone for good, and nobody else is attached to its run: end its tasks and free its results.

    What another run needs goes on, for that one. A run that another client wanted to be kept goes on as a whole.
    """
    run = session.run
    others = [state.sessions[name] for name in run.sessions if name != session.id]
    if any(_may_return(state, one, now) for one in others):
        return
    for one in (session, *others):
        give_up(state, one)
    tasks = [task for task in state.tasks.values() if task.order.session.run is run]
    needed = _needed_elsewhere(tasks)
    cancel(state, [task for task in tasks if task.outcome is None and task.id not in needed], now)
    ending.settle(state, now)
    for task in tasks:
        task.flags |= Flag.ABANDONED
        if task.outcome is not None:
            ending.free(state, task)


def _may_return(state: State, session: Session, now: float) -> bool:
    """Whether a client is there, or may be back: all are away when the interchange was restarted."""
    if session.connected or session.hosted:
        return True
    away = now - session.last_seen
    return (
        away <= state.settings.result_ttl
        if session.keep
        else session.has_claims and away <= state.settings.client_grace
    )


def _needed_elsewhere(tasks: list[Task]) -> set[TaskId]:
    """Unfinished tasks of one run that tasks of other runs wait for, and what these in turn wait for."""
    found: set[TaskId] = set()
    left = [
        task
        for task in tasks
        if any(
            other.outcome is None and other.order.session.run is not task.order.session.run
            for other in task.dependents or ()
        )
    ]
    while left:
        task = left.pop()
        if task.outcome is None and task.id not in found:
            found.add(task.id)
            left += task.needs
    return found


def close_if_empty(state: State, session: Session) -> None:
    """Forget a session that is gone and has no tasks left."""
    inner = state.sessions.get(inner_session(session.id))
    if session.connected or session.tasks or (inner and inner.tasks) or session.id not in state.sessions:
        return
    for key in session.functions:
        functions.release(state, state.functions[key])
    give_up(state, session)
    remove(state, session)


def give_up(state: State, session: Session) -> None:
    """Do not let anybody go on with a session that has ended.

    What a client that vanished would say again may have been done already; and whoever numbers tasks anew that stand in
    the journal as done with would lose them at the next restart.
    """
    if (session.accepted or not session.said_bye) and session.id not in state.given_up:
        remember_given_up(state, session.id)
        state.effects.entries.append(SessionGivenUp(session.id))


def remember_given_up(state: State, name: SessionId) -> None:
    """Keep the last of them. Also used by replay."""
    state.given_up[name] = None
    while len(state.given_up) > _MOST_GIVEN_UP:
        del state.given_up[next(iter(state.given_up))]
