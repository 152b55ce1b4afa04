"""What several questions have in common: names of tasks and states, which try stands for its task, pages by key."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Label, and_, case, exists, or_, select, true

from blockyard.ids import TaskId, parse_task_name, task_name
from blockyard.wire.monitoring import TryState
from blockyard_monitoring.sinks.sql import tables
from blockyard_monitoring.sinks.sql.rows import signed

T = TypeVar("T")
submissions = tables.submissions.alias("s")
tries = tables.tries.alias("t")
uses = tables.worker_tasks.alias("w")

FAILED: Final = (
    TryState.RAISED, TryState.TIMEOUT, TryState.DEADLINE, TryState.OUT_OF_MEMORY, TryState.LOST, TryState.DEPENDENCY,
    TryState.REFUSED,
)  # fmt: skip
"""States in which a try, or a task, has not done what it should."""


class Shown(IntEnum):
    """What a filter of tasks may ask for besides one state."""

    FAILED = 1
    ENDED = 2


STATES: Final = (*(state.name.lower() for state in TryState), *(shown.name.lower() for shown in Shown))
"""Words for `in_state`; ``running`` means also those that were assigned and not heard of since."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Some rows, and the key behind which the next ones are; None: these were the last."""

    rows: list[T]
    next: tuple[Any, ...] | None


def page_of(rows: Sequence[T], limit: int, keys: Sequence[tuple[Any, ...]]) -> Page[T]:
    """A page of the first `limit` of `limit` + 1 rows that were asked for; `keys` by row."""
    more = len(rows) > limit
    return Page(list(rows[:limit]), keys[limit - 1] if more else None)


def state_word(state: int) -> str:
    """A state of a try as people read it."""
    try:
        return TryState(state).name.lower()
    except ValueError:
        return f"state {state}"  # of a newer interchange


def name_of(task: int) -> str:
    """A task's number in the database as people write it."""
    return task_name(TaskId(task & 0xFFFF_FFFF_FFFF_FFFF))


def number_of(name: str) -> int:
    """The other way round. Raises ValueError naming the text."""
    return signed(parse_task_name(name))


def label() -> Label[str]:
    """What a task is called: its own name, or its function's."""
    return case((submissions.c.name != "", submissions.c.name), else_=submissions.c.function).label("label")


def in_state(word: str) -> ColumnElement[bool]:
    """Tries in a state, see `STATES`."""
    match word:
        case "failed":
            return tries.c.state.in_([int(state) for state in FAILED])
        case "running":
            return tries.c.state < 0
        case "ended":
            return tries.c.state >= 0
        case _:
            return tries.c.state == int(TryState[word.upper()])


def stands_for_its_task() -> ColumnElement[bool]:
    """The try that a task ended with; while it has not ended, its latest one."""
    last, later = tables.tries.alias("last"), tables.tries.alias("later")
    has_last = exists(select(last.c.task).where(last.c.task == tries.c.task, last.c.is_last == 1))
    has_later = exists(select(later.c.task).where(later.c.task == tries.c.task, later.c.epoch > tries.c.epoch))
    return or_(tries.c.is_last == 1, and_(~has_last, ~has_later))


def of_run(run: str) -> ColumnElement[bool]:
    """Submissions of a run; '' for all."""
    return submissions.c.run == run if run else true()


def seconds(us: int) -> float:
    """Microseconds as seconds."""
    return us / 1e6
