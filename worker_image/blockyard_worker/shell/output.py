"""What tasks printed: read from the workers' pipes all the time, kept as tails, a bounded number of them.

Marks in a pipe say where a task's output ends, see `worker.capture`. Until one comes, what was read belongs to the try
that the page names, if it names the same one before and after the reading; otherwise a mark is just being written.
"""

import os
from collections import OrderedDict
from collections.abc import Callable

from blockyard_worker.records import Now
from blockyard_worker.worker.capture import MARK_BYTES, NONCE_BYTES, read_mark

READ_BYTES = 1 << 17
MOST_READS = 8
"""Of one pipe in one round, so that a task that prints without end holds nobody else up."""

Name = tuple[int, int]
"""Task and epoch."""


class Outputs:
    """The tails of the last tasks that printed something."""

    def __init__(self, tail_bytes: int, tasks: int) -> None:
        self._tail_bytes = tail_bytes
        self._most = tasks
        self._tails: OrderedDict[Name, bytearray] = OrderedDict()
        self._dropped: dict[Name, int] = {}
        self.dropped_bytes = 0
        """Of all tails, ever."""
        self.on_first: Callable[[Name], None] | None = None
        """Is told of each try that has printed something, once as long as its tail is kept."""

    def add(self, name: Name, data: bytes | bytearray | memoryview) -> None:
        """More output of a try."""
        if not data:
            return
        tail = self._tails.get(name)
        if tail is None:
            tail = self._tails[name] = bytearray()
            if self.on_first is not None:
                self.on_first(name)
        self._tails.move_to_end(name)
        tail += data
        surplus = len(tail) - self._tail_bytes
        if surplus > 0:
            del tail[:surplus]
            self._dropped[name] = self._dropped.get(name, 0) + surplus
            self.dropped_bytes += surplus
        while len(self._tails) > self._most:
            oldest, _ = self._tails.popitem(last=False)
            self._dropped.pop(oldest, None)

    def tail(self, task: int, epoch: int, most_bytes: int | None = None) -> str:
        """The end of what a try printed, '' when nothing is known; says how much is missing before it."""
        name = (task, epoch)
        tail = self._tails.get(name)
        if tail is None:
            return ""
        shown = bytes(tail if most_bytes is None else tail[-most_bytes:])
        missing = self._dropped.get(name, 0) + len(tail) - len(shown)
        text = shown.decode(errors="replace")
        return f"[{missing} bytes before this were dropped]\n{text}" if missing else text

    def of_task(self, task: int) -> dict[int, str]:
        """What is known of a task's tries, by epoch."""
        return {epoch: self.tail(task, epoch) for one, epoch in self._tails if one == task}


class Stream:
    """One worker's pipe."""

    def __init__(self, outputs: Outputs, nonce: bytes) -> None:
        self.descriptor, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(self.writer, True)
        self._outputs = outputs
        self._nonce = nonce
        self._open: bytearray = bytearray()
        """Read, and without a mark yet."""

    def read(self, look: Callable[[], Now | None]) -> None:
        """Read what is there, a bounded amount; `look` reads the worker's page."""
        for _ in range(MOST_READS):
            before = look()
            try:
                data = os.read(self.descriptor, READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                break
            self._open += data
            self._split()
            after = look()
            if before is not None and after is not None and before[:2] == after[:2]:
                self._pass_on((after.task, after.epoch))

    def finish(self, last: Now | None) -> None:
        """Nothing more will come: what has no mark is of the try that ran last."""
        self.read(lambda: last)
        if last is not None:
            self._outputs.add((last.task, last.epoch), self._open)
        self._open = bytearray()

    def close(self) -> None:
        """Close the reading end."""
        os.close(self.descriptor)

    def _split(self) -> None:
        while (at := self._open.find(self._nonce)) >= 0 and len(self._open) >= at + MARK_BYTES:
            name = read_mark(bytes(self._open[at : at + MARK_BYTES]))
            self._outputs.add(name, self._open[:at])
            del self._open[: at + MARK_BYTES]

    def _pass_on(self, name: Name) -> None:
        """Hand over all but what may be the beginning of a mark."""
        at = self._open.find(self._nonce)
        end = at if at >= 0 else len(self._open) - self._begun_mark()
        self._outputs.add(name, self._open[:end])
        del self._open[:end]

    def _begun_mark(self) -> int:
        """How many bytes at the end may be the beginning of a nonce."""
        longest = min(NONCE_BYTES - 1, len(self._open))
        return next((size for size in range(longest, 0, -1) if self._open.endswith(self._nonce[:size])), 0)
