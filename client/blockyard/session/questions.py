"""A client's open questions to the interchange. What they are sent with is the link's; what they mean, the asker's."""

import functools
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import msgspec

from blockyard.errors import BlockyardError
from blockyard.session.core import SessionCore
from blockyard.wire import control
from blockyard.wire.client import Reply

A = TypeVar("A", bound=control.Answer)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(control.Answer).decode

_FIRST = 1 << 32
"""Of the questions' numbers: a `Refused` names a question or a submission, so no number may be both."""

Order = Callable[[Callable[[SessionCore], list[bytes]]], None]
"""Has something done with the session's core, in the link's thread."""


def answered(asked: Future[control.Answer], expected: type[A], timeout: float) -> A:
    """Wait for an answer. Raises BlockyardError when the interchange does not know what was asked about."""
    answer = asked.result(timeout)
    if not isinstance(answer, expected):
        raise BlockyardError(answer.message if isinstance(answer, control.Unknown) else repr(answer))
    return answer


class Questions:
    """Numbers questions and hands answers to who asked. Methods may be called by any thread, `on_…` by the link's."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._numbers = itertools.count(_FIRST)
        self._open: dict[int, Future[Any]] = {}
        self._watches: dict[int, Callable[[control.Answer], None]] = {}

    def ask(self, question: control.Question, expected: type[A], timeout: float) -> A:
        """Ask and wait. Raises BlockyardError when the interchange does not know what was asked about."""
        return answered(self.begin(question), expected, timeout)

    def begin(self, question: control.Question) -> Future[control.Answer]:
        """Ask, for who does not want to block; the future cannot be cancelled."""
        number, future = self._new()
        future.set_running_or_notify_cancel()
        self._send(number, question, watch=False)
        return future

    def tell(self, order: control.Question) -> None:
        """Say something whose answer nobody waits for."""
        self._send(next(self._numbers), order, watch=False)

    def watch(self, pool: str, on_demand: Callable[[control.Answer], None]) -> Callable[[], None]:
        """Have a function called with each of many answers; returns what ends this."""
        number = next(self._numbers)
        self._watches[number] = on_demand
        self._send(number, control.Watch(pool), watch=True)
        return functools.partial(self._forget_watch, number)

    def reattach(self, run: str = "") -> Future[Any]:
        """Ask for the run's tasks, or for those of a hosted run; `answer` gives the result."""
        number, future = self._new()
        self._order(lambda core: [core.reattach(number, run)])
        return future

    def is_open(self, number: int) -> bool:
        """Whether somebody waits for this answer."""
        return number in self._open

    def answer(self, number: int, result: object) -> None:
        """Give an answer to who waits for it."""
        future = self._open.pop(number, None)
        if future is not None:
            future.set_result(result)

    def on_reply(self, reply: Reply) -> None:
        """An answer has come."""
        answer = _decode(reply.answer)
        watcher = self._watches.get(reply.number)
        if watcher is not None:
            watcher(answer)
        else:
            self.answer(reply.number, answer)

    def fail(self, number: int, error: Exception) -> None:
        """A question was refused."""
        future = self._open.pop(number, None)
        if future is not None:
            future.set_exception(error)

    def fail_all(self, error: Exception) -> None:
        """There will be no answers any more."""
        for number in list(self._open):
            self.fail(number, error)

    def _new(self) -> tuple[int, "Future[Any]"]:
        number = next(self._numbers)
        future = self._open[number] = Future[Any]()
        return number, future

    def _send(self, number: int, question: control.Question, *, watch: bool) -> None:
        raw = msgspec.Raw(_encode(question))
        self._order(lambda core: [core.ask(number, raw, watch=watch)])

    def _forget_watch(self, number: int) -> None:
        self._watches.pop(number, None)
