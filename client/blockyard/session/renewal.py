"""Keys for the interchange, asked for again when nobody answers by those there are: they may have been replaced."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from blockyard.session.link import LinkSettings

_log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 5.0
"""After which they are asked for, and from one time to the next; the interchange answers a ping in each second."""


class Renewal:
    """Asks in a thread of its own, since that may take long. `now`: when the link began."""

    def __init__(self, settings: LinkSettings, now: float) -> None:
        self._settings = settings
        self._asked_at = now
        self._asking: threading.Thread | None = None
        self._found: LinkSettings | None = None

    def look(self, heard_at: float, now: float) -> LinkSettings | None:
        """Settings with other keys, once, when there are any. `heard_at`: when the interchange said something last."""
        renew, found = self._settings.renew, self._found
        if renew is None or now - heard_at < SILENT_SECONDS:
            return None
        if found is None:
            if now - self._asked_at >= SILENT_SECONDS and (self._asking is None or not self._asking.is_alive()):
                self._asked_at = now
                self._asking = threading.Thread(target=self._ask, args=(renew,), name="blockyard-renew", daemon=True)
                self._asking.start()
            return None
        self._found = None
        if (found.server_key, found.keys) == (self._settings.server_key, self._settings.keys):
            return None
        self._settings = found._replace(renew=renew)
        _log.info("the keys for the interchange were replaced")
        return self._settings

    def _ask(self, renew: Callable[[], LinkSettings]) -> None:
        try:
            self._found = renew()
        except Exception as error:  # noqa: BLE001 - the rim of this thread; it is asked again
            _log.debug("the keys for the interchange could not be asked for: %s", error)
