"""Gives waiting tries to workers: which, to whom, and how many at once.

The queue is first in, first out. A frame holds about `chunk_seconds` of work: many tries when they are known to be
short, one when they are long or unknown, and then one more waits at the worker so that it never idles between two.
A wide try (one that busies several workers, or takes accelerators) at the head of the queue is a reservation: nothing
behind it starts until enough workers are free, so wide tries wait no longer than what already runs.
"""

import enum
import math
from collections.abc import Iterable
from typing import Final

from blockyard.wire.manager import Wanted
from blockyard.wire.records import Need, Outcome, Part, Status
from blockyard_worker.core import effects, outcomes
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Kind, Try
from blockyard_worker.core.workers import Phase, Worker
from blockyard_worker.pipe import RunGroup

MOST_TRIES: Final = 256
"""In a frame."""
MOST_BYTES: Final = 1 << 20
"""Of arguments in a frame, unless a single try has more."""
UNIT_SECONDS: Final = 0.0005
"""Work that may hide behind one token, and so cannot be taken back in part."""
BATCH_SECONDS: Final = 0.002
"""Outcomes of tries shorter than this may wait for company at the worker."""
WORTHWHILE_SECONDS: Final = 0.0003
"""Less work than this is not spread over several workers."""
PATIENCE_SECONDS: Final = 0.02
"""A worker is looked at when it takes so much longer than twice what was expected."""


class _Fit(enum.Enum):
    NOW = enum.auto()
    LATER = enum.auto()
    NEVER = enum.auto()


def feed(state: State, now: float) -> None:
    """Give out what can be given out now."""
    while (head := _head(state)) is not None:
        if head.kind.is_wide:
            if not _start_wide(state, head, now):
                return
        else:
            worker = _choose(state)
            if worker is None:
                return
            _fill(state, worker, now)


def requeue(state: State, tries: Iterable[Try]) -> None:
    """Put tries back at the head of the queue, in the order given."""
    back = list(tries)
    for attempt in back:
        attempt.worker = None
    state.ready.extendleft(reversed(back))


def _head(state: State) -> Try | None:
    """The first try that waits for nothing but a worker."""
    ready = state.ready
    while ready:
        attempt = ready[0]
        if _is_gone(state, attempt):
            ready.popleft()
        elif attempt.kind.too_large:
            ready.popleft()
            outcomes.settle(state, attempt, _refusal(attempt, state))
        elif attempt.kind.function not in state.functions:
            ready.popleft()
            _await_function(state, attempt)
        elif attempt.assigned.needs and (fit := _fit(state, attempt, None)) is not _Fit.NOW:
            ready.popleft()
            if fit is _Fit.NEVER:
                outcomes.hand_back(state, attempt)
        else:
            return attempt
    return None


def _is_gone(state: State, attempt: Try) -> bool:
    return attempt.outcome is not None or state.held.get(attempt.assigned.task) is not attempt


def _await_function(state: State, attempt: Try) -> None:
    name = attempt.kind.function
    if name not in state.unknown:
        state.effects.append(effects.Tell(Wanted([name])))
    state.unknown.setdefault(name, []).append(attempt)


def _fit(state: State, attempt: Try, worker: Worker | None) -> _Fit:
    """Look at what a try needs; bodies that are here are put in, and for others it is set aside (LATER).

    `worker`: what is in the frame now being made for this worker (numbered ``frames + 1``) will be there in time.
    """
    needs = attempt.assigned.needs
    for index, need in enumerate(needs):
        if need.body is not None:
            continue
        other = state.held.get(need.task)
        if other is None:
            return _Fit.NEVER
        if other.outcome is not None:
            if other.outcome.status is not Status.DONE:
                return _Fit.NEVER
            needs[index] = Need(need.task, other.outcome.body)
        elif worker is None or other.worker != worker.number or other.frame != worker.frames + 1:
            if other.waiters is None:
                other.waiters = []
            other.waiters.append(attempt)
            return _Fit.LATER
    return _Fit.NOW


def _choose(state: State) -> Worker | None:
    best: Worker | None = None
    for worker in state.workers.values():
        if _has_room(state, worker) and (
            best is None or (len(worker.sent) > 0, worker.expected) < (len(best.sent) > 0, best.expected)
        ):
            best = worker
    return best


def _has_room(state: State, worker: Worker) -> bool:
    if (
        worker.phase is not Phase.READY
        or worker.stealing
        or worker.is_stuck
        or worker.is_wide
        or worker.held_by is not None
    ):
        return False
    limit = state.policy.max_tasks_per_worker
    if limit and worker.tries_done + len(worker.sent) >= limit:
        return False
    count = len(worker.sent)
    return count < 2 or (worker.expected < state.policy.chunk_seconds and count <= MOST_TRIES)


