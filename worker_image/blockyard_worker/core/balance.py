"""Takes tries back from workers that are busy with something long, and from busy ones when others have nothing."""

from typing import Final

from blockyard_worker.core import effects, outcomes
from blockyard_worker.core.feeding import PATIENCE_SECONDS, requeue
from blockyard_worker.core.state import State
from blockyard_worker.core.workers import Phase, Worker
from blockyard_worker.records import Now

WORTHWHILE_SECONDS: Final = 0.002
"""Less waiting work than this is not moved to another worker."""


def on_watch(state: State, worker: Worker, seen: Now | None, now: float) -> None:
    """A worker has not finished when it should have: free what hides behind a try that takes long."""
    worker.watch_at = None
    if not worker.sent:
        return
    running = now - seen.since if seen is not None and seen.running else 0.0
    if running < PATIENCE_SECONDS:
        worker.watch_at = now + PATIENCE_SECONDS
        return
    worker.is_stuck = True
    if worker.has_batches:
        state.effects.append(effects.Flush(worker.number))
    if len(worker.sent) > 1:
        state.effects.append(effects.Steal(worker.number, len(worker.sent)))


def balance(state: State) -> None:
    """Nothing waits: when somebody has nothing to do, take half of the waiting work of the busiest."""
    victims = [worker for worker in state.workers.values() if len(worker.sent) > 1 and _is_victim(worker)]
    if victims and any(worker.is_free() for worker in state.workers.values()):
        victim = max(victims, key=lambda worker: worker.expected)
        state.effects.append(effects.Steal(victim.number, (len(victim.sent) + 1) // 2))


def _is_victim(worker: Worker) -> bool:
    """Of one that has several tries: whether it can give some, and whether that is worth it."""
    can_give = worker.phase is Phase.READY and not worker.stealing and not worker.is_bare
    return can_give and worker.expected * (1 - 1 / len(worker.sent)) >= WORTHWHILE_SECONDS


def on_stolen(state: State, worker: Worker, count: int) -> None:
    """So many tries were taken back from the tail; they wait again."""
    worker.stealing |= count > 0
    worker.is_bare = count == 0
    back = [worker.sent.pop() for _ in range(count)]
    back.reverse()
    requeue(state, back)
    for attempt in reversed(back):
        if attempt.is_cancelled:
            order = worker.endings.pop(attempt.assigned.task).order
            outcomes.settle(state, attempt, outcomes.failure(attempt, order.status, order.message))
        elif state.is_draining or state.owed:
            state.owed = max(0, state.owed - 1)
            outcomes.hand_back(state, attempt)


def on_idle(worker: Worker, frame: int) -> None:
    """A worker has dropped what was taken back from it; it may be given work again once it saw every frame."""
    if frame == worker.frames:
        worker.stealing = False
