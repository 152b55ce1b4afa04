"""A client's question that several managers answer: whom is still waited for, and when whoever asked hears.

What is asked, and how the answers are put together, is for `output` and `holding`. A manager that answers no more is
given up by its heartbeats, so every question is answered in the end. None survives a restart: whoever asked asks again.
"""

from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from blockyard.wire import control as asked
from blockyard.wire import manager as wire
from blockyard_interchange.core.answering import reply
from blockyard_interchange.core.asked import Poll
from blockyard_interchange.core.pools import Manager
from blockyard_interchange.core.state import State

P = TypeVar("P", bound=Poll)

MOST_OPEN = 1000
"""Questions of one kind that wait for managers; when there are more, the oldest is answered with what has come."""


def begin(
    state: State,
    polls: dict[int, P],
    poll: P,
    managers: Collection[Manager],
    question: Callable[[int], wire.ToManager],
    answer: Callable[[P], asked.Answer],
) -> None:
    """Ask these managers; `question` is given a number, by which they answer."""
    number = expect(state, polls, poll, managers)
    message = question(number)
    state.effects.before += [(manager.peer, message) for manager in managers]
    settle(state, polls, number, answer)
    if len(polls) > MOST_OPEN:
        _end(state, polls, next(iter(polls)), answer)


def expect(state: State, polls: dict[int, P], poll: P, managers: Collection[Manager]) -> int:
    """The number by which these managers answer a question that is yet to be sent to them."""
    number = fresh_number(state)
    poll.waiting = {manager.id for manager in managers}
    polls[number] = poll
    return number


def fresh_number(state: State) -> int:
    """For a question that others shall answer by it."""
    state.asked.count += 1
    # A late answer to a question of an earlier opening must not pass for one to this.
    return state.opening << 32 | state.asked.count


def heard(polls: dict[int, P], manager: Manager, number: int) -> P | None:
    """The question that this manager answers; None when it was not asked that, or has answered before."""
    found = polls.get(number)
    if found is None or manager.id not in found.waiting:
        return None
    found.waiting.discard(manager.id)
    return found


def given_up(polls: dict[int, P], manager: Manager) -> Iterator[tuple[int, P]]:
    """Questions that a manager, which is gone, will not answer any more, with their numbers."""
    for number in list(polls):
        if (found := heard(polls, manager, number)) is not None:
            yield number, found


def settle(state: State, polls: dict[int, P], number: int, answer: Callable[[P], asked.Answer]) -> None:
    """Answer whoever asked, once nobody is waited for."""
    if not polls[number].waiting:
        _end(state, polls, number, answer)


def _end(state: State, polls: dict[int, P], number: int, answer: Callable[[P], asked.Answer]) -> None:
    found = polls.pop(number)
    session = state.sessions.get(found.session)
    if session is not None and session.connected:
        reply(state, session, found.number, answer(found))
