"""The loop around one running task: it waits for whatever comes next, lets `course` decide, and carries that out."""

from __future__ import annotations

import os
import selectors
import time
from typing import TYPE_CHECKING

import msgspec

from blockyard.managed import course
from blockyard.managed.course import Effect, Request
from blockyard.managed.launch import Keeper, Said
from blockyard.managed.signals import Point, Signal
from blockyard.managed.states import TaskStatus

if TYPE_CHECKING:
    from blockyard.managed.communicators import Communicator
    from blockyard.managed.executor import BaseExecutor
    from blockyard.managed.frames import Message

_OF_INTEREST = frozenset(
    {
        Signal.TASK_FAILED,
        Signal.TASK_CANCELLED,
        Signal.TASK_DONE,
        Signal.TASK_RESULT,
        Signal.TASK_STOPPED,
    }
)
"""Signals that change the course; of others only the instant counts."""
_LONGEST_WAIT = 3600.0


class Loop:
    """One task's loop. `run` returns when it is over; after an exception it may be called again."""

    def __init__(self, executor: BaseExecutor, keeper: Keeper) -> None:
        self._executor = executor
        self._keeper = keeper
        self._keeper_is_there = True
        self._is_finishing = False
        self._pipes = {stream.reader: stream for stream in executor.streams}
        self._channels: dict[int, Communicator] = {}

    def run(self) -> None:
        """Go on until the state is terminal and the keeper has ended."""
        executor = self._executor
        with selectors.DefaultSelector() as selector:
            selector.register(executor.requests.woken, selectors.EVENT_READ)
            if self._keeper_is_there:
                selector.register(self._keeper.socket, selectors.EVENT_READ)
            for reader in self._pipes:
                selector.register(reader, selectors.EVENT_READ)
            self._channels = {}
            self._asked()
            while True:
                self._wait_for_channels(selector)
                now = time.monotonic()
                if self._tick(now):
                    return
                for key, _ in selector.select(self._patience(now)):
                    self._ready(key.fd, selector)

    def _wait_for_channels(self, selector: selectors.BaseSelector) -> None:
        """Wait on what the communicators name now: connections come and go."""
        wanted = {reader: one for one in self._executor.communicators for reader in one.readers()}
        if wanted.keys() != self._channels.keys():
            for gone in self._channels.keys() - wanted.keys():
                selector.unregister(gone)
            for new in wanted.keys() - self._channels.keys():
                selector.register(new, selectors.EVENT_READ)
            self._channels = wanted

    def _tick(self, now: float) -> bool:
        """Carry out what is due; True when all is over."""
        executor = self._executor
        if not self._keeper_is_there and not self._pipes and all(one.is_finished() for one in executor.communicators):
            executor.course = course.drained(executor.course, executor.policy)
        before = executor.course.verdict
        executor.course, effects = course.tick(executor.course, now, executor.policy)
        self._carry_out(effects)
        if before is None and executor.course.verdict is TaskStatus.TIMEDOUT:
            executor.emit(Point.TIMEOUT, executor.course.message)
        if executor.course.status.is_terminal:
            self._finish()
            return not self._keeper_is_there
        return False

    def _patience(self, now: float) -> float:
        due = course.due(self._executor.course, self._executor.policy)
        instants = (self._executor.book.tell_news(now), now + _LONGEST_WAIT if due is None else due)
        return max(min(instants) - now, 0.0)

    def _ready(self, descriptor: int, selector: selectors.BaseSelector) -> None:
        if (stream := self._pipes.get(descriptor)) is not None:
            if not stream.read():
                selector.unregister(descriptor)
                del self._pipes[descriptor]
        elif (channel := self._channels.get(descriptor)) is not None:
            messages = channel.read(descriptor)
            if descriptor not in channel.readers():
                selector.unregister(descriptor)
                del self._channels[descriptor]
            for message in messages:
                self._heard(message)
        elif descriptor == self._executor.requests.woken:
            os.read(descriptor, 4096)
            self._asked()
        else:
            self._hear_keeper(selector)

    def _heard(self, message: Message) -> None:
        executor, now = self._executor, time.monotonic()
        signal = message.signal
        if signal in _OF_INTEREST:
            first = executor.course.claim is None
            executor.course, effects = course.heard(executor.course, signal, message.contents, now)
            self._carry_out(effects)
            if not first and signal is not Signal.TASK_STOPPED:
                return  # the first word counts; `refused` has the others
        elif executor.policy.heartbeat:
            executor.course = msgspec.structs.replace(executor.course, heard_at=now)
        if signal is Signal.TASK_STARTED and executor.has_said(signal):
            return  # each rank says it
        executor.emit(signal, message.contents, message.rank, message.id)

    def _asked(self) -> None:
        executor, now = self._executor, time.monotonic()
        for request, why in executor.requests.take():
            executor.course, effects = course.asked(executor.course, request, now, why)
            self._carry_out(effects)
            if request is Request.CANCEL:
                executor.emit(Point.CANCEL_REQUESTED, why)

    def _hear_keeper(self, selector: selectors.BaseSelector) -> None:
        said = self._keeper.hear()
        if said is None:
            selector.unregister(self._keeper.socket)
            self._keeper_is_there = False
            if not self._is_finishing:
                self._executor.course = course.lost(self._executor.course, "the process that watched it was killed")
            return
        self._note(said)
        if not self._keeper_is_there:
            selector.unregister(self._keeper.socket)

    def _note(self, said: Said) -> None:
        executor, now = self._executor, time.monotonic()
        if said.started is not None:
            executor.course, effects = course.started(executor.course, now)
            if not executor.speaks and not executor.has_said(Signal.TASK_STARTED):
                executor.emit(Signal.TASK_STARTED, executor.parameters)
            self._carry_out(effects)
        elif said.failed is not None:
            executor.course = course.not_started(executor.course, "NotStarted", said.failed)
            self._is_finishing = True
            self._keeper_is_there = False  # that was its last word
        elif said.exited is not None:
            executor.usage = msgspec.structs.asdict(said.rusage)
            executor.course = course.exited(executor.course, said.exited, now, executor.policy)
            executor.emit(Point.EXITED, said.exited)
            self._finish()
        elif said.ended is not None:
            executor.strays = said.ended
            executor.usage = msgspec.structs.asdict(said.rusage)
            self._keeper_is_there = False  # that was its last word

    def _finish(self) -> None:
        """The main process has ended: whatever it left running ends now, and with it what holds its pipes open."""
        if not self._is_finishing:
            self._is_finishing = True
            self._keeper.finish()

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            self._keeper.order(effect)
            match effect:
                case Effect.STOP:
                    self._executor.emit(Signal.TASK_STOPPED)
                case Effect.CONTINUE:
                    self._executor.emit(Point.CONTINUED)
