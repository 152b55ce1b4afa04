"""The engine as a client sees it: takes in tasks, is shut down, ends with the process.

What its threads do is in `core`. They refer to the core only, so an engine that nobody closed can still be collected;
what was submitted is run to its end all the same, as in the standard library.
"""

from __future__ import annotations

import atexit
import functools
import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from blockyard import lifetime, session_number
from blockyard.errors import ConfigError
from blockyard.futures import TaskFuture
from blockyard.threads.attempt import CallArguments
from blockyard.threads.cache import MOST_RESULTS, TTL_SECONDS, ThreadCache
from blockyard.threads.core import Core, Observer
from blockyard.wire.records import TaskSpec


class ThreadEngine:
    """Runs tasks on `threads` threads of this process; they end when it is shut down or no longer referred to.

    `initializer(*initargs)` runs once in each thread before its first task; if it raises, every task and every later
    `submit` fails with `BrokenBlockyard`. `observer` is told of each task's steps. `clock` gives the instants by which
    limits of time are measured. Of cached results the oldest go when they are more than `cache_max_results`, or after
    `cache_ttl` seconds.
    """

    def __init__(  # noqa: PLR0913 - keyword-only; each has a default that suits most
        self,
        threads: int,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: Sequence[Any] = (),
        thread_name_prefix: str = "blockyard",
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
        cache_ttl: float = TTL_SECONDS,
        cache_max_results: int = MOST_RESULTS,
    ) -> None:
        given: object = threads
        if not isinstance(given, int) or given < 1:
            raise ConfigError(f"threads={threads!r}; give a whole number from 1")
        cache = ThreadCache(cache_ttl, cache_max_results)
        session = observer.session if observer is not None else session_number.draw()
        self._core = Core(threads, _prepared(initializer, initargs), thread_name_prefix, clock, cache, session)
        self._core.observer = observer
        _cores.add(self._core)
        self.home = self._core.home
        weakref.finalize(self, self._core.stop, cancel=False).atexit = False

    def submit(
        self,
        spec: TaskSpec,
        function: Callable[..., Any],
        calls: Iterable[CallArguments],
        keys: Sequence[str] = (),
        memos: Sequence[bytes] = (),
    ) -> list[TaskFuture[Any]]:
        """Take in one task per call ``(args, kwargs)`` and return their futures in order.

        `keys`: empty, or one per call ('' for none); a call with a known key gets that task's future. `memos`: empty,
        or what the result of each is cached by (nothing: it is not). Of `spec` the function's id is ignored.
        Raises `RuntimeError` after shutdown, `UnknownPool`, `RequestTooLarge`, `BrokenBlockyard`.
        """
        return self._core.submit(spec, function, calls, keys, memos)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - as Executor
        """Refuse further tasks; cancel those not begun if `cancel_futures`; with `wait` return when all have ended."""
        self._core.stop(cancel=cancel_futures)
        if wait:
            self._core.join()

    def interrupt(self) -> None:
        """Refuse further tasks, cancel those not begun, and never wait for those that run: threads cannot be ended."""
        self._core.interrupt()


def _prepared(initializer: object, initargs: Sequence[Any]) -> Callable[[], object] | None:
    if initializer is None:
        return None
    if not callable(initializer):
        msg = f"initializer={initializer!r} is not callable"
        raise TypeError(msg)
    return functools.partial(initializer, *initargs)


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _finish_all() -> None:
    """Run what was submitted to its end before the interpreter goes, as the standard library's pools do."""
    for core in list(_cores):
        if lifetime.is_interrupted():
            core.interrupt()
        else:
            core.stop(cancel=False)
    for core in list(_cores):
        core.join()


def _after_fork() -> None:
    for core in list(_cores):
        core.after_fork_in_child()


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_after_fork)
