"""Runs that the interchange keeps by itself: workflows, whose steps are tasks of a session that nobody connects to.

So a run goes on when who started it is away, its results wait until it is forgotten, and whoever starts it again under
the same name finds it as it is. Its tasks are ordinary ones; what runs when is decided where it is for all tasks, see
`triggers` and `outcomes`.
"""

import itertools
from collections.abc import Iterable
from typing import Final

from blockyard.ids import NUMBER_BITS, SessionId, TaskId, inner_session, task_id
from blockyard.wire import hosted as asked
from blockyard.wire.control import Answer, Done, Unknown
from blockyard.wire.records import Status
from blockyard_interchange.core import (
    caching,
    compaction,
    ending,
    functions,
    holding,
    lives,
    queueing,
    rights,
    sessions,
    submit,
    triggers,
)
from blockyard_interchange.core.entries import RunHosted
from blockyard_interchange.core.keeping import Fault
from blockyard_interchange.core.state import Flag, Hosted, Programs, Session, State, TaskState

MOST_NAME: Final = 320
_LOOK_SECONDS: Final = 60.0
_HOLD_SECONDS: Final = 1.0
_SUCCEEDED: Final = triggers.state_word(Status.DONE)
_OPEN_WORDS: Final = {
    TaskState.WAITING: "Waiting",
    TaskState.QUEUED: "Queued",
    TaskState.ASSIGNED: "Running",
    TaskState.DELAYED: "Waiting",
    TaskState.JOINING: "Running",
}
"""States of steps that have not ended."""


def answer(state: State, session: Session, question: asked.RunQuestion, now: float) -> Answer | Fault:
    """Carry out an order about a hosted run, or answer a question about some."""
    match question:
        case asked.StartRun():
            return _start(state, session, question, now)
        case asked.Runs():
            mine = [one for one in state.hosted.values() if rights.may_handle(state, session, one)]
            youngest = sorted(mine, key=lambda one: -one.at)[: question.limit]
            return asked.RunsAre([_line(state, one, now) for one in youngest])
        case asked.Run():
            return describe(state, session, question, now)
    found = _find(state, session, question.run)
    if isinstance(found, Unknown):
        return found
    match question:
        case asked.HoldRun():
            return Done(_hold(state, found, now, held=question.held, running=question.running))
        case asked.EndRun():
            return Done(_end(state, found, now, exits=question.exits))
        case asked.ForgetRun():
            return _forget(state, found, now)


def _find(state: State, session: Session, run: str) -> Hosted | Unknown:
    found = state.hosted.get(run)
    if found is None or not rights.may_handle(state, session, found):
        return Unknown(f"run {run!r}: none of this name is hosted here, or it was forgotten")
    return found


# --- orders


def _start(state: State, asker: Session, order: asked.StartRun, now: float) -> Done | Fault:
    found = state.hosted.get(order.run)
    if found is not None and not order.again:
        if not rights.may_handle(state, asker, found) or found.digest != order.digest:
            way = "take another name, or forget it (blockyard run --again)"
            return Fault("run", f"run {order.run!r} exists, made from something else; {way}")
        return Done(0)
    name = found.session.id if found is not None else lives.session_for(state, order.run)
    order = lives.renumbered(order, name)
    fault = _start_fault(state, asker, order, found, name)
    if fault is not None:
        return fault
    session = found.session if found is not None else _open(state, asker, order.run, name, now)
    functions.learn(state, order.functions)
    where = f"run {order.run!r}"
    wrong = submit.groups_fault(state, session, order.groups, where, asker)
    if wrong is not None:
        # Said once more by the steps' names, while all is as it was: a run that is in order has no need of the table.
        names = {mark.task: mark.name for mark in order.steps}
        named = submit.groups_fault(state, session, order.groups, where, asker, names)
        functions.forget_unused(state, [function.id for function in order.functions])
        if found is None:
            sessions.remove(state, session)
        return Fault(*(named or wrong))
    at = submit.stamp(state, now)
    if found is None:
        found = state.hosted[order.run] = Hosted(order.run, session, order.digest, at)
        session.is_held = order.held
    former = found.steps
    found.mark(order.steps)
    made = submit.add(state, session, order.groups, at, now)
    submit.journal(state, session, order.groups, at)
    functions.forget_unused(state, [function.id for function in order.functions])
    _free_former(state, found, former)
    _journal(state, found)
    return Done(len(made))


