"""What tasks may do to those who run them. Imported by workers, by reference."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, NoReturn

import numpy as np


def exits(code: int) -> NoReturn:
    """End the process without a word to Python."""
    os._exit(code)


def segfaults() -> None:
    """Read from address 0."""
    ctypes.string_at(0)


def kills_itself() -> None:
    """As the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def leaves_daemons() -> list[int]:
    """Leave two processes in sessions of their own, one forked, one another program; return their pids."""
    program = subprocess.Popen(["sleep", "3600"], start_new_session=True, stdout=subprocess.DEVNULL)
    pid = os.fork()
    if not pid:
        os.setsid()
        while True:
            time.sleep(3600)
    return [program.pid, pid]


def leaves_a_daemon_without_a_mark() -> int:
    """Leave a program in a session of its own that was started with an empty environment; return its pid."""
    return subprocess.Popen(["/bin/sleep", "3600"], start_new_session=True, stdout=subprocess.DEVNULL, env={}).pid


def leaves_grandchildren(count: int) -> int:
    """Start so many short processes whose parents end at once."""
    for _ in range(count // 50):
        subprocess.run(["sh", "-c", "for i in $(seq 50); do setsid sleep 0.05 & done"], check=True)
    return count


def eats(size_bytes: int) -> int:
    """Take memory bit by bit and keep it for a while."""
    eaten = []
    for _ in range(size_bytes // (10 * 1024 * 1024)):
        eaten.append(b"x" * (10 * 1024 * 1024))
        time.sleep(0.02)
    time.sleep(60)
    return len(eaten)


def never_ends() -> None:
    """Run, and listen to nobody in between."""
    while True:
        pass


def listens_to_nobody(runs: str) -> None:
    """Make a file and go on, whoever asks for the end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            with open(runs, "w"):
                pass
            while True:
                time.sleep(0.01)
        except BaseException:  # noqa: BLE001 - that is what it is for
            continue


def prints(megabytes: int) -> int:
    """Print so much."""
    for _ in range(megabytes):
        sys.stdout.write("x" * 999_999 + "\n")
    return megabytes


def returns(size_bytes: int) -> bytes:
    """Return so much, the first and last byte to be known again."""
    return b"a" + bytes(size_bytes - 2) + b"z"


def raises(error: BaseException) -> NoReturn:
    """Raise it."""
    raise error


def recurses() -> int:
    """Call itself."""
    return recurses() + 1


def removes_its_folder() -> None:
    """Leave the process in a folder that is gone."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def ignores_signals() -> None:
    """Ignore all that can be ignored, the manager's included."""
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def leaves_threads() -> None:
    """Leave threads that nobody can end."""
    for _ in range(10):
        threading.Thread(target=time.sleep, args=(3600.0,)).start()


def raises_much(size_bytes: int) -> NoReturn:
    """Say so much about what went wrong."""
    raise ValueError("x" * size_bytes)


class Quits(Exception):
    """Ends the process that pickles it, as far as that lets it."""

    def __reduce__(self) -> Any:
        sys.exit(4)


def raises_what_quits() -> NoReturn:
    """Raise an error that no worker can pickle."""
    raise Quits("told all the same")


def doubles(array: Any) -> Any:
    """Return a large array for a large array."""
    assert isinstance(array, np.ndarray)
    return array * 2


class Trap:
    """Can be pickled, and raises when it is unpickled, in processes other than the one named."""

    def __init__(self, spared: int = 0) -> None:
        self.spared = spared

    def __reduce__(self) -> Any:
        return _spring, (self.spared,)


def _spring(spared: int) -> Trap:
    if os.getpid() != spared:
        raise RuntimeError("the trap sprang")
    return Trap(spared)


def returns_a_trap() -> Trap:
    """Return what cannot be unpickled anywhere else."""
    return Trap(os.getpid())
