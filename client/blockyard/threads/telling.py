"""What threads of this process tell the hub: the records that an interchange and its workers would, of the same tasks.

The engine calls `Teller` at a task's steps, under its lock, so each call only notes the fact; a thread of the teller's
own makes records of the facts and hands them to a radio's sender. What the hub has no room for is kept and told again,
and when very much is untold `wait_for_room` holds who submits.
"""

from __future__ import annotations

import os
import platform
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from resource import RUSAGE_THREAD, getrusage, struct_rusage
from typing import Final, NamedTuple

from blockyard.errors import BrokenBlockyard, DeadlineExceeded, DependencyError, TaskTimeout
from blockyard.ids import MAX_SESSION, SessionId
from blockyard.payload import name_of, type_names
from blockyard.radios import RadioSender
from blockyard.this_try import BLOCK_BYTES, Surroundings, Way
from blockyard.threads.queue import ThreadTask
from blockyard.wire import monitoring as said
from blockyard.wire.monitoring import MAX_NAME, AnyRecord, TryState, clipped, micros
from blockyard.wire.records import Lease, TaskSpec

POOL: Final = "default"
_GATHER_SECONDS: Final = 0.02
"""Facts of so long travel together."""
_RETRY_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 1.0
"""A try that runs longer than this is told as running."""
_MOST_UNTOLD: Final = 200_000
_MOST_RECORDS: Final = 2000
"""In one message."""
_MOST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of artefacts, in one message."""
_MOST_BULK_BYTES: Final = 64 * 1024 * 1024
"""Of artefacts that the hub has not taken."""
_END_SECONDS: Final = 20.0


class _Submitted(NamedTuple):
    number: int
    spec: TaskSpec
    function: str
    at_us: int
    needs: Sequence[int]
    parent: int


class _Tried(NamedTuple):
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


class _Running(NamedTuple):
    epoch: int
    queued_us: int
    began_us: int
    worker: int
    thread: int
    before: struct_rusage
    """What the thread had used."""


class Teller(threading.Thread):
    """Of one engine. `run`: the run that its tasks belong to. `clock`: UTC seconds."""

    def __init__(
        self, sender: RadioSender, threads: int, run: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(name="blockyard-telling", daemon=True)
        self.session = SessionId(1 + secrets.randbelow(MAX_SESSION))
        self.run_name = run or f"threads-{self.session:x}"
        self._sender = sender
        self._workers = threads
        self._clock = clock
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._wakeup = threading.Event()
        self._closed = threading.Event()
        self._facts: list[_Submitted | _Tried | AnyRecord] = []
        """Records as they are come from tasks: of managed tasks, what these left, events."""
        self._bulk_bytes = 0
        """Of artefacts, untold."""
        self._running: dict[int, _Running] = {}
        self._queued: dict[int, int] = {}
        """Since when tasks wait for a thread, where that is not their submission."""
        self._seats: dict[int, int] = {}
        """Worker by thread."""
        self._began_us = micros(clock())
        # What follows belongs to the teller's own thread.
        self._firsts: dict[int, tuple[int, int]] = {}
        """Submission of each unfinished task, and when it was."""
        self._untold: list[AnyRecord] = [self._session(0), self._node("joined")]
        self._shown: set[tuple[int, int]] = set()

    # ------------------------------------------------------------------------------------------ called by the engine

    def wait_for_room(self) -> None:
        """Return when not too much is untold."""
        with self._room:
            self._room.wait_for(lambda: len(self._facts) < _MOST_UNTOLD or self._closed.is_set())

    def submitted(self, task: ThreadTask, function: object, needs: Sequence[int], parent: int) -> None:
        """A task was taken in; `parent`: number of the task that left it to be done, 0 for none."""
        self._note(_Submitted(task.number, task.spec, name_of(function), self._now(), needs, parent))

    def queued(self, task: ThreadTask) -> None:
        """All that a task needs is there."""
        with self._lock:
            self._queued[task.number] = self._now()

    def began(self, task: ThreadTask) -> None:
        """A thread, this one, begins a try."""
        thread = threading.get_ident()
        with self._lock:
            worker = self._seats.setdefault(thread, len(self._seats))
            queued_us = self._queued.pop(task.number, 0)
            self._running[task.number] = _Running(
                task.tries, queued_us, self._now(), worker, thread, getrusage(RUSAGE_THREAD)
            )
        self._wakeup.set()

    def tried(self, task: ThreadTask, error: BaseException | None) -> None:
        """A try ended and its task did not: it is tried again, or (no error) has left calls to be done."""
        self._end(task, TryState.JOIN if error is None else state_of(error), error, is_last=False)

    def ended(self, task: ThreadTask, error: BaseException | None) -> None:
        """A task ended; no error: with a value. CancelledError: it was cancelled."""
        self._end(task, state_of(error), error, is_last=True)

    def _end(self, task: ThreadTask, state: TryState, error: BaseException | None, *, is_last: bool) -> None:
        with self._lock:
            running = self._running.pop(task.number, None)
            self._queued.pop(task.number, None)
            if not is_last and error is not None:
                self._queued[task.number] = self._now()
        kind = type_names(type(error))[0] if error is not None else ""
        message = clipped(_text(error)) if error is not None else ""
        if running is None:
            fact = _Tried(task.number, 0, state, is_last, 0, 0, self._now(), 0, (), clipped(kind, MAX_NAME), message)
        else:
            is_here = running.thread == threading.get_ident()
            used = _used(running.before) if is_here else ()
            fact = _Tried(
                task.number, running.epoch, state, is_last, running.began_us, running.queued_us, self._now(),
                running.worker, used, clipped(kind, MAX_NAME), message,
            )  # fmt: skip
        self._note(fact)

    def surroundings(self, task: ThreadTask) -> Surroundings:
        """What a managed task below a try finds around it."""
        return _Seat(self, Lease(task.number, task.tries))

    def say(self, at_us: int, name: str, text: str) -> bool:
        """See `saying.Speaker`."""
        return self.told([said.Event(at_us, name, self._run(), text)])

    def told(self, records: Sequence[AnyRecord]) -> bool:
        """Take in records of a task's own; False when there is no room for more that is large."""
        size = sum(map(_bulk, records))
        with self._lock:
            if self._closed.is_set() or (size and self._bulk_bytes + size > _MOST_BULK_BYTES):
                return False
            self._bulk_bytes += size
            self._facts += records
        self._wakeup.set()
        return True

    def _note(self, fact: _Submitted | _Tried) -> None:
        with self._lock:
            self._facts.append(fact)
        if not self._wakeup.is_set():
            self._wakeup.set()

    def _now(self) -> int:
        return micros(self._clock())

    # ------------------------------------------------------------------------------------------------ its own thread

    def run(self) -> None:
        """Tell, until `close`."""
        while not self._closed.is_set():
            self._wakeup.wait(_LOOK_SECONDS if self._running else None)
            self._wakeup.clear()
            self._closed.wait(_GATHER_SECONDS)
            self._tell()
            if self._untold:
                self._closed.wait(_RETRY_SECONDS)
                self._wakeup.set()

    def close(self) -> bool:
        """Tell the rest and end, once; False when the hub did not take all of it in time."""
        if self._closed.is_set():
            return not self._untold
        self._closed.set()
        self._wakeup.set()
        with self._room:
            self._room.notify_all()
        self.join()
        patience = time.monotonic() + _END_SECONDS
        self._tell()
        self._untold += [self._node("gone"), self._session(self._now())]
        self._tell()
        while self._untold and time.monotonic() < patience:
            time.sleep(_RETRY_SECONDS)
            self._tell()
        self._sender.close()
        return not self._untold

    def _tell(self) -> None:
        if len(self._untold) < _MOST_UNTOLD:
            with self._room:
                facts, self._facts = self._facts, []
                running = dict(self._running)
                self._room.notify_all()
            self._untold += [*self._records(facts), *self._still_running(running)]
        while self._untold:
            count = _fitting(self._untold)
            if not self._sender.send(self._untold[:count], at=self._clock()):
                return
            with self._lock:
                self._bulk_bytes -= sum(map(_bulk, self._untold[:count]))
            del self._untold[:count]

    def _records(self, facts: Sequence[_Submitted | _Tried | AnyRecord]) -> list[AnyRecord]:
        records: list[AnyRecord] = []
        group: list[_Submitted] = []
        for fact in facts:
            if not isinstance(fact, _Submitted):
                continue
            if group and not _belongs(group, fact):
                records += self._tasks(group)
                group = []
            group.append(fact)
        records += self._tasks(group)
        for fact in facts:
            if isinstance(fact, _Tried):
                records += self._try(fact)
            elif not isinstance(fact, _Submitted):
                records.append(fact)
        return records

    def _tasks(self, group: Sequence[_Submitted]) -> list[AnyRecord]:
        if not group:
            return []
        one = group[0]
        spec, first = one.spec, one.number
        for fact in group:
            self._firsts[fact.number] = (first, fact.at_us)
        tags = [clipped(tag, MAX_NAME) for tag in spec.tags[:64]]
        made: list[AnyRecord] = [
            said.Tasks(
                first, len(group), self.session, self._run(), POOL, clipped(one.function, MAX_NAME), b"", one.at_us,
                clipped(spec.name, MAX_NAME), tags, spec.priority, spec.retries, micros(spec.timeout),
                one.parent,
            )
        ]  # fmt: skip
        made += [said.Needs(fact.number, [list(fact.needs)]) for fact in group if fact.needs]
        return made

    def _try(self, fact: _Tried) -> list[AnyRecord]:
        task = fact.number
        first, submitted_us = self._firsts.pop(fact.number) if fact.is_last else self._firsts[fact.number]
        one = said.Try(
            task, fact.epoch, fact.state, fact.is_last, fact.queued_us or submitted_us, fact.began_us,
            max(0, fact.at_us - fact.began_us) if fact.epoch else 0, fact.kind, fact.message,
        )  # fmt: skip
        name = self._manager() if fact.epoch else ""
        made: list[AnyRecord] = [said.Tries(first, POOL, name, "", _host(), fact.at_us, [one])]
        if fact.epoch:
            use = said.Use(task, fact.epoch, fact.began_us, fact.at_us, *fact.used)
            made.append(said.WorkerTasks(POOL, name, "", _host(), fact.worker, os.getpid(), "", [use]))
            self._shown.discard((task, fact.epoch))
        return made

    def _still_running(self, running: dict[int, _Running]) -> list[AnyRecord]:
        """Tries that have run for long, once each."""
        now = self._now()
        made: list[AnyRecord] = []
        for task, one in running.items():
            if now - one.began_us < _LOOK_SECONDS * 1e6 or (task, one.epoch) in self._shown:
                continue
            if task not in self._firsts:
                continue  # its submission is told next time, and this with it
            self._shown.add((task, one.epoch))
            first, submitted_us = self._firsts[task]
            since = one.queued_us or submitted_us
            told = said.Try(task, one.epoch, TryState.RUNNING, False, since, one.began_us)  # noqa: FBT003 - a record
            made.append(said.Tries(first, POOL, self._manager(), "", _host(), now, [told]))
        return made

    def _run(self) -> str:
        return clipped(self.run_name, MAX_NAME)

    def _manager(self) -> str:
        return f"threads-{self.session:x}"

    def _session(self, ended_us: int) -> AnyRecord:
        began = 0 if ended_us else self._began_us
        return said.Run(self.session, self._run(), "", _host(), platform.python_version(), began, ended_us)

    def _node(self, state: str) -> AnyRecord:
        return said.Node(
            self._manager(), POOL, "", _host(), self._now(), state, "", platform.python_version(), self._workers,
            float(len(os.sched_getaffinity(0))), pid=os.getpid(),
        )  # fmt: skip


