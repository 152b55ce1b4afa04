"""How long the tasks of a pool spend on each stage of their way, as histograms that cost next to nothing to feed.

Whatever can be is counted for many tasks at once: those of one submission that are handed out in one turn have waited
equally long, and those that come back together have been away equally long.
"""

import enum
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0, 7200.0, 43200.0,
)  # fmt: skip
"""Upper bounds of the buckets, seconds; one more bucket takes the rest."""
_LONGEST: Final = 3.2e9
"""A century; nothing that is measured here lasts so long, so it is no duration."""


class Stage(enum.StrEnum):
    """A part of a task's way, or all of it. The names are the values of the label `stage`."""

    QUEUED = "queued"
    """From when it could start to when it is given to a manager; once for each try."""
    ASSIGNED = "assigned"
    """From then until its manager's word of how the try ended is here; once for each try that ended so."""
    RUNNING = "running"
    """Of this, the time that the function ran, by the worker's clock."""
    RECORDING = "recording"
    """From the end of a task until the journal holds it and its client may be told."""
    TOTAL = "total"
    """From submission to the end, however it ended."""


class Histogram(msgspec.Struct, array_like=True):
    """So many durations up to each bound; `counts` are not cumulative."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count durations of `seconds` each; what is none (negative, not a number) counts as 0."""
        if not 0.0 <= seconds < _LONGEST:
            seconds = 0.0
        self.counts[bisect_left(BOUNDS, seconds)] += count
        self.sum += seconds * count

    def add_brief(self, count: int, seconds: float) -> None:
        """Count durations of the first bucket, `seconds` altogether."""
        self.counts[0] += count
        if 0.0 <= seconds < _LONGEST:
            self.sum += seconds

    def copy(self) -> "Histogram":
        """As it is now."""
        return Histogram(list(self.counts), self.sum)


class Stages(msgspec.Struct):
    """The stages of one pool's tasks."""

    queued: Histogram = msgspec.field(default_factory=Histogram)
    assigned: Histogram = msgspec.field(default_factory=Histogram)
    running: Histogram = msgspec.field(default_factory=Histogram)
    recording: Histogram = msgspec.field(default_factory=Histogram)
    total: Histogram = msgspec.field(default_factory=Histogram)

    def copied(self) -> dict[str, Histogram]:
        """All of them as they are now, by `Stage`."""
        return {stage.value: self[stage].copy() for stage in Stage}

    def __getitem__(self, stage: Stage) -> Histogram:
        found: Histogram = getattr(self, stage.value)
        return found


def restored(journaled: Mapping[str, Histogram]) -> Stages:
    """From the journal; what a version with other buckets wrote begins anew."""
    known = {stage.value for stage in Stage}
    fitting = {
        name: one.copy() for name, one in journaled.items() if name in known and len(one.counts) == len(BOUNDS) + 1
    }
    return Stages(**fitting)
