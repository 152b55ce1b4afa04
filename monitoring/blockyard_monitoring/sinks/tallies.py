"""What the prometheus sink counts: few numbers from many messages, with bounded labels. Pure."""

from bisect import bisect_left
from collections import Counter, OrderedDict
from typing import Final, NamedTuple, TypeVar

from blockyard.wire.monitoring import (
    AnyRecord,
    Block,
    Node,
    Resources,
    Tasks,
    Tries,
    Try,
    TryState,
    WorkerTasks,
)

BOUNDS: Final = (
    0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    7200.0, 43200.0,
)  # fmt: skip
"""Upper bounds of the buckets of durations, seconds."""
MEMORY_BOUNDS: Final = tuple(float(1 << power) for power in range(24, 41, 2))
"""Of peaks, 16 MiB to 1 TiB."""
OTHER: Final = "other"
_MOST_SUBMISSIONS: Final = 100_000
_MOST_POOLS: Final = 200
_MOST_KINDS: Final = 100
_STATES: Final = [state.name.lower() for state in TryState if state >= 0]
"""Names of ends, by their values."""
_US_BOUNDS: Final = tuple(bound * 1e6 for bound in BOUNDS)

K = TypeVar("K")


class Example(NamedTuple):
    """One try that was counted in a bucket."""

    value: float
    task: int
    at_us: int


class Histogram:
    """Counts by bucket, not cumulative, and a sum; and of each bucket the latest of its examples."""

    __slots__ = ("_bounds", "counts", "examples", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.examples: list[Example | None] = [None] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def show(self, value: float, task: int, at_us: int) -> None:
        """Have a value that was counted stand for its bucket."""
        self.examples[bisect_left(self._bounds, value)] = Example(value, task, at_us)


class Labels:
    """The first so many names are themselves, all others `OTHER`: a name never changes what it stands for."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[str, str] = {}

    def of(self, name: str) -> str:
        """What a name is shown as."""
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= self._most:
                return OTHER
            found = self._known[name] = name
        return found


class Tallies:
    """Fed with records, in their order. `most_functions`: that are told apart."""

    def __init__(self, most_functions: int) -> None:
        self.tries: Counter[tuple[str, str, str]] = Counter()
        """By pool, function and state: those that ended."""
        self.tasks: Counter[tuple[str, str, str]] = Counter()
        """The same, of tasks."""
        self.submitted: Counter[tuple[str, str]] = Counter()
        """Tasks by pool and function."""
        self.reasons: Counter[tuple[str, str]] = Counter()
        """Tries that did not succeed, by pool and kind."""
        self.queued: dict[str, Histogram] = {}
        """By pool."""
        self.ran: dict[tuple[str, str], Histogram] = {}
        """By pool and function."""
        self.peaks: dict[str, Histogram] = {}
        self.cpu: Counter[tuple[str, str]] = Counter()
        """Microseconds by pool and mode."""
        self.resident: dict[tuple[str, str], int] = {}
        """By pool and manager, of the last look."""
        self.blocks: OrderedDict[tuple[str, str], str] = OrderedDict()
        """State by pool and block."""
        self.managers: dict[str, tuple[str, int]] = {}
        """Pool and workers of those that are there."""
        self._functions, self._pools, self._kinds = Labels(most_functions), Labels(_MOST_POOLS), Labels(_MOST_KINDS)
        self._submissions: OrderedDict[int, str] = OrderedDict()

    def take(self, record: AnyRecord) -> None:
        """Count what a record tells."""
        match record:
            case Tries():
                self._on_tries(record)
            case WorkerTasks():
                self._on_uses(record)
            case Tasks():
                function = self._functions.of(record.name or record.function)
                self.submitted[self._pools.of(record.pool), function] += record.count
                self._submissions[record.first] = function
                if len(self._submissions) > _MOST_SUBMISSIONS:
                    self._submissions.popitem(last=False)
            case Resources():
                total = sum(sample.resident_bytes for sample in record.samples)
                if record.manager in self.managers:
                    self.resident[self._pools.of(record.pool), record.manager] = total
            case Block():
                self._on_block(record)
            case Node():
                self._on_node(record)
            case _:
                pass  # nothing of it is counted

    def _on_tries(self, record: Tries) -> None:  # noqa: C901 - one pass over many tries
        pool = self._pools.of(record.pool)
        function = self._submissions.get(record.submission, OTHER)
        ran, queued = _of(self.ran, (pool, function), BOUNDS), _of(self.queued, pool, BOUNDS)
        tries, tasks = [0] * len(_STATES), [0] * len(_STATES)
        slowest = latest = None  # one of each record is enough of examples, and the slow ones are looked for
        most_ran = most_waited = -1
        for one in record.tries:
            state = one.state
            if state < 0:
                continue
            if one.epoch:
                tries[state] += 1
                ran_us, waited_us = one.ran_us, one.assigned_us - one.queued_us
                if ran_us or state is not TryState.LOST:  # nobody knows how long one ran that went with its manager
                    ran.counts[bisect_left(_US_BOUNDS, ran_us)] += 1
                ran.sum += ran_us / 1e6
                queued.counts[bisect_left(_US_BOUNDS, waited_us)] += 1
                if waited_us > 0:
                    queued.sum += waited_us / 1e6
                if ran_us > most_ran:
                    slowest, most_ran = one, ran_us
                if waited_us > most_waited:
                    latest, most_waited = one, waited_us
            if one.is_last:
                tasks[state] += 1
            if one.kind:
                self._on_failure(pool, one)
        if slowest is not None:
            ran.show(most_ran / 1e6, slowest.task, record.at_us)
        if latest is not None:
            queued.show(most_waited / 1e6, latest.task, record.at_us)
        for name, ended, over in zip(_STATES, tries, tasks, strict=True):
            if ended:
                self.tries[pool, function, name] += ended
            if over:
                self.tasks[pool, function, name] += over

    def _on_failure(self, pool: str, one: Try) -> None:
        if one.state is not TryState.DONE:
            self.reasons[pool, self._kinds.of(one.kind)] += 1

    def _on_uses(self, record: WorkerTasks) -> None:
        pool = self._pools.of(record.pool)
        peaks = _of(self.peaks, pool, MEMORY_BOUNDS)
        user = system = 0
        for use in record.uses:
            user += use.cpu_user_us
            system += use.cpu_system_us
            peaks.add(use.peak_bytes)
        self.cpu[pool, "user"] += user
        self.cpu[pool, "system"] += system

    def _on_block(self, record: Block) -> None:
        key = self._pools.of(record.pool), record.block
        self.blocks[key] = record.state
        self.blocks.move_to_end(key)
        while len(self.blocks) > _MOST_SUBMISSIONS:
            self.blocks.popitem(last=False)

    def _on_node(self, record: Node) -> None:
        pool = self._pools.of(record.pool)
        if record.state == "gone":
            self.managers.pop(record.manager, None)
            self.resident.pop((pool, record.manager), None)
        else:
            self.managers[record.manager] = (pool, record.workers)


def _of(histograms: dict[K, Histogram], key: K, bounds: tuple[float, ...]) -> Histogram:
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram(bounds)
    return found
