"""How much goes to which worker and when: frames, reservations, steals. Order of events in general: property tests."""

import pytest

from blockyard.wire import manager as wire
from blockyard.wire.records import Assigned, Need, Status, TaskSpec
from blockyard_worker.core.tries import Capacity, Kind, Pace
from tests.property.worker.world import NAMES, FakeWorker, World, policy

NARROW = TaskSpec(NAMES[0])


def a_world(workers: int = 2, accelerators: int = 0) -> World:
    world = World(policy(workers, accelerators), beats=True)
    world.join()
    for worker in world.live():
        world.warm_up(worker)
    return world


def teach(world: World, seconds: float, spec: TaskSpec = NARROW) -> None:
    """Let the manager learn how long a function takes."""
    world.assign([(spec, 40)], chain=False)
    while len(world.ends) < len(world.assigned):
        for worker in world.live():
            world.start_next(worker)
            world.finish(worker, Status.DONE, seconds)
            world.flush(worker)
    for worker in world.live():
        while worker.frames:
            world.start_next(worker)


def sent(worker: FakeWorker) -> list[int]:
    """Sizes of the frames that wait at a worker."""
    return [sum(len(group.tries) for group in frame.groups) for frame in worker.frames]


def test_tries_of_unknown_length_go_one_by_one_and_one_more_waits() -> None:
    world = a_world()
    world.assign([(NARROW, 100)], chain=False)
    assert [sent(worker) for worker in world.live()] == [[1, 1], [1, 1]]


@pytest.mark.parametrize(
    "seconds, frames",
    [(0.0, [256, 256]), (100e-6, [71, 71]), (0.0025, [2, 2]), (0.01, [1, 1]), (10.0, [1, 1])],
)
def test_a_frame_holds_about_chunk_seconds_of_work(seconds: float, frames: list[int]) -> None:
    world = a_world(workers=1)
    teach(world, seconds)
    world.assign([(NARROW, 5000)], chain=False)
    assert sent(world.live()[0]) == frames


def test_short_work_is_shared_out_when_it_is_worth_it() -> None:
    world = a_world(workers=4)
    teach(world, 100e-6)
    world.assign([(NARROW, 40)], chain=False)
    assert all(sent(worker) for worker in world.live())
    assert max(sum(sent(worker)) for worker in world.live()) <= 20


def test_a_chain_goes_in_one_frame() -> None:
    world = a_world()
    world.assign([(NARROW, 256)], chain=True)
    assert sorted(sum(sent(worker)) for worker in world.live()) == [0, 256]


@pytest.mark.parametrize("uses, needs", [(-1, [b"r"]), (1, [b"r"]), (0, [])])
def test_a_need_that_ended_comes_with_its_body_where_the_call_is_given_it(uses: int, needs: list[bytes]) -> None:
    world = a_world(workers=1)
    teach(world, 0.01)
    first = len(world.assigned) + 1
    world.assign([(NARROW, 1)], chain=False)
    worker = world.live()[0]
    world.start_next(worker)
    world.finish(worker, Status.DONE, 0.01)
    spec = TaskSpec(NAMES[0], uses=uses)
    world.say(wire.Assign([wire.AssignGroup(spec, [Assigned(first + 1, 1, b"", [Need(first)])])]))
    (frame,) = worker.frames
    assert frame.groups[0].tries[0].needs == [Need(first, body) for body in needs]


def test_of_what_a_try_just_waits_for_its_worker_is_told_what_is_in_the_same_frame() -> None:
    world = a_world(workers=1)
    teach(world, 100e-6)
    first = len(world.assigned) + 1
    spec = TaskSpec(NAMES[0], uses=0)
    tries = [Assigned(first, 1, b""), Assigned(first + 1, 1, b"", [Need(first)])]
    world.say(wire.Assign([wire.AssignGroup(spec, tries)]))
    (frame,) = world.live()[0].frames
    assert [one.needs for group in frame.groups for one in group.tries] == [[], [Need(first)]]


