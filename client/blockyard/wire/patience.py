"""How long a peer may be silent behind a large frame.

Heartbeats wait behind it, and on a slow link that is longer than a lease. So who sends one announces it in a heartbeat,
or in the answer to one, right before it; for the time that it may take both ends do not mind silence.
"""

from typing import Final

from blockyard.wire.codec import MAX_FRAME_BYTES

LARGE_BYTES: Final = 1024 * 1024
"""A frame of more is announced."""
_LEAST_BYTES_A_SECOND: Final = 1024 * 1024
"""A link that is slower carries small frames only."""


def seconds_for(follows: int) -> float:
    """How long an announced frame of so many bytes may take."""
    return min(max(follows, 0), MAX_FRAME_BYTES) / _LEAST_BYTES_A_SECOND
