"""The life of a task on threads of this process: taken in, run when `queue` says so, and its future completed.

Two locks, neither held while user code runs: the core's own, for queue, crew and cache, and that of the futures' home,
which may be taken inside it but never the other way round.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, Protocol

from blockyard import this_try
from blockyard.ending import Ending, dependency_error, ended_in_words
from blockyard.errors import BlockyardError, BrokenBlockyard, DependencyError, anew
from blockyard.futures import FutureHome, TaskFuture
from blockyard.ids import SessionId, TaskId, task_id, task_name
from blockyard.joining import Join, of_children
from blockyard.payload import type_names
from blockyard.this_try import Surroundings
from blockyard.threads.arguments import find_futures
from blockyard.threads.attempt import CallArguments, Work, attempt
from blockyard.threads.cache import ThreadCache
from blockyard.threads.crew import Crew
from blockyard.threads.queue import Stage, TaskQueue, ThreadTask, check_request, may_retry, slots_of, too_late
from blockyard.wire.records import TaskSpec

_NO_PROGRAM = (
    "its thread runs no managed task, and a Python function cannot be stopped here: run its program by run_managed, in "
    "the thread of the task itself"
)


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
        self._is_interrupted = False
        self._broken: BrokenBlockyard | None = None
        self._failing: deque[tuple[ThreadTask, DependencyError]] = deque()
        self._make_anew()

    def _make_anew(self) -> None:
        """What threads hold or wait for."""
        self._lock = threading.Lock()
        self._crew = Crew(self._lock, self._queue, self._name, self._work, self._keep_time)
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
                self._crew.wake_one()
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

    # --------------------------------------------------------------------------------------------- what a thread does

    def _work(self) -> None:
        if not self._prepared():
            return
        while True:
            task = self._next_task()
            if task is None:
                return
            self._run(task)
            del task  # an idle thread keeps nothing of its last task alive

    def _prepared(self) -> bool:
        """Run the initializer in this thread; return whether it may run tasks."""
        if self._prepare is None:
            return True
        try:
            self._prepare()
        except BaseException as error:  # noqa: BLE001 - the rim of a thread; every task is told of it
            self._break(f"the initializer of a thread raised {type(error).__name__}: {error}", error)
            return False
        return True

    def _next_task(self) -> ThreadTask | None:
        """Return the next task when there is one; `None` when this thread is to end."""
        with self._lock:
            while True:
                task = self._queue.start_next(self._clock())
                if task is not None:
                    task.call.thread = threading.get_ident()
                    if task.spec.timeout:
                        self._crew.wake_one()  # there is a new timer
                    if self.observer is not None:
                        self.observer.began(task)
                    return task
                if self._is_over():
                    self._crew.wake_all()
                    return None
                self._crew.wait()

    def _run(self, task: ThreadTask) -> None:
        """Run one try of a task in this thread."""
        work: Work = task.call
        if not work.future.set_running_or_notify_cancel():
            self._end(task, CancelledError())
            return
        if self.observer is not None:
            this_try.of_threads[work.thread] = self.observer.surroundings(task)
        ending, body = attempt(work.function, work.args, work.kwargs, has_futures=work.has_futures)
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
                self._crew.wake_all()

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
            self._crew.wake_one()
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
            self._crew.wake_one()

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
                self._crew.wake_one()
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

    def _is_over(self) -> bool:
        return self._broken is not None or (self._stopping and not self._queue.unfinished)

    def _keep_time(self) -> None:
        while True:
            with self._lock:
                now = self._clock()
                expired = [(task, too_late(task, timer)) for task, timer in self._queue.expire(now)]
                for task, error in expired:
                    self._leave(task, error)
                if self._queue.has_ready():
                    self._crew.wake_workers()
                if not expired:
                    if self._is_over():
                        return
                    due_at = self._queue.next_due()
                    self._crew.wait_for_timers(None if due_at is None else max(0.0, due_at - now))
            self.home.complete((task.call.future, Ending.EXCEPTION, error) for task, error in expired)

    def _on_cancel(self, future: TaskFuture[Any]) -> None:
        with self._lock:
            task = self._queue.unfinished.get(future.task)
            if task is not None:
                self._leave(task, CancelledError())
                if self._is_over():
                    self._crew.wake_all()

    def _explain(self, future: TaskFuture[Any]) -> str:
        with self._lock:
            task = self._queue.unfinished.get(future.task)
            if task is not None:
                return self._queue.explain(task)
        return f"task {task_name(TaskId(future.task))} {ended_in_words(future)}"

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
            self._crew.wake_all()
        for task in waiting:
            task.call.future.cancel()

    def interrupt(self) -> None:
        """Stop, cancel what has not begun, and let `join` wait for nothing."""
        self._is_interrupted = True
        self.stop(cancel=True)

    def join(self) -> None:
        """Wait until the threads have ended, unless interrupted; a thread of this engine does not wait for itself."""
        if not self._is_interrupted:
            self._crew.join()

    def _break(self, message: str, cause: BaseException | None) -> None:
        """Fail everything that has not ended, and every later submit."""
        broken = BrokenBlockyard(message)
        broken.__cause__ = cause
        with self._lock:
            self._broken = broken
            tasks = list(self._queue.unfinished.values())
            for task in tasks:
                self._leave(task, broken)
            self._crew.wake_all()
        self.home.complete((task.call.future, Ending.EXCEPTION, broken) for task in tasks)

    def after_fork_in_child(self) -> None:
        """The threads are not here: whoever waits in this process must not wait for ever."""
        self._make_anew()
        this_try.leave()
        self.observer = None  # its hub is the parent's
        self.home.after_fork_in_child()
        self._break(
            f"process {os.getpid()} was forked: a client on threads works only in the process that made it", None
        )
