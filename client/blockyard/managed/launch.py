"""Starts a keeper and speaks with it; see `keeper` for what one is.

From a process with a single thread, such as a worker, the keeper is forked: it is there in a millisecond, and the task
may be any function. From others it is a program of its own, because a fork among threads may meet a lock that nobody
will ever release; then the task must be a program too (`executors.Executor` runs functions by the shim).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from blockyard.managed import keeper
from blockyard.managed.course import Effect, Exit

_PACKET_BYTES: Final = 65536
_LETTERS: Final = {
    Effect.TERMINATE: keeper.TERMINATE,
    Effect.KILL: keeper.KILL,
    Effect.STOP: keeper.STOP,
    Effect.CONTINUE: keeper.CONTINUE,
}


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A main process to be."""

    argv: tuple[str, ...]
    env: dict[str, str]
    directory: str
    standard: tuple[int, int, int]
    """Descriptors of its stdin, stdout and stderr."""
    open: tuple[int, ...] = ()
    """Further descriptors that it inherits, under their own numbers."""
    call: Callable[[], int] | None = None
    """Instead of a program: what a forked process does; it returns the exit code."""


class Usage(msgspec.Struct, frozen=True):
    """What processes used: seconds, KiB, counts. Source: getrusage(2)."""

    utime: float = 0.0
    stime: float = 0.0
    maxrss: int = 0
    minflt: int = 0
    majflt: int = 0
    inblock: int = 0
    oublock: int = 0
    nvcsw: int = 0
    nivcsw: int = 0


class Said(msgspec.Struct, frozen=True):
    """One packet of a keeper: one of the first four is there."""

    started: int | None = None
    failed: str | None = None
    exited: Exit | None = None
    ended: int | None = None
    """All is over; so many processes had outlived the main one."""
    rusage: Usage = Usage()
    errno: int = 0


_said = msgspec.json.Decoder(Said)


class Keeper:
    """A keeper that runs. `socket` becomes readable when it has something to say."""

    def __init__(self, socket_: socket.socket, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self.socket = socket_
        self.pid = pid
        self._process = process

    def hear(self) -> Said | None:
        """Its next packet; None when it is gone."""
        try:
            packet = self.socket.recv(_PACKET_BYTES)
        except ConnectionError:
            return None
        return _said.decode(packet) if packet else None

    def order(self, effect: Effect) -> None:
        """Have it signal all processes of the task."""
        self._send(_LETTERS[effect])

    def finish(self) -> None:
        """Have it kill what is left, and end."""
        self._send(keeper.FINISH)

    def close(self) -> None:
        """Let go of it: it ends by itself when its socket closes."""
        self.socket.close()
        if self._process is not None:
            self._process.wait()
            return
        _leaving.add(self.pid)
        _reap()

    def _send(self, letter: bytes) -> None:
        try:
            self.socket.send(letter)
        except ConnectionError:
            return  # it is gone, which `hear` tells


_leaving: set[int] = set()
"""Forked keepers that have said their last word and take a moment to be gone: nobody waits for that."""


def _reap() -> None:
    for pid in list(_leaving):
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                _leaving.discard(pid)
        except ChildProcessError:  # somebody waits for all children of this process
            _leaving.discard(pid)


def may_fork() -> bool:
    """Whether a forked process could go on with Python code."""
    return threading.active_count() == 1


def start(plan: Plan) -> Keeper:
    """Start a keeper for this plan. Raises OSError when there can be no new process."""
    _reap()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if may_fork():
            pid = _fork(plan, ours, theirs)
            return Keeper(ours, pid, None)
        if plan.call is not None:
            raise RuntimeError("a function can only be forked from a process with a single thread")
        process = _run(plan, theirs)
        return Keeper(ours, process.pid, process)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def _fork(plan: Plan, ours: socket.socket, theirs: socket.socket) -> int:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            mapping = _told(plan)

            def begin() -> int:
                if plan.call is None:
                    return keeper.spawn(mapping, plan.open)
                return _call(plan, mapping)

            keeper.keep(theirs, begin, {*plan.open, *plan.standard} - {0, 1, 2})
        finally:
            os._exit(1)
    return pid


def _told(plan: Plan) -> dict[str, Any]:
    """What a keeper must know of a plan."""
    return {"argv": plan.argv, "env": plan.env, "directory": plan.directory, "standard": plan.standard}


def _call(plan: Plan, mapping: dict[str, Any]) -> int:
    """Fork the main process that runs a function."""
    keeping = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            keeper.become_main(keeping, mapping, plan.open)
            gc.enable()
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _leave)
            os.environ.clear()
            os.environ.update(plan.env)
            assert plan.call is not None
            code = plan.call()
        finally:
            os._exit(code)
    return pid


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that what the function holds is let go in good order


def _run(plan: Plan, theirs: socket.socket) -> subprocess.Popen[bytes]:
    said = json.dumps({**_told(plan), "open": plan.open})
    written = os.memfd_create("blockyard-plan", os.MFD_CLOEXEC)
    try:
        with open(os.dup(written), "wb") as file:
            file.write(said.encode())
        os.lseek(written, 0, os.SEEK_SET)
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(theirs.fileno()), str(written)],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), written, *plan.open, *{*plan.standard} - {0, 1, 2}],
        )
    finally:
        os.close(written)
