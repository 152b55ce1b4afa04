"""A manager's process and its workers: the real core of the manager, and workers that do what plans say."""

from collections import deque
from dataclasses import dataclass, field

from blockyard.wire import codec
from blockyard.wire.records import Assigned, Body, Calls, Failure, Group, Lease, Outcome, Status, TaskSpec
from blockyard_worker.core import effects as do
from blockyard_worker.core.manager import Manager as Core
from blockyard_worker.core.reports import Ended
from blockyard_worker.core.state import Policy, check_invariants
from blockyard_worker.core.tries import Capacity
from blockyard_worker.records import Now
from tests.simulation import plans
from tests.simulation.ledger import Ledger
from tests.simulation.network import Link, Network
from tests.simulation.world import Node, World

_PIPE_SECONDS = 0.0002


@dataclass
class _Frame:
    number: int
    tries: deque[tuple[TaskSpec, bool, Assigned]]
    needs: dict[int, Body | None] = field(default_factory=dict)


class Worker:
    """A worker process, as its manager can see it."""

    def __init__(self, manager: "Manager", number: int) -> None:
        self.manager = manager
        self.number = number
        self.alive = True
        self.page: Now | None = None
        self.tokens = 0
        self.frames: deque[_Frame] = deque()
        self.outcomes: list[Outcome] = []
        self.retires = False
        self._running: tuple[TaskSpec, bool, Assigned] | None = None
        self._cancelled = False
        self._turn = 0

    def feed(self, effect: do.Feed) -> None:
        """Take a frame."""
        tries = deque((group.spec, group.batch, one) for group in effect.groups for one in group.tries)
        self.tokens += len(tries)
        needed = [need.task for _, _, one in tries for need in one.needs if need.body is None]
        self.frames.append(_Frame(effect.number, tries, dict.fromkeys(needed)))
        self.go_on()

    def steal(self, most: int) -> int:
        """Give tokens back."""
        taken = min(most, self.tokens)
        self.tokens -= taken
        return taken

    def interrupt(self, task: int, epoch: int) -> None:
        """Cancelled is raised in the try, which may not care."""
        running = self._running
        if running is None or (running[2].task, running[2].epoch) != (task, epoch) or self._cancelled:
            return
        if not plans.plan_of(_bytes(running[2].body)).stubborn:
            self._cancelled = True
            self._finish_in(0.001)

    def die(self, how: str) -> None:
        """The process ends; what it sent before is read before its end is seen."""
        if not self.alive:
            return
        self.alive = False
        manager, last = self.manager, self.page
        manager.later(2 * _PIPE_SECONDS, lambda: manager.on_worker_ended(self, Ended(how, ""), last))

    def go_on(self) -> None:
        """Begin the next try, or wait for more."""
        while self.alive and self._running is None and self.frames:
            frame = self.frames[0]
            if not frame.tries:
                self.frames.popleft()
                continue
            if not self.tokens:
                self.frames.popleft()
                self.flush(idle=frame.number)
                continue
            self.tokens -= 1
            self._begin(frame, *frame.tries.popleft())
        if self.alive and self._running is None:
            self.flush()
            if self.retires:
                self.die("exit code 0")

    def flush(self, idle: int = 0) -> None:
        """Report."""
        if self.outcomes or idle:
            outcomes, self.outcomes = self.outcomes, []
            manager = self.manager
            manager.later(_PIPE_SECONDS, lambda: manager.on_results(self, outcomes, idle))

    def _begin(self, frame: _Frame, spec: TaskSpec, batch: bool, one: Assigned) -> None:
        world = self.manager.world
        self.page = Now(one.task, one.epoch, world.now, True)
        self._running, self._cancelled = (spec, batch, one), False
        if any(need.body is None and frame.needs[need.task] is None for need in one.needs):
            self._end(Outcome(one.task, one.epoch, Status.DEPENDENCY))
            return
        plan = plans.plan_of(_bytes(one.body))
        count = self.manager.ledger.begin(Lease(one.task, one.epoch), spec, plan.salt)
        if count <= plan.deaths:
            world.note(f"task {one.task:x} kills worker {self.number} of {self.manager.name}")
            self.die("killed by SIGSEGV")
            return
        self._finish_in(plan.seconds)

    def _finish_in(self, seconds: float) -> None:
        self._turn += 1
        turn = self._turn
        self.manager.later(seconds, lambda: self._finish(turn))

    def _finish(self, turn: int) -> None:
        if turn != self._turn or not self.alive or self._running is None or self.page is None:
            return
        spec, _, one = self._running
        seconds = self.manager.world.now - self.page.since
        self._end(self._outcome(spec, one, seconds))
        self.go_on()

    def _outcome(self, spec: TaskSpec, one: Assigned, seconds: float) -> Outcome:
        plan = plans.plan_of(_bytes(one.body))
        if self._cancelled:
            return Outcome(one.task, one.epoch, Status.CANCELLED, b"", seconds, Failure("cancelled while it ran"))
        if self.manager.ledger.runs[one.task, plan.salt] <= plan.failures + plan.deaths:
            types = ["simulated.Unlucky", "builtins.RuntimeError", "builtins.Exception"]
            return Outcome(one.task, one.epoch, Status.RAISED, b"error", seconds, Failure("unlucky", types))
        if plan.joins:
            function = plans.function(9)
            child = TaskSpec(function.id, spec.pool, retries=spec.retries, idempotent=spec.idempotent)
            bodies: list[Body] = [plans.body_of(child_plan) for child_plan in plan.children]
            calls = Calls([Group(child, 0, bodies)] if bodies else [], [function])
            return Outcome(one.task, one.epoch, Status.JOIN, b"", seconds, None, calls)
        needs = [need.body if need.body is not None else self._here(need.task) for need in one.needs]
        return Outcome(one.task, one.epoch, Status.DONE, plans.result_of(plan, needs), seconds)

    def _here(self, task: int) -> Body:
        body = self.frames[0].needs[task]
        assert body is not None
        return body

    def _end(self, outcome: Outcome) -> None:
        assert self._running is not None
        assert self.page is not None
        _, batch, one = self._running
        self.page = self.page._replace(running=False)
        self._running = None
        if outcome.status is Status.DONE and one.task in self.frames[0].needs:
            self.frames[0].needs[one.task] = outcome.body
        self.outcomes.append(outcome)
        if not batch or self.manager.world.chance(0.3):
            self.flush()


