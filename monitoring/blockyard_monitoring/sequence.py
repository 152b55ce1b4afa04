"""Which messages of a sender are missing, late or doubled, told by their numbers. Pure."""

from typing import Final

_MOST_MISSING: Final = 4096
"""Numbers of one sender that may still come late; older gaps are lost for good."""


class Sequence:
    """The numbers of one sender: 1, 2, 3, … as they were given, from `first` on."""

    __slots__ = ("_missing", "doubled", "given_up", "highest", "late")

    def __init__(self, first: int = 1) -> None:
        self.highest = first - 1
        self.late = 0
        """Came after one with a higher number."""
        self.doubled = 0
        """Had come before, or were given up."""
        self.given_up = 0
        """Missing for so long that they are not waited for."""
        self._missing: dict[int, None] = {}

    @property
    def lost(self) -> int:
        """Sent, as later numbers show, and not here."""
        return len(self._missing) + self.given_up

    def take(self, number: int) -> bool:
        """Note a number; False when it was here before."""
        if number == self.highest + 1:
            self.highest = number
            return True
        if number > self.highest:
            first = max(self.highest + 1, number - _MOST_MISSING)
            self.given_up += first - self.highest - 1
            self._missing.update(dict.fromkeys(range(first, number)))
            while len(self._missing) > _MOST_MISSING:
                del self._missing[next(iter(self._missing))]
                self.given_up += 1
            self.highest = number
            return True
        if number in self._missing:
            del self._missing[number]
            self.late += 1
            return True
        self.doubled += 1
        return False
