"""Starts a keeper and speaks with it; see `keeper` for what one is.

A task gets a keeper that waits for one, or a new one, which then waits for the next; each thread that runs tasks has
its own. Those of functions are fork servers (see `fork_server`), which are started anew when functions need modules
that the one there has not imported: beside it, and used once it has. So nobody waits for an import but the tasks that
come first, and a module that hangs or ends its process as it is imported, or starts threads, only stays slow.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from blockyard import this_try
from blockyard.kept_process import module_path
from blockyard.managed import keeper
from blockyard.managed.course import Effect, Exit

BY_VALUE: Final = "blockyard.payload"
"""The module that loads what goes by value: it is ours, so a server may import it with a plan waiting."""
_LETTERS: Final = {
    Effect.TERMINATE: keeper.TERMINATE,
    Effect.KILL: keeper.KILL,
    Effect.STOP: keeper.STOP,
    Effect.CONTINUE: keeper.CONTINUE,
}


class Call(msgspec.Struct, frozen=True):
    """A function to be called in a process of its own, see `handover`."""

    function: str | bytes
    """``module:name``, or packed by `payload.dump_function`."""
    parameters: dict[str, Any]
    modules: frozenset[str]
    """That it is made of."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A main process to be."""

    argv: tuple[str, ...]
    env: dict[str, str]
    directory: str
    standard: tuple[int, int, int]
    """Descriptors of its stdin, stdout and stderr."""
    open: tuple[int, ...] = ()
    """Further descriptors that it inherits, under their own numbers."""
    call: Call | None = None
    """Instead of a program."""


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
    """One packet of a keeper: one of the first four is there, or it is ready."""

    started: int | None = None
    failed: str | None = None
    """What could not be started, and why."""
    exited: Exit | None = None
    ended: int | None = None
    """All is over; so many processes had outlived the main one."""
    rusage: Usage = Usage()


class Keeper:
    """A keeper that runs. `socket` becomes readable when it has something to say."""

    def __init__(self, modules: frozenset[str] | None) -> None:
        """Start one; of functions, with these `modules` imported. Raises OSError when there can be no new process."""
        self.modules = modules
        """None: it is one of programs."""
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._has_task = False
        self._tasks = 0
        self._argv: tuple[str, ...] = ()
        self._directory = ""
        self._used = [0.0, 0.0, 0, 0]
        """By its tasks, as `this_try.below` was told."""
        self._lacks: frozenset[str] = frozenset()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [*_command(is_for_functions=modules is not None), str(theirs.fileno()), *sorted(modules or ())],
                    env={**os.environ, "PYTHONPATH": module_path()},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
        except BaseException:
            self.socket.close()
            raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def begin(self, plan: Plan) -> None:
        """Have one that waits run this. Raises ConnectionError when it is gone."""
        with open(os.memfd_create("blockyard-plan", os.MFD_CLOEXEC), "w+b", buffering=0) as file:
            file.write(_told(plan))
            file.seek(0)
            socket.send_fds(self.socket, [keeper.PLAN], [file.fileno(), *plan.standard, *plan.open])
        self._has_task = True
        self._tasks += 1
        self._argv, self._directory = plan.argv, plan.directory
        if plan.call is not None and self.modules is not None:
            self._lacks = plan.call.modules - self.modules

    def hear(self) -> Said | None:
        """Its next packet; None when it is gone."""
        try:
            word = self.socket.recv(keeper.WORD.size)
        except ConnectionError:
            return None
        if not word:
            return None
        what, number, *used = keeper.WORD.unpack(word)
        if what in (keeper.ENDED, keeper.FAILED):
            self._has_task = False
        usage = Usage(*used)
        match what:
            case keeper.READY:
                return Said()
            case keeper.STARTED:
                return Said(started=number)
            case keeper.FAILED:
                return Said(failed=_why_not_started(self._argv[0], self._directory, number))
            case keeper.ENDED:
                self._account(usage)
                return Said(ended=number, rusage=usage)
            case _:
                return Said(exited=Exit(signal=number) if what == keeper.SIGNALLED else Exit(code=number), rusage=usage)

    def _account(self, used: Usage) -> None:
        sums = (used.utime, used.stime, used.inblock, used.oublock)
        this_try.below.add(*sums, peak_kib=used.maxrss)
        self._used = [before + more for before, more in zip(self._used, sums, strict=True)]

    def order(self, effect: Effect) -> None:
        """Have it signal all processes of the task."""
        self._send(_LETTERS[effect])

    def finish(self) -> None:
        """Have it kill what is left."""
        self._send(keeper.FINISH)

    def close(self) -> None:
        """Let go of it. If its task has not ended, that is ended now."""
        if self._has_task:
            self.end()
            return
        _waiting.setdefault(_Place(threading.get_native_id(), self.modules is not None), []).append(self)
        # Another thread than the main one may be there for one task only.
        if self._lacks and (self._tasks > 1 or threading.current_thread() is threading.main_thread()):
            _import_more(self)

    def is_silent(self) -> bool:
        """Whether it is there, and has nothing to say."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return not poll.poll(0)

    def drop(self) -> None:
        """In this process only, when it may be another's."""
        self.socket.close()

    def end(self) -> None:
        """Have it end, and wait for that."""
        with contextlib.suppress(OSError):  # it is gone
            self.socket.shutdown(socket.SHUT_RDWR)  # whoever else has a copy of the socket
        self.drop()
        self._process.wait()
        user, system, read, written = self._used
        this_try.below.add(-user, -system, -int(read), -int(written))  # now it is among what children used

    def kill(self) -> None:
        """End one that never had a task, whatever it does."""
        self._process.kill()
        self.end()

    def _send(self, letter: bytes) -> None:
        try:
            self.socket.send(letter)
        except ConnectionError:
            return  # it is gone, which `hear` tells


