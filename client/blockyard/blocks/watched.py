"""Watches a provider's jobs, so that a test can wait for what becomes of them; a vain wait says what was seen."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from blockyard.blocks.provider import Provider
from blockyard.blocks.states import JobId, JobState, JobStatus

PATIENCE: Final = 60.0
"""Seconds that a test waits for what takes milliseconds on a machine that is not busy."""


class Watched:
    """What became known of a provider's jobs, with a way to wait for more. A provider without push is asked."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._arrivals: queue.SimpleQueue[tuple[JobId, JobStatus]] = queue.SimpleQueue()
        self._seen: list[tuple[JobId, JobStatus]] = []

    def push(self, job: JobId, status: JobStatus) -> None:
        self._arrivals.put((job, status))

    def of(self, job: JobId) -> list[JobStatus]:
        """All that became known of a job, oldest first."""
        while not self._arrivals.empty():
            self._seen.append(self._arrivals.get())
        return [status for name, status in self._seen if name == job]

    def end_of(self, job: JobId) -> JobStatus:
        """Wait for the end of a job."""
        return self._wait(job, "end", lambda status: status.terminal)

    def state_of(self, job: JobId, state: JobState) -> JobStatus:
        """Wait until a job was in a state."""
        return self._wait(job, str(state), lambda status: status.state is state)

    def _wait(self, job: JobId, what: str, wanted: Callable[[JobStatus], bool]) -> JobStatus:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = next((status for status in self.of(job) if wanted(status)), None)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} of job {job} within {PATIENCE:g} s; seen: {self._seen}")
            self._look(job, deadline)

    def _look(self, job: JobId, deadline: float) -> None:
        interval = self._provider.status_polling_interval
        if interval > 0:
            status = self._provider.status([job])[job]
            if self.of(job)[-1:] != [status]:
                self._arrivals.put((job, status))
                return
        patience = max(0.0, deadline - time.monotonic())
        with suppress(queue.Empty):
            self._seen.append(self._arrivals.get(timeout=min(interval, patience) if interval > 0 else patience))


class watched:  # noqa: N801 - reads as a verb where it is used
    """Start a provider, watch its jobs, and close it whatever happens."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._seen = Watched(provider)

    def __enter__(self) -> Watched:
        self._provider.start(self._seen.push)
        return self._seen

    def __exit__(self, *exception: object) -> None:
        self._provider.close()
