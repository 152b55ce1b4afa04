"""Stops the managed tasks of a try, or lets them go on, without touching the worker that supervises them.

A worker is told by its page and a signal, which it heeds only between two bytecodes of user code; so the signal is
repeated until the worker answers, or its try has ended. One order at a time for each worker, in their order.
"""

from typing import Final

from blockyard.wire.manager import Held, Hold
from blockyard_worker.core import effects
from blockyard_worker.core.ending import Seen, runs
from blockyard_worker.core.state import State

AGAIN_SECONDS: Final = 0.1
"""Between two signals."""
_PLAIN: Final = (
    "it runs no managed task, and a Python function that is stopped would keep its worker from answering; cancel it, "
    "or run its program by run_managed"
)


def on_hold(state: State, order: Hold) -> None:
    """The interchange wants it."""
    state.holds[order.number] = order
    state.hold_at = 0.0


def on_obeyed(state: State, number: int, count: int) -> None:
    """A worker has done it, to so many managed tasks."""
    if state.holds.pop(number, None) is not None:
        _answer(state, number, count, "" if count else _PLAIN)
        state.hold_at = 0.0


def tick(state: State, now: float, seen: Seen) -> None:
    """Signal, and answer what can't be done any more."""
    if not state.holds or now < state.hold_at:
        return
    state.hold_at = now + AGAIN_SECONDS
    told = set()
    for number, order in list(state.holds.items()):
        attempt = state.held.get(order.task)
        if attempt is None or attempt.outcome is not None or attempt.assigned.epoch != order.epoch:
            del state.holds[number]
            _answer(state, number, 0, "it has ended")
        elif attempt.worker is None or not runs(seen.get(attempt.worker), attempt):
            del state.holds[number]
            _answer(state, number, 0, "it waits for a worker; only what runs can be stopped")
        elif attempt.worker not in told:
            told.add(attempt.worker)
            state.effects.append(effects.HoldPrograms(attempt.worker, order))


def _answer(state: State, number: int, count: int, why: str) -> None:
    state.effects.append(effects.Tell(Held(number, count, why)))
