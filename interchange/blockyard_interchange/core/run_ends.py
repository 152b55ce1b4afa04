"""Questions about hosted runs whose answers wait for the run's end, so that nobody has to ask again and again.

None survives a restart, or its client's connection: who still wants to know asks again.
"""

from typing import Final

from blockyard.wire import hosted as asked
from blockyard_interchange.core import hosted, rights
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.asked import RunAsked
from blockyard_interchange.core.state import Session, State

_MOST_SECONDS: Final = 60.0
_MOST_OF_SESSION: Final = 64
"""More than so many are answered at once."""


def may_wait(state: State, session: Session, number: int, question: asked.Run, now: float) -> bool:
    """Whether this question is kept, to be answered later."""
    found = state.hosted.get(question.run)
    if question.patience <= 0.0 or found is None or not rights.may_handle(state, session, found):
        return False
    if (
        not hosted.goes_on(state, found)
        or sum(name == session.id for name, _ in state.asked.run_ends) >= _MOST_OF_SESSION
    ):
        return False
    state.asked.run_ends[session.id, number] = RunAsked(question, now + min(question.patience, _MOST_SECONDS))
    return True


def answer_due(state: State, now: float) -> None:
    """Answer those whose run has ended or was forgotten, and those that have waited long enough."""
    for (name, number), one in list(state.asked.run_ends.items()):
        session, found = state.sessions.get(name), state.hosted.get(one.question.run)
        is_there = session is not None and session.connected
        if is_there and found is not None and now < one.until and hosted.goes_on(state, found):
            continue
        del state.asked.run_ends[name, number]
        if session is not None and is_there:
            reply(state, session, number, hosted.describe(state, session, one.question, now))


def next_wake(state: State) -> float:
    """When the first has waited long enough; there must be one."""
    return min(one.until for one in state.asked.run_ends.values())
