"""When a task runs that does not simply wait for success: by its trigger and its condition, from how others ended.

Decides only; what follows is `outcomes.consider`'s. A verdict depends on nothing but how those that a task needs have
ended, so that a replay comes to the same.
"""

import enum
from collections.abc import Callable, Sequence

import msgspec

from blockyard.wire.records import Condition, Group, Status, Trigger
from blockyard.workflow import expressions
from blockyard_interchange.core.state import Task


class Verdict(enum.Enum):
    """What is to become of a task."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    FAIL = "fail"


class _Seen(msgspec.Struct, frozen=True):
    """How many of those that a task needs ended how."""

    succeeded: int
    failed: int
    skipped: int
    open: int


def decide(trigger: Trigger, ends: Sequence[Status | None]) -> Verdict:
    """By how those that it needs have ended; None: not yet. Once it is not to wait, it stays so, whoever ends later."""
    if not ends:
        return Verdict.RUN
    seen = _Seen(
        sum(one is Status.DONE for one in ends),
        sum(one is not None and one is not Status.DONE and one is not Status.SKIPPED for one in ends),
        sum(one is Status.SKIPPED for one in ends),
        sum(one is None for one in ends),
    )
    return _RULES[trigger](seen)


def _all_success(seen: _Seen) -> Verdict:
    if seen.failed:
        return Verdict.FAIL
    if seen.skipped:
        return Verdict.SKIP
    return Verdict.WAIT if seen.open else Verdict.RUN


def _any_success(seen: _Seen) -> Verdict:
    if seen.succeeded:
        return Verdict.RUN
    if seen.open:
        return Verdict.WAIT
    return Verdict.FAIL if seen.failed else Verdict.SKIP


def _any_failed(seen: _Seen) -> Verdict:
    if seen.failed:
        return Verdict.RUN
    return Verdict.WAIT if seen.open else Verdict.SKIP


def _all_failed(seen: _Seen) -> Verdict:
    if seen.succeeded or seen.skipped:
        return Verdict.SKIP
    return Verdict.WAIT if seen.open else Verdict.RUN


def _none_failed(seen: _Seen) -> Verdict:
    if seen.failed:
        return Verdict.FAIL
    return Verdict.WAIT if seen.open else Verdict.RUN


def _none_failed_any_success(seen: _Seen) -> Verdict:
    if seen.failed:
        return Verdict.FAIL
    if seen.open:
        return Verdict.WAIT
    return Verdict.RUN if seen.succeeded else Verdict.SKIP


def _all_skipped(seen: _Seen) -> Verdict:
    if seen.succeeded or seen.failed:
        return Verdict.SKIP
    return Verdict.WAIT if seen.open else Verdict.RUN


def _none_skipped(seen: _Seen) -> Verdict:
    if seen.skipped:
        return Verdict.SKIP
    return Verdict.WAIT if seen.open else Verdict.RUN


def _always(seen: _Seen) -> Verdict:
    return Verdict.WAIT if seen.open else Verdict.RUN


_RULES: dict[Trigger, Callable[[_Seen], Verdict]] = {
    Trigger.ALL_SUCCESS: _all_success,
    Trigger.ANY_SUCCESS: _any_success,
    Trigger.ANY_FAILED: _any_failed,
    Trigger.ALL_FAILED: _all_failed,
    Trigger.NONE_FAILED: _none_failed,
    Trigger.ALWAYS: _always,
    Trigger.NONE_FAILED_ANY_SUCCESS: _none_failed_any_success,
    Trigger.ALL_SKIPPED: _all_skipped,
    Trigger.NONE_SKIPPED: _none_skipped,
}


def status_of(task: Task) -> Status | None:
    """How it ended; None: not yet."""
    return task.outcome.status if task.outcome is not None else None


def first_failed(tasks: Sequence[Task]) -> Task:
    """The first of these that failed; there is one."""
    return next(task for task in tasks if status_of(task) not in (None, Status.DONE, Status.SKIPPED))


def first_skipped(tasks: Sequence[Task]) -> Task:
    """The first of these that was skipped; there is one."""
    return next(task for task in tasks if status_of(task) is Status.SKIPPED)


def judge(task: Task) -> bool | str:
    """Whether its condition holds; or, in words, why that cannot be said."""
    condition = task.order.spec.condition
    if condition is None:
        return True
    steps = {
        name: expressions.Step(state_word(status_of(need)), need.outcome.outputs if need.outcome is not None else b"")
        for name, need in zip(condition.names, task.needs, strict=False)
    }
    return expressions.holds(condition.expression, condition.parameters, steps)


def state_word(status: Status | None) -> str:
    """What conditions and people call it."""
    match status:
        case None:
            return "Running"
        case Status.DONE:
            return "Succeeded"
        case Status.SKIPPED:
            return "Skipped"
        case Status.CANCELLED:
            return "Cancelled"
        case _:
            return "Failed"


def detach(task: Task) -> None:
    """Be told no more by those that have not ended; they are kept as long as this one, for a replay's sake."""
    for need in task.needs if task.waiting else ():
        if need.dependents is not None:
            left = [other for other in need.dependents if other is not task]
            need.dependents = left or None
    task.waiting = 0


def condition_fault(condition: Condition, group: Group) -> str:
    """What is wrong with a condition, before anything runs; '' when nothing is."""
    for needs in group.needs or [[]]:
        if len(needs) != len(condition.names):
            return f"condition: it names {len(condition.names)} steps for {len(needs)} needed tasks"
    return expressions.fault(condition.expression)
