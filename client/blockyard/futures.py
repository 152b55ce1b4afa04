"""Futures by the hundred thousand: a `concurrent.futures.Future` that is cheap to make and is completed in batches.

The standard class makes a lock and a condition per future. Here all futures of a client share one, kept in their
`FutureHome`, and nobody ever waits on it: whoever waits for a future registers a waiter of its own with it, as
`concurrent.futures.wait` does. A result stays packed until somebody asks for it, and is unpacked in the asker's thread.

What a client does about cancelling, collecting and explaining is its own business; the home only calls it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import as_completed as _standard_as_completed
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, LOGGER, PENDING, RUNNING
from typing import Any, TypeVar

from blockyard.ending import (
    CANCELLED,
    EXCEPTION,
    FAILURES,
    RESULT,
    VALUE,
    Body,
    Ending,
    dependency_error,
    unpack,
)
from blockyard.errors import BlockyardError
from blockyard.ids import TaskId, task_name
from blockyard.payload import dump_value, packed_bytes, reduce_dependency
from blockyard.waiting import Waiter, ended_first

T = TypeVar("T")


def _nothing(_: object) -> None:
    return None


def _do_not_mind(_: object, timeout: float | None) -> None:
    """Stand for nothing that is to be done before somebody waits."""


def _no_explanation(future: TaskFuture[Any]) -> str:
    return f"the task is {future.state}"


def _no_output(_: TaskFuture[Any]) -> str:
    return ""


def _no_hold(future: TaskFuture[Any], _: bool) -> None:  # noqa: FBT001 - a hook
    raise BlockyardError(f"the task is {future.state}; only a worker's managed tasks can be stopped and let go on")


class FutureHome:
    """What all futures of one client have in common: the lock, and what to call.

    The hooks run in the thread of whoever asked, never under the lock: `on_cancel` after a future was cancelled here,
    `on_collect` when its outcome is first looked at, `on_wait` before a thread waits for it, for so many seconds or
    (None) for ever: send what you still hold back, or raise. `explain` and `output` are for the methods of those names,
    `hold` for `stop` and `resume`. `cancels_running`:
    whether `cancel()` also ends what already runs.
    Futures keep their home alive, so a hook should refer to its client weakly.
    """

    __slots__ = (
        "__weakref__",
        "cancels_running",
        "explain",
        "hold",
        "lock",
        "on_cancel",
        "on_collect",
        "on_wait",
        "output",
    )

    def __init__(
        self,
        *,
        on_cancel: Callable[[TaskFuture[Any]], object] = _nothing,
        on_collect: Callable[[TaskFuture[Any]], object] = _nothing,
        on_wait: Callable[[TaskFuture[Any], float | None], object] = _do_not_mind,
        explain: Callable[[TaskFuture[Any]], str] = _no_explanation,
        output: Callable[[TaskFuture[Any]], str] = _no_output,
        hold: Callable[[TaskFuture[Any], bool], object] = _no_hold,
        cancels_running: bool = True,
    ) -> None:
        self.lock = threading.RLock()
        self.on_cancel = on_cancel
        self.on_collect = on_collect
        self.on_wait = on_wait
        self.explain = explain
        self.output = output
        self.hold = hold
        self.cancels_running = cancels_running

    def complete(self, batch: Iterable[tuple[TaskFuture[Any], Ending, Body]]) -> int:
        """Complete futures; return how many were. One that has already ended, by `cancel` for instance, is left alone.

        The lock is taken once for the batch. Callbacks run afterwards in this thread, in the order of the batch.
        """
        completed = 0
        with_callbacks: list[TaskFuture[Any]] = []
        waiters: list[Waiter] = []
        with self.lock:
            for future, ending, body in batch:
                state = future._state
                if state is FINISHED or state is CANCELLED_AND_NOTIFIED:
                    continue
                completed += 1
                future._body = body
                future._ending = ending
                future._state = FINISHED if ending is not CANCELLED else CANCELLED_AND_NOTIFIED
                if future._waiter_list:
                    future._wake_waiters(waiters)
                if future._callbacks is not None:
                    with_callbacks.append(future)
        for waiter in waiters:  # not under the lock, which the woken want at once
            waiter.wake()
        for future in with_callbacks:
            future._run_callbacks()
        return completed

    def started(self, futures: Iterable[TaskFuture[Any]]) -> None:
        """Mark those of the futures as running that have not ended."""
        with self.lock:
            for future in futures:
                if future._state is PENDING:
                    future._state = RUNNING

    def waiting_again(self, futures: Iterable[TaskFuture[Any]]) -> None:
        """Mark those of the futures as pending that were running: their try ended, the next one waits."""
        with self.lock:
            for future in futures:
                if future._state is RUNNING:
                    future._state = PENDING

    def after_fork_in_child(self) -> None:
        """Replace the lock, which a thread that does not exist here may have held when the process was forked."""
        self.lock = threading.RLock()


class TaskFuture(Future[T]):
    """The future of one task: everything that `concurrent.futures.Future` documents, `task`, `home`, and two questions.

    `explain()` and `output()` ask the interchange. `task` is the number by which client and interchange know the task.
    """

    __slots__ = ("_body", "_callbacks", "_ending", "_seen", "_state", "_waiter_list", "home", "task")

    memo: bytes = b""
    """What its task is known by in the cache; set for those alone that are cached."""
    _body: Body
    _callbacks: list[Callable[[Future[T]], object]] | None
    _ending: Ending | None
    _seen: bool
    _waiter_list: list[Any] | None

    def __init__(self, home: FutureHome, task: int) -> None:
        # The base class is left uninitialised on purpose: its lock and condition are most of a future's cost.
        self.home = home
        self.task = task
        self._state = PENDING
        self._waiter_list = None
        self._callbacks = None
        self._ending = None
        self._seen = False

    def __repr__(self) -> str:
        ending = self._ending
        shown = ""
        if self._state is FINISHED and ending is not None:
            shown = f", {'raised' if ending in FAILURES else 'returned'}"
            if ending is VALUE or ending is EXCEPTION:
                shown += f" {type(self._body).__name__}"
        return f"<{type(self).__name__} task={task_name(TaskId(self.task))} {self.state}{shown}>"

    def __reduce_ex__(self, protocol: object) -> Any:
        return reduce_dependency(self)

    @property
    def state(self) -> str:
        """How far it is, in one word: pending, running, cancelled or finished."""
        return "cancelled" if self._state is CANCELLED_AND_NOTIFIED else self._state.lower()

    @property
    def _condition(self) -> Any:  # type: ignore[override]  # concurrent.futures.wait takes and releases it, and no more
        return self.home.lock

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]  # concurrent.futures.wait appends to it, under the lock
        waiters = self._waiter_list
        if waiters is None:
            waiters = self._waiter_list = []
        return waiters

    def explain(self) -> str:
        """Say in words why the task waits or how it ended."""
        return self.home.explain(self)

    def output(self) -> str:
        """What the task has printed so far, to standard output and standard error, as far as its manager keeps it.

        The end of each try's, 64 KiB at most, oldest try first. '' when it printed nothing, when its manager is gone,
        and on threads of this process, where what is printed is this process's own.
        """
        return self.home.output(self)

    def stop(self) -> None:
        """Stop all processes of the managed task that this task runs on a worker; `resume` lets them go on.

        Raises BlockyardError with the reason when there is nothing to stop: it waits, it has ended, or it is a plain
        function, which can only be cancelled. Limits of time go on, and so does its hold on the worker.
        """
        self.home.hold(self, True)  # noqa: FBT003 - a hook

    def resume(self) -> None:
        """Let go on what `stop` stopped. Raises as that does."""
        self.home.hold(self, False)  # noqa: FBT003 - a hook

    def cancelled(self) -> bool:
        """Tell whether the task was cancelled."""
        return self._state is CANCELLED_AND_NOTIFIED

    def running(self) -> bool:
        """Tell whether a worker has the task, as far as this process has heard."""
        return self._state is RUNNING

    def done(self) -> bool:
        """Tell whether the task was cancelled or has ended."""
        state = self._state
        return state is FINISHED or state is CANCELLED_AND_NOTIFIED

    def has_failed(self) -> bool:
        """Tell whether the task was cancelled or has raised; unlike `exception` this neither waits nor unpacks."""
        return self.done() and (self._ending in FAILURES or self._ending is CANCELLED)

    def cancel(self) -> bool:
        """Cancel the task unless it has ended; return whether it is cancelled now.

        A running task is cancelled too if its client can end it; code that is running may still have its effects.
        """
        home = self.home
        with home.lock:
            state = self._state
            if state is CANCELLED_AND_NOTIFIED:
                return True
            if state is FINISHED or (state is RUNNING and not home.cancels_running):
                return False
            self._state = CANCELLED_AND_NOTIFIED
            self._ending = CANCELLED
            self._body = None
            waiters: list[Waiter] = []
            if self._waiter_list:
                self._wake_waiters(waiters)
        for waiter in waiters:
            waiter.wake()
        home.on_cancel(self)
        self._run_callbacks()
        return True

    def result(self, timeout: float | None = None) -> T:
        """Return what the task returned, or raise what it raised; wait for at most `timeout` seconds.

        Raises `TimeoutError` when it has not ended by then, `CancelledError` when it was cancelled, `NotLoadable` when
        its result cannot be unpickled in this process.
        """
        if self._state is not FINISHED:
            self._wait(timeout)
        if not self._seen:
            self._open()
        if self._ending is EXCEPTION:
            try:
                raise self._body
            finally:
                # The traceback refers to this frame, and this frame to the future that holds the exception.
                del self
        return self._body  # type: ignore[no-any-return]

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return what the task raised, `None` if it returned; wait for at most `timeout` seconds, as `result` does.

        A result that cannot be unpickled counts as an exception, so that `result()` never surprises after a `None`.
        """
        if self._state is not FINISHED:
            self._wait(timeout)
        self._open()
        if self._ending is EXCEPTION:
            return self._body  # type: ignore[no-any-return]
        return None

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn` with this future when it ends, at once if it has; what `fn` raises is logged."""
        with self.home.lock:
            if not self.done():
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        _call(fn, self)

    def set_running_or_notify_cancel(self) -> bool:
        """Mark the task as running; return `False` if it was cancelled. For executors, as in the standard library."""
        with self.home.lock:
            if self._state is CANCELLED_AND_NOTIFIED:
                return False
            if self._state is not PENDING:
                LOGGER.critical("Future %s in unexpected state: %s", id(self), self._state)
                msg = f"the future of task {task_name(TaskId(self.task))} cannot start: it is {self.state}"
                raise RuntimeError(msg)
            self._state = RUNNING
            return True

    def set_result(self, result: T) -> None:
        """Complete the future with a result. Raises `InvalidStateError` when it has ended. For executors."""
        self._set(VALUE, result)

    def set_exception(self, exception: BaseException | None) -> None:
        """Complete the future with an exception. Raises `InvalidStateError` when it has ended. For executors."""
        self._set(EXCEPTION, exception)

    def embedded(self) -> bytes | memoryview | None:
        """Return the packed result for use in the arguments of another call, `None` while there is none.

        Raises `DependencyError` when the task failed or was cancelled.
        """
        if not self.done():
            return None
        if self.has_failed():
            raise dependency_error(self)
        with self.home.lock:
            ending, body = self._ending, self._body
        if ending is RESULT:
            packed = body() if callable(body) else body
            return memoryview(packed) if isinstance(packed, bytearray) else packed
        self._open()
        if self._ending is EXCEPTION:
            raise dependency_error(self)
        return packed_bytes(dump_value(self._body))

    def _get_snapshot(self) -> tuple[bool, bool, T | None, BaseException | None]:
        """Return (done, cancelled, result, exception); what asyncio of Python 3.14 asks for instead of `result`."""
        if not self.done():
            return False, False, None, None
        if self._state is CANCELLED_AND_NOTIFIED:
            return True, True, None, None
        self._open()
        if self._ending is EXCEPTION:
            return True, False, None, self._body
        return True, False, self._body, None

    def _set(self, ending: Ending, body: object) -> None:
        if not self.home.complete([(self, ending, body)]):
            raise InvalidStateError(f"{self.state}: {self!r}")

    def _wait(self, timeout: float | None) -> None:
        """Return when the future is finished; raise `CancelledError` or `TimeoutError`."""
        if not self.done() and not self._wait_for_end(timeout):
            raise TimeoutError
        if self._state is CANCELLED_AND_NOTIFIED:
            raise CancelledError

    def _wait_for_end(self, timeout: float | None) -> bool:
        waiter = Waiter()
        with self.home.lock:
            if self.done():
                return True
            self._waiters.append(waiter)
        woken = False
        try:
            self.home.on_wait(self, timeout)
            woken = waiter.wait(timeout)
        finally:
            if not woken:
                with self.home.lock:
                    self._waiters.remove(waiter)
        return self.done()

    def _open(self) -> None:
        """Unpack what the future was completed with, if nobody has; `_ending` is then VALUE or EXCEPTION of `_body`.

        Two threads may unpack at the same time, because user code must not run under the lock; the first one's object
        is what both get.
        """
        home = self.home
        with home.lock:
            ending, body = self._ending, self._body
        assert ending is not None
        if ending is not VALUE and ending is not EXCEPTION:
            ending, body = unpack(self.task, ending, body)
        with home.lock:
            if self._seen:
                return
            self._body = body
            self._ending = ending
            self._seen = True
        if home.on_collect is not _nothing:
            home.on_collect(self)

    def _wake_waiters(self, later: list[Waiter]) -> None:
        """Tell those that wait, under the lock; our own that wait for this future alone are left to the caller."""
        assert self._waiter_list is not None
        ending = self._ending
        for waiter in self._waiter_list:
            if type(waiter) is Waiter:
                later.append(waiter)
            elif ending is CANCELLED:
                waiter.add_cancelled(self)
            elif ending in FAILURES:
                waiter.add_exception(self)
            else:
                waiter.add_result(self)

    def _run_callbacks(self) -> None:
        callbacks, self._callbacks = self._callbacks, None
        for fn in callbacks or ():
            _call(fn, self)


def _call(fn: Callable[[Future[T]], object], future: Future[T]) -> None:
    try:
        fn(future)
    except Exception:  # noqa: BLE001 - the standard library's rule for callbacks: log, and go on with the next
        LOGGER.exception("exception calling callback for %r", future)


def as_completed(futures: Iterable[Future[T]], timeout: float | None = None) -> Iterator[Future[T]]:
    """Yield futures in the order in which they end, each once; those that have ended already come first.

    Like `concurrent.futures.as_completed`, but the thread is woken once for all futures that end together. Raises
    `TimeoutError` when not all have ended within `timeout` seconds of the first `next()`. Futures of other executors
    may be among them; the standard library's function then does the work.
    """
    unique = dict.fromkeys(futures)
    ours = [future for future in unique if isinstance(future, TaskFuture)]
    if len(ours) != len(unique):
        return _standard_as_completed(unique, timeout)
    return ended_first(ours, timeout)
