"""The process between an executor and a task: it starts the task's main process and ends everything that comes of it.

It is the subreaper of the task (prctl(2), PR_SET_CHILD_SUBREAPER), so whatever the task starts is below it, daemons
included, and nothing can get away. It holds one end of a socket; when the other end closes because the executor is
gone, however it went, the keeper kills all that is below it and ends. So no task outlives its executor.

It decides nothing: TERM, KILL, STOP and CONTINUE come as one letter each, and what it sees goes back as one packet of
JSON each. Runs either in a process forked from a single-threaded executor (a warm worker: a millisecond), or as a
file, ``python -I -S keeper.py CONTROL PLAN`` (ten times that); hence the standard library only.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_STARTED = 127
TERMINATE, KILL, STOP, CONTINUE, FINISH = b"T", b"K", b"S", b"C", b"F"
"""FINISH: the task is over; kill what is left of it, and end."""
_SIGNALS = {TERMINATE: signal.SIGTERM, KILL: signal.SIGKILL, STOP: signal.SIGSTOP, CONTINUE: signal.SIGCONT}
_RUSAGE = (
    "ru_utime", "ru_stime", "ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw",
)  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_changed: list[int] = []
"""Signals that a keeper's main process must have the defaults of again."""


def keep(control: socket.socket, start: Callable[[], int], closed: Iterable[int] = ()) -> NoReturn:
    """Be the keeper, in a process of its own. `start` forks the main process and returns its pid or raises OSError;
    `closed`: descriptors that only the main process needs."""
    parent = os.getppid()
    wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    _prepare(woken)
    if os.getppid() != parent:
        os._exit(1)
    try:
        main = start()
    except OSError as error:
        _tell(control, {"failed": f"{error.strerror or error}", "errno": error.errno or 0})
        os._exit(NOT_STARTED)
    for descriptor in closed:
        os.close(descriptor)
    _tell(control, {"started": main})
    try:
        _watch(control, wake, main)
    finally:
        strays = end_all()
        _tell(control, {"ended": strays, "rusage": _usage()})
        os._exit(0)


def _prepare(woken: int) -> None:
    os.setsid()
    gc.disable()  # a forked one would copy every page that it looks at
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _changed.extend(handled())
    for number in _changed:  # a worker's own handlers must not run in here
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)


def handled() -> list[int]:
    """Signals that this process handles or ignores, but those that a keeper uses. Source: proc_pid_status(5)."""
    mask = 0
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith((b"SigIgn:", b"SigCgt:")):
                mask |= int(line.split()[1], 16)
    own = (signal.SIGCHLD, signal.SIGTERM)
    valid = signal.valid_signals()  # the C library keeps some for itself
    return [number for number in range(1, 65) if mask >> (number - 1) & 1 and number in valid and number not in own]


def _watch(control: socket.socket, wake: int, main: int) -> None:
    """Until told to finish, or the executor is gone."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == wake:
                if signal.SIGTERM in os.read(wake, 4096):
                    return
                _reap(control, main)
                continue
            order = control.recv(1)
            if order in (b"", FINISH):
                return
            reach(descendants(os.getpid()), _SIGNALS[order])
            if order == TERMINATE:  # who is stopped hears it only when it goes on
                reach(descendants(os.getpid()), signal.SIGCONT)


def _reap(control: socket.socket, main: int) -> None:
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid == main:
            code = os.waitstatus_to_exitcode(status)
            ended = {"signal": -code} if code < 0 else {"code": code}
            _tell(control, {"exited": ended, "rusage": _figures(usage)})


def end_all() -> int:
    """Kill everything below this process until there is nothing more; returns how many there were."""
    seen: set[int] = set()
    pause = 0.0005
    while True:
        found = descendants(os.getpid())
        seen.update(found)
        reach(found, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return len(seen)
        time.sleep(pause)  # killed, and not yet dead; one in uninterruptible sleep takes its time
        pause = min(2 * pause, 0.05)


def reach(pids: Iterable[int], number: int) -> None:
    """Signal processes that may be gone."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def descendants(root: int) -> list[int]:
    """All processes below one that are not zombies, children first."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                    below = [int(one) for one in file.read().split()]
            except OSError:
                continue
            found += below
            waiting += below
    return found


def spawn(plan: dict[str, Any], keep_open: Iterable[int]) -> int:
    """Fork and become the program of a plan; returns its pid. Raises OSError when the program can't be run."""
    read, write = os.pipe2(os.O_CLOEXEC)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            become_main(keeper, plan, keep_open)
            os.execvpe(plan["argv"][0], plan["argv"], plan["env"])
        except OSError as error:
            os.write(write, f"{error.errno or 0}:{error.strerror or error}".encode())
        finally:
            os._exit(NOT_STARTED)
    os.close(write)
    with open(read, "rb") as pipe:
        fault = pipe.read().decode()
    if fault:
        os.waitpid(pid, 0)
        number, _, text = fault.partition(":")
        raise OSError(int(number), text)
    return pid


def become_main(keeper: int, plan: dict[str, Any], keep_open: Iterable[int]) -> None:
    """In the main process: signals, descriptors and folder as the plan has them."""
    signal.set_wakeup_fd(-1)
    for number in (*_changed, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(NOT_STARTED)
    os.setpgid(0, 0)
    for standard in (0, 1, 2):
        os.dup2(plan["standard"][standard], standard)
    for descriptor in keep_open:
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - that is its signature
    os.chdir(plan["directory"])


def _usage() -> dict[str, float]:
    return _figures(resource.getrusage(resource.RUSAGE_CHILDREN))


def _figures(usage: Any) -> dict[str, float]:
    return {name[3:]: getattr(usage, name) for name in _RUSAGE}


def _tell(control: socket.socket, said: dict[str, Any]) -> None:
    try:
        control.send(json.dumps(said).encode())
    except OSError:
        return  # the executor is gone, which `_watch` sees as well


def main(arguments: list[str]) -> NoReturn:
    """Read the plan and keep it."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    with open(int(arguments[1]), "rb") as file:
        plan = json.loads(file.read())
    for descriptor in plan["open"]:
        os.set_inheritable(descriptor, False)  # noqa: FBT003
    keep(control, lambda: spawn(plan, plan["open"]), {*plan["open"], *plan["standard"]} - {0, 1, 2})


if __name__ == "__main__":
    main(sys.argv[1:])
