"""The order in which a pool's tasks come up. It knows nothing of tasks but what it is told when one is pushed."""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Priority first, then one item of each line in turn, then first come first served.

    A line is whoever shall have an equal share: here, a session. Items that were withdrawn are skipped when they come
    up (`take` is told how to know them); `size` counts the live ones.
    """

    __slots__ = ("_levels", "_order", "size")

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[int, deque[T]]] = {}
        self._order: list[int] = []
        self.size = 0

    def push(self, item: T, *, priority: int, line: int) -> None:
        """Put an item at the end of its line."""
        self._line(priority, line).append(item)
        self.size += 1

    def extend(self, items: list[T], *, priority: int, line: int) -> None:
        """Put items at the end of one line."""
        self._line(priority, line).extend(items)
        self.size += len(items)

    def push_front(self, item: T, *, priority: int, line: int) -> None:
        """Put an item that had its turn already at the head of its line."""
        self._line(priority, line).appendleft(item)
        self.size += 1

    def put_back(self, item: T, *, priority: int, line: int) -> None:
        """Undo the last `take`: the item is the next again, and its line has not had its turn."""
        self.push_front(item, priority=priority, line=line)
        self._levels[priority].move_to_end(line, last=False)

    def withdraw(self) -> None:
        """Count one item out; its place is skipped later."""
        self.size -= 1

    def _line(self, priority: int, line: int) -> deque[T]:
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = OrderedDict()
            self._order = sorted(self._levels, reverse=True)
        items = level.get(line)
        if items is None:
            items = level[line] = deque()
        return items

    def take(self, is_live: Callable[[T], bool]) -> T | None:
        """Remove the next live item, or return None when there is none."""
        for priority in self._order:
            level = self._levels[priority]
            while level:
                line, items = next(iter(level.items()))
                while items:
                    item = items.popleft()
                    if not is_live(item):
                        continue
                    if len(level) > 1:
                        del level[line]
                        if items:
                            level[line] = items
                    self.size -= 1
                    return item
                del level[line]
        return None

    def heads(self, is_live: Callable[[T], bool]) -> Iterator[T]:
        """The first live item of each line: of its line, it has waited longest."""
        for priority in self._order:
            for items in self._levels[priority].values():
                while items and not is_live(items[0]):
                    items.popleft()
                if items:
                    yield items[0]

    def __iter__(self) -> Iterator[T]:
        """All items in no particular order between lines, withdrawn ones too."""
        for priority in self._order:
            for items in self._levels[priority].values():
                yield from items
