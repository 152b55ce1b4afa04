"""The tasks that a client has under way with an interchange: their numbers, their futures, what may be let go of them.

Threads of the user add tasks, under the engine's lock; the link's thread ends them. What travels and when is the
engine's; what a future ends with is `session.endings`'; how much there may be is `Room`'s.
"""

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from blockyard.blobs import BlobFolder
from blockyard.ending import Ending
from blockyard.futures import FutureHome, TaskFuture
from blockyard.ids import NUMBER_BITS, TaskId
from blockyard.room import SMALL_BYTES, Room
from blockyard.session.endings import ending_of
from blockyard.wire.client import Attached
from blockyard.wire.records import Body, Outcome

Batch = list[tuple[TaskFuture[Any], Ending, Any]]
"""What `FutureHome.complete` takes."""


class Unfinished:
    """One client's. `keep`: an outcome counts until somebody looks at it, for the run outlives the client."""

    def __init__(self, session: int, lock: threading.Lock, home: FutureHome, *, keep: bool, on_full: str) -> None:
        self._session = session
        self._base = session << NUMBER_BITS
        self._next = 0
        self._home = home
        self._keep = keep
        self._futures: dict[int, TaskFuture[Any]] = {}
        self._unseen: set[int] = set()
        """Of a kept run: tasks that ended and whose outcome nobody has looked at."""
        self._pools: dict[int, str] = {}
        """Pools of unfinished tasks, of all that are not of pool 'default'."""
        self._let_go: set[int] = set()
        """Tasks of other clients of the run that were collected or cancelled here."""
        self._names: dict[int, str] = {}
        """Of tasks of hosted runs that are being asked about."""
        self.room = Room(lock, self._futures, self._unseen, on_full=on_full)

    def __len__(self) -> int:
        return len(self._futures)

    # ------------------------------------------------------------------ under the lock, in the callers' threads

    def number(self) -> tuple[int, int]:
        """The next number in this session, and the task it makes, for what has no future here."""
        number = self._next
        self._next = number + 1
        return number, self._base | number

    def add_one(self, pool: str, body: Body, size: int) -> tuple[int, TaskFuture[Any]]:
        """A task's number and future; `size` of the body in bytes."""
        number, task = self.number()
        future: TaskFuture[Any] = TaskFuture(self._home, task)
        self._futures[task] = future
        if size > SMALL_BYTES:
            self.room.take(task, body)
        if pool != "default":
            self._pools[task] = pool
        return number, future

    def add(self, pool: str, bodies: Sequence[Body], size: int) -> tuple[int, list[TaskFuture[Any]]]:
        """The first number of as many tasks as bodies, and their futures; `size` of all bodies in bytes."""
        first = self._next
        self._next = first + len(bodies)
        tasks = range(self._base | first, (self._base | first) + len(bodies))
        fresh: list[TaskFuture[Any]] = [TaskFuture(self._home, task) for task in tasks]
        self._futures.update(zip(tasks, fresh, strict=True))
        if size > SMALL_BYTES * len(bodies):
            for task, body in zip(tasks, bodies, strict=True):
                self.room.take(task, body)
        if pool != "default":
            self._pools.update(dict.fromkeys(tasks, pool))
        return first, fresh

    # ------------------------------------------------------------------ in the link's thread

    def ended(self, outcomes: list[Outcome], blobs: BlobFolder | None) -> tuple[Batch, list[int]]:
        """What to complete, and the tasks whose results the interchange need not keep any more."""
        futures, keep = self._futures, self._keep
        batch: Batch = []
        collected: list[int] = []
        for outcome in outcomes:
            task = outcome.task
            future = futures.pop(task, None)
            if future is None:
                # Cancelled here; or sent again after a reconnect; or another client's, who may still want it.
                if task not in self._unseen and (task >> NUMBER_BITS == self._session or task in self._let_go):
                    collected.append(task)
                continue
            body = outcome.body
            if outcome.status == 0 and type(body) is bytes:
                batch.append((future, Ending.RESULT, body))
            else:
                batch.append((future, *ending_of(outcome, blobs)))
            if self._pools:
                self._pools.pop(task, None)
            if keep:
                self._unseen.add(task)
            else:
                collected.append(task)
        if self.room.counts_bytes:
            self.room.free(outcome.task for outcome in outcomes)
        if self._unseen:
            with self.room.lock:
                for outcome in outcomes:
                    if outcome.task in self._unseen:
                        self.room.take(outcome.task, outcome.body)
        return batch, collected

    def refused(self, tasks: Iterable[int], error: Exception) -> Batch:
        """What to complete of submissions that the interchange did not take."""
        self.room.free(tasks)
        return [(future, Ending.EXCEPTION, error) for task in tasks if (future := self._futures.pop(task, None))]

    def started(self, tasks: Iterable[int]) -> list[TaskFuture[Any]]:
        """The futures of tasks that a worker has begun with."""
        return [future for task in tasks if (future := self._futures.get(task)) is not None]

    def attached(self, attached: Attached) -> list[TaskFuture[Any]]:
        """Futures for tasks of other clients of the run, of those that have none here."""
        known = self._futures
        fresh = {
            task: TaskFuture[Any](self._home, task)
            for task in attached.tasks
            if task not in known and task not in self._unseen and task not in self._let_go
        }
        known.update(fresh)
        self._names.update(zip(attached.tasks, attached.names, strict=True))
        return list(fresh.values())

    # ------------------------------------------------------------------ in any thread

    def cancelled(self, task: int) -> None:
        """A future was cancelled here: its outcome is not wanted any more."""
        self._futures.pop(task, None)
        if self.room.counts_bytes:
            self.room.free([task])
        self._let_go_of(task)

    def looked_at(self, task: int) -> None:
        """Somebody has the outcome of a task of a kept run."""
        self._unseen.discard(task)
        self.room.free([task])
        self._let_go_of(task)

    def _let_go_of(self, task: int) -> None:
        if task >> NUMBER_BITS != self._session:
            self._let_go.add(task)

    def give_up(self) -> list[TaskFuture[Any]]:
        """All futures there are; from now on there are none."""
        with self.room.lock:
            futures = list(self._futures.values())
            self._futures.clear()
        self.room.look_again()
        return futures

    def of_pool(self, pool: str) -> dict[TaskId, TaskFuture[Any]]:
        """Those of one pool."""
        return {
            TaskId(task): future
            for task, future in self._futures.copy().items()
            if self._pools.get(task, "default") == pool
        }

    def name_of(self, task: int) -> str:
        """The name of a task of a hosted run that was attached; it can be asked for once."""
        return self._names.pop(task, "")

    def uncollected(self) -> list[int]:
        """Of a kept run, the tasks whose outcome nobody has looked at."""
        return list(self._unseen)

    def tasks(self) -> list[int]:
        """All that have not ended."""
        return list(self._futures)

    def futures(self) -> list[TaskFuture[Any]]:
        """The futures of all that have not ended."""
        return list(self._futures.values())