def _start_fault(
    state: State, asker: Session, order: asked.StartRun, found: Hosted | None, name: SessionId
) -> Fault | None:
    """`name`: of the session whose tasks they are."""
    where = f"run {order.run!r}"
    if not order.run or len(order.run) > MOST_NAME:
        return Fault("run", f"{where}: a name has 1 to {MOST_NAME} characters")
    if order.again and (found is None or not rights.may_handle(state, asker, found)):
        return Fault("run", f"{where}: there is none of this name")
    if found is None and name in state.sessions:
        return Fault("run", f"{where}: its number {name:x} is another session's; take another name")
    run = state.runs.get(order.run)
    if run is not None and (sentence := rights.run_fault(state, asker.user, run)):
        return Fault("pool", sentence)
    for function in order.functions:
        if not functions.is_genuine(function):
            return Fault("protocol", f"{where}: function {function.name}: {function.id.hex()} is not its hash")
    count = sum(len(group.bodies) for group in order.groups)
    if len(state.tasks) + count > state.settings.total_tasks:
        most = state.settings.total_tasks
        return Fault("request", f"{where}: with its {count} tasks there would be more than {most}")
    if (strange := _stranger(state, order, name)) is not None:
        return Fault("protocol", f"{where}: step {strange.name!r} is none of its tasks")
    return None


def _stranger(state: State, order: asked.StartRun, name: SessionId) -> asked.StepMark | None:
    """A step that is no task of the order, nor one of its run before. Of 10^5 steps nearly all are of one range."""
    ranges = [range(first := task_id(name, group.first), first + len(group.bodies)) for group in order.groups]
    longest = max(ranges, key=len, default=range(0))
    others = [mark for mark in order.steps if mark.task not in longest]
    known = set(itertools.chain.from_iterable(ranges)) if others else ()
    for mark in others:
        if mark.task not in known and (TaskId(mark.task) not in state.tasks or mark.task >> NUMBER_BITS != name):
            return mark
    return None


def _open(state: State, asker: Session, run: str, name: SessionId, now: float) -> Session:
    session = Session(name, b"", sessions.run_of(state, run), asker.user)
    session.name, session.keep, session.hosted, session.last_seen = f"run {run}", True, True, now
    sessions.add(state, session, now)
    return session


def _free_former(state: State, found: Hosted, former: Iterable[asked.StepMark]) -> None:
    """Results of tasks that were steps before, and are none now, are not needed any more."""
    for name in {mark.task for mark in former} - found.open.keys():
        task = state.tasks.get(TaskId(name))
        if task is not None and task.outcome is not None:
            ending.free(state, task)


def _journal(state: State, found: Hosted) -> None:
    entry = compaction.hosted_run(state, found.run)
    assert entry is not None, f"run {found.run!r} is hosted"
    state.effects.entries.append(entry)


def restore(state: State, journaled: Iterable[RunHosted]) -> None:
    """Runs as the journal has them; their tasks follow."""
    for entry in journaled:
        session = state.sessions.get(SessionId(entry.session))
        if session is not None:
            found = state.hosted[entry.run] = Hosted(entry.run, session, entry.digest, entry.at)
            found.mark(entry.steps)
            session.is_held, found.programs = entry.held, Programs(entry.programs)


def _hold(state: State, found: Hosted, now: float, *, held: bool, running: bool = False) -> int:
    """Hand out nothing more of it, and with `running` stop what runs; or go on. How many tasks that changed."""
    before, changed = (found.session.is_held, found.programs), 0
    if found.session.is_held is not held:
        changed = _hold_back(state, found, now, held=held)
    holding.turn(found, stop=held and running)
    holding.follow(state, found)
    if (found.session.is_held, found.programs) != before:
        _journal(state, found)
    return changed


