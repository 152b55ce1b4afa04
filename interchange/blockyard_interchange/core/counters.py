"""What the interchange has counted since the journal began."""

import enum

import msgspec

from blockyard.wire.records import Status


class Loss(enum.StrEnum):
    """Why a try was lost, as far as that can be said in one word."""

    WORKER = "worker"
    """Its process died, or its manager said so."""
    BLOCK = "block"
    """Its block was reported to have ended."""
    LEFT = "left"
    """Its manager left, drained or not."""
    SILENT = "silent"
    """Its manager was not heard of for the length of a lease."""
    RESTART = "restart"
    """The interchange was restarted, and its manager did not come back."""
    UNDELIVERED = "undelivered"
    """It was given back, or never arrived; it did not run."""


class Counters(msgspec.Struct):
    """What happened so far; monotonic, restored from the journal."""

    submitted: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retried: int = 0
    lost: int = 0
    late: int = 0
    """Results refused because their lease had ended."""
    refused: int = 0
    duplicates: int = 0
    """Submissions that were known already."""
    losses: dict[str, int] = {}
    """`lost` by `Loss`."""
    restarts: int = 0
    """Workers that managers started again. This and the next two are known from heartbeats."""
    out_of_memory: int = 0
    """Tries that managers ended, or found ended, for want of memory."""
    output_dropped_bytes: int = 0
    """Of what tasks printed."""
    cache_hits: int = 0
    """Tasks that ended with the result of another one."""
    cache_misses: int = 0
    """Tasks that were looked for there and had to run; counted when they end."""
    cache_evicted: int = 0
    """Cached results that were given up, for their age or for want of room."""
    refused_peers: int = 0
    """By their key. This and the next are counted by the shell, which alone sees them."""
    refused_frames: int = 0

    @property
    def unfinished(self) -> int:
        """Tasks that were submitted and have not ended."""
        return self.submitted - self.done - self.failed - self.cancelled

    @property
    def unentered(self) -> tuple[int, int, int, int, int, int]:
        """What no other entry of the journal shows, so that it is journaled whenever it changes."""
        return self.retried, self.lost, self.late, self.cache_hits, self.cache_misses, self.cache_evicted

    def count(self, status: Status) -> None:
        """A task ended so."""
        if status is Status.DONE:
            self.done += 1
        elif status is Status.CANCELLED or status is Status.SKIPPED:
            self.cancelled += 1
        else:
            self.failed += 1