def test_a_need_that_is_unknown_here_sends_the_try_back() -> None:
    world = a_world()
    world.say(wire.Assign([wire.AssignGroup(NARROW, [Assigned(5, 1, b"", [Need(4)])])]))
    assert world.returned == {5}


def test_nothing_starts_behind_a_wide_try_that_waits_for_workers() -> None:
    world = a_world()
    wide = TaskSpec(NAMES[1], cores=2.0)
    world.assign([(NARROW, 2)], chain=False)
    world.assign([(wide, 1), (NARROW, 10)], chain=False)
    first, second = world.live()
    world.start_next(first)
    world.start_next(second)
    world.finish(first, Status.DONE, 0.01)
    assert sent(first) == [], "kept free for the wide one"
    world.finish(second, Status.DONE, 0.01)
    runner = next(worker for worker in world.live() if worker.frames)
    other = second if runner is first else first
    assert (sent(runner), sent(other)) == ([1], [])
    world.start_next(runner)
    world.finish(runner, Status.DONE, 1.0)
    assert sent(runner)
    assert sent(other)


def test_what_hides_behind_a_try_that_takes_long_is_taken_back() -> None:
    world = a_world()
    teach(world, 100e-6)
    world.assign([(NARROW, 30)], chain=False)
    first, second = world.live()
    world.start_next(first)
    while second.frames or second.queue or second.running:
        world.start_next(second)
        world.finish(second, Status.DONE, 100e-6)
        world.flush(second)
    world.tick(1.0)
    assert first.tokens == 0
    while second.frames or second.queue or second.running:
        world.start_next(second)
        world.finish(second, Status.DONE, 100e-6)
        world.flush(second)
    assert len(world.ends) == len(world.assigned) - 1


def test_a_worker_from_which_something_was_taken_gets_nothing_until_it_is_idle() -> None:
    world = a_world(workers=2)
    teach(world, 0.01)
    world.assign([(NARROW, 4)], chain=False)
    first, second = world.live()
    world.start_next(first)
    world.tick(1.0)  # the second one of `first` is taken back, for `first` is stuck
    for _ in range(3):
        world.start_next(second)
        world.finish(second, Status.DONE, 0.01)
    world.assign([(NARROW, 4)], chain=False)
    frames = sent(first)
    world.finish(first, Status.DONE, 0.01)
    assert sent(first) == frames
    world.start_next(first)
    assert first.seen_frame
    world.settle()


@pytest.mark.parametrize(
    "spec, slots",
    [
        (TaskSpec(b""), 1),
        (TaskSpec(b"", cores=1.0), 1),
        (TaskSpec(b"", cores=1.1), 2),
        (TaskSpec(b"", cores=4.0), 4),
        (TaskSpec(b"", memory_bytes=2500), 3),
        (TaskSpec(b"", accelerators=1), 2),
        (TaskSpec(b"", cores=1.0, memory_bytes=4000), 4),
    ],
)
def test_a_task_busies_as_many_workers_as_its_largest_share(spec: TaskSpec, slots: int) -> None:
    assert Kind(spec, Capacity(4, 4.0, 4000, 2), Pace()).slots == slots


@pytest.mark.parametrize(
    "spec", [TaskSpec(b"", cores=4.1), TaskSpec(b"", memory_bytes=4001), TaskSpec(b"", accelerators=3)]
)
def test_a_task_that_asks_for_more_than_there_is_is_too_large(spec: TaskSpec) -> None:
    assert Kind(spec, Capacity(4, 4.0, 4000, 2), Pace()).too_large


def test_pace_follows_the_last_few_dozen_tries() -> None:
    pace = Pace()
    assert pace.estimate() is None
    pace.add(1000, 1.0)
    assert pace.mean == pytest.approx(0.001)
    for _ in range(100):
        pace.add(1, 0.1)
    assert pace.mean == pytest.approx(0.1, rel=0.1)
