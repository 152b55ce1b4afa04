"""What each try used, by the kernel's own accounts of this process; only in workers that are asked to measure.

`getrusage` is read once a try, at its end, and what was used since the try before is its own: between two tries a
worker does next to nothing. Peak memory is the kernel's high-water mark, which is set back (proc_pid_clear_refs(5),
value 5) after each try that raised it, and every 0.1 s: tries that end within that time of each other share a mark
which none of them has raised.

A try's end finds little of this in the processor's caches, so that each line of it costs several times what it would in
a row: there it is only read, and worked out for several tries together when they are told.
"""

import contextlib
import math
import os
import time
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage, struct_rusage
from typing import Final

from blockyard import this_try
from blockyard.this_try import BLOCK_BYTES
from blockyard.wire.monitoring import Use

_BRIEF_SECONDS: Final = 0.001
"""No try that is shorter has started a process and waited for it."""
_PEAK, _MINOR_FAULTS, _SLEEPS = 2, 6, 14
"""Places of `ru_maxrss`, `ru_minflt` and `ru_nvcsw`, which are found sooner than their names."""
_MOST_READINGS: Final = 64
"""That wait to be worked out; each holds some hundred bytes."""
_MARK_SECONDS: Final = 0.1
"""How old a high-water mark may be."""
_SLACK_KIB: Final = 1024
"""A try that raises the mark by more has one of its own."""


_Below = tuple[float, float, int, int, int]
_NOTHING: Final[_Below] = (0.0, 0.0, 0, 0, 0)
_Reading = tuple[int, int, float, float, struct_rusage, struct_rusage, struct_rusage, struct_rusage, _Below]
"""Task, epoch, when it began, how long it ran, and what was used before it and at its end: by us, and by children;
at last what programs used that others watch."""


class Usage:
    """Of one worker."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()
        self._own = getrusage(RUSAGE_SELF)
        self._children = getrusage(RUSAGE_CHILDREN)
        self._mark_kib = 0
        self._mark_at = 0.0
        """When it was set, by the monotonic clock."""
        self._readings: list[_Reading] = []
        self._uses: list[Use] = []
        self.count = 0
        """Tries that ended since `taken`."""
        self._set_mark(time.monotonic())

    def begin(self) -> None:
        """Tries follow; what was used until now is nobody's."""
        self._own = getrusage(RUSAGE_SELF)

    def end(self, task: int, epoch: int, began: float, seconds: float) -> None:
        """A try ended that began at `began`, by the monotonic clock, and ran for so long: read what it has used."""
        before, own = self._own, getrusage(RUSAGE_SELF)
        self._own = own
        ended = began + seconds
        is_raised = own[_PEAK] > self._mark_kib + _SLACK_KIB
        if is_raised or ended > self._mark_at + _MARK_SECONDS:
            # Of one that raised it much may still be there, and go before the next try ends.
            self._set_mark(-math.inf if is_raised else ended)
        earlier = children = self._children
        below = _NOTHING
        # Who copied itself writes to pages that it shares now, and who started a program slept until that began.
        is_alone = own[_MINOR_FAULTS] == before[_MINOR_FAULTS] and own[_SLEEPS] == before[_SLEEPS]
        if seconds >= _BRIEF_SECONDS and not is_alone:
            self._children = children = getrusage(RUSAGE_CHILDREN)
            below = this_try.below.take()
        self._readings.append((task, epoch, began, seconds, before, own, earlier, children, below))
        self.count += 1
        if len(self._readings) >= _MOST_READINGS:
            self._work_out()

    def taken(self) -> list[Use]:
        """What the tries have used that ended since the last call, oldest first."""
        self._work_out()
        uses, self._uses, self.count = self._uses, [], 0
        return uses

    def _work_out(self) -> None:
        offset = self._offset
        for task, epoch, began, seconds, before, own, earlier, children, below in self._readings:
            user, system = own.ru_utime - before.ru_utime, own.ru_stime - before.ru_stime
            read, written = own.ru_inblock - before.ru_inblock, own.ru_oublock - before.ru_oublock
            if children is not earlier:
                user += children.ru_utime - earlier.ru_utime
                system += children.ru_stime - earlier.ru_stime
                read += children.ru_inblock - earlier.ru_inblock
                written += children.ru_oublock - earlier.ru_oublock
                user, system, read, written = user + below[0], system + below[1], read + below[2], written + below[3]
            began_us = int((began + offset) * 1e6)
            self._uses.append(
                Use(
                    task, epoch, began_us, began_us + round(seconds * 1e6),
                    max(int(user * 1e6), 0), max(int(system * 1e6), 0), max(own.ru_maxrss, below[4]) * 1024,
                    max(read, 0) * BLOCK_BYTES, max(written, 0) * BLOCK_BYTES,
                    own.ru_nvcsw - before.ru_nvcsw, own.ru_nivcsw - before.ru_nivcsw,
                    own.ru_majflt - before.ru_majflt + own.ru_minflt - before.ru_minflt,
                )
            )  # fmt: skip
        self._readings.clear()

    def _set_mark(self, now: float) -> None:
        self._reset_peak()
        self._own = getrusage(RUSAGE_SELF)
        self._mark_kib, self._mark_at = self._own.ru_maxrss, now

    @staticmethod
    def _reset_peak() -> None:
        with contextlib.suppress(OSError):  # where /proc is read-only the peak is that of the worker's life
            descriptor = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"5")
            finally:
                os.close(descriptor)
