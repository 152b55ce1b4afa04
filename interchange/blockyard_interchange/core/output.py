"""What a task printed: whoever may keep it is asked, and the answers are put together.

Managers keep output; the interchange keeps nothing but the question. A manager that answers no more is given up by its
heartbeats, so every question is answered in the end. None survives a restart: whoever asked asks again.
"""

from blockyard.ids import TaskId
from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core import rights
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.state import Manager, OutputAsked, Session, State

_MOST_OPEN = 1000
"""Questions that wait for managers; when there are more, the oldest is answered with what has come."""


def ask(state: State, session: Session, number: int, task: TaskId) -> None:
    """Ask all managers of the task's pool, for its tries may have run on any; of all pools when it is forgotten.

    For a client that may use some pools only, all are those, and a task of another is as one that printed nothing.
    """
    known = state.tasks.get(task)
    pools = rights.pools(state, session)
    if known is not None:
        pools = [known.order.pool] if rights.may_see(state, session, known) else []
    managers = [manager for pool in pools for manager in pool.managers.values()]
    state.output_questions += 1
    # A late answer to a question of an earlier opening must not pass for one to this.
    question = state.opening << 32 | state.output_questions
    state.output_asked[question] = OutputAsked(session.id, number, {manager.id for manager in managers})
    state.effects.before += [(manager.peer, wire.Show(question, task)) for manager in managers]
    if not managers:
        _answer(state, question)
    if len(state.output_asked) > _MOST_OPEN:
        _answer(state, next(iter(state.output_asked)))


def on_shown(state: State, manager: Manager, message: wire.Shown) -> None:
    """One of them answers; what it was not asked is ignored."""
    found = state.output_asked.get(message.number)
    if found is None or manager.id not in found.waiting:
        return
    found.waiting.discard(manager.id)
    found.tries += message.tries
    if not found.waiting:
        _answer(state, message.number)


def on_gone(state: State, manager: Manager) -> None:
    """It will not answer any more."""
    for question, found in list(state.output_asked.items()):
        found.waiting.discard(manager.id)
        if not found.waiting:
            _answer(state, question)


def _answer(state: State, question: int) -> None:
    found = state.output_asked.pop(question)
    session = state.sessions.get(found.session)
    if session is not None and session.connected:
        tries = sorted(found.tries, key=lambda one: one.epoch)
        reply(state, session, found.number, asked.OutputIs(tries))
