"""The engine behind a client of an interchange: one session with it, from its welcome to the goodbye.

Threads of the user submit (`intake`) and ask; the link's thread runs `_on_answers` and completes futures in batches.
Between them are the link's mailbox and one lock, that of `Room`.
"""

import os
import platform
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, TypeVar

import msgspec

from blockyard import errors, lifetime, session_number
from blockyard.ending import Ending
from blockyard.futures import FutureHome, TaskFuture
from blockyard.ids import TaskId
from blockyard.intake import Intake
from blockyard.packing import Packer
from blockyard.session import Link, LinkSettings, SessionCore
from blockyard.session.core import Answers
from blockyard.session.endings import refusal_error
from blockyard.session.questions import Questions
from blockyard.session.silence import SILENT
from blockyard.task_questions import TaskQuestions
from blockyard.unfinished import Unfinished
from blockyard.wire import client as wire
from blockyard.wire import control
from blockyard.wire.records import PROTOCOL_VERSION

A = TypeVar("A", bound=control.Answer)

PYTHON: Final = ".".join(platform.python_version_tuple()[:2])
_LINGER: Final = 2.0
"""Seconds that the goodbye may take."""
_LOOK_SECONDS: Final = 0.5
"""How often it is looked, at the interpreter's exit, whether the interchange still answers."""
_MOST_SAYING: Final = 1_000
_INTERRUPTED: Final = (
    "this client was interrupted; what was unfinished of run {!r} is kept: a new client of it has that by reattach()"
)
_TO_TAKE_BACK: Final = ", which has its tasks and results now; connect with take_over=True if that one is gone"
_OWN_THREAD: Final = (
    "a future's callback runs in the thread that receives results, and would wait for ever for what that brings: give "
    "what needs another task's result its future as an argument, or wait in a thread of your own"
)
_encode = msgspec.msgpack.Encoder().encode


class RemoteSettings(msgspec.Struct, frozen=True):
    """How to take part in a run."""

    link: LinkSettings
    run: str = ""
    take_over: bool = False
    keep: bool = False
    name: str = ""
    on_full: str = "wait"
    """'wait', or 'raise' `QueueFull`, when a limit of unfinished tasks is reached."""
    patience: float = 10.0
    """Seconds until an interchange that does not answer is an error, at the start; and at the interpreter's exit."""
    finish: bool = True
    """At the interpreter's exit, wait for what was submitted; False when it goes on without this process."""

    def __post_init__(self) -> None:
        if self.on_full not in ("wait", "raise"):
            raise errors.ConfigError(f"on_full={self.on_full!r}: expected 'wait' or 'raise'")
        patience: object = self.patience
        if not isinstance(patience, int | float) or not patience > 0:
            raise errors.ConfigError(f"timeout={patience!r}: give seconds above 0")


