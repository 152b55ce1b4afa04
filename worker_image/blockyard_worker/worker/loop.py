"""A worker's loop: read frames, take tokens, run tries in order, report outcomes in batches."""

import functools
import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from blockyard import pace, this_try
from blockyard.this_try import Way
from blockyard.wire import codec
from blockyard.wire.records import Assigned, Lease, Outcome, Part, Status
from blockyard_worker import pipe
from blockyard_worker.page import Page
from blockyard_worker.pipe import FrameBuffer, to_worker
from blockyard_worker.records import Exit, Load, Note, Obeyed, Place, Results, Run, RunGroup
from blockyard_worker.tokens import Tokens
from blockyard_worker.worker.attempt import Attempts
from blockyard_worker.worker.capture import Capture
from blockyard_worker.worker.functions import Functions
from blockyard_worker.worker.interrupts import Gate

if TYPE_CHECKING:
    from blockyard.wire.monitoring import FromWorker
    from blockyard_worker.worker.usage import Usage

_monotonic = time.monotonic


_CROWD, _MANY, _LASTING = 3, 10, 2
"""So many outcomes that waited for each other are a crowd; then the next ones wait, until there are many, so many times
as long at most."""
MOST_USES = 4096
"""That are told at once; a record for the hub takes twice as many."""


