"""Which key of the interchange a manager that cannot send is to try.

The interchange's pair may be replaced while managers run. What the settings say of it is then another key; until the
interchange has it too, the one that was good last still is. So both are tried, in turn.
"""

import logging
from collections.abc import Callable

from blockyard.errors import ConfigError

log = logging.getLogger(__name__)

FIRST_SECONDS = 0.2
"""Without a connection, before the settings are read: soon enough to be back before a lease ends."""
TURN_SECONDS = 2.0
"""That a key is tried before the other one has its turn: a connection across a network takes moments."""


class ServerKey:
    """`read` gives the key that the settings name now; it raises ConfigError when they cannot be read."""

    def __init__(self, present: bytes, read: Callable[[], bytes]) -> None:
        self._read = read
        self._good = self._tried = present
        self._until = 0.0

    def on_sent(self) -> None:
        """There is a connection, so the key that was tried last is the right one."""
        self._good, self._until = self._tried, 0.0

    def on_unsent(self, now: float) -> bytes | None:
        """The key to connect anew with; None while the present one is to be tried on."""
        if not self._until:
            self._until = now + FIRST_SECONDS
        if now < self._until:
            return None
        self._until = now + TURN_SECONDS
        wanted = self._named() if self._tried == self._good else self._good
        if wanted == self._tried:
            return None
        self._tried = wanted
        return wanted

    def _named(self) -> bytes:
        try:
            return self._read()
        except ConfigError as error:  # perhaps just being replaced
            log.warning("the settings cannot be read again: %s", error, extra={"action": "server_key"})
            return self._good
