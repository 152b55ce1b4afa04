"""Gives waiting tries to workers: to whom, and when.

The queue is first in, first out. `frames` says how much goes at once; behind a long try one more waits at its worker,
so that this never idles between two. A wide try (one that busies several workers, takes accelerators, or is a part of
a task that spans nodes) at the head of the queue is a reservation: nothing behind it starts until enough workers are
free, so it waits no longer than for what already runs, and two wide tries never wait for each other.
"""

from collections.abc import Iterable
from typing import Final

from blockyard.wire.records import Outcome, Part, Status
from blockyard_worker.core import accelerators, effects, needs, outcomes
from blockyard_worker.core.frames import MOST_TRIES, Frame, room_for_tries
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Try
from blockyard_worker.core.workers import Phase, Worker
from blockyard_worker.records import RunGroup

PATIENCE_SECONDS: Final = 0.02
"""A worker is looked at when it takes so much longer than twice what was expected."""


def feed(state: State, now: float) -> None:
    """Give out what can be given out now."""
    while (head := _head(state)) is not None:
        if head.kind.is_wide:
            if not _start_wide(state, head):
                return
        else:
            worker = _choose(state)
            if worker is None:
                return
            frame = Frame(state, worker)
            frame.fill()
            _send(state, worker, frame.groups, {})
            worker.expected += frame.seconds
            worker.watch_at = now + 2 * worker.expected + PATIENCE_SECONDS


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
        if needs.is_gone(state, attempt):
            ready.popleft()
        elif attempt.kind.too_large:
            ready.popleft()
            outcomes.settle(state, attempt, _refusal(attempt, state))
        elif attempt.kind.function not in state.functions:
            ready.popleft()
            needs.await_function(state, attempt)
        elif attempt.assigned.needs and (fit := needs.fit(state, attempt)) is not needs.Fit.NOW:
            ready.popleft()
            if fit is needs.Fit.NEVER:
                outcomes.hand_back(state, attempt)
        else:
            return attempt
    return None


def _choose(state: State) -> Worker | None:
    """The worker to feed next: a free one, else the one that will be soonest done; None when all have enough."""
    best: Worker | None = None
    for worker in state.workers.values():
        if _has_room(state, worker) and (best is None or _load(worker) < _load(best)):
            best = worker
    if best is not None and best.sent and any(worker.phase is Phase.STARTING for worker in state.workers.values()):
        return None  # one that is being started will take it sooner than one that is busy, for all we know
    return best


def _load(worker: Worker) -> tuple[bool, float]:
    return len(worker.sent) > 0, worker.expected


def _has_room(state: State, worker: Worker) -> bool:
    if worker.phase is not Phase.READY or worker.stealing or worker.is_stuck or worker.is_wide:
        return False
    if worker.held_by is not None or room_for_tries(state, worker) <= 0:
        return False
    count = len(worker.sent)
    if count < 2:
        return True
    # On a machine whose cores are all busy with tasks the manager may have to wait some ticks of the scheduler (4 ms
    # each at 250 Hz) for its turn; meanwhile the worker lives on what waits behind the try that runs.
    return worker.expected * (1 - 1 / count) < state.policy.chunk_seconds and count <= MOST_TRIES


def _send(state: State, worker: Worker, groups: list[RunGroup], environment: dict[str, str]) -> None:
    worker.frames += 1
    worker.is_bare = False
    lacking, dropped = worker.missing(group.spec.function for group in groups)
    bodies = [state.functions[name] for name in lacking]
    state.effects.append(effects.Feed(worker.number, worker.frames, groups, bodies, dropped, environment))


def _start_wide(state: State, attempt: Try) -> bool:
    """Start a try that wants to be alone, if enough workers and accelerators are free."""
    kind = attempt.kind
    free = [worker for worker in state.workers.values() if worker.is_free()]
    if len(free) < kind.slots or not accelerators.take(state, free[: kind.slots], kind.accelerators):
        return False
    state.ready.popleft()
    worker, others = free[0], free[1 : kind.slots]
    for other in others:
        other.held_by = worker.number
    worker.is_wide = True
    attempt.worker, attempt.frame = worker.number, worker.frames + 1
    worker.sent.append(attempt)
    worker.shortest_timeout = kind.timeout
    worker.watch_at = None
    environment = _part_environment(attempt.assigned.part)
    environment |= accelerators.environment(state.policy, worker.accelerators)
    _send(state, worker, [RunGroup(kind.spec, batch=False, tries=[attempt.assigned])], environment)
    return True


def release_wide(state: State, worker: Worker) -> None:
    """A wide try has ended: free what it held."""
    worker.is_wide = False
    for other in state.workers.values():
        if other.held_by == worker.number:
            other.held_by = None
    accelerators.give_back(state, worker)


def _part_environment(part: Part | None) -> dict[str, str]:
    if part is None:
        return {}
    return {
        "BLOCKYARD_PART": str(part.index),
        "BLOCKYARD_PARTS": str(part.count),
        "BLOCKYARD_RANK": str(part.first_rank),
        "BLOCKYARD_RANKS": str(part.ranks),
        "BLOCKYARD_TOTAL_RANKS": str(part.total_ranks),
        "BLOCKYARD_HOSTS": ",".join(part.addresses or part.hosts),
    }


def _refusal(attempt: Try, state: State) -> Outcome:
    asked, there_is = attempt.kind.spec, state.policy.capacity
    too_much = [
        f"{field}={wanted} was asked for, and this node has {field}={there}"
        for field, wanted, there, is_too_much in (
            ("cores", f"{asked.cores:g}", f"{there_is.cores:g}", asked.cores > there_is.cores),
            ("memory", written(asked.memory_bytes), written(there_is.memory_bytes),
             asked.memory_bytes > there_is.memory_bytes),
            ("accelerators", asked.accelerators, there_is.accelerators, asked.accelerators > there_is.accelerators),
        )
        if is_too_much
    ]  # fmt: skip
    return outcomes.failure(attempt, Status.REFUSED, f"{'; '.join(too_much)}: ask for at most that")


def written(size_bytes: int) -> str:
    """As it may be written in a task's options, and no more than there is: 24105Mi."""
    return f"{size_bytes >> 20}Mi" if size_bytes >> 20 else str(size_bytes)