class _Seat:
    """A try in its thread, see `this_try.Surroundings`."""

    def __init__(self, teller: Teller, lease: Lease) -> None:
        self._teller = teller
        self._lease = lease

    def lease(self) -> Lease:
        """See there."""
        return self._lease

    def part(self) -> None:
        """See there: no task spans several of these."""

    def tell(self, *records: AnyRecord, way: Way = Way.KEPT) -> bool:
        """See there; False also when too much that is large waits for the hub."""
        return self._teller.told(records)


def _used(before: struct_rusage) -> Sequence[int]:
    """By this thread since then; memory is the process's, so no peak is a try's own."""
    now = getrusage(RUSAGE_THREAD)
    return (
        micros(now.ru_utime - before.ru_utime), micros(now.ru_stime - before.ru_stime), 0,
        (now.ru_inblock - before.ru_inblock) * BLOCK_BYTES, (now.ru_oublock - before.ru_oublock) * BLOCK_BYTES,
        now.ru_nvcsw - before.ru_nvcsw, now.ru_nivcsw - before.ru_nivcsw,
        now.ru_majflt - before.ru_majflt + now.ru_minflt - before.ru_minflt,
    )  # fmt: skip


def _fitting(records: Sequence[AnyRecord]) -> int:
    """How many of the first go into one message."""
    size = 0
    for count, record in enumerate(records[:_MOST_RECORDS]):
        size += _bulk(record)
        if size > _MOST_MESSAGE_BYTES and count:
            return count
    return min(len(records), _MOST_RECORDS)


def _bulk(record: AnyRecord) -> int:
    """Bytes of what is large."""
    return len(record.data) if isinstance(record, said.ArtefactPart) else 0


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


def _belongs(group: Sequence[_Submitted], fact: _Submitted) -> bool:
    last = group[-1]
    return (
        fact.number == last.number + 1
        and fact.function == last.function
        and fact.parent == last.parent
        and fact.spec == last.spec
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as bad:  # noqa: BLE001 - what a user's exception says is the user's code
        return f"(its text raised {type(bad).__qualname__})"


def _host() -> str:
    return clipped(socket.gethostname(), MAX_NAME)
