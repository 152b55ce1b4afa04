"""What the tests run as tasks, by name."""

import os
import random
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

from blockyard.managed import Task, managed_task, reporter


def add(a: int, b: int) -> dict[str, int]:
    """Add two numbers."""
    sys.stdout.write(f"adding {a} {b}\n")
    told = reporter()
    told.progress(0.5)
    told.metric("pairs", 1)
    told.metadata(host="here")
    told.log("added")
    return {"sum": a + b}


def fail(words: str) -> None:
    """Fail with these words."""
    raise ValueError(words)


def leave(code: int) -> None:
    """End without a result."""
    os._exit(code)


def forever() -> None:
    """Never end by itself."""
    while True:
        time.sleep(1000)


def strange() -> object:
    """Return what no channel can carry."""
    return object()


async def later() -> int:
    """Be awaited by nobody."""
    return 1


class Figure:
    """Saves itself as matplotlib's do."""

    def savefig(self, path: str) -> None:
        """Write a file."""
        with open(path, "w") as file:
            file.write("a figure")


def draw() -> dict[str, Any]:
    """Return a figure among other things."""
    return {"n": 3, "figure": Figure()}


class Peaks(Task):
    """A task as a class."""

    def __init__(self, parameters: SimpleNamespace) -> None:
        super().__init__(parameters)
        self.order = ["init"]

    def pre_run(self) -> None:
        self.order.append("pre")

    def run(self) -> list[str]:
        self.summary = {"threshold": self.parameters.threshold}
        self.impl_schemas = "hdf5;peaks"
        return [*self.order, "run"]


@managed_task("test-add")
def registered_add(a: int, b: int = 1) -> int:
    """Add two numbers, by a registered name."""
    return a + b


marks: list[str] = []


def leave_marks(mark: str) -> dict[str, Any]:
    """Change what a process has; return what was there before."""
    before = {"marks": list(marks), "env": os.environ.get(mark), "folder": os.getcwd(), "path": sys.path[0]}
    marks.append(mark)
    os.environ[mark] = mark
    sys.path.insert(0, mark)
    os.chdir("/")
    return {**before, "random": random.random(), "parent": os.getppid(), "threads": threading.active_count()}


def find_in_memory(reversed_text: str) -> int:
    """How often a text is anywhere in this process's memory that can be written to."""
    text, found = bytearray(reversed_text.encode()[::-1]), 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
        for line in maps:
            place, rights, *_, name = [*line.split()[:5], line.split()[-1]]
            if rights.startswith("rw") and name not in ("[vvar]", "[vsyscall]"):
                begin, end = (int(one, 16) for one in place.split("-"))
                memory.seek(begin)
                found += memory.read(end - begin).count(text)
    return found


def open_descriptors() -> dict[str, str]:
    """What is open, by number; the one that this itself opens is not."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
    return found


def stray() -> int:
    """Leave a daemon behind; its pid."""
    read, write = os.pipe()
    between = os.fork()
    if between == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(write, str(os.getpid()).encode())
            time.sleep(1000)
        os._exit(0)
    os.waitpid(between, 0)  # it ends by itself, so that it is no stray, and is gone before the task is
    return int(os.read(read, 100))


def where_from() -> dict[str, Any]:
    """Where modules are looked for, and where one is that comes with the environment."""
    import pytest

    return {"path": sys.path, "file": pytest.__file__}


def told(number: int, out: str, **_others: Any) -> str:
    """Write a number where it is told."""
    assert isinstance(number, int)
    with open(out, "w") as file:
        file.write(f"{number}\n")
    return out


def back(**given: Any) -> dict[str, Any]:
    """Return what came."""
    return given


def large(letters: int) -> str:
    """Return so much text."""
    return "x" * letters


def exits(code: Any) -> None:
    """End as a command does."""
    sys.exit(code)


def name_of_a_file() -> str:
    """Of bytes that are no UTF-8."""
    return os.fsdecode(b"a\xff")


def says_nonsense() -> None:
    """On its channel, and ends there."""
    os.write(int(os.environ["BLOCKYARD_CHANNEL"].partition(":")[2].partition(",")[0]), b"result = 3\n")
    os._exit(0)
