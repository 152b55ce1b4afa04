"""The executors that are held to what `concurrent.futures.Executor` documents."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blockyard import Client
from tests.contract.client.futures import Make, one_home, own_homes

LONG = 30.0
"""Seconds after which a test has failed; nothing waits for them to pass."""


@dataclass(frozen=True)
class Kind:
    """A kind of executor: how to make one with so many workers, and what it can do."""

    name: str
    make: Callable[[int], Executor]
    shares_memory: bool
    has_buffersize: bool
    script: str
    """An expression that makes one with two workers in a script, after the imports."""
    gaps: Mapping[str, str] = field(default_factory=dict)
    """Tests that it is known to fail, and why; one that passes all the same fails, so that its line here goes."""


KINDS = [
    Kind(
        "standard threads",
        ThreadPoolExecutor,
        shares_memory=True,
        has_buffersize=sys.version_info >= (3, 14),
        script="concurrent.futures.ThreadPoolExecutor(2)",
    ),
    Kind("threads", Client.threads, shares_memory=True, has_buffersize=True, script="blockyard.Client.threads(2)"),
    Kind(
        "local",
        Client.local,
        shares_memory=False,
        has_buffersize=True,
        script="blockyard.Client.local(2)",
    ),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind in turn."""
    found: Kind = request.param
    test = request.node.originalname
    if test in found.gaps:
        request.applymarker(pytest.mark.xfail(strict=True, reason=found.gaps[test]))
    return found


@pytest.fixture
def executor(kind: Kind) -> Iterator[Executor]:
    """One with two workers, shut down after the test."""
    made = kind.make(2)
    yield made
    made.shutdown(wait=True, cancel_futures=True)


class Gate:
    """Something that tasks wait at until the test opens it; a file, so that it works across processes."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "gate"
        self._arrivals = folder / "arrivals"
        self._arrivals.mkdir()

    def open(self) -> None:
        """Let everybody through, now and later."""
        self._path.touch()

    def waiter(self) -> Callable[[int], int]:
        """A task that arrives, waits at the gate, and returns its argument."""
        path, arrivals = str(self._path), str(self._arrivals)

        def wait_at_gate(number: int) -> int:
            from pathlib import Path
            from time import monotonic, sleep

            (Path(arrivals) / str(number)).touch()
            deadline = monotonic() + 30
            while not Path(path).exists():
                assert monotonic() < deadline, "the gate was not opened"
                sleep(0.001)
            return number

        return wait_at_gate

    def arrived(self) -> set[int]:
        """Who has arrived so far."""
        return {int(entry.name) for entry in self._arrivals.iterdir()}

    def expect(self, numbers: set[int]) -> None:
        """Wait until these have arrived."""
        deadline = time.monotonic() + LONG
        while not numbers <= self.arrived():
            assert time.monotonic() < deadline, f"expected {numbers} at the gate, last seen {self.arrived()}"
            time.sleep(0.001)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A closed gate; it is opened at the end, so that nothing hangs when a test fails."""
    made = Gate(tmp_path)
    yield made
    made.open()


@pytest.fixture(
    params=[lambda: Future, one_home, own_homes], ids=["standard", "task", "task, each with a home of its own"]
)
def make(request: pytest.FixtureRequest) -> Make:
    """What makes a future, of each kind."""
    return request.param()  # type: ignore[no-any-return]
