"""Stopping the programs of a task and letting them go on: its managers are told, and whoever asked hears what they did.

The task itself stays as it is: it runs, with its lease, its limits of time, and its worker. Who is still waited for is
`polling`'s.
"""

from blockyard.ids import TaskId, task_name
from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core import polling, rights
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.state import HoldAsked, Manager, Session, State


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
    poll = HoldAsked(session.id, number, name=name)
    polling.begin(
        state, state.holds_asked, poll, managers,
        lambda question: wire.Hold(question, task.id, task.epoch, order.held), _answer,
    )  # fmt: skip


def on_held(state: State, manager: Manager, message: wire.Held) -> None:
    """One of them answers; what it was not asked is ignored."""
    if (found := polling.heard(state.holds_asked, manager, message.number)) is not None:
        found.count += message.count
        found.why = message.why or found.why
        polling.settle(state, state.holds_asked, message.number, _answer)


def on_gone(state: State, manager: Manager) -> None:
    """It will not answer any more."""
    for question, found in polling.given_up(state.holds_asked, manager):
        found.why = found.why or "its manager is gone"
        polling.settle(state, state.holds_asked, question, _answer)


def _answer(found: HoldAsked) -> asked.Done | asked.Unknown:
    why = found.why or "its manager has not answered"
    return asked.Done(found.count) if found.count else asked.Unknown(f"{found.name}: {why}")
