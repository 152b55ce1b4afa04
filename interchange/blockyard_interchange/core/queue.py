"""The order in which a pool's tasks come up. It knows nothing of tasks but what it is told when one is pushed."""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Priority first, then the line that has had the least time, lines with equal time in turn, then first come first.

    A line is whoever shall have an equal share: here, a session. One that was empty starts level with the others: it is
    owed nothing for the time before. Items that were withdrawn are skipped when they come up (`take` is told how to
    know them); `size` counts the live ones.
    """

    __slots__ = ("_levels", "_order", "size")

    def __init__(self) -> None:
        self._levels: dict[int, _Level[T]] = {}
        self._order: list[int] = []
        self.size = 0

    def push(self, item: T, *, priority: int, line: int) -> None:
        """Put an item at the end of its line."""
        self._level(priority).line(line).items.append(item)
        self.size += 1

    def extend(self, items: list[T], *, priority: int, line: int) -> None:
        """Put items at the end of one line."""
        self._level(priority).line(line).items.extend(items)
        self.size += len(items)

    def push_front(self, item: T, *, priority: int, line: int) -> None:
        """Put an item that had its turn already at the head of its line."""
        self._level(priority).line(line).items.appendleft(item)
        self.size += 1

    def put_back(self, item: T, *, priority: int, line: int) -> None:
        """Undo the last `take`: the item is the next again, and its line has not had its turn."""
        self.push_front(item, priority=priority, line=line)
        self._levels[priority].advance(line)

    def withdraw(self) -> None:
        """Count one item out; its place is skipped later."""
        self.size -= 1

    def _level(self, priority: int) -> "_Level[T]":
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
            self._order = sorted(self._levels, reverse=True)
        return level

    def take(self, is_live: Callable[[T], bool], lasts: Callable[[T], float]) -> T | None:
        """Remove the next live item, or return None when there is none. Its line pays the seconds that it `lasts`."""
        for priority in self._order:
            item = self._levels[priority].take(is_live, lasts)
            if item is not None:
                self.size -= 1
                return item
        return None

    def heads(self, is_live: Callable[[T], bool]) -> Iterator[T]:
        """The first live item of each line: of its line, it has waited longest."""
        for priority in self._order:
            for line in self._levels[priority].lines.values():
                items = line.items
                while items and not is_live(items[0]):
                    items.popleft()
                if items:
                    yield items[0]

    def __iter__(self) -> Iterator[T]:
        """All items in no particular order between lines, withdrawn ones too."""
        for priority in self._order:
            for line in self._levels[priority].lines.values():
                yield from line.items


class _Line(Generic[T]):
    __slots__ = ("items", "turn")

    def __init__(self, turn: tuple[float, int, int]) -> None:
        self.items: deque[T] = deque()
        self.turn = turn


class _Level(Generic[T]):
    """The lines of one priority."""

    __slots__ = ("_now", "_ties", "_turns", "lines")

    def __init__(self) -> None:
        self.lines: dict[int, _Line[T]] = {}
        self._turns: list[tuple[float, int, int]] = []
        """A heap of (time that the line has had, what decides between equal ones, line). What is not its line's `turn`
        is of no meaning any more."""
        self._now = 0.0
        """The time that the line had which came up last: no line has had less."""
        self._ties = count(1)

    def line(self, name: int) -> _Line[T]:
        found = self.lines.get(name)
        if found is None:
            found = self.lines[name] = _Line((self._now, next(self._ties), name))
            heappush(self._turns, found.turn)
        return found

    def advance(self, name: int) -> None:
        """Have this line come up next."""
        turn = self.lines[name].turn = (self._now, -next(self._ties), name)
        if len(self._turns) > 2 * len(self.lines):
            self._turns = [line.turn for line in self.lines.values()]
            heapify(self._turns)
        else:
            heappush(self._turns, turn)

    def take(self, is_live: Callable[[T], bool], lasts: Callable[[T], float]) -> T | None:
        lines, turns = self.lines, self._turns
        while turns:
            turn = turns[0]
            name = turn[2]
            line = lines.get(name)
            if line is None or line.turn is not turn:
                heappop(turns)
                continue
            items = line.items
            while items:
                item = items.popleft()
                if not is_live(item):
                    continue
                if len(lines) > 1:
                    self._now = turn[0]
                    if items:
                        line.turn = (turn[0] + lasts(item), next(self._ties), name)
                        heapreplace(turns, line.turn)
                    else:
                        heappop(turns)
                        del lines[name]
                return item
            heappop(turns)
            del lines[name]
        return None
