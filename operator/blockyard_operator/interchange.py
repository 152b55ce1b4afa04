"""The operator's line to the interchange: what pools want and have, pushed; orders, kept until they are answered.

A control-only session of the library's own client protocol (`session.Link`): its thread speaks ZMQ, this object
belongs to the event loop. Pools are announced again at each welcome, since another interchange, or one that lost its
journal, knows nothing of them; announcing what is known changes nothing there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import platform
import secrets
import time
from collections.abc import Callable
from typing import Final

import msgspec

from blockyard import session_number
from blockyard.blocks.states import JobStatus
from blockyard.ids import BlockId
from blockyard.pool_engine import report_of
from blockyard.session import Link, LinkSettings, SessionCore
from blockyard.session.core import Answers
from blockyard.wire import client as wire
from blockyard.wire import control, keeping
from blockyard.wire.records import PROTOCOL_VERSION
from blockyard_operator.core.view import QueueView
from blockyard_operator.hosted_runs import HostedRuns
from blockyard_operator.news import News, OnNews, compare, view_of

log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 5.0
"""An interchange that has said nothing for so long is silent; it answers a ping every second."""
LOOK_SECONDS: Final = 0.5
ANSWER_SECONDS: Final = 10.0
"""Within so long it says how a pool stands that it was told of, or something is amiss."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(control.Answer).decode


