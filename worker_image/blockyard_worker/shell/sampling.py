"""What a process and all below it use at this moment, from /proc in one pass."""

import os
from typing import Final

from blockyard.wire.monitoring import Sample
from blockyard_worker.shell import procfs

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def sample(task: int, epoch: int, worker: int, pid: int, at_us: int) -> Sample | None:
    """A look at a worker and its descendants; None when the worker is gone. Memory that they share counts for each."""
    first = _stat(pid)
    if first is None:
        return None
    figures = _Figures()
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        if figures.add(one):
            waiting += procfs.children(one)
    return Sample(
        task, epoch, worker, pid, at_us, figures.user * 1_000_000 // _TICKS, figures.system * 1_000_000 // _TICKS,
        figures.resident * _PAGE, figures.peak_kib * 1024, figures.virtual, figures.read, figures.written,
        figures.threads, max(0, figures.processes - 1), figures.voluntary, figures.involuntary, int(first[36]),
        first[0].decode("ascii", "replace"),
    )  # fmt: skip


class _Figures:
    """Sums over a tree of processes."""

    def __init__(self) -> None:
        self.user = self.system = self.resident = self.peak_kib = self.virtual = 0
        self.read = self.written = self.threads = self.processes = self.voluntary = self.involuntary = 0

    def add(self, pid: int) -> bool:
        """Add one process; False when it is gone."""
        fields = _stat(pid)
        if fields is None:
            return False
        self.processes += 1
        self.user += int(fields[11])
        self.system += int(fields[12])
        if self.processes > 1:  # of children that have ended and were waited for, too; the worker's own were others
            self.user += int(fields[13])
            self.system += int(fields[14])
        self.threads += int(fields[17])
        self.virtual += int(fields[20])
        self.resident += int(fields[21])
        for name, value in _lines(pid, "status"):
            match name:
                case b"VmHWM":
                    self.peak_kib += _number(value)
                case b"voluntary_ctxt_switches":
                    self.voluntary += _number(value)
                case b"nonvoluntary_ctxt_switches":
                    self.involuntary += _number(value)
        for name, value in _lines(pid, "io"):
            match name:
                case b"rchar":
                    self.read += _number(value)
                case b"wchar":
                    self.written += _number(value)
        return True


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat from the third on, proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    return line[line.rindex(b")") + 2 :].split()


def _lines(pid: int, name: str) -> list[tuple[bytes, bytes]]:
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return [(key, value) for key, _, value in (line.partition(b":") for line in file)]
    except OSError:  # gone meanwhile, or not ours to read
        return []


def _number(value: bytes) -> int:
    return int(value.split()[0])
