"""What threads of this process tell the hub: the records that an interchange and its workers would, of the same tasks.

The engine calls `Teller` at a task's steps, under its lock, so each call only notes the fact; a thread of the teller's
own makes records of the facts and hands them to a radio's sender. What the hub has no room for is kept and told again,
and when very much is untold `wait_for_room` holds who submits.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from resource import RUSAGE_THREAD, getrusage, struct_rusage
from typing import Final

from blockyard import session_number
from blockyard.payload import name_of, type_names
from blockyard.radios import RadioSender
from blockyard.this_try import BLOCK_BYTES, Surroundings, Way
from blockyard.threads.account import LOOK_SECONDS, Account, Fact, Running, Submitted, Tried, state_of
from blockyard.threads.queue import ThreadTask
from blockyard.wire import monitoring as said
from blockyard.wire.monitoring import MAX_NAME, AnyRecord, TryState, clipped, micros
from blockyard.wire.records import Lease

_GATHER_SECONDS: Final = 0.02
"""Facts of so long travel together."""
_RETRY_SECONDS: Final = 0.1
_MOST_UNTOLD: Final = 200_000
_MOST_RECORDS: Final = 2000
"""In one message."""
_MOST_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Of artefacts, in one message."""
_MOST_BULK_BYTES: Final = 64 * 1024 * 1024
"""Of artefacts that the hub has not taken."""
_END_SECONDS: Final = 20.0


class Teller(threading.Thread):
    """Of one engine. `run`: the run that its tasks belong to. `clock`: UTC seconds."""

    def __init__(
        self, sender: RadioSender, threads: int, run: str = "", clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(name="blockyard-telling", daemon=True)
        self.session = session_number.draw()
        self.run_name = run or f"threads-{self.session:x}"
        self._sender = sender
        self._clock = clock
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._wakeup = threading.Event()
        self._closed = threading.Event()
        self._facts: list[Fact] = []
        self._bulk_bytes = 0
        """Of artefacts, untold."""
        self._running: dict[int, Running] = {}
        self._queued: dict[int, int] = {}
        """Since when tasks wait for a thread, where that is not their submission."""
        self._seats: dict[int, int] = {}
        """Worker by thread."""
        # What follows belongs to the teller's own thread.
        self._account = Account(self.session, self.run_name, threads)
        self._untold = self._account.opened(micros(clock()))

    # ------------------------------------------------------------------------------------------ called by the engine

    def wait_for_room(self) -> None:
        """Return when not too much is untold."""
        with self._room:
            self._room.wait_for(lambda: len(self._facts) < _MOST_UNTOLD or self._closed.is_set())

    def submitted(self, task: ThreadTask, function: object, needs: Sequence[int], parent: int) -> None:
        """A task was taken in; `parent`: number of the task that left it to be done, 0 for none."""
        self._note(Submitted(task.number, task.spec, name_of(function), self._now(), needs, parent))

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
            self._running[task.number] = Running(
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
            fact = Tried(task.number, 0, state, is_last, 0, 0, self._now(), 0, (), clipped(kind, MAX_NAME), message)
        else:
            is_here = running.thread == threading.get_ident()
            used = _used(running.before) if is_here else ()
            fact = Tried(
                task.number, running.epoch, state, is_last, running.began_us, running.queued_us, self._now(),
                running.worker, used, clipped(kind, MAX_NAME), message,
            )  # fmt: skip
        self._note(fact)

    def surroundings(self, task: ThreadTask) -> Surroundings:
        """What a managed task below a try finds around it."""
        return _Seat(self, Lease(task.number, task.tries))

    def say(self, at_us: int, name: str, text: str) -> bool:
        """See `saying.Speaker`."""
        return self.told([said.Event(at_us, name, self._account.run, text)])

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

    def _note(self, fact: Submitted | Tried) -> None:
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
            self._wakeup.wait(LOOK_SECONDS if self._running else None)
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
        self._untold += self._account.closed(self._now())
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
            self._untold += self._account.records(facts)
            self._untold += self._account.still_running(running, self._now())
        while self._untold:
            count = _fitting(self._untold)
            if not self._sender.send(self._untold[:count], at=self._clock()):
                return
            with self._lock:
                self._bulk_bytes -= sum(map(_bulk, self._untold[:count]))
            del self._untold[:count]


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


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as bad:  # noqa: BLE001 - what a user's exception says is the user's code
        return f"(its text raised {type(bad).__qualname__})"
