"""Processes that outlived what started them: found by marks that they cannot shed by accident, and ended.

Every process below a manager carries in its environment, as it was when its program was loaded,

* ``BLOCKYARD_BLOCK``    the block's id,
* ``BLOCKYARD_MANAGER``  ``pid:start`` of the manager, where start is in clock ticks since boot, so that the name is
  never used twice. A process is a stray when that manager is not alive any more.

and, if a task started a program, ``BLOCKYARD_WORKER``, the number of the worker. A process that was forked without a
new program shows the template's environment instead, but shares its worker's `page`. Processes of other PID
namespaces are never touched: there the numbers mean something else.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator

from blockyard_worker.linux import start_ticks

BLOCK_VARIABLE = "BLOCKYARD_BLOCK"
MANAGER_VARIABLE = "BLOCKYARD_MANAGER"
WORKER_VARIABLE = "BLOCKYARD_WORKER"


def manager_mark(pid: int) -> str:
    """The value of ``BLOCKYARD_MANAGER`` for the manager with this pid, which must be alive."""
    return f"{pid}:{start_ticks(pid)}"


def is_alive(mark: str) -> bool:
    """Whether the manager of this mark still runs."""
    pid, _, start = mark.partition(":")
    return pid.isdigit() and str(start_ticks(int(pid))) == start


def marks(pid: int) -> dict[str, str]:
    """The marks in the environment of a process; empty when it is gone or not ours to read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return {}
    pairs = (
        variable.decode(errors="replace").partition("=") for variable in variables if variable[:10] == b"BLOCKYARD_"
    )
    return {name: value for name, _, value in pairs}


def pids() -> Iterator[int]:
    """All processes of this PID namespace, except the one that asks."""
    own, namespace = os.getpid(), os.readlink("/proc/self/ns/pid")
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != own and _namespace(name) == namespace:
            yield int(name)


def of_manager(manager: int, mark: str) -> Callable[[], Iterable[int]]:
    """A search for all processes below one manager, except itself and the one that asks."""
    return lambda: [pid for pid in pids() if pid != manager and marks(pid).get(MANAGER_VARIABLE) == mark]


def of_block(block: str) -> Callable[[], Iterable[int]]:
    """A search for processes of a block whose manager is dead."""

    def search() -> Iterator[int]:
        for pid in pids():
            found = marks(pid)
            if (
                found.get(BLOCK_VARIABLE) == block
                and MANAGER_VARIABLE in found
                and not is_alive(found[MANAGER_VARIABLE])
            ):
                yield pid

    return search


def end_all(search: Callable[[], Iterable[int]], patience: float = 5.0) -> int:
    """Kill what the search finds until it finds nothing more; return how many there were.

    Searching again catches processes forked meanwhile. After `patience` seconds it gives up on those that do not end
    (in uninterruptible sleep, for example); the kernel ends them when it can.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + patience
    while (found := [pid for pid in search() if start_ticks(pid) is not None]) and time.monotonic() < deadline:
        for pid in found:
            kill(pid)
        seen.update(found)
        time.sleep(0.002)
    return len(seen)


def kill(pid: int, sig: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or its number is somebody else's now
        os.kill(pid, sig)


def _namespace(pid: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""
