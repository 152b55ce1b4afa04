"""That an interchange does not answer, said once while it lasts: whoever waits for results sees nothing else."""

from __future__ import annotations

from typing import Final

from blockyard.session.core import Large

SILENT: Final = (
    "The interchange has not answered for {:g} s: it was stopped or cut off, or it cannot write its journal (a full "
    "disk?) and holds its clients until it can. What it acknowledged is kept; its log says what is wrong. "
    "This client goes on by itself when it is back."
)
SLOW: Final = (
    "{:.1f} MB have been on their way {} the interchange for {:g} s: the link is slow, and all else waits behind them. "
    "Keep what is large where the tasks run: pass a File, return an Output (docs/files.md), or "
    "less at once."
)
SILENT_SECONDS: Final = 10.0
"""After which it is said; the interchange answers a ping in each second."""


class Silence:
    """Of an interchange that has answered before."""

    def __init__(self) -> None:
        self._since: float | None = None
        """When it was heard last, while it is known to be silent."""
        self._told: Large | None = None
        """The frame that was said to be slow last."""

    def look_behind(self, large: Large, now: float) -> str:
        """What there is to say of a large frame that is on its way, or nothing."""
        if large == self._told or now - large.since < SILENT_SECONDS:
            return ""
        self._told = large
        way = "from" if large.comes else "to"
        return SLOW.format(large.size_bytes / 1e6, way, round(now - large.since))

    def look(self, heard_at: float, now: float) -> str:
        """What there is to say now, or nothing. `heard_at`: when the interchange said something last."""
        if self._since is None:
            if now - heard_at < SILENT_SECONDS:
                return ""
            self._since = heard_at
            return SILENT.format(round(now - heard_at))
        if heard_at == self._since:
            return ""
        silent = heard_at - self._since
        self._since = None
        return f"The interchange answers again, after {silent:.0f} s."
