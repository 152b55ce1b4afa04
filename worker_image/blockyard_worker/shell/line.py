"""What a manager says to the interchange: it waits here until the socket takes it."""

import logging
import math
import time
from typing import Final

from blockyard.transport import Announce, Dealer
from blockyard.wire import codec
from blockyard.wire.manager import FromManager
from blockyard_worker.shell.server_key import ServerKey

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.005
"""Until something is tried again that would have blocked."""
_SLOW_RETRY_SECONDS: Final = 0.05
"""The same when the interchange has been away for a while."""
_FAST_RETRIES_SECONDS: Final = 2.0


class Line:
    """The sending side of the link. It tries another key of the interchange when nobody answers to the present one."""

    def __init__(self, dealer: Dealer, server_key: ServerKey, announce: Announce) -> None:
        self._dealer = dealer
        self._server_key = server_key
        self._announce = announce
        self._unsent: list[bytes] = []
        self._retry_fast_until = time.monotonic() + _FAST_RETRIES_SECONDS

    @property
    def has_unsent(self) -> bool:
        """Whether something waits."""
        return bool(self._unsent)

    def say(self, message: FromManager) -> None:
        """Have it sent by the next `send`, behind all that waits."""
        self._unsent.append(codec.encode(message))

    def forget(self) -> None:
        """Drop what waits: the interchange is to be told of everything anew."""
        self._unsent.clear()

    def due(self, now: float) -> float:
        """When to `send` again."""
        if not self._unsent:
            return math.inf
        return now + (RETRY_SECONDS if now < self._retry_fast_until else _SLOW_RETRY_SECONDS)

    def send(self) -> None:
        """Send what the socket takes."""
        sent = 0
        for frame in self._unsent:
            if not self._dealer.send(frame, self._announce):
                break
            sent += 1
        del self._unsent[:sent]
        if sent or not self._unsent:
            self._retry_fast_until = time.monotonic() + _FAST_RETRIES_SECONDS
        if sent:
            self._server_key.on_sent()
        elif self._unsent and (key := self._server_key.on_unsent(time.monotonic())) is not None:
            log.info("trying another key of the interchange", extra={"action": "server_key"})
            self._dealer.redial(key)
