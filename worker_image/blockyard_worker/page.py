"""One page of memory shared by a worker and its manager: what the worker does right now, readable without asking it.

The worker writes it at the start and the end of each try (a tenth of a microsecond); the manager reads it for
time limits, evidence and heartbeats, also when the worker hangs in native code or is dead. The manager writes two
things, which try a signal is meant for and what it orders. Reads may race with a write, so they are repeated until two
agree.
"""

import mmap
import os
import struct

from blockyard_worker.records import Now, Order

SIZE_BYTES = mmap.PAGESIZE
_NOW = struct.Struct("<QQdQd")
"""task, epoch, when it started (seconds, monotonic clock of this machine), phase, grace of its programs (seconds)."""
_GRACE = struct.Struct("<d")
_GRACE_OFFSET = 32
_TARGET = struct.Struct("<QQ")
_TARGET_OFFSET = 64
_ORDER = struct.Struct("<QQQQ")
_ORDER_OFFSET = 128
_IDLE, _RUNNING, _ENDED = 0, 1, 2


def make_page() -> int:
    """Make the memory; return its descriptor."""
    descriptor = os.memfd_create("blockyard-page", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SIZE_BYTES)
    return descriptor


class Page:
    """A mapped page. `descriptor` may be closed once it is mapped."""

    __slots__ = ("_memory", "_phase")

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, SIZE_BYTES)
        self._phase = memoryview(self._memory).cast("Q")

    # --- the worker's side

    def begin(self, task: int, epoch: int, since: float) -> None:
        """A try starts."""
        _NOW.pack_into(self._memory, 0, task, epoch, since, _RUNNING, 0.0)

    def set_grace(self, seconds: float) -> None:
        """So long the programs of the try that runs have to end when they are asked to."""
        _GRACE.pack_into(self._memory, _GRACE_OFFSET, seconds)

    def end(self) -> None:
        """The try that began has ended."""
        self._phase[3] = _ENDED

    def is_target(self) -> bool:
        """Whether the last `aim` of the manager was at the try that runs now."""
        task, epoch, _, phase, _ = _NOW.unpack_from(self._memory)
        return phase == _RUNNING and (task, epoch) == _TARGET.unpack_from(self._memory, _TARGET_OFFSET)

    def order(self) -> Order | None:
        """What the manager last ordered, if it is meant for the try that runs now."""
        before = None
        while before != (seen := _ORDER.unpack_from(self._memory, _ORDER_OFFSET)):
            before = seen
        number, task, epoch, held = seen
        now = self.read()
        is_meant = now is not None and now.running and (now.task, now.epoch) == (task, epoch)
        return Order(number, bool(held)) if is_meant else None

    # --- the manager's side

    def write_order(self, number: int, task: int, epoch: int, *, held: bool) -> None:
        """Say what the next signal orders, and to which try."""
        _ORDER.pack_into(self._memory, _ORDER_OFFSET, number, task, epoch, held)

    def aim(self, task: int, epoch: int) -> None:
        """Say which try the next signal is for; a worker busy with another one ignores it."""
        _TARGET.pack_into(self._memory, _TARGET_OFFSET, task, epoch)

    def read(self) -> Now | None:
        """What the worker does, None when it never started a try."""
        before = None
        while before != (seen := _NOW.unpack_from(self._memory)):
            before = seen
        task, epoch, since, phase, grace = seen
        return None if phase == _IDLE else Now(task, epoch, since, phase == _RUNNING, grace)

    def close(self) -> None:
        """Unmap it."""
        self._phase.release()
        self._memory.close()