class Interchange:
    """One session. `start` in the loop that is to be told; `stop` ends it for good."""

    def __init__(self, settings: LinkSettings, on_news: OnNews) -> None:
        self._on_news = on_news
        self._settings = settings
        self._views: dict[str, QueueView] = {}
        self._pools: dict[str, keeping.SetPool] = {}
        self._told_at: dict[str, float] = {}
        """When pools were told of; epoch seconds."""
        self._known: set[str] = set()
        """Pools that the interchange has confirmed."""
        self._watches: dict[str, int] = {}
        self._watched: dict[int, str] = {}
        """The other way round."""
        self._on_reply: dict[int, Callable[[control.Answer], None]] = {}
        self._on_refused: dict[int, Callable[[str], None]] = {}
        self.runs = HostedRuns(self._ask, on_news, lambda: self.connected)
        self._numbers = itertools.count(1)
        self._silent = True
        self._heard = asyncio.Event()
        self._broken = ""
        self._loop = asyncio.get_running_loop()
        self._link = self._connect()
        self._looker: asyncio.Task[None] | None = None
        self.refused: dict[str, str] = {}
        """Pools that the interchange does not want, and why."""

    def start(self) -> None:
        """Connect, and go on trying."""
        self._link.start()
        self._looker = self._loop.create_task(self._look())

    def stop(self) -> None:
        """End the session; what was ordered last is sent, if that is a matter of moments."""
        if self._looker is not None:
            self._looker.cancel()
        self._link.stop(linger=0.2)

    async def wait_heard(self) -> None:
        """Wait for its first word, as long as it takes until it counts as silent."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SILENT_SECONDS):
                await self._heard.wait()

    @property
    def connected(self) -> bool:
        """Whether the interchange answers."""
        return not self._silent

    def view(self, queue: str) -> QueueView | None:
        """What it last said of a pool; None while it is silent, or has not said anything yet."""
        return None if self._silent else self._views.get(queue)

    def answer_due(self, queue: str) -> float:
        """Until when (epoch seconds) it may yet say how a pool stands; 0 when it was not told of it."""
        return self._told_at[queue] + ANSWER_SECONDS if queue in self._told_at else 0.0

    def is_announced(self, queue: str) -> bool:
        """Whether it has confirmed a pool and its keys as they are now."""
        return queue in self._known

    # --- orders -----------------------------------------------------------------------------------------------------

    def announce(self, order: keeping.SetPool) -> None:
        """Define a pool, or change it; and have its demand pushed from then on."""
        if self._pools.get(order.pool) == order:
            return
        self._pools[order.pool] = order
        self._known.discard(order.pool)
        self._define(order)

    def forget(self, queue: str) -> None:
        """Remove a pool that is no more; its tasks wait in case it comes again."""
        if self._pools.pop(queue, None) is None:
            return
        self._known.discard(queue)
        self._told_at.pop(queue, None)
        self._views.pop(queue, None)
        self._unwatch(queue)
        self._remove(queue)

    def sweep(self, is_ours: Callable[[str], bool]) -> None:
        """Remove pools that were deleted while nobody looked. `is_ours`: whether a name is one that we would give."""

        def compare(answer: control.Answer) -> None:
            if isinstance(answer, control.StatusIs):
                strays = [one.pool for one in answer.pools if one.defined and one.pool not in self._pools]
                for queue in filter(is_ours, strays):
                    self._remove(queue)

        self._ask(control.Status(), compare)

    def _remove(self, queue: str) -> None:
        self._ask(keeping.RemovePool(queue, "its WorkerPool was deleted"))

    def drain(self, queue: str, block: str, grace: float) -> None:
        """Give a block nothing more."""
        self._ask(control.Drain([block], grace, queue))

    def gone(self, queue: str, block: str, reason: str) -> None:
        """A block has ended."""
        self._ask(control.BlockGone([block], reason, queue))

    def report(self, queue: str, block: str, status: JobStatus) -> None:
        """How a block fares."""
        self._ask(control.ReportBlocks(queue, [report_of(BlockId(block), status)]))

    def fail_tasks(self, queue: str, reason: str) -> None:
        """End all unfinished tasks of a pool with `PoolFailed` and this reason."""
        self._ask(control.CancelMatching(pool=queue, given_up=reason))

    # --- in the loop ------------------------------------------------------------------------------------------------

    def _connect(self) -> Link:
        hello = wire.Hello(
            PROTOCOL_VERSION,
            session_number.draw(),
            secrets.token_bytes(16),
            "",
            ".".join(platform.python_version_tuple()[:2]),
            name=f"operator {platform.node()}:{os.getpid()}",
        )
        return Link(self._settings, SessionCore(hello), self._answers, self._failed)

    def _define(self, order: keeping.SetPool) -> None:
        self._told_at[order.pool] = time.time()

        def confirmed(answer: control.Answer) -> None:
            if self._pools.get(order.pool) != order:
                return
            self._known.add(order.pool)
            self.refused.pop(order.pool, None)
            if order.pool not in self._watches:
                self._watch(order.pool)
            self._on_news(News(order.pool))

        self._ask(order, confirmed)

    def _watch(self, queue: str) -> None:
        number = next(self._numbers)
        self._watches[queue] = number
        self._watched[number] = queue
        raw = msgspec.Raw(_encode(control.Watch(queue)))
        self._link.order(lambda core: [core.ask(number, raw, watch=True)])

    def _unwatch(self, queue: str) -> None:
        number = self._watches.pop(queue, None)
        if number is not None:
            del self._watched[number]
            self._link.order(lambda core: core.forget(number))

    def _demanded(self, answer: control.Answer) -> None:
        if isinstance(answer, control.Demand):
            before, now = self._views.get(answer.pool), time.time()
            view = view_of(answer, now, since=before.since if before is not None else now)
            self._views[answer.pool] = view
            self._on_news(compare(answer.pool, before, view))

    def _ask(
        self,
        question: control.Question,
        on_reply: Callable[[control.Answer], None] | None = None,
        on_refused: Callable[[str], None] | None = None,
    ) -> None:
        number = next(self._numbers)
        if on_reply is not None:
            self._on_reply[number] = on_reply
        if on_refused is not None:
            self._on_refused[number] = on_refused
        raw = msgspec.Raw(_encode(question))
        self._link.order(lambda core: [core.ask(number, raw, watch=False)])

    def _take(self, answers: Answers) -> None:
        if answers.welcome is not None:
            log.info("the interchange answers", extra={"run": answers.welcome.run})
            self._set_silent(silent=False)
        for reply in answers.replies:
            self._reply(reply)
        for refused in answers.refused_questions:
            self._on_reply.pop(refused.number, None)
            on_refused = self._on_refused.pop(refused.number, None)
            if on_refused is not None:
                on_refused(refused.message)
            log.error("the interchange refused an order: %s: %s", refused.kind, refused.message)

    def _reply(self, reply: wire.Reply) -> None:
        answer = _decode(reply.answer)
        watched = self._watched.get(reply.number)
        if watched is None:
            on_reply = self._on_reply.pop(reply.number, None)
            self._on_refused.pop(reply.number, None)
            if on_reply is not None:
                on_reply(answer)
        elif isinstance(answer, control.Unknown):
            self._unwatch(watched)  # it lost the pool; once it is defined again, the watch is too
            if watched in self._known and watched in self._pools:
                self._define(self._pools[watched])
        else:
            self._demanded(answer)

    async def _look(self) -> None:
        """Notice silence; and a session that the interchange has given up begins anew."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._broken:
                log.warning("the session with the interchange ended, connecting anew: %s", self._broken)
                self._broken = ""
                self._set_silent(silent=True)
                await asyncio.sleep(LOOK_SECONDS)
                self._on_reply.clear()
                self._on_refused.clear()
                self.runs.connected_anew()
                self._watches.clear()
                self._watched.clear()
                self._known.clear()
                self._link = self._connect()
                self._link.start()
                for order in list(self._pools.values()):
                    self._define(order)
            elif not self._link.is_heard(SILENT_SECONDS):
                self._set_silent(silent=True)
            elif self._silent and self._known:
                self._set_silent(silent=False)

    def _set_silent(self, *, silent: bool) -> None:
        if self._silent is silent:
            return
        self._silent = silent
        if silent:
            log.warning("the interchange is silent; blocks are held as they are")
            self._views.clear()
            self.runs.silenced()
        else:
            self._heard.set()
        self._on_news(News())

    # --- in the link's thread -----------------------------------------------------------------------------------------

    def _answers(self, answers: Answers) -> list[int]:
        if answers.replies or answers.welcome or answers.refused_questions:
            self._loop.call_soon_threadsafe(self._take, answers)
        return []

    def _failed(self, error: Exception) -> None:
        def broke() -> None:
            self._broken = str(error)

        self._loop.call_soon_threadsafe(broke)
