"""CPU time and memory of a process and everything below it, read from /proc.

CPU counts what still runs and what has ended: a process's own time plus that of the children it has waited for. A
caller that wants orphans counted too becomes their reaper first (`adopt_orphans`).
Leaves out: time of processes that some other process adopted.
"""

import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process tree: `pss` shares out pages that several processes use, `rss` counts them for each."""

    pss_bytes: int
    rss_bytes: int


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, so that none leaves the tree."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")


def stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third (state) on; empty when the process has gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text[text.rindex(")") + 2 :].split()


def command(pid: int) -> list[str]:
    """The command line of a process; empty when it has gone or is a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def tree(root: int) -> list[int]:
    """`root` and all processes below it, parents before children."""
    children: dict[int, list[int]] = {}
    for pid in all_processes():
        fields = stat_fields(pid)
        if fields:
            children.setdefault(int(fields[1]), []).append(pid)
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def all_processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, of its ended and waited-for processes too; 10 ms steps a process."""
    ticks = 0
    for pid in tree(root):
        fields = stat_fields(pid)
        if fields:
            ticks += sum(int(value) for value in fields[11:15])  # utime, stime, cutime, cstime: proc(5)
    return ticks / TICKS_PER_SECOND


def memory(pids: list[int]) -> Memory:
    """Memory of these processes now; one that has gone counts nothing."""
    pss = rss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        values = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
        pss += values.get("Pss:", 0)
        rss += values.get("Rss:", 0)
    return Memory(pss, rss)
