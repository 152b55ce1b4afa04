"""How far the clocks of managers' machines are off, told by the tries that they ran. Pure.

Each try is a question and its answer: assigned and returned by the interchange's clock, begun and ended by the
worker's. Whatever the way took, what must be added to the worker's times is between ``assigned - began`` and
``returned - ended``; many tries narrow it down. Of what remains the least is taken: a clock is corrected by no more
than is proved, so one that is right stays as it is. The newest `2 * WINDOW` tries count: clocks drift, and are set. Of
a clock that so many told of, one try of eight is looked at.
"""

from collections import OrderedDict
from typing import Final, TypeVar

from blockyard.wire.monitoring import Tries, WorkerTasks

WINDOW: Final = 128
_SKIPPED: Final = 7
"""Bits of a try's hash, none of which may be set where not every one is looked at: the same in both of its halves."""
_MOST_WAITING: Final = 4096
"""Halves of tries that wait for their other halves; the oldest give way."""
_MOST_MANAGERS: Final = 20_000
_ALL: Final = (-(1 << 62), 1 << 62)

T = TypeVar("T")

Key = tuple[int, int]
"""Task and epoch."""


class Bracket:
    """One clock: between which two numbers of microseconds is what must be added to its times."""

    __slots__ = ("_before", "_count", "_now", "offset")

    def __init__(self) -> None:
        self._now = self._before = _ALL
        self._count = 0
        self.offset = 0
        """The least that must be added, microseconds; 0 when the clock may be right."""

    def add(self, low: int, high: int) -> None:
        """Take in one try. One that says nothing (`low` above `high`) is ignored."""
        if low > high:
            return
        if self._count >= WINDOW:
            self._before, self._now, self._count = self._now, _ALL, 0
        now = max(self._now[0], low), min(self._now[1], high)
        if now[0] > now[1]:  # the clock was set: what was seen before says nothing of it any more
            now, self._before, self._count = (low, high), _ALL, 0
        self._now = now
        self._count += 1
        self.offset = self._least()

    @property
    def is_settled(self) -> bool:
        """A whole window of tries agreed."""
        return self._before is not _ALL

    def _least(self) -> int:
        low, high = max(self._now[0], self._before[0]), min(self._now[1], self._before[1])
        if low > high:  # it drifts
            low, high = self._now
        return max(low, min(high, 0))


class Clocks:
    """Of all managers. Told of tries by the interchange and by the workers, in whatever order."""

    def __init__(self) -> None:
        self._brackets: OrderedDict[str, Bracket] = OrderedDict()
        self._told: OrderedDict[Key, tuple[int, int]] = OrderedDict()
        self._ran: OrderedDict[Key, tuple[str, int, int]] = OrderedDict()

    def offset(self, manager: str) -> int:
        """What must be added to the times of this manager's workers, microseconds."""
        found = self._brackets.get(manager)
        return found.offset if found is not None else 0

    def take(self, record: Tries | WorkerTasks) -> None:
        """Learn from a record. Of each, the first and the last wait for their other halves; that is enough of them."""
        if isinstance(record, Tries):
            self._on_tries(record)
        else:
            self._on_uses(record)

    def _on_tries(self, record: Tries) -> None:
        returned, last = record.at_us, len(record.tries) - 1
        skipped = self._skipped(record.manager)
        for place, one in enumerate(record.tries):
            key = one.task, one.epoch
            if hash(key) & skipped or one.state < 0 or not one.assigned_us:
                continue
            use = self._ran.pop(key, None) if self._ran else None
            if use is not None:
                self._match(use, one.assigned_us, returned)
            elif skipped or place in (0, last):
                _keep(self._told, key, (one.assigned_us, returned))

    def _on_uses(self, record: WorkerTasks) -> None:
        manager, last = record.manager, len(record.uses) - 1
        skipped = self._skipped(manager)
        for place, one in enumerate(record.uses):
            key = one.task, one.epoch
            if hash(key) & skipped or not one.began_us:
                continue
            use = manager, one.began_us, one.ended_us
            told = self._told.pop(key, None) if self._told else None
            if told is not None:
                self._match(use, *told)
            elif skipped or place in (0, last):
                _keep(self._ran, key, use)

    def _skipped(self, manager: str) -> int:
        found = self._brackets.get(manager)
        return _SKIPPED if found is not None and found.is_settled else 0

    def _match(self, use: tuple[str, int, int], assigned: int, returned: int) -> None:
        manager, began, ended = use
        bracket = self._brackets.get(manager)
        if bracket is None:
            bracket = self._brackets[manager] = Bracket()
            if len(self._brackets) > _MOST_MANAGERS:
                self._brackets.popitem(last=False)
        bracket.add(assigned - began, returned - ended)


def _keep(waiting: OrderedDict[Key, T], key: Key, half: T) -> None:
    waiting[key] = half
    if len(waiting) > _MOST_WAITING:
        waiting.popitem(last=False)
