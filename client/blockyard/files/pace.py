"""How slow a server of files may be.

One that sends byte by byte is never silent, so that no timeout of a socket ends it.
"""

from __future__ import annotations

import time
from typing import Final

CONNECT_SECONDS: Final = 30.0
SILENT_SECONDS: Final = 60.0
"""Longest silence of a server."""
LEAST_BYTES: Final = 64 * 1024
"""Of a file, in each `SILENT_SECONDS` of its transfer."""


class Stalled(TimeoutError):
    """A server says nothing, or too little."""


def stalled(came: int = 0) -> Stalled:
    """Of a server that brought so many bytes in `SILENT_SECONDS`."""
    if came == 0:
        return Stalled(f"the server was silent for {SILENT_SECONDS:g} s")
    return Stalled(f"only {came} bytes came in {SILENT_SECONDS:g} s")


class Pace:
    """Of a transfer that goes on piece by piece, each of which comes in less than `SILENT_SECONDS`."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._count = 0

    def moved(self, count: int) -> None:
        """So many more bytes. Raises Stalled."""
        self._count += count
        if time.monotonic() - self._since < SILENT_SECONDS:
            return
        if self._count < LEAST_BYTES:
            raise stalled(self._count)
        self._since, self._count = time.monotonic(), 0
