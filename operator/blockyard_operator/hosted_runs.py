"""What the operator says to the interchange of runs of workflows, and what it has heard of them.

An order is sent once; whoever decides says it again as long as what is heard does not show it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from blockyard.wire import control, hosted
from blockyard.workflow.spec import MOST_LOCAL_STEPS
from blockyard_operator.core.view import FailedStep, RunView
from blockyard_operator.core.workflows import ENDED
from blockyard_operator.news import News, OnNews

_MOST_FAILURES: Final = 10
"""Steps that failed that are shown in a status."""
_MOST_RUNS: Final = 100_000


class Ask(Protocol):
    """Sends a question; one of the two is called, in the event loop, unless the session ends before."""

    def __call__(
        self,
        question: control.Question,
        on_reply: Callable[[control.Answer], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
        /,
    ) -> None: ...


class HostedRuns:
    """Of one interchange."""

    def __init__(self, send: Ask, on_news: OnNews, is_connected: Callable[[], bool]) -> None:
        self._send = send
        self._on_news = on_news
        self._is_connected = is_connected
        self._views: dict[str, RunView] = {}
        self._asked: set[str] = set()
        """Runs that the interchange was asked about and has not answered."""
        self._starting: set[str] = set()
        """Runs that it was told to start, and of which it has said nothing since."""

    def silenced(self) -> None:
        """The interchange is silent: what it said does not hold any more."""
        self._views.clear()

    def connected_anew(self) -> None:
        """Another session has begun: nothing that was asked will be answered."""
        self._asked.clear()
        self._starting.clear()

    def view(self, name: str) -> RunView | None:
        """What it last said of a run; None while it is silent, or has not said anything yet."""
        return self._views.get(name) if self._is_connected() else None

    def is_starting(self, name: str) -> bool:
        """Whether it was told to start a run, and has yet to say how that stands."""
        return name in self._starting

    def ask(self, name: str, about: tuple[str, str]) -> None:
        """Have it say how a run stands; `about`: the WorkflowRun that is to be told."""
        if name in self._asked:
            return
        self._asked.add(name)

        def told(answer: control.Answer) -> None:
            self._asked.discard(name)
            self._starting.discard(name)
            before = self._views.get(name)
            if isinstance(answer, hosted.RunIs):
                failed = tuple(FailedStep(one.name, one.message) for one in answer.steps)
                attempt = before.attempt if before is not None else 0
                self._views[name] = RunView(at=time.time(), line=answer.line, failures=failed, attempt=attempt)
            else:
                refusal = before.refusal if before is not None else ""
                self._views[name] = RunView(
                    at=time.time() if not refusal or before is None else before.at, refusal=refusal
                )
            self._on_news(News(run=about))

        self._send(hosted.Run(name, ["Failed"], _MOST_FAILURES), told, lambda _: self._asked.discard(name))

    def start(self, order: hosted.StartRun, about: tuple[str, str]) -> None:
        """Have it start a run, or find that it is there."""

        self._starting.add(order.run)

        def refused(sentence: str) -> None:
            self._starting.discard(order.run)
            self._views[order.run] = RunView(at=time.time(), refusal=sentence)
            self._on_news(News(run=about))

        self._send(order, lambda _: self.ask(order.run, about), refused)

    def retry(
        self, name: str, again: Callable[[hosted.RunIs], hosted.StartRun | None], attempt: int, about: tuple[str, str]
    ) -> None:
        """Have it run again what has not succeeded of a run that has ended. `again`: the order, from how it stands."""
        if name in self._starting:
            return
        self._starting.add(name)

        def given(_: control.Answer | None = None) -> None:
            if (before := self._views.get(name)) is not None:
                self._views[name] = msgspec.structs.replace(before, attempt=attempt, refusal="")
            self.ask(name, about)

        def refused(sentence: str) -> None:
            self._starting.discard(name)
            if (before := self._views.get(name)) is not None:
                self._views[name] = msgspec.structs.replace(before, at=time.time(), refusal=sentence)
            self._on_news(News(run=about))

        def seen(answer: control.Answer) -> None:
            if not isinstance(answer, hosted.RunIs) or answer.line.phase not in ENDED:
                self.ask(name, about)  # another one was faster, or it was forgotten
            elif (order := again(answer)) is not None:
                self._send(order, given, refused)
            else:
                given()

        self._send(hosted.Run(name, ["Succeeded"], MOST_LOCAL_STEPS), seen, refused)

    def hold(self, name: str, *, held: bool, running: bool) -> None:
        """Hand out nothing more of a run, or go on with it. `running`: stop its programs, too."""
        self._send(hosted.HoldRun(name, held, running))

    def end(self, name: str) -> None:
        """Cancel a run; its exit step still runs."""
        self._send(hosted.EndRun(name))

    def sweep(self, is_stray: Callable[[str], bool]) -> None:
        """End and forget runs whose WorkflowRun is gone. One that still winds down is forgotten the next time."""

        def compare_runs(answer: control.Answer) -> None:
            if isinstance(answer, hosted.RunsAre):
                for name in [one.run for one in answer.runs if is_stray(one.run)]:
                    self._views.pop(name, None)
                    self._send(hosted.EndRun(name, exits=True))
                    self._send(hosted.ForgetRun(name))

        self._send(hosted.Runs(_MOST_RUNS), compare_runs)
