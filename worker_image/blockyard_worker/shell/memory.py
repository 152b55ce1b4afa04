"""Watches the memory of workers and their children, by /proc and by the cgroup's count of OOM kills."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blockyard_worker.shell import procfs
from blockyard_worker.shell.child import Child

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
NO_LIMIT = 1 << 62
"""Version 1 of cgroups writes a number about as large as this for none, version 2 the word 'max'."""
COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


@dataclass(frozen=True, slots=True)
class Excess:
    """A worker is over its limit."""

    number: int
    peak_bytes: int
    limit_bytes: int


def look(child: Child, limit_bytes: int) -> Excess | None:
    """Measure one worker; what is over the limit is measured again exactly, with shared pages shared out."""
    if child.pid is None:
        return None
    used = procfs.resident_tree_bytes(child.pid)
    if limit_bytes and used > limit_bytes:
        used = procfs.proportional_tree_bytes(child.pid)
    child.peak_bytes = max(child.peak_bytes, used)
    return Excess(child.number, used, limit_bytes) if limit_bytes and used > limit_bytes else None


def resident_bytes(children: Iterable[Child]) -> int:
    """Of all workers, without what they started."""
    return sum(procfs.resident_bytes(child.pid) for child in children if child.pid is not None)


def cgroup_limit(files: Iterable[Path] = LIMITS) -> int:
    """Bytes that all processes of this cgroup may use together; 0 when there is no limit, or none is told."""
    for path in files:
        try:
            value = path.read_text().strip()
        except OSError:
            continue
        if value.isdigit() and int(value) < NO_LIMIT:
            return int(value)
    return 0


def oom_kills(counters: Iterable[Path] = COUNTERS) -> int | None:
    """How many processes of this cgroup the kernel has killed for want of memory; None when it does not say."""
    for path in counters:
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    return None
