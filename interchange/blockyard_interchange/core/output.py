"""What a task printed: whoever may keep it is asked, and the answers are put together.

Managers keep output; the interchange keeps nothing but the question (`polling`).
"""

from blockyard.ids import TaskId
from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core import polling, rights
from blockyard_interchange.core.asked import OutputAsked
from blockyard_interchange.core.pools import Manager
from blockyard_interchange.core.state import Session, State


def ask(state: State, session: Session, number: int, task: TaskId) -> None:
    """Ask all managers of the task's pool, for its tries may have run on any; of all pools when it is forgotten.

    For a client that may use some pools only, all are those, and a task of another is as one that printed nothing.
    """
    known = state.tasks.get(task)
    pools = rights.pools(state, session)
    if known is not None:
        pools = [known.order.pool] if rights.may_see(state, session, known) else []
    managers = [manager for pool in pools for manager in pool.managers.values()]
    poll = OutputAsked(session.id, number)
    polling.begin(state, state.asked.output, poll, managers, lambda question: wire.Show(question, task), _answer)


def on_shown(state: State, manager: Manager, message: wire.Shown) -> None:
    """One of them answers; what it was not asked is ignored."""
    if (found := polling.heard(state.asked.output, manager, message.number)) is not None:
        found.tries += message.tries
        polling.settle(state, state.asked.output, message.number, _answer)


def on_gone(state: State, manager: Manager) -> None:
    """It will not answer any more."""
    for question, _ in polling.given_up(state.asked.output, manager):
        polling.settle(state, state.asked.output, question, _answer)


def _answer(found: OutputAsked) -> asked.OutputIs:
    return asked.OutputIs(sorted(found.tries, key=lambda one: one.epoch))
