"""Starts a keeper and speaks with it; see `keeper` for what one is.

A program gets a keeper that waits for one, or a new one, which then waits for the next; each thread that runs tasks has
its own. A function needs what is in this process's memory, so its keeper is forked. That is only safe in a process with
a single thread, such as a worker: among threads a fork may meet a lock that nobody will ever release, and there
`executors.Executor` runs functions as programs, by the shim.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from blockyard.managed import keeper
from blockyard.managed.course import Effect, Exit

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


class Keeper:
    """A keeper that runs. `socket` becomes readable when it has something to say."""

    def __init__(self, socket_: socket.socket, pid: int, process: subprocess.Popen[bytes] | None) -> None:
        self.socket = socket_
        self.pid = pid
        self._process = process
        self._has_task = True

    def begin(self, plan: Plan) -> None:
        """Have one that waits run this. Raises ConnectionError when it is gone."""
        with open(os.memfd_create("blockyard-plan", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
            file.write(json.dumps(_told(plan)).encode())
            file.seek(0)
            socket.send_fds(self.socket, [keeper.PLAN], [file.fileno(), *plan.standard, *plan.open])
        self._has_task = True

    def hear(self) -> Said | None:
        """Its next packet; None when it is gone."""
        try:
            word = self.socket.recv(keeper.WORD.size)
        except ConnectionError:
            return None
        if not word:
            return None
        what, number, *used = keeper.WORD.unpack(word)
        self._has_task = what not in (keeper.ENDED, keeper.FAILED)
        usage = Usage(*used)
        match what:
            case keeper.STARTED:
                return Said(started=number)
            case keeper.FAILED:
                return Said(failed=os.strerror(number))
            case keeper.ENDED:
                return Said(ended=number, rusage=usage)
            case _:
                return Said(exited=Exit(signal=number) if what == keeper.SIGNALLED else Exit(code=number), rusage=usage)

    def order(self, effect: Effect) -> None:
        """Have it signal all processes of the task."""
        self._send(_LETTERS[effect])

    def finish(self) -> None:
        """Have it kill what is left."""
        self._send(keeper.FINISH)

    def close(self) -> None:
        """Let go of it. If its task has not ended, that is ended now."""
        if self._process is None:
            self.drop()
            _leaving.add(self.pid)
            _reap()
        elif self._has_task:
            self.end()
        else:
            _waiting.setdefault(threading.get_native_id(), []).append(self)

    def is_there(self) -> bool:
        """Whether one that waits still does."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)

    def drop(self) -> None:
        """In this process only, when it may be another's."""
        self.socket.close()

    def end(self) -> None:
        """Of one that is a program: have it end, and wait for that."""
        assert self._process is not None
        with contextlib.suppress(OSError):  # it is gone
            self.socket.shutdown(socket.SHUT_RDWR)  # whoever else has a copy of the socket
        self.drop()
        self._process.wait()

    def _send(self, letter: bytes) -> None:
        try:
            self.socket.send(letter)
        except ConnectionError:
            return  # it is gone, which `hear` tells


_waiting: dict[int, list[Keeper]] = {}
"""Keepers without a task, by the kernel's number of the thread that they are of: they end with it (prctl(2),
PR_SET_PDEATHSIG)."""
_leaving: set[int] = set()
"""Forked keepers that have said their last word and take a moment to be gone: nobody waits for that."""


def _reap() -> None:
    for pid in list(_leaving):
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                _leaving.discard(pid)
        except ChildProcessError:  # somebody waits for all children of this process
            _leaving.discard(pid)


def _end_waiting(threads: Iterable[int]) -> None:
    for thread in threads:
        for one in _waiting.pop(thread, ()):
            one.end()


def _disown() -> None:
    """In a forked process: the keepers are its parent's, and must see when that is gone."""
    for ours in _waiting.values():
        for one in ours:
            one.drop()
    _waiting.clear()
    _leaving.clear()


os.register_at_fork(after_in_child=_disown)
atexit.register(lambda: _end_waiting(list(_waiting)))


def may_fork() -> bool:
    """Whether a forked process could go on with Python code."""
    return threading.active_count() == 1


def start(plan: Plan) -> Keeper:
    """Start this plan below a keeper. Raises OSError when there can be no new process."""
    _reap()
    if plan.call is not None:
        if not may_fork():
            raise RuntimeError("a function can only be forked from a process with a single thread")
        return _fork(plan, plan.call)
    waiting = _waiting.get(threading.get_native_id(), [])
    while waiting:
        one = waiting.pop()
        # Asked before: what was told its plan and is gone then may have begun it.
        with contextlib.suppress(ConnectionError):
            if one.is_there():
                one.begin(plan)
                return one
        one.end()
    return _run(plan)


def _fork(plan: Plan, call: Callable[[], int]) -> Keeper:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    signals = keeper.handled()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            pid = keeper.bare_fork()
        except BaseException:
            ours.close()
            raise
        if pid == 0:
            try:
                ours.close()
                _disown()
                keeper.keep(theirs, signals, lambda: _call(plan, call), {*plan.open, *plan.standard} - {0, 1, 2})
            finally:
                os._exit(1)
    return Keeper(ours, pid, None)


def _told(plan: Plan) -> dict[str, Any]:
    """What a keeper must know of a plan; a packet brings what `sources` are."""
    return {
        "argv": plan.argv,
        "env": plan.env,
        "directory": plan.directory,
        "targets": (0, 1, 2, *plan.open),
    }


def _call(plan: Plan, call: Callable[[], int]) -> int:
    """Fork the main process that runs a function."""
    keeping = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            keeper.become_main(keeping, {**_told(plan), "sources": (*plan.standard, *plan.open)})
            gc.enable()
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, _leave)
            _become(os.environ, plan.env)
            code = call()
        finally:
            os._exit(code)
    return pid


def _become(environment: MutableMapping[str, str], wanted: Mapping[str, str]) -> None:
    """Change what differs: a forked process pays for each page that it writes to."""
    for name in environment.keys() - wanted.keys():
        del environment[name]
    for name, value in wanted.items():
        if environment.get(name) != value:
            environment[name] = value


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)  # so that what the function holds is let go in good order


def _run(plan: Plan) -> Keeper:
    """A new keeper for programs, with its first plan."""
    _end_waiting(_waiting.keys() - {int(thread) for thread in os.listdir("/proc/self/task")})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(keeper.__file__)), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        made = Keeper(ours, process.pid, process)
        made.begin(plan)
    except BaseException:
        ours.close()
        raise
    return made