def _fill(state: State, worker: Worker, now: float) -> None:
    """Make one frame for this worker from the head of the queue."""
    ready, held, functions = state.ready, state.held, state.functions
    budget = state.policy.chunk_seconds
    most = MOST_TRIES
    if limit := state.policy.max_tasks_per_worker:
        most = min(most, limit - worker.tries_done - len(worker.sent))
    share = math.ceil(len(ready) / max(1, len(state.workers)))
    number, name = worker.frames + 1, worker.number
    groups: list[RunGroup] = []
    kind: Kind | None = None
    priced: Kind | None = None
    estimate: float | None = None
    slowest = seconds = 0.0
    count = size = fair = 0
    previous = -1
    while ready and count < most and size < MOST_BYTES:
        attempt = ready[0]
        assigned = attempt.assigned
        if attempt.outcome is not None or held.get(assigned.task) is not attempt:
            ready.popleft()
            continue
        if attempt.kind is not priced:
            priced = attempt.kind
            if priced.is_wide or priced.too_large or priced.function not in functions:
                break
            estimate = priced.pace.estimate()
            if count and estimate is None:
                break
            fair = most if estimate is None else max(share, int(WORTHWHILE_SECONDS / estimate))
        is_next = bool(count) and bool(assigned.needs) and assigned.needs[-1].task == previous
        if count and not is_next and (estimate is None or seconds + estimate > budget or count >= fair):
            break
        ready.popleft()
        if assigned.needs and (fit := _fit(state, attempt, worker)) is not _Fit.NOW:
            if fit is _Fit.NEVER:
                outcomes.hand_back(state, attempt)
            continue
        if attempt.kind is not kind or not groups:
            kind = attempt.kind
            batch = kind.idempotent and estimate is not None and estimate < BATCH_SECONDS
            tries = [assigned]
            groups.append(RunGroup(kind.function, batch, tries))
            slowest = max(slowest, estimate or 1.0)
            worker.has_batches |= batch
            if kind.timeout:
                worker.shortest_timeout = min(worker.shortest_timeout or kind.timeout, kind.timeout)
        else:
            tries.append(assigned)
        attempt.worker, attempt.frame = name, number
        worker.sent.append(attempt)
        seconds += estimate or 0.0
        count += 1
        previous = assigned.task
        if type(assigned.body) is bytes:
            size += len(assigned.body)
    if count:
        per_token = max(1, min(64, int(UNIT_SECONDS / slowest)))
        _send(state, worker, groups, count, per_token, {})
        worker.expected += seconds
        worker.watch_at = now + 2 * worker.expected + PATIENCE_SECONDS


def _send(
    state: State, worker: Worker, groups: list[RunGroup], count: int, per_token: int, environment: dict[str, str]
) -> None:
    whole, rest = divmod(count, per_token)
    worker.units.extend([per_token] * whole)
    if rest:
        worker.units.append(rest)
    worker.frames += 1
    worker.is_bare = False
    lacking, dropped = worker.missing(group.function for group in groups)
    units = whole + (rest > 0)
    bodies = [state.functions[name] for name in lacking]
    state.effects.append(
        effects.Feed(worker.number, worker.frames, units, per_token, groups, bodies, dropped, environment)
    )


def _start_wide(state: State, attempt: Try, now: float) -> bool:
    """Start a try that wants to be alone, if enough workers and accelerators are free."""
    kind = attempt.kind
    free = [worker for worker in state.workers.values() if worker.is_free()]
    if len(free) < kind.slots or len(state.free_accelerators) < kind.accelerators:
        return False
    state.ready.popleft()
    worker, others = free[0], free[1 : kind.slots]
    for other in others:
        other.held_by = worker.number
    worker.is_wide = True
    worker.accelerators = state.free_accelerators[: kind.accelerators]
    del state.free_accelerators[: kind.accelerators]
    attempt.worker, attempt.frame = worker.number, worker.frames + 1
    worker.sent.append(attempt)
    worker.shortest_timeout = kind.timeout
    worker.watch_at = None
    environment = _part_environment(attempt.assigned.part)
    if kind.accelerators:
        environment[state.policy.accelerator_variable] = ",".join(map(str, worker.accelerators))
    _send(state, worker, [RunGroup(kind.function, False, [attempt.assigned])], 1, 1, environment)
    return True


def release_wide(state: State, worker: Worker) -> None:
    """A wide try has ended: free what it held."""
    worker.is_wide = False
    for other in state.workers.values():
        if other.held_by == worker.number:
            other.held_by = None
    state.free_accelerators.extend(worker.accelerators)
    state.free_accelerators.sort()
    worker.accelerators = []


def _part_environment(part: Part | None) -> dict[str, str]:
    if part is None:
        return {}
    return {
        "BLOCKYARD_PART": str(part.index),
        "BLOCKYARD_PARTS": str(part.count),
        "BLOCKYARD_RANK": str(part.first_rank),
        "BLOCKYARD_RANKS": str(part.ranks),
        "BLOCKYARD_TOTAL_RANKS": str(part.total_ranks),
        "BLOCKYARD_HOSTS": ",".join(part.hosts),
    }


def _refusal(attempt: Try, state: State) -> Outcome:
    capacity = state.policy.capacity
    return outcomes.failure(
        attempt,
        Status.REFUSED,
        f"the task asks for more than this node has: {capacity.cores:g} cores, {capacity.memory_bytes} bytes of memory, "
        f"{capacity.accelerators} accelerators; ask for at most that",
    )
