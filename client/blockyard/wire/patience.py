"""How long a peer may be silent behind a large frame.

Heartbeats wait behind it, and on a slow link that is longer than a lease. So who sends one announces it in a heartbeat,
or in the answer to one, right before it; for the time that it may take both ends do not mind silence.
"""

from typing import Final

from blockyard.wire.codec import MAX_FRAME_BYTES

LARGE_BYTES: Final = 64 * 1024
"""A frame of more is announced."""
_SLOWEST_BYTES_A_SECOND: Final = 32 * 1024
"""A link that is slower carries small frames only."""
_LONGEST_SECONDS: Final = 600.0
"""For a frame on a link that is slower than `_FAST_BYTES_A_SECOND`. Who hangs in the middle of a frame, and leaves the
connection standing, is noticed so late."""
_FAST_BYTES_A_SECOND: Final = 1024 * 1024


def seconds_for(follows: int) -> float:
    """How long an announced frame of so many bytes may take."""
    size_bytes = min(max(follows, 0), MAX_FRAME_BYTES)
    return max(size_bytes / _FAST_BYTES_A_SECOND, min(size_bytes / _SLOWEST_BYTES_A_SECOND, _LONGEST_SECONDS))


def client_seconds_for(follows: int) -> float:
    """The same between a client and the interchange: no lease waits for one, and to begin anew helps nobody."""
    return 8 * seconds_for(follows)
