"""The threads of an engine: started when there is work for one more, asleep when there is none, woken when there is."""

from __future__ import annotations

import threading
from collections.abc import Callable

from blockyard.threads.queue import TaskQueue


class Crew:
    """Threads that run `work`, as many as `queue` has at most, and one that runs `keep_time` once there are timers.

    The lock is the core's. Who calls holds it, but for `join`.
    """

    def __init__(
        self,
        lock: threading.Lock,
        queue: TaskQueue,
        name: str,
        work: Callable[[], None],
        keep_time: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._queue = queue
        self._name = name
        self._work = work
        self._keep_time = keep_time
        self._changed = threading.Condition(lock)
        self._timers_changed = threading.Condition(lock)
        self._threads: list[threading.Thread] = []
        self._timekeeper: threading.Thread | None = None
        self._idle = 0
        """Threads that wait and have not been woken."""

    def wake_one(self) -> None:
        """Let one more thread look at the queue, and the timekeeper at its timers.

        Raises RuntimeError when no thread could be started and there is none.
        """
        if self._idle:
            self._idle -= 1
            self._changed.notify()
        elif len(self._threads) < self._queue.threads:
            self._start_one()
        if self._queue.next_due() is not None:
            if self._timekeeper is None:
                self._timekeeper = threading.Thread(target=self._keep_time, name=f"{self._name}-time", daemon=True)
                self._timekeeper.start()
            self._timers_changed.notify()

    def _start_one(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending
            if not self._threads:
                raise
            return  # the others do the work
        self._threads.append(thread)

    def wake_workers(self) -> None:
        """Let all of them look at the queue."""
        self._idle = 0
        self._changed.notify_all()

    def wake_all(self) -> None:
        """Let all of them, and the timekeeper, see what has changed."""
        self.wake_workers()
        self._timers_changed.notify_all()

    def wait(self) -> None:
        """Wait, as one of the workers, until woken."""
        self._idle += 1
        self._changed.wait()

    def wait_for_timers(self, seconds: float | None) -> None:
        """Wait, as the timekeeper, until woken or for so long."""
        self._timers_changed.wait(seconds)

    def join(self) -> None:
        """Wait until all have ended; one of them does not wait for itself."""
        with self._lock:
            threads = [*self._threads, *([self._timekeeper] if self._timekeeper is not None else [])]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()
