"""A manager's surroundings without processes: workers that keep the token protocol, a clock, and an interchange's view.

Everything that the real worker and the real shell do to the core happens here in single steps, so that a test decides
their order. Each lease is followed from its assignment to its one end.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from blockyard.wire import manager as wire
from blockyard.wire.records import Assigned, Function, Lease, Need, Outcome, Status, TaskSpec
from blockyard_worker.core import effects as do
from blockyard_worker.core.manager import Manager
from blockyard_worker.core.reports import Ended
from blockyard_worker.core.state import Policy, check_invariants
from blockyard_worker.core.tries import Capacity
from blockyard_worker.records import Now

NAMES = [bytes([number]) * 16 for number in range(3)]


def policy(workers: int = 2, accelerators: int = 0, max_tasks_per_worker: int = 0) -> Policy:
    """A small node."""
    return Policy(
        manager="m",
        pool="default",
        block="b",
        node="n",
        python="3.11",
        pid=1,
        index=0,
        near=b"",
        capacity=Capacity(workers, float(workers), 1024 * workers, accelerators),
        accelerator_variable="GPUS",
        max_tasks_per_worker=max_tasks_per_worker,
        drain_grace=10.0,
        stop_grace=1.0,
        chunk_seconds=0.0075,
    )


@dataclass
class FakeWorker:
    """A worker as `worker.loop` is, with every step made from outside."""

    number: int
    ready: bool = False
    tokens: int = 0
    frames: deque[do.Feed] = field(default_factory=deque)
    queue: deque[tuple[Assigned, TaskSpec, bool]] = field(default_factory=deque)
    seen_frame: int = 0
    running: tuple[Assigned, TaskSpec, bool] | None = None
    since: float = 0.0
    last: Now | None = None
    unreported: list[Outcome] = field(default_factory=list)
    done: dict[int, bool] = field(default_factory=dict)
    interrupted: bool = False
    orders: list[wire.Hold] = field(default_factory=list)
    functions: set[bytes] = field(default_factory=set)
    retiring: bool = False
    doomed: bool = False


class Pages(Mapping[int, Now | None]):
    """What `Seen` is in the shell."""

    def __init__(self, workers: dict[int, FakeWorker]) -> None:
        self._workers = workers

    def __getitem__(self, number: int) -> Now | None:
        return self._workers[number].last

    def __iter__(self) -> Iterator[int]:
        return iter(self._workers)

    def __len__(self) -> int:
        return len(self._workers)


class World:
    """One manager and all around it."""

    def __init__(self, given: Policy, *, beats: bool = False) -> None:
        """`beats`: the interchange is always heard, however much time passes."""
        self.beats = beats
        self.connected = False
        self.core = Manager(given)
        self.now = 100.0
        self.workers: dict[int, FakeWorker] = {}
        self.pages = Pages(self.workers)
        self.assigned: dict[int, tuple[int, TaskSpec]] = {}
        """By task: epoch and spec."""
        self.ends: Counter[int] = Counter()
        """How often a lease was reported or handed back, repeats after a reconnect apart."""
        self.statuses: dict[int, Status] = {}
        self.returned: set[int] = set()
        self.starts: Counter[int] = Counter()
        self.deaths = 0
        self.sent_numbers: dict[int, list[Outcome]] = {}
        self.recorded = 0
        self.asks_to_join = False
        self.left = False
        self.stopped: set[int] = set()
        self.wanted: list[bytes] = []
        self.holds: list[wire.Held] = []
        """Answers to orders to stop programs."""
        self.heard: list[wire.FromManager] = []
        self.tick()

    # --- time and the interchange

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, then do what the shell does in a round."""
        self.now += seconds
        self._beat()
        self.core.tick(self.now, self.pages)
        self.perform()

    def _beat(self) -> None:
        if self.beats and self.connected:
            self.core.on_message(wire.Beat(), self.now, self.pages)

    def say(self, message: wire.ToManager) -> None:
        """The interchange says something."""
        self.core.on_message(message, self.now, self.pages)
        self.tick()

    def join(self) -> None:
        """The interchange lets the manager in."""
        self.connected, self.asks_to_join = True, False
        self.say(wire.Joined(1, 1.0))
        for name in NAMES:
            self.say(wire.Functions([Function(name, "f", b"", "3.11")]))

    def assign(self, specs: list[tuple[TaskSpec, int]], chain: bool) -> None:
        """Assign tries: of each spec so many; in a chain each needs the one before it."""
        groups, task = [], len(self.assigned) + 1
        for spec, count in specs:
            tries = []
            for _ in range(count):
                needs = [Need(task - 1)] if chain and task - 1 in self.assigned and task - 1 not in self.ends else []
                tries.append(Assigned(task, 1, b"x", needs))
                self.assigned[task] = (1, spec)
                task += 1
            groups.append(wire.AssignGroup(spec, tries))
        self.say(wire.Assign(groups))

    def record(self) -> None:
        """The journal holds everything that was reported."""
        if self.sent_numbers:
            self.recorded = max(self.sent_numbers)
            self.say(wire.Recorded(self.recorded))

    # --- effects

    def perform(self) -> None:
        """Carry out everything that the core asks."""
        while todo := self.core.take_effects():
            again = False
            for effect in todo:
                self._perform(effect)
                again |= isinstance(effect, do.Steal)
            if again:
                self.core.tick(self.now, self.pages)
        check_invariants(self.core.state)

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.Tell(message):
                self._hear(message)
            case do.Feed():
                worker = self.workers[effect.worker]
                worker.functions |= {function.id for function in effect.functions}
                assert worker.functions >= {group.spec.function for group in effect.groups}, "a function is missing"
                worker.tokens += sum(len(group.tries) for group in effect.groups)
                worker.frames.append(effect)
            case do.Steal(number, most):
                worker = self.workers[number]
                taken = min(worker.tokens, most)
                worker.tokens -= taken
                self.core.on_stolen(number, taken)
            case do.Interrupt(number, task, epoch):
                worker = self.workers[number]
                if worker.running is not None and worker.running[0].task == task:
                    assert worker.running[0].epoch == epoch
                    worker.interrupted = True
            case do.HoldPrograms(number, order):
                self.workers[number].orders.append(order)
            case do.EndTree(number, _):
                self.workers[number].doomed = True
            case do.StartWorker(number, _):
                assert number not in self.workers, "a number was used twice"
                self.workers[number] = FakeWorker(number)
            case do.RetireWorker(number):
                self.workers[number].retiring = True
            case do.Exit():
                self.left = True

    def _hear(self, message: wire.FromManager) -> None:
        self.heard.append(message)
        if isinstance(message, wire.Join):
            self.asks_to_join = True
            holds = {one.task for one in message.holds}
            for task in self.assigned:
                if task not in self.ends and task not in holds:  # the interchange sees that, and assigns it anew
                    self.ends[task] += 1
                    self.returned.add(task)
        elif isinstance(message, wire.Outcomes):
            again = message.number in self.sent_numbers
            assert not again or self.sent_numbers[message.number] == message.outcomes, "a repeat differs"
            self.sent_numbers[message.number] = message.outcomes
            for outcome in [] if again else message.outcomes:
                self.ends[outcome.task] += 1
                self.statuses[outcome.task] = outcome.status
        elif isinstance(message, wire.Returned):
            for lease in message.leases:
                if lease.task not in self.returned:
                    self.ends[lease.task] += 1
                    self.returned.add(lease.task)
        elif isinstance(message, wire.Held):
            self.holds.append(message)
        elif isinstance(message, wire.Wanted):
            self.wanted += message.functions

    # --- workers

    def live(self) -> list[FakeWorker]:
        """Workers, by number."""
        return [self.workers[number] for number in sorted(self.workers)]

    def warm_up(self, worker: FakeWorker) -> None:
        """It says Ready."""
        if not worker.ready:
            worker.ready = True
            self.core.on_ready(worker.number)
            self.tick()

    def start_next(self, worker: FakeWorker) -> None:
        """It reads a frame if it has nothing, and takes a token for the next try, or drops everything and says idle."""
        if not worker.ready or worker.running is not None:
            return
        if not worker.queue and worker.frames:
            frame = worker.frames.popleft()
            worker.seen_frame = frame.number
            worker.done = {}
            worker.queue.extend(
                (assigned, group.spec, group.batch) for group in frame.groups for assigned in group.tries
            )
        if not worker.queue:
            return
        if not worker.tokens:
            worker.queue.clear()
            self.flush(worker, idle=worker.seen_frame)
            return
        worker.tokens -= 1
        worker.running = worker.queue.popleft()
        worker.interrupted = False
        assigned, spec, _ = worker.running
        worker.last = Now(assigned.task, assigned.epoch, self.now, running=True)
        for need in assigned.needs:
            if need.body is None:
                assert need.task in worker.done, f"task {assigned.task} came without {need.task}, which it needs"
                if not worker.done[need.task]:
                    self._end(worker, Status.DEPENDENCY, 0.0)
                    return
        self.starts[assigned.task] += 1
        assert spec.idempotent is False or assigned.task not in self.returned, "a try ran after it was handed back"

    def finish(self, worker: FakeWorker, status: Status, seconds: float) -> None:
        """The try that runs ends, after so long."""
        if worker.running is not None:
            self.now += seconds
            self._end(worker, Status.CANCELLED if worker.interrupted else status, seconds)

    def _end(self, worker: FakeWorker, status: Status, seconds: float) -> None:
        assert worker.running is not None
        assigned, _, batch = worker.running
        worker.running = None
        worker.last = Now(assigned.task, assigned.epoch, self.now, running=False)
        worker.done[assigned.task] = status is Status.DONE
        worker.unreported.append(Outcome(assigned.task, assigned.epoch, status, b"r", seconds))
        if not batch or not worker.queue:
            self.flush(worker)

    def die_after_finish(self, worker: FakeWorker) -> None:
        """The try that runs ends, and then the worker dies before it says so."""
        if worker.running is not None:
            assigned, _, _ = worker.running
            worker.last = Now(assigned.task, assigned.epoch, self.now, running=False)
            self.die(worker)

    def flush(self, worker: FakeWorker, idle: int = 0) -> None:
        """It reports."""
        if worker.unreported or idle:
            reported, worker.unreported = worker.unreported, []
            self._beat()
            self.core.on_results(worker.number, reported, idle, self.now)
            self.tick()

    def die(self, worker: FakeWorker) -> None:
        """It is gone; what it did not report is lost with it."""
        if not worker.doomed and not worker.retiring:
            self.deaths += 1
        self.core.on_ended(worker.number, Ended("killed by SIGKILL", ""), worker.last, self.now)
        del self.workers[worker.number]
        self.tick()

    def settle(self) -> None:
        """Let everything come to its end, with nobody dying any more."""
        if not self.connected:
            self.join()
        for _ in range(3000):
            for worker in self.live():
                if worker.number not in self.workers:
                    continue
                if worker.doomed or worker.retiring:
                    self.die(worker)
                    continue
                self.warm_up(worker)
                self.start_next(worker)
                self.finish(worker, Status.DONE, 0.001)
                self.flush(worker)
            self.tick(0.05)
            self.say(wire.Joined(1, 1.0) if self.asks_to_join else wire.Beat())
            self.asks_to_join = False
            if all(task in self.ends for task in self.assigned):
                return
        waiting = [task for task in self.assigned if task not in self.ends]
        raise AssertionError(f"tasks {waiting} never end; workers {[vars(worker) for worker in self.live()]}")


def lease(task: int) -> Lease:
    """The lease of a task of this world."""
    return Lease(task, 1)
