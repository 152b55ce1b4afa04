"""Which task a free thread runs next, when a failed one is tried again, and what time ends: decided without a clock.

Pure: instants come in as `now`, nothing here sleeps, locks or runs a function. The same rules as the interchange's,
for one pool: higher priority first, then order of submission; a task that needs more threads than are free holds back
those behind it, so that it starts within bounded time.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blockyard.errors import DeadlineExceeded, RequestTooLarge, TaskTimeout, UnknownPool
from blockyard.ids import TaskId, task_name
from blockyard.wire.records import TaskSpec


class Stage(StrEnum):
    """How far a task is."""

    WAITING = "waiting for what it needs"
    READY = "waiting for a free thread"
    RUNNING = "running"
    DELAYED = "waiting for its next try"
    JOINING = "waiting for the tasks it joined"
    ENDED = "ended"


class Timer(StrEnum):
    """What it means that an instant has come."""

    RETRY = "the next try may begin"
    TIMEOUT = "timeout"
    DEADLINE = "deadline"


@dataclass(slots=True, eq=False)
class ThreadTask:
    """One task of the engine. `call` is what to run, opaque here; `slots` the number of threads it occupies."""

    number: int
    spec: TaskSpec
    call: Any
    submitted_at: float
    slots: int
    unmet: int = 0
    """Futures among its arguments that have not ended."""
    stage: Stage = Stage.WAITING
    tries: int = 0
    occupied: bool = False
    """A thread runs its function, perhaps after the task itself has ended by time."""


def slots_of(spec: TaskSpec) -> int:
    """Return how many threads a task occupies: its cores, rounded up, at least one."""
    return max(1, math.ceil(spec.cores))


def may_retry(spec: TaskSpec, tries: int, type_names: Iterable[str]) -> bool:
    """Tell whether a task whose try number `tries` (from 1) raised an exception of these types is tried again."""
    if tries > spec.retries:
        return False
    if not spec.retry_on:
        return True
    return any(name in spec.retry_on or name.rpartition(".")[2] in spec.retry_on for name in type_names)


@dataclass(slots=True)
class TaskQueue:
    """The tasks of one engine that have not ended, and the order in which they run on `threads` threads."""

    threads: int
    free: int = field(init=False)
    unfinished: dict[int, ThreadTask] = field(default_factory=dict)
    _ready: list[tuple[int, int, ThreadTask]] = field(default_factory=list)
    _timers: list[tuple[float, int, int, Timer]] = field(default_factory=list)
    """Due at, task, its number of tries when the timer was set, and what it means."""

    def __post_init__(self) -> None:
        self.free = self.threads

    def add(self, task: ThreadTask) -> None:
        """Take in a task, ready unless something it needs has not ended."""
        self.unfinished[task.number] = task
        if task.spec.deadline:
            heapq.heappush(self._timers, (task.submitted_at + task.spec.deadline, task.number, -1, Timer.DEADLINE))
        if not task.unmet:
            self._make_ready(task)

    def met(self, task: ThreadTask) -> None:
        """Note that one of the futures that a task needs has a value."""
        task.unmet -= 1
        if not task.unmet and task.stage is Stage.WAITING:
            self._make_ready(task)

    def start_next(self, now: float) -> ThreadTask | None:
        """Return the task that begins now on threads that are free, if any."""
        while self._ready:
            task = self._ready[0][2]
            if task.stage is not Stage.READY:  # it was cancelled, or its deadline has passed
                heapq.heappop(self._ready)
                continue
            if task.slots > self.free:
                return None
            heapq.heappop(self._ready)
            self.free -= task.slots
            task.stage = Stage.RUNNING
            task.occupied = True
            task.tries += 1
            if task.spec.timeout:
                due_at = now + task.spec.timeout
                heapq.heappush(self._timers, (due_at, task.number, task.tries, Timer.TIMEOUT))
            return task
        return None

    def has_ready(self) -> bool:
        """Tell whether `start_next` might find a task if threads were free."""
        return bool(self._ready)

    def release(self, task: ThreadTask) -> None:
        """Note that the function of a task has returned or raised: its threads are free."""
        if task.occupied:
            task.occupied = False
            self.free += task.slots

    def retry(self, task: ThreadTask, now: float) -> None:
        """Put a task whose try failed back, after its back-off: `spec.backoff` seconds, doubled with every try."""
        if not task.spec.backoff:
            self._make_ready(task)
            return
        task.stage = Stage.DELAYED
        due_at = now + task.spec.backoff * 2.0 ** (task.tries - 1)
        heapq.heappush(self._timers, (due_at, task.number, task.tries, Timer.RETRY))

    def joined(self, task: ThreadTask) -> None:
        """Note that a task's result is to be that of others."""
        task.stage = Stage.JOINING

    def end(self, task: ThreadTask) -> bool:
        """Take out a task that has ended, however; return whether it was still in."""
        task.stage = Stage.ENDED
        return self.unfinished.pop(task.number, None) is not None

    def next_due(self) -> float | None:
        """Return the instant at which `expire` has something to do; it may turn out to be nothing."""
        return self._timers[0][0] if self._timers else None

    def expire(self, now: float) -> list[tuple[ThreadTask, Timer]]:
        """Make tasks ready whose back-off is over; return those that have passed a limit, which the caller ends."""
        expired: list[tuple[ThreadTask, Timer]] = []
        while self._timers and self._timers[0][0] <= now:
            _, number, tries, timer = heapq.heappop(self._timers)
            task = self.unfinished.get(number)
            if task is None:
                continue
            if timer is Timer.DEADLINE:
                expired.append((task, timer))
            elif tries == task.tries:
                if timer is Timer.RETRY and task.stage is Stage.DELAYED:
                    self._make_ready(task)
                elif timer is Timer.TIMEOUT and task.stage is Stage.RUNNING:
                    expired.append((task, timer))
        return expired

    def explain(self, task: ThreadTask) -> str:
        """Say how far an unfinished task is, and what it waits for."""
        sentence = f"task {task_name(TaskId(task.number))} is {task.stage.value}"
        match task.stage:
            case Stage.WAITING:
                return f"{sentence}: {task.unmet} of the futures in its arguments have not ended"
            case Stage.READY:
                return f"{sentence}: it needs {task.slots}, {self.free} of {self.threads} are free"
            case Stage.RUNNING | Stage.DELAYED:
                return f"{sentence}: try {task.tries} of at most {task.spec.retries + 1}"
            case _:
                return sentence

    def _make_ready(self, task: ThreadTask) -> None:
        task.stage = Stage.READY
        heapq.heappush(self._ready, (-task.spec.priority, task.number, task))


def check_request(spec: TaskSpec, threads: int) -> None:
    """Raise `UnknownPool` or `RequestTooLarge` for what threads of this process can never offer."""
    if spec.pool != "default":
        msg = f"pool={spec.pool!r}: a client on threads has one pool, 'default'"
        raise UnknownPool(msg)
    asked_and_most = (
        ("cores", slots_of(spec), threads),
        ("accelerators", spec.accelerators, 0),
        ("nodes", spec.nodes, 1),
        ("ranks", spec.ranks, 1),
    )
    for name, asked, most in asked_and_most:
        if asked > most:
            msg = f"{name}={asked}: a task of this client on threads can have at most {most}"
            raise RequestTooLarge(msg)


def too_late(task: ThreadTask, timer: Timer) -> Exception:
    """Return the error of a task that has passed a limit of time."""
    name = task_name(TaskId(task.number))
    if timer is Timer.DEADLINE:
        return DeadlineExceeded(f"task {name} had not ended {task.spec.deadline:g} s after it was submitted")
    return TaskTimeout(
        f"task {name} ran longer than its timeout of {task.spec.timeout:g} s; a thread cannot be ended, "
        f"so its function goes on and its result is dropped"
    )
