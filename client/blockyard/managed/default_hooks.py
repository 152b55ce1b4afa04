"""What every executor does on the events of its task, unless it is told otherwise with ``replace=True``."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from blockyard.managed.communicators import ChannelClosed
from blockyard.managed.hooks import HookEvent
from blockyard.managed.records import Output, Progress
from blockyard.managed.signals import Point, Signal
from blockyard.wire.monitoring import clipped

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor

log = logging.getLogger("blockyard.managed.task")

MOST_NAMES: Final = 1000
"""Of metrics and of metadata that are kept of one task, and of its artefacts."""
MOST_PROGRESS: Final = 1000
"""Letters of what a task says of how far it is."""
_LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


def add_to(executor: BaseExecutor) -> None:
    """Add them all."""
    executor.add_hook(Signal.TASK_RESULT, keep_result)
    executor.add_hook(Signal.TASK_LOG, pass_log_on)
    executor.add_hook(Signal.TASK_METADATA, keep_metadata)
    executor.add_hook(Signal.TASK_METRIC, keep_metric)
    executor.add_hook(Signal.TASK_PROGRESS, keep_progress)
    executor.add_hook(Signal.TASK_ARTEFACT, keep_artefact)
    executor.add_hook(Signal.TASK_REQUEST, refuse_request)
    executor.add_hook(Signal.TASK_STOPPED, tell_status)
    executor.add_hook(Point.CONTINUED, tell_status)


def keep_result(executor: BaseExecutor, event: HookEvent) -> None:
    """The first one counts. One that is no object is the payload itself."""
    is_table = isinstance(event.contents, dict)
    found = event.contents if is_table else {"payload": event.contents}
    executor.set_result(
        summary=found.get("summary"),
        payload=found.get("payload"),
        impl_schemas=str(found.get("impl_schemas", "")),
    )


def pass_log_on(executor: BaseExecutor, event: HookEvent) -> None:
    """To Python's logging, and the last lines to the executor."""
    found = _table(event.contents)
    text = str(found.get("message", event.contents if not found else ""))
    executor.log_lines.append(text)
    log.log(_LEVELS.get(str(found.get("level")), logging.INFO), "%s: %s", executor.task, text)


def keep_metadata(executor: BaseExecutor, event: HookEvent) -> None:
    """For the record."""
    for name, value in _table(event.contents).items():
        if name in executor.metadata or len(executor.metadata) < MOST_NAMES:
            executor.metadata[name] = value


def keep_metric(executor: BaseExecutor, event: HookEvent) -> None:
    """Its last value."""
    found = _table(event.contents)
    name, value = found.get("name"), found.get("value")
    if not isinstance(name, str) or not isinstance(value, int | float) or not math.isfinite(value):
        return
    if name in executor.metrics or len(executor.metrics) < MOST_NAMES:
        executor.metrics[name] = float(value)


def keep_progress(executor: BaseExecutor, event: HookEvent) -> None:
    """How far it is, for the record, and the history meanwhile."""
    found, before = _table(event.contents), executor.progress
    fraction = before.fraction
    if isinstance(said := found.get("fraction"), int | float) and math.isfinite(said):
        fraction = min(max(float(said), 0.0), 1.0)
    executor.progress = Progress(fraction=fraction, message=clipped(str(found.get("message") or ""), MOST_PROGRESS))
    executor.book.note_progress()


def keep_artefact(executor: BaseExecutor, event: HookEvent) -> None:
    """A file that it names is looked at when it has ended."""
    found = _table(event.contents)
    name, path = found.get("name"), found.get("path")
    if isinstance(name, str) and isinstance(path, str) and name and len(executor.artefacts) < MOST_NAMES:
        named = Output(name=name, path=path, kind=str(found.get("kind", "file")), fresh=False)
        if named not in executor.artefacts:  # each rank may say it
            executor.artefacts.append(named)


def refuse_request(executor: BaseExecutor, event: HookEvent) -> None:
    """Nobody shall wait for an answer that never comes."""
    try:
        executor.respond(event, {"error": "this executor answers no requests; add a hook for TASK_REQUEST"})
    except ChannelClosed as closed:
        log.info("%s: a request was not answered: %s", executor.task, closed)


def tell_status(executor: BaseExecutor, event: HookEvent) -> None:
    """That it is stopped, or goes on, to the history."""
    executor.book.note_status()


def _table(contents: Any) -> dict[str, Any]:
    return contents if isinstance(contents, dict) else {}
