"""What /proc tells about processes: who descends from whom, since when, and how much memory they hold."""

import os
from collections.abc import Iterable
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One line of /proc/PID/stat, as far as it matters here. Source: proc_pid_stat(5)."""

    pid: int
    parent: int
    session: int
    start: float
    """Seconds since boot, the monotonic clock's zero, to a hundredth."""
    is_zombie: bool


def processes() -> dict[int, Process]:
    """All processes of this PID namespace, by pid."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := read(int(name))) is not None:
            found[process.pid] = process
    return found


def read(pid: int) -> Process | None:
    """One process, None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]) / _TICKS, fields[0] in (b"Z", b"X"))


def with_descendants(roots: Iterable[int], table: dict[int, Process]) -> set[int]:
    """These processes and all below them, as far as they are in the table."""
    children: dict[int, list[int]] = {}
    for process in table.values():
        children.setdefault(process.parent, []).append(process.pid)
    waiting, found = list(roots), set()
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found & table.keys()


def children(pid: int) -> list[int]:
    """The children of a process's main thread and of its other threads; cheaper than a look at all processes."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        return found
    return found


def resident_bytes(pid: int) -> int:
    """Resident memory of one process, 0 when it is gone. Source: proc_pid_statm(5), second field, in pages."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def resident_tree_bytes(pid: int) -> int:
    """Resident memory of a process and all below it. Pages that several of them share are counted several times."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        total += resident_bytes(one)
        waiting += children(one)
    return total


def proportional_tree_bytes(pid: int) -> int:
    """The same with shared pages divided among those who share them; much slower. Source: proc_pid_smaps(5)."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        waiting += children(one)
        try:
            with open(f"/proc/{one}/smaps_rollup", "rb") as file:
                total += next(int(line.split()[1]) * 1024 for line in file if line.startswith(b"Pss:"))
        except (OSError, StopIteration):
            total += resident_bytes(one)
    return total


def maps(pid: int, inode: int) -> bool:
    """Whether a process has mapped the file with this inode."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return any(line.split(None, 5)[4] == b"%d" % inode for line in file)
    except OSError:
        return False
