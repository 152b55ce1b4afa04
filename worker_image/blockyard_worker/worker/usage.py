"""What each try used, by the kernel's own accounts of this process; only in workers that are asked to measure.

`getrusage` is read once a try, at its end, and what was used since the try before is its own: between two tries a
worker does next to nothing. Peak memory is the kernel's high-water mark, which is set back (proc_pid_clear_refs(5),
value 5) after each try that raised it, and every 20 ms: tries that end within that time of each other share a mark
which none of them has raised.
"""

import contextlib
import math
import os
import time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Final

from blockyard import this_try
from blockyard.wire.codec import encode
from blockyard.wire.monitoring import Use

_BLOCK_BYTES: Final = 512
"""Of `ru_inblock` and `ru_oublock`, getrusage(2)."""
_BRIEF_SECONDS: Final = 0.001
"""No try that is shorter has started a process and waited for it."""
_MARK_SECONDS: Final = 0.02
"""How old a high-water mark may be."""
_SLACK_KIB: Final = 1024
"""A try that raises the mark by more has one of its own."""


class Usage:
    """Of one worker."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._own = getrusage(RUSAGE_SELF)
        self._children = getrusage(RUSAGE_CHILDREN)
        self._mark_kib = 0
        self._mark_at = 0.0
        """When it was set, by the monotonic clock."""
        self._set_mark(time.monotonic())

    def begin(self) -> None:
        """Tries follow; what was used until now is nobody's."""
        self._own = getrusage(RUSAGE_SELF)

    def end(self, task: int, epoch: int, began: float, seconds: float) -> Use:
        """What the try that began at `began`, by the monotonic clock, and ran for so long has used."""
        before, own = self._own, getrusage(RUSAGE_SELF)
        self._own = own
        user, system = own.ru_utime - before.ru_utime, own.ru_stime - before.ru_stime
        read, written = own.ru_inblock - before.ru_inblock, own.ru_oublock - before.ru_oublock
        peak_kib = own.ru_maxrss
        ended = began + seconds
        is_raised = peak_kib > self._mark_kib + _SLACK_KIB
        if is_raised or ended > self._mark_at + _MARK_SECONDS:
            # Of one that raised it much may still be there, and go before the next try ends.
            self._set_mark(-math.inf if is_raised else ended)
        if seconds >= _BRIEF_SECONDS:
            earlier, children = self._children, getrusage(RUSAGE_CHILDREN)
            self._children = children
            user += children.ru_utime - earlier.ru_utime
            system += children.ru_stime - earlier.ru_stime
            read += children.ru_inblock - earlier.ru_inblock
            written += children.ru_oublock - earlier.ru_oublock
            below = this_try.below.take()
            user, system, read, written = user + below[0], system + below[1], read + below[2], written + below[3]
            peak_kib = max(peak_kib, below[4])
        began_us = int((began + self._offset) * 1e6)
        return Use(
            task, epoch, began_us, began_us + round(seconds * 1e6),
            max(int(user * 1e6), 0), max(int(system * 1e6), 0), peak_kib * 1024,
            max(read, 0) * _BLOCK_BYTES, max(written, 0) * _BLOCK_BYTES,
            own.ru_nvcsw - before.ru_nvcsw, own.ru_nivcsw - before.ru_nivcsw,
            own.ru_majflt - before.ru_majflt + own.ru_minflt - before.ru_minflt,
        )  # fmt: skip

    def _set_mark(self, now: float) -> None:
        self._reset_peak()
        self._own = getrusage(RUSAGE_SELF)
        self._mark_kib, self._mark_at = self._own.ru_maxrss, now

    @staticmethod
    def encoded(uses: list[Use]) -> bytes:
        """As they travel."""
        return encode(uses)

    @staticmethod
    def _reset_peak() -> None:
        with contextlib.suppress(OSError):  # where /proc is read-only the peak is that of the worker's life
            descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"5")
            finally:
                os.close(descriptor)
