"""What a client may do, by its key: which pools it may use, and whether it may keep pools.

A client whose key names no pools may use all. One that is limited may submit to its pools, and see, cancel and need
what runs there and what it submitted itself, and of everything else it learns nothing. A keeper is a client that may
define pools and let others in besides; what it orders is `keeping`'s.
"""

import difflib
from typing import Final

from blockyard.ids import TaskId, task_name
from blockyard.suggestion import nearest
from blockyard.wire.records import Group
from blockyard_interchange.core.pools import Pool
from blockyard_interchange.core.state import Hosted, Run, Session, State, Task

_MOST_COMPARED: Final = 100
"""Runs, the latest, whose names are compared with one that there is not: that takes 20 µs for each."""
_MOST_NAMED: Final = 10


def is_keeper(session: Session) -> bool:
    """Whether this client's key is a keeper's."""
    return session.user.startswith("keeper:")


def may_use(state: State, session: Session, pool: str) -> bool:
    """Whether this client's key is good for a pool, existing or not."""
    limit = state.limits.get(session.user)
    return limit is None or pool in limit


def may_see(state: State, session: Session, task: Task) -> bool:
    """Whether this client may hear of a task: it is of one of its pools, or its own user's."""
    limit = state.limits.get(session.user)
    return limit is None or task.order.pool.name in limit or task.order.session.user == session.user


def may_handle(state: State, session: Session, hosted: Hosted) -> bool:
    """Whether this client may look at a hosted run and end it: it may use all pools, or has its user's name."""
    return session.user not in state.limits or hosted.session.user == session.user


def visible(state: State, session: Session, tasks: list[Task]) -> list[Task]:
    """Of these tasks, those that this client may hear of."""
    if session.user not in state.limits:
        return tasks
    return [task for task in tasks if may_see(state, session, task)]


def pools(state: State, session: Session) -> list[Pool]:
    """The pools that this client may hear of."""
    return [pool for pool in state.pools.values() if may_use(state, session, pool.name)]


def may_hear_of(state: State, session: Session, run: str) -> bool:
    """Whether there is a run of this name for this client: one of its user's, or with a task that it may hear of."""
    return run in (state.runs if session.user not in state.limits else _runs(state, session))


def unknown_run(state: State, session: Session, run: str) -> str:
    """The sentence for a run that does not exist for this client."""
    latest = list(reversed(_runs(state, session)))
    named = [one for one in latest if not one.startswith("session-")]  # the rest is each client's own, a command's too
    return f"run {run!r}: there is none here{nearest(run, (named or latest)[:_MOST_COMPARED], _MOST_NAMED)}"


def _runs(state: State, session: Session) -> dict[str, None]:
    if session.user not in state.limits:
        return dict.fromkeys(state.runs)
    own = [one.run.name for one in state.sessions.values() if one.user == session.user]
    seen = [task.order.session.run.name for task in state.tasks.values() if may_see(state, session, task)]
    return dict.fromkeys([*own, *seen])


def submission_fault(state: State, session: Session, group: Group) -> str:
    """Why this client may not submit a group: its pool, or a task of another pool that it needs; '' when it may."""
    limit = state.limits.get(session.user)
    if limit is None:
        return ""
    if group.spec.pool not in limit:
        return not_allowed(state, session, group.spec.pool)
    pool = state.pools.get(group.spec.pool)
    if pool is None or not pool.is_defined:
        return f"pool {group.spec.pool!r} is not there, or not yet"
    for need in {need for needs in group.needs for need in needs}:
        task = state.tasks.get(TaskId(need))
        if task is not None and not may_see(state, session, task):
            return f"it needs task {task_name(TaskId(need))}, which is not of a pool that this key may use"
    return ""


def not_allowed(state: State, session: Session, pool: str) -> str:
    """The sentence for a pool that this client's key is not good for."""
    names = ", ".join(sorted(state.limits.get(session.user, ()))) or "none"
    return f"pool {pool!r} is not one that this key may use; these are: {names}"


def unknown_pool(state: State, pool: str) -> str:
    """The sentence for a pool that does not exist, for those who may hear of all pools, or may use this one."""
    names = [one.name for one in state.pools.values() if one.is_defined]
    near = difflib.get_close_matches(pool, names, 1, 0.0)
    return f"unknown pool {pool!r}; " + (f"did you mean {near[0]!r}?" if near else "there is none yet")


def run_fault(state: State, user: str, run: Run) -> str:
    """Why a client may not join a run: it would see tasks of pools that are not its own; '' when it may."""
    limit = state.limits.get(user)
    if limit is None:
        return ""
    for name in run.sessions:
        other = state.sessions[name].user
        theirs = state.limits.get(other)
        if other != user and (theirs is None or not theirs <= limit):
            names = ", ".join(sorted(limit)) or "none"
            return f"run {run.name!r} has clients that may use other pools than this key; it may use: {names}"
    return ""
