"""How tasks end: what a future is completed with, how that is unpacked, and what is said of it in words."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from blockyard.errors import BlockyardError, DependencyError, NotLoadable
from blockyard.ids import TaskId, task_name
from blockyard.payload import load_error, load_value
from blockyard.payload.layout import Buffer

if TYPE_CHECKING:
    from blockyard.futures import TaskFuture


class Ending(IntEnum):
    """What a future is completed with, and so what the third value of its entry in a batch is."""

    CANCELLED = 0
    """Nothing; the value is ignored."""
    VALUE = 1
    """The result itself."""
    EXCEPTION = 2
    """The exception itself."""
    RESULT = 3
    """A packed result, or a function without arguments that fetches one when it is first wanted."""
    ERROR = 4
    """A packed exception (`ErrorRecord.body`), or a function that fetches one."""
    VALUE_FROM = 5
    """A function without arguments that makes the result when it is first wanted."""


# Plain names, because a look-up in an enum costs as much as everything else that is done per future.
CANCELLED: Final = Ending.CANCELLED
VALUE: Final = Ending.VALUE
EXCEPTION: Final = Ending.EXCEPTION
RESULT: Final = Ending.RESULT
ERROR: Final = Ending.ERROR
VALUE_FROM: Final = Ending.VALUE_FROM
FAILURES: Final = frozenset({EXCEPTION, ERROR})

Body = Any
"""What an `Ending` says: a value, an exception, packed bytes, or a function that returns one of these."""


def unpack(task: int, ending: Ending, body: Body) -> tuple[Ending, object]:
    """Return VALUE and a result, or EXCEPTION and an exception, which may be that the body cannot be unpacked."""
    try:
        if ending is VALUE_FROM:
            return VALUE, body()
        packed: Buffer = body if type(body) is bytes else body() if callable(body) else body
        if ending is ERROR:
            return EXCEPTION, load_error(packed)
        return VALUE, load_value(packed)
    except NotLoadable as error:
        problem = NotLoadable(f"the result of task {task_name(TaskId(task))}: {error}")
        problem.__cause__ = error.__cause__
        return EXCEPTION, problem
    except BlockyardError as error:
        return EXCEPTION, error
    except OSError as error:
        problem = NotLoadable(f"the result of task {task_name(TaskId(task))} could not be read: {error}")
        problem.__cause__ = error
        return EXCEPTION, problem


def ended_in_words(future: TaskFuture[Any]) -> str:
    """How a task ended, as the rest of a sentence about it; unpacks the exception of one that failed."""
    if future.cancelled():
        return "was cancelled."
    if not future.has_failed():
        return "is done."
    error = future.exception()
    return f"failed: {type(error).__qualname__}: {error}"


def dependency_error(future: TaskFuture[Any]) -> DependencyError:
    """Return the error of a call that needs a task which has failed; in a chain of them it names the first."""
    task = future.task
    name = task_name(TaskId(task))
    if future.cancelled():
        message = f"task {name}, which this one needs, was cancelled"
        return DependencyError(message, task, "concurrent.futures.CancelledError")
    cause = future.exception()
    if isinstance(cause, DependencyError):
        return DependencyError(str(cause), cause.task, cause.cause_type)
    kind = type(cause)
    message = f"task {name}, which this one needs, failed: {kind.__qualname__}: {cause}"
    failure = DependencyError(message, task, f"{kind.__module__}.{kind.__qualname__}")
    failure.__cause__ = cause
    return failure
