"""What is written down of an executor's task: its record when it starts and when it has ended, and what comes of it.

The executor says when, and is only read here. What a record is, is said in `records`; how it is told to the history, in
`telling`.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from blockyard.managed.parameters import plain
from blockyard.managed.records import AnalysisConfig, Failure, ManagedResult
from blockyard.private_files import write_private

if TYPE_CHECKING:
    from blockyard.managed.executor import BaseExecutor

RECORD_NAME: Final = "record.json"
"""Of the file, in the task's folder."""


def begun(executor: BaseExecutor, command: Sequence[str]) -> AnalysisConfig:
    """The record of a task that is about to run `command`, without its code: that takes a look at the disk."""
    variables = os.environ
    return AnalysisConfig(
        id=secrets.token_hex(8),
        task_name=executor.task,
        executor=type(executor).__name__,
        run=executor.run,
        step=executor.step,
        started=time.time(),
        command=list(command),
        directory=executor.directory,
        parameters=plain(executor.parameters),
        parameters_schema=executor.parameters_schema,
        environment=executor.environment.for_record(),
        communicators=[str(one) for one in executor.communicators],
        image=variables.get("BLOCKYARD_IMAGE", ""),
        host=socket.gethostname(),
        block=variables.get("BLOCKYARD_BLOCK", ""),
        manager=variables.get("BLOCKYARD_MANAGER", ""),
        python=platform.python_version(),
        spec=executor.spec,
    )


def ended(executor: BaseExecutor, record: AnalysisConfig, failures: list[Failure]) -> AnalysisConfig:
    """The record completed. `failures`: of everything beside the task, its hooks' as well."""
    at, exit_ = executor.course, executor.course.exit
    return msgspec.structs.replace(
        record,
        status=at.status.name,
        reason=at.reason,
        message=at.message,
        ended=time.time(),
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
        failures=failures,
    )


def returned(executor: BaseExecutor, record: AnalysisConfig, folder: str) -> ManagedResult:
    """What `execute_task` returns. `record`: complete; `folder`: that is kept, '' for none."""
    at = executor.course
    return ManagedResult(
        status=at.status,
        reason=at.reason,
        message=at.message,
        exit_code=record.exit_code,
        signal=record.signal,
        seconds=record.ended - record.started,
        result=executor.result,
        outputs=executor.files,
        stdout=executor.streams[0].tail() if executor.streams else "",
        stderr=executor.streams[1].tail() if executor.streams else "",
        folder=folder,
        record=record,
    )


def write(record: AnalysisConfig, folder: str) -> None:
    """Have it in the folder, whole at any time: in the place of the one before. Raises OSError."""
    write_private(Path(folder, RECORD_NAME), msgspec.json.encode(record))
