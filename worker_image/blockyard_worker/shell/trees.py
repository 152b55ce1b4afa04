"""Ends processes: a worker with everything below it, what a stopped task left, and at last everything.

A process belongs to a worker when it descends from it, is in its session, carries its number in the environment, or
shares its page (which a fork inherits). The last two find daemons, which have left both tree and session and, the
manager being subreaper, are its children now. A daemon that a task started by a new program with an emptied environment
is found only by the manager's own end.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from blockyard_worker import strays
from blockyard_worker.shell import procfs
from blockyard_worker.shell.child import Child

TICK_SECONDS = 0.02
"""Start times are known to a hundredth of a second."""


class Trees:
    """The processes below this manager. `mark` is its ``BLOCKYARD_MANAGER``."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._own = os.getpid()

    def of(self, child: Child, known: Iterable[int]) -> set[int]:
        """All processes that belong to a worker, itself too; `known` are this manager's own children."""
        table = procfs.processes()
        spared = {*known, self._own} - {child.pid}
        roots = {child.pid} if child.pid is not None else set()
        for process in table.values():
            if process.pid in spared:
                continue
            in_session = child.pid is not None and process.session == child.pid
            if in_session or (process.parent == self._own and self._is_marked(process.pid, child)):
                roots.add(process.pid)
        return {pid for pid in procfs.with_descendants(roots, table) if not table[pid].is_zombie} - spared

    def end(self, child: Child, known: Iterable[int], sig: signal.Signals) -> None:
        """Signal a worker and all that belongs to it. With SIGKILL again until nothing is left."""
        known = list(known)
        if sig is not signal.SIGKILL:
            for pid in self.of(child, known):
                strays.kill(pid, sig)
            return
        if child.pid is not None and procfs.read(child.pid) is not None:
            victims = self.of(child, known)
            strays.kill(child.pid)  # first, so that it starts nothing more
            for pid in victims:
                strays.kill(pid)
        strays.end_all(lambda: self.of(child, known), patience=1.0)

    def end_younger(self, child: Child, known: Iterable[int], since: float) -> None:
        """Kill what belongs to a worker and was started at or after `since`; the worker lives on."""
        known = list(known)

        def search() -> list[int]:
            found = (procfs.read(pid) for pid in self.of(child, known) if pid != child.pid)
            return [process.pid for process in found if process is not None and process.start >= since - TICK_SECONDS]

        strays.end_all(search, patience=1.0)

    def end_everything(self, reap: Callable[[], object]) -> int:
        """Kill every process below this manager, until there is none; return how many there were."""

        def search() -> set[int]:
            reap()
            table = procfs.processes()
            below = procfs.with_descendants([self._own], table) - {self._own}
            return {pid for pid in below if not table[pid].is_zombie}

        count = strays.end_all(search)
        reap()
        return count

    def _is_marked(self, pid: int, child: Child) -> bool:
        marks = strays.marks(pid)
        if marks.get(strays.MANAGER_VARIABLE) != self._mark:
            return False
        number = marks.get(strays.WORKER_VARIABLE)
        return number == str(child.number) if number is not None else procfs.maps(pid, child.page_inode)


def monotonic_to_boot() -> float:
    """What to add to the monotonic clock to get seconds since boot, which process start times are in."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()


def reaped() -> Iterator[tuple[int, int, int]]:
    """Reap all children that have ended; yield (pid, wait status, the most memory that it had, bytes)."""
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, status, usage.ru_maxrss * 1024
