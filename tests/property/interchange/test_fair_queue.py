"""The order of a pool's queue, against a plain model of it."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blockyard_interchange.core.queue import FairQueue


@dataclass(eq=False)
class Item:
    """Something in the queue."""

    number: int
    priority: int
    line: int
    live: bool = True


def is_live(item: Item) -> bool:
    return item.live


def lasts(_: Item) -> float:
    """All the same, so that lines take turns."""
    return 0.0


class QueueMachine(RuleBasedStateMachine):
    """Pushes, takes and withdraws at will."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[Item] = FairQueue()
        self.model: dict[tuple[int, int], list[Item]] = {}
        self.taken: list[Item] = []
        self.count = 0

    def _item(self, priority: int, line: int) -> Item:
        self.count += 1
        return Item(self.count, priority, line)

    @rule(priority=st.integers(-1, 1), line=st.integers(1, 3))
    def push(self, priority: int, line: int) -> None:
        item = self._item(priority, line)
        self.queue.push(item, priority=priority, line=line)
        self.model.setdefault((priority, line), []).append(item)

    @rule(priority=st.integers(-1, 1), line=st.integers(1, 3), count=st.integers(0, 5))
    def extend(self, priority: int, line: int, count: int) -> None:
        items = [self._item(priority, line) for _ in range(count)]
        self.queue.extend(items, priority=priority, line=line)
        self.model.setdefault((priority, line), []).extend(items)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def push_front(self, data: st.DataObject) -> None:
        item = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.queue.push_front(item, priority=item.priority, line=item.line)
        self.model.setdefault((item.priority, item.line), []).insert(0, item)

    @precondition(lambda self: any(self.model.values()))
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(key for key, items in self.model.items() if items)))
        items = self.model[key]
        items.pop(data.draw(st.integers(0, len(items) - 1))).live = False
        self.queue.withdraw()

    @rule()
    def take(self) -> None:
        item = self.queue.take(is_live, lasts)
        waiting = [key for key, items in self.model.items() if items]
        if not waiting:
            assert item is None
            return
        assert item is not None
        assert item.priority == max(priority for priority, _ in waiting), "the highest priority goes first"
        items = self.model[item.priority, item.line]
        assert items.pop(0) is item, "a line keeps its order"
        self.taken.append(item)

    @rule()
    def take_and_put_back(self) -> None:
        """It was never taken: the next one is the same."""
        item = self.queue.take(is_live, lasts)
        if item is not None:
            self.queue.put_back(item, priority=item.priority, line=item.line)
            assert self.queue.take(is_live, lasts) is item
            self.queue.put_back(item, priority=item.priority, line=item.line)

    @rule()
    def take_turns(self) -> None:
        """As many takes as there are lines of the highest priority bring one of each."""
        waiting = [key for key, items in self.model.items() if items]
        highest = max((priority for priority, _ in waiting), default=0)
        lines = {line for priority, line in waiting if priority == highest}
        seen = []
        for _ in lines:
            item = self.queue.take(is_live, lasts)
            assert item is not None
            assert self.model[item.priority, item.line].pop(0) is item
            self.taken.append(item)
            seen.append(item.line)
        assert sorted(seen) == sorted(lines)

    @invariant()
    def size_counts_the_live_ones(self) -> None:
        assert self.queue.size == sum(map(len, self.model.values()))
        assert {id(one) for one in self.queue if one.live} >= {
            id(one) for items in self.model.values() for one in items
        }


TestFairQueue = QueueMachine.TestCase


@given(seconds=st.lists(st.floats(0.001, 10.0), min_size=2, max_size=5), data=st.data())
def test_lines_that_wait_have_had_the_same_time_but_for_one_item(seconds: list[float], data: st.DataObject) -> None:
    """Lines come one after the other, each with items of a length of its own; some are put back."""
    queue: FairQueue[Item] = FairQueue()
    had: dict[int, float] = {}
    for line in range(len(seconds)):
        queue.extend([Item(number, 0, line) for number in range(1000)], priority=0, line=line)
        had = dict.fromkeys(range(line + 1), 0.0)
        since = 0.0
        for _ in range(data.draw(st.integers(0, 20))):
            item = queue.take(is_live, lambda one: seconds[one.line])
            assert item is not None
            if data.draw(st.booleans()):
                queue.put_back(item, priority=0, line=item.line)
                assert queue.take(is_live, lambda one: seconds[one.line]) is item
            had[item.line] += seconds[item.line]
        if line:
            since = max(had.values()) - min(had.values())
        assert since <= 2 * max(seconds) + 1e-9
