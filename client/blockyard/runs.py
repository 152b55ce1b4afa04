"""A run as its client sees it: its name, and a summary of its history, which a hub keeps in a database.

What is read, and how, is `blockyard_monitoring.history`'s, which need not be installed for anything else.
"""

import importlib
from pathlib import Path

import msgspec

from blockyard.errors import ConfigError
from blockyard.monitoring import database_of, is_monitored


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


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the history says of a run. Instants are UTC epoch seconds, durations seconds; 0: not known."""

    run: str
    tasks: int
    """Submitted."""
    done: int
    failed: int
    """By whatever cause, also one that they waited for."""
    cancelled: int
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


class RunHandle:
    """A run of this client. `folder`: the state folder of its system."""

    def __init__(self, name: str, folder: Path | None) -> None:
        self.name = name
        self._folder = folder
        self._database = database_of(folder) if folder is not None and is_monitored(folder) else ""

    def summary(self) -> RunSummary:
        """What its history says by now; what happened within the last half second may be missing.

        Raises ConfigError when no history is kept on this machine, or its reader is not installed.
        """
        if self._folder is None and not self._database:
            raise ConfigError(
                f"run {self.name!r}: its system is not on this machine; 'blockyard report {self.name} --database URL' "
                "reads the history where that is"
            )
        url = self._database or database_of(self._folder or Path())
        try:
            reader = importlib.import_module("blockyard_monitoring.history.summary")
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"run {self.name!r}: {error.name} is not installed; pip install 'blockyard[monitoring]'"
            ) from error
        found: RunSummary = reader.summarise(url, self.name)
        return found
