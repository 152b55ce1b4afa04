"""Whether the interchange is well: what its main thread says of itself, and what follows from it.

Live means that the loop turns. A journal that cannot be reached makes the interchange not ready and leaves it live, for
a restart would mend nothing. Before the loop begins, while the journal is waited for and replayed, it is live and not
ready. Who asks is told by `blockyard.probes`.
"""

from typing import Final

STUCK_SECONDS: Final = 60.0
"""Longer than a turn can take: a commit waits 30 s for its answer, and a lost journal is connected to for some more."""

Verdict = tuple[bool, str]
"""Whether it is well, and a sentence."""


class Health:
    """What the main thread says of itself; written by it alone."""

    def __init__(self) -> None:
        self.stage = "starting"
        """What it does before the loop begins, and after it has ended."""
        self.turned_at: float | None = None
        """When the loop's last turn began, monotonic; None while there is no loop."""
        self.is_held = False
        """The journal cannot be written."""

    def live(self, now: float) -> Verdict:
        """Whether it makes sense to let it go on."""
        if self.turned_at is None:
            return True, self.stage
        silent = now - self.turned_at
        if silent > STUCK_SECONDS:
            return False, f"the loop has not turned for {silent:.0f} s"
        return True, "the loop turns"

    def ready(self, now: float) -> Verdict:
        """Whether it serves."""
        is_live, sentence = self.live(now)
        if self.turned_at is None or not is_live:
            return False, sentence
        if self.is_held:
            return False, "the journal cannot be written: clients wait"
        return True, "it serves"


__all__ = ["Health", "Verdict"]
