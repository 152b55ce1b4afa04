"""Tells the history which files a try read and wrote: a record for each, where a worker with monitoring stages them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from blockyard import this_try
from blockyard.files import urls
from blockyard.wire.monitoring import MAX_TEXT, File, clipped, micros

FETCHED: Final = "fetched"
"""It came for this try, which waited for it."""
CACHED: Final = "cached"
"""The node had a copy."""
IN_PLACE: Final = "in place"
"""It is used where it is."""
STORED: Final = "stored"
"""An output was put where it belongs."""
_MOST_FILES: Final = 200
"""In one message."""


class Moved(NamedTuple):
    """A file that was staged."""

    kind: str
    """``input`` or ``output``."""
    url: str
    size_bytes: int
    sha256: str
    """That it was verified to have; '' when none was named."""
    way: str
    """One of the words above."""
    seconds: float
    """With waiting for others that moved it, and with what had to be tried again."""


def tell(moved: Sequence[Moved]) -> None:
    """Tell them. Raises OSError when the worker's manager is gone."""
    around = this_try.here()
    if around is None:
        return
    lease, at_us = around.lease(), micros(time.time())
    for start in range(0, len(moved), _MOST_FILES):
        around.tell(*[
            File(
                lease.task, lease.epoch, one.kind, clipped(urls.shown(one.url), MAX_TEXT), one.size_bytes, at_us,
                one.sha256, one.way, micros(one.seconds),
            )
            for one in moved[start : start + _MOST_FILES]
        ])  # fmt: skip
