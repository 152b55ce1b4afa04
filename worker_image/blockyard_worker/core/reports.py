"""What workers report, how they die, and when others are started in their place."""

import math
from dataclasses import dataclass
from itertools import islice
from typing import Final

from blockyard.wire.records import Failure, Outcome, Status
from blockyard_worker.core import balance, effects, ending, link, outcomes
from blockyard_worker.core.feeding import PATIENCE_SECONDS, release_wide, requeue
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Kind, Try
from blockyard_worker.core.workers import Phase, Worker
from blockyard_worker.records import Now

FREE_FAILURES: Final = 3
"""Workers that may die in a row before the next one is held back."""
EXIT_SECONDS: Final = 5.0
"""For the exit handlers of a worker that is replaced."""
MOST_BACKOFF_SECONDS: Final = 10.0
MOST_UNSEEN_LOSSES: Final = 3
"""A try at whose turn so many workers died, with nothing known to run, is taken for the cause."""


class WorkerConfused(Exception):
    """A worker reports something it was not given: its memory or its link was damaged. It must be ended."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a worker process ended."""

    description: str
    """For people: 'killed by SIGSEGV', 'exit code 3'."""
    evidence: str
    """What else was seen: memory, the end of its output."""
    out_of_memory: bool = False
    """The kernel killed a process of this cgroup for want of memory at about that time."""
    peak_bytes: int = 0
    """The most memory that it was seen to use, and the cgroup's limit; 0 when unknown."""
    limit_bytes: int = 0


def on_ready(state: State, worker: Worker) -> None:
    """A worker is warm."""
    worker.phase = Phase.READY
    state.was_ready = True


def on_results(state: State, worker: Worker, reported: list[Outcome], idle: int, now: float) -> None:
    """Outcomes have come, in the order in which the tries were sent. Raises WorkerConfused when they are others."""
    _check(worker, reported)
    sent, pending = worker.sent, state.pending
    kind: Kind | None = None
    seconds, count = 0.0, 0
    for outcome in reported:
        attempt = sent.popleft()
        if attempt.kind is not kind:
            if kind is not None and count:
                kind.pace.add(count, seconds)
            kind, seconds, count = attempt.kind, 0.0, 0
            if not kind.idempotent:
                state.flush_at = -math.inf  # it can't run again if this process dies with its outcome
        if outcome.status is Status.DONE and not attempt.is_cancelled and attempt.waiters is None:
            seconds += outcome.seconds
            count += 1
            attempt.outcome, attempt.worker = outcome, None
            pending.append(outcome)
        else:
            _settle_slowly(state, worker, attempt, outcome, now)
    if kind is not None and count:
        kind.pace.add(count, seconds)
    worker.tries_done += len(reported)
    state.failures = 0
    _count_down(worker, len(reported), now)
    if idle:
        balance.on_idle(worker, idle)
    if not sent:
        _is_dry(state, worker)


def _check(worker: Worker, reported: list[Outcome]) -> None:
    expected = [attempt.assigned.task for attempt in islice(worker.sent, len(reported))]
    if expected != [outcome.task for outcome in reported]:
        raise WorkerConfused(f"worker {worker.number} reports {len(reported)} tries that are not those it was given")


def _count_down(worker: Worker, count: int, now: float) -> None:
    left = len(worker.sent)
    worker.expected *= left / (left + count) if count else 1.0
    worker.is_stuck = False
    worker.watch_at = now + 2 * worker.expected + PATIENCE_SECONDS if left else None


def _is_dry(state: State, worker: Worker) -> None:
    worker.expected = 0.0
    worker.has_batches = False
    worker.shortest_timeout = 0.0
    if worker.is_wide:
        release_wide(state, worker)


def _settle_slowly(state: State, worker: Worker, attempt: Try, outcome: Outcome, now: float) -> None:
    if outcome.status is Status.DEPENDENCY:
        worker.endings.pop(attempt.assigned.task, None)
        outcomes.hand_back(state, attempt)
        return
    if attempt.is_cancelled:
        outcome = ending.rewritten(worker, attempt, outcome)
        state.effects.append(effects.EndChildren(worker.number, now - outcome.seconds))
    elif outcome.status is Status.DONE:
        attempt.kind.pace.add(1, outcome.seconds)
    outcomes.settle(state, attempt, outcome)


