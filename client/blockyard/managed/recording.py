"""What is written down of an executor's task: its record when it starts and when it has ended, and what comes of it.

The executor says when; here it is only read, and told of records that could not be kept. What a record is, is said in
`records`; how it is told to the history, in `telling`.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import platform
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from blockyard.managed import telling
from blockyard.managed.environment import without
from blockyard.managed.parameters import plain
from blockyard.managed.records import AnalysisConfig, Failure, ManagedResult
from blockyard.private_files import write_private

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor

log = logging.getLogger("blockyard.managed")

RECORD_NAME: Final = "record.json"
"""Of the file, in the task's folder."""
PROGRESS_SECONDS: Final = 1.0
"""However often a task says how far it is."""


class Book:
    """The record of one execution: `record` once it has begun, told to the history and kept as the executor does."""

    def __init__(self, executor: BaseExecutor) -> None:
        self._executor = executor
        self.record: AnalysisConfig | None = None
        self._progress_due = 0.0
        self._has_news = False
        """Of how far the task is, not told yet."""
        self._begun_at = 0.0
        """By the monotonic clock: the other one may be set meanwhile."""

    def begin(self) -> AnalysisConfig:
        """Write down what is about to run."""
        executor = self._executor
        begun_now, self._begun_at = begun(executor, executor.command.argv), time.monotonic()
        return self._keep(msgspec.structs.replace(begun_now, code=executor.code_version()))

    def note_status(self) -> None:
        """Write down how the task stands, if it has begun."""
        if self.record is not None:
            status = self._executor.course.status.name
            self._has_news = False
            self._keep(msgspec.structs.replace(self.record, status=status, progress=self._executor.progress))

    def note_progress(self) -> None:
        """The task has said how far it is."""
        self._has_news = self.record is not None

    def tell_news(self, now: float) -> float:
        """Tell how far the task is, if that is news and none was told within `PROGRESS_SECONDS` before.

        Returns the instant at which news that wait are due; infinity when none do.
        """
        if self.record is None or not self._has_news:
            return math.inf
        if now < self._progress_due:
            return self._progress_due
        self._has_news, self._progress_due = False, now + PROGRESS_SECONDS
        with contextlib.suppress(OSError):  # the worker's manager is gone, and soon this worker
            telling.tell_progress(msgspec.structs.replace(self.record, progress=self._executor.progress))
        return math.inf

    def end(self, of_hooks: list[Failure]) -> AnalysisConfig:
        """Write down how it ended, and what failed beside it: the executor's list, and that of its hooks."""
        record = self.record or self.begin()
        at = record.started + time.monotonic() - self._begun_at
        return self._keep(ended(self._executor, record, at, [*self._executor.failures, *of_hooks]))

    def _keep(self, record: AnalysisConfig) -> AnalysisConfig:
        record = self.record = legible(record)
        for keep in (self._tell, self._executor.store_configuration):
            try:
                keep(record)
            except Exception as error:  # noqa: BLE001 - the rim: a record that can't be kept must not end the task
                log.warning("the record of %s was not kept: %s", self._executor.task, error)
                failure = Failure(what="record", where=keep.__qualname__, message=str(error))
                self._executor.failures.append(failure)
        return record

    def _tell(self, record: AnalysisConfig) -> None:
        telling.tell(record, self._executor.folder, self._executor.streams)


def begun(executor: BaseExecutor, command: Sequence[str]) -> AnalysisConfig:
    """The record of a task that is about to run `command`, without its code: that takes a look at the disk."""
    variables, secret_values = os.environ, _secret_values(executor)
    return AnalysisConfig(
        id=secrets.token_hex(8),
        task_name=executor.task,
        executor=type(executor).__name__,
        run=executor.run,
        step=executor.step,
        started=time.time(),
        command=without(secret_values, list(command)),
        directory=executor.directory,
        parameters=without(secret_values, plain(executor.parameters)),
        parameters_schema=executor.parameters_schema,
        environment=executor.environment.for_record(),
        communicators=[str(one) for one in executor.communicators],
        image=variables.get("BLOCKYARD_IMAGE", ""),
        host=socket.gethostname(),
        block=variables.get("BLOCKYARD_BLOCK", ""),
        manager=variables.get("BLOCKYARD_MANAGER", ""),
        python=platform.python_version(),
        spec=without(secret_values, executor.spec),
    )


def _secret_values(executor: BaseExecutor) -> list[str]:
    """Also when its environment could not be made."""
    found = executor.environment
    return msgspec.structs.replace(found, variables={**os.environ, **found.variables}).hidden_values()


def ended(executor: BaseExecutor, record: AnalysisConfig, ended_at: float, failures: list[Failure]) -> AnalysisConfig:
    """The record completed. `failures`: of everything beside the task, its hooks' as well."""
    at, exit_ = executor.course, executor.course.exit
    return msgspec.structs.replace(
        record,
        status=at.status.name,
        reason=at.reason,
        message=without(_secret_values(executor), at.message),
        ended=ended_at,
        exit_code=exit_.code if exit_ else None,
        signal=exit_.signal if exit_ else None,
        usage=executor.usage,
        strays=executor.strays,
        outputs=executor.files,
        stdout_bytes=executor.streams[0].total_bytes if executor.streams else 0,
        stderr_bytes=executor.streams[1].total_bytes if executor.streams else 0,
        dropped_lines=sum(one.dropped for one in executor.communicators),
        result=executor.result,
        metadata=executor.metadata,
        metrics=executor.metrics,
        progress=executor.progress,
        failures=failures,
    )


def legible(record: AnalysisConfig) -> AnalysisConfig:
    """The same in UTF-8: names of files, and variables, may be bytes that are none. Pure."""
    try:
        msgspec.json.encode(record, enc_hook=str)
    except UnicodeEncodeError:
        return msgspec.convert(_legible(msgspec.to_builtins(record, enc_hook=str)), AnalysisConfig)
    return record


def _legible(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return [_legible(one) for one in value]
        case dict():
            return {_legible(name): _legible(one) for name, one in value.items()}
    return value


def returned(executor: BaseExecutor, record: AnalysisConfig, folder: str) -> ManagedResult:
    """What `execute_task` returns. `record`: complete; `folder`: that is kept, '' for none."""
    at = executor.course
    return ManagedResult(
        status=at.status,
        reason=at.reason,
        message=record.message,
        exit_code=record.exit_code,
        signal=record.signal,
        seconds=record.ended - record.started,
        result=executor.result,
        outputs=record.outputs,
        stdout=executor.streams[0].tail() if executor.streams else "",
        stderr=executor.streams[1].tail() if executor.streams else "",
        folder=folder,
        record=record,
    )


def write(record: AnalysisConfig, folder: str) -> None:
    """Have it in the folder, whole at any time: in the place of the one before. Raises OSError."""
    write_private(Path(folder, RECORD_NAME), msgspec.json.encode(record))
