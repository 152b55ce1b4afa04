"""Those who are told of results: functions that get an executor when its task has ended, or names of entry points.

What one makes of the executor is its own affair; `elog` has one. What is told to the history without being asked is
left to `telling` and `artefacts`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from blockyard import plugins
from blockyard.errors import ConfigError
from blockyard.managed.hooks import FAULTS
from blockyard.managed.records import Failure

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor

log = logging.getLogger("blockyard.managed")

Sink: TypeAlias = "Callable[[BaseExecutor], None]"


def sink_of(sink: Sink | str) -> Sink:
    """The sink, found if it is a name. Raises ConfigError for a name that there is not."""
    if not isinstance(sink, str):
        if not callable(sink):
            raise ConfigError(f"executor: sink {sink!r} is neither a function nor the name of one")
        return sink
    if not plugins.is_known(plugins.RESULT_SINKS, sink):
        there = ", ".join(plugins.registered(plugins.RESULT_SINKS)) or "none"
        raise ConfigError(f"executor: no result sink {sink!r}; there are: {there}")
    found: Any = plugins.load(plugins.RESULT_SINKS, sink)
    made: Sink = found
    return made


def tell(executor: BaseExecutor, sinks: Iterable[Sink]) -> None:
    """Call each. What one raises is added to the executor's failures, and keeps none of the others from it."""
    for sink in sinks:
        try:
            sink(executor)
        except FAULTS as error:  # the rim: a sink is others' code, and the task is over
            name = getattr(sink, "__qualname__", repr(sink))
            log.warning("%s: sink %s: %s", executor.task, name, error)
            message = f"{type(error).__name__}: {error}"
            executor.failures.append(Failure(what=f"sink {name}", where="process_results", message=message))
