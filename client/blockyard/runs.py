"""A run as its client sees it: its name, and a summary of its history, which a hub keeps in a database.

What is read, and how, is `blockyard_monitoring.history`'s, which need not be installed for anything else.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from blockyard.errors import ConfigError, NotInstalled
from blockyard.monitoring import database_of, history_of

if TYPE_CHECKING:
    from blockyard.workflow.building import Workflow
    from blockyard.workflow.running import WorkflowRun
    from blockyard.workflow.spec import Workflow as Spec

_KNOWN_SECONDS: Final = 5.0
"""In which a run that has only begun becomes known to its history, its hub's start included."""


class FunctionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Tries of one function (or of tasks of one name) that ended. Durations are seconds."""

    function: str
    tries: int
    failed: int
    total_seconds: float
    """That its tries ran, all together."""
    mean_seconds: float
    max_seconds: float


class FailureSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Tries that failed alike."""

    state: str
    kind: str
    """The exception's qualified name, or how a try was lost."""
    message: str
    """Of one of them."""
    count: int
    task: str
    """That one, as people write it."""


class ProgramSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Managed programs that ended alike."""

    status: str
    reason: str
    name: str
    message: str
    """Of one of them."""
    count: int
    """Tasks that ran one."""
    task: str
    """That one's, as people write it."""


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the history says of a run. Instants are UTC epoch seconds, durations seconds; 0: not known."""

    run: str
    tasks: int
    """Submitted."""
    done: int
    failed: int
    """By whatever cause, also one that they waited for."""
    cancelled: int
    """Or skipped, as a step of a workflow may be."""
    unfinished: int
    tries: int
    retried: int
    """Tries that were not their task's last."""
    lost: int
    """Tries that ended with their worker, pod or node."""
    began_at: float
    ended_at: float
    """Of the last task that has ended."""
    queued_seconds: float
    """All tries together: from queued to assigned."""
    travel_seconds: float
    """From assigned to returned, less the time that they ran."""
    running_seconds: float
    cpu_seconds: float
    peak_bytes: int
    """Of the task that used most."""
    workers: int
    """That ran something of it."""
    functions: list[FunctionSummary]
    """Those that ran longest first; at most 20."""
    failures: list[FailureSummary]
    """The most frequent ones first; at most 20."""
    done_unwell: int = 0
    """Of those that are done, such as ran a managed program that did not complete: they returned that, and without
    `check` nothing is raised."""
    programs: list[ProgramSummary] = []
    """Of these tasks, the most frequent ones first; at most 20."""

    @property
    def seconds(self) -> float:
        """From its beginning to its last task's end."""
        return max(0.0, self.ended_at - self.began_at) if self.began_at and self.ended_at else 0.0

    @property
    def tasks_per_second(self) -> float:
        """That ended, over the whole time."""
        ended = self.tasks - self.unfinished
        return ended / self.seconds if self.seconds else 0.0

    @property
    def utilisation(self) -> float:
        """Which part of the time of its workers its tasks ran, 0 to 1."""
        available = self.workers * self.seconds
        return min(1.0, self.running_seconds / available) if available else 0.0

    @property
    def unwell(self) -> str:
        """What is to be said of those that are done, in parentheses; '' for nothing."""
        return f" ({self.done_unwell:,} of them with a program that did not complete)" if self.done_unwell else ""

    def __str__(self) -> str:
        return (
            f"run {self.run!r}: {self.tasks} tasks, {self.done} done{self.unwell}, {self.failed} failed, "
            f"{self.cancelled} cancelled, {self.unfinished} unfinished, in {self.seconds:.3g} s: "
            f"{self.tasks_per_second:.4g}/s on {self.workers} workers, {100 * self.utilisation:.0f} % busy"
        )


class RunHandle:
    """A run of this client. `folder`: the state folder of its system. `pool`: what its workflows call 'default'."""

    def __init__(self, name: str, folder: Path | None, engine: object = None, pool: str = "default") -> None:
        self.name = name
        self._engine = engine
        self._pool = pool
        self._folder = folder
        self._database = history_of(folder) if folder is not None else ""

    def __call__(
        self,
        workflow: "Workflow | Spec | Mapping[str, Any] | Path | str",
        *,
        name: str = "",
        arguments: Mapping[str, Any] | None = None,
    ) -> "WorkflowRun":
        """Start a run of a workflow, or find it as it is when it was started before under this name.

        `workflow`: built by `blockyard.workflow.building.Workflow`, the path of a file, or a spec, which needs a
        `name`. `arguments`: of its parameters. The run goes on when this client is gone, as long as the interchange is
        there. Raises `Invalid`, with all that is wrong and where, before anything runs; BlockyardError.
        """
        from blockyard.remote import RemoteEngine
        from blockyard.workflow import running  # costs nothing to those who do not use it

        if not isinstance(self._engine, RemoteEngine):
            raise ConfigError("run: threads of this process run no workflows; use Client.local")
        spec, own = running.of(workflow)
        if not (name or own):
            raise ConfigError("run: a spec has no name of its own; say name=")
        return running.start(self._engine, spec, name or own, arguments, pool=self._pool)

    def summary(self) -> RunSummary:
        """What its history says by now; what happened within the last second may be missing.

        Raises ConfigError when no history is kept on this machine, or its reader is not installed.
        """
        if not self.name:
            raise ConfigError("run: these threads have no history; Client.threads(monitoring=True) keeps one")
        if self._folder is None and not self._database:
            raise ConfigError(
                f"run {self.name!r}: its system is not on this machine; 'blockyard report {self.name} --database URL' "
                "reads the history where that is"
            )
        url = self._database or database_of(self._folder or Path())
        try:
            reader = importlib.import_module("blockyard_monitoring.history.summary")
        except ModuleNotFoundError as error:
            raise NotInstalled(
                f"run {self.name!r}: {error.name} is not installed; pip install 'blockyard[monitoring]'"
            ) from error
        found: RunSummary = reader.summarise(url, self.name, _KNOWN_SECONDS)
        return found