def _hold_back(state: State, found: Hosted, now: float, *, held: bool) -> int:
    inner = state.sessions.get(inner_session(found.session.id))
    mine = [one for one in (found.session, inner) if one is not None]
    for session in mine:
        session.is_held = held
    changed = 0
    for task in [task for task in state.tasks.values() if task.order.session in mine]:
        if held and task.state is TaskState.QUEUED and not task.flags & Flag.GANG:
            queueing.withdraw(state, task)
            caching.resign(state, task, now)
            changed += 1
        elif not held and task.state is TaskState.WAITING and not task.waiting and task.id not in state.orphans:
            queueing.make_ready(state, task, now)
            changed += 1
    return changed


def _end(state: State, found: Hosted, now: float, *, exits: bool) -> int:
    tasks = [(mark, task) for mark in found.steps if (task := state.tasks.get(TaskId(mark.task))) is not None]
    left = [task for mark, task in tasks if task.outcome is None and (exits or not mark.is_exit)]
    if found.session.is_held:
        _hold(state, found, now, held=False)
    sessions.cancel(state, left, now)
    return len(left)


def _forget(state: State, found: Hosted, now: float) -> Answer:
    inner = state.sessions.get(inner_session(found.session.id))
    mine = [task for task in state.tasks.values() if task.order.session is found.session]
    if any(task.outcome is None for task in mine) or (inner is not None and inner.tasks):
        return Unknown(f"run {found.run!r} goes on; end it first")
    ending.settle(state, now)
    for task in mine:
        ending.free(state, task)
    if found.session.tasks:  # tasks of other runs need some of its results
        return Unknown(f"run {found.run!r}: other runs still need {found.session.tasks} of its results")
    del state.hosted[found.run]
    if state.notes is not None:
        state.notes.on_session(found.session, ended=now)
    sessions.remove(state, found.session)
    lives.spend(state, found.session.id)
    return Done(len(mine))


def look(state: State, now: float) -> None:
    """Have the programs of held runs stopped that began since, and those of others let go on."""
    if now < state.run_holds_at:
        return
    state.run_holds_at = now + _HOLD_SECONDS
    holding.forget_ended(state)
    for found in state.hosted.values():
        if holding.follow(state, found):
            _journal(state, found)


def forget_old(state: State, now: float) -> None:
    """Forget runs that ended so long ago that nobody will ask for their results."""
    if now < state.hosted_look_at:
        return
    state.hosted_look_at = now + _LOOK_SECONDS
    for found in list(state.hosted.values()):
        _line(state, found, now)
        if found.ended_at and now - found.ended_at > state.settings.result_ttl:
            _forget(state, found, now)


# --- answers


def describe(state: State, session: Session, question: asked.Run, now: float) -> asked.RunIs | Unknown:
    """How a run stands; Unknown to those who may not know of it."""
    found = _find(state, session, question.run)
    if isinstance(found, Unknown):
        return found
    line = _line(state, found, now)
    steps: list[asked.StepLine] = []
    for mark in found.steps:
        if len(steps) >= question.limit:
            break
        if not question.states or _state(state, found, mark) in question.states:
            steps.append(_step(state, found, mark, now))
    return asked.RunIs(line, steps)


def _line(state: State, found: Hosted, now: float) -> asked.RunLine:
    counts = _open_counts(state, found)
    phase = "Suspended" if found.session.is_held else "Running"
    if not counts:
        phase = _verdict(found)
        found.ended_at = found.ended_at or now
    ended_at = found.ended_at + state.wall_offset if found.ended_at else 0.0
    return asked.RunLine(
        found.run, phase, found.at, ended_at, counts | found.counts, found.session.next_number,
        found.programs is Programs.STOP, holding.stopped(state, found),
    )  # fmt: skip


