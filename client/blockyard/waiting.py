"""How a thread waits for one future or for many: it registers something to be told, and sleeps on a lock of its own.

What is registered takes the part of the standard library's `_Waiter`, so that futures need not tell ours from theirs.
Futures tell it under the lock of their home, so nothing here may call them back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from blockyard.futures import TaskFuture

T = TypeVar("T")

_LONGEST_WAIT: Final = threading.TIMEOUT_MAX


class Waiter:
    """Wakes one thread, once, when a future ends; takes the part of the standard library's."""

    __slots__ = ("_lock", "_woken")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._woken = False

    def wait(self, timeout: float | None) -> bool:
        """Wait until woken or for `timeout` seconds; return whether it was woken."""
        if timeout is None:
            return self._lock.acquire()
        if timeout <= 0:
            return self._lock.acquire(blocking=False)
        return self._lock.acquire(timeout=min(timeout, _LONGEST_WAIT))

    def add_result(self, future: Future[Any]) -> None:  # called under the lock of the future's home
        self.wake()

    def wake(self) -> None:
        """Wake the thread, if it was not woken before."""
        if not self._woken:
            self._woken = True
            self._lock.release()

    add_exception = add_result
    add_cancelled = add_result


class Stream(Waiter):
    """Gathers futures as they end and wakes its thread once for all that end together."""

    __slots__ = ("_ended", "_guard")

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()  # futures of several clients, and so of several locks, may be in one stream
        self._ended: list[TaskFuture[Any]] = []

    def add_result(self, future: Future[Any]) -> None:
        with self._guard:
            self._ended.append(future)  # type: ignore[arg-type]  # only ever registered with TaskFutures
            super().add_result(future)

    add_exception = add_result
    add_cancelled = add_result

    def take(self) -> list[TaskFuture[Any]]:
        """Return those that have ended since the last call, in order; the next to end wakes the thread again."""
        with self._guard:
            ended, self._ended = self._ended, []
            if self._woken:
                self._woken = False
                self._lock.acquire(blocking=False)
            return ended


def ended_first(futures: list[TaskFuture[T]], timeout: float | None) -> Iterator[Future[T]]:
    """Yield futures as they end; the work of `blockyard.futures.as_completed`, which says what it promises."""
    deadline = None if timeout is None else time.monotonic() + timeout
    total = len(futures)
    stream = Stream()
    ended, waiting = _register(futures, stream)
    futures.clear()
    try:
        while True:
            ended.reverse()
            while ended:
                yield ended.pop()  # not held here any longer while the caller works with it
            if not waiting:
                return
            first = next(iter(waiting))
            first.home.on_wait(first, timeout)
            remaining = None if deadline is None else deadline - time.monotonic()
            if not stream.wait(remaining) and not stream._ended:
                msg = f"{len(waiting)} of {total} futures had not ended after {timeout} seconds"
                raise TimeoutError(msg)
            ended = stream.take()
            waiting.difference_update(ended)
    finally:
        for future in waiting:
            with future.home.lock:
                future._waiters.remove(stream)


def _register(futures: list[TaskFuture[T]], stream: Stream) -> tuple[list[TaskFuture[T]], set[TaskFuture[T]]]:
    """Return the futures that have ended, and register with the others, which are returned too."""
    ended: list[TaskFuture[T]] = []
    waiting: set[TaskFuture[T]] = set()
    for home in {future.home for future in futures}:
        with home.lock:
            for future in futures:
                if future.home is not home:
                    continue
                if future.done():
                    ended.append(future)
                else:
                    future._waiters.append(stream)
                    waiting.add(future)
    return ended, waiting
