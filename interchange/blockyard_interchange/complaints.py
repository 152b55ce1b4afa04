"""Warnings that a peer can cause as often as it likes: few are logged, so that it cannot fill the disk with them."""

import logging
import time
from collections.abc import Callable
from typing import Final

COMPLAINT_SECONDS: Final = 1.0
"""Between two."""


class Complaints:
    """Those of one kind. `clock`: monotonic seconds."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._next_at = 0.0
        self._count = 0

    def add(self, words: str, *arguments: object) -> None:
        """Log it, with how many of this kind there were, unless another one was logged just now."""
        self._count += 1
        now = self._clock()
        if now >= self._next_at:
            self._next_at = now + COMPLAINT_SECONDS
            self._log.warning(words + " (the %d. of this kind)", *arguments, self._count)
