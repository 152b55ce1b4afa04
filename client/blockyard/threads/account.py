"""What a teller makes of the facts of tasks: the records that an interchange and its workers would, of the same tasks.

Of the teller's own thread alone, and without a clock.
"""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from resource import struct_rusage
from typing import Final, NamedTuple

from blockyard.errors import BrokenBlockyard, DeadlineExceeded, DependencyError, TaskTimeout
from blockyard.ids import SessionId
from blockyard.wire import monitoring as said
from blockyard.wire.monitoring import MAX_NAME, AnyRecord, TryState, clipped, micros
from blockyard.wire.records import TaskSpec

POOL: Final = "default"
LOOK_SECONDS: Final = 1.0
"""A try that runs longer than this is told as running."""


class Submitted(NamedTuple):
    """A task was taken in. `needs`, `parent`: numbers of tasks, 0 for no parent."""

    number: int
    spec: TaskSpec
    function: str
    at_us: int
    needs: Sequence[int]
    parent: int


class Tried(NamedTuple):
    """A try ended, or a task without one."""

    number: int
    epoch: int
    """0: its task ended without this being a try."""
    state: TryState
    is_last: bool
    began_us: int
    queued_us: int
    """0: since its submission."""
    at_us: int
    worker: int
    used: Sequence[int]
    """The fields of `Use` after its times, as far as they are known."""
    kind: str
    message: str


class Running(NamedTuple):
    """A try that goes on."""

    epoch: int
    queued_us: int
    began_us: int
    worker: int
    thread: int
    before: struct_rusage
    """What the thread had used."""


Fact = Submitted | Tried | AnyRecord
"""Records as they are come from tasks: of managed tasks, what these left, events."""


class Account:
    """Of one engine of `threads` threads, whose tasks are of one run. Times are UTC microseconds."""

    def __init__(self, session: SessionId, run: str, threads: int) -> None:
        self.run = clipped(run, MAX_NAME)
        self._session = session
        self._threads = threads
        self._manager = f"threads-{session:x}"
        self._firsts: dict[int, tuple[int, int]] = {}
        """Submission of each unfinished task, and when it was."""
        self._shown: set[tuple[int, int]] = set()

    def opened(self, now: int) -> list[AnyRecord]:
        """That it begins."""
        return [self._of_session(now, 0), self._node(now, "joined")]

    def closed(self, now: int) -> list[AnyRecord]:
        """That it ends."""
        return [self._node(now, "gone"), self._of_session(0, now)]

    def records(self, facts: Sequence[Fact]) -> list[AnyRecord]:
        """Of facts in the order in which they came: submissions first, those alike together."""
        records: list[AnyRecord] = []
        group: list[Submitted] = []
        for fact in facts:
            if not isinstance(fact, Submitted):
                continue
            if group and not _belongs(group, fact):
                records += self._tasks(group)
                group = []
            group.append(fact)
        records += self._tasks(group)
        for fact in facts:
            if isinstance(fact, Tried):
                records += self._try(fact)
            elif not isinstance(fact, Submitted):
                records.append(fact)
        return records

    def _tasks(self, group: Sequence[Submitted]) -> list[AnyRecord]:
        if not group:
            return []
        one = group[0]
        spec, first = one.spec, one.number
        for fact in group:
            self._firsts[fact.number] = (first, fact.at_us)
        tags = [clipped(tag, MAX_NAME) for tag in spec.tags[:64]]
        made: list[AnyRecord] = [
            said.Tasks(
                first, len(group), self._session, self.run, POOL, clipped(one.function, MAX_NAME), b"", one.at_us,
                clipped(spec.name, MAX_NAME), tags, spec.priority, spec.retries, micros(spec.timeout),
                one.parent,
            )
        ]  # fmt: skip
        made += [said.Needs(fact.number, [list(fact.needs)]) for fact in group if fact.needs]
        return made

    def _try(self, fact: Tried) -> list[AnyRecord]:
        task = fact.number
        first, submitted_us = self._firsts.pop(fact.number) if fact.is_last else self._firsts[fact.number]
        one = said.Try(
            task, fact.epoch, fact.state, fact.is_last, fact.queued_us or submitted_us, fact.began_us,
            max(0, fact.at_us - fact.began_us) if fact.epoch else 0, fact.kind, fact.message,
        )  # fmt: skip
        name = self._manager if fact.epoch else ""
        made: list[AnyRecord] = [said.Tries(first, POOL, name, "", _host(), fact.at_us, [one])]
        if fact.epoch:
            use = said.Use(task, fact.epoch, fact.began_us, fact.at_us, *fact.used)
            made.append(said.WorkerTasks(POOL, name, "", _host(), fact.worker, os.getpid(), "", [use]))
            self._shown.discard((task, fact.epoch))
        return made

    def still_running(self, running: Mapping[int, Running], now: int) -> list[AnyRecord]:
        """Tries that have run for long, once each."""
        made: list[AnyRecord] = []
        for task, one in running.items():
            if now - one.began_us < LOOK_SECONDS * 1e6 or (task, one.epoch) in self._shown:
                continue
            if task not in self._firsts:
                continue  # its submission is told next time, and this with it
            self._shown.add((task, one.epoch))
            first, submitted_us = self._firsts[task]
            since = one.queued_us or submitted_us
            told = said.Try(task, one.epoch, TryState.RUNNING, False, since, one.began_us)  # noqa: FBT003 - a record
            made.append(said.Tries(first, POOL, self._manager, "", _host(), now, [told]))
        return made

    def _of_session(self, began_us: int, ended_us: int) -> AnyRecord:
        return said.Run(self._session, self.run, "", _host(), platform.python_version(), began_us, ended_us)

    def _node(self, at_us: int, state: str) -> AnyRecord:
        return said.Node(
            self._manager, POOL, "", _host(), at_us, state, "", platform.python_version(), self._threads,
            float(len(os.sched_getaffinity(0))), pid=os.getpid(),
        )  # fmt: skip


def state_of(error: BaseException | None) -> TryState:
    """How a task that ended with this error stands; None: with a value."""
    match error:
        case None:
            return TryState.DONE
        case CancelledError():
            return TryState.CANCELLED
        case TaskTimeout():
            return TryState.TIMEOUT
        case DeadlineExceeded():
            return TryState.DEADLINE
        case DependencyError():
            return TryState.DEPENDENCY
        case BrokenBlockyard():
            return TryState.REFUSED
        case _:
            return TryState.RAISED


def _belongs(group: Sequence[Submitted], fact: Submitted) -> bool:
    last = group[-1]
    return (
        fact.number == last.number + 1
        and fact.function == last.function
        and fact.parent == last.parent
        and fact.spec == last.spec
    )


def _host() -> str:
    return clipped(socket.gethostname(), MAX_NAME)
