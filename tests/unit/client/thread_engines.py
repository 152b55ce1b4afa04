"""What tests of the thread engine have in common: a submission, a task that lasts, a clock of their own."""

import threading
from typing import Any

from blockyard.futures import TaskFuture
from blockyard.threads import ThreadEngine
from blockyard.wire.records import TaskSpec

LONG = 30.0


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def submit(engine: ThreadEngine, fn: Any, *args: Any, key: str = "", **options: Any) -> TaskFuture[Any]:
    keys = [key] if key else []
    return engine.submit(TaskSpec(function=b"", **options), fn, [(args, {})], keys)[0]


class Busy:
    """Keeps a thread of an engine busy until `release`."""

    def __init__(self, engine: ThreadEngine, **options: Any) -> None:
        self._begun, self._go = threading.Event(), threading.Event()
        self.future = submit(engine, self._run, **options)
        assert self._begun.wait(LONG)

    def _run(self) -> str:
        self._begun.set()
        assert self._go.wait(LONG)
        return "released"

    def release(self) -> None:
        self._go.set()


class Flaky:
    """Raises so often, then returns the number of its calls."""

    def __init__(self, failures: int, error: type[BaseException] = ValueError) -> None:
        self.calls = 0
        self._failures = failures
        self._error = error

    def __call__(self) -> int:
        self.calls += 1
        if self.calls <= self._failures:
            raise self._error
        return self.calls
