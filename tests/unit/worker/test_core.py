"""Stops, deaths, drains and the link, one behaviour each; their interplay is the property test's."""

import pytest

from blockyard.wire import manager as wire
from blockyard.wire.patience import LARGE_BYTES
from blockyard.wire.records import Assigned, Outcome, Status, TaskSpec
from blockyard_worker.core.outcomes import COMPANY_SECONDS, MANY, MOST_COMPANY_SECONDS
from blockyard_worker.core.reports import WorkerConfused
from tests.property.worker.world import NAMES, FakeWorker, World, lease, policy
from tests.unit.worker.test_feeding import NARROW, a_world, teach


def start(world: World, worker: FakeWorker) -> None:
    """Start the next try, after saying idle for those that were taken back."""
    for _ in range(3):
        world.start_next(worker)
    assert worker.running is not None


def test_a_try_that_must_end_is_asked_then_told_then_killed() -> None:
    world = a_world(workers=1)
    world.assign([(NARROW, 1)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    world.say(wire.Stop([lease(1)], 1.0))
    assert worker.interrupted
    steps = []
    for seconds in (0.9, 0.2):
        world.tick(seconds)
        steps.append(worker.doomed)
    assert steps == [False, True], "told by SIGTERM after its grace"
    world.die(worker)
    assert world.statuses == {1: Status.CANCELLED}


def test_nothing_begins_behind_a_try_that_is_being_ended() -> None:
    """What it leaves is killed by when it was started, so nothing of another try may be younger."""
    world = a_world(workers=1)
    teach(world, 0.0001)
    world.assign([(NARROW, 5)], chain=False)
    (worker,) = world.live()
    start(world, worker)
    assert worker.running is not None
    assert worker.tokens
    world.say(wire.Stop([lease(worker.running[0].task)], 1.0))
    assert worker.interrupted
    assert not worker.tokens
    world.finish(worker, Status.CANCELLED, 0.0)
    start(world, worker)


def test_a_result_that_was_faster_than_its_cancellation_counts() -> None:
    world = a_world(workers=1)
    world.assign([(NARROW, 1)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    world.say(wire.Stop([lease(1)], 1.0))
    worker.interrupted = False
    world.finish(worker, Status.DONE, 0.1)
    assert world.statuses == {1: Status.DONE}


def test_a_timeout_counts_from_the_start_of_its_try() -> None:
    world = a_world(workers=1)
    world.assign([(TaskSpec(NAMES[0], timeout=1.0), 3)], chain=False)
    (worker,) = world.live()
    for _ in range(2):
        start(world, worker)
        world.tick(0.7)
        assert not worker.interrupted
        world.finish(worker, Status.DONE, 0.0)
    start(world, worker)
    world.tick(1.0)
    assert worker.interrupted
    world.finish(worker, Status.DONE, 0.0)
    assert world.statuses[3] is Status.TIMEOUT


def test_next_tick_is_never_later_than_the_next_timeout() -> None:
    world = a_world(workers=1)
    world.assign([(TaskSpec(NAMES[0], timeout=0.25), 1)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    assert world.core.next_tick(world.now, world.pages) <= world.now + 0.25


def test_only_the_try_that_ran_is_lost_with_its_worker() -> None:
    world = a_world(workers=1)
    teach(world, 0.0)
    before = len(world.assigned)
    world.assign([(NARROW, 10)], chain=False)
    (worker,) = world.live()
    for _ in range(4):
        world.start_next(worker)
        world.finish(worker, Status.DONE, 0.0)
    world.start_next(worker)
    world.die(worker)
    assert world.statuses == {**dict.fromkeys(range(1, before + 1), Status.DONE), before + 5: Status.LOST}
    world.settle()
    assert world.starts[before + 1] == 2, "it had ended, but nobody had heard of it"


def test_workers_that_tries_have_killed_are_replaced_at_once() -> None:
    world = a_world(workers=1)
    for task in range(1, 9):
        world.assign([(NARROW, 1)], chain=False)
        (worker,) = world.live()
        world.warm_up(worker)
        start(world, worker)
        world.die(worker)
        assert world.statuses[task] is Status.LOST


def test_workers_that_die_again_and_again_are_started_ever_later() -> None:
    world = a_world(workers=1)
    pauses = []
    for _ in range(8):
        (worker,) = world.live()
        world.die(worker)
        before = world.now
        while not world.workers:
            world.tick(0.05)
        pauses.append(world.now - before)
    assert pauses[:2] == [0.0, 0.0]
    assert pauses == sorted(pauses)
    assert 1.0 < pauses[-1] <= 10.1


def test_a_worker_that_reports_what_it_was_not_given_is_found_out() -> None:

    world = a_world(workers=1)
    world.assign([(NARROW, 2)], chain=False)
    with pytest.raises(WorkerConfused):
        world.core.on_results(1, [Outcome(2, 1, Status.DONE)], 0, world.now)
    with pytest.raises(WorkerConfused):
        world.core.on_results(1, [Outcome(task, 1, Status.DONE) for task in (1, 2, 3)], 0, world.now)


def test_joins_name_everything_held_and_outcomes_keep_their_numbers() -> None:
    world = a_world(workers=1)
    world.assign([(NARROW, 3)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    world.finish(worker, Status.DONE, 0.01)
    numbers = dict(world.sent_numbers)
    world.say(wire.NotJoined())
    world.tick(1.0)
    assert world.asks_to_join
    assert not world.returned, "all three are held, the ended one too"
    world.sent_numbers.clear()
    world.say(wire.Joined(1, 1.0))
    assert world.sent_numbers == numbers
    world.record()
    assert set(world.core.state.held) == {2, 3}


def test_three_silent_heartbeats_mean_to_join_again() -> None:
    world = a_world(workers=1)
    world.beats = False
    for _ in range(30):
        world.tick(0.1)
    assert not world.asks_to_join
    world.tick(0.2)
    assert world.asks_to_join


def test_behind_a_large_frame_silence_means_nothing() -> None:
    world = a_world(workers=1)
    world.beats = False
    announcement = world.core.announce(5 * LARGE_BYTES, world.now, world.pages)
    assert announcement.follows == 5 * LARGE_BYTES
    for _ in range(99):
        world.tick(0.1)
    world.say(wire.Beat(follows=5 * LARGE_BYTES))
    for _ in range(99):
        world.tick(0.1)
    assert not world.asks_to_join
    world.tick(0.2)
    assert world.asks_to_join


def test_a_drain_hands_back_at_a_bounded_rate_what_is_still_assigned() -> None:
    world = a_world(workers=1)
    world.assign([(NARROW, 1)], chain=False)
    (worker,) = world.live()
    world.start_next(worker)
    world.say(wire.Drain(60.0))
    rounds = 0
    for task in range(10, 30):
        world.say(wire.Assign([wire.AssignGroup(NARROW, [Assigned(task, 1, b"")])]))
        rounds += task in world.returned
    assert rounds <= 1
    world.tick(0.3)
    assert world.returned == set(range(10, 30))


def test_a_manager_that_can_start_no_worker_hands_back_what_it_was_given() -> None:
    """Nothing of it was begun: whoever gave it must not take it for the cause of the block's end."""
    world = World(policy(workers=1), beats=True)
    world.join()
    world.assign([(NARROW, 3)], chain=False)
    world.core.on_broken("No module named 'nowhere'", world.now)
    world.perform()
    assert world.returned == {1, 2, 3}
    assert [type(said).__name__ for said in world.heard[-3:]] == ["Heartbeat", "Returned", "Leave"]
    assert world.left


def test_a_manager_without_work_wakes_only_for_its_heartbeat() -> None:
    world = a_world(workers=1)
    assert world.core.next_tick(world.now, world.pages) == world.now + 1.0


def test_outcomes_wait_for_those_of_other_workers_while_all_have_more_to_do() -> None:
    world = a_world(workers=2)
    teach(world, 1.0)
    world.settle()
    world.sent_numbers.clear()
    world.assign([(NARROW, 4)], chain=False)
    one, other = world.live()
    for worker in (one, other):
        world.start_next(worker)
    world.finish(one, Status.DONE, 1.0)
    assert not world.sent_numbers
    assert world.core.next_tick(world.now, world.pages) <= world.now + MOST_COMPANY_SECONDS
    world.tick(COMPANY_SECONDS)
    assert not world.sent_numbers, "a second's work can wait a little longer than a millisecond's"
    world.tick(MOST_COMPANY_SECONDS)
    assert len(world.sent_numbers) == 1
    world.start_next(one)
    world.finish(other, Status.DONE, 1.0)
    assert len(world.sent_numbers) == 1
    world.finish(one, Status.DONE, 1.0)
    assert len(world.sent_numbers) == 2, "one that wants for work is not kept waiting"


def test_outcomes_of_a_crowd_that_lasts_wait_longer_until_it_is_over() -> None:
    world = a_world(workers=2)
    teach(world, 0.001)
    world.settle()
    world.assign([(NARROW, 80)], chain=False)
    one, other = world.live()
    for worker in (one, other):
        world.start_next(worker)
    waits = []
    for crowd in (1, 8, 8, 8, 1, 1):
        world.sent_numbers.clear()
        for _ in range(crowd):
            world.finish(one, Status.DONE, 0.001)
            world.start_next(one)
        world.flush(one)
        world.tick(2 * MOST_COMPANY_SECONDS)
        assert len(world.sent_numbers) == 1
        waits.append(world.core.state.company.seconds)
    assert waits == [COMPANY_SECONDS * factor for factor in (1, 2, 2, 2, 1, 1)]


def test_what_is_due_in_a_crowd_goes_with_the_next_report_and_wakes_nobody_before() -> None:
    world = a_world(workers=2)
    teach(world, 0.001)
    world.settle()
    world.assign([(NARROW, 80)], chain=False)
    one, other = world.live()
    for worker in (one, other):
        world.start_next(worker)
    for _ in range(3):
        for _ in range(8):
            world.finish(one, Status.DONE, 0.001)
            world.start_next(one)
        world.flush(one)
        world.tick(2 * MOST_COMPANY_SECONDS)
    world.finish(one, Status.DONE, 0.001)
    world.start_next(one)
    world.flush(one)
    world.sent_numbers.clear()
    wake_at = world.core.next_tick(world.now, world.pages)
    assert MOST_COMPANY_SECONDS < wake_at - world.now <= 2 * MOST_COMPANY_SECONDS
    world.now += MOST_COMPANY_SECONDS
    counts = []
    for _ in range(4):
        for _ in range(MANY // 4):
            world.finish(one, Status.DONE, 0.0001)
            world.start_next(one)
        world.flush(one)
        counts.append(len(world.sent_numbers))
    assert counts == [0, 0, 0, 1]


def test_what_tries_used_goes_with_their_outcomes_as_one_and_is_kept_with_them() -> None:
    world = a_world(workers=2)
    teach(world, 1.0)
    world.settle()
    asked: list[bytes] = []

    def uses_told() -> list[bytes]:
        asked.append(b"packet %d" % len(asked))
        return asked[-1:]

    world.core.state.uses_told = uses_told
    world.assign([(NARROW, 4)], chain=False)
    one, other = world.live()
    for worker in (one, other):
        world.start_next(worker)
    world.finish(one, Status.DONE, 1.0)
    assert not asked
    world.finish(other, Status.DONE, 1.0)
    world.tick(MOST_COMPANY_SECONDS)
    assert asked == [b"packet 0"]
    number = world.core.state.outcomes_number
    assert world.core.state.unrecorded_told == {number: asked}
    world.say(wire.NotJoined())
    world.tick(1.0)
    world.say(wire.Joined(1, 1.0))
    assert asked == [b"packet 0"]
    world.record()
    assert not world.core.state.unrecorded_told