class RemoteEngine:
    """A session with an interchange."""

    def __init__(self, settings: RemoteSettings) -> None:
        self._settings = settings
        self.session = session_number.draw()
        # The link keeps the engine alive until it is shut down, and so all futures that somebody may wait for. What may
        # be collected before is the client in front of it, which shuts it down then.
        about = TaskQuestions(self.ask, keep=settings.keep)
        self.home = FutureHome(
            on_cancel=self._on_cancel,
            on_collect=self._on_collect if settings.keep else _nothing,
            on_wait=self._on_wait,
            explain=about.explain,
            output=about.output,
            hold=about.hold,
        )
        self._packer = Packer(PYTHON)
        self._unfinished = Unfinished(
            self.session, threading.Lock(), self.home, keep=settings.keep, on_full=settings.on_full
        )
        self.room = self._unfinished.room
        self._welcome: wire.Welcome | None = None
        self._arrived = threading.Event()
        self._saying = 0
        self._closed = False
        self._left = False
        self._stays = False
        self.before_leaving: Callable[[], None] = _just_leave
        """Called when all tasks that a shutdown awaits have ended: what it tells still arrives."""
        self._releases = False
        self._disowned = False
        self._broken: Exception | None = None
        hello = wire.Hello(
            PROTOCOL_VERSION, self.session, secrets.token_bytes(16), settings.run, PYTHON, b"", settings.take_over,
            settings.keep, settings.name or f"{platform.node()}:{os.getpid()}",
        )  # fmt: skip
        self._link = Link(settings.link, SessionCore(hello), self._on_answers, self._on_broken)
        self._questions = Questions(self._link.order)
        intake = Intake(self._packer, self.home, self._unfinished, self._link, self._check_open)
        self.submit = intake.submit  # no method that passes it on: this is done for each task
        self.submit_items = intake.submit_items
        self.submit_calls = intake.submit_calls
        self.put = intake.put
        self.refuse = intake.refuse
        self._link.start()
        lifetime.register(self)

    def connect(self, patience: float | None = None) -> wire.Welcome:
        """Wait for the interchange's welcome, for `patience` seconds (None: the settings' own).

        Raises BrokenBlockyard when it refuses, or does not answer in time; and what `fail` was given meanwhile.
        """
        patience = self._settings.patience if patience is None else patience
        if not self._arrived.wait(patience):
            endpoint = self._settings.link.endpoint
            self._broken = errors.BrokenBlockyard(
                f"no answer from the interchange at {endpoint} within {patience:g} s; is it running, "
                "and is this client's key allowed there? See 'blockyard status' and 'blockyard keys'"
            )
            self._link.stop(linger=0)
        if self._broken is not None:
            raise errors.anew(self._broken)
        assert self._welcome is not None
        return self._welcome

    @property
    def run_name(self) -> str:
        """The run that this client takes part in, as the interchange calls it; its own when none was named."""
        return self._welcome.run if self._welcome is not None else self._settings.run

    def _check_open(self) -> None:
        if self._broken is not None:
            raise errors.anew(self._broken)
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def check_process(self) -> None:
        """Raise BrokenBlockyard in a fork of the process that this belongs to."""
        if self._disowned:
            self._check_answers()

    def _check_answers(self) -> None:
        """Raise BrokenBlockyard when no question is answered any more."""
        if self._broken is not None:
            raise errors.anew(self._broken)
        if self._left:
            raise errors.BrokenBlockyard(
                "this client was shut down, so the interchange cannot be asked through it: open a new one"
            )

    def _check_thread(self) -> None:
        if self._link.is_own_thread:
            raise RuntimeError(_OWN_THREAD)

    # ------------------------------------------------------------------ answers, in the link's thread

    def _on_answers(self, answers: Answers) -> list[int]:
        """Complete futures and questions; returns the tasks whose results need not be kept any more."""
        collected: list[int] = []
        if answers.welcome is not None:
            self._on_welcome(answers.welcome)
        for attached in answers.attached:  # before their outcomes, which may have come along
            self._on_attached(attached)
        if answers.outcomes:
            batch, collected = self._unfinished.ended(answers.outcomes, self._packer.blobs)
            self.home.complete(batch)
        if answers.started:
            self.home.started(self._unfinished.started(answers.started))
        for tasks, refused in answers.refused:
            self.home.complete(self._unfinished.refused(tasks, refusal_error(refused)))
        for reply in answers.replies:
            self._questions.on_reply(reply)
        for refused in answers.refused_questions:
            self._questions.fail(refused.number, refusal_error(refused))
        if answers.credit is not None:
            self.room.change(answers.credit)
        if answers.taken_over:
            self._on_broken(errors.RunTakenOver(answers.taken_over + _TO_TAKE_BACK))
        if self.room.waiting:
            self.room.look_again()
        if self._closed:
            self._leave_when_done()
        return collected

    def _on_welcome(self, welcome: wire.Welcome) -> None:
        self.room.change(wire.Credit(welcome.max_tasks, welcome.max_bytes, welcome.max_disk))
        self._packer.place(welcome.blobs, welcome.blob_threshold)
        self._welcome = welcome
        self._arrived.set()

    def _on_cancel(self, future: TaskFuture[Any]) -> None:
        task = future.task
        self._unfinished.cancelled(task)
        if self._broken is None:
            self._link.order(lambda core: [core.cancel([task])])

    def _on_collect(self, future: TaskFuture[Any]) -> None:
        task = future.task
        self._unfinished.looked_at(task)
        self._link.order(lambda core: core.collect([task]))

    def _on_wait(self, _: TaskFuture[Any], timeout: float | None) -> None:
        if self._disowned:
            self._check_answers()
        if timeout is None:
            self._check_thread()

    def _on_broken(self, cause: Exception) -> None:
        """The link is of no use any more: every future says why."""
        self._broken = cause if isinstance(cause, errors.BlockyardError) else errors.BrokenBlockyard(str(cause))
        futures = self._unfinished.give_up()
        self.home.complete([(future, Ending.EXCEPTION, errors.anew(self._broken)) for future in futures])
        self._questions.fail_all(self._broken)
        self._arrived.set()

    # ------------------------------------------------------------------ questions

    def ask(self, question: control.Question, expected: type[A], timeout: float | None = None) -> A:
        """Ask the interchange, for `timeout` seconds (None: as patient as the settings are).

        Raises BlockyardError when it does not know what was asked about, TimeoutError when it does not answer.
        """
        timeout = self._settings.patience if timeout is None else timeout
        self._check_answers()
        self._check_thread()
        try:
            return self._questions.ask(question, expected, timeout)
        except TimeoutError:
            raise TimeoutError(SILENT.format(timeout)) from None

    def begin(self, question: control.Question) -> "Future[control.Answer]":
        """Ask without waiting. Raises BrokenBlockyard when there is no connection any more."""
        self._check_answers()
        return self._questions.begin(question)

    def say(self, at_us: int, name: str, text: str) -> bool:
        """See `saying.Speaker`. No more than 1,000 may be unanswered."""
        with self.room.lock:
            may = self._welcome is not None and self._welcome.monitoring and self._saying < _MOST_SAYING
            if not may or self._closed or self._broken is not None:
                return False
            self._saying += 1
        self._questions.begin(control.Say(at_us, name, text)).add_done_callback(self._on_said)
        return True

    def _on_said(self, _: object) -> None:
        with self.room.lock:
            self._saying -= 1

    def tell(self, order: control.Question) -> None:
        """Give an order without waiting for its answer; it is given again after a reconnect until it is answered."""
        self._questions.tell(order)

    def watch(self, pool: str, on_demand: Callable[[control.Answer], None]) -> Callable[[], None]:
        """Have `on_demand` called, in the link's thread, with a pool's demand now and whenever it changes.

        Returns what ends this.
        """
        return self._questions.watch(pool, on_demand)

    def tasks(self, pool: str) -> Mapping[TaskId, Future[Any]]:
        """This client's futures of a pool that have not ended."""
        return self._unfinished.of_pool(pool)

    def fail(self, error: Exception) -> None:
        """Give up: every future and every later submission gets this error."""
        self._on_broken(error)
        self._link.stop(linger=0.0)

    def reattach(self) -> list[TaskFuture[Any]]:
        """Futures of the run's unfinished and uncollected tasks that other clients submitted."""
        return self._tasks_of()

    def follow(self, run: str) -> dict[str, TaskFuture[Any]]:
        """Futures of the tasks of a hosted run, by name; of several that have one, the last."""
        return {self._unfinished.name_of(future.task): future for future in self._tasks_of(run)}

    def _tasks_of(self, run: str = "") -> list[TaskFuture[Any]]:
        self._check_answers()
        self._check_thread()
        patience = self._settings.patience
        try:
            found: list[TaskFuture[Any]] = self._questions.reattach(run).result(patience)
        except TimeoutError:
            raise TimeoutError(SILENT.format(patience)) from None
        return found

    def _on_attached(self, attached: wire.Attached) -> None:
        if not self._questions.is_open(attached.number):
            return  # asked again after a reconnect, for the interchange's sake
        self._questions.answer(attached.number, self._unfinished.attached(attached))

    # ------------------------------------------------------------------ the end

    def shutdown(self, *, wait: bool, cancel_futures: bool) -> None:
        """Take no more tasks; cancel or await those there are, and say goodbye when the last one has ended."""
        if self._disowned:
            return
        self._stays = wait and not self._link.is_own_thread
        with self.room.lock:
            self._closed = True
        self.room.look_again()
        if cancel_futures:
            tasks = self._unfinished.tasks()
            self._link.order(lambda core: [core.cancel_waiting(tasks)])
        if self._stays:
            try:
                wait_for(self._unfinished.futures())
                if not self._left:
                    self.before_leaving()
            finally:
                self._stays = False
            self._leave_when_done()
            self._link.join(_LINGER + 3.0)
        else:
            self._leave_when_done()

    def interrupt(self) -> None:
        """Take no more tasks and leave at once: those of a kept run are the next client's, others are cancelled."""
        if self._left or self._disowned:
            return
        with self.room.lock:
            self._closed = True
        if self._settings.keep:
            self._on_broken(errors.BrokenBlockyard(_INTERRUPTED.format(self._settings.run)))
        else:
            self.home.complete([(future, Ending.CANCELLED, None) for future in self._unfinished.give_up()])
        self._leave()

    def release(self) -> None:
        """The program ends in good order: free the results of ended tasks, those that nobody looked at too."""
        self._releases = True

    def _leave_when_done(self) -> None:
        if not self._unfinished and not self._left and not self._stays:
            self._left = True
            self._link.order(self._goodbye)
            self._link.stop(linger=_LINGER)

    def _goodbye(self, core: SessionCore) -> list[bytes]:
        if self._releases:
            core.collect(self._unfinished.uncollected())
        return [*core.credit(time.monotonic(), at_once=True), _encode(wire.Bye(cancel=False))]

    def finish(self) -> None:
        """At the interpreter's exit: see what was submitted to its end, while there is an interchange that answers."""
        if self._left or self._disowned:
            return
        if lifetime.is_interrupted():
            self.interrupt()
            return
        self.shutdown(wait=False, cancel_futures=False)
        if self._settings.finish:
            while self._unfinished and self._link.is_heard(self._settings.patience):
                wait_for(self._unfinished.futures(), _LOOK_SECONDS)
        self._leave()

    def _leave(self) -> None:
        self._left = True
        self._link.order(self._goodbye)
        self._link.stop(linger=_LINGER)
        self._link.join(_LINGER + 3.0)

    def disown(self) -> None:
        """In a forked child: the link's thread and socket are the parent's, and so are the tasks."""
        self._disowned = True
        self._broken = errors.BrokenBlockyard(
            f"this client belongs to process {os.getppid()}, of which process {os.getpid()} is a fork: its connection "
            "cannot be shared; open a new client in the child, or fork before there is one"
        )
        self.room.after_fork_in_child(threading.Lock())
        self.home.after_fork_in_child()
        self.home.on_cancel = lambda _: self._check_answers()
        self.home.on_collect = _nothing


def _just_leave() -> None:
    """Stand for nothing that is to be done before."""


def _nothing(_: object) -> None:
    return None
