"""The threads and what they share: each runs what `queue` says is next, and completes its future.

Two locks, neither held while user code runs: this module's own, for the queue, and that of the futures' home, which may
be taken inside it but never the other way round.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Protocol

from blockyard import this_try
from blockyard.errors import BlockyardError, BrokenBlockyard, DependencyError, anew
from blockyard.files.file import File, made
from blockyard.futures import Ending, FutureHome, TaskFuture, dependency_error, ended_in_words
from blockyard.ids import SessionId, TaskId, task_id, task_name
from blockyard.joining import Join, of_children
from blockyard.payload import type_names
from blockyard.this_try import Surroundings
from blockyard.threads.arguments import find, find_futures, with_values
from blockyard.threads.cache import ThreadCache
from blockyard.threads.queue import Stage, TaskQueue, ThreadTask, check_request, may_retry, slots_of, too_late
from blockyard.wire.records import TaskSpec

_NO_PROGRAM = (
    "its thread runs no managed task, and a Python function cannot be stopped here: run its program by run_managed, in "
    "the thread of the task itself"
)

CallArguments = tuple[tuple[Any, ...], Mapping[str, Any]]


@dataclass(slots=True, eq=False)
class Work:
    """What a task runs, and whose future tells how it ended."""

    future: TaskFuture[Any]
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    has_futures: bool
    memo: bytes = b""
    """What its result is cached by; nothing for most."""
    thread: int = 0
    """Identity of the one that runs it, or ran it last."""


class Observer(Protocol):
    """Told of a task's steps, under the core's lock, so it must not wait. `telling` says what the steps mean."""

    session: SessionId
    """What the tasks are numbered in."""

    def wait_for_room(self) -> None: ...  # not under the lock
    def submitted(self, task: ThreadTask, function: object, needs: Sequence[int], parent: int) -> None: ...
    def queued(self, task: ThreadTask) -> None: ...
    def began(self, task: ThreadTask) -> None: ...
    def tried(self, task: ThreadTask, error: BaseException | None) -> None: ...
    def ended(self, task: ThreadTask, error: BaseException | None) -> None: ...
    def surroundings(self, task: ThreadTask) -> Surroundings: ...  # not under the lock


class Core:
    """The state of one engine."""

    observer: Observer | None = None

    def __init__(
        self,
        threads: int,
        prepare: Callable[[], object] | None,
        name: str,
        clock: Callable[[], float],
        cache: ThreadCache,
        session: SessionId,
    ) -> None:
        self.home = FutureHome(on_cancel=self._on_cancel, explain=self._explain, hold=self._hold, cancels_running=False)
        self._queue = TaskQueue(threads)
        self._prepare = prepare
        self._name = name
        self._clock = clock
        self._numbers = itertools.count(task_id(session, 1))
        self._keys: dict[str, TaskFuture[Any]] = {}
        self._cache = cache
        self._stopping = False
        self._broken: BrokenBlockyard | None = None
        self._failing: deque[tuple[ThreadTask, DependencyError]] = deque()
        self._make_threads_anew()
        _cores.add(self)

    def _make_threads_anew(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._timers_changed = threading.Condition(self._lock)
        self._threads: list[threading.Thread] = []
        self._timekeeper: threading.Thread | None = None
        self._idle = 0
        """Threads that wait and have not been woken."""
        self._draining = threading.Lock()

    # ---------------------------------------------------------------------------------------------------- taking in

    def submit(
        self,
        spec: TaskSpec,
        function: Callable[..., Any],
        calls: Iterable[CallArguments],
        keys: Sequence[str],
        memos: Sequence[bytes],
    ) -> list[TaskFuture[Any]]:
        check_request(spec, self._queue.threads)
        if self.observer is not None:
            self.observer.wait_for_room()
        return [
            self._submit(
                spec, function, args, kwargs, key=keys[index] if keys else "", memo=memos[index] if memos else b""
            )
            for index, (args, kwargs) in enumerate(calls)
        ]

    def _submit(
        self,
        spec: TaskSpec,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        key: str = "",
        parent: int = 0,
        memo: bytes = b"",
    ) -> TaskFuture[Any]:
        needs = find_futures([args, kwargs])
        kept = leader = None
        with self._lock:
            if self._broken is not None:
                raise anew(self._broken)
            if self._stopping and not parent:
                msg = "cannot schedule new futures after shutdown"
                raise RuntimeError(msg)
            if key and key in self._keys:
                return self._keys[key]
            number = next(self._numbers)
            future: TaskFuture[Any] = TaskFuture(self.home, number)
            work = Work(future, function, args, kwargs, bool(needs), memo)
            task = ThreadTask(number, spec, work, self._clock(), slots_of(spec), unmet=len(needs))
            if memo:
                future.memo = memo
                kept = self._cache.find(memo, task.submitted_at)
                leader = self._cache.leader(memo, future) if kept is None else None
                task.unmet += kept is not None or leader is not None
            self._queue.add(task)
            try:
                self._wake_one()
            except RuntimeError:  # no thread could be started, and there is none
                self._queue.end(task)
                self._cache.ended(memo, future)
                raise
            if key:
                self._keys[key] = future
            if self.observer is not None:
                own = [need.task for need in needs if need.home is self.home]
                self.observer.submitted(task, function, own, parent)
        for need in needs:
            need.add_done_callback(functools.partial(self._on_need, task))
        if kept is not None:
            self._finish(task, Ending.VALUE, kept.value)
        if leader is not None:
            leader.add_done_callback(functools.partial(self._on_leader, task))
        return future

    # The following three are called under the lock.

    def _wake_one(self) -> None:
        """Let one more thread look at the queue, and the timekeeper at its timers."""
        if self._idle:
            self._idle -= 1
            self._changed.notify()
        elif len(self._threads) < self._queue.threads:
            self._start_thread(functools.partial(_run_thread, self), f"{self._name}-{len(self._threads)}")
        if self._queue.next_due() is not None:
            if self._timekeeper is None:
                self._timekeeper = threading.Thread(target=self._keep_time, name=f"{self._name}-time", daemon=True)
                self._timekeeper.start()
            self._timers_changed.notify()

    def _wake_all(self) -> None:
        self._idle = 0
        self._changed.notify_all()
        self._timers_changed.notify_all()

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads, or the interpreter is ending
            if not self._threads:
                raise
            return  # the others do the work
        self._threads.append(thread)

    def _is_over(self) -> bool:
        return self._broken is not None or (self._stopping and not self._queue.unfinished)

    # --------------------------------------------------------------------------------------------- what a thread does

    def prepare(self) -> bool:
        """Run the initializer in this thread; return whether it may run tasks."""
        if self._prepare is None:
            return True
        try:
            self._prepare()
        except BaseException as error:  # noqa: BLE001 - the rim of a thread; every task is told of it
            self._break(f"the initializer of a thread raised {type(error).__name__}: {error}", error)
            return False
        return True

    def next_task(self) -> ThreadTask | None:
        """Return the next task when there is one; `None` when this thread is to end."""
        with self._lock:
            while True:
                task = self._queue.start_next(self._clock())
                if task is not None:
                    task.call.thread = threading.get_ident()
                    if task.spec.timeout:
                        self._wake_one()  # there is a new timer
                    if self.observer is not None:
                        self.observer.began(task)
                    return task
                if self._is_over():
                    self._wake_all()
                    return None
                self._idle += 1
                self._changed.wait()

    def run(self, task: ThreadTask) -> None:
        """Run one try of a task in this thread."""
        work: Work = task.call
        if not work.future.set_running_or_notify_cancel():
            self._end(task, CancelledError())
            return
        if self.observer is not None:
            this_try.of_threads[work.thread] = self.observer.surroundings(task)
        ending, body = _attempt(work.function, work.args, work.kwargs, has_futures=work.has_futures)
        this_try.of_threads.pop(work.thread, None)
        if ending is Ending.VALUE and isinstance(body, Join):
            self._join_calls(task, body)
        elif ending is Ending.VALUE or not self._retried(task, body):
            self._finish(task, ending, body)

    def _finish(self, task: ThreadTask, ending: Ending, body: object) -> None:
        if task.call.memo and ending is Ending.VALUE:
            with self._lock:
                if task.stage is not Stage.ENDED:  # else time or its user has ended it before
                    self._cache.keep(task.call.memo, body, self._clock())
        self._end(task, body if isinstance(body, BaseException) and ending is Ending.EXCEPTION else None)
        self.home.complete([(task.call.future, ending, body)])

    def _end(self, task: ThreadTask, error: BaseException | None) -> None:
        with self._lock:
            self._queue.release(task)
            self._leave(task, error)
            # The thread that has freed itself looks for work next; others are wanted for several slots, or to end too.
            if self._queue.free > 1 or self._is_over():
                self._wake_all()

    def _leave(self, task: ThreadTask, error: BaseException | None) -> None:
        """Take out a task that has ended, under the lock; the first end counts."""
        if task.call.memo:
            self._cache.ended(task.call.memo, task.call.future)
        if self._queue.end(task) and self.observer is not None:
            self.observer.ended(task, error)

    def _retried(self, task: ThreadTask, error: BaseException) -> bool:
        """Put a task whose try raised back, if its options say so and it has not ended by time meanwhile."""
        future = task.call.future
        if not isinstance(error, Exception) or not may_retry(task.spec, task.tries, type_names(type(error))):
            return False
        with self._lock:
            if task.stage is not Stage.RUNNING or self._broken is not None:
                return False
            self._queue.release(task)
            self.home.waiting_again([future])
            self._queue.retry(task, self._clock())
            if self.observer is not None:
                self.observer.tried(task, error)
            self._wake_one()
        return True

    def _join_calls(self, task: ThreadTask, join: Join) -> None:
        """Make the calls tasks of their own; the joined one will have their results, and its thread is free now."""
        with self._lock:
            self._queue.release(task)
            if task.stage is Stage.RUNNING:
                self._queue.joined(task)
                if self.observer is not None:
                    self.observer.tried(task, None)
        spec = of_children(task.spec)
        children = [
            self._submit(spec, call.function, call.args, call.kwargs, parent=task.number) for call in join.calls
        ]
        if not children:
            self._finish(task, Ending.VALUE, [])
        left = itertools.count(len(children) - 1, -1)

        def on_child(child: Future[Any]) -> None:
            assert isinstance(child, TaskFuture)
            if child.has_failed():
                self._fail_dependent(task, dependency_error(child))
            elif next(left) == 0:
                self._finish(task, Ending.VALUE, [each.result() for each in children])

        for child in children:
            child.add_done_callback(on_child)

    # ------------------------------------------------------------------------------------------------ what tasks need

    def _on_need(self, task: ThreadTask, need: Future[Any]) -> None:
        assert isinstance(need, TaskFuture)
        if need.has_failed():
            self._fail_dependent(task, dependency_error(need))
            return
        with self._lock:
            self._queue.met(task)
            if self.observer is not None and task.stage is Stage.READY:
                self.observer.queued(task)
            self._wake_one()

    def _on_leader(self, task: ThreadTask, leader: Future[Any]) -> None:
        """The one that computes the same has ended: take its result, or follow the next one, or be that one."""
        assert isinstance(leader, TaskFuture)
        if not leader.has_failed():
            self._finish(task, Ending.VALUE, leader.result())
            return
        with self._lock:
            if task.stage is Stage.ENDED:
                return
            following = self._cache.leader(task.call.memo, task.call.future)
            if following is None:
                self._queue.met(task)
                self._wake_one()
        if following is not None:
            following.add_done_callback(functools.partial(self._on_leader, task))

    def _fail_dependent(self, task: ThreadTask, error: DependencyError) -> None:
        """Fail a task, and by its callbacks those that need it, in a loop: a chain may be longer than the stack."""
        self._failing.append((task, error))
        while self._failing and self._draining.acquire(blocking=False):
            try:
                while self._failing:
                    failing, cause = self._failing.popleft()
                    self._finish(failing, Ending.EXCEPTION, cause)
            finally:
                self._draining.release()

    # -------------------------------------------------------------------------------------- time, cancelling, the end

    def _keep_time(self) -> None:
        while True:
            with self._lock:
                now = self._clock()
                expired = [(task, too_late(task, timer)) for task, timer in self._queue.expire(now)]
                for task, error in expired:
                    self._leave(task, error)
                if self._queue.has_ready():
                    self._idle = 0
                    self._changed.notify_all()
                if not expired:
                    if self._is_over():
                        return
                    due_at = self._queue.next_due()
                    self._timers_changed.wait(None if due_at is None else max(0.0, due_at - now))
            self.home.complete((task.call.future, Ending.EXCEPTION, error) for task, error in expired)

    def _on_cancel(self, future: TaskFuture[Any]) -> None:
        with self._lock:
            task = self._queue.unfinished.get(future.task)
            if task is not None:
                self._leave(task, CancelledError())
                if self._is_over():
                    self._wake_all()

    def _explain(self, future: TaskFuture[Any]) -> str:
        name = task_name(TaskId(future.task))
        with self._lock:
            task = self._queue.unfinished.get(future.task)
            free, threads = self._queue.free, self._queue.threads
        if task is None:
            return f"task {name} {ended_in_words(future)}"
        sentence = f"task {name} is {task.stage.value}"
        match task.stage:
            case Stage.WAITING:
                return f"{sentence}: {task.unmet} of the futures in its arguments have not ended"
            case Stage.READY:
                return f"{sentence}: it needs {task.slots}, {free} of {threads} are free"
            case Stage.RUNNING | Stage.DELAYED:
                return f"{sentence}: try {task.tries} of at most {task.spec.retries + 1}"
            case _:
                return sentence

    def _hold(self, future: TaskFuture[Any], held: bool) -> None:  # noqa: FBT001 - a hook
        """Stop the programs of managed tasks that a task runs in its thread. Raises BlockyardError with the reason."""
        name = task_name(TaskId(future.task))
        with self._lock:  # so that it is this task that its thread runs
            task = self._queue.unfinished.get(future.task)
            if task is None:
                raise BlockyardError(f"task {name}: it has ended")
            if task.stage is not Stage.RUNNING:
                raise BlockyardError(f"task {name}: it is {task.stage.value}; only what runs can be stopped")
            if not this_try.hold(held=held, thread=task.call.thread):
                raise BlockyardError(f"task {name}: {_NO_PROGRAM}")

    def stop(self, *, cancel: bool) -> None:
        """Refuse new tasks; with `cancel` cancel those that have not begun. The threads end after the last task."""
        with self._lock:
            self._stopping = True
            waiting = [task for task in self._queue.unfinished.values() if cancel]
            self._wake_all()
        for task in waiting:
            task.call.future.cancel()

    def join(self) -> None:
        """Wait until the threads have ended; a thread of this engine does not wait for itself."""
        with self._lock:
            threads = [*self._threads, *([self._timekeeper] if self._timekeeper is not None else [])]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join()

    def _break(self, message: str, cause: BaseException | None) -> None:
        """Fail everything that has not ended, and every later submit."""
        broken = BrokenBlockyard(message)
        broken.__cause__ = cause
        with self._lock:
            self._broken = broken
            tasks = list(self._queue.unfinished.values())
            for task in tasks:
                self._leave(task, broken)
            self._wake_all()
        self.home.complete((task.call.future, Ending.EXCEPTION, broken) for task in tasks)

    def after_fork_in_child(self) -> None:
        """The threads are not here: whoever waits in this process must not wait for ever."""
        self._make_threads_anew()
        this_try.leave()
        self.observer = None  # its hub is the parent's
        self.home.after_fork_in_child()
        self._break(
            f"process {os.getpid()} was forked: a client on threads works only in the process that made it", None
        )


def _attempt(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, has_futures: bool
) -> tuple[Ending, Any]:
    # A frame of its own, which no future refers to: an exception refers to the frames it went through.
    try:
        if has_futures:
            args, kwargs = with_values((args, dict(kwargs)), TaskFuture, TaskFuture.result)
        if made.any and find((args, kwargs), File):
            return Ending.VALUE, _with_files(function, args, kwargs)
        return Ending.VALUE, function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - user code raises anything, and the future tells
        return Ending.EXCEPTION, error


def _with_files(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    from blockyard.files.staging import call_staged  # for those tasks alone

    files: list[File] = []

    def copied(file: File) -> File:  # several tasks may share one, and each has paths of its own
        files.append(file.copied())
        return files[-1]

    args, kwargs = with_values((args, dict(kwargs)), File, copied)
    value = call_staged(files, functools.partial(function, *args, **kwargs))
    return with_values(value, File, File.released)


def _run_thread(core: Core) -> None:
    if not core.prepare():
        return
    while True:
        task = core.next_task()
        if task is None:
            return
        core.run(task)
        del task  # an idle thread keeps nothing of its last task alive


_cores: weakref.WeakSet[Core] = weakref.WeakSet()


def _finish_all() -> None:
    """Run what was submitted to its end before the interpreter goes, as the standard library's pools do."""
    for core in list(_cores):
        core.stop(cancel=False)
    for core in list(_cores):
        core.join()


def _after_fork() -> None:
    for core in list(_cores):
        core.after_fork_in_child()


atexit.register(_finish_all)
os.register_at_fork(after_in_child=_after_fork)
