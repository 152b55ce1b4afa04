"""What really happened, noted by nobody in particular: what ran, what the journal took in, what clients were told."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from blockyard.ids import TaskId, task_name
from blockyard.wire.records import Lease, Outcome, TaskSpec
from blockyard_interchange.core import entries
from blockyard_interchange.journal.errors import JournalFull, JournalUnavailable
from blockyard_interchange.journal.memory import MemoryStore
from tests.simulation import plans
from tests.simulation.world import Crash, World

_entries = msgspec.msgpack.Decoder(list[bytes]).decode


class Wrong(AssertionError):
    """A promise was broken."""


class Ledger:
    """The truth."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.runs: Counter[tuple[int, int]] = Counter()
        """How often each task's code was begun, by task and salt: the number of a child that an interchange made and
        died with, uncommitted, may be given to another one."""
        self.failures: Counter[int] = Counter()
        """Tries that the journal holds as failed by the task's own fault: the user asked for others after these."""
        self.accepted: set[int] = set()
        """Tasks that the journal holds."""
        self.ended: dict[int, Outcome] = {}
        self.assigned: dict[int, int] = {}
        """Epoch of each task's last lease."""
        self.opening = 0
        """Of the journal: leases of an earlier one may be taken up again by whoever comes back with them first."""
        self.freed: set[int] = set()
        self.unlinked: Counter[str] = Counter()
        self.cached: dict[tuple[str, bytes], bytes] = {}
        """What each call is known to come to."""
        self.submitted: Counter[str] = Counter()
        """By pool, as the journal took them in."""

    def begin(self, lease: Lease, spec: TaskSpec, salt: int) -> int:
        """Code begins to run; returns how often it has."""
        self.runs[lease.task, salt] += 1
        if not spec.idempotent and self.runs[lease.task, salt] > 1 + self.failures[lease.task]:
            raise Wrong(f"task {task_name(TaskId(lease.task))} is not idempotent and was run twice")
        return self.runs[lease.task, salt]

    def on_commit(self, bodies: Sequence[bytes]) -> None:
        """The journal took these chunks in."""
        for body in bodies:
            for encoded in _entries(body):
                match entries.decode(encoded):
                    case entries.Submitted(copy=False) as entry:
                        for group in entry.groups:
                            base = entry.session << 32 | group.first
                            self.accepted.update(range(base, base + len(group.bodies)))
                            self.submitted[group.spec.pool] += len(group.bodies)
                    case entries.Ended(outcomes=outcomes, copy=False):
                        for outcome in outcomes:
                            self._on_ended(outcome)
                    case entries.ResultCached() as cached:
                        self._on_cached(cached)
                    case entries.Counted(task=task, failures=failures):
                        self.failures[task] = max(self.failures[task], failures)
                    case entries.Freed(tasks=tasks):
                        self._on_freed(tasks)

    def _on_freed(self, tasks: Sequence[int]) -> None:
        for task in tasks:
            if task in self.freed:
                raise Wrong(f"task {task_name(TaskId(task))} was freed twice")
            self.freed.add(task)

    def _on_cached(self, entry: entries.ResultCached) -> None:
        found = plans.digest(entry.body)
        if self.cached.setdefault((entry.pool, entry.memo), found) != found:
            raise Wrong(f"what is known by {entry.memo.hex()} was recorded as two different results")

    def _on_ended(self, outcome: Outcome) -> None:
        name = task_name(TaskId(outcome.task))
        before = self.ended.get(outcome.task)
        if before is not None:
            raise Wrong(f"task {name} ended twice: {before.status.name}, then {outcome.status.name}")
        if outcome.task not in self.accepted:
            raise Wrong(f"task {name} ended and was never taken in")
        epoch = self.assigned.get(outcome.task)
        if epoch is not None and outcome.epoch >> 20 == self.opening and outcome.epoch < epoch:
            raise Wrong(f"task {name} ended by lease {outcome.epoch}, which lease {epoch} had replaced")
        self.ended[outcome.task] = outcome


class SimulatedStore(MemoryStore):
    """A journal that can be full, out of reach, or the last thing its process ever touched."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self._ledger = ledger
        self.is_full = False
        self.is_away = False
        self.crash_before = False
        self.crash_after = False
        self.doubt: bool | None = None
        """The next commit fails with its outcome unknown: kept (True), or not."""

    def open(self) -> int:
        if self.is_away:
            raise JournalUnavailable("simulated: out of reach")
        return super().open()

    def commit(self, append: Sequence[tuple[int, bytes]], drop: Sequence[int], *, sync: bool) -> None:
        if self.crash_before:
            self.crash_before = False
            raise Crash("before the commit")
        if self.is_full:
            raise JournalFull("simulated: no space")
        if self.is_away:
            raise JournalUnavailable("simulated: out of reach")
        doubt, self.doubt = self.doubt, None
        if doubt is False:
            raise JournalUnavailable("simulated: broke before the commit")
        super().commit(append, drop, sync=sync)
        self._ledger.on_commit([body for _, body in append])
        if doubt:
            raise JournalUnavailable("simulated: broke after the commit")
        if self.crash_after:
            self.crash_after = False
            raise Crash("after the commit")
