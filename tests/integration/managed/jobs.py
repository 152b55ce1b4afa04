"""What the tests run as tasks, by name; and executors run alone in a process with one thread."""

import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import msgspec

from blockyard.managed import Executor, ManagedResult, Task, managed_task, reporter


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


def run_alone(name: str, parameters: dict[str, Any]) -> ManagedResult:
    """Run one of the above forked, which takes a process with one thread."""
    return Executor(globals()[name], parameters=parameters).execute_task()


if __name__ == "__main__":
    from tests.integration.managed import jobs  # under its own name, which a task's is made of

    found = jobs.run_alone(sys.argv[1], msgspec.json.decode(sys.argv[2]))
    sys.stdout.buffer.write(msgspec.json.encode(found))
