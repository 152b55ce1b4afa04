"""Runs of one name, one after the other: each has a session of its own, so that no task is called as one before it was.

The journal tells tasks by their numbers and keeps what was freed until it is compacted: a task of the same number
would be freed with it, or end as that one did, when the interchange is started again.
"""

import itertools
from typing import Final

import msgspec

from blockyard.ids import MAX_NUMBER, NUMBER_BITS, SessionId, hosted_session
from blockyard.wire.hosted import StartRun
from blockyard_interchange.core.state import State

MOST_SPENT: Final = 100_000
"""Sessions that are remembered; those before them have left the journal long ago."""


def spend(state: State, session: SessionId) -> None:
    """The session of a run that is forgotten is none of another."""
    state.spent[session] = None
    if len(state.spent) > MOST_SPENT:
        del state.spent[next(iter(state.spent))]


def session_for(state: State, run: str) -> SessionId:
    """The session of the next run of this name: `hosted_session(run)`, as long as no other run had that."""
    names = (hosted_session(f"{run}\0{life}" if life else run) for life in itertools.count())
    return next(name for name in names if name not in state.spent)


def renumbered(order: StartRun, session: SessionId) -> StartRun:
    """An order, which is made for `hosted_session(run)`, with its tasks in this session."""
    base, own = hosted_session(order.run), session << NUMBER_BITS
    if base == session:
        return order

    def moved(task: int) -> int:
        return own | task & MAX_NUMBER if task >> NUMBER_BITS == base else task

    groups = [
        msgspec.structs.replace(group, needs=[[moved(need) for need in needs] for needs in group.needs])
        for group in order.groups
    ]
    steps = [msgspec.structs.replace(mark, task=moved(mark.task)) for mark in order.steps]
    return msgspec.structs.replace(order, groups=groups, steps=steps)
