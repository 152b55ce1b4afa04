"""What a task prints: kept whole in files up to a bound, and its end in memory; passed on as it comes, if asked."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

READ_BYTES: Final = 1 << 17
TAIL_BYTES: Final = 64 * 1024
FILE_BYTES: Final = 64 * 1024 * 1024

OnOutput = Callable[[str, bytes], None]
"""Gets the stream's name and bytes as they come."""


@contextlib.contextmanager
def captured(folder: str, on_output: OnOutput | None) -> Iterator[list[Stream]]:
    """A task's stdout and stderr, until the block ends. `folder`: for their files, '' for none. Raises OSError."""
    with contextlib.ExitStack() as stack:
        streams = []
        for name in ("stdout", "stderr"):
            stream = Stream(name, Path(folder, name) if folder else None, on_output)
            stack.callback(stream.close)
            streams.append(stream)
        yield streams


def echo(name: str, data: bytes) -> None:
    """Print it on this process's own stream of that name."""
    stream = sys.stdout if name == "stdout" else sys.stderr
    stream.write(data.decode(errors="replace"))
    stream.flush()


class Stream:
    """One stream, with or without a file: a pipe whose `writer` the task has, and what was read from it."""

    def __init__(self, name: str, file: Path | None, on_output: OnOutput | None, file_bytes: int = FILE_BYTES) -> None:
        self.name = name
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(file, flags, 0o600) if file is not None else -1
        self._on_output = on_output
        self._room = file_bytes if file is not None else 0
        self._tail = bytearray()
        self.total_bytes = 0
        self.unkept_bytes = 0
        """That did not go to a file: there is none, or it is full, or its disk is."""
        self.is_open = True

    def release(self) -> None:
        """The task has the writing end now."""
        os.close(self.writer)
        self.writer = -1

    def read(self) -> bool:
        """Take what is there, a bounded amount; False at its end."""
        try:
            data = os.read(self.reader, READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self._keep(data)
        if self._on_output is not None:
            self._on_output(self.name, data)
        return True

    def _keep(self, data: bytes) -> None:
        self.total_bytes += len(data)
        self._tail += data
        if len(self._tail) > 2 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        kept = 0
        if self._room > 0:
            try:
                kept = os.write(self._file, data[: self._room])
            except OSError:
                self._room = 0  # the disk is full: the task goes on, and the record counts what is missing
        self._room -= kept
        self.unkept_bytes += len(data) - kept

    def tail(self) -> str:
        """Its end, at most `TAIL_BYTES`."""
        return bytes(self._tail[-TAIL_BYTES:]).decode(errors="replace")

    def close(self) -> None:
        """Let go of it."""
        if self.is_open:
            self.is_open = False
            if self.writer >= 0:
                os.close(self.writer)
            os.close(self.reader)
            if self._file >= 0:
                os.close(self._file)
