"""Functions that the tests send to workers. Those that wait do so until a file appears, or for very long."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from blockyard.joining import Join, join

FOR_EVER = 1000.0


def add(*numbers: int) -> int:
    return sum(numbers)


def pid(*_: object) -> int:
    return os.getpid()


def sleep(seconds: float, result: Any = None) -> Any:
    time.sleep(seconds)
    return result


def note(path: str, word: str) -> str:
    """Append a word to a file, atomically; return it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word}\n".encode())
    os.close(descriptor)
    return word


def note_and_die(path: str, word: str, how: str) -> NoReturn:
    note(path, word)
    die(how)


def die(how: str) -> NoReturn:
    """End the worker in a given way."""
    if how == "exit":
        os._exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(FOR_EVER)
    raise AssertionError("still alive")


def fail(kind: str) -> NoReturn:
    """Raise something."""
    raise {"ValueError": ValueError, "SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind]("no good")


def print_then(text: str, error: str = "") -> None:
    """Print by Python, by a child process, and to stderr."""
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(f"{text} in error\n")
    subprocess.run(["echo", f"{text} by a child"], check=True)
    if error:
        raise ValueError(error)


def say_and_fail(text: str) -> NoReturn:
    sys.stdout.write(f"{text}\n")
    raise ValueError(text)


def say_and_die(text: str) -> NoReturn:
    sys.stdout.write(f"{text}\n")
    os._exit(1)


def print_much(megabytes: int) -> str:
    """Print so much, by a child process, and fail."""
    subprocess.run(["sh", "-c", f"head -c {megabytes * 2**20} /dev/zero | tr '\\0' x; echo; echo the end"], check=True)
    raise ValueError("so that the output is shown")


def swallow_cancel(path: str) -> NoReturn:
    """Never end, whatever is raised."""
    note(path, "started")
    while True:
        try:
            time.sleep(FOR_EVER)
        except BaseException:  # noqa: BLE001 - stubborn on purpose
            note(path, "swallowed")


def ignore_everything(path: str) -> NoReturn:
    """Never end, not by SIGTERM either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    swallow_cancel(path)


def with_cleanup(path: str) -> None:
    """Clean up when cancelled."""
    note(path, "started")
    try:
        time.sleep(FOR_EVER)
    finally:
        note(path, "cleaned")


def with_processes(path: str) -> None:
    """Start a child, a daemon by fork, and a daemon by a new program; wait."""
    child = subprocess.Popen(["sleep", str(FOR_EVER)])
    daemon = subprocess.Popen(["setsid", "--fork", "sleep", str(FOR_EVER + 1)], stdout=subprocess.DEVNULL)
    daemon.wait()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", str(FOR_EVER + 2)])
        os._exit(0)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for standard in (0, 1, 2):
                os.close(standard)
            note(path, f"forked {os.getpid()}")
            time.sleep(FOR_EVER)
        os._exit(0)
    note(path, f"child {child.pid}")
    time.sleep(FOR_EVER)


def leave_daemon(path: str) -> str:
    """Return, and leave a daemon behind."""
    subprocess.run(["setsid", "--fork", "sleep", str(FOR_EVER + 3)], stdout=subprocess.DEVNULL, check=True)
    note(path, "left")
    return "done"


def come_back_from_fork() -> int:
    """Return in two processes."""
    return os.fork()


def eat(megabytes: int) -> NoReturn:
    """Take memory and keep it."""
    held = [bytearray(b"x" * 2**20) for _ in range(megabytes)]
    time.sleep(FOR_EVER)
    raise AssertionError(len(held))


def wait_for(path: str) -> str:
    """Wait until a file is there."""
    deadline = time.monotonic() + 30
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)
    return path


def scheduling() -> int:
    return os.sched_getscheduler(0)


def affinity() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def secrets_in_reach() -> list[str]:
    """What a task sees of the manager: variables and open descriptors of its own."""
    names = [name for name in os.environ if "KEY" in name]
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return names


def environment(name: str) -> str | None:
    return os.environ.get(name)


BORN_WITH: list[str] = []


def remember_accelerators() -> None:
    """An initialiser that looks for its worker's own."""
    BORN_WITH.append(os.environ["BLOCKYARD_ACCELERATORS"])


def accelerators(name: str) -> tuple[str, str]:
    """What the initialiser found, and what this task is told in a variable."""
    return BORN_WITH[0], os.environ[name]


def place() -> list[str]:
    names = ("PART", "PARTS", "RANK", "RANKS", "TOTAL_RANKS", "HOSTS")
    return [os.environ[f"BLOCKYARD_{name}"] for name in names]


class HangsOnLoad:
    """A callable that never finishes loading."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return time.sleep, (FOR_EVER,)

    def __call__(self) -> None: ...


class Unloadable:
    """Pickles well, and raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _explode, ("in the worker",)


def _explode(where: str) -> NoReturn:
    raise LookupError(where)


def unpicklable() -> Iterator[int]:
    yield 1


def big(megabytes: int) -> bytes:
    return b"x" * (megabytes * 2**20)


def length(data: bytes) -> int:
    return len(data)


def square(number: int) -> int:
    return number * number


def hand_over(count: int) -> Join:
    """Leave `count` squares and a sum to be done."""
    return join([*((square, number) for number in range(count)), (add, 1, 2)])
