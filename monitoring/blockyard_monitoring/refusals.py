"""What comes and is no message: all of it is counted, little of it logged, so that nobody fills a disk by nonsense."""

import logging
import time
from collections.abc import Callable
from typing import Final

from blockyard.radios import Arrivals

_log = logging.getLogger(__name__)

_LOG_SECONDS: Final = 10.0


class Refusals:
    """Of one receiver's thread. `clock`: seconds of a clock that goes steadily."""

    def __init__(self, bus: Arrivals, radio: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bus = bus
        self._radio = radio
        self._clock = clock
        self._log_at = 0.0
        self._unsaid = 0

    def add(self, reason: str, words: str) -> None:
        """Count one; log it, if none was for a while, and how many were not."""
        self._bus.refuse(self._radio, reason)
        now = self._clock()
        if now < self._log_at:
            self._unsaid += 1
            return
        self._log_at = now + _LOG_SECONDS
        more = f"; and {self._unsaid} others since the last that was logged" if self._unsaid else ""
        _log.warning("radio %s: %s is refused: %s%s", self._radio, reason, words, more)
        self._unsaid = 0
