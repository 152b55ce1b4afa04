"""How long messages wait for company: those that come alone hardly, those of a crowd the longer the longer it lasts.

A batch costs whoever takes it about as much as some messages do, so few batches are worth waiting for only when there
are many messages. Pure: who gathers has the clock.
"""

from typing import NamedTuple


class Limits(NamedTuple):
    """`least` and `most`: seconds from one batch to the next. `crowd`: so many messages of a batch are one."""

    least: float = 0.0
    most: float = 0.0
    crowd: int = 4


class Pace:
    """Seconds from the last batch to the next one. One that comes later than that need not wait at all."""

    __slots__ = ("_limits", "seconds")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.seconds = limits.least

    def went(self, messages: int) -> None:
        """So many went together: the wait doubles with each crowd, and is the least again after what was none."""
        least, most, crowd = self._limits
        self.seconds = min(2 * self.seconds, most) if messages >= crowd else least
