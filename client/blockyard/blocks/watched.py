"""Watches what a provider pushes, so that a test can wait for it; a wait that fails says what was seen."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Final

from blockyard.blocks.provider import Provider
from blockyard.blocks.states import JobId, JobState, JobStatus

PATIENCE: Final = 20.0
"""Seconds that a test waits for what takes milliseconds on a machine that is not busy."""


class Watched:
    """What a provider pushed, with a way to wait for more."""

    def __init__(self) -> None:
        self._arrivals: queue.SimpleQueue[tuple[JobId, JobStatus]] = queue.SimpleQueue()
        self._seen: list[tuple[JobId, JobStatus]] = []

    def push(self, job: JobId, status: JobStatus) -> None:
        self._arrivals.put((job, status))

    def of(self, job: JobId) -> list[JobStatus]:
        """All that was pushed about a job, oldest first."""
        while not self._arrivals.empty():
            self._seen.append(self._arrivals.get())
        return [status for name, status in self._seen if name == job]

    def end_of(self, job: JobId) -> JobStatus:
        """Wait for the end of a job."""
        return self._wait(job, "an end", lambda status: status.terminal)

    def state_of(self, job: JobId, state: JobState) -> JobStatus:
        """Wait until a job was in a state."""
        return self._wait(job, str(state), lambda status: status.state is state)

    def _wait(self, job: JobId, what: str, wanted: Callable[[JobStatus], bool]) -> JobStatus:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = next((status for status in self.of(job) if wanted(status)), None)
            if found is not None:
                return found
            try:
                self._seen.append(self._arrivals.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"no {what} of job {job} within {PATIENCE:g} s; seen: {self._seen}") from None


class watched:  # noqa: N801 - reads as a verb where it is used
    """Start a provider, watch what it pushes, and close it whatever happens."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._seen = Watched()

    def __enter__(self) -> Watched:
        self._provider.start(self._seen.push)
        return self._seen

    def __exit__(self, *exception: object) -> None:
        self._provider.close()
