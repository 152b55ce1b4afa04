"""The one thread that keeps the blocks of a pool as they should be.

It owns the `BlockLedger`. Demand, changes of blocks and wishes of users reach it through an inbox, pushed; it asks the
ledger what to do and carries that out through a provider and an engine. It sleeps until something happens or a
deadline comes: there is no period, and a provider with push is never asked for a status.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Final, TypeAlias, TypeVar

import msgspec

from blockyard.blocks.engine import Engine
from blockyard.blocks.errors import BAD, CarryOn, History, PauseUntil, Verdict
from blockyard.blocks.faults import IllegalTransition, ScalingRefused
from blockyard.blocks.ledger import BlockLedger, Cancel, Changed, Drain, Effect, GiveUp, Gone, Launch
from blockyard.blocks.provider import BlockRequest, Provider
from blockyard.blocks.scaling import Demand, earliest
from blockyard.blocks.states import JobId, JobState, JobStatus
from blockyard.errors import BlockyardError
from blockyard.ids import BlockId

log = logging.getLogger(__name__)

T = TypeVar("T")

Event: TypeAlias = Callable[[float], None]
"""Something that happened, to be told to the ledger with the present instant; runs on the loop's thread."""

OnBlock: TypeAlias = Callable[[BlockId, JobStatus], None]
"""Told of every change of a block's state, from the loop's thread; must not block."""

PLANS_PER_STEP: Final = 8
"""A plan carried out leaves nothing to do unless the provider refused a block; more rounds mean a faulty plug-in."""

DEMAND_SECONDS: Final = 0.02
"""Demand is looked at no more often than this: at once after a calm, and then with what is newest."""

RECOVER_SECONDS: Final = 1.0
"""When to decide again after a plug-in failed."""


