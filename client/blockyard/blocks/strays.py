"""Finds and ends processes that outlived their block, by the marks that every process of a block inherits.

A manager that is killed cannot end what its tasks started with `setsid` or as daemons; neither can a supervisor that
is killed itself. Both leave `BLOCKYARD_BLOCK` and `BLOCKYARD_OWNER` behind in the environment of every descendant
(`/proc/PID/environ` shows the environment as it was at the start of the program). The supervisor, or the next start
under the same owner's name, ends what carries them. A program that cleared its environment is not found.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Final

import msgspec

from blockyard.ids import BlockId

log = logging.getLogger(__name__)

BLOCK_MARK: Final = "BLOCKYARD_BLOCK"
OWNER_MARK: Final = "BLOCKYARD_OWNER"

ROUNDS: Final = 8
"""How often to look again: a stray may start another one while it is looked for."""

LOOKS: Final = 4
LOOK_AGAIN_SECONDS: Final = 0.002
"""How often, and how soon, to look again at a process without an environment; an execve takes less."""

STAT_FLAGS: Final = 6
PF_KTHREAD: Final = 0x00200000
"""Where the flags of a process are in `stat`, counted from its state, and which one marks threads of the kernel."""


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """A process that carries the marks of a block. `command` is its command line, at most 200 characters."""

    pid: int
    block: BlockId
    owner: str
    command: str


def find_strays(
    owner: str,
    *,
    blocks: Collection[BlockId] | None = None,
    spare: Collection[BlockId] = (),
    proc: Path = Path("/proc"),
) -> list[Stray]:
    """List the processes that carry the mark of `owner`, this process and its ancestors left out.

    `blocks`: only of these; None: of all. `spare`: but not of these. Zombies, and processes of other users, whose
    environment cannot be read, are not found.
    """
    kin = set(_ancestors(os.getpid(), proc))
    return [
        stray
        for stray in _marked(proc)
        if stray.owner == owner
        and stray.pid not in kin
        and (blocks is None or stray.block in blocks)
        and stray.block not in spare
    ]


def end_strays(
    owner: str,
    *,
    blocks: Collection[BlockId] | None = None,
    spare: Collection[BlockId] = (),
    grace: float = 0.0,
    timeout: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> list[Stray]:
    """Kill what `find_strays` finds, wait until it is gone, and return it; each process once, in order of its pid.

    They get SIGKILL: what they belonged to is lost already, and nobody is left who could take their results. What ends
    by itself within `grace` seconds, as those bound to a parent that just died do, is no stray. Waits at most `timeout`
    seconds in all. What will not die in that time is logged and returned all the same.
    """
    deadline = clock() + timeout
    spared_until = clock() + grace
    ended: dict[int, Stray] = {}
    for _ in range(ROUNDS):
        found = find_strays(owner, blocks=blocks, spare=spare)
        if not found:
            break
        for stray in found:
            if _kill(stray, spared_until - clock(), deadline - clock()):
                ended[stray.pid] = stray
        if clock() >= deadline:
            break
    if ended:
        log.warning(
            "ended %d stray process(es) of owner %s: %s",
            len(ended),
            owner,
            ", ".join(f"{stray.pid} of block {stray.block} ({stray.command})" for stray in ended.values()),
        )
    return [ended[pid] for pid in sorted(ended)]


def _kill(stray: Stray, grace: float, timeout: float) -> bool:
    """Kill one stray; return False when it ended by itself or its number belongs to another process now."""
    try:
        pidfd = os.pidfd_open(stray.pid)
    except ProcessLookupError:
        return False
    try:
        # Only now is the number safe from being used again, so only now does the mark prove anything.
        if _marks(_environment(Path("/proc") / str(stray.pid))) != (stray.block, stray.owner):
            return False
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if poller.poll(max(0.0, grace) * 1000):
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not poller.poll(max(0.0, timeout) * 1000):
            log.error("process %d (%s) was killed and is still there", stray.pid, stray.command)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def _marked(proc: Path) -> Iterator[Stray]:
    """Yield the processes that carry marks, in order of their numbers.

    A process that is just becoming another program (execve) has no environment for a moment; it is looked at again.
    """
    pids = sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdigit())
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_AGAIN_SECONDS)
        blank = []
        for pid in pids:
            folder = proc / str(pid)
            environment = _environment(folder)
            if environment == b"" and _runs_a_program(folder):
                blank.append(pid)
            marks = _marks(environment)
            if marks is not None:
                yield Stray(pid=pid, block=marks[0], owner=marks[1], command=_command(folder))
        pids = blank
        if not pids:
            break


def _environment(folder: Path) -> bytes:
    try:
        return (folder / "environ").read_bytes()
    except OSError:  # it ended, or belongs to another user
        return b"?"


def _marks(environment: bytes) -> tuple[BlockId, str] | None:
    if OWNER_MARK.encode() not in environment:
        return None
    values = dict(item.split(b"=", 1) for item in environment.split(b"\0") if b"=" in item)
    block, owner = values.get(BLOCK_MARK.encode()), values.get(OWNER_MARK.encode())
    if block is None or owner is None:
        return None
    return BlockId(os.fsdecode(block)), os.fsdecode(owner)


def _runs_a_program(folder: Path) -> bool:
    """False for zombies and threads of the kernel, which never have an environment again."""
    fields = _stat(folder)
    return len(fields) > STAT_FLAGS and fields[0] not in "ZX" and not int(fields[STAT_FLAGS]) & PF_KTHREAD


def _stat(folder: Path) -> list[str]:
    """The fields of `stat` after the command's name, which may itself hold blanks and brackets (proc(5))."""
    try:
        return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _command(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return "?"
    return " ".join(os.fsdecode(word) for word in words if word)[:200]


def _ancestors(pid: int, proc: Path) -> Iterator[int]:
    while pid > 0:
        yield pid
        fields = _stat(proc / str(pid))
        pid = int(fields[1]) if fields else 0
