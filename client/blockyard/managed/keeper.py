"""The process between an executor and a task: it starts the task's main process and ends everything that comes of it.

It is the subreaper of the task (prctl(2), PR_SET_CHILD_SUBREAPER), so whatever the task starts is below it, daemons
included, and nothing can get away. It holds one end of a socket; when the other end closes because the executor is
gone, however it went, the keeper kills all that is below it and ends. So no task outlives its executor.

It decides nothing: TERM, KILL, STOP and CONTINUE come as one letter each, and what it sees goes back as one `WORD`
each. It is a small program of its own, which serves one task after the other: to fork a small process costs the same
however large the executor has grown, and the executor's own pages are left alone. Hence the standard library only.
For programs it is ``python -I -S keeper.py CONTROL``, for functions a `fork_server`.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
NOT_STARTED = 127
TERMINATE, KILL, STOP, CONTINUE, FINISH, PLAN = b"T", b"K", b"S", b"C", b"F", b"P"
"""FINISH: the task is over; kill what is left of it. PLAN, to one without a task: with descriptors of a file that holds
a plan, and of what it names."""
_SIGNALS = {TERMINATE: signal.SIGTERM, KILL: signal.SIGKILL, STOP: signal.SIGSTOP, CONTINUE: signal.SIGCONT}
_RUSAGE = (
    "ru_utime", "ru_stime", "ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw",
)  # fmt: skip

STARTED, FAILED, EXITED, SIGNALLED, ENDED, READY = range(6)
"""With the pid; errno; exit code; signal; how many had outlived the main process; 0: a fork server has imported what it
was to."""
WORD = struct.Struct("<bi2d7q")
"""One of these, its number, and what was used till then, in the order of `_RUSAGE`."""
_MOST_DESCRIPTORS = 253
"""In one packet. Source: unix(7), SCM_MAX_FD."""

_libc = ctypes.PyDLL(None, use_errno=True)  # which keeps the GIL: a forked process must not have to wait for it
_changed: list[int] = []
"""Signals that a keeper's main process must have the defaults of again."""


def bare_fork() -> int:
    """fork(2) without what Python does after it in the child: 40 page faults there instead of 250.

    For a process with one thread, and a child that goes on with nothing that `os.register_at_fork` readies (threads,
    random numbers, logging): what loads a program. The child has all signals blocked.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid: int = _libc.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    if pid < 0:
        raise OSError(number := ctypes.get_errno(), os.strerror(number))
    return pid


class Keeping:
    """A process that is a keeper from now on."""

    def __init__(self, control: socket.socket, signals: list[int]) -> None:
        parent = os.getppid()
        self._control = control
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        for descriptor in (control.fileno(), self._wake):
            self._poll.register(descriptor, select.POLLIN)
        self._main = 0
        self._usage: list[Any] = [0] * len(_RUSAGE)
        _prepare(self._woken, signals)
        if os.getppid() != parent:
            os._exit(1)

    def serve(self, start: Callable[[list[int]], int], prepare: Callable[[], None] = lambda: None) -> None:
        """Attend to one task after the other, until the executor is gone.

        `start` gets descriptors, of a file that holds a plan and of what it names; it starts the main process and
        returns its pid, or raises OSError. `prepare` is called before each is waited for; what it forks is the next
        main process, or ends with this one.
        """
        while True:
            prepare()
            received = self._receive()
            if received is None or not self._attend(start, received):
                end_all(self._add)
                return

    def say_ready(self) -> None:
        """That plans may come."""
        self._tell(READY, 0)

    def leave(self) -> None:
        """In a forked process, which is none."""
        signal.set_wakeup_fd(-1)
        self._control.close()
        os.close(self._wake)
        os.close(self._woken)

    def _attend(self, start: Callable[[list[int]], int], received: list[int]) -> bool:
        """See one task to the end of all that comes of it. False when there is nobody left to do that for."""
        self._usage = [0] * len(_RUSAGE)
        try:
            self._main = start(received)
        except OSError as error:
            self._tell(FAILED, error.errno or 0)
            return True
        finally:
            for descriptor in received:
                os.close(descriptor)
        self._tell(STARTED, self._main)
        is_wanted, strays = False, 0
        try:
            is_wanted = self._watch()
        finally:
            strays = end_all(self._add)
            self._tell(ENDED, strays)
        return is_wanted

    def _receive(self) -> list[int] | None:
        """The descriptors of the next plan."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._wake:
                    if signal.SIGTERM in os.read(self._wake, 4096):
                        return None
                    continue
                letter, received = receive(self._control)
                if letter == b"":
                    return None
                if letter == PLAN:  # else an order for the task before, which had ended
                    return received

    def _watch(self) -> bool:
        """Until the main process has ended and left nothing, or what is left shall be ended. False: end altogether."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._wake:
                    if signal.SIGTERM in os.read(self._wake, 4096):
                        return False
                    if self._reap():
                        return True
                    continue
                order, _ = receive(self._control)
                if order in (b"", FINISH):
                    return order == FINISH
                reach(descendants(os.getpid()), _SIGNALS[order])
                if order == TERMINATE:  # who is stopped hears it only when it goes on
                    reach(descendants(os.getpid()), signal.SIGCONT)

    def _reap(self) -> bool:
        """Take leave of those that have ended; True when there are no others: what is below has a way up to here."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            self._add(usage)
            if pid == self._main:
                self._main = 0
                code = os.waitstatus_to_exitcode(status)
                self._tell(SIGNALLED if code < 0 else EXITED, abs(code))

    def _add(self, usage: Any) -> None:
        for place, name in enumerate(_RUSAGE):
            more = getattr(usage, name)
            self._usage[place] = max(self._usage[place], more) if name == "ru_maxrss" else self._usage[place] + more

    def _tell(self, what: int, number: int) -> None:
        try:
            self._control.send(WORD.pack(what, number, *self._usage))
        except OSError:
            return  # the executor is gone, which `_watch` sees as well