class Rim(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop acts through, and whom it asks.

    `judge` is the error handler with its figures; `request` says how to start a block; `give_up` fails the pool.
    """

    label: str
    engine: Engine
    provider: Provider
    judge: Callable[[Mapping[BlockId, JobStatus], History, float], Verdict]
    request: Callable[[BlockId], BlockRequest]
    give_up: Callable[[str], None]
    on_block: OnBlock | None = None
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class BlockLoop:
    """The thread. `start` and `stop` may be called twice; a stopped loop stays stopped."""

    def __init__(self, ledger: BlockLedger, rim: Rim) -> None:
        self._ledger = ledger
        self._rim = rim
        self._label = rim.label
        self._engine = rim.engine
        self._provider = rim.provider
        self._clock = rim.clock
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._stopped = False
        self._stop_by: float | None = None
        self._next_poll: float | None = None
        self._paused_until: float | None = None
        self._demand: Demand | None = None
        self._demand_after = -math.inf
        self._demand_due: float | None = None
        self._statuses: dict[BlockId, JobStatus] = {}
        self._job_of: dict[BlockId, JobId] = {}
        self._unwatch: Callable[[], None] = _nothing

    # --- for other threads ------------------------------------------------------------------------------------------

    @property
    def statuses(self) -> Mapping[BlockId, JobStatus]:
        """The status of all living blocks and of the last ended ones; replaced, never changed."""
        return self._statuses

    def job_of(self, block: BlockId) -> JobId | None:
        """The provider's name for a block that `statuses` holds."""
        return self._job_of.get(block)

    def start(self) -> None:
        """Start the provider, the thread and the initial blocks; they are asked for when this returns."""
        with self._lock:
            if self._stopping:
                raise ScalingRefused(f"pool {self._label} was shut down; make a new one")
            if self._thread is not None:
                return
            self._provider.start(self._provider_reports)
            # Before the thread decides for the first time: a strategy must find the initial blocks there.
            self._inbox.put(lambda now: self._perform(self._ledger.open(now), now))
            self._thread = threading.Thread(target=self._run, name=f"blockyard-blocks-{self._label}", daemon=True)
            self._thread.start()
        self.ask(lambda now: None)
        self._unwatch = self._engine.watch(self._label, self._engine_demands)

    def stop(self, timeout: float, *, wait: bool) -> None:
        """Cancel all blocks, and end when they are gone or `timeout` seconds have passed; then the provider kills."""
        with self._lock:
            first, self._stopping = not self._stopping, True
            thread = self._thread
        if thread is None:
            return
        if first:
            self._unwatch()
            self._inbox.put(lambda now: self._begin_to_stop(now, now + timeout))
        if wait and thread is not threading.current_thread():
            thread.join()

    def close_blocks(self) -> None:
        """Cancel all blocks and start none any more; the loop goes on."""
        self._inbox.put(lambda now: self._perform(self._ledger.close(now), now))

    def scale_out(self, count: int) -> list[BlockId]:
        """See `BlockExecutor.scale_out`."""

        def grow(now: float) -> list[BlockId]:
            effects = self._ledger.scale_out(count, now)
            self._perform(effects, now)
            return [effect.block for effect in effects if isinstance(effect, Launch)]

        return self.ask(grow)

    def scale_in(self, which: int | list[BlockId]) -> list[BlockId]:
        """See `BlockExecutor.scale_in`."""

        def shrink(now: float) -> list[BlockId]:
            self._take_newest_demand(now)  # who is idle may have changed just now
            names, effects = self._ledger.scale_in(which, now)
            self._perform(effects, now)
            return names

        return self.ask(shrink)

    def ask(self, question: Callable[[float], T]) -> T:
        """Have the loop's thread answer; at once when this is that thread."""
        if threading.current_thread() is self._thread:
            return question(self._clock())
        with self._lock:
            if self._thread is None or self._stopping:
                raise ScalingRefused(
                    f"pool {self._label} does not run: start it first, and do not use it once shut down"
                )
            if not self._thread.is_alive():
                raise ScalingRefused(f"pool {self._label} does not run in this process: it was forked; open one here")
            answer: Future[T] = Future()
            self._inbox.put(lambda now: _answer(answer, question, now))
        return answer.result()

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        wake_at: float | None = self._clock()
        while not self._stopped:
            event = self._next_event(wake_at)
            while event is not None:
                self._guarded(event)
                event = self._next_event(self._clock())
            wake_at = self._step(self._clock())
        self._provider.close()
        self._drain_inbox()

    def _next_event(self, wake_at: float | None) -> Event | None:
        timeout = None if wake_at is None else max(0.0, wake_at - self._clock())
        try:
            return self._inbox.get(timeout=timeout) if timeout != 0 else self._inbox.get_nowait()
        except queue.Empty:
            return None

    def _drain_inbox(self) -> None:
        """Take what came while the provider closed: the ends of the last blocks."""
        event = self._next_event(self._clock())
        while event is not None:
            self._guarded(event)
            event = self._next_event(self._clock())

    def _guarded(self, event: Event) -> None:
        try:
            event(self._clock())
        except IllegalTransition:
            log.exception("pool %s: provider %s reported what cannot be; ignored", self._label, self._provider.label)
        except Exception:  # the thread's rim: plug-ins run below, and blocks must be watched all the same
            log.exception("pool %s: an event failed; the pool goes on", self._label)

    def _step(self, now: float) -> float | None:
        """Decide and act once; return when to come again by oneself, None for never."""
        self._guarded(self._take_demand)
        self._guarded(self._poll)
        self._guarded(self._keep_up)
        try:
            wake_at = self._carry_out(now)
        except Exception:  # a faulty strategy or handler must not end the thread, nor what needs neither
            log.exception("pool %s: deciding failed; trying again in %g s", self._label, RECOVER_SECONDS)
            wake_at = now + RECOVER_SECONDS
        if self._stop_by is not None and (not self._ledger.living or self._stop_by <= now):
            self._stopped = True
        return earliest(wake_at, self._ledger.next_due(), self._next_poll, self._demand_due, self._stop_by)

    def _keep_up(self, now: float) -> None:
        self._perform(self._ledger.upkeep(now), now)

    def _carry_out(self, now: float) -> float | None:
        """Carry out plans until there is nothing more to do; return when to ask again."""
        for _ in range(PLANS_PER_STEP):
            plan = self._ledger.plan(self._judge(now), now)
            if not plan.effects:
                return plan.wake_at
            log.info("pool %s: %s: %s", self._label, plan.why, plan.effects)
            self._perform(plan.effects, now)
        return now + RECOVER_SECONDS

    def _judge(self, now: float) -> Verdict:
        if self._ledger.closing:
            return CarryOn()
        verdict = self._rim.judge(self._ledger.status(), self._ledger.history(now), now)
        until = None
        if isinstance(verdict, PauseUntil):
            until = verdict.until
            if until != self._paused_until:
                log.warning("pool %s starts no block for %.3g s: %s", self._label, until - now, verdict.reason)
        self._paused_until = until
        return verdict

    def _poll(self, now: float) -> None:
        interval = self._provider.status_polling_interval
        if interval <= 0:
            return
        if self._next_poll is None or self._next_poll <= now:
            self._next_poll = now + interval
            for job, status in self._provider.status(self._ledger.jobs()).items():
                self._guarded(partial(self._reported, job, status))

    def _begin_to_stop(self, now: float, deadline: float) -> None:
        self._stop_by = deadline
        self._perform(self._ledger.close(now), now)

    # --- carrying out -----------------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[Effect], now: float) -> None:
        for effect in effects:
            match effect:
                case Launch(block=block):
                    self._launch(block, now)
                case Drain(blocks=blocks, grace=grace):
                    self._engine.drain(self._label, blocks, grace)
                case Cancel(jobs=jobs):
                    self._provider.cancel(jobs)
                case Changed(block=block, status=status):
                    self._publish(block, status)
                case Gone(block=block, status=status, job=job):
                    self._gone(block, status, job)
                case GiveUp(reason=reason):
                    self._rim.give_up(reason)
        self._statuses = self._ledger.status()

    def _launch(self, block: BlockId, now: float) -> None:
        try:
            job = self._provider.submit(self._rim.request(block))
        except (BlockyardError, OSError) as error:
            log.warning("pool %s: block %s was not started: %s", self._label, block, error)
            status = JobStatus(
                state=JobState.FAILED, reason="SubmitFailed", message=str(error), ended_at=self._rim.wall()
            )
            self._perform(self._ledger.refused(block, status, now), now)
            return
        self._ledger.launched(block, job)
        self._job_of[block] = job
        self._publish(block, self._ledger.living[block].status)

    def _gone(self, block: BlockId, status: JobStatus, job: JobId | None) -> None:
        level = logging.WARNING if status.state in BAD else logging.INFO
        log.log(level, "pool %s: block %s ended as %s: %s", self._label, block, status.state, status.in_words)
        self._engine.block_gone(self._label, block, status)
        if job is not None:
            self._provider.forget([job])
        for forgotten in [name for name in self._job_of if name not in self._ledger.status()]:
            del self._job_of[forgotten]
        self._publish(block, status)

    def _publish(self, block: BlockId, status: JobStatus) -> None:
        if self._rim.on_block is not None:
            self._rim.on_block(block, status)

    # --- what is pushed ---------------------------------------------------------------------------------------------

    def _provider_reports(self, job: JobId, status: JobStatus) -> None:
        self._inbox.put(lambda now: self._reported(job, status, now))

    def _reported(self, job: JobId, status: JobStatus, now: float) -> None:
        self._perform(self._ledger.reported(job, status, now), now)

    def _engine_demands(self, demand: Demand) -> None:
        """Keep the newest demand; wake the loop for the first one since it looked.

        Demand may be pushed a thousand times a second while tasks are short; between two looks only the last counts.
        """
        with self._lock:
            waiting, self._demand = self._demand is not None, demand
        if not waiting:
            self._inbox.put(_just_wake)

    def _take_demand(self, now: float) -> None:
        if now < self._demand_after:
            self._demand_due = self._demand_after if self._demand is not None else None
            return
        self._take_newest_demand(now)

    def _take_newest_demand(self, now: float) -> None:
        with self._lock:
            demand, self._demand = self._demand, None
        self._demand_due = None
        if demand is not None:
            self._demand_after = now + DEMAND_SECONDS
            self._ledger.demanded(demand, now)


def _answer(answer: Future[T], question: Callable[[float], T], now: float) -> None:
    try:
        answer.set_result(question(now))
    except BaseException as error:  # noqa: BLE001 - handed to the caller, who waits for it
        answer.set_exception(error)


def _nothing() -> None:
    """Stand for a subscription that was never made."""


def _just_wake(now: float) -> None:
    """Stand for an event that only wakes the loop."""
