"""What is asked of a running task from outside, by any thread, until the loop that supervises it takes it.

What a request comes to is left to `course`, and carrying it out to `supervision`.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque

from blockyard.errors import BlockyardError
from blockyard.managed.course import Request


class NotWanted(BlockyardError):
    """A task was cancelled before it was started."""


class Requests:
    """Of one executor. Between `open` and `close`, `woken` becomes readable when there is a new one, and `unwanted`
    when there is one to cancel."""

    def __init__(self) -> None:
        self._asked: deque[tuple[Request, str]] = deque()
        self._wake = -1
        self.woken = self.unwanted = -1

    def open(self) -> None:
        """Have whoever adds one wake the loop; what was added before stays. Raises OSError."""
        self.unwanted = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if any(request is Request.CANCEL for request, _ in list(self._asked)):
            os.eventfd_write(self.unwanted, 1)

    def add(self, request: Request, why: str = "") -> None:
        """Ask it. From any thread."""
        self._asked.append((request, why))
        if self._wake >= 0:
            with contextlib.suppress(OSError):  # it has just ended
                os.write(self._wake, b"\0")
                if request is Request.CANCEL:
                    os.eventfd_write(self.unwanted, 1)

    def take(self) -> list[tuple[Request, str]]:
        """What was asked since the last look."""
        found = []
        while self._asked:
            found.append(self._asked.popleft())
        return found

    def clear(self) -> None:
        """Forget what was asked."""
        self._asked.clear()

    def close(self) -> None:
        """The task has ended, and with it what was asked of it."""
        wake, self._wake = self._wake, -1
        self.clear()
        os.close(wake)
        os.close(self.woken)
        os.close(self.unwanted)
