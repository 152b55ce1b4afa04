"""Which of a sender's messages are all safely stored, when storing ends in whatever order. Pure."""

import heapq


class Confirming:
    """Numbers begin in rising order and are done in any; what may be confirmed is all below the first that is not."""

    __slots__ = ("_done", "_open", "confirmed")

    def __init__(self) -> None:
        self._open: list[int] = []
        """Begun and not done, or done and not yet taken off; a heap."""
        self._done: set[int] = set()
        self.confirmed = 0
        """All up to here are stored, as far as they came."""

    def begin(self, number: int) -> None:
        """A message came; one that was confirmed before may come again."""
        if number > self.confirmed:
            heapq.heappush(self._open, number)

    def done(self, number: int) -> bool:
        """It is stored; True when more may be confirmed now."""
        if number > self.confirmed:
            self._done.add(number)
        before = self.confirmed
        while self._open and (self._open[0] <= self.confirmed or self._open[0] in self._done):
            self.confirmed = max(self.confirmed, heapq.heappop(self._open))
            self._done.discard(self.confirmed)
        return self.confirmed > before