def receive(link: socket.socket) -> tuple[bytes, list[int]]:
    """A letter, and the descriptors that came with it; b'' when the other end is gone."""
    try:
        letter, received, *_ = socket.recv_fds(link, 1, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:  # it had not read all that was said to it
        return b"", []
    return letter, received


def _prepare(woken: int, signals: list[int]) -> None:
    os.setsid()
    gc.disable()  # a forked one would copy every page that it looks at
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    end_with_parent(signal.SIGTERM)
    _changed.extend(signals)
    for number in _changed:  # a worker's own handlers must not run in here
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def end_with_parent(number: int) -> None:
    """Have this process get a signal when the thread that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


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


def end_all(reaped: Callable[[Any], None]) -> int:
    """Kill everything below this process until there is nothing more; returns how many there were.

    `reaped` gets what each had used.
    """
    seen: set[int] = set()
    pause = 0.0005
    while True:
        try:
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                reaped(ended[2])
        except ChildProcessError:
            return len(seen)
        found = descendants(os.getpid())
        seen.update(found)
        reach(found, signal.SIGKILL)
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


def spawn(received: list[int]) -> int:
    """Fork and become the program of a plan; returns its pid. Raises OSError when the program can't be run."""
    with open(received[0], "rb", closefd=False) as file:
        plan = json.loads(file.read())
    read, write = os.pipe2(os.O_CLOEXEC)
    keeper = os.getpid()
    pid = bare_fork()
    if pid == 0:
        try:
            write = fcntl.fcntl(write, fcntl.F_DUPFD_CLOEXEC, 1 + max(plan["targets"]))
            become_main(keeper)
            take_places(plan, received[1:])
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


def become_main(keeper: int) -> None:
    """In a process that is to be a main one: its signals and its group."""
    signal.set_wakeup_fd(-1)
    for number in (*_changed, signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    end_with_parent(signal.SIGKILL)
    if os.getppid() != keeper:
        os._exit(NOT_STARTED)
    os.setpgid(0, 0)


def take_places(plan: dict[str, Any], sources: Iterable[int]) -> None:
    """In a main process: descriptors and folder as the plan has them. Of `sources` become its targets."""
    # Out of the way first: a source may have the number that another one shall get.
    above = 1 + max(plan["targets"])
    lifted = [fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, above) for source in sources]
    for source in sources:
        os.close(source)
    for source, target in zip(lifted, plan["targets"], strict=True):
        os.dup2(source, target)
        os.close(source)
    os.chdir(plan["directory"])


def main(arguments: list[str]) -> None:
    """Keep whatever comes."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    os.chdir("/")  # nobody's folder is held
    Keeping(control, handled()).serve(spawn)


if __name__ == "__main__":
    main(sys.argv[1:])