def _bytes(body: Body) -> bytes:
    assert isinstance(body, bytes)
    return body


class _Seen(dict[int, Now | None]):
    """The pages of the workers, read when they are asked for."""

    def __init__(self, workers: dict[int, Worker]) -> None:
        super().__init__()
        self._workers = workers

    def get(self, key: int, default: Now | None = None) -> Now | None:  # type: ignore[override]
        worker = self._workers.get(key)
        return default if worker is None else worker.page

    def __getitem__(self, key: int) -> Now | None:
        return self._workers[key].page


class Manager(Node):
    """The process."""

    def __init__(
        self,
        world: World,
        network: Network,
        ledger: Ledger,
        name: str,
        *,
        pool: str,
        block: str,
        index: int,
        workers: int,
    ) -> None:
        super().__init__(world, name)
        self.ledger = ledger
        self.pool = pool
        self.block = block
        self.index = index
        self.places = workers
        self.workers: dict[int, Worker] = {}
        self.seen = _Seen(self.workers)
        self.exit = ""
        self._timer = 0
        self._unsent: list[bytes] = []
        policy = Policy(
            manager=name, pool=pool, block=block, node=f"node-{name}", python=plans.PYTHON, pid=1, index=index,
            near=b"", capacity=Capacity(workers, float(workers), 0, 0), accelerator_variable="X",
            max_tasks_per_worker=world.random.choice((0, 0, 5)), drain_grace=1.0, stop_grace=0.2, chunk_seconds=0.0075,
        )  # fmt: skip
        self.core = Core(policy)
        self.link = Link(network, self, f"pool:{pool}", self._on_frame)
        self.later(0.0, self.step)

    def die(self) -> None:
        """SIGKILL: its workers die with it."""
        if self.alive:
            self.world.note(f"manager {self.name} is killed")
            self.kill()
            for worker in self.workers.values():
                worker.alive = False
            self.link.close()

    def terminate(self) -> None:
        """SIGTERM."""
        self.world.note(f"manager {self.name} is told to end")
        self.core.on_terminate(self.world.now)
        self.step()

    def step(self) -> None:
        """Let the core look at everything, and carry out what it says."""
        world = self.world
        if not self.alive:
            return
        self.core.tick(world.now, self.seen)
        while todo := self.core.take_effects():
            stolen = False
            for effect in todo:
                self._perform(effect)
                stolen |= type(effect) is do.Steal
            if stolen and not self.exit:
                self.core.tick(world.now, self.seen)
        if not self._has_displaced():
            check_invariants(self.core.state)
        for frame in self._unsent:
            self.link.send(frame)
        self._unsent.clear()
        if self.exit:
            world.note(f"manager {self.name} ends: {self.exit}")
            self.later(0.05, self.die)
            return
        self._timer += 1
        timer = self._timer
        due = max(self.core.next_tick(world.now, self.seen) - world.now, 0.0005)
        self.later(due, lambda: self.step() if timer == self._timer else None)

    def _has_displaced(self) -> bool:
        """Tries that run on though their task was assigned anew keep those that wait for them out of every table."""
        state = self.core.state
        sent = (attempt for worker in state.workers.values() for attempt in worker.sent)
        return any(attempt.waiters and state.held.get(attempt.assigned.task) is not attempt for attempt in sent)

    def on_results(self, worker: Worker, outcomes: list[Outcome], idle: int) -> None:
        """A worker's report has arrived."""
        if worker.number in self.core.state.workers and not self.exit:
            self.core.on_results(worker.number, outcomes, idle, self.world.now)
            self.step()

    def on_worker_ended(self, worker: Worker, ended: Ended, last: Now | None) -> None:
        """A worker process was reaped."""
        if self.exit:
            return
        del self.workers[worker.number]
        self.core.on_ended(worker.number, ended, last, self.world.now)
        self.step()

    def _on_frame(self, frame: bytes) -> None:
        if not self.exit:
            self.core.on_message(codec.to_manager.decode(frame), self.world.now, self.seen)
            self.step()

    def _perform(self, effect: do.Effect) -> None:
        workers = self.workers
        match effect:
            case do.Tell(message):
                self._unsent.append(codec.encode(message))
            case do.ResetLink():
                self._unsent.clear()
                self.link.unsent.clear()
            case do.Feed():
                workers[effect.worker].feed(effect)
            case do.Steal(number, most):
                self.core.on_stolen(number, workers[number].steal(most))
            case do.Flush(number):
                workers[number].flush()
            case do.Interrupt(number, task, epoch):
                workers[number].interrupt(task, epoch)
            case do.EndTree(number, _):
                workers[number].die("killed by the manager")
            case do.StartWorker(number, _):
                worker = workers[number] = Worker(self, number)
                self.later(self.world.between(0.005, 0.05), lambda: self._on_ready(worker))
            case do.RetireWorker(number):
                workers[number].retires = True
                workers[number].go_on()
            case do.Exit(_, reason):
                self.exit = reason or "done"
            case do.EndChildren() | do.SetPlace():
                pass

    def _on_ready(self, worker: Worker) -> None:
        if worker.alive and not self.exit:
            self.core.on_ready(worker.number)
            self.step()
