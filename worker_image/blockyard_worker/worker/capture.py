"""What tasks print: one pipe to the manager for the worker's whole life, with marks where a task's output ends.

Descriptors 1 and 2 are the pipe, so output of native code and of child processes goes the same way. The manager reads
the pipe all the time and keeps only tails; nothing can fill memory or disk. At the end of a try that printed, the
worker writes a mark into the pipe: everything before it, and after the mark before, belongs to that try.

Whether a try printed is known for free when Python's own streams were used. For output that bypassed them the worker
asks the pipe for unread bytes, but only after tries long enough to have started a process (`LONG_SECONDS`): one system
call. If the manager has read them already, it did so while the try ran, and knows from the page whose they were.
"""

import fcntl
import io
import os
import struct
import sys
import termios
from typing import Any

NONCE_BYTES = 16
_MARK = struct.Struct(f"<{NONCE_BYTES}sQQ")
MARK_BYTES = _MARK.size
LONG_SECONDS = 0.0005
"""Forking a process and running a program in it takes longer than this."""


class _Tap(io.FileIO):
    """A descriptor that remembers whether something was written through it."""

    wrote = False

    def write(self, data: Any, /) -> int:
        self.wrote = True
        return super().write(data) or 0


class Capture:
    """The worker's end."""

    def __init__(self, descriptor: int, nonce: bytes) -> None:
        """Make `descriptor`, a pipe's writing end, this process's stdout and stderr. `nonce`: 16 secret bytes."""
        self._pipe = descriptor
        self._nonce = nonce
        self._unread = bytearray(4)
        self._open()
        self.keep()

    def _open(self) -> None:
        self._bind()
        self._taps = (_Tap(1, "w", closefd=False), _Tap(2, "w", closefd=False))
        self._streams = tuple(
            io.TextIOWrapper(io.BufferedWriter(tap), "utf-8", "backslashreplace", line_buffering=True)
            for tap in self._taps
        )
        sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]  # those of the template lead nowhere

    def _bind(self) -> None:
        for standard in (1, 2):
            os.dup2(self._pipe, standard)

    def keep(self) -> None:
        """Tries begin with the streams that are set now, whatever those before them did."""
        self._usual = sys.stdout, sys.stderr

    def end_of(self, task: int, epoch: int, seconds: float) -> None:
        """A try has ended; mark its output if there was any."""
        stdout, stderr = self._streams
        out, err = self._taps
        try:
            stdout.flush()
            stderr.flush()
        except (ValueError, OSError):
            self._mend()
        if sys.stdout is not self._usual[0] or sys.stderr is not self._usual[1]:
            sys.stdout, sys.stderr = self._usual
        if out.wrote or err.wrote or (seconds > LONG_SECONDS and self._has_unread()):
            out.wrote = err.wrote = False
            os.write(self._pipe, _MARK.pack(self._nonce, task, epoch))

    def _mend(self) -> None:
        """The task closed a stream, whose output is in the pipe, or a descriptor, whose output is not."""
        self._bind()
        try:
            for stream in self._streams:
                stream.flush()
        except ValueError:
            are_ours = self._usual == self._streams
            self._open()
            if are_ours:
                self.keep()

    def _has_unread(self) -> bool:
        fcntl.ioctl(self._pipe, termios.FIONREAD, self._unread)
        return any(self._unread)


def read_mark(mark: bytes | memoryview) -> tuple[int, int]:
    """Task and epoch of a mark of `MARK_BYTES`, found in the stream by its nonce."""
    _, task, epoch = _MARK.unpack(mark)
    return task, epoch
