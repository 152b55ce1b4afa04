"""What a managed task leaves: its result, its artefacts, and the record of what ran. Plain values, fit for any wire."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from blockyard.errors import BlockyardError
from blockyard.managed.states import TaskStatus

_TAIL_CHARACTERS = 2000
"""Of what a program printed, in the words of its failure."""


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task, as it said itself or as its parameters say."""

    task_name: str
    task_status: TaskStatus = TaskStatus.PENDING
    summary: Any = None
    """Short: text, number, list, dict."""
    payload: Any = None
    """What it is about: a value that JSON can hold, or the path of a file."""
    impl_schemas: str = ""
    """Kinds of output that the payload is one of, with ``;`` between them."""


class Output(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a task is to leave. It is looked at when the task has ended, before the task counts as completed."""

    name: str
    path: str
    """Relative to the task's folder."""
    kind: str = "file"
    required: bool = True
    fresh: bool = True
    """Written after the task had started: one from yesterday is none."""


class OutputFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a task has left."""

    name: str
    path: str
    kind: str
    size_bytes: int
    sha256: str
    """'' for files above `outputs.MOST_HASHED`."""
    modified: float
    """UTC epoch seconds."""


class CodeVersion(msgspec.Struct, frozen=True, kw_only=True):
    """Which code ran: commit of the folder it came from, and what was changed since."""

    folder: str = ""
    git_sha: str = ""
    git_diff: str = ""
    """Against that commit, at most `code_version.MOST_DIFF` letters."""
    is_clipped: bool = False


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Something beside the task that went wrong, and harmed nothing else: a hook, a tasklet, a sink."""

    what: str
    where: str
    message: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a task is, as it said last."""

    fraction: float | None = None
    """0 to 1; None: it did not say."""
    message: str = ""

    def __str__(self) -> str:
        """``50 %: half of the frames``; '' when it said nothing."""
        percent = "" if self.fraction is None else f"{int(self.fraction * 100)} %"
        return f"{percent}: {self.message}" if percent and self.message else percent or self.message


class AnalysisConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one managed task. Written when it starts, completed when it ends. Secrets are never in it."""

    format: int = 1
    """Another one when a field's meaning changes."""
    id: str
    """Drawn at random for each."""
    task_name: str
    executor: str
    run: str = ""
    step: str = ""
    started: float
    """UTC epoch seconds, like every instant here."""
    command: list[str]
    directory: str
    parameters: dict[str, Any] = {}
    parameters_schema: dict[str, Any] = {}
    environment: dict[str, str] = {}
    """Of the task, with ``<secret>`` in the place of secrets."""
    communicators: list[str] = []
    code: CodeVersion = CodeVersion()
    image: str = ""
    """Digest of the container's image, where the pod says it (``BLOCKYARD_IMAGE``)."""
    host: str = ""
    block: str = ""
    manager: str = ""
    python: str = ""
    # what is known at the end only
    status: str = TaskStatus.RUNNING.name
    reason: str = ""
    message: str = ""
    ended: float = 0.0
    exit_code: int | None = None
    signal: int | None = None
    usage: dict[str, float] = {}
    strays: int = 0
    """Processes that had outlived the main one, and were ended."""
    outputs: list[OutputFile] = []
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_lines: int = 0
    """On the channel, that were no messages."""
    result: TaskResult | None = None
    metadata: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    progress: Progress = Progress()
    failures: list[Failure] = []
    spec: dict[str, Any] = {}
    """The `run.ManagedSpec` that asked for it; empty for an executor that was made in code."""
    left_out: list[str] = []
    """Fields that were too large for the history; the record in the task's folder has them."""


class ManagedResult(msgspec.Struct, frozen=True, kw_only=True):
    """What `execute_task` returns."""

    status: TaskStatus
    reason: str = ""
    """One CamelCase word, '' when it completed."""
    message: str = ""
    exit_code: int | None = None
    signal: int | None = None
    seconds: float = 0.0
    result: TaskResult
    outputs: list[OutputFile] = []
    """Declared outputs and artefacts, each verified."""
    stdout: str = ""
    """Its end; all of it, up to a bound, is in ``stdout`` of `folder`, if that was kept."""
    stderr: str = ""
    folder: str = ""
    """Where record, streams and artefacts are; '' when they were not to be kept."""
    record: AnalysisConfig

    @property
    def payload(self) -> Any:
        """The result's payload."""
        return self.result.payload

    @property
    def summary(self) -> Any:
        """The result's summary."""
        return self.result.summary

    def check(self) -> ManagedResult:
        """Itself, if it completed or was skipped. Raises ManagedTaskFailed."""
        if not self.status.is_well:
            raise ManagedTaskFailed(describe(self), self.status.name, self.reason, self.exit_code)
        return self


class ManagedTaskFailed(BlockyardError):
    """A managed task did not complete; the message has the reason and the end of what it printed."""

    def __init__(self, message: str, status: str = "", reason: str = "", exit_code: int | None = None) -> None:
        super().__init__(message, status, reason, exit_code)
        self.status = status
        self.reason = reason
        self.exit_code = exit_code

    @property
    def retry_names(self) -> tuple[str, ...]:
        """Its reason, such as 'ExitCode', 'SIGSEGV', 'OutputMissing', and 'ExitCode75' for that code alone."""
        code = (f"ExitCode{self.exit_code}",) if self.reason == "ExitCode" else ()
        return (self.reason, *code) if self.reason else ()

    def __str__(self) -> str:
        return str(self.args[0])


def describe(result: ManagedResult) -> str:
    """What became of a task, in a few lines."""
    name = result.result.task_name
    head = f"managed task {name!r}: {result.status.name}"
    if result.reason:
        head += f" ({result.reason})"
    if result.message:
        head += f": {result.message}"
    tail = (result.stderr or result.stdout)[-_TAIL_CHARACTERS:].strip()
    return f"{head}\n{tail}" if tail else head


WhenTasklet = Literal["before", "after"]
OnError = Literal["ignore", "warn", "fail"]