def goes_on(state: State, found: Hosted) -> bool:
    """Whether any step has not ended. Looks at one, and at those before it that have ended since the last look."""
    ended = [*itertools.takewhile(lambda name: not _is_open(state, name), found.open)]
    _note_ended(state, found, ended)
    return bool(found.open)


def _is_open(state: State, name: TaskId) -> bool:
    task = state.tasks.get(name)
    return task is not None and task.outcome is None


def _open_counts(state: State, found: Hosted) -> dict[str, int]:
    """How many steps that have not ended are in which state; notes those that have ended since the last look.

    Costs a look-up for each step that is left: who follows a run of 10^5 steps asks again and again.
    """
    tasks, ended = state.tasks, []
    in_state = [0] * len(TaskState)
    waiting, assigned = TaskState.WAITING, TaskState.ASSIGNED  # once: a member costs as much as a call
    for name in found.open:
        task = tasks.get(name)
        if task is None or task.outcome is not None:
            ended.append(name)
        elif task.waiting and task.state is assigned:
            in_state[waiting] += 1
        else:
            in_state[task.state] += 1
    _note_ended(state, found, ended)
    stopped = sum(holding.is_stopped(state, tasks[name]) for name in state.stopped if name in found.open)
    counts: dict[str, int] = {"Stopped": stopped, "Running": -stopped}
    for place, word in _OPEN_WORDS.items():
        counts[word] = counts.get(word, 0) + in_state[place]
    return {word: count for word, count in counts.items() if count}


def _note_ended(state: State, found: Hosted, ended: Iterable[TaskId]) -> None:
    """Count steps that have ended, which are open no more."""
    tasks, done, succeeded = state.tasks, Status.DONE, 0
    for name in ended:
        task = tasks.get(name)
        if task is None or task.outcome is None or task.outcome.status is not done:
            mark = found.open[name]
            word = found.seen[mark.name] = _state(state, found, mark)
            found.counts[word] = found.counts.get(word, 0) + 1
        else:  # as nearly all
            succeeded += 1
        del found.open[name]
    if succeeded:
        found.counts[_SUCCEEDED] = found.counts.get(_SUCCEEDED, 0) + succeeded


def _verdict(found: Hosted) -> str:
    if not found.seen:
        return _SUCCEEDED
    ends = {found.seen.get(mark.name) for mark in found.steps if mark.decides}
    if "Failed" in ends:
        return "Failed"
    return "Cancelled" if "Cancelled" in ends else "Succeeded"


def _state(state: State, found: Hosted, mark: asked.StepMark) -> str:
    task = state.tasks.get(TaskId(mark.task))
    if task is None and mark.task in found.open:
        return "Failed"  # its pool keeps no journal, and the interchange was restarted
    if task is None:
        return found.seen.get(mark.name, _SUCCEEDED)
    if task.state is TaskState.ENDED:
        return triggers.state_word(triggers.status_of(task))
    if holding.is_stopped(state, task):
        return "Stopped"
    if task.waiting and task.state is TaskState.ASSIGNED:  # with a manager, behind what it waits for
        return _OPEN_WORDS[TaskState.WAITING]
    return _OPEN_WORDS[task.state]


def _step(state: State, found: Hosted, mark: asked.StepMark, now: float) -> asked.StepLine:
    task = state.tasks.get(TaskId(mark.task))
    word = _state(state, found, mark)
    if task is None:
        return asked.StepLine(mark.name, mark.task, word, 0.0, "it is not known any more")
    if task.outcome is not None:
        failure, status = task.outcome.failure, task.outcome.status
        message = failure.message if failure is not None and status is not Status.DONE else ""
        return asked.StepLine(mark.name, task.id, word, task.outcome.seconds, message, task.outcome.outputs)
    parts = len(task.needs) if task.state is TaskState.JOINING else 0
    seconds = max(0.0, now - task.since) if task.state is TaskState.ASSIGNED and not task.waiting else 0.0
    return asked.StepLine(mark.name, task.id, word, seconds, parts=parts, open_parts=task.waiting if parts else 0)
