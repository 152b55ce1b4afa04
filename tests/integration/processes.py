"""The processes of a local system as the tests see them: found by what /proc shows, ended by pid, waited for.

A system is known by its state folder: the interchange and the managers name it on their command line, everything below
a manager carries the folder's mark (`BLOCKYARD_OWNER`) in its environment.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

from blockyard.state_folder import owner_of

T = TypeVar("T")

WITHIN = 60.0
"""Seconds after which a wait is a failure; what is waited for takes far less, but the machine may be busy."""


_PF_EXITING = 0x4
"""Of the flags in /proc/PID/stat, from linux/sched.h."""


class Process(NamedTuple):
    """One process. `started` is in clock ticks since boot: with the pid it is a name that is never used twice."""

    pid: int
    parent: int
    started: int
    command: str
    marks: dict[str, str]
    """Variables of its environment that begin with ``BLOCKYARD_``."""

    def __str__(self) -> str:
        return f"{self.pid} ({self.command[:120]}; {self.marks})"


class House:
    """All processes of the local system in one state folder, looked up anew with each call."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._owner = owner_of(folder)

    def everything(self) -> list[Process]:
        """The interchange, the managers, and all that carries the mark of this folder."""
        return [
            one
            for one in running()
            if one.marks.get("BLOCKYARD_OWNER") == self._owner
            or (f"{self.folder}/" in one.command and " -m blockyard_" in one.command)
        ]

    def interchanges(self) -> list[Process]:
        """One, or none while it is being started again."""
        return [one for one in self.everything() if " -m blockyard_interchange" in one.command]

    def managers(self) -> list[Process]:
        """Each started block has one."""
        return [one for one in self.everything() if " -m blockyard_worker " in one.command]

    def hubs(self) -> list[Process]:
        """One with monitoring, or none while it is being started again."""
        return [one for one in self.everything() if " -m blockyard_monitoring " in one.command]

    def workers(self) -> list[Process]:
        """Workers, and the templates that they are forked from."""
        return [one for one in self.everything() if "blockyard_worker.template" in one.command]

    def block_of(self, manager: Process) -> list[Process]:
        """The manager and everything of its block."""
        block = manager.marks.get("BLOCKYARD_BLOCK", "")
        return [one for one in self.everything() if one.marks.get("BLOCKYARD_BLOCK") == block]

    def wait_until_empty(self, within: float = WITHIN) -> None:
        """Wait until no process is left; fails naming those that stay, which are killed.

        One that has given back its memory is nobody's any more, by what /proc shows, and still has its files and locks:
        the end of any such process is waited for, too.
        """
        try:
            wait_until("no process of the system is left", self.everything, lambda left: not left, within)
        except AssertionError:
            for one in self.everything():
                kill(one)
            raise
        for pid in _exiting():
            wait_for_exit(pid, within)


def running() -> Iterator[Process]:
    """All processes that are not zombies and whose environment may be read."""
    for name in os.listdir("/proc"):
        if name.isdigit() and (found := look_at(int(name))) is not None:
            yield found


def _exiting() -> list[int]:
    """Those that are on their way out, and no zombies yet."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and _is_exiting(int(name))]


def _is_exiting(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX" and bool(int(fields[6]) & _PF_EXITING)


def state_of(pid: int) -> str:
    """The letter of proc(5): R, S, D, T, Z and so on; none when it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else ""


def _stat(pid: int) -> list[str]:
    """What stands behind its name in /proc/PID/stat; nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def look_at(pid: int) -> Process | None:
    """What /proc says of a process; None when it is gone or a zombie."""
    fields = _stat(pid)
    if not fields or fields[0] in "ZX":
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    return Process(pid, int(fields[1]), int(fields[19]), command, _marks(pid))


def _marks(pid: int) -> dict[str, str]:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return {}
    pairs = (variable.partition("=") for variable in variables if variable.startswith("BLOCKYARD_"))
    return {name: value for name, _, value in pairs}


def descendants(pid: int) -> list[Process]:
    """All processes below one, nearest first."""
    children: dict[int, list[Process]] = {}
    for one in running():
        children.setdefault(one.parent, []).append(one)
    found = list(children.get(pid, []))
    for one in found:
        found += children.get(one.pid, [])
    return found


def kill(process: Process, number: int = signal.SIGKILL) -> bool:
    """Send a signal to this very process; False when it is gone, even if its pid is another's now."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(process.pid)
        try:
            now = look_at(process.pid)
            if now is not None and now.started == process.started:
                signal.pidfd_send_signal(descriptor, number)
                return True
        finally:
            os.close(descriptor)
    return False


def stop(process: Process) -> None:
    """Have this very process stand still; returns when each of its threads does.

    One thread takes the signal. On a busy machine it may wait for its turn, and the others go on meanwhile.
    """
    assert kill(process, signal.SIGSTOP), f"it is gone: {process}"
    threads = f"/proc/{process.pid}/task"
    wait_until(
        "all of it stands still",
        lambda: {state_of(int(one)) for one in os.listdir(threads)},
        lambda seen: seen == {"T"},
    )


def wait_for_exit(pid: int, within: float = WITHIN) -> None:
    """Wait until a process that is not our child has ended (a zombie has)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        assert poller.poll(within * 1000), f"still running after {within:g} s: {look_at(pid)}"
    finally:
        os.close(descriptor)


def wait_until(what: str, look: Callable[[], T], enough: Callable[[T], object], within: float = WITHIN) -> T:
    """Look again and again until it is enough, and return what was seen; at the deadline say what was last seen."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if enough(seen):
            return seen
        if time.monotonic() > deadline:
            shown = "\n".join(map(str, seen)) if isinstance(seen, list) else str(seen)
            raise AssertionError(f"after {within:g} s still not so: {what}; last seen:\n{shown}")
        time.sleep(0.02)
