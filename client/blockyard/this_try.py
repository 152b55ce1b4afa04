"""What surrounds the code of a task: the try that it runs as, and ways to tell the worker's manager of it.

A worker says here that it is one, and `Client.threads` of each of its threads; deep below, a managed task finds it
without either knowing the other. Elsewhere, and in the processes that a task forks, nothing surrounds.
"""

import contextlib
import enum
import threading
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from blockyard.wire.monitoring import FromWorker
from blockyard.wire.records import Lease, Part

BLOCK_BYTES: Final = 512
"""Of `ru_inblock` and `ru_oublock`, getrusage(2)."""


class Way(enum.IntEnum):
    """How what is told travels, and what becomes of it while the hub is away."""

    KEPT = 0
    """It must not be missed: it is kept until it is stored."""
    BULK = 1
    """The same; but it may be large, and takes no room from what is `KEPT`."""
    PASSING = 2
    """It may be missed, and takes no room from what may not."""


class Surroundings(Protocol):
    """A worker, as code of its tasks may use it. From any thread."""

    def lease(self) -> Lease:
        """The try that it runs."""
        ...

    def part(self) -> Part | None:
        """Its part in a task that spans several managers; None for any other task."""
        ...

    def tell(self, *records: FromWorker, way: Way = Way.KEPT) -> bool:
        """Have the history told this. False without monitoring."""
        ...


class Program(Protocol):
    """A managed task that runs in this process. All may be called from anywhere, also while it does something else."""

    @property
    def grace(self) -> float:
        """Seconds that it gives its processes to end when they are asked to."""
        ...

    def stop(self) -> None:
        """Hold all its processes."""
        ...

    def resume(self) -> None:
        """Let them go on."""
        ...


class Below:
    """What the programs of managed tasks used.

    What watches them outlives a task: the kernel adds that to the account of this process's children only when the
    watcher ends, long after the try, and it is taken back here then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums = (0.0, 0.0, 0, 0)
        self._peak_kib = 0

    def add(self, user: float, system: float, read: int, written: int, peak_kib: int = 0) -> None:
        """Seconds, and blocks as getrusage(2) counts them. From any thread."""
        with self._lock:
            before = self._sums
            self._sums = (before[0] + user, before[1] + system, before[2] + read, before[3] + written)
            self._peak_kib = max(self._peak_kib, peak_kib)

    def take(self) -> tuple[float, float, int, int, int]:
        """The same since it was last taken, and the largest peak."""
        with self._lock:
            found, self._sums = (*self._sums, self._peak_kib), (0.0, 0.0, 0, 0)
            self._peak_kib = 0
            return found


below = Below()
around: Surroundings | None = None
"""Set by a worker when it begins, and taken away in what its tasks fork."""
of_threads: dict[int, Surroundings] = {}
"""Of threads that run tasks of their own, by their identity."""
programs: "dict[Program, int]" = {}
"""Those that run here now, and the identity of the thread that runs each."""
on_grace: "Callable[[float], None] | None" = None
"""Of a worker: it gets the longest grace of the programs that run here, and has its manager wait so much longer before
it ends what was asked to."""
_counting = threading.Lock()


def here() -> Surroundings | None:
    """What surrounds the code of this thread; None when nothing does."""
    return of_threads.get(threading.get_ident(), around) if of_threads else around


@contextlib.contextmanager
def running(program: Program) -> Iterator[None]:
    """While this thread runs it."""
    _put(program, threading.get_ident())
    try:
        yield
    finally:
        _put(program, None)


def _put(program: Program, thread: int | None) -> None:
    with _counting:
        if thread is None:
            programs.pop(program, None)
        else:
            programs[program] = thread
        if on_grace is not None:
            on_grace(max((one.grace for one in programs), default=0.0))


def hold(*, held: bool, thread: int | None = None) -> int:
    """Stop all of them, or those of a thread, or let them go on; how many there are."""
    found = [program for program, runner in list(programs.items()) if thread in (None, runner)]
    for program in found:
        (program.stop if held else program.resume)()
    return len(found)


def leave() -> None:
    """In what was forked: nothing of it is here."""
    global around, below, on_grace, _counting
    around, below, on_grace, _counting = None, Below(), None, threading.Lock()
    of_threads.clear()
    programs.clear()
