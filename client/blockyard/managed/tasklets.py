"""Tasklets: small functions that the executor calls before or after a task, in its own process.

Text arguments may hold ``{{ name }}`` of a parameter; a lone one keeps the parameter's type. One that comes before may
change the environment and the parameters (it returns `TaskletChanges`), have the task skipped (it raises
`TaskSkipped`), and with ``on_error="fail"`` it fails the task.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, get_args

import msgspec

from blockyard.errors import BlockyardError, ConfigError
from blockyard.managed.hooks import FAULTS
from blockyard.managed.records import Failure, OnError, WhenTasklet
from blockyard.managed.substitution import substitute

log = logging.getLogger("blockyard.managed")


class TaskletFailed(BlockyardError):
    """A tasklet with ``on_error="fail"`` raised; the message has what."""


class TaskSkipped(BlockyardError):
    """Raised by what comes before a task: it is not to run, and ends as SKIPPED with this message, which says why."""


class Tasklet(msgspec.Struct, frozen=True):
    """One of them."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    when: WhenTasklet = "after"
    set_result: bool = False
    set_summary: bool = False
    on_error: OnError = "warn"

    def __post_init__(self) -> None:
        """Raises ConfigError for a tasklet that would never be called, or could not be."""
        if not callable(self.function):
            raise ConfigError(f"tasklet: {self.function!r} is no function")
        if inspect.iscoroutinefunction(self.function):
            raise ConfigError(f"tasklet: {self.function!r} is a coroutine function, and nothing would await it")
        for field, choices in (("when", get_args(WhenTasklet)), ("on_error", get_args(OnError))):
            if getattr(self, field) not in choices:
                raise ConfigError(f"tasklet: {field}={getattr(self, field)!r}; give one of {', '.join(choices)}")


class TaskletChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a tasklet changes."""

    environment: dict[str, str] = {}
    parameters: dict[str, Any] = {}
    payload: Any = None
    summary: Any = None
    has_payload: bool = False
    """That `payload` counts though it is None."""
    has_summary: bool = False


def changes_of(tasklet: Tasklet, parameters: Mapping[str, Any], failures: list[Failure]) -> TaskletChanges:
    """Call it. Raises TaskletFailed if it is to fail the task, TaskSkipped if to skip it; other failures are added to
    `failures`."""
    name = getattr(tasklet.function, "__qualname__", repr(tasklet.function))
    try:
        returned = tasklet.function(*(substitute(one, parameters) for one in tasklet.args))
    except FAULTS as error:
        if isinstance(error, TaskSkipped) and tasklet.when == "before":
            raise
        message = f"tasklet {name} ({tasklet.when}): {type(error).__name__}: {error}"
        if tasklet.on_error == "fail":
            raise TaskletFailed(message) from error
        if tasklet.on_error == "warn":
            log.warning("%s", message)
        failures.append(Failure(what=f"tasklet {name}", where=tasklet.when, message=f"{type(error).__name__}: {error}"))
        return TaskletChanges()
    if isinstance(returned, TaskletChanges):
        return msgspec.structs.replace(
            returned,
            has_payload=returned.has_payload or returned.payload is not None,
            has_summary=returned.has_summary or returned.summary is not None,
        )
    return TaskletChanges(
        payload=returned if tasklet.set_result else None,
        summary=returned if tasklet.set_summary else None,
        has_payload=tasklet.set_result,
        has_summary=tasklet.set_summary,
    )
