"""Whatever happens in whatever order, each lease ends exactly once, and nothing runs twice that must not."""

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from blockyard.wire import manager as wire
from blockyard.wire.records import Status, TaskSpec
from tests.property.worker.world import NAMES, World, lease, policy

specs = st.builds(
    TaskSpec,
    function=st.sampled_from(NAMES),
    idempotent=st.booleans(),
    cores=st.sampled_from([0.0, 0.0, 1.0, 2.0]),
    accelerators=st.sampled_from([0, 0, 0, 1]),
    timeout=st.sampled_from([0.0, 0.0, 0.5]),
)
durations = st.sampled_from([0.0, 1e-5, 0.001, 0.03, 2.0])


class ManagerMachine(RuleBasedStateMachine):
    """One manager, two workers, one interchange."""

    world: World

    @initialize(limit=st.sampled_from([0, 0, 3]))
    def begin(self, limit: int) -> None:
        self.world = World(policy(accelerators=1, max_tasks_per_worker=limit))
        self.world.join()

    @rule(groups=st.lists(st.tuples(specs, st.integers(1, 12)), min_size=1, max_size=3), chain=st.booleans())
    def assign(self, groups: list[tuple[TaskSpec, int]], chain: bool) -> None:
        self.world.assign(groups, chain)

    def _worker(self, data: Any) -> Any:
        return data.draw(st.sampled_from(self.world.live()), label="worker")

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def warm_up(self, data: Any) -> None:
        self.world.warm_up(self._worker(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), count=st.integers(1, 20), seconds=durations)
    def work(self, data: Any, count: int, seconds: float) -> None:
        worker = self._worker(data)
        for _ in range(count):
            self.world.start_next(worker)
            self.world.finish(worker, Status.DONE, seconds)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def start(self, data: Any) -> None:
        self.world.start_next(self._worker(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data(), status=st.sampled_from([Status.DONE, Status.RAISED]), seconds=durations)
    def finish(self, data: Any, status: Status, seconds: float) -> None:
        self.world.finish(self._worker(data), status, seconds)

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def flush(self, data: Any) -> None:
        self.world.flush(self._worker(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def die(self, data: Any) -> None:
        self.world.die(self._worker(data))

    @precondition(lambda self: self.world.workers)
    @rule(data=st.data())
    def die_after_finish(self, data: Any) -> None:
        self.world.die_after_finish(self._worker(data))

    @precondition(lambda self: any(worker.doomed or worker.retiring for worker in self.world.live()))
    @rule()
    def die_as_told(self) -> None:
        self.world.die(next(worker for worker in self.world.live() if worker.doomed or worker.retiring))

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.05, 0.6, 5.0]))
    def wait(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule()
    def record(self) -> None:
        self.world.record()

    @precondition(lambda self: self.world.assigned)
    @rule(data=st.data(), grace=st.sampled_from([0.0, 1.0]))
    def stop(self, data: Any, grace: float) -> None:
        task = data.draw(st.sampled_from(sorted(self.world.assigned)), label="task")
        self.world.say(wire.Stop([lease(task)], grace))

    @rule(count=st.integers(1, 10))
    def retract(self, count: int) -> None:
        self.world.say(wire.Retract(count))

    @rule()
    def lose_and_find_the_interchange(self) -> None:
        self.world.say(wire.NotJoined())
        self.world.say(wire.Joined(1, 1.0))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.settle()
        wrong = {task: count for task, count in world.ends.items() if count != 1}
        assert not wrong, f"leases that ended more than once: {wrong}"
        assert set(world.ends) == set(world.assigned)
        for task, (_, spec) in world.assigned.items():
            if not spec.idempotent:
                assert world.starts[task] <= 1, f"task {task} may run once and was started {world.starts[task]} times"
            if task in world.returned and not spec.idempotent:
                assert world.starts[task] == 0, f"task {task} was handed back and had been started"
        if not world.deaths:
            assert all(count == 1 for count in world.starts.values()), world.starts
        world.record()
        assert not world.core.state.held, f"still held: {world.core.state.held}"


TestManager = ManagerMachine.TestCase
TestManager.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.generate, Phase.shrink],
)
