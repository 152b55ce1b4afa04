"""What surrounds the code of a task: the try that it runs as, and ways to tell the worker's manager of it.

A worker says here that it is one; deep below it, a managed task finds it without either knowing the other. In a process
that is no worker, and in those that a task forks, nothing surrounds.
"""

from typing import Protocol

from blockyard.wire.records import Lease, Part


class Surroundings(Protocol):
    """A worker, as code of its tasks may use it. From any thread."""

    def lease(self) -> Lease:
        """The try that it runs."""
        ...

    def part(self) -> Part | None:
        """Its part in a task that spans several managers; None for any other task."""
        ...

    def tell(self, record: bytes, *, is_bulk: bool = False) -> bool:
        """Have the history told this: a record of `wire.monitoring`, encoded. False without monitoring.

        `is_bulk`: it may be large, and goes a way of its own, so that it takes no room from what must not be missed.
        """
        ...


class Program(Protocol):
    """A managed task that runs in this process. Both may be called from anywhere, also while it does something else."""

    def stop(self) -> None:
        """Hold all its processes."""
        ...

    def resume(self) -> None:
        """Let them go on."""
        ...


around: Surroundings | None = None
"""Set by a worker when it begins, and taken away in what its tasks fork."""
programs: "set[Program]" = set()
"""Those that run here now."""


def hold(*, held: bool) -> int:
    """Stop all of them, or let them go on; how many there are."""
    found = list(programs)
    for program in found:
        (program.stop if held else program.resume)()
    return len(found)


def leave() -> None:
    """In what was forked: nothing of it is here."""
    global around  # noqa: PLW0603 - a process has one surrounding
    around = None
    programs.clear()
