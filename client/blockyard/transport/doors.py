"""Which routers let others come: none by a Unix socket while hardly any file more may be opened.

On a Unix socket libzmq ends the process when it cannot accept; by TCP others wait.
"""

import logging

from blockyard.transport import descriptors
from blockyard.transport.sockets import Router

_log = logging.getLogger(__name__)


class Doors:
    """Look often: each look is two calls of the kernel."""

    def __init__(self, *routers: Router) -> None:
        self._routers = routers
        self._are_shut = False

    def look(self) -> None:
        """Shut them, or open them again, and say so in the log."""
        shortage = descriptors.shortage()
        if bool(shortage) == self._are_shut:
            return
        self._are_shut = bool(shortage)
        for router in self._routers:
            router.turn_away() if shortage else router.welcome()
        if shortage:
            _log.error("%s: nobody more is let in by Unix sockets until some end; raise 'ulimit -Hn'", shortage)
        else:
            _log.info("others are let in again")
