"""Which messages of a sender are missing, late or doubled, told by their numbers. Pure."""

from bisect import bisect_right
from typing import Final

_MOST_GAPS: Final = 32
"""Stretches of one sender's numbers that may still come late; older ones are lost for good. Forged numbers cost no
more than these."""


class Sequence:
    """The numbers of one sender: 1, 2, 3, … as they were given, from `first` on."""

    __slots__ = ("_gaps", "doubled", "given_up", "highest", "late")

    def __init__(self, first: int = 1) -> None:
        self.highest = first - 1
        self.late = 0
        """Came after one with a higher number."""
        self.doubled = 0
        """Had come before, or were given up."""
        self.given_up = 0
        """Missing for so long that they are not waited for."""
        self._gaps: list[tuple[int, int]] = []
        """First and last number of each, in order."""

    @property
    def lost(self) -> int:
        """Sent, as later numbers show, and not here."""
        return self.given_up + sum(last - first + 1 for first, last in self._gaps)

    def take(self, number: int) -> bool:
        """Note a number; False when it was here before."""
        if number > self.highest:
            if number > self.highest + 1:
                self._gaps.append((self.highest + 1, number - 1))
                self._give_up()
            self.highest = number
            return True
        place = bisect_right(self._gaps, (number, self.highest)) - 1
        if place < 0 or number > self._gaps[place][1]:
            self.doubled += 1
            return False
        first, last = self._gaps[place]
        self._gaps[place : place + 1] = [
            gap for gap in ((first, number - 1), (number + 1, last)) if gap[0] <= gap[1]
        ]  # fmt: skip
        self._give_up()
        self.late += 1
        return True

    def _give_up(self) -> None:
        while len(self._gaps) > _MOST_GAPS:
            first, last = self._gaps.pop(0)
            self.given_up += last - first + 1