def on_ended(state: State, worker: Worker, ended: Ended, last: Now | None, now: float) -> None:
    """A worker process is gone; `last` is what its page said. Every frame it sent has been handled before."""
    del state.workers[worker.number]
    was_expected = worker.phase is Phase.RETIRING or any(
        one.killed or one.terminated for one in worker.endings.values()
    )
    if worker.is_wide:
        release_wide(state, worker)
    ran = _settle_victims(state, worker, ended, last, now)
    if worker.phase is Phase.RETIRING:
        return
    state.restarts += 1
    if not (was_expected or ran):  # how often a task may do that to its workers is the pool's `max_losses`
        state.failures += 1
        over = state.failures - FREE_FAILURES
        state.start_at = now + (min(MOST_BACKOFF_SECONDS, 0.1 * 2.0**over) if over >= 0 else 0.0)


def _settle_victims(state: State, worker: Worker, ended: Ended, last: Now | None, now: float) -> bool:
    """Tell whether one of its tries was running."""
    sent = list(worker.sent)
    worker.sent.clear()
    at = next((index for index, attempt in enumerate(sent) if last is not None and _is_it(attempt, last)), None)
    lost: Try | None = None
    if at is not None and last is not None and (last.running or not sent[at].kind.idempotent):
        lost = sent[at]
    elif sent:
        sent[0].losses += 1
        if sent[0].losses >= MOST_UNSEEN_LOSSES:
            lost = sent[0]
    requeue(state, [attempt for attempt in sent if attempt is not lost])
    for attempt in sent:
        if attempt is lost:
            seconds = now - last.since if last is not None and last.running else 0.0
            outcomes.settle(state, attempt, _loss(worker, attempt, ended, seconds))
        elif attempt.is_cancelled:
            order = worker.endings[attempt.assigned.task].order
            outcomes.settle(state, attempt, outcomes.ordered(attempt, order, ""))
        elif state.is_draining:
            outcomes.hand_back(state, attempt)
    return lost is not None and last is not None and last.running


def _is_it(attempt: Try, last: Now) -> bool:
    return attempt.assigned.task == last.task and attempt.assigned.epoch == last.epoch


def _loss(worker: Worker, attempt: Try, ended: Ended, seconds: float) -> Outcome:
    stopped = worker.endings.get(attempt.assigned.task)
    if stopped is None and ended.out_of_memory:
        message = "the kernel ended it because the node or container was out of memory; ask for more, or use less"
        failure = Failure(message, evidence=ended.evidence, peak_bytes=ended.peak_bytes, limit_bytes=ended.limit_bytes)
        return outcomes.failed(attempt, Status.OUT_OF_MEMORY, failure, seconds)
    if stopped is None:
        message = f"its worker ended while it ran: {ended.description}"
        return outcomes.failure(attempt, Status.LOST, message, ended.evidence, seconds)
    order = stopped.order
    evidence = "\n".join(part for part in (ended.description, ended.evidence) if part)
    return outcomes.ordered(attempt, order, evidence, seconds)


def on_unfit(state: State, message: str, now: float) -> None:
    """A worker could not be set up. If none ever could, the block is of no use, and says why."""
    if not state.was_ready and state.failures + 1 >= FREE_FAILURES:
        link.leave_unfit(state, message, now)


def keep_staffed(state: State, now: float) -> None:
    """Start a worker for each place that has none, unless too many died just now or the manager is about to end."""
    if state.has_left or state.is_draining or now < state.start_at:
        return
    staffed = {worker.place for worker in state.workers.values() if worker.phase is not Phase.RETIRING}
    if len(staffed) == state.policy.capacity.workers:
        return
    for place in range(state.policy.capacity.workers):
        if place not in staffed:
            number = state.next_worker = state.next_worker + 1
            state.workers[number] = Worker(number, place)
            state.effects.append(effects.StartWorker(number, place))


def retire_worn_out(state: State, too_big: frozenset[int], now: float) -> None:
    """Replace idle workers that ran as many tries as they may, or that hold too much memory (`too_big`, by number)."""
    limit = state.policy.max_tasks_per_worker
    for worker in state.workers.values():
        if worker.retire_by is not None and now >= worker.retire_by:
            worker.retire_by = None
            state.effects.append(effects.EndTree(worker.number, kill=True))
        is_worn_out = worker.number in too_big or (limit and worker.tries_done >= limit)
        if is_worn_out and worker.is_free():
            worker.phase = Phase.RETIRING
            worker.retire_by = now + EXIT_SECONDS
            state.effects.append(effects.RetireWorker(worker.number))