class _Place(NamedTuple):
    """Where keepers wait: they end with their thread (prctl(2), PR_SET_PDEATHSIG)."""

    thread: int
    """The kernel's number of it."""
    is_for_functions: bool


class _Importing(NamedTuple):
    """A fork server that is not ready yet."""

    keeper: Keeper
    added: frozenset[str]
    """The modules that are new in it."""


_waiting: dict[_Place, list[Keeper]] = {}
"""Keepers without a task."""
_importing: dict[int, _Importing] = {}
"""By thread."""
_unfit: set[str] = set()
"""Modules that a fork server can't have imported."""


def _import_more(old: Keeper) -> None:
    """Start one that has imported what this one lacks as well, to take its place."""
    thread = threading.get_native_id()
    added = old._lacks - _unfit
    if added and old.modules is not None and thread not in _importing:
        with contextlib.suppress(OSError):  # the next task asks again
            _importing[thread] = _Importing(Keeper(old.modules | added), added)


def _replace(thread: int) -> None:
    """Let a fork server that has imported what it was to take the place of the one before."""
    new = _importing.get(thread)
    if new is None or new.keeper.is_silent():
        return
    del _importing[thread]
    if new.keeper.hear() is None:
        _unfit.update(new.added)
        new.keeper.kill()
        return
    place = _Place(thread, is_for_functions=True)
    for old in _waiting.pop(place, ()):
        old.end()
    _waiting[place] = [new.keeper]


def _end_waiting(threads: Iterable[int]) -> None:
    for thread in threads:
        if (new := _importing.pop(thread, None)) is not None:
            new.keeper.kill()
        for is_for_functions in (False, True):
            for one in _waiting.pop(_Place(thread, is_for_functions), ()):
                one.end()


def _threads() -> set[int]:
    """Those that have keepers which wait."""
    return {place.thread for place in list(_waiting)} | set(_importing)  # other threads change both


def _disown() -> None:
    """In a forked process: the keepers are its parent's, and must see when that is gone."""
    for ours in _waiting.values():
        for one in ours:
            one.drop()
    for new in _importing.values():
        new.keeper.drop()
    _waiting.clear()
    _importing.clear()


os.register_at_fork(after_in_child=_disown)
atexit.register(lambda: _end_waiting(_threads()))


def who_imported(module: str) -> int:
    """The pid of this thread's fork server, if it has this module; 0: a task's own process imports it."""
    thread = threading.get_native_id()
    _replace(thread)
    waiting = _waiting.get(_Place(thread, is_for_functions=True))
    return waiting[-1].pid if waiting and module in (waiting[-1].modules or ()) else 0


def start(plan: Plan) -> Keeper:
    """Start this plan below a keeper. Raises OSError when there can be no new process."""
    place = _Place(threading.get_native_id(), plan.call is not None)
    if place.is_for_functions:
        _replace(place.thread)
    waiting = _waiting.get(place, [])
    while waiting:
        one = waiting.pop()
        # Asked before: what was told its plan and is gone then may have begun it.
        with contextlib.suppress(ConnectionError):
            if one.is_silent():
                one.begin(plan)
                return one
        one.end()
    _end_waiting(_threads() - {int(thread) for thread in os.listdir("/proc/self/task")})
    made = Keeper(None if plan.call is None else plan.call.modules & {BY_VALUE})
    try:
        made.begin(plan)
    except BaseException:
        made.kill()
        raise
    return made


def _why_not_started(program: str, directory: str, fault: int) -> str:
    """In words, as far as can be seen. `fault`: an errno."""
    if os.sep not in program:
        where = " in the folders of its PATH" if fault == errno.ENOENT else ""
    else:
        is_there = fault == errno.ENOENT and os.path.exists(os.path.join(directory, program))
        where = " (the program is there; the interpreter that its first line names is not)" if is_there else ""
    return f"program {program!r}: {os.strerror(fault)}{where}; nothing was run"


def _told(plan: Plan) -> bytes:
    """What a keeper must know of a plan; a packet brings what becomes `targets`."""
    told: dict[str, Any] = {
        "argv": plan.argv,
        "env": plan.env,
        "directory": plan.directory,
        "targets": (0, 1, 2, *plan.open),
    }
    if plan.call is None:
        return json.dumps(told).encode()
    function = plan.call.function
    name, packed = (function, b"") if isinstance(function, str) else ("", function)
    told.update(function=name, parameters=plan.call.parameters)
    return json.dumps(told).encode() + b"\n" + packed


def _command(*, is_for_functions: bool) -> list[str]:
    if is_for_functions:
        return [sys.executable, "-P", "-u", "-m", "blockyard.managed.fork_server"]
    return [sys.executable, "-I", "-S", str(Path(keeper.__file__))]
