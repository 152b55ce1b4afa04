"""Stopping the programs of a task and letting them go on: its managers are told, and whoever asked hears what they did.

The task itself stays as it is: it runs, with its lease, its limits of time, and its worker. Nothing here survives a
restart: whoever asked asks again.
"""

from blockyard.ids import TaskId, task_name
from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core import rights
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.state import HoldAsked, Manager, Session, State

_MOST_OPEN = 1000
"""Orders that wait for managers; when there are more, the oldest is answered with what has come."""


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
    state.holds += 1
    question = state.opening << 32 | state.holds  # as with what a task printed: no late answer fits a later question
    state.holds_asked[question] = HoldAsked(session.id, number, name, {one.id for one in managers})
    hold = wire.Hold(question, task.id, task.epoch, order.held)
    state.effects.before += [(one.peer, hold) for one in managers]
    if len(state.holds_asked) > _MOST_OPEN:
        _answer(state, next(iter(state.holds_asked)))


def on_held(state: State, manager: Manager, message: wire.Held) -> None:
    """One of them answers; what it was not asked is ignored."""
    found = state.holds_asked.get(message.number)
    if found is None or manager.id not in found.waiting:
        return
    found.waiting.discard(manager.id)
    found.count += message.count
    found.why = message.why or found.why
    if not found.waiting:
        _answer(state, message.number)


def on_gone(state: State, manager: Manager) -> None:
    """It will not answer any more."""
    for question, found in list(state.holds_asked.items()):
        if manager.id in found.waiting:
            found.waiting.discard(manager.id)
            found.why = found.why or "its manager is gone"
            if not found.waiting:
                _answer(state, question)


def _answer(state: State, question: int) -> None:
    found = state.holds_asked.pop(question)
    session = state.sessions.get(found.session)
    if session is not None and session.connected:
        why = found.why or "its manager has not answered"
        answer = asked.Done(found.count) if found.count else asked.Unknown(f"{found.name}: {why}")
        reply(state, session, found.number, answer)
