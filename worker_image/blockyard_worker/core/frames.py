"""How much goes into one frame to a worker: tries from the head of the queue, about `chunk_seconds` of work together.

Tries of unknown length go one by one. What needs the try just before it goes along in any case: it could not run
anywhere else sooner, so a chain of short tasks is one frame.
"""

import math
from typing import Final

from blockyard.wire.records import Assigned
from blockyard_worker.core import needs, outcomes
from blockyard_worker.core.state import State
from blockyard_worker.core.tries import Kind, Try
from blockyard_worker.core.workers import Worker
from blockyard_worker.records import RunGroup

MOST_TRIES: Final = 256
"""In a frame."""
MOST_BYTES: Final = 1 << 20
"""Of arguments in a frame, unless a single try has more."""
BATCH_SECONDS: Final = 0.002
"""Outcomes of tries shorter than this may wait for company at the worker."""
WORTHWHILE_SECONDS: Final = 0.0003
"""Less work than this is not spread over several workers."""


class Frame:
    """A frame in the making."""

    def __init__(self, state: State, worker: Worker) -> None:
        self.groups: list[RunGroup] = []
        self.count = 0
        self.seconds = 0.0
        """That the tries in it should take, as far as that is known."""
        self._state = state
        self._worker = worker
        self._share = math.ceil(len(state.ready) / max(1, len(state.workers)))
        self._most = min(MOST_TRIES, room_for_tries(state, worker))
        self._fair = 0
        self._bytes = 0
        self._estimate: float | None = None
        self._priced: Kind | None = None
        self._kind: Kind | None = None
        self._tries: list[Assigned] = []
        self._last = -1

    def fill(self) -> None:
        """Take from the queue what fits."""
        ready, held = self._state.ready, self._state.held
        while ready and self.count < self._most and self._bytes < MOST_BYTES:
            attempt = ready[0]
            assigned = attempt.assigned
            if attempt.outcome is not None or held.get(assigned.task) is not attempt:
                ready.popleft()
                continue
            if attempt.kind is not self._priced and not self._price(attempt.kind):
                return
            if self.count and self._is_full() and not self._is_next(assigned):
                return
            ready.popleft()
            if assigned.needs and (fit := needs.fit(self._state, attempt, self._worker)) is not needs.Fit.NOW:
                if fit is needs.Fit.NEVER:
                    outcomes.hand_back(self._state, attempt)
                continue
            self._add(attempt, assigned)
            if attempt.waiters:
                # They were set aside for this one, which is in the frame now: a long chain goes on frame by frame.
                ready.extendleft(reversed(attempt.waiters))
                attempt.waiters = None

    def _price(self, kind: Kind) -> bool:
        """Look at another kind of tries; False when they cannot be in this frame."""
        if kind.is_wide or kind.too_large or kind.function not in self._state.functions:
            return False
        estimate = kind.pace.estimate()
        if estimate is None:
            if self.count:
                return False
            self._fair = 1
        else:
            self._fair = max(self._share, int(WORTHWHILE_SECONDS / estimate))
        self._priced, self._estimate = kind, estimate
        return True

    def _is_full(self) -> bool:
        if self._estimate is None or self.count >= self._fair:
            return True
        return self.seconds + self._estimate > self._state.policy.chunk_seconds

    def _is_next(self, assigned: Assigned) -> bool:
        return bool(assigned.needs) and assigned.needs[-1].task == self._last

    def _add(self, attempt: Try, assigned: Assigned) -> None:
        worker, kind = self._worker, attempt.kind
        if kind is self._kind:
            self._tries.append(assigned)
        else:
            self._kind, self._tries = kind, [assigned]
            batch = kind.idempotent and self._estimate is not None and self._estimate < BATCH_SECONDS
            self.groups.append(RunGroup(kind.spec, batch, self._tries))
            worker.has_batches |= batch
            if kind.timeout:
                worker.shortest_timeout = min(worker.shortest_timeout or kind.timeout, kind.timeout)
        attempt.worker, attempt.frame = worker.number, worker.frames + 1
        worker.sent.append(attempt)
        self._last = assigned.task
        if self._estimate is not None:
            self.seconds += self._estimate
        elif not self.count:
            self.seconds = self._state.policy.chunk_seconds  # unknown: enough for one frame, for all we know
        self.count += 1
        if type(assigned.body) is bytes:
            self._bytes += len(assigned.body)


def room_for_tries(state: State, worker: Worker) -> int:
    """How many more tries a worker may get before it is to be replaced."""
    limit = state.policy.max_tasks_per_worker
    return limit - worker.tries_done - len(worker.sent) if limit else MOST_TRIES
