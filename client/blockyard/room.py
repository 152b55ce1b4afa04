"""How much a client has unfinished or uncollected, how much it may have, and how `submit` waits for room.

What counts: tasks that have not ended, of a kept run also those whose outcome nobody has looked at; their arguments and
these outcomes in bytes, `memory` those that travel in messages and `disk` all, those in shared files too; values of
`put` on `disk`. Bodies up to `SMALL_BYTES` are counted by the number of tasks only. The lock is the engine's; whoever
calls holds it, unless it is said otherwise.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Final, TypeVar

from blockyard.errors import BlobsFull, QueueFull
from blockyard.wire.client import Credit
from blockyard.wire.records import Body, body_bytes

_log = logging.getLogger(__name__)

T = TypeVar("T")

SMALL_BYTES: Final = 256
_COMPLAINT_SECONDS: Final = 10.0
"""After so long it is said what is waited for, when nothing but this program itself can make room."""
_FREED_SECONDS: Final = 2.0
"""The files of tasks that have just ended are gone within this time."""
_LOOK_SECONDS: Final = 0.05


class Room:
    """One client's. `unfinished`: tasks that have not ended; `unseen`: ended ones whose outcomes it must collect."""

    def __init__(self, lock: threading.Lock, unfinished: Sized, unseen: Sized, *, on_full: str) -> None:
        self.lock = lock
        self.limits = Credit(1, 1, 1)
        self.waiting = 0
        """Threads that wait."""
        self.memory = 0
        self.disk = 0
        self._unfinished = unfinished
        self._unseen = unseen
        self._on_full = on_full
        self._freed = threading.Condition(lock)
        self._sizes: dict[int, tuple[int, int]] = {}
        """Task to its share of `memory` and `disk`."""

    def admit(
        self, count: int, memory: int, disk: int, check_open: Callable[[], None], *, may_wait: bool = True
    ) -> None:
        """Wait until so much more may be had. Raises QueueFull, and what `check_open` raises meanwhile.

        One submission is let in however large it is when nothing else is there that its limit counts.
        """
        while (full := self._full(count, memory, disk)) != "":
            if self._on_full == "raise" or not may_wait:
                raise QueueFull(full)
            self._wait(_COMPLAINT_SECONDS, full)
            check_open()

    def admit_value(self, disk: int, check_open: Callable[[], None], *, may_wait: bool = True) -> None:
        """The same for a value that is put. Raises QueueFull also when no task is left whose end would make room."""
        while self.disk and self.disk + disk > self.limits.max_disk:
            full = self._words("put")
            if self._on_full == "raise" or not may_wait or not self._unfinished:
                raise QueueFull(full)
            self._wait(_COMPLAINT_SECONDS, full)
            check_open()

    def take(self, task: int, body: Body) -> None:
        """Count a body of this task."""
        size = body_bytes(body)
        if size > SMALL_BYTES:
            memory = size if type(body) is bytes else 0
            had = self._sizes.get(task, (0, 0))
            self._sizes[task] = (had[0] + memory, had[1] + size)
            self.memory += memory
            self.disk += size

    @property
    def counts_bytes(self) -> bool:
        """Whether any task has a share in them. Needs no lock."""
        return bool(self._sizes)

    def free(self, tasks: Iterable[int]) -> None:
        """These tasks do not count any more. Takes the lock itself."""
        with self.lock:
            for task in tasks:
                memory, disk = self._sizes.pop(task, (0, 0))
                self.memory -= memory
                self.disk -= disk
            self._freed.notify_all()

    def look_again(self) -> None:
        """Something has changed: let those who wait see whether it is enough. Takes the lock itself."""
        with self.lock:
            self._freed.notify_all()

    def change(self, limits: Credit) -> None:
        """The interchange allows so much from now on. Needs no lock; `look_again` follows."""
        self.limits = limits

    def packed(self, pack: Callable[[], T], check_open: Callable[[], None], *, may_wait: bool = True) -> T:
        """Call `pack`, which may find no room for large bodies, and again when tasks have ended. Takes the lock itself.

        Raises BlobsFull when there is none left whose end would make room.
        """
        last = 0.0
        while True:
            try:
                return pack()
            except BlobsFull:
                now = time.monotonic()
                with self.lock:
                    if self._unfinished or not last:
                        last = now
                    if self._on_full == "raise" or not may_wait or now - last > _FREED_SECONDS:
                        raise
                    self._wait(_LOOK_SECONDS, "")
                    check_open()

    def _full(self, count: int, memory: int, disk: int) -> str:
        """Which limit is reached, in words; '' for none."""
        held, limits = len(self._unfinished) + len(self._unseen), self.limits
        if held and (
            held + count > limits.max_tasks
            or (self.memory and self.memory + memory > limits.max_bytes)
            or (self.disk and self.disk + disk > limits.max_disk)
        ):
            return self._words("submit")
        return ""

    def _words(self, waiting: str) -> str:
        limits, uncollected = self.limits, ""
        if self._unseen:
            uncollected = f" and the outcomes of {len(self._unseen)} are uncollected, as this run is kept"
        return (
            f"{len(self._unfinished)} tasks are unfinished{uncollected}, with {self.memory} bytes in messages and "
            f"{self.disk} in all, and max_tasks={limits.max_tasks}, max_bytes={limits.max_bytes}, "
            f"max_disk={limits.max_disk}: collect or cancel some, raise these limits of the interchange, or let "
            f"{waiting} wait with on_full='wait'"
        )

    def _wait(self, seconds: float, full: str) -> None:
        self.waiting += 1
        try:
            if not self._freed.wait(seconds) and full and not self._unfinished:
                _log.warning("waiting for room, which only this program can make: %s", full)
        finally:
            self.waiting -= 1

    def after_fork_in_child(self, lock: threading.Lock) -> None:
        """Nobody waits here, and nobody holds this lock."""
        self.lock = lock
        self._freed = threading.Condition(lock)


def sizes_of(bodies: Sequence[Body]) -> tuple[int, int]:
    """Bytes of bodies that travel in messages, and of all, as `admit` wants them."""
    plain = [len(body) for body in bodies if type(body) is bytes]
    memory = sum(plain)
    if len(plain) == len(bodies):
        return memory, memory
    return memory, sum(map(body_bytes, bodies))
