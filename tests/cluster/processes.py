"""The processes of a cluster: started apart from us, found by their mark, ended by pid.

Each has a session of its own, so that a Ctrl-C for the harness is none for the cluster, and carries the cluster's mark
in its environment, as does all that it starts (containerd's shims too). Containers do not; they are found by cgroup.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.cluster.layout import MARK

POLL_SECONDS = 0.05


def start(argv: Sequence[str], mark: str, log: Path, pass_fds: Sequence[int] = ()) -> int:
    """Start `argv` in the background with both outputs appended to `log`; its pid, also written beside the log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, MARK: mark},
            start_new_session=True,
            pass_fds=pass_fds,
        )
    pid_file(log).write_text(f"{process.pid} {_started_at(process.pid)}\n")
    process.returncode = 0  # it outlives us; its end is none of this object's business
    return process.pid


def pid_file(log: Path) -> Path:
    return log.with_suffix(".pid")


def started(log: Path) -> int | None:
    """The pid of the process that logs to `log`, or None when it is gone.

    Known by pid and time of start, not by its mark: while one program replaces another there is none to read.
    """
    try:
        pid, at = pid_file(log).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _started_at(int(pid)) == at and not _ended(int(pid)) else None


def marked(mark: str) -> list[int]:
    """Pids of all processes that carry the mark, except our own."""
    return [pid for pid in _pids() if pid != os.getpid() and mark_of(pid) == mark]


def mark_of(pid: int) -> str | None:
    """The mark that a living process carries, if it carries one; None for one that ended or is a zombie."""
    wanted = f"{MARK}=".encode()
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((text[len(wanted) :].decode() for text in variables if text.startswith(wanted)), None)


def words_of(pid: int) -> list[str]:
    """Its command line; empty when it ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return []


def name_of(pid: int) -> str:
    """What it was called as, without its folder; empty when it ended."""
    return Path(next(iter(words_of(pid)), "")).name


def end(pids: Iterable[int], seconds: float) -> None:
    """SIGTERM to all, `seconds` for all of them together to end, then SIGKILL. Returns when all are gone."""
    waiting = _send(set(pids), signal.SIGTERM)
    waiting = _wait(waiting, seconds)
    kill(waiting)


def kill(pids: Iterable[int], seconds: float = 30.0) -> None:
    """SIGKILL, and wait until they are gone; TimeoutError with their names when they do not go."""
    left = _wait(_send(set(pids), signal.SIGKILL), seconds)
    if left:
        names = ", ".join(f"{pid} ({name_of(pid)})" for pid in sorted(left))
        raise TimeoutError(f"still there {seconds:.0f} s after SIGKILL: {names}")


def _send(pids: set[int], number: signal.Signals) -> set[int]:
    reached = set()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            reached.add(pid)
    return reached


def _wait(pids: set[int], seconds: float) -> set[int]:
    """The ones that still run after `seconds`. Reaps those that are our children."""
    deadline = time.monotonic() + seconds
    left = {pid for pid in pids if not _ended(pid)}
    while left and time.monotonic() < deadline:
        select.select([], [], [], POLL_SECONDS)
        left = {pid for pid in left if not _ended(pid)}
    return left


def _started_at(pid: int) -> str:
    """In clock ticks since boot; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
