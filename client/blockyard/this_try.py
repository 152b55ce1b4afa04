"""What surrounds the code of a task: the try that it runs as, and ways to tell the worker's manager of it.

A worker says here that it is one; deep below it, a managed task finds it without either knowing the other. In a process
that is no worker, and in those that a task forks, nothing surrounds.
"""

from typing import Protocol

from blockyard.wire.records import Lease


class Surroundings(Protocol):
    """A worker, as code of its tasks may use it. From any thread."""

    def lease(self) -> Lease:
        """The try that it runs."""
        ...

    def tell(self, record: bytes) -> None:
        """Have the history told this: a `wire.monitoring.Config`, encoded. Nothing without monitoring."""
        ...


around: Surroundings | None = None
"""Set by a worker when it begins, and taken away in what its tasks fork."""