class Worker:
    """Everything one worker has."""

    def __init__(
        self, manager: socket.socket, tokens: Tokens, page: Page, capture: Capture, gate: Gate, flush_period: float
    ) -> None:
        self._manager = manager
        self._tokens = tokens
        self._page = page
        self._capture = capture
        self._flush_period = flush_period
        self._pace = pace.Pace(pace.Limits(flush_period, _LASTING * flush_period, _CROWD))
        self._functions = Functions()
        self._gate = gate
        self._attempts = Attempts(gate)
        self._obeyed = 0
        """Number of the last order that was carried out."""
        self._writing = threading.Lock()
        """Held while a frame is sent: threads of a task may tell something."""
        self._outcomes: list[Outcome] = []
        self._oldest = 0.0
        self.usage: Usage | None = None
        """Measures what tries use, when somebody wants to know."""
        self._part: Part | None = None
        self._unsuccessful: set[int] = set()
        """Tasks of the frame that is run."""
        self.is_forked = False
        """Set in a process that a task forked: when its function returns there, it must not go on as a worker."""

    def serve(self) -> None:
        """Work until told to exit, or until the manager is gone."""
        buffer = FrameBuffer()
        while True:
            for frame in buffer.frames():
                record = to_worker.decode(frame)
                match record:
                    case Run():
                        self._run(record)
                    case Load():
                        self._functions.update(record.functions, record.dropped)
                    case Place():
                        self._attempts.place(record.blobs, record.blob_threshold)
                    case Exit():
                        self.flush()
                        return
            if self._outcomes:
                try:
                    if not buffer.read_from(self._manager, socket.MSG_DONTWAIT):
                        return
                    continue
                except BlockingIOError:
                    self.flush()
            if not buffer.read_from(self._manager):
                return

    def flush(self, idle: int = 0) -> None:
        """Report what has not been reported."""
        if self._outcomes or idle:
            uses = b""
            if self.usage is not None and self.usage.count:
                uses = codec.encode(self.usage.taken())
            self._pace.went(len(self._outcomes))
            frame = pipe.frame(Results(self._outcomes, idle, uses))
            self._outcomes = []
            with self._writing:
                self._manager.sendall(frame)

    def lease(self) -> Lease:
        """The try that runs."""
        now = self._page.read()
        return Lease(now.task, now.epoch) if now is not None else Lease(0, 0)

    def part(self) -> Part | None:
        """Of the try that runs."""
        return self._part

    def obey(self) -> None:
        """Carry out what the manager ordered, once, however often it signals."""
        order = self._page.order()
        if order is None or order.number == self._obeyed or self.is_forked:
            return
        self._obeyed = order.number
        count = this_try.hold(held=order.held)
        with self._writing:
            self._manager.sendall(pipe.frame(Obeyed(order.number, count)))

    def tell(self, *records: "FromWorker", way: Way = Way.KEPT) -> bool:
        """See `this_try`. Nobody is told in a worker that does not measure: it has no radio."""
        if self.usage is None or self.is_forked:
            return False
        frame = pipe.frame(Note([codec.encode(record) for record in records], way))
        gate = self._gate
        # A signal must not end the task within a frame; other threads are not reached by signals.
        is_open = gate.is_open and threading.current_thread() is threading.main_thread()
        if is_open:
            gate.is_open = False
        try:
            with self._writing:
                self._manager.sendall(frame)
        finally:
            if is_open:
                gate.is_open = True
        return True

    def _run(self, run: Run) -> None:
        before = dict(os.environ) if run.environment else {}
        os.environ.update(run.environment)
        self._part = run.groups[0].tries[0].part if run.environment else None  # a try that has one comes alone
        given = itertools.chain.from_iterable(group.tries for group in run.groups if group.spec.uses)
        needed = [need.task for a in given if a.needs for need in a.needs if need.body is None]
        self._attempts.needs = dict.fromkeys(needed)
        self._unsuccessful.clear()
        complete = all(self._run_group(group) for group in run.groups)
        self._attempts.needs = {}
        if run.environment:
            os.environ.clear()
            os.environ.update(before)
        if not complete:
            self.flush(idle=run.number)

    def _run_group(self, group: RunGroup) -> bool:
        """Run the tries of a group; False when one's token was missing: it and all after it were taken back."""
        function: Callable[..., Any] | None = None
        needs, attempts, page, take_token = self._attempts.needs, self._attempts, self._page, self._tokens.take_one
        attempts.spec, unsuccessful, done = group.spec, self._unsuccessful, Status.DONE
        now = _monotonic()
        usage = self.usage
        is_much = False
        if usage is not None:
            usage.begin()
        for assigned in group.tries:
            if not take_token():
                return False
            page.begin(assigned.task, assigned.epoch, now)
            if unsuccessful and assigned.needs and _is_behind(assigned, unsuccessful):
                outcome = Outcome(assigned.task, assigned.epoch, Status.DEPENDENCY)
            else:
                if function is None:  # only now: while it is imported, the page must name the try that waits for it
                    function = self._load(group.spec.function)
                outcome = attempts.run(function, assigned, now)
            if self.is_forked:
                end_of_fork()
            page.end()
            self._capture.end_of(assigned.task, assigned.epoch, outcome.seconds)
            if outcome.status is not done:
                unsuccessful.add(assigned.task)
            elif needs and assigned.task in needs:
                needs[assigned.task] = outcome.body
            if not self._outcomes:
                self._oldest = now
            self._outcomes.append(outcome)
            if usage is not None:
                usage.end(assigned.task, assigned.epoch, now, outcome.seconds)
                is_much = usage.count >= MOST_USES
            now += outcome.seconds
            waited = now - self._oldest
            is_due = waited > self._flush_period and (waited > self._pace.seconds or len(self._outcomes) >= _MANY)
            if not group.batch or is_due or is_much:
                self.flush()
                now = _monotonic()
        return True

    def _load(self, name: bytes) -> Callable[..., Any]:
        """A function, or if it does not unpickle, one that raises what was raised then."""
        try:
            return self._functions.load(name)
        except BaseException as error:  # noqa: BLE001 - the rim: unpickling runs user code
            return functools.partial(_fail, error, error.__traceback__)

    def after_fork(self) -> None:
        """In a process that a task forked: let go of what belongs to the worker, keep what the task may need."""
        self.is_forked = True
        this_try.leave()
        self._outcomes, self.usage = [], None
        self._manager.close()
        self._tokens.close()


def _is_behind(assigned: Assigned, unsuccessful: set[int]) -> bool:
    """Whether a try needs any of these of its frame."""
    return any(need.body is None and need.task in unsuccessful for need in assigned.needs)


def _fail(error: BaseException, trace: TracebackType | None, *_args: object, **_kwargs: object) -> NoReturn:
    raise error.with_traceback(trace)


def end_of_fork() -> None:
    """A process that a task forked came back from the task's function: there is nothing for it to do here."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)
