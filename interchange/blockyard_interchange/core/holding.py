"""Stopping the programs of a task and letting them go on: its managers are told, and whoever asked hears what they did.

The task itself stays as it is: it runs, with its lease, its limits of time, and its worker. Who is still waited for is
`polling`'s. Of a hosted run all that run are told, again and again until they have done it: a program may begin after
its run was held, and neither the death of the interchange nor a lost connection may leave one stopped for good.
"""

from blockyard.ids import SessionId, TaskId, inner_session, task_name
from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core import polling, rights
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.asked import HoldAsked
from blockyard_interchange.core.pools import Manager
from blockyard_interchange.core.state import Hosted, Programs, Session, State, Task, TaskState

_NOBODY = SessionId(0)


def ask(state: State, session: Session, number: int, order: asked.HoldTask) -> None:
    """Tell all managers that have the task; who may not see it hears what it would of one that is not there."""
    task = state.tasks.get(TaskId(order.task))
    name = f"task {task_name(TaskId(order.task))}"
    if task is None or not rights.may_see(state, session, task):
        reply(state, session, number, asked.Unknown(f"{name}: never submitted here, or collected"))
        return
    managers = [one for one in task.order.pool.managers.values() if one.leases.get(task.id) is task]
    if task.outcome is not None or not managers:
        why = "it has ended" if task.outcome is not None else "it waits; only what runs can be stopped"
        reply(state, session, number, asked.Unknown(f"{name}: {why}"))
        return
    poll = HoldAsked(session.id, number, name=name, task=task.id, epoch=task.epoch, held=order.held)
    polling.begin(
        state, state.asked.holds, poll, managers,
        lambda question: wire.Hold(question, task.id, task.epoch, order.held), _answer,
    )  # fmt: skip


def on_held(state: State, manager: Manager, message: wire.Held) -> None:
    """One of them answers; what it was not asked is ignored."""
    for polls in (state.asked.holds, state.asked.run_holds):
        if (found := polling.heard(polls, manager, message.number)) is not None:
            found.count += message.count
            found.why = message.why or found.why
            _note(state, found)
            polling.settle(state, polls, message.number, _answer)


def _note(state: State, found: HoldAsked) -> None:
    """What is known now of its programs. Who has none to let go on has none that are stopped."""
    if found.held and found.count:
        state.stopped[found.task] = found.epoch
    elif not found.held and not found.waiting:
        state.stopped.pop(found.task, None)
        run = state.hosted.get(found.run)
        if run is not None and run.unsure is not None:
            run.unsure.pop(found.task, None)


def on_gone(state: State, manager: Manager) -> None:
    """It will not answer any more."""
    for polls in (state.asked.holds, state.asked.run_holds):
        for question, found in polling.given_up(polls, manager):
            found.why = found.why or "its manager is gone, or has connected anew"
            polling.settle(state, polls, question, _answer)


def is_stopped(state: State, task: Task) -> bool:
    """Whether programs of the try that it has now are stopped, as far as is known."""
    return task.state is TaskState.ASSIGNED and state.stopped.get(task.id) == task.epoch


def stopped(state: State, run: Hosted) -> int:
    """How many tasks of a run, parts of steps among them, have stopped programs."""
    mine = _sessions(run)
    tasks = [state.tasks.get(name) for name in state.stopped]
    return sum(task is not None and task.order.session.id in mine and is_stopped(state, task) for task in tasks)


def turn(run: Hosted, *, stop: bool) -> None:
    """Have the programs of a run stopped from now on, or not any more; `follow` does it."""
    if stop:
        run.programs = Programs.STOP
    elif run.programs is Programs.STOP:
        run.programs, run.unsure = Programs.LET_GO, None


def follow(state: State, run: Hosted) -> bool:
    """Tell the tasks of a run that have not done as they shall; True when that is over, and the order with it."""
    if run.programs is Programs.RUN:
        return False
    running = _running(state, run)
    epochs = {name: task.epoch for name, (task, _) in running.items()}
    if run.programs is Programs.STOP:
        left = {name: epoch for name, epoch in epochs.items() if state.stopped.get(name) != epoch}
    elif run.unsure is None and state.awaited:
        return False  # managers are to come back that may have some
    else:
        before = epochs if run.unsure is None else run.unsure
        left = run.unsure = {name: epoch for name, epoch in before.items() if epochs.get(name) == epoch}
        if not left:
            run.programs, run.unsure = Programs.RUN, None
            return True
    told = {poll.task for poll in state.asked.run_holds.values()}
    for name in left:
        if name not in told:
            _tell(state, run, *running[name])
    return False


def forget_ended(state: State) -> None:
    """Of tries that have ended nothing is stopped."""
    for name, epoch in list(state.stopped.items()):
        task = state.tasks.get(name)
        if task is None or task.outcome is not None or task.epoch != epoch:
            del state.stopped[name]


def _tell(state: State, run: Hosted, task: Task, managers: list[Manager]) -> None:
    held = run.programs is Programs.STOP
    poll = HoldAsked(_NOBODY, 0, task=task.id, epoch=task.epoch, held=held, run=run.run)
    number = polling.expect(state, state.asked.run_holds, poll, managers)
    # After the commit: what is told and not in the journal would never be taken back.
    order = wire.Hold(number, task.id, task.epoch, held)
    state.effects.after_managers += [(manager.peer, order) for manager in managers]


def _running(state: State, run: Hosted) -> dict[TaskId, tuple[Task, list[Manager]]]:
    """The tasks of a run that managers have, parts of steps among them."""
    found: dict[TaskId, tuple[Task, list[Manager]]] = {}
    mine = _sessions(run)
    for pool in state.pools.values():
        for manager in pool.managers.values():
            for task in manager.leases.values():
                if task.order.session.id in mine and task.outcome is None:
                    found.setdefault(task.id, (task, []))[1].append(manager)
    return found


def _sessions(run: Hosted) -> tuple[SessionId, SessionId]:
    return run.session.id, inner_session(run.session.id)


def _answer(found: HoldAsked) -> asked.Done | asked.Unknown:
    why = found.why or "its manager has not answered"
    return asked.Done(found.count) if found.count else asked.Unknown(f"{found.name}: {why}")
